"""The normal distribution: its functions, their logarithm, and x times it, with their slopes.

All are made of the tail at a = |x|, in which exp(-a^2 / 2) is taken of a square of two parts: in
one, its rounding error would be multiplied by a^2 / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from chainrule.emit.vector_math.coefficients import GELU_SLOPE_SCALED, NDTR_SCALED
from chainrule.emit.vector_math.exponential import Reduced, exp_parts, reduce_exp, scale
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log1p_of, log_of, split

__all__ = [
    "bell", "gelu", "gelu_slope", "log_ndtr", "log_ndtr_slope", "ndtr", "ndtr_slope",
]  # fmt: skip

# From here on the tails round to zero.
_VANISHED: Final = {"float": 14.6, "double": 38.7}
# The shifts of the arguments' transforms.
_NDTR_SHIFT: Final = {"float": 3.0, "double": 5.0}
_GELU_SHIFT: Final = {"float": 3.0, "double": 4.0}
# Where the slope of gelu is 0, in two parts.
_ROOT: Final = {
    "float": (0.7517915368080139, -1.2114450336e-08),
    "double": (0.7517915246935645, -1.4956759177009883e-17),
}
# 1 / sqrt(2 pi) in two parts.
_DENSITY: Final = {
    "float": (0.3989422917366028, -1.1335170e-08),
    "double": (0.3989422804014327, -2.4923272022777958e-17),
}


class _Scaled(NamedTuple):
    """A number as a sum of two, the second of which is small."""

    head: Lanes
    rest: Lanes


def _twofold_polynomial(q: Lanes, coefficients: Sequence[float]) -> _Scaled:
    """Evaluate a polynomial whose constant is given in two parts, without a last rounding."""
    small = q.polynomial(coefficients[:-1])
    constant = q.constant(coefficients[-1])
    head, rest = constant.plus_smaller(small)
    return _Scaled(head, rest)


def _over_shifted(a: Lanes, shift: float) -> tuple[Lanes, Lanes, Lanes]:
    """Return 1 / (a + shift), what its rounding lost relative to it, and (a - shift) times it.

    The last as 2 a / (a + shift) - 1: near a = 0, where functions of it are steep, that is exact.
    """
    divisor, lost = a.plus_exactly(shift)
    inverse = 1.0 / divisor
    product, error = inverse.times_exactly(divisor)
    left = ((1.0 - product) - error).minus_times(inverse, lost)
    return inverse, left, (a + a).times_plus(inverse, -1.0)


def _ndtr_scaled(a: Lanes) -> _Scaled:
    """Return exp(a^2 / 2) times the distribution function at -a."""
    inverse, left, q = _over_shifted(a, _NDTR_SHIFT[a.scalar])
    p = _twofold_polynomial(q, NDTR_SCALED[a.scalar])
    head, rest = p.head.times_exactly(inverse)
    return _Scaled(head, head.times_plus(left, p.rest.times_plus(inverse, rest)))


def bell(x: Lanes, halves: float = 0.5) -> tuple[Lanes, Lanes, Reduced]:
    """Return head, rest and the reduction of exp(-x^2 * halves), for `halves` 1/2 or 1."""
    square, left = x.times_exactly(x)
    reduced = reduce_exp(square * -halves, left * -halves)
    head, rest = exp_parts(reduced)
    return head, rest, reduced


def _times_bell(factor: _Scaled, a: Lanes) -> tuple[Lanes, Reduced]:
    """Return exp(-a^2 / 2) * factor, not yet scaled by its power of two."""
    head, rest, reduced = bell(a)
    low = factor.head.times_plus(rest, factor.rest * head)
    return factor.head.times_plus(head, low), reduced


def ndtr(x: Lanes) -> Lanes:
    """The distribution function of the standard normal distribution."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    tail = scale(*_times_bell(_ndtr_scaled(a), a))
    return (x < 0.0).choose(tail, 1.0 - tail)


def ndtr_slope(x: Lanes) -> Lanes:
    """The density of the standard normal distribution."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    high, low = _DENSITY[x.scalar]
    return scale(*_times_bell(_Scaled(x.constant(high), x.constant(low)), a))


def gelu(x: Lanes) -> Lanes:
    """x times the normal distribution function of x."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    # a / (a + k), not the tail, takes the factor: a subnormal tail has lost its digits.
    inverse, left, q = _over_shifted(a, _NDTR_SHIFT[x.scalar])
    ratio, lost = a.times_exactly(inverse)
    p = _twofold_polynomial(q, NDTR_SCALED[x.scalar])
    head, rest = p.head.times_exactly(ratio)
    rest = p.head.times_plus(lost, p.rest.times_plus(ratio, rest))
    tail = scale(*_times_bell(_Scaled(head, head.times_plus(left, rest)), a))
    return (x < 0.0).choose(-tail, x - tail)


def gelu_slope(x: Lanes) -> Lanes:
    """The derivative of gelu; its tail is exp(-a^2 / 2) (root - a) P((a - k) / (a + k))."""
    a = abs(x).at_most(_VANISHED[x.scalar])
    shift = _GELU_SHIFT[x.scalar]
    p = _twofold_polynomial((a - shift) / (a + shift), GELU_SLOPE_SCALED[x.scalar])
    high, low = _ROOT[x.scalar]
    distance, lost = (-a).plus_exactly(high)
    head, rest = p.head.times_exactly(distance)
    rest = p.head.times_plus(lost + low, p.rest.times_plus(distance, rest))
    # Close to the root the second part is not small.
    tail = scale(*_times_bell(_Scaled(*head.plus_smaller(rest)), a))
    return (x < 0.0).choose(tail, 1.0 - tail)


def log_ndtr(x: Lanes) -> Lanes:
    """The logarithm of the normal distribution function."""
    if not x.is_double:
        return log_ndtr(x.widened()).narrowed()
    a = abs(x)
    scaled = _ndtr_scaled(a.at_most(1e300))
    # Above 0 the value is the logarithm of what is near 1: by what is missing from it.
    bounded = a.at_most(_VANISHED["double"])
    missing = scale(*_times_bell(scaled, bounded))
    above = log1p_of(-missing)
    # Below it is -a^2 / 2 + log(scaled).
    square, left = a.times_exactly(a)
    finite = a < 1e150
    k, m, _ = split(scaled.head)
    log_scaled = log_of(k, m - 1.0) + scaled.rest / scaled.head
    high, low = (square * -0.5).plus_exactly(log_scaled)
    below = finite.choose(high + left.times_plus(-0.5, low), square * -0.5)
    # The logarithm of 1 less something subnormal is that number.
    above = (missing < 1e-18).choose(-missing, above)
    return x.is_nan().choose(x, (x < 0.0).choose(below, above))


def log_ndtr_slope(x: Lanes) -> Lanes:
    """The density over the distribution function."""
    if not x.is_double:
        return log_ndtr_slope(x.widened()).narrowed()
    a = abs(x)
    bounded = a.at_most(_VANISHED["double"])
    scaled = _ndtr_scaled(a.at_most(1e16))
    # Below 0 the exponentials cancel; the quotient grows as a does.
    inverse = 1.0 / scaled.head
    inverse = inverse.minus_times(inverse * inverse, scaled.rest)
    high, low = _DENSITY["double"]
    below = inverse * high + inverse * low
    tail = scale(*_times_bell(scaled, bounded))
    above = ndtr_slope(x) / (1.0 - tail)
    below = (a < 1e16).choose(below, a)
    return (x < 0.0).choose(below, above)
