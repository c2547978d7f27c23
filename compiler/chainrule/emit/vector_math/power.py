"""pow and hypot."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.vector_math.coefficients import EXP2, LOG2_RATIO, LOG_RATIO_TAIL
from chainrule.emit.vector_math.exponential import exp_of, reduce_exp, scale
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import split, split_any

__all__ = ["atan2_slope", "hypot", "log_twofold", "pow_"]

_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_TWO_THIRDS: Final = 2.0 / 3.0
_TWO_THIRDS_LEFT: Final = 3.700743415417188e-17
_DIGITS: Final = {"float": 2.0**23, "double": 2.0**52}
_ROUNDER: Final = 1.5 * 2**52
_SIGN: Final = {"float": -(1 << 31), "double": -(1 << 63)}


def log_twofold(x: Lanes) -> tuple[Lanes, Lanes]:
    """Return log(x) of a positive double as a sum of two, right to about 2^-66."""
    k, m, _ = split_any(x)
    # s = (m - 1) / (m + 1), in two parts: one division, and the remainder by its reciprocal.
    f, d = m - 1.0, m + 1.0
    d_low = m - (d - 1.0)
    inverse = 1.0 / d
    s = f * inverse
    back, back_low = s.times_exactly(d)
    s_low = (((f - back) - back_low).minus_times(s, d_low)) * inverse
    # 2 s + 2/3 s^3 in two parts, the rest of the series in one.
    z, z_low = s.times_exactly(s)
    z_low = (s + s).times_plus(s_low, z_low)
    cube, cube_low = s.times_exactly(z)
    cube_low = s_low.times_plus(z, s.times_plus(z_low, cube_low))
    third, third_low = cube.times_exactly(cube.constant(_TWO_THIRDS))
    third_low = cube_low.times_plus(_TWO_THIRDS, cube.times_plus(_TWO_THIRDS_LEFT, third_low))
    tail = (cube * z).times_plus(z.polynomial(LOG_RATIO_TAIL["double"]), third_low)
    high, lost = (k * _LN2_HIGH).plus_smaller(s + s)
    high, lost_again = high.plus_smaller(third)
    low = k.times_plus(_LN2_LOW, s_low.times_plus(2.0, tail)) + (lost + lost_again)
    return high.plus_smaller(low)


def _magnitude_double(x: Lanes, y: Lanes) -> Lanes:
    """Return x to the power y for finite x > 0."""
    log_x, log_x_low = log_twofold(x)
    # Beyond this the result has long been 0 or infinite, and the product might be infinite.
    y = y.at_least(-(2.0**65)).at_most(2.0**65)
    exponent, lost = y.times_exactly(log_x)
    low = y.times_plus(log_x_low, lost)
    low = (abs(exponent) < 800.0).choose(low, 0.0)
    reduced = reduce_exp(exponent.at_least(-800.0).at_most(800.0), low)
    return scale(exp_of(reduced), reduced)


def _magnitude_float(x: Lanes, y: Lanes) -> Lanes:
    """Return x to the power y for finite x > 0: in doubles, which make light of it."""
    wide = x.widened()
    k, m, _ = split(wide)
    f = m - 1.0
    s = f / (f + 2.0)
    log2 = s.times_plus((s * s).polynomial(LOG2_RATIO["float"]), k)
    exponent = (y.widened() * log2).at_least(-200.0).at_most(200.0)
    shifted = exponent + _ROUNDER
    r = exponent - (shifted - _ROUNDER)
    power = ((shifted.bits() + 1023) << 52).as_float()
    return (power * r).times_plus(r.polynomial(EXP2["float"]), power).narrowed()


def _is_fractional(a: Lanes) -> Lanes:
    """Tell which non-negative numbers have a fraction; infinity and NaN have none."""
    digits = _DIGITS[a.scalar]
    nearest = (a + digits) - digits
    return (a < digits) & a.like(a.b.fcmp("une", nearest.value, a.value))


def pow_(x: Lanes, y: Lanes) -> Lanes:
    """Raise x to the power y, with every special case of C99."""
    a, size = abs(x), abs(y)
    result = (_magnitude_double if x.is_double else _magnitude_float)(a, y)
    edge = a.equals(0.0) | a.equals(math.inf) | size.equals(math.inf)
    shrinks = (a < 1.0) ^ (y < 0.0)
    result = edge.choose(shrinks.choose(x.constant(0.0), math.inf), result)
    fractional = _is_fractional(size)
    # An odd number has a half with a fraction, but none itself.
    odd = (fractional ^ _is_fractional(size * 0.5)) & (fractional ^ True)
    sign = x.bits() & _SIGN[x.scalar]
    result = odd.choose((result.bits() ^ sign).as_float(), result)
    unordered = x.like(x.b.fcmp("uno", x.value, y.value))
    undefined = unordered | ((x < 0.0) & (a < math.inf) & fractional)
    result = undefined.choose(x.constant(math.nan), result)
    one = x.equals(1.0) | y.equals(0.0) | (a.equals(1.0) & size.equals(math.inf))
    return one.choose(x.constant(1.0), result)


def hypot(x: Lanes, y: Lanes) -> Lanes:
    """sqrt(x^2 + y^2) without overflow on the way; infinite if either is, even beside NaN."""
    a, b = abs(x), abs(y)
    infinite = a.equals(math.inf) | b.equals(math.inf)
    if x.is_double:
        a, b, up, _ = _scaled_by_larger(a, b)
        y = a.times_plus(a, b * b).sqrt() * up
    else:
        wide, other = a.widened(), b.widened()
        y = wide.times_plus(wide, other * other).sqrt().narrowed()
    return infinite.choose(x.constant(math.inf), y)


def _scaled_by_larger(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes, Lanes, Lanes]:
    """Return two doubles over the power of two in the larger, the larger first, it and its inverse.

    The arguments are not negative.
    """
    # A power whose inverse is a normal number too.
    larger = (a > b).choose(a, b).bits() & (0x7FF << 52)
    larger = (larger < 1 << 52).choose(larger.constant(1 << 52), larger)
    larger = (larger > 2045 << 52).choose(larger.constant(2045 << 52), larger)
    down = (larger.constant(2046 << 52) - larger).as_float()
    # The larger first: what is rounded twice must not hang on the order of the arguments.
    first = a > b
    return first.choose(a, b) * down, first.choose(b, a) * down, larger.as_float(), down


def atan2_slope(x: Lanes, y: Lanes) -> Lanes:
    """y / (x^2 + y^2) without overflow on the way; 0 if either is infinite."""
    infinite = abs(x).equals(math.inf) | abs(y).equals(math.inf)
    if x.is_double:
        a, b, _, down = _scaled_by_larger(abs(x), abs(y))
        # What grows is scaled again before the division, so that no quotient is subnormal unless
        # the result is; by a little less where that might be infinite.
        grows, less = down > 1.0, (down > 2.0**900).choose(down.constant(2.0**-4), 1.0)
        before = grows.choose(down * less, 1.0)
        after = grows.choose(1.0 / less, down)
        slope = (abs(y) * down * before / a.times_plus(a, b * b) * after).copy_sign(y)
    else:
        wide, other = x.widened(), y.widened()
        slope = (other / wide.times_plus(wide, other * other)).narrowed()
    return infinite.choose(x.constant(0.0), slope)
