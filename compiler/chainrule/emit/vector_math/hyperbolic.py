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

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh", "tanh"]

# Here sinh and cosh are infinite, and a quarter of exp is not.
_LARGEST: Final = {"float": 89.5, "double": 710.5}
_TINY: Final = {"float": 1e-10, "double": 1e-18}
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
        return _tanh_float(x)
    a = abs(x)
    # e / (e + 2) with e = expm1(2 |x|), less what rounding e + 2 lost; 1 / (e + 2) = (1 - y) / 2.
    e = scaled_expm1((a + a).at_most(40.0))
    divisor = e + 2.0
    # From 2^53 on the loss is not what this says, nor does it show.
    lost = (divisor < 2.0**53).choose(e - (divisor - 2.0), 0.0)
    y = e / divisor
    return y.minus_times(lost * y, y.times_plus(-0.5, 0.5)).copy_sign(x)


def _tanh_float(x: Lanes) -> Lanes:
    """Evaluate x + x^3 P(x^2) near zero, else 1 - 2 / (exp(2 |x|) + 1)."""
    a = abs(x)
    bounded = a.at_most(10.0)
    # 2 |x| = n log(2) + 2 r; the sum leaves n, with the bias of exponents, in its low bits.
    rounder = 1.5 * 2**23 + 127
    shifted = bounded.times_plus(2.0 / math.log(2.0), rounder)
    r = bounded.minus_times(shifted - rounder, math.log(2.0) / 2)
    power = (shifted.bits() << 23).as_float()
    grown = r.polynomial(_EXP_TWICE)
    z = x * x
    small = (a * z).times_plus(z.polynomial(TANH["float"]), a)
    large = 1.0 - 2.0 / grown.times_plus(power, 1.0)
    return (a < 0.7).choose(small, large).copy_sign(x)


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
