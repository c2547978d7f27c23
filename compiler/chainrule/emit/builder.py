"""A small typed writer of LLVM IR text: values carry their type, one method an instruction.

Text is written because building the same module through llvmlite's object model costs fifty times
more.  Nothing outside this file formats an instruction.  Integer operands may be Python ints; index
arithmetic on constants folds, so static addresses cost no instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "BOOL", "F16", "F32", "F64", "I8", "I16", "I32", "I64", "PTR", "VOID",
    "Builder", "LType", "Module", "Value", "vector",
]  # fmt: skip


class LType(NamedTuple):
    """An LLVM type: a scalar's name, and its number of lanes (0 for a scalar)."""

    scalar: str
    lanes: int = 0

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.scalar}>" if self.lanes else self.scalar

    @property
    def element(self) -> LType:
        """The type of one lane."""
        return LType(self.scalar)

    @property
    def bits(self) -> int:
        """Bits of one lane."""
        return _BITS[self.scalar]

    @property
    def is_float(self) -> bool:
        """Tell whether lanes are floating point."""
        return self.scalar in ("float", "double")

    @property
    def mangled(self) -> str:
        """The type's spelling inside the name of an overloaded intrinsic."""
        base = {"float": "f32", "double": "f64", "ptr": "p0"}.get(self.scalar, self.scalar)
        return f"v{self.lanes}{base}" if self.lanes else base

    def with_lanes(self, lanes: int) -> LType:
        """Return the same scalar with another number of lanes."""
        return LType(self.scalar, lanes)


_BITS: Final = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "half": 16, "float": 32,
                "double": 64, "ptr": 64, "void": 0}  # fmt: skip

VOID: Final = LType("void")
BOOL: Final = LType("i1")
I8: Final = LType("i8")
I16: Final = LType("i16")
I32: Final = LType("i32")
I64: Final = LType("i64")
F16: Final = LType("half")
F32: Final = LType("float")
F64: Final = LType("double")
PTR: Final = LType("ptr")


def vector(element: LType, lanes: int) -> LType:
    """Return the type of `lanes` elements side by side (a scalar for `lanes == 0`)."""
    return LType(element.scalar, lanes)


class Value(NamedTuple):
    """An operand: its type and its text (a local's name or a constant)."""

    type: LType
    text: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"

    @property
    def constant(self) -> int | None:
        """The Python int behind a constant scalar integer, else None."""
        if self.type.lanes or self.text[0] not in "-0123456789" or self.type.is_float:
            return None
        return int(self.text)


Operand: TypeAlias = Value | int


def _argument(name: str) -> str:
    """Return an argument as LLVM writes it: what is no ASCII word in quotes, byte by byte."""
    text = f"a.{name}"
    if text.replace(".", "_").replace("$", "_").isidentifier() and text.isascii():
        return f"%{text}"
    return '%"' + "".join(f"\\{byte:02X}" for byte in text.encode()) + '"'


class Module:
    """Functions, globals and declarations of one LLVM module, in order of definition."""

    def __init__(self) -> None:
        self.in_line = 0
        "uses of vector functions so far, which decides whether the next is in line"
        self._declared: dict[str, str] = {}
        self._globals: dict[str, str] = {}
        self._functions: dict[str, list[str]] = {}

    def declare(
        self, name: str, result: LType, arguments: Iterable[LType], attrs: str = ""
    ) -> None:
        """Declare an external function or intrinsic once."""
        if name not in self._declared:
            inner = ", ".join(map(str, arguments))
            self._declared[name] = f"declare {result} @{name}({inner}) {attrs}".rstrip()

    def add_global(self, name: str, text: str) -> Value:
        """Define global `name` as `text` (what follows `=`), once, and return its address."""
        self._globals.setdefault(name, text)
        return Value(PTR, f"@{name}")

    def has_function(self, name: str) -> bool:
        """Tell whether `name` has been defined, so that equal kernels are written once."""
        return name in self._functions

    def function(
        self,
        name: str,
        result: LType,
        arguments: Sequence[tuple[LType, str]],
        *,
        internal: bool = True,
        attrs: str = "nounwind",
        noalias: Sequence[str] = (),
    ) -> tuple[Builder, list[Value]]:
        """Open function `name`; return a builder standing in its entry block, and its arguments.

        Argument names need only be unique among themselves; they are prefixed against clashes.
        """  # fmt: skip
        lines: list[str] = []
        self._functions[name] = lines
        inner = ", ".join(
            f"{t}{' noalias' if n in noalias else ''} {_argument(n)}" for t, n in arguments
        )  # fmt: skip
        linkage = "internal " if internal else ""
        # "no-builtins": a loop that fills memory stays one, so the code needs no C library.
        lines.append(f'define {linkage}{result} @{name}({inner}) {attrs} "no-builtins" {{')
        lines.append("entry:")
        return Builder(self, lines), [Value(t, _argument(n)) for t, n in arguments]

    def text(self, names: Iterable[str] | None = None) -> str:
        """Return the module's LLVM IR, or that of the functions called `names`."""
        if names is not None:
            return "\n\n".join("\n".join(self._functions[n]) for n in names)
        parts = [f"@{n} = {t}" for n, t in self._globals.items()]
        parts += self._declared.values()
        parts += ["\n".join(lines) for lines in self._functions.values()]
        return "\n".join(parts) + "\n"


