"""Loop IR to LLVM IR: one function a kernel, a walk over its statements.

Inside a vector loop a value either is the same in every lane and stays scalar, or has a lane a
turn.  The body is written twice: for whole vectors, and under a mask for what remains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from chainrule.emit.arithmetic import emit_number, emit_op, ltype, memory_type
from chainrule.emit.bounds import Bounds
from chainrule.emit.builder import BOOL, I32, I64, PTR, VOID, Builder, Module, Value, vector
from chainrule.emit.extents import emit_extent
from chainrule.emit.machine import Machine
from chainrule.emit.tiles import emit_tile
from chainrule.ir.dims import Extent, names_of
from chainrule.ir.types import DType
from chainrule.loops.ir import (
    Accumulator,
    Assign,
    Buffer,
    Combine,
    Compute,
    For,
    Kernel,
    Load,
    Number,
    Position,
    Statement,
    Store,
    Tile,
    Update,
    statements,
)
from chainrule.loops.lower import neutral
from chainrule.schedule.access import coefficient

__all__ = ["emit_kernel"]


SUM_BLOCK: Final = 64
"Turns after which a long sum starts anew, and such blocks after which it does so again."


def emit_kernel(
    module: Module, machine: Machine, kernel: Kernel, name: str, *, checked: bool = False
) -> None:
    """Define the function `void name(ptr buffer..., i64 extent..., ptr workspace)`.

    A `checked` one takes further arguments, `ptr status, i64 room...`: the number of elements in
    each buffer.  It leaves out accesses beyond them, and then writes 1 into the status.
    """
    arguments = [(PTR, b.name) for b in kernel.buffers] + [(I64, f"d.{e}") for e in kernel.extents]
    arguments.append((PTR, "workspace"))
    if checked:
        arguments += [(PTR, "status"), *((I64, f"room.{b.name}") for b in kernel.buffers)]
    b, values = module.function(name, VOID, arguments, attrs="nounwind noinline")
    given = iter(values)
    buffers = {buffer: next(given) for buffer in kernel.buffers}
    extents = {extent: next(given) for extent in kernel.extents}
    workspace = next(given)
    bounds = None
    if checked:
        bounds = Bounds(b, next(given), {buffer: next(given) for buffer in kernel.buffers})
    emitter = _Kernel(b, machine, buffers, extents, workspace, _lanes(kernel, machine), bounds)
    emitter.run(kernel.body, None)
    b.ret()
    b.close()


def _lanes(kernel: Kernel, machine: Machine) -> int:
    """Return the number of turns a vector takes: by the widest float, else the widest type.

    Where the order of additions counts it must not hang on what else the kernel computes.
    """
    if any(isinstance(s, Update) and s.ordered for s in statements(kernel.body)):
        return machine.lanes(8)
    dtypes = {b.dtype for b in kernel.buffers}
    dtypes |= {s.dtype for s in statements(kernel.body) if isinstance(s, Assign | Accumulator)}
    floats = [d.nbytes for d in dtypes if d.is_float]
    widest = max(floats or [d.nbytes for d in dtypes if d.kind != "bool"] or [4])
    return machine.lanes(max(widest, 4))


@dataclass(frozen=True, slots=True)
class _Lanes:
    """An open vector loop: its variable, the first turn's number, and which lanes exist."""

    variable: str
    base: Value
    count: int
    mask: Value | None
    single: bool = False
    "The mask is a constant: the first lane alone."


@dataclass(slots=True)
class _Running:
    """An accumulator: what it combines, and its value so far."""

    dtype: DType
    combine: Combine
    value: Value


