"""Hyperbolic functions and their inverses."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.vector_math.coefficients import EXP, TANH
from chainrule.emit.vector_math.exponential import (
    exp_of,
    power_of_two,
    reduce_exp,
    scaled_expm1,
)
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log1p, log1p_of

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh", "tanh", "tanh_slope"]

# Here sinh and cosh are infinite, and a quarter of exp is not.
_LARGEST: Final = {"float": 89.5, "double": 710.5}
_TINY: Final = {"float": 1e-10, "double": 1e-18}
# Up to the first exp(2 x) is finite; from the second on the slope of tanh is 0.
_TANH_LARGE: Final = {"float": 40.0, "double": 340.0}
_TANH_BOUND: Final = {"float": 54.0, "double": 375.0}
# By how many powers of two exp(2 x) is lowered between them.
_LOWERED: Final = {"float": 32, "double": 128}
# log(2) / 2 in two parts, the first of so few digits that its product with n is exact.
_HALF_LN2: Final = (0.693359375 / 2, -2.12194440e-4 / 2)
# exp(2 r) in powers of r.
_EXP_TWICE: Final = tuple(c * 2.0 ** (6 - i) for i, c in enumerate((*EXP["float"], 1.0, 1.0)))


def sinh(x: Lanes) -> Lanes:
    """Hyperbolic sine."""
    a = abs(x)
    # e/4 stays finite where e does not; sinh = e/2 + (e/2) / (e + 1) with e = expm1(|x|).
    quarter = scaled_expm1(a.at_most(_LARGEST[x.scalar]), 2)
    half = quarter + quarter
    y = half + half / (half + half + 1.0)
    y = (half < math.inf).choose(y, half)
    return (a < _TINY[x.scalar]).choose(x, y.copy_sign(x))


def cosh(x: Lanes) -> Lanes:
    """Hyperbolic cosine."""
    reduced = reduce_exp(abs(x).at_most(_LARGEST[x.scalar]), exactly=True)
    half = exp_of(reduced) * power_of_two(reduced, 2) * 2.0
    return half + 0.25 / half


def tanh(x: Lanes) -> Lanes:
    """Hyperbolic tangent."""
    if not x.is_double:
        w = _one_minus_tanh_float(x)
        a, z = abs(x), x * x
        small = (a * z).times_plus(z.polynomial(TANH["float"]), a)
        return (a < 0.7).choose(small, 1.0 - w).copy_sign(x)
    # e / (e + 2) with e = expm1(2 |x|), and what rounding the quotient lost.
    e, divisor, inverse = _tanh_parts(x)
    y = e * inverse
    return inverse.times_plus(e.minus_times(y, divisor), y).copy_sign(x)


def tanh_slope(x: Lanes) -> Lanes:
    """1 / cosh(x)^2, as w (2 - w) with w = 1 - tanh(|x|) = 2 / (exp(2 |x|) + 1).

    Beside tanh of the same argument nearly all of it is computed once.
    """
    w = _tanh_parts(x)[2] * 2.0 if x.is_double else _one_minus_tanh_float(x)
    y = (w + w).minus_times(w, w)
    lowered = 2.0 ** -_LOWERED[x.scalar]
    return _is_large(x).choose(y * lowered, y)


def _is_large(x: Lanes) -> Lanes:
    """Tell where exp(2 |x|) would be infinite: it is computed over a power of two there."""
    return abs(x) > _TANH_LARGE[x.scalar]


def _tanh_parts(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return expm1(2 |x|), 2 more than that, and the inverse of the sum; of large x, lowered."""
    a = abs(x).at_most(_TANH_BOUND["double"])
    large = _is_large(a)
    less = large.choose(a.bits().constant(_LOWERED["double"]), 0)
    e = scaled_expm1(a + a, lanes_less=less)
    divisor = e + 2.0
    return e, divisor, 1.0 / divisor


def _one_minus_tanh_float(x: Lanes) -> Lanes:
    """Return w = 2 / (exp(2 |x|) + 1); of large x, raised by a power of two.

    That does not show in 1 - w.
    """
    a = abs(x).at_most(_TANH_BOUND["float"])
    # 2 |x| = n log(2) + 2 r; the sum leaves n, with the bias of exponents, in its low bits.
    rounder = 1.5 * 2**23 + 127
    shifted = a.times_plus(2.0 / math.log(2.0), rounder)
    n = shifted - rounder
    r = a.minus_times(n, _HALF_LN2[0]).minus_times(n, _HALF_LN2[1])
    bits = shifted.bits()
    bits = bits - _is_large(a).choose(bits.constant(_LOWERED["float"]), 0)
    power = (bits << 23).as_float()
    return 2.0 / r.polynomial(_EXP_TWICE).times_plus(power, 1.0)


def asinh(x: Lanes) -> Lanes:
    """Inverse hyperbolic sine."""
    a = abs(x)
    # log(1 + t) with t = |x| + x^2 / (1 + sqrt(1 + x^2)); for large |x|, log(2 |x|).
    square = a * a
    t = a + square / ((square + 1.0).sqrt() + 1.0)
    return _log1p_or_log_twice(t, a).copy_sign(x)


def acosh(x: Lanes) -> Lanes:
    """Inverse hyperbolic cosine."""
    # log(1 + t) with t = u + sqrt(u (2 + u)), u = x - 1; for large x, log(2 x).
    u = x - 1.0
    t = u + (u * (u + 2.0)).sqrt()
    return (x >= 1.0).choose(_log1p_or_log_twice(t, x), math.nan)


def _log1p_or_log_twice(t: Lanes, x: Lanes) -> Lanes:
    """Return log(1 + t), or log(2 x) where x is large (t may then be infinite)."""
    large = x > (2.0**60 if x.is_double else 2.0**30)
    y = log1p_of(large.choose(x, t))
    y = large.choose(y + math.log(2.0), y)
    return (x < math.inf).choose(y, x)


def atanh(x: Lanes) -> Lanes:
    """Inverse hyperbolic tangent."""
    a = abs(x)
    # log((1 + |x|) / (1 - |x|)) / 2.
    y = log1p((a + a) / (1.0 - a)) * 0.5
    return (a < _TINY[x.scalar]).choose(x, y.copy_sign(x))