class Builder:
    """Appends instructions to one function; stands in one basic block at a time."""

    def __init__(self, module: Module, lines: list[str]) -> None:
        self.module: Final = module
        self.block = "entry"
        self._lines = lines
        self._next = 0

    def _name(self) -> str:
        self._next += 1
        return f"%v{self._next}"

    def _define(self, type_: LType, text: str) -> Value:
        name = self._name()
        self._lines.append(f"  {name} = {text}")
        return Value(type_, name)

    def _do(self, text: str) -> None:
        self._lines.append(f"  {text}")

    def new_label(self, hint: str) -> str:
        """Return a fresh label; `start` opens its block."""
        self._next += 1
        return f"{hint}.{self._next}"

    def start(self, label: str) -> None:
        """Open the block `label`; what follows goes there."""
        self._lines.append(f"{label}:")
        self.block = label

    def const(self, type_: LType, number: float | bool) -> Value:
        """Return `number` as a constant of `type_`, in every lane of a vector."""
        if type_.is_float:
            wide = float(number)
            if type_.scalar == "float":
                # Round here: LLVM refuses a float constant that is not exactly a float.
                wide = struct.unpack("f", struct.pack("f", _saturated(wide)))[0]
            text = f"0x{struct.unpack('>Q', struct.pack('>d', wide))[0]:016X}"
        else:
            text = str(int(number))
        if type_.lanes:
            return Value(type_, f"splat ({type_.element} {text})")
        return Value(type_, text)

    def lanes(self, element: LType, numbers: Sequence[float]) -> Value:
        """Return a vector constant with the given lanes."""
        inner = ", ".join(f"{element} {self.const(element, n).text}" for n in numbers)
        return Value(vector(element, len(numbers)), f"<{inner}>")

    def zero(self, type_: LType) -> Value:
        """Return zero (null for pointers) of `type_`."""
        if type_.lanes:
            return Value(type_, "zeroinitializer")
        return Value(type_, "null") if type_ == PTR else self.const(type_, 0)

    def poison(self, type_: LType) -> Value:
        """Return an undefined value that a later insert overwrites."""
        return Value(type_, "poison")

    def i64(self, number: Operand) -> Value:
        """Return an index operand as a value."""
        return number if isinstance(number, Value) else Value(I64, str(number))

    def binary(self, opcode: str, a: Operand, b: Operand) -> Value:
        """Emit `opcode` (`fadd`, `xor`, ...) on two operands of one type."""
        a, b = self._pair(a, b)
        return self._define(a.type, f"{opcode} {a}, {b.text}")

    def _pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        if not isinstance(a, Value):
            a = self.const(b.type if isinstance(b, Value) else I64, a)
        if not isinstance(b, Value):
            b = self.const(a.type, b)
        assert a.type == b.type, f"operand types differ: {a} and {b}"
        return a, b

    def fadd(self, a: Operand, b: Operand) -> Value:
        """Add floats."""
        return self.binary("fadd", a, b)

    def fsub(self, a: Operand, b: Operand) -> Value:
        """Subtract floats."""
        return self.binary("fsub", a, b)

    def fmul(self, a: Operand, b: Operand) -> Value:
        """Multiply floats."""
        return self.binary("fmul", a, b)

    def fdiv(self, a: Operand, b: Operand) -> Value:
        """Divide floats."""
        return self.binary("fdiv", a, b)

    def and_(self, a: Operand, b: Operand) -> Value:
        """And bits."""
        return self.binary("and", a, b)

    def or_(self, a: Operand, b: Operand) -> Value:
        """Or bits."""
        return self.binary("or", a, b)

    def xor(self, a: Operand, b: Operand) -> Value:
        """Exclusive-or bits."""
        return self.binary("xor", a, b)

    def shl(self, a: Operand, b: Operand) -> Value:
        """Shift left."""
        return self.binary("shl", a, b)

    def lshr(self, a: Operand, b: Operand) -> Value:
        """Shift right, filling with zeros."""
        return self.binary("lshr", a, b)

    def ashr(self, a: Operand, b: Operand) -> Value:
        """Shift right, filling with the sign."""
        return self.binary("ashr", a, b)

    def fneg(self, a: Value) -> Value:
        """Flip the sign bit."""
        return self._define(a.type, f"fneg {a}")

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a * b + c, rounded once."""
        return self.intrinsic("fma", a.type, [a, b, c])

    def add(self, a: Operand, b: Operand) -> Value:
        """Add integers; constants fold."""
        ca, cb = _known(a), _known(b)
        if ca is not None and cb is not None:
            return self._folded(a, b, ca + cb)
        if ca == 0:
            return self.i64(b)
        if cb == 0:
            return self.i64(a)
        return self.binary("add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        """Subtract integers; constants fold."""
        ca, cb = _known(a), _known(b)
        if ca is not None and cb is not None:
            return self._folded(a, b, ca - cb)
        return self.i64(a) if cb == 0 else self.binary("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        """Multiply integers; constants fold."""
        ca, cb = _known(a), _known(b)
        if ca is not None and cb is not None:
            return self._folded(a, b, ca * cb)
        if ca == 1:
            return self.i64(b)
        if cb == 1:
            return self.i64(a)
        return self.binary("mul", a, b)

    def sdiv(self, a: Operand, b: Operand) -> Value:
        """Divide integers known to be non-negative."""
        ca, cb = _known(a), _known(b)
        if ca is not None and cb:
            return self._folded(a, b, ca // cb)
        return self.i64(a) if cb == 1 else self.binary("sdiv", a, b)

    def srem(self, a: Operand, b: Operand) -> Value:
        """Return the remainder of integers known to be non-negative."""
        ca, cb = _known(a), _known(b)
        if ca is not None and cb:
            return self._folded(a, b, ca % cb)
        return self.binary("srem", a, b)

    def smin(self, a: Operand, b: Operand) -> Value:
        """Return the smaller of two integers."""
        a, b = self._pair(a, b)
        return self.intrinsic("smin", a.type, [a, b])

    def smax(self, a: Operand, b: Operand) -> Value:
        """Return the larger of two integers."""
        a, b = self._pair(a, b)
        return self.intrinsic("smax", a.type, [a, b])

    def checked(self, opcode: str, a: Operand, b: Operand) -> tuple[Value, Value]:
        """Emit signed `add`, `sub` or `mul`; return the result and whether it overflowed."""
        a, b = self._pair(a, b)
        pair, name = LType(f"{{ {a.type}, i1 }}"), f"llvm.s{opcode}.with.overflow.{a.type.mangled}"
        self.module.declare(name, pair, [a.type, a.type])
        both = self.call(name, pair, [a, b])
        result = self._define(a.type, f"extractvalue {both}, 0")
        return result, self._define(BOOL, f"extractvalue {both}, 1")

    def _folded(self, a: Operand, b: Operand, number: int) -> Value:
        type_ = a.type if isinstance(a, Value) else b.type if isinstance(b, Value) else I64
        return Value(type_, str(number))

    def fcmp(self, predicate: str, a: Operand, b: Operand) -> Value:
        """Compare floats (`olt`, `oeq`, `uno`, ...); one i1 a lane."""
        a, b = self._pair(a, b)
        return self._define(LType("i1", a.type.lanes), f"fcmp {predicate} {a}, {b.text}")

    def icmp(self, predicate: str, a: Operand, b: Operand) -> Value:
        """Compare integers or pointers (`slt`, `eq`, ...); one i1 a lane."""
        a, b = self._pair(a, b)
        return self._define(LType("i1", a.type.lanes), f"icmp {predicate} {a}, {b.text}")

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """Choose `a` where the condition holds, lane by lane."""
        assert a.type == b.type, f"operand types differ: {a} and {b}"
        return self._define(a.type, f"select {condition}, {a}, {b}")

    def cast(self, opcode: str, a: Value, element: LType) -> Value:
        """Convert lanes (`sitofp`, `fptosi`, `trunc`, `zext`, `bitcast`, ...) to `element`."""
        to = vector(element, a.type.lanes)
        return a if to == a.type else self._define(to, f"{opcode} {a} to {to}")

    def bitcast(self, a: Value, element: LType) -> Value:
        """Reinterpret the bits of each lane."""
        return self.cast("bitcast", a, element)

    def pointer(self, address: Operand) -> Value:
        """Turn an integer address into a pointer."""
        return self._define(PTR, f"inttoptr {self.i64(address)} to ptr")

    def address(self, pointer: Value) -> Value:
        """Turn a pointer into an integer address."""
        return self._define(I64, f"ptrtoint {pointer} to i64")

    def opaque(self, a: Value) -> Value:
        """Return `a` as a number whose origin the code generator's loop rewriting cannot see."""
        return self._define(a.type, f"freeze {a}")

    def splat(self, a: Value, lanes: int) -> Value:
        """Copy a scalar into every lane (unchanged for `lanes == 0`)."""
        if not lanes:
            return a
        if not a.text.startswith("%"):
            return Value(vector(a.type, lanes), f"splat ({a})")
        one = self.insert(self.poison(vector(a.type, lanes)), a, 0)
        return self.shuffle(one, one, [0] * lanes)

    def insert(self, v: Value, a: Value, lane: Operand) -> Value:
        """Replace one lane."""
        return self._define(v.type, f"insertelement {v}, {a}, {self.i64(lane)}")

    def extract(self, v: Value, lane: Operand) -> Value:
        """Read one lane."""
        return self._define(v.type.element, f"extractelement {v}, {self.i64(lane)}")

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Pick lanes from the concatenation of `a` and `b`."""
        mask = ", ".join(f"i32 {i}" for i in lanes)
        to = vector(a.type, len(lanes))
        return self._define(to, f"shufflevector {a}, {b}, <{len(lanes)} x i32> <{mask}>")

    def step_vector(self, lanes: int, element: LType = I64) -> Value:
        """Return the constant 0, 1, 2, ..."""
        return self.lanes(element, range(lanes))

    def offset(self, pointer: Value, nbytes: Operand) -> Value:
        """Return `pointer` moved by `nbytes`."""
        if _known(nbytes) == 0:
            return pointer
        return self._define(PTR, f"getelementptr i8, {pointer}, {self.i64(nbytes)}")

    def load(self, type_: LType, pointer: Value, align: int | None = None) -> Value:
        """Load a scalar or vector; by default aligned to one element, as user arrays are."""
        align = align or max(1, type_.bits // 8)
        return self._define(type_, f"load {type_}, {pointer}, align {align}")

    def store(self, value: Value, pointer: Value, align: int | None = None) -> None:
        """Store a scalar or vector; by default aligned to one element."""
        align = align or max(1, value.type.bits // 8)
        self._do(f"store {value}, {pointer}, align {align}")

    def masked_load(
        self, type_: LType, pointer: Value, mask: Value, other: Value | None = None
    ) -> Value:
        """Load the lanes under the mask; the rest come from `other` (default zero)."""
        other = other or self.zero(type_)
        name = f"llvm.masked.load.{type_.mangled}.p0"
        self.module.declare(name, type_, [PTR, I32, mask.type, type_])
        align = max(1, type_.bits // 8)
        return self._define(type_, f"call {type_} @{name}({pointer}, i32 {align}, {mask}, {other})")

    def masked_store(self, value: Value, pointer: Value, mask: Value) -> None:
        """Store the lanes under the mask."""
        name = f"llvm.masked.store.{value.type.mangled}.p0"
        self.module.declare(name, VOID, [value.type, PTR, I32, mask.type])
        align = max(1, value.type.bits // 8)
        self._do(f"call void @{name}({value}, {pointer}, i32 {align}, {mask})")

    def offsets(self, pointer: Value, nbytes: Value) -> Value:
        """Return a vector of pointers, `pointer` moved by each lane of `nbytes`."""
        to = vector(PTR, nbytes.type.lanes)
        return self._define(to, f"getelementptr i8, {pointer}, {nbytes}")

    def masked_gather(self, type_: LType, pointers: Value, mask: Value) -> Value:
        """Load one element through each pointer under the mask; the rest are zero."""
        name = f"llvm.masked.gather.{type_.mangled}.{pointers.type.mangled}"
        self.module.declare(name, type_, [pointers.type, I32, mask.type, type_])
        align = max(1, type_.bits // 8)
        inner = f"{pointers}, i32 {align}, {mask}, {self.zero(type_)}"
        return self._define(type_, f"call {type_} @{name}({inner})")

    def masked_scatter(self, value: Value, pointers: Value, mask: Value) -> None:
        """Store each lane under the mask through its own pointer."""
        name = f"llvm.masked.scatter.{value.type.mangled}.{pointers.type.mangled}"
        self.module.declare(name, VOID, [value.type, pointers.type, I32, mask.type])
        align = max(1, value.type.bits // 8)
        self._do(f"call void @{name}({value}, {pointers}, i32 {align}, {mask})")

    def alloca(self, nbytes: int, align: int = 64) -> Value:
        """Reserve stack bytes (call it in the entry block only)."""
        return self._define(PTR, f"alloca [{nbytes} x i8], align {align}")

    def intrinsic(
        self, name: str, result: LType, arguments: Sequence[Value], extra: str = ""
    ) -> Value:
        """Call the overloaded intrinsic `llvm.<name>.<type>` (overloaded on its first argument)."""
        full = f"llvm.{name}.{arguments[0].type.mangled}"
        types = [a.type for a in arguments] + ([BOOL] if extra else [])
        self.module.declare(full, result, types)
        inner = ", ".join(map(str, arguments)) + (f", i1 {extra}" if extra else "")
        return self._define(result, f"call {result} @{full}({inner})")

    def target_intrinsic(self, name: str, result: LType, arguments: Sequence[Value]) -> Value:
        """Call a processor's own intrinsic by its whole name."""
        self.module.declare(name, result, [a.type for a in arguments])
        return self.call(name, result, arguments)

    def reduce(self, kind: str, v: Value) -> Value:
        """Combine all lanes: `fadd`/`fmul` as a tree, `add`, `mul`, `and`, `or`, `smax`, ..."""
        element, full = v.type.element, f"llvm.vector.reduce.{kind}.{v.type.mangled}"
        if kind in ("fadd", "fmul"):
            self.module.declare(full, element, [element, v.type])
            start = self.const(element, -0.0 if kind == "fadd" else 1.0)
            # Without `reassoc` LLVM adds the lanes one after the other.
            return self._define(element, f"call reassoc {element} @{full}({start}, {v})")
        self.module.declare(full, element, [v.type])
        return self._define(element, f"call {element} @{full}({v})")

    def call(self, name: str, result: LType, arguments: Sequence[Value]) -> Value:
        """Call a function of this module."""
        inner = ", ".join(map(str, arguments))
        if result == VOID:
            self._do(f"call void @{name}({inner})")
            return Value(VOID, "")
        return self._define(result, f"call {result} @{name}({inner})")

    def call_pointer(self, function: Value, result: LType, arguments: Sequence[Value]) -> Value:
        """Call through a pointer (C calling convention)."""
        inner = ", ".join(map(str, arguments))
        if result == VOID:
            self._do(f"call void {function.text}({inner})")
            return Value(VOID, "")
        return self._define(result, f"call {result} {function.text}({inner})")

    def become(self, function: Value, result: LType, arguments: Sequence[Value]) -> None:
        """End the block by jumping into a function of this function's own type."""
        inner = ", ".join(map(str, arguments))
        self.ret(self._define(result, f"musttail call {result} {function.text}({inner})"))

    def raw(self, result: LType, text: str) -> Value:
        """Emit an instruction this builder has no method for (atomics)."""
        if result == VOID:
            self._do(text)
            return Value(VOID, "")
        return self._define(result, text)

    def ret(self, value: Value | None = None) -> None:
        """Return from the function."""
        self._do("ret void" if value is None else f"ret {value}")

    def close(self) -> None:
        """End the function's text."""
        self._lines.append("}")

    def branch(self, label: str) -> None:
        """Jump."""
        self._do(f"br label %{label}")

    def branch_if(self, condition: Value, then: str, otherwise: str) -> None:
        """Jump to one of two blocks."""
        self._do(f"br {condition}, label %{then}, label %{otherwise}")

    def phi(self, incoming: Sequence[tuple[Value, str]]) -> Value:
        """Merge values from predecessor blocks (first in a block)."""
        type_ = incoming[0][0].type
        pairs = ", ".join(f"[ {v.text}, %{label} ]" for v, label in incoming)
        return self._define(type_, f"phi {type_} {pairs}")

    def loop(
        self,
        start: Operand,
        stop: Operand,
        step: int = 1,
        carried: Sequence[Value] = (),
        body: Callable[[Value, list[Value]], Sequence[Value] | None] = lambda _i, _c: None,
        at_least_once: bool = False,
    ) -> list[Value]:
        """Emit `for i in range(start, stop, step)`; return the carried values after the last turn.

        `body(i, carried)` emits one turn and returns the next carried values.  A range known to
        be empty emits nothing; one known to have a single turn emits no loop.
        """  # fmt: skip
        first, last = _known(start), _known(stop)
        if first is not None and last is not None:
            if first >= last:
                return list(carried)
            if first + step >= last:
                return list(body(self.i64(start), list(carried)) or [])
            at_least_once = True
        head, done, before = self.new_label("loop"), self.new_label("done"), self.block
        if at_least_once:
            self.branch(head)
        else:
            self.branch_if(self.icmp("slt", self.i64(start), self.i64(stop)), head, done)
        self.start(head)
        i = Value(I64, self._name())
        turn = [Value(c.type, self._name()) for c in carried]
        place = len(self._lines)
        following = list(body(i, turn) or [])
        assert len(following) == len(turn), "a loop body returns its carried values"
        # `add` would fold nothing here, and the counter must be a fresh name.
        after = self.binary("add", i, step)
        end = self.block
        again = self.icmp("slt", after, self.i64(stop))
        self.branch_if(again, head, done)
        phis = [
            f"  {v.text} = phi {v.type} [ {a.text}, %{before} ], [ {b.text}, %{end} ]"
            for v, a, b in zip(
                [i, *turn], [self.i64(start), *carried], [after, *following], strict=True
            )
        ]
        self._lines[place:place] = phis
        self.start(done)
        if at_least_once:
            return following
        return [self.phi([(a, before), (b, end)]) for a, b in zip(carried, following, strict=True)]

    def if_(
        self,
        condition: Value,
        then: Callable[[], Sequence[Value] | None],
        otherwise: Callable[[], Sequence[Value] | None] | None = None,
    ) -> list[Value]:
        """Emit a branch; return the merged values of the two sides (none without `otherwise`)."""
        yes, no, end = self.new_label("then"), self.new_label("else"), self.new_label("end")
        self.branch_if(condition, yes, no if otherwise else end)
        self.start(yes)
        a = list(then() or [])
        yes_end = self.block
        self.branch(end)
        if otherwise is None:
            self.start(end)
            return []
        self.start(no)
        b = list(otherwise() or [])
        no_end = self.block
        self.branch(end)
        self.start(end)
        return [self.phi([(x, yes_end), (y, no_end)]) for x, y in zip(a, b, strict=True)]


def _known(a: Operand) -> int | None:
    return a.constant if isinstance(a, Value) else a


def _saturated(number: float) -> float:
    """Clamp what `struct` refuses to round to a float into infinity."""
    try:
        struct.pack("f", number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
    return number
