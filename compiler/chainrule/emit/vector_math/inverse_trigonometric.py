"""asin, acos, atan and atan2."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.vector_math.coefficients import ASIN, ATAN
from chainrule.emit.vector_math.lanes import Lanes

__all__ = ["acos", "asin", "atan", "atan2"]

# pi / 2 as a number of each type and what is left of it.
_HALF_PI: Final = {"float": 1.57079637050628662, "double": math.pi / 2}
_HALF_PI_LEFT: Final = {"float": -4.371138828673793e-08, "double": 6.123233995736766036e-17}
_TAN_EIGHTH: Final = math.sqrt(2.0) - 1.0
# Sums below this cannot overflow.
_HUGE: Final = {"float": 2.0**125, "double": 2.0**1021}


def _asin_parts(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return whether |x| < 1/2, then s and t, where asin(s) = s + t.

    Here s is |x| or, from 1/2 on, sqrt((1 - |x|) / 2).
    """
    a = abs(x)
    small = a < 0.5
    rest = a.times_plus(-0.5, 0.5)
    z = small.choose(a * a, rest)
    s = small.choose(a, rest.sqrt())
    return small, s, s * z * z.polynomial(ASIN[x.scalar])


def asin(x: Lanes) -> Lanes:
    """Inverse sine."""
    small, s, t = _asin_parts(x)
    left = _HALF_PI_LEFT[x.scalar]
    large = (_HALF_PI[x.scalar] - (s + s)) - (t + t - left)
    return small.choose(s + t, large).copy_sign(x)


def acos(x: Lanes) -> Lanes:
    """Inverse cosine."""
    small, s, t = _asin_parts(x)
    half, left = _HALF_PI[x.scalar], _HALF_PI_LEFT[x.scalar]
    middle = half - (s.copy_sign(x) + (t.copy_sign(x) - left))
    twice = (s + s) + (t + t)
    # 2 asin(s) is the angle from the nearer end, so the far end takes it from pi.
    from_pi = (2.0 * half - (s + s)) - (t + t - 2.0 * left)
    return small.choose(middle, (x < 0.0).choose(from_pi, twice))


def _angle(y: Lanes, x: Lanes) -> Lanes:
    """Return the angle of (x, y) in the first quadrant; neither is negative."""
    scalar = x.scalar
    half, left = _HALF_PI[scalar], _HALF_PI_LEFT[scalar]
    # By pi/8 to either side of 0, pi/4 and pi/2: tan(angle - centre) = upper / lower.
    low, high = y <= x * _TAN_EIGHTH, y * _TAN_EIGHTH >= x
    upper = low.choose(y, high.choose(-x, y - x))
    lower = low.choose(x, high.choose(y, y + x))
    zero = x.constant(0.0)
    centre = low.choose(zero, high.choose(x.constant(half), x.constant(half / 2)))
    rest = low.choose(zero, high.choose(x.constant(left), x.constant(left / 2)))
    t = upper / lower
    z = t * t
    return centre + (t + (t * z).times_plus(z.polynomial(ATAN[scalar]), rest))


def atan(x: Lanes) -> Lanes:
    """Inverse tangent."""
    a = abs(x)
    return _angle(a, a.constant(1.0)).copy_sign(x)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of the point (x, y), with the signs of zeros told apart as C99 does."""
    scalar = x.scalar
    b, a = abs(y), abs(x)
    huge = (a > _HUGE[scalar]) | (b > _HUGE[scalar])
    smaller = huge.choose(x.constant(0.25), 1.0)
    # Both infinite: the diagonal.  Both zero: the axis.
    alike = a.equals(b) & (a.equals(0.0) | a.equals(math.inf))
    down = alike.choose(x.constant(1.0), a * smaller)
    up = alike.choose(a.equals(0.0).choose(a, 1.0), b * smaller)
    angle = _angle(up, down)
    left = 2.0 * _HALF_PI_LEFT[scalar]
    behind = (2.0 * _HALF_PI[scalar]) - (angle - left)
    return (x.bits() < 0).choose(behind, angle).copy_sign(y)
