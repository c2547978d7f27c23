"""sin, cos and tan, of x and of pi x, right for every finite argument.

Moderate arguments are reduced modulo pi / 2 in line.  Where a lane is larger, the whole vector goes
through an internal function of the module that reduces lane by lane (see `reduction`) and then
runs the same polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from chainrule.emit.builder import I32, I64, Builder, LType, Value
from chainrule.emit.machine import Machine
from chainrule.emit.vector_math.coefficients import COS, SIN
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.reduction import define_reduction

__all__ = ["cos", "cos_pi", "sin", "sin_pi", "sinc", "tan", "tan_slope"]

_TWO_OVER_PI: Final = 2.0 / math.pi
# pi / 2 in three parts of full length ...
_HALF_PI: Final = {
    "float": (1.57079637050628662, -4.371138828673793e-08, -1.7151245100058819e-15),
    "double": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# ... and in parts of 33 bits, whose products with n < 2^20 are exact without fused multiply-add.
_SHORT_HALF_PI: Final = (1.57079632673412561417, 6.07710050630396597660e-11)
_SHORT_HALF_PI_LEFT: Final = 2.0222662487959506e-21
_ROUNDER: Final = {"float": 1.5 * 2**23, "double": 1.5 * 2**52}
_LARGEST: Final = {"float": 2.0**16, "double": 2.0**19}
_DIGITS: Final = {"float": 2.0**23, "double": 2.0**52}
# Below this sinc rounds to 1.
_TINY: Final = {"float": 1e-8, "double": 1e-16}
_SIGN: Final = {"float": -(1 << 31), "double": -(1 << 63)}

Reduced: TypeAlias = tuple[Lanes, Lanes, Lanes]
Core: TypeAlias = Callable[[Lanes, Lanes, Lanes], Lanes]


def _reduce(x: Lanes) -> Reduced:
    """Return (n, r, r_low): x = n pi / 2 + r + r_low; only the low bits of n matter."""
    if not x.machine.fma:
        return _reduce_unfused(x)
    rounder = _ROUNDER[x.scalar]
    first, second, third = _HALF_PI[x.scalar]
    shifted = x.times_plus(_TWO_OVER_PI, rounder)
    n = shifted - rounder
    # Exact: both are multiples of the last digit of `first`, and most of x cancels.
    near = x.minus_times(n, first)
    # Close to a multiple of pi / 2 the product cancels too: its rounding error is needed.
    product, left = n.times_exactly(n.constant(second))
    r, low = near.plus_smaller(-product)
    return shifted.bits(), r, (low - left).minus_times(n, third)


def _reduce_unfused(x: Lanes) -> Reduced:
    wide = x if x.is_double else x.widened()
    rounder = _ROUNDER["double"]
    first, second = _SHORT_HALF_PI
    shifted = wide * _TWO_OVER_PI + rounder
    n = shifted - rounder
    near = wide - n * first
    product = n * second
    r = near - product
    r, low = r.plus_smaller(((near - r) - product) - n * _SHORT_HALF_PI_LEFT)
    if x.is_double:
        return shifted.bits(), r, low
    short = r.narrowed()
    bits = x.like(x.b.cast("trunc", shifted.bits().value, I32))
    return bits, short, (r - short.widened()).narrowed()


def _sine_parts(r: Lanes, low: Lanes) -> tuple[Lanes, Lanes]:
    """Return the sine as a sum whose second term is small."""
    z = r * r
    return r, (z * r).times_plus(z.polynomial(SIN[r.scalar]), low)


def _cosine_parts(r: Lanes, low: Lanes) -> tuple[Lanes, Lanes]:
    """Return the cosine as a sum whose second term is small."""
    z = r * r
    half = z * 0.5
    head = 1.0 - half
    lost = (1.0 - head) - half
    tail = (z * z).times_plus(z.polynomial(COS[r.scalar]), lost)
    return head, tail.minus_times(r, low)


def _sine(r: Lanes, low: Lanes) -> Lanes:
    head, tail = _sine_parts(r, low)
    return head + tail


def _cosine(r: Lanes, low: Lanes) -> Lanes:
    head, tail = _cosine_parts(r, low)
    return head + tail


def _in_quadrant(n: Lanes, even: Lanes, odd: Lanes) -> Lanes:
    """Choose by the lowest bit of n, negate by the next."""
    width = n.type.bits
    chosen = ((n << (width - 1)) < 0).choose(odd, even)
    return (chosen.bits() ^ ((n & 2) << (width - 2))).as_float()


def _sin_core(n: Lanes, r: Lanes, low: Lanes) -> Lanes:
    return _in_quadrant(n, _sine(r, low), _cosine(r, low))


def _cos_core(n: Lanes, r: Lanes, low: Lanes) -> Lanes:
    return _in_quadrant(n + 1, _sine(r, low), _cosine(r, low))


def _tan_core(n: Lanes, r: Lanes, low: Lanes) -> Lanes:
    """Divide: sin / cos, or -cos / sin."""
    sine, cosine = _sine(r, low), _cosine(r, low)
    width = n.type.bits
    odd = (n << (width - 1)) < 0
    ratio = odd.choose(cosine, sine) / odd.choose(sine, cosine)
    return (ratio.bits() ^ (n << (width - 1))).as_float()


def _tan_slope_core(n: Lanes, r: Lanes, low: Lanes) -> Lanes:
    """Return 1 / cos^2, the cosine in two parts."""
    odd = (n << (n.type.bits - 1)) < 0
    sine, cosine = _sine_parts(r, low), _cosine_parts(r, low)
    head, tail = (odd.choose(a, b) for a, b in zip(sine, cosine, strict=True))
    head, tail = head.plus_smaller(tail)
    square, left = head.times_exactly(head)
    left = (head + head).times_plus(tail, left)
    inverse = 1.0 / square
    return inverse.minus_times(inverse * inverse, left)


def sin(x: Lanes) -> Lanes:
    """The sine."""
    # The sums lose the sign of zero.
    return x.equals(0.0).choose(x, _with_large("sin", _sin_core, x))


def cos(x: Lanes) -> Lanes:
    """The cosine."""
    return _with_large("cos", _cos_core, x)


def tan(x: Lanes) -> Lanes:
    """The tangent."""
    return x.equals(0.0).choose(x, _with_large("tan", _tan_core, x))


def tan_slope(x: Lanes) -> Lanes:
    """The derivative of the tangent."""
    return _with_large("tan_slope", _tan_slope_core, x)


def _reduce_turns(x: Lanes) -> Reduced:
    """Return (n, r, r_low): pi |x| = n pi / 2 + r + r_low, for n modulo 4; x is finite."""
    a, digits = abs(x), _DIGITS[x.scalar]
    # Even integers are 0 turns; what is left after them is exact.
    a = (a >= 2.0 * digits).choose(a.constant(0.0), a)
    a = (a >= digits).choose(a - digits, a)
    rounder = _ROUNDER[x.scalar]
    a = a - ((a * 0.5 + rounder) - rounder) * 2.0
    shifted = (a + a) + rounder
    rest = a - (shifted - rounder) * 0.5
    high, low, _ = _HALF_PI[x.scalar]
    r, left = rest.times_exactly(rest.constant(2.0 * high))
    return shifted.bits(), r, rest.times_plus(2.0 * low, left)


def _finite(x: Lanes, y: Lanes) -> Lanes:
    """Return y where x is finite, else NaN."""
    return (abs(x) < math.inf).choose(y, math.nan)


def sin_pi(x: Lanes) -> Lanes:
    """The sine of pi x: 0 at every integer."""
    y = _sin_core(*_reduce_turns(x))
    return x.equals(0.0).choose(x, _finite(x, (y.bits() ^ (x.bits() & _SIGN[x.scalar])).as_float()))


def cos_pi(x: Lanes) -> Lanes:
    """The cosine of pi x."""
    return _finite(x, _cos_core(*_reduce_turns(x)))


def sinc(x: Lanes) -> Lanes:
    """sin(pi x) / (pi x), 1 at 0."""
    n, r, low = _reduce_turns(x)
    odd = (n << (n.type.bits - 1)) < 0
    sine, cosine = _sine_parts(r, low), _cosine_parts(r, low)
    head, tail = (odd.choose(a, b) for a, b in zip(cosine, sine, strict=True))
    # From here on every number is an integer, at which the sine is 0.
    a = abs(x).at_most(2.0 * _DIGITS[x.scalar])
    high, left, _ = _HALF_PI[x.scalar]
    divisor, lost = a.times_exactly(a.constant(2.0 * high))
    lost = a.times_plus(2.0 * left, lost)
    inverse = 1.0 / divisor
    q = head * inverse
    back, error = q.times_exactly(divisor)
    rest = (((head - back) - error) + tail).minus_times(q, lost)
    # Where pi x is inexact for being so small, or its inverse is 0, all is said by the first term.
    y = rest.times_plus(inverse, q)
    y = (y.bits() ^ ((n & 2) << (n.type.bits - 2))).as_float()
    y = (a < _TINY[x.scalar]).choose(x.constant(1.0), y)
    return _finite(x, y)


def _with_large(name: str, core: Core, x: Lanes) -> Lanes:
    """Evaluate in line, then again by a call if a lane is too large for that."""
    b = x.b
    y = core(*_reduce(x))
    a = abs(x)
    large = (a > _LARGEST[x.scalar]) & (a < math.inf)
    function = _define_large(b, x.machine, name, core, x.type)
    merged = b.if_(
        large.any(),
        lambda: [large.choose(x.like(b.call(function, x.type, [x.value])), y).value],
        lambda: [y.value],
    )
    return x.like(merged[0])


def _define_large(b: Builder, machine: Machine, name: str, core: Core, type_: LType) -> str:
    """Define, once for each type, the function for large arguments; return its name."""
    function = f"vector_math.{name}.{type_.mangled}.large"
    if b.module.has_function(function):
        return function
    reduction = define_reduction(b.module, machine)
    # `cold` keeps the callers' registers and layout those of the common case.
    inner, (argument,) = b.module.function(
        function, type_, [(type_, "x")], attrs="cold noinline nounwind"
    )
    integer = I64 if type_.scalar == "double" else I32
    lanes, size, whole = max(1, type_.lanes), type_.bits // 8, integer.with_lanes(type_.lanes)
    places = [inner.alloca(lanes * size) for _ in range(4)]
    outputs = inner.alloca(24)
    inner.store(argument, places[0], align=64)

    def reduce_lane(i: Value, _carried: list[Value]) -> None:
        at = inner.mul(i, size)
        x = inner.load(type_.element, inner.offset(places[0], at))
        wide = inner.cast("fpext", x, LType("double"))
        inner.call(reduction, LType("void"), [wide, outputs])
        n = inner.load(I64, outputs)
        r, low = (inner.load(LType("double"), inner.offset(outputs, o)) for o in (8, 16))
        if integer == I32:
            short = inner.cast("fptrunc", r, type_.element)
            left = inner.fsub(r, inner.cast("fpext", short, LType("double")))
            n, r, low = inner.cast("trunc", n, I32), short, inner.cast("fptrunc", left, short.type)
        for value, place in zip((n, r, low), places[1:], strict=True):
            inner.store(value, inner.offset(place, at))

    inner.loop(0, lanes, body=reduce_lane)
    reduced = [
        Lanes(inner, machine, inner.load(loaded, place, align=64))
        for loaded, place in zip((whole, type_, type_), places[1:], strict=True)
    ]
    inner.ret(core(*reduced).value)
    inner.close()
    return function
