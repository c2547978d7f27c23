"""log and log1p, and their common core: the logarithm of a mantissa and an exponent."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from chainrule.emit.builder import F32
from chainrule.emit.vector_math.coefficients import LOG, LOG_RATIO
from chainrule.emit.vector_math.lanes import Lanes

__all__ = ["Split", "log", "log1p", "log1p_of", "log_of", "split", "split_any"]

_LN2_HIGH: Final = {"float": 0.693359375, "double": 6.93147180369123816490e-01}
_LN2_LOW: Final = {"float": -2.12194440e-4, "double": 1.90821492927058770002e-10}
_MANTISSA_BITS: Final = {"float": 23, "double": 52}
_BIAS: Final = {"float": 127, "double": 1023}
# The bits of sqrt(1/2), the least mantissa.
_LEAST: Final = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}
_SMALLEST_NORMAL: Final = {"float": 2.0**-126, "double": 2.0**-1022}
_LARGE: Final = {"float": 2.0**30, "double": 2.0**60}


class Split(NamedTuple):
    """x = 2^k * m with m in [sqrt(1/2), sqrt(2)]; `biased` holds k as an exponent in place."""

    k: Lanes
    m: Lanes
    biased: Lanes


def split(x: Lanes) -> Split:
    """Split a positive normal number."""
    width, bias, least = _MANTISSA_BITS[x.scalar], _BIAS[x.scalar], _LEAST[x.scalar]
    biased = x.bits() + ((bias << width) - least)
    m = ((biased & ((1 << width) - 1)) + least).as_float()
    exponent = biased.shifted_right(width)
    if x.is_double:
        # AVX2 has no conversion from 64-bit integers: place the digits below a leading one.
        k = (exponent | 0x4330000000000000).as_float() - (2.0**52 + bias)
    else:
        k = (exponent - bias).to_float(F32)
    return Split(k, m, biased)


def split_any(x: Lanes) -> Split:
    """Split a positive number, which may be subnormal."""
    digits = _MANTISSA_BITS[x.scalar] + 1
    small = x < _SMALLEST_NORMAL[x.scalar]
    parts = split(small.choose(x * 2.0**digits, x))
    return parts._replace(k=small.choose(parts.k - float(digits), parts.k))


def log_of(k: Lanes, f: Lanes) -> Lanes:
    """Return k * log(2) + log(1 + f), for 1 + f between the square roots of 1/2 and 2."""
    low, high = _LN2_LOW[f.scalar], _LN2_HIGH[f.scalar]
    if f.is_double:
        # With s = f / (2 + f): log(1 + f) = f - f^2/2 + s (f^2/2 + s^2 R(s^2)), after fdlibm.
        s = f / (f + 2.0)
        z = s * s
        half = f * f * 0.5
        tail = s.times_plus(z.times_plus(z.polynomial(LOG_RATIO["double"]), half), k * low)
        return k.times_plus(high, f - (half - tail))
    square = f * f
    tail = k.times_plus(low, f * f.polynomial(LOG["float"]) * square)
    return k.times_plus(high, f + square.times_plus(-0.5, tail))


def log(x: Lanes) -> Lanes:
    """The natural logarithm."""
    k, m, _ = split_any(x)
    y = (x < math.inf).choose(log_of(k, m - 1.0), x)
    edge = x.equals(0.0).choose(x.constant(-math.inf), x.constant(math.nan))
    return (x <= 0.0).choose(edge, y)


def log1p_of(x: Lanes) -> Lanes:
    """Return log(1 + x) for finite x > -1; NaN and zero signs are not kept."""
    u = x + 1.0
    lost = x - (u - 1.0)
    k, m, biased = split(u)
    width, bias = _MANTISSA_BITS[x.scalar], _BIAS[x.scalar]
    inverse = ((biased & -(1 << width)) ^ -1) + ((2 * bias << width) + 1)
    # For large x the loss does not matter, and 2^-k is not a normal number.
    f = (m - 1.0) + (x < _LARGE[x.scalar]).choose(lost * inverse.as_float(), 0.0)
    return log_of(k, f)


def log1p(x: Lanes) -> Lanes:
    """log(1 + x) without cancellation."""
    a = abs(x)
    y = ((a > 0.0) & (a < math.inf)).choose(log1p_of(x), x)
    edge = x.equals(-1.0).choose(x.constant(-math.inf), x.constant(math.nan))
    return (x <= -1.0).choose(edge, y)
