"""Where things are while a program's function is written: addresses, run-time extents, kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from chainrule.emit.arithmetic import memory_type
from chainrule.emit.builder import I8, I64, PTR, VOID, Builder, LType, Module, Value
from chainrule.emit.extents import Products, emit_extent
from chainrule.emit.kernels import emit_kernel
from chainrule.emit.machine import Machine
from chainrule.ir.dims import Extent, size_of, substitute_extent
from chainrule.ir.graph import Node
from chainrule.loops.ir import show
from chainrule.loops.lower import Launch, Part, Returns, StripLoop
from chainrule.loops.values import Place, Scratch, nbytes_of
from chainrule.plan.arena import Arena
from chainrule.schedule.steps import Schedule, Whole
from chainrule_runtime.errors import NO_MEMORY, OUT_OF_BOUNDS, RAISED

__all__ = ["Frame", "Shared", "addresses"]

Addresses: TypeAlias = Callable[[int], Value]
"The address of an input or output, by number."
FEW: Final = 16
"Addresses that may be live throughout a function."


@dataclass
class Shared:
    """What the frames of one function have in common.

    Attributes:
        kernels: Names of the kernels written so far, by their text.
        workspace: Scratch memory of contractions.
        products: What offsets in the arena are sums of; computed on entry.
        status: Where checked kernels tell of an access beyond a buffer; None: they do not check.
        cell: Name of the cell that holds the address of `chainrule_look`, or null; None where
            nothing is to look for interrupts.
        looks: Whether anything does.
    """

    module: Module
    machine: Machine
    name: str
    b: Builder
    workspace: Value
    products: Products
    status: Value | None = None
    cell: str | None = None
    looks: bool = False
    kernels: dict[str, str] = field(default_factory=dict)


def addresses(b: Builder, table: Value, count: int) -> Addresses:
    """Return the addresses in a table, by number.

    Those of a few arrays are loaded once, on entry.  Of more, each is loaded where it is used: as a
    live range from the entry on, they take the register allocator time quadratic in their number.
    """

    def load(number: int) -> Value:
        return b.load(PTR, b.offset(table, 8 * number))

    return [load(i) for i in range(count)].__getitem__ if count <= FEW else load


class Frame:
    """One schedule being written: that of the program, or that of a body inside it."""

    def __init__(
        self, shared: Shared, schedule: Schedule, arena: Arena, memory: Value,
        inputs: Addresses, outputs: Addresses, names: Mapping[str, Value],
        around: Frame | None = None,
    ) -> None:  # fmt: skip
        self.shared, self.b = shared, shared.b
        self.schedule, self.arena, self.memory = schedule, arena, memory
        self.inputs, self.outputs, self.names = inputs, outputs, dict(names)
        self.around = around
        self.numbers = {node: i for i, node in enumerate(schedule.program.inputs)}
        self.time = 0
        self.allocated: set[Place] = set()

    def inner(self, part: Part, inputs: Sequence[Value], outputs: Sequence[Value]) -> Frame:
        """Return the frame of a body, given what its inputs and outputs stand for here."""
        assert len(inputs) == len(part.schedule.program.inputs), "each input has its address"
        memory = self.pointer(part.inside)
        arena = self.arena.inside[part]
        return Frame(
            self.shared, part.schedule, arena, memory, inputs.__getitem__, outputs.__getitem__,
            self.names, self,
        )  # fmt: skip

    # Addresses

    def pointer(self, place: Place) -> Value:
        """Return the address of a place; where its rows are strips of an array, of all of it."""
        if isinstance(place, int):
            return self.outputs(place)
        if isinstance(place, Scratch):
            return self._in_arena((self.time, place))
        if isinstance(place, Node):
            place = self.schedule.homes.get(place, place)
            if place.op.name == "input":
                return self.inputs(self.numbers[place])
            if place.op.name == "data":
                return self._data(place)
            target = self.schedule.targets.get(place)
            if target is not None:
                return self.outputs(target)
        if place in self.arena.counted:
            return self.b.load(PTR, self._in_arena(place))
        return self._in_arena(place)

    def whole(self, whole: Whole) -> Value:
        """Return the address of a value that lies in one piece."""
        start = emit_extent(self.b, whole.start, self.names)
        return self.b.offset(self.pointer(whole.base), self.b.mul(start, whole.base.dtype.nbytes))

    def _in_arena(self, key: Place | tuple[int, Place]) -> Value:
        # Emitted where it is used: an address kept from a branch would not dominate this one.
        offset = self.arena.offsets[key]
        at = emit_extent(self.b, offset, self.names, products=self.shared.products)
        return self.b.offset(self.memory, at)

    def _data(self, node: Node) -> Value:
        _, _, bits = node.attrs
        nbytes = len(bits)
        # Three characters a byte, made all at once: a loop would take a second for two megabytes.
        digits = np.frombuffer(b"0123456789ABCDEF", np.uint8)
        content = np.frombuffer(bits, np.uint8)
        escaped = np.empty((nbytes, 3), np.uint8)
        escaped[:, 0] = ord("\\")
        escaped[:, 1], escaped[:, 2] = digits[content >> 4], digits[content & 15]
        text = escaped.tobytes().decode("ascii")
        name = f"{self.shared.name}.data.{node.id}"
        return self.shared.module.add_global(
            name, f'private unnamed_addr constant [{nbytes} x i8] c"{text}", align 64'
        )

    # Memory whose size a loop decides

    def begin(self) -> None:
        """Note that nothing is allocated yet."""
        for place in self.arena.counted:
            self.b.store(self.b.zero(PTR), self._in_arena(place))

    def end(self) -> None:
        """Free what was allocated."""
        for place in self.arena.counted:
            pointer = self.b.load(PTR, self._in_arena(place))
            self._library("free", VOID, [pointer])

    def allocate(self, places: Iterable[Place]) -> None:
        """Allocate those of the places whose size has just become known."""
        for place in places:
            # Outputs, which go by number, are the caller's.
            if isinstance(place, int) or place in self.allocated:
                continue
            if place in self.arena.counted:
                self.resize(place, emit_extent(self.b, nbytes_of(place), self.names))

    def resize(self, place: Place, nbytes: Value) -> None:
        """Give a place so many bytes, keeping what it holds; return NO_MEMORY if there are none."""
        b, slot = self.b, self._in_arena(place)
        self.allocated.add(place)
        found = self._library("realloc", PTR, [b.load(PTR, slot), b.smax(nbytes, 1)])
        self.leave_if(b.icmp("eq", found, b.zero(PTR)), NO_MEMORY)
        b.store(found, slot)

    def leave_if(self, condition: Value, code: int) -> None:
        """Leave the function with an error code if a condition holds, freeing everything."""
        b = self.b
        out, on = b.new_label("leave"), b.new_label("stay")
        b.branch_if(condition, out, on)
        b.start(out)
        frame: Frame | None = self
        while frame is not None:
            frame.end()
            frame = frame.around
        b.ret(b.i64(code))
        b.start(on)

    # Interrupts

    def look(self, at: Value, turns: int) -> None:
        """Leave if Python was interrupted; every so many `turns` (a power of two), `at` is one."""
        if self.shared.cell is None:
            return
        if turns == 1:
            self.look_now(0)
            return
        mask = self.b.i64(turns - 1)
        last = self.b.icmp("eq", self.b.and_(at, mask), mask)
        self.b.if_(last, lambda: self.look_now(0))

    def look_now(self, now: int) -> None:
        """Ask for an interrupt at this point, even if that was done not long ago (`now` = 1)."""
        b, cell = self.b, self.shared.cell
        if cell is None:
            return
        self.shared.looks = True
        b.module.add_global(cell, "global ptr null, align 8")
        ask = b.load(PTR, Value(PTR, f"@{cell}"))

        def asked() -> None:
            code = b.call_pointer(ask, I64, [b.i64(now)])
            self.leave_if(b.icmp("ne", code, b.i64(0)), RAISED)

        b.if_(b.icmp("ne", ask, b.zero(PTR)), asked)

    def _library(self, name: str, result: LType, arguments: list[Value]) -> Value:
        self.shared.module.declare(name, result, [a.type for a in arguments], "nounwind")
        return self.b.call(name, result, arguments)

    # Runs

    def launch(self, launch: Launch, strip: tuple[StripLoop, Value, Value] | None = None) -> None:
        """Call one kernel, defining it unless an equal one exists."""
        shared = self.shared
        text = show(launch.kernel)
        name = shared.kernels.get(text)
        if name is None:
            name = shared.kernels[text] = f"{shared.name}.k{len(shared.kernels)}"
            emit_kernel(
                shared.module, shared.machine, launch.kernel, name,
                checked=shared.status is not None,
            )  # fmt: skip
        self.allocate(launch.places)
        pointers = [self.pointer(p) for p in launch.places]
        names = self.names
        if strip is not None:
            loop, first, rows = strip
            pointers = [
                self._row(p, x, loop, first) for p, x in zip(launch.places, pointers, strict=True)
            ]
            names = {
                **names, loop.dim: rows, f"{loop.dim}.whole": names[loop.dim],
                f"{loop.dim}.first": first,
            }  # fmt: skip
        extents = [names[e] for e in launch.kernel.extents]
        if shared.status is None:
            self.b.call(name, VOID, [*pointers, *extents, shared.workspace])
        else:
            rooms = [self._room(p, strip, names) for p in launch.places]
            arguments = [*pointers, *extents, shared.workspace, shared.status, *rooms]
            self.b.call(name, VOID, arguments)
            beyond = self.b.load(I8, shared.status)
            self.leave_if(self.b.icmp("ne", beyond, self.b.zero(I8)), OUT_OF_BOUNDS)
        self.time += 1

    def _room(
        self, place: Place, strip: tuple[StripLoop, Value, Value] | None,
        names: Mapping[str, Value],
    ) -> Value:  # fmt: skip
        """Return how many elements lie behind the address that a kernel is given for a place."""
        b, size = self.b, self._size(place)
        if strip is not None and isinstance(place, Node):
            loop, first, _ = strip
            per_row = size - substitute_extent(size, {loop.dim: 0})
            if self._is_whole(place) and per_row != 0:
                row = emit_extent(b, substitute_extent(per_row, {loop.dim: 1}), self.names)
                return b.sub(emit_extent(b, size, self.names), b.mul(first, row))
        return emit_extent(b, size, names)

    def _size(self, place: Place) -> Extent:
        if isinstance(place, int):
            return self.schedule.program.outputs[place].type.size
        return place.type.size if isinstance(place, Node) else place.size

    def _row(self, place: Place, pointer: Value, loop: StripLoop, first: Value) -> Value:
        """Move the pointer to an array of all rows to the strip's first."""
        if not isinstance(place, Node):
            return pointer
        size = size_of(place.shape)
        per_row = size - substitute_extent(size, {loop.dim: 0})
        if not self._is_whole(place) or per_row == 0:
            return pointer
        nbytes = substitute_extent(per_row, {loop.dim: 1}) * memory_type(place.dtype).bits
        step = emit_extent(self.b, nbytes // 8, self.names)
        return self.b.offset(pointer, self.b.mul(first, step))

    def _is_whole(self, place: Node) -> bool:
        """Tell whether memory holds all rows of a value, not those of one strip."""
        return place.op.name == "input" or place in self.schedule.targets

    def returns(self, run: Returns) -> None:
        """Leave with the check's number if its condition is set."""
        b = self.b
        flag = b.load(I8, self.pointer(run.place))
        bad = b.icmp("ne", flag, b.zero(I8))
        out, on = b.new_label("failed"), b.new_label("passed")
        b.branch_if(bad, out, on)
        b.start(out)
        self.end()
        b.ret(b.i64(run.code))
        b.start(on)
        self.time += 1

    def strips(self, loop: StripLoop) -> None:
        """Run the body for strip after strip; the last may be shorter."""
        b = self.b
        total = self.names[loop.dim]

        def strip(first: Value, _carried: list[Value]) -> None:
            # Work of a strip is that of a cache full of rows: looking at each costs nothing.
            self.look_now(0)
            rows = b.smin(b.sub(total, first), loop.rows)
            for launch in loop.body:
                self.launch(launch, (loop, first, rows))

        # An empty batch is one empty strip: sums that the first strip writes are then 0.
        b.loop(0, total, loop.rows, [], strip, at_least_once=True)