class _Kernel:
    def __init__(
        self, b: Builder, machine: Machine, buffers: dict[Buffer, Value],
        extents: dict[str, Value], workspace: Value, lanes: int, bounds: Bounds | None,
    ) -> None:  # fmt: skip
        self.b, self.machine, self.buffers, self.workspace = b, machine, buffers, workspace
        self.bounds = bounds
        self.variables = dict(extents)
        self.values: dict[str, Value] = {}
        self.dtypes: dict[str, DType] = {}
        self.running: dict[str, _Running] = {}
        self.lanes = lanes

    # Statements

    def run(self, body: Sequence[Statement], lanes: _Lanes | None) -> None:
        for s in body:
            match s:
                case Assign():
                    self._assign(s, lanes)
                case Store():
                    self._store(s, lanes)
                case Accumulator(name, dtype, combine):
                    start = self.b.const(ltype(dtype), neutral(combine, dtype))
                    self.running[name] = _Running(dtype, combine, self._spread(start, lanes))
                    self.dtypes[name] = dtype
                case Update(name, value):
                    self._update(name, self._value(value), lanes)
                case For():
                    self._for(s, lanes)
                case Tile():
                    self._tile(s)
                case _:
                    assert_never(s)

    def _tile(self, s: Tile) -> None:
        def emit() -> None:
            emit_tile(self.b, self.machine, s, self.buffers, self.variables, self.workspace)

        if self.bounds is None:
            emit()
        else:
            self.b.if_(self.bounds.of_tile(s, self.variables), emit)

    def _value(self, name: str) -> Value:
        return self.running[name].value if name in self.running else self.values[name]

    def _spread(self, value: Value, lanes: _Lanes | None) -> Value:
        return self.b.splat(value, lanes.count) if lanes and not value.type.lanes else value

    def _assign(self, s: Assign, lanes: _Lanes | None) -> None:
        b = self.b
        self.dtypes[s.name] = s.dtype
        match s.value:
            case Load(buffer, offset):
                self.values[s.name] = self._load(buffer, offset, lanes)
            case Number(number):
                self.values[s.name] = emit_number(b, s.dtype, number)
            case Position(extent):
                self.values[s.name] = self._extent(extent, lanes)
            case Compute(op, names, _, takes):
                args = [self._value(n) for n in names]
                if any(a.type.lanes for a in args):
                    args = [self._spread(a, lanes) for a in args]
                self.values[s.name] = emit_op(b, self.machine, op, args, takes, s.dtype)
            case _:
                assert_never(s.value)
        if s.dtype.name == "i64":
            self.variables[s.name] = self.values[s.name]

    # Memory

    def _extent(self, extent: Extent, lanes: _Lanes | None) -> Value:
        """Return an extent as a scalar, or a lane each where it moves with the vector loop."""
        moving = lanes is not None and any(
            n == lanes.variable or self.variables[n].type.lanes for n in names_of(extent)
        )
        if not moving or lanes is None:
            return emit_extent(self.b, extent, self.variables)
        own = self.b.binary(
            "add", self.b.splat(lanes.base, lanes.count), self.b.step_vector(lanes.count)
        )
        return emit_extent(self.b, extent, {**self.variables, lanes.variable: own}, lanes.count)

    def _place(
        self, buffer: Buffer, offset: Extent, lanes: _Lanes | None
    ) -> tuple[Value, int | None]:
        """Return an address and how it moves: 0 not at all, 1 in steps, None: a pointer a lane."""
        nbytes = buffer.dtype.nbytes
        pointer = self.buffers[buffer]
        stride: Extent | None = 0
        if lanes is not None:
            if any(self.variables[n].type.lanes for n in names_of(offset) if n != lanes.variable):
                stride = None
            else:
                stride = coefficient(offset, lanes.variable)
        if lanes is None or stride in (0, 1):
            at = {**self.variables, lanes.variable: lanes.base} if lanes else self.variables
            element = emit_extent(self.b, offset, at)
            return self.b.offset(pointer, self.b.mul(element, nbytes)), 0 if stride == 0 else 1
        elements = self._extent(offset, lanes)
        scaled = self.b.binary("mul", elements, self.b.const(elements.type, nbytes))
        return self.b.offsets(pointer, scaled), None

    def _load(self, buffer: Buffer, offset: Extent, lanes: _Lanes | None) -> Value:
        b, element = self.b, memory_type(buffer.dtype)
        address, moves = self._place(buffer, offset, lanes)
        if self.bounds is not None:
            address, lanes = self._bounded(buffer, offset, address, moves, lanes)
        if moves == 0 or lanes is None:
            value = b.load(element, address)
        elif moves == 1:
            wide = vector(element, lanes.count)
            value = (
                b.masked_load(wide, address, lanes.mask) if lanes.mask else b.load(wide, address)
            )
        else:
            value = b.masked_gather(vector(element, lanes.count), address, self._mask(lanes))
        if buffer.dtype.name == "bool":
            return b.icmp("ne", value, b.zero(value.type))
        return value

    def _mask(self, lanes: _Lanes) -> Value:
        return lanes.mask or self.b.const(vector(BOOL, lanes.count), 1)

    def _store(self, s: Store, lanes: _Lanes | None) -> None:
        b, element = self.b, memory_type(s.buffer.dtype)
        address, moves = self._place(s.buffer, s.offset, lanes)
        value = self._value(s.value)
        if s.combine:
            before = self._load(s.buffer, s.offset, lanes)
            if before.type.lanes:
                value = self._spread(value, lanes)
            value = self._combined(s.combine, s.buffer.dtype, before, value)
        if s.buffer.dtype.name == "bool":
            value = b.cast("zext", value, element)
        if self.bounds is not None:
            address, lanes = self._bounded(s.buffer, s.offset, address, moves, lanes)
        if moves == 0 or lanes is None:
            b.store(value if not value.type.lanes else b.extract(value, 0), address)
            return
        value = self._spread(value, lanes)
        if moves == 1 and lanes.mask is None:
            b.store(value, address)
        elif moves == 1 and lanes.single:
            # LLVM stores too many bytes where it narrows a value and stores one lane of it.
            b.store(b.extract(value, 0), address)
        elif moves == 1:
            b.masked_store(value, address, self._mask(lanes))
        else:
            b.masked_scatter(value, address, self._mask(lanes))

    def _bounded(
        self, buffer: Buffer, offset: Extent, address: Value, moves: int | None,
        lanes: _Lanes | None,
    ) -> tuple[Value, _Lanes | None]:  # fmt: skip
        """Lead an access beyond a buffer elsewhere, or mask its lanes."""
        assert self.bounds is not None, "asked only in checked kernels"
        if moves == 0 or lanes is None:
            at = {**self.variables, lanes.variable: lanes.base} if lanes else self.variables
            element = emit_extent(self.b, offset, at)
            return self.bounds.scalar(buffer, element, address), lanes
        inside = self.bounds.lanes(buffer, self._extent(offset, lanes), self._mask(lanes))
        return address, replace(lanes, mask=inside, single=False)

    # Accumulators

    def _combined(self, combine: Combine, dtype: DType, old: Value, new: Value) -> Value:
        b = self.b
        match combine:
            case "sum" if dtype.kind == "bool":
                return b.or_(old, new)
            case "sum":
                return b.binary("fadd" if dtype.is_float else "add", old, new)
            case "prod":
                return b.binary("fmul" if dtype.is_float else "mul", old, new)
            case "last":
                return new
            case "max" | "min":
                if dtype.is_float:
                    # Keeps NaN, from either side: a comparison with NaN is false.
                    keeps = b.fcmp("oge" if combine == "max" else "ole", old, new)
                    nan = b.fcmp("uno", old, old)
                    return b.select(b.or_(keeps, nan), old, new)
                if dtype.kind == "bool":
                    return b.or_(old, new) if combine == "max" else b.and_(old, new)
                sign = "s" if dtype.kind == "int" else "u"
                return b.intrinsic(sign + combine, old.type, [old, new])
            case _:
                assert_never(combine)

    def _update(self, name: str, value: Value, lanes: _Lanes | None) -> None:
        state = self.running[name]
        if state.value.type.lanes:
            value = self._spread(value, lanes)
        new = self._combined(state.combine, state.dtype, state.value, value)
        if lanes is not None and lanes.mask is not None and new.type.lanes:
            new = self.b.select(lanes.mask, new, state.value)
        state.value = new

    def _across(self, state: _Running, lanes: Value) -> Value:
        """Combine the lanes of a vector accumulator."""
        b, dtype = self.b, state.dtype
        match state.combine:
            case "sum" | "prod" if not dtype.is_float:
                return b.reduce("add" if state.combine == "sum" else "mul", lanes)
            case "sum" | "prod" | "max" | "min" if dtype.is_float:
                # Halve by shuffles: one order on every processor, and no NaN is dropped.
                while lanes.type.lanes > 1:
                    half = lanes.type.lanes // 2
                    low = b.shuffle(lanes, lanes, range(half))
                    high = b.shuffle(lanes, lanes, range(half, 2 * half))
                    lanes = self._combined(state.combine, dtype, low, high)
                return b.extract(lanes, 0)
            case "max" | "min":
                if dtype.kind == "bool":
                    return b.reduce("or" if state.combine == "max" else "and", lanes)
                sign = "s" if dtype.kind == "int" else "u"
                return b.reduce(sign + state.combine, lanes)
            case _:
                raise AssertionError("a running value has no lanes to combine")

    # Loops

    def _for(self, s: For, lanes: _Lanes | None) -> None:
        extent = emit_extent(self.b, s.extent, self.variables)
        updated = [
            n for n in dict.fromkeys(u.name for u in statements(s.body) if isinstance(u, Update))
            if n in self.running
        ]  # fmt: skip
        before = dict(self.running)
        if s.kind == "vector" and lanes is None:
            self._vector(s, extent, updated)
        else:
            self._serial(s, extent, updated, lanes)
        for n in [n for n in self.running if n not in before]:
            del self.running[n]

    def _serial(self, s: For, extent: Value, updated: list[str], lanes: _Lanes | None) -> None:
        def turn(i: Value, carried: list[Value]) -> list[Value]:
            last = self.b.sub(extent, 1)
            self.variables[s.variable] = self.b.sub(last, i) if s.down else i
            for n, v in zip(updated, carried, strict=True):
                self.running[n].value = v
            self.run(s.body, lanes)
            return [self.running[n].value for n in updated]

        found = self.b.loop(0, extent, 1, [self.running[n].value for n in updated], turn)
        for n, v in zip(updated, found, strict=True):
            self.running[n].value = v
        self.variables.pop(s.variable, None)

    def _vector(self, s: For, extent: Value, updated: list[str]) -> None:
        """Run whole vectors, then the rest under a mask; lanes of accumulators join at the end."""
        b, count = self.b, self.lanes
        outside = {n: self.running[n].value for n in updated}
        starts = []
        for n in updated:
            nothing = neutral(self.running[n].combine, self.running[n].dtype)
            starts.append(b.const(vector(outside[n].type, count), nothing))

        def turn(
            base: Value, carried: list[Value], mask: Value | None, *, single: bool = False
        ) -> list[Value]:
            for n, v in zip(updated, carried, strict=True):
                self.running[n].value = v
            self.variables[s.variable] = base
            self.run(s.body, _Lanes(s.variable, base, count, mask, single))
            return [self.running[n].value for n in updated]

        known = extent.constant
        whole = (
            Value(I64, str(known // count * count)) if known is not None
            else b.and_(extent, -count)
        )  # fmt: skip
        found = self._blocks(whole, count, starts, updated, lambda i, c: turn(i, c, None))
        if known is None:
            rest = b.sub(extent, whole)
            some = b.icmp("sgt", rest, b.i64(0))
            kept = list(found)
            found = b.if_(
                some, lambda: turn(whole, kept, self._tail_mask(rest)),
                (lambda: kept) if kept else None,
            )  # fmt: skip
        elif known % count:
            rest = Value(I64, str(known % count))
            found = turn(whole, found, self._tail_mask(rest), single=known % count == 1)
        self.variables.pop(s.variable, None)
        for n, v in zip(updated, found, strict=True):
            state = self.running[n]
            state.value = self._combined(
                state.combine, state.dtype, outside[n], self._across(state, v)
            )

    def _blocks(
        self, whole: Value, count: int, starts: list[Value], updated: list[str],
        turn: Callable[[Value, list[Value]], list[Value]],
    ) -> list[Value]:  # fmt: skip
        """Run whole vectors; long sums in blocks of blocks, so that their error stays small."""
        b, known = self.b, whole.constant
        sums = any(self.running[n].combine == "sum" for n in updated)

        def joined(old: list[Value], new: list[Value]) -> list[Value]:
            return [
                self._combined(self.running[n].combine, self.running[n].dtype, x, y)
                for n, x, y in zip(updated, old, new, strict=True)
            ]

        def run(first: Value | int, stop: Value, step: int) -> list[Value]:
            """Sum a range in steps of `step`, each of which is a turn or a block."""
            if step == count:
                return b.loop(first, stop, count, starts, turn)

            def block(at: Value, carried: list[Value]) -> list[Value]:
                end = b.smin(b.add(at, step), stop)
                return joined(carried, run(at, end, step // SUM_BLOCK))

            return b.loop(first, stop, step, starts, block)

        step = count
        while sums and step < count * SUM_BLOCK**2 and (known is None or known > step * SUM_BLOCK):
            step *= SUM_BLOCK
        return run(0, whole, step)

    def _tail_mask(self, rest: Value) -> Value:
        known = rest.constant
        if known is not None:
            return self.b.lanes(BOOL, [int(i < known) for i in range(self.lanes)])
        narrow = self.b.cast("trunc", rest, I32)
        steps = self.b.step_vector(self.lanes, I32)
        return self.b.icmp("slt", steps, self.b.splat(narrow, self.lanes))
