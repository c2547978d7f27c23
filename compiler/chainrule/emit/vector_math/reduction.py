"""Reduction of any finite double modulo pi / 2, after Payne and Hanek, in integer arithmetic."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.builder import F64, I64, PTR, VOID, Builder, LType, Module, Value
from chainrule.emit.machine import Machine
from chainrule.emit.vector_math.coefficients import TWO_OVER_PI
from chainrule.emit.vector_math.lanes import Lanes

__all__ = ["define_reduction"]

_NAME: Final = "vector_math.reduce_half_pi"
_TABLE: Final = "vector_math.two_over_pi"
_I128: Final = LType("i128")
_HALF_PI_LEFT: Final = 6.123233995736766e-17


def _define_table(module: Module) -> Value:
    """Define 64 zero bits (for exponents below the point) and then those of 2 / pi, by words."""
    digits = "0" * 16 + TWO_OVER_PI
    words = ", ".join(f"i64 {int(digits[i : i + 16], 16)}" for i in range(0, len(digits), 16))
    return module.add_global(
        _TABLE, f"private unnamed_addr constant [{len(digits) // 16} x i64] [{words}], align 64"
    )


def define_reduction(module: Module, machine: Machine) -> str:
    """Define, once, `void f(double x, ptr out)`; return its name.

    It writes an integer n and two doubles r, low: x = n pi / 2 + r + low modulo 2 pi, for finite
    |x| > 2^13; for other x it writes something.
    """
    if module.has_function(_NAME):
        return _NAME
    table = _define_table(module)
    b, (x, out) = module.function(
        _NAME, VOID, [(F64, "x"), (PTR, "out")], attrs="cold noinline nounwind"
    )
    bits = b.bitcast(x, I64)
    exponent = b.and_(b.lshr(bits, 52), 0x7FF)
    digits = b.or_(b.and_(bits, (1 << 52) - 1), 1 << 52)
    high, middle, low = _product(b, digits, *_window(b, table, exponent))
    # The top two bits are the quadrant, the rest a fraction of it; round to the nearest.
    n = b.lshr(b.add(high, 1 << 61), 62)
    fraction, below = _shift_left(b, high, middle, 2), _shift_left(b, middle, low, 2)
    sign = b.ashr(bits, 63)
    b.store(b.sub(b.xor(n, sign), sign), out)
    r, r_low = _times_half_pi(b, machine, fraction, below, sign)
    b.store(r, b.offset(out, 8))
    b.store(r_low, b.offset(out, 16))
    b.ret()
    b.close()
    return _NAME


def _shift_left(b: Builder, high: Value, low: Value, count: Value | int) -> Value:
    """Return the upper word of two, shifted left together."""
    return b.intrinsic("fshl", I64, [high, low, b.i64(count)])


def _window(b: Builder, table: Value, exponent: Value) -> list[Value]:
    """Return three words of 2 / pi; bits before them only add multiples of 4 to the quotient."""
    # x = digits * 2^(exponent - 1075), and the table's bit j weighs 2^(63 - j).
    # Smaller numbers come along in vectors with large ones; any table address will do for them.
    first = b.smax(b.sub(exponent, 1075 - 62), 0)
    start = b.offset(table, b.mul(b.lshr(first, 6), 8))
    words = [b.load(I64, b.offset(start, 8 * i)) for i in range(4)]
    shift = b.and_(first, 63)
    return [_shift_left(b, words[i], words[i + 1], shift) for i in range(3)]


def _product(b: Builder, digits: Value, *words: Value) -> tuple[Value, Value, Value]:
    """Return the lower three words of the product of one word and three."""
    wide = b.cast("zext", digits, _I128)
    last = b.mul(wide, b.cast("zext", words[2], _I128))
    carry = b.lshr(last, 64)
    middle = b.add(b.mul(wide, b.cast("zext", words[1], _I128)), carry)
    high = b.add(b.mul(digits, words[0]), b.cast("trunc", b.lshr(middle, 64), I64))
    return high, b.cast("trunc", middle, I64), b.cast("trunc", last, I64)


def _times_half_pi(
    b: Builder, machine: Machine, fraction: Value, below: Value, sign: Value
) -> tuple[Value, Value]:
    """Return pi / 2 times a signed fixed-point fraction of two words, as a sum of two doubles."""
    negative = b.ashr(fraction, 63)
    fraction, below = b.xor(fraction, negative), b.xor(below, negative)
    zeros = b.intrinsic("ctlz", I64, [fraction], "false")
    upper, lower = _shift_left(b, fraction, below, zeros), b.shl(below, zeros)
    first = b.cast("sitofp", b.lshr(upper, 11), F64)
    second = b.cast("sitofp", b.or_(b.shl(b.and_(upper, 0x7FF), 42), b.lshr(lower, 22)), F64)
    # 2^-(zeros + 53), negative where exactly one of x and the fraction is.
    power = b.shl(b.sub(1023 - 53, zeros), 52)
    power = b.or_(power, b.and_(b.xor(negative, sign), -(1 << 63)))
    unit = Lanes(b, machine, b.bitcast(power, F64))
    a, a_low = unit.like(first) * unit, unit.like(second) * unit * 2.0**-53
    product, lost = a.times_exactly(a.constant(math.pi / 2))
    r, low = product.plus_smaller(a.times_plus(_HALF_PI_LEFT, a_low.times_plus(math.pi / 2, lost)))
    return r.value, low.value
