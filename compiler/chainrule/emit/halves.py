"""Floats of 16 bits in registers: their bits as i16, and conversions from and to float32.

Both ways are exact IEEE conversions, to nearest with ties to even, subnormals included.  A NaN
stays one, with its sign and the upper bits of its payload; narrowing makes it quiet.  Processors
that convert float16 by an instruction do; the others do the same in integers, so the same bits
arise everywhere.
"""

from __future__ import annotations

import struct

from chainrule.emit.builder import F16, F32, F64, I16, I32, I64, Builder, LType, Value
from chainrule.emit.machine import Machine
from chainrule.ir.types import BF16, DType

__all__ = ["half_bits", "narrow", "widen"]

_INFINITY, _QUIET, _MAGNITUDE = 0x7F800000, 0x00400000, 0x7FFFFFFF


def half_bits(dtype: DType, number: float) -> int:
    """Return the bits of a number, rounded to a type of 16 bits."""
    rounded = dtype.rounded(number)
    if dtype is BF16:
        (wide,) = struct.unpack("<I", struct.pack("<f", rounded))
        return int(wide) >> 16
    (bits,) = struct.unpack("<H", struct.pack("<e", rounded))
    return int(bits)


def widen(b: Builder, machine: Machine, x: Value, dtype: DType) -> Value:
    """Return the float32 of 16 bits."""
    if dtype is BF16:
        wide = b.cast("zext", x, I32)
        return b.bitcast(b.shl(wide, _number(b, wide, 16)), F32)
    if machine.converts_f16:
        return b.cast("fpext", b.bitcast(x, F16), F32)
    return _widen_f16(b, x)


def narrow(b: Builder, machine: Machine, x: Value, dtype: DType) -> Value:
    """Return the 16 bits nearest to a float32, or of float16 to a float64."""
    if dtype is BF16:
        return _narrow_bf16(b, b.cast("fptrunc", x, F32) if x.type.element == F64 else x)
    if x.type.element == F64:
        x = _to_odd(b, x)
    if machine.converts_f16:
        return b.bitcast(b.cast("fptrunc", x, F16), I16)
    return _narrow_f16(b, x)


def _number(b: Builder, like: Value, number: int) -> Value:
    return b.const(like.type, number)


def _widen_f16(b: Builder, x: Value) -> Value:
    wide = b.cast("zext", x, I32)

    def n(number: int) -> Value:
        return _number(b, wide, number)

    magnitude, sign = b.and_(wide, n(0x7FFF)), b.shl(b.and_(wide, n(0x8000)), n(16))
    shifted = b.shl(magnitude, n(13))
    # The exponent's bias differs by 112; a product also makes subnormals what they are, exactly.
    scaled = b.fmul(b.bitcast(shifted, F32), b.const(LType("float", x.type.lanes), 2.0**112))
    special = b.or_(shifted, n(_INFINITY))
    special = b.select(b.icmp("ugt", magnitude, n(0x7C00)), b.or_(special, n(_QUIET)), special)
    finite = b.icmp("ult", magnitude, n(0x7C00))
    bits = b.select(finite, b.bitcast(scaled, I32), special)
    return b.bitcast(b.or_(bits, sign), F32)


def _narrow_f16(b: Builder, x: Value) -> Value:
    bits = b.bitcast(x, I32)

    def n(number: int) -> Value:
        return _number(b, bits, number)

    magnitude = b.and_(bits, n(_MAGNITUDE))
    sign = b.and_(b.lshr(bits, n(16)), n(0x8000))
    # Normal: the bias differs by 112; half a unit less one, and one more where the last bit is set.
    odd = b.and_(b.lshr(magnitude, n(13)), n(1))
    moved = b.binary("sub", magnitude, n((112 << 23) - 0xFFF))
    normal = b.lshr(b.binary("add", moved, odd), n(13))
    # Below 2**-14: adding 1/2 leaves the subnormal's bits, rounded, at the end of the sum.
    half = b.const(LType("float", x.type.lanes), 0.5)
    sum_ = b.bitcast(b.fadd(b.bitcast(magnitude, F32), half), I32)
    small = b.binary("sub", sum_, n(0x3F000000))
    finite = b.select(b.icmp("ult", magnitude, n(113 << 23)), small, normal)
    payload = b.and_(b.lshr(magnitude, n(13)), n(0x3FF))
    nan = b.icmp("ugt", magnitude, n(_INFINITY))
    special = b.select(nan, b.or_(payload, n(0x7E00)), n(0x7C00))
    # From 2**16 on nothing is finite; what rounds up to that has become infinity by its carry.
    result = b.select(b.icmp("uge", magnitude, n(143 << 23)), special, finite)
    return b.cast("trunc", b.or_(result, sign), I16)


def _narrow_bf16(b: Builder, x: Value) -> Value:
    bits = b.bitcast(x, I32)

    def n(number: int) -> Value:
        return _number(b, bits, number)

    odd = b.and_(b.lshr(bits, n(16)), n(1))
    rounded = b.binary("add", bits, b.binary("add", odd, n(0x7FFF)))
    nan = b.icmp("ugt", b.and_(bits, n(_MAGNITUDE)), n(_INFINITY))
    chosen = b.select(nan, b.or_(bits, n(_QUIET)), rounded)
    return b.cast("trunc", b.lshr(chosen, n(16)), I16)


def _to_odd(b: Builder, x: Value) -> Value:
    """Round a float64 to float32 so that rounding that again to 11 bits is rounding once.

    S. Boldo, G. Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using
    rounding to odd", IEEE Trans. Comput. 57 (2008): truncate, and set the last bit if inexact.
    """
    nearest = b.cast("fptrunc", x, F32)
    back = b.cast("fpext", nearest, F64)
    bits = b.bitcast(nearest, I32)
    whole = LType("i64", x.type.lanes)
    mask = b.const(whole, (1 << 63) - 1)
    further = b.icmp(
        "ugt", b.and_(b.bitcast(back, I64), mask), b.and_(b.bitcast(x, I64), mask)
    )  # fmt: skip
    inexact = b.fcmp("une", back, x)
    nan = b.fcmp("uno", x, x)
    cut = b.binary("sub", bits, b.select(further, _number(b, bits, 1), _number(b, bits, 0)))
    odd = b.or_(cut, _number(b, bits, 1))
    return b.bitcast(b.select(nan, bits, b.select(inexact, odd, bits)), F32)
