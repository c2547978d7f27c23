"""The whole program as one function: kernels in order, strips around some, one arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from chainrule.emit.arithmetic import memory_type
from chainrule.emit.builder import I8, I64, PTR, VOID, Builder, Module, Value
from chainrule.emit.extents import emit_extent
from chainrule.emit.kernels import emit_kernel
from chainrule.emit.machine import Machine
from chainrule.emit.tiles import tile_workspace
from chainrule.ir.dims import Extent, size_of, substitute_extent
from chainrule.ir.graph import Node
from chainrule.loops.ir import Tile, show, statements
from chainrule.loops.lower import Launch, Returns, Run, StripLoop
from chainrule.loops.values import Place, Scratch
from chainrule.schedule.steps import Schedule

__all__ = ["emit_program", "workspace_of"]

Offsets = Mapping[Place | tuple[int, Place], Extent]


def workspace_of(runs: Sequence[Run], machine: Machine) -> int:
    """Return the bytes of scratch memory that contractions share."""
    tiles = [
        s
        for run in runs
        for launch in (run.body if isinstance(run, StripLoop) else [run])
        if isinstance(launch, Launch)
        for s in statements(launch.kernel.body)
        if isinstance(s, Tile)
    ]
    return max((tile_workspace(t, machine) for t in tiles), default=0)


def emit_program(
    module: Module,
    machine: Machine,
    name: str,
    schedule: Schedule,
    runs: Sequence[Run],
    offsets: Offsets,
    workspace_at: Extent,
) -> int:
    """Define `i64 name(ptr inputs, ptr outputs, ptr arena, ptr dims)`; count its kernels.

    The function returns 0, or the number of the check that failed.  Equal kernels are defined once.
    """  # fmt: skip
    b, (inputs, outputs, arena, dims) = module.function(
        name, I64, [(PTR, "inputs"), (PTR, "outputs"), (PTR, "arena"), (PTR, "dims")],
        internal=False, attrs="nounwind",
    )  # fmt: skip
    emitter = _Program(module, machine, name, schedule, offsets)
    emitter.open(b, inputs, outputs, arena, dims, workspace_at)
    for run in runs:
        match run:
            case Launch():
                emitter.launch(run, None)
            case Returns():
                emitter.returns(run)
            case StripLoop():
                emitter.strips(run)
    b.ret(b.i64(0))
    b.close()
    return len(emitter.kernels)


class _Program:
    def __init__(
        self, module: Module, machine: Machine, name: str, schedule: Schedule, offsets: Offsets
    ) -> None:
        self.module, self.machine, self.name = module, machine, name
        self.schedule, self.offsets = schedule, offsets
        self.kernels: dict[str, str] = {}
        self.time = 0

    def open(
        self, b: Builder, inputs: Value, outputs: Value, arena: Value, dims: Value,
        workspace_at: Extent,
    ) -> None:  # fmt: skip
        program = self.schedule.program
        self.b, self.arena = b, arena
        self.names = {d: b.load(I64, b.offset(dims, 8 * i)) for i, d in enumerate(program.dims)}
        self.inputs = {
            n: b.load(PTR, b.offset(inputs, 8 * i)) for i, n in enumerate(program.inputs)
        }
        self.outputs = [b.load(PTR, b.offset(outputs, 8 * i)) for i in range(len(program.outputs))]
        self.workspace = b.offset(arena, emit_extent(b, workspace_at, self.names))
        self.addresses: dict[object, Value] = {}

    def pointer(self, place: Place) -> Value:
        """Return the address of a place; where its rows are strips of an array, of all of it."""
        if isinstance(place, int):
            return self.outputs[place]
        if isinstance(place, Scratch):
            return self._in_arena((self.time, place))
        if place.op.name == "input":
            return self.inputs[place]
        if place.op.name == "data":
            return self._data(place)
        target = self.schedule.targets.get(place)
        return self._in_arena(place) if target is None else self.outputs[target]

    def _in_arena(self, key: Place | tuple[int, Place]) -> Value:
        # Emitted where it is used: an address kept from a branch would not dominate this one.
        return self.b.offset(self.arena, emit_extent(self.b, self.offsets[key], self.names))

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
        name = f"{self.name}.data.{node.id}"
        return self.module.add_global(
            name, f'private unnamed_addr constant [{nbytes} x i8] c"{text}", align 64'
        )

    def launch(self, launch: Launch, strip: tuple[StripLoop, Value, Value] | None) -> None:
        """Call one kernel, defining it unless an equal one exists."""
        text = show(launch.kernel)
        name = self.kernels.get(text)
        if name is None:
            name = self.kernels[text] = f"{self.name}.k{len(self.kernels)}"
            emit_kernel(self.module, self.machine, launch.kernel, name)
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
        self.b.call(name, VOID, [*pointers, *extents, self.workspace])
        self.time += 1

    def _row(self, place: Place, pointer: Value, loop: StripLoop, first: Value) -> Value:
        """Move the pointer to an array of all rows to the strip's first."""
        if not isinstance(place, Node):
            return pointer
        whole = place.op.name == "input" or place in self.schedule.targets
        size = size_of(place.shape)
        per_row = size - substitute_extent(size, {loop.dim: 0})
        if not whole or per_row == 0:
            return pointer
        nbytes = substitute_extent(per_row, {loop.dim: 1}) * memory_type(place.dtype).bits
        step = emit_extent(self.b, nbytes // 8, self.names)
        return self.b.offset(pointer, self.b.mul(first, step))

    def returns(self, run: Returns) -> None:
        """Leave with the check's number if its condition is set."""
        b = self.b
        flag = b.load(I8, self.pointer(run.place))
        bad = b.icmp("ne", flag, b.zero(I8))
        out, on = b.new_label("failed"), b.new_label("passed")
        b.branch_if(bad, out, on)
        b.start(out)
        b.ret(b.i64(run.code))
        b.start(on)
        self.time += 1

    def strips(self, loop: StripLoop) -> None:
        """Run the body for strip after strip; the last may be shorter."""
        b = self.b
        total = self.names[loop.dim]

        def strip(first: Value, _carried: list[Value]) -> None:
            rows = b.smin(b.sub(total, first), loop.rows)
            for launch in loop.body:
                self.launch(launch, (loop, first, rows))

        # An empty batch is one empty strip: sums that the first strip writes are then 0.
        b.loop(0, total, loop.rows, [], strip, at_least_once=True)
