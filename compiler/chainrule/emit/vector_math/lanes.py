"""Arithmetic written as arithmetic: a value with Python's operators, each one instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from chainrule.emit.builder import BOOL, F32, F64, I32, I64, Builder, LType, Value
from chainrule.emit.machine import Machine

__all__ = ["Lanes", "Number"]

# Dekker's constants: multiplying by them splits a number into two halves of its digits.
_SPLITTER = {"float": 4097.0, "double": 134217729.0}


class Lanes:
    """A float, integer or mask operand, scalar or vector, of the function `b` is writing.

    The other operand may be a Python number.  Comparisons are false for NaN and give masks.
    """

    __slots__ = ("b", "machine", "value")

    def __init__(self, b: Builder, machine: Machine, value: Value) -> None:
        self.b = b
        self.machine = machine
        self.value = value

    # Shapes --------------------------------------------------------------------------------

    @property
    def type(self) -> LType:
        """The operand's LLVM type."""
        return self.value.type

    @property
    def scalar(self) -> str:
        """`float` or `double`: the key of tables by precision."""
        return self.type.scalar

    @property
    def is_double(self) -> bool:
        """Tell whether lanes are doubles."""
        return self.scalar == "double"

    def like(self, value: Value) -> Lanes:
        """Wrap another value of the same function."""
        return Lanes(self.b, self.machine, value)

    def constant(self, number: float) -> Lanes:
        """Return `number` in this type."""
        return self.like(self.b.const(self.type, number))

    def _operand(self, other: Number) -> Value:
        return other.value if isinstance(other, Lanes) else self.b.const(self.type, other)

    def _binary(self, opcode: str, other: Number) -> Lanes:
        if self.type.is_float:
            opcode = "f" + opcode
        return self.like(self.b.binary(opcode, self.value, self._operand(other)))

    # Arithmetic ----------------------------------------------------------------------------

    def __add__(self, other: Number) -> Lanes:
        return self._binary("add", other)

    def __sub__(self, other: Number) -> Lanes:
        return self._binary("sub", other)

    def __mul__(self, other: Number) -> Lanes:
        return self._binary("mul", other)

    def __truediv__(self, other: Number) -> Lanes:
        return self.like(self.b.fdiv(self.value, self._operand(other)))

    def __radd__(self, other: float) -> Lanes:
        return self + other

    def __rsub__(self, other: float) -> Lanes:
        return self.constant(other) - self

    def __rmul__(self, other: float) -> Lanes:
        return self * other

    def __rtruediv__(self, other: float) -> Lanes:
        return self.constant(other) / self

    def __neg__(self) -> Lanes:
        return self.like(self.b.fneg(self.value))

    def __abs__(self) -> Lanes:
        return self.like(self.b.intrinsic("fabs", self.type, [self.value]))

    def times_plus(self, factor: Number, term: Number) -> Lanes:
        """Return self * factor + term: rounded once where the machine can, else twice."""
        if not self.machine.fma:
            return self * factor + term
        return self.like(self.b.fma(self.value, self._operand(factor), self._operand(term)))

    def minus_times(self, a: Lanes, b: Number) -> Lanes:
        """Return self - a * b, rounded as `times_plus` is."""
        if isinstance(b, Lanes):
            return (-a).times_plus(b, self)
        return a.times_plus(-b, self)

    def polynomial(self, coefficients: Sequence[float]) -> Lanes:
        """Evaluate by Horner's rule, highest power first."""
        total: Number = coefficients[0]
        for c in coefficients[1:]:
            total = self.times_plus(total, c)
        return total if isinstance(total, Lanes) else self.constant(total)

    def sqrt(self) -> Lanes:
        """Return the correctly rounded square root."""
        return self.like(self.b.intrinsic("sqrt", self.type, [self.value]))

    def times_exactly(self, other: Lanes) -> tuple[Lanes, Lanes]:
        """Return the rounded product and its rounding error."""
        product = self * other
        if self.machine.fma:
            return product, self.times_plus(other, -product)
        a, a_low = self._halves()
        b, b_low = other._halves()
        return product, a_low * b_low - (((product - a * b) - a_low * b) - a * b_low)

    def _halves(self) -> tuple[Lanes, Lanes]:
        shifted = self * _SPLITTER[self.scalar]
        high = shifted - (shifted - self)
        return high, self - high

    def plus_smaller(self, other: Number) -> tuple[Lanes, Lanes]:
        """Return the rounded sum and its rounding error, for |self| >= |other| or self zero."""
        total = self + other
        error = (self - total) + other
        return total, error

    def plus_exactly(self, other: Number) -> tuple[Lanes, Lanes]:
        """Return the rounded sum and its rounding error, whichever operand is larger."""
        total = self + other
        back = total - self
        return total, (self - (total - back)) + (other - back)

    # Bits ----------------------------------------------------------------------------------

    def __and__(self, other: Number) -> Lanes:
        return self.like(self.b.and_(self.value, self._operand(other)))

    def __or__(self, other: Number) -> Lanes:
        return self.like(self.b.or_(self.value, self._operand(other)))

    def __xor__(self, other: Number) -> Lanes:
        return self.like(self.b.xor(self.value, self._operand(other)))

    def __lshift__(self, count: int) -> Lanes:
        return self.like(self.b.shl(self.value, self._operand(count)))

    def __rshift__(self, count: int) -> Lanes:
        """Shift right, copying the sign."""
        return self.like(self.b.ashr(self.value, self._operand(count)))

    def shifted_right(self, count: int) -> Lanes:
        """Shift right, filling with zeros."""
        return self.like(self.b.lshr(self.value, self._operand(count)))

    def bits(self) -> Lanes:
        """Reinterpret floats as integers of their size."""
        return self.like(self.b.bitcast(self.value, I64 if self.is_double else I32))

    def as_float(self) -> Lanes:
        """Reinterpret integers as floats of their size."""
        return self.like(self.b.bitcast(self.value, F64 if self.type.bits == 64 else F32))

    def copy_sign(self, source: Lanes) -> Lanes:
        """Return this magnitude with the sign of `source`."""
        return self.like(self.b.intrinsic("copysign", self.type, [self.value, source.value]))

    # Comparison and choice -----------------------------------------------------------------

    def _compare(self, predicate: str, other: Number) -> Lanes:
        operand = self._operand(other)
        if self.type.is_float:
            return self.like(self.b.fcmp("o" + predicate, self.value, operand))
        return self.like(self.b.icmp("s" + predicate, self.value, operand))

    def __lt__(self, other: Number) -> Lanes:
        return self._compare("lt", other)

    def __le__(self, other: Number) -> Lanes:
        return self._compare("le", other)

    def __gt__(self, other: Number) -> Lanes:
        return self._compare("gt", other)

    def __ge__(self, other: Number) -> Lanes:
        return self._compare("ge", other)

    def equals(self, other: Number) -> Lanes:
        """Compare for equality (false for NaN)."""
        operand = self._operand(other)
        if self.type.is_float:
            return self.like(self.b.fcmp("oeq", self.value, operand))
        return self.like(self.b.icmp("eq", self.value, operand))

    def is_nan(self) -> Lanes:
        """Tell which lanes are NaN."""
        return self.like(self.b.fcmp("uno", self.value, self.value))

    def choose(self, a: Lanes, b: Number) -> Lanes:
        """Return `a` where this mask holds, else `b`."""
        return self.like(self.b.select(self.value, a.value, a._operand(b)))

    def at_least(self, low: float) -> Lanes:
        """Raise to `low`; NaN stays."""
        return (self < low).choose(self.constant(low), self)

    def at_most(self, high: float) -> Lanes:
        """Lower to `high`; NaN stays."""
        return (self > high).choose(self.constant(high), self)

    def any(self) -> Value:
        """Tell whether this mask holds in some lane (a scalar i1)."""
        return self.b.reduce("or", self.value) if self.type.lanes else self.value

    # Conversion ----------------------------------------------------------------------------

    def widened(self) -> Lanes:
        """Return floats as doubles."""
        return self.like(self.b.cast("fpext", self.value, F64))

    def narrowed(self) -> Lanes:
        """Round doubles to floats."""
        return self.like(self.b.cast("fptrunc", self.value, F32))

    def to_float(self, element: LType) -> Lanes:
        """Convert integers to floats."""
        opcode = "uitofp" if self.type.element == BOOL else "sitofp"
        return self.like(self.b.cast(opcode, self.value, element))


Number: TypeAlias = Lanes | float
