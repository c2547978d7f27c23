"""The cube root and its slope."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.vector_math.coefficients import CBRT
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import split, split_any

__all__ = ["cbrt", "cbrt_slope"]

_ROUNDER: Final = 1.5 * 2**52


def _root_of_double(x: Lanes, *, full: bool) -> Lanes:
    """Return the cube root of a positive double, to 27 bits or (`full`) all."""
    k, m, _ = split_any(x) if full else split(x)
    # k = 3 j + i with i in -1, 0, 1; the sum leaves j, with the bias of exponents, in its low bits.
    shifted = (k * (1.0 / 3.0)) + (_ROUNDER + 1023.0)
    i = k - (shifted - (_ROUNDER + 1023.0)) * 3.0
    t = m * (i > 0.5).choose(i.constant(2.0), (i < -0.5).choose(i.constant(0.5), 1.0))
    y = t.polynomial(CBRT["double"])
    # Halley's step triples the digits: 9 become 27.
    cube = y * y * y
    y = y * (cube + t + t) / (cube + cube + t)
    if full:
        # Newton's doubles them, with the remainder t - y^3 taken exactly.
        square, left = y.times_exactly(y)
        cube, left_of_cube = square.times_exactly(y)
        rest = (t - cube) - y.times_plus(left, left_of_cube)
        y = y + rest / (square * 3.0)
    return y * (shifted.bits() << 52).as_float()


def cbrt(x: Lanes) -> Lanes:
    """The real cube root."""
    a = abs(x)
    if x.is_double:
        y = _root_of_double(a, full=True)
    else:
        y = _root_of_double(a.widened(), full=False).narrowed()
    return ((a > 0.0) & (a < math.inf)).choose(y.copy_sign(x), x)


def cbrt_slope(x: Lanes) -> Lanes:
    """The derivative of the cube root, infinite at 0."""
    a = abs(x)
    if x.is_double:
        y = _root_of_double(a, full=True)
        slope = 1.0 / (y * y * 3.0)
    else:
        y = _root_of_double(a.widened(), full=False)
        slope = (1.0 / (y * y * 3.0)).narrowed()
    slope = a.equals(0.0).choose(a.constant(math.inf), slope)
    slope = a.equals(math.inf).choose(a.constant(0.0), slope)
    return a.is_nan().choose(a, slope)
