"""Pointwise ops as instructions: one small function a name, picked by the element type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chainrule.emit.builder import BOOL, F32, F64, I8, I16, I32, I64, Builder, LType, Value, vector
from chainrule.emit.halves import half_bits, narrow, widen
from chainrule.emit.machine import Machine
from chainrule.emit.vector_math import emit_function
from chainrule.ir.op import Arithmetic, Op, VectorMath
from chainrule.ir.types import F32 as FLOAT32
from chainrule.ir.types import DType

__all__ = ["emit_number", "emit_op", "ltype", "memory_type"]

_TYPES: Final[Mapping[str, LType]] = {
    "f32": F32, "f64": F64, "i32": I32, "i64": I64, "u8": I8, "u32": I32, "bool": BOOL,
    "f16": I16, "bf16": I16,
}  # fmt: skip


def ltype(dtype: DType) -> LType:
    """Return the type values have in registers (truth values: one bit; halves: their bits)."""
    return _TYPES[dtype.name]


def emit_number(b: Builder, dtype: DType, number: float) -> Value:
    """Return a constant of a dtype as it is in a register."""
    return b.const(ltype(dtype), half_bits(dtype, number) if dtype.is_half else number)


def memory_type(dtype: DType) -> LType:
    """Return the type elements of a dtype have in memory (truth values: one byte)."""
    return I8 if dtype.name == "bool" else _TYPES[dtype.name]


def emit_op(
    b: Builder, machine: Machine, op: Op, args: list[Value], takes: DType, gives: DType
) -> Value:
    """Emit one pointwise op on values of dtype `takes`, all scalar or all of the same lanes."""
    match op.native:
        case VectorMath(name) if takes.is_float:
            return emit_function(name, b, machine, *args)
        case VectorMath():
            return _integer_power(b, args[0], args[1], takes)
        case Arithmetic("cast"):
            return _convert(b, machine, args[0], takes, gives)
        case Arithmetic(name):
            table = _FLOAT if takes.is_float else _INTEGER
            rule = _BOTH.get(name) or table[name]
            return rule(b, takes, *args)
    raise AssertionError(f"{op.name} has no instructions")


Rule = Callable[..., Value]


def _binary(opcode: str) -> Rule:
    return lambda b, _d, x, y: b.binary(opcode, x, y)


def _compare(ordered: str, signed: str, unsigned: str) -> Rule:
    def rule(b: Builder, d: DType, x: Value, y: Value) -> Value:
        if d.is_float:
            return b.fcmp(ordered, x, y)
        return b.icmp(signed if d.kind == "int" else unsigned, x, y)

    return rule


def _clip(b: Builder, d: DType, x: Value, low: Value, high: Value) -> Value:
    return _extreme("minimum", "min")(b, d, _extreme("maximum", "max")(b, d, x, low), high)


def _extreme(float_name: str, integer_name: str) -> Rule:
    def rule(b: Builder, d: DType, x: Value, y: Value) -> Value:
        if d.is_float:
            # x86 has no single instruction that keeps NaN; a comparison and a blend do.
            better = b.fcmp("ogt" if float_name == "maximum" else "olt", x, y)
            chosen = b.select(better, x, y)
            return b.select(b.fcmp("uno", x, x), x, chosen)
        if d.kind == "bool":
            return b.or_(x, y) if integer_name == "max" else b.and_(x, y)
        return b.intrinsic(("s" if d.kind == "int" else "u") + integer_name, x.type, [x, y])

    return rule


def _select(b: Builder, _d: DType, c: Value, x: Value, y: Value) -> Value:
    return b.select(c, x, y)


_BOTH: Final[Mapping[str, Rule]] = {
    "select": _select,
    "copy": lambda b, d, x: x,
    "maximum": _extreme("maximum", "max"),
    "minimum": _extreme("minimum", "min"),
    "clip": _clip,
    "equal": _compare("oeq", "eq", "eq"),
    "not_equal": _compare("une", "ne", "ne"),
    "less": _compare("olt", "slt", "ult"),
    "less_equal": _compare("ole", "sle", "ule"),
    "greater": _compare("ogt", "sgt", "ugt"),
    "greater_equal": _compare("oge", "sge", "uge"),
}

# Floats


def _unary(intrinsic: str) -> Rule:
    return lambda b, _d, x: b.intrinsic(intrinsic, x.type, [x])


def _sign(b: Builder, _d: DType, x: Value) -> Value:
    zero, one = b.zero(x.type), b.const(x.type, 1.0)
    # What remains is NaN, which stays, and zeros, which lose their sign: -0.0 + 0.0 is 0.0.
    up = b.select(b.fcmp("ogt", x, zero), one, b.fadd(x, zero))
    return b.select(b.fcmp("olt", x, zero), b.const(x.type, -1.0), up)


def _relu(b: Builder, _d: DType, x: Value) -> Value:
    zero = b.zero(x.type)
    return b.select(b.fcmp("ole", x, zero), zero, x)


def _fmod(b: Builder, d: DType, x: Value, y: Value) -> Value:
    """Return x - y*trunc(x/y), exactly, by long division on the bits in a function of its own."""
    return _by_lanes(b, _fmod_function(b, d), x, y)


def _remainder(b: Builder, d: DType, x: Value, y: Value) -> Value:
    r = _fmod(b, d, x, y)
    zero = b.zero(x.type)
    # The sign of the divisor, also on zeros, as in Python.
    differs = b.icmp("slt", b.xor(_bits(b, r), _bits(b, y)), b.zero(_bits(b, y).type))
    nonzero = b.fcmp("une", r, zero)
    moved = b.select(b.and_(differs, nonzero), b.fadd(r, y), r)
    signed = b.intrinsic("copysign", x.type, [zero, y])
    return b.select(b.fcmp("oeq", moved, zero), signed, moved)


def _floor_divide(b: Builder, d: DType, x: Value, y: Value) -> Value:
    # (x - rest) / y is within rounding of a whole number; the rest has the sign of x, so that
    # an infinite y leaves 0 or -1.
    r = _fmod(b, d, x, y)
    toward_zero = b.fdiv(b.fsub(x, r), y)
    bits = _bits(b, r)
    differs = b.icmp("slt", b.xor(bits, _bits(b, y)), b.zero(bits.type))
    down = b.and_(differs, b.fcmp("une", r, b.zero(x.type)))
    less = b.fsub(toward_zero, b.const(x.type, 1.0))
    quotient = b.select(down, less, toward_zero)
    rounded = b.intrinsic("floor", x.type, [quotient])
    half = b.fcmp("ogt", b.fsub(quotient, rounded), b.const(x.type, 0.5))
    up = b.select(half, b.fadd(rounded, b.const(x.type, 1.0)), rounded)
    zero = b.intrinsic("copysign", x.type, [b.zero(x.type), b.fdiv(x, y)])
    whole = b.select(b.fcmp("oeq", quotient, b.zero(x.type)), zero, up)
    by_zero = b.fcmp("oeq", y, b.zero(x.type))
    return b.select(by_zero, b.fdiv(x, y), whole)


def _bits(b: Builder, x: Value) -> Value:
    return b.bitcast(x, I32 if x.type.bits == 32 else I64)


def _rsqrt(b: Builder, _d: DType, x: Value) -> Value:
    return b.fdiv(b.const(x.type, 1.0), b.intrinsic("sqrt", x.type, [x]))


_FLOAT: Final[Mapping[str, Rule]] = {
    "add": _binary("fadd"), "sub": _binary("fsub"), "mul": _binary("fmul"), "div": _binary("fdiv"),
    "neg": lambda b, _d, x: b.fneg(x),
    "abs": _unary("fabs"), "sqrt": _unary("sqrt"), "floor": _unary("floor"),
    "ceil": _unary("ceil"), "trunc": _unary("trunc"), "rint": _unary("rint"),
    "rsqrt": _rsqrt, "sign": _sign, "relu": _relu, "fmod": _fmod, "remainder": _remainder,
    "floor_divide": _floor_divide,
}  # fmt: skip

# Integers. Division by zero gives 0 and the one overflow wraps, where the processor would trap.


def _integer_sign(b: Builder, d: DType, x: Value) -> Value:
    one, zero = b.const(x.type, 1), b.zero(x.type)
    if d.kind == "uint":
        return b.select(b.icmp("ne", x, zero), one, zero)
    down = b.select(b.icmp("slt", x, zero), b.const(x.type, -1), zero)
    return b.select(b.icmp("sgt", x, zero), one, down)


def _integer_abs(b: Builder, d: DType, x: Value) -> Value:
    return b.intrinsic("abs", x.type, [x], extra="false") if d.kind == "int" else x


def _safe_divisor(b: Builder, d: DType, x: Value, y: Value) -> tuple[Value, Value]:
    """Return a divisor that cannot trap, and whether the true one was 0."""
    zero, one = b.zero(y.type), b.const(y.type, 1)
    none = b.icmp("eq", y, zero)
    safe = b.select(none, one, y)
    if d.kind == "int":
        lowest = b.const(x.type, -(1 << (x.type.bits - 1)))
        overflow = b.and_(b.icmp("eq", x, lowest), b.icmp("eq", y, b.const(y.type, -1)))
        safe = b.select(overflow, one, safe)
    return safe, none


def _integer_divide(b: Builder, d: DType, x: Value, y: Value) -> Value:
    safe, none = _safe_divisor(b, d, x, y)
    if d.kind != "int":
        return b.select(none, b.zero(x.type), b.binary("udiv", x, safe))
    quotient = b.binary("sdiv", x, safe)
    rest = b.binary("sub", x, b.binary("mul", quotient, safe))
    inexact = b.icmp("ne", rest, b.zero(x.type))
    differs = b.icmp("slt", b.xor(rest, safe), b.zero(x.type))
    down = b.binary("sub", quotient, b.const(x.type, 1))
    floored = b.select(b.and_(inexact, differs), down, quotient)
    return b.select(none, b.zero(x.type), floored)


def _integer_remainder(b: Builder, d: DType, x: Value, y: Value) -> Value:
    _, none = _safe_divisor(b, d, x, y)
    whole = _integer_divide(b, d, x, y)
    rest = b.binary("sub", x, b.binary("mul", whole, y))
    return b.select(none, b.zero(x.type), rest)


def _integer_fmod(b: Builder, d: DType, x: Value, y: Value) -> Value:
    safe, none = _safe_divisor(b, d, x, y)
    rest = b.binary("srem" if d.kind == "int" else "urem", x, safe)
    return b.select(none, b.zero(x.type), rest)


def _shift(opcode: str) -> Rule:
    def rule(b: Builder, d: DType, x: Value, y: Value) -> Value:
        bits = b.const(y.type, x.type.bits)
        inside = b.icmp("ult", y, bits)
        if opcode == "shl":
            return b.select(inside, b.shl(x, b.select(inside, y, b.zero(y.type))), b.zero(x.type))
        if d.kind == "int":
            return b.ashr(x, b.select(inside, y, b.const(y.type, x.type.bits - 1)))
        shifted = b.lshr(x, b.select(inside, y, b.zero(y.type)))
        return b.select(inside, shifted, b.zero(x.type))

    return rule


_INTEGER: Final[Mapping[str, Rule]] = {
    "add": _binary("add"), "sub": _binary("sub"), "mul": _binary("mul"),
    "neg": lambda b, _d, x: b.binary("sub", b.zero(x.type), x),
    "abs": _integer_abs, "sign": _integer_sign,
    "and": _binary("and"), "or": _binary("or"), "xor": _binary("xor"),
    "not": lambda b, d, x: b.xor(x, b.const(x.type, 1 if d.kind == "bool" else -1)),
    "shift_left": _shift("shl"), "shift_right": _shift("shr"),
    "floor_divide": _integer_divide, "remainder": _integer_remainder, "fmod": _integer_fmod,
}  # fmt: skip


def _integer_power(b: Builder, x: Value, y: Value, d: DType) -> Value:
    """Return x**y by squaring; a negative power keeps what 1/x truncates to."""
    one, zero = b.const(x.type, 1), b.zero(x.type)
    result, base = one, x
    for bit in range(x.type.bits - (1 if d.kind == "int" else 0)):
        set_ = b.icmp("ne", b.and_(b.lshr(y, b.const(y.type, bit)), one), zero)
        result = b.select(set_, b.binary("mul", result, base), result)
        base = b.binary("mul", base, base)
    if d.kind != "int":
        return result
    odd = b.icmp("ne", b.and_(y, one), zero)
    minus = b.const(x.type, -1)
    unit = b.select(b.icmp("eq", x, one), one, zero)
    inverse = b.select(b.icmp("eq", x, minus), b.select(odd, minus, one), unit)
    return b.select(b.icmp("slt", y, zero), inverse, result)


# Conversions


def _convert(b: Builder, machine: Machine, x: Value, source: DType, to: DType) -> Value:
    """Convert lanes; from and to 16 bits by way of float32."""
    if source is to:
        return x
    if source.is_half:
        x, source = widen(b, machine, x, source), FLOAT32
    if not to.is_half:
        return _cast(b, x, source, to)
    x = x if source.is_float else _cast(b, x, source, FLOAT32)
    return narrow(b, machine, x, to)


def _cast(b: Builder, x: Value, source: DType, to: DType) -> Value:
    if source is to:
        return x
    element = ltype(to)
    if to.kind == "bool":
        zero = b.zero(x.type)
        return b.fcmp("une", x, zero) if source.is_float else b.icmp("ne", x, zero)
    if source.is_float and to.is_float:
        return b.cast("fptrunc" if to.nbytes < source.nbytes else "fpext", x, element)
    if source.is_float:
        # Saturating: what does not fit would otherwise be undefined.
        wide = I64 if to.kind == "uint" else element
        name = f"fptosi.sat.{vector(wide, x.type.lanes).mangled}"
        whole = b.intrinsic(name, vector(wide, x.type.lanes), [x])
        return whole if wide == element else b.cast("trunc", whole, element)
    if to.is_float:
        return b.cast("sitofp" if source.kind == "int" else "uitofp", x, element)
    if x.type.bits == element.bits:
        return x
    if x.type.bits > element.bits:
        return b.cast("trunc", x, element)
    return b.cast("sext" if source.kind == "int" else "zext", x, element)


# Exact remainder of floats


def _by_lanes(b: Builder, function: str, x: Value, y: Value) -> Value:
    """Call a scalar function for each lane."""
    if not x.type.lanes:
        return b.call(function, x.type, [x, y])
    result = b.poison(x.type)
    for lane in range(x.type.lanes):
        one = b.call(function, x.type.element, [b.extract(x, lane), b.extract(y, lane)])
        result = b.insert(result, one, lane)
    return result


def _fmod_function(b: Builder, d: DType) -> str:
    """Define, once, the exact remainder: the dividend's mantissa shifted and reduced bit by bit.

    |x| = mx 2^ex and |y| = my 2^ey as whole mantissas; while ex > ey, mx = 2 mx mod my.
    """
    name = f"fmod.{d.name}"
    module = b.module
    if module.has_function(name):
        return name
    float_, whole = (F32, I32) if d.nbytes == 4 else (F64, I64)
    mantissa = 23 if d.nbytes == 4 else 52
    f, (x, y) = module.function(
        name, float_, [(float_, "x"), (float_, "y")], attrs="nounwind noinline"
    )

    def bits(v: Value) -> Value:
        return f.bitcast(f.intrinsic("fabs", float_, [v]), whole)

    ax, ay = bits(x), bits(y)
    top = f.const(whole, 1 << mantissa)
    infinity = f.const(whole, ((1 << (d.nbytes * 8 - 1 - mantissa)) - 1) << mantissa)
    bad = f.or_(f.icmp("uge", ax, infinity), f.icmp("ugt", ay, infinity))
    bad = f.or_(bad, f.icmp("eq", ay, f.zero(whole)))
    small = f.icmp("ult", ax, ay)

    def split(a: Value) -> tuple[Value, Value]:
        exponent = f.lshr(a, f.const(whole, mantissa))
        normal = f.icmp("ne", exponent, f.zero(whole))
        part = f.and_(a, f.const(whole, (1 << mantissa) - 1))
        return f.select(normal, f.or_(part, top), part), f.select(
            normal, exponent, f.const(whole, 1)
        )

    mx, ex = split(ax)
    my, ey = split(f.select(bad, f.const(whole, 1), ay))
    turns = f.select(f.or_(bad, small), f.zero(whole), f.binary("sub", ex, ey))
    turns64 = f.cast("sext", turns, I64)

    def turn(_i: Value, carried: list[Value]) -> list[Value]:
        doubled = f.shl(f.binary("urem", carried[0], my), f.const(whole, 1))
        return [doubled]

    (reduced,) = f.loop(0, turns64, 1, [mx], turn)
    rest = f.binary("urem", reduced, my)
    # Value = rest * 2^(ey - bias - mantissa): scale the whole number back exactly, in two factors.
    as_float = f.cast("uitofp", rest, float_)
    bias = 127 if d.nbytes == 4 else 1023
    scaled = _scaled(
        f, as_float, f.binary("sub", ey, f.const(whole, bias + mantissa)), whole, mantissa, bias
    )
    signed = f.intrinsic("copysign", float_, [scaled, x])
    result = f.select(small, x, signed)
    # NaN for an infinite dividend, a zero divisor, or NaN.
    nan = f.fdiv(f.fmul(x, y), f.fmul(x, f.zero(float_)))
    plain = f.select(bad, f.fsub(nan, nan), result)
    f.ret(f.select(f.fcmp("uno", x, y), f.fadd(x, y), plain))
    f.close()
    return name


def _scaled(f: Builder, x: Value, exponent: Value, whole: LType, mantissa: int, bias: int) -> Value:
    """Multiply by 2**exponent in two exact steps."""
    half = f.ashr(exponent, f.const(whole, 1))
    other = f.binary("sub", exponent, half)

    def power(e: Value) -> Value:
        biased = f.binary("add", e, f.const(whole, bias))
        return f.bitcast(f.shl(biased, f.const(whole, mantissa)), x.type)

    return f.fmul(f.fmul(x, power(half)), power(other))
