"""erf and erfc."""

from __future__ import annotations

from typing import Final

from chainrule.emit.vector_math.coefficients import ERF, ERFC_LOG, ERFC_SCALED
from chainrule.emit.vector_math.exponential import (
    exp_of,
    exp_parts,
    power_of_two,
    reduce_exp,
    scale,
)
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.normal import bell

__all__ = ["erf", "erf_slope", "erfc"]

# Where the power series ends, and from where erf rounds to one.
_SMALL: Final = {"float": 0.9375, "double": 1.0}
_LARGE: Final = {"float": 4.0, "double": 6.0}
# The shift of the argument's transform, and from where erfc rounds to zero.
_SHIFT: Final = {"float": 2.0, "double": 3.0}
_VANISHED: Final = {"float": 10.25, "double": 27.5}
# 2 / sqrt(pi) in two parts.
_GAUSS: Final = {
    "float": (1.128379225730896, -5.8635383e-08),
    "double": (1.1283791670955126, 1.533545961316588e-17),
}


def erf(x: Lanes) -> Lanes:
    """The error function: x + x P(x^2) near zero, else 1 - exp(Q(|x|)) with Q = log(erfc)."""
    a = abs(x)
    z = x * x
    small = a.times_plus(z.polynomial(ERF[x.scalar]), a)
    exponent = a.at_most(_LARGE[x.scalar]).polynomial(ERFC_LOG[x.scalar])
    reduced = reduce_exp(exponent)
    large = 1.0 - exp_of(reduced) * power_of_two(reduced)
    return (a > _SMALL[x.scalar]).choose(large, small).copy_sign(x)


def erfc(x: Lanes) -> Lanes:
    """1 - erf(x); where that cancels exp(-a^2) P((a - k) / (a + k)) / (1 + 2 a) with a = |x|."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    z = x * x
    near = (1.0 - x).minus_times(x, z.polynomial(ERF[x.scalar]))
    shift = _SHIFT[x.scalar]
    divisor, lost = (a + a).plus_smaller(1.0)
    scaled = ((a - shift) / (a + shift)).polynomial(ERFC_SCALED[x.scalar]) / divisor
    # What the divisor lost, relative to it; P is 1.13 within an eighth.
    lost = lost * scaled * (1.0 / 1.13)
    square, left = a.times_exactly(a)
    reduced = reduce_exp(-square, -left)
    head, rest = exp_parts(reduced)
    y = scale(scaled.times_plus(head, scaled * rest.minus_times(lost, head)), reduced)
    return (a < 0.5).choose(near, (x < 0.0).choose(2.0 - y, y))


def erf_slope(x: Lanes) -> Lanes:
    """2 / sqrt(pi) exp(-x^2), the square in two parts."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    head, rest, reduced = bell(a, 1.0)
    high, low = _GAUSS[x.scalar]
    return scale((head * high) + rest.times_plus(high, head * low), reduced)
