"""The whole program as one function: kernels in order, strips around some, one arena."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from chainrule.emit.builder import I8, I64, PTR, Module
from chainrule.emit.control import run_all
from chainrule.emit.extents import emit_extent, emit_products
from chainrule.emit.frame import Frame, Shared, addresses
from chainrule.emit.machine import Machine
from chainrule.emit.tiles import tile_workspace
from chainrule.ir.dims import Extent
from chainrule.loops.ir import Tile, statements
from chainrule.loops.lower import Run, launches
from chainrule.plan.arena import Arena
from chainrule.schedule.steps import Schedule

__all__ = ["Emitted", "emit_program", "workspace_of"]

MANY: Final = 1000
"""Launches up to which the function that makes them is optimised.  LLVM takes time quadratic in
their number for it; without, a launch takes some nanoseconds more."""


class Emitted(NamedTuple):
    """What a function turned out to be: its number of kernels, whether it looks for interrupts."""

    kernels: int
    looks: bool


def workspace_of(runs: Sequence[Run], machine: Machine) -> int:
    """Return the bytes of scratch memory that contractions share."""
    tiles = [
        s
        for launch in launches(runs)
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
    arena: Arena,
    *,
    checked: bool = False,
    cell: str | None = None,
) -> Emitted:
    """Define `i64 name(ptr inputs, ptr outputs, ptr arena, ptr dims)`.

    The function returns 0, the number of the check that failed, NO_MEMORY if there was none for
    what is as long as a loop turned out to run, or OUT_OF_BOUNDS if the code is `checked` and a
    kernel reached beyond one of its buffers.  Equal kernels are defined once.  Given a `cell`, long
    loops look for interrupts by the function whose address it holds, and return RAISED.
    """  # fmt: skip
    many = sum(1 for _ in launches(runs)) > MANY
    b, (inputs, outputs, memory, dims) = module.function(
        name, I64, [(PTR, "inputs"), (PTR, "outputs"), (PTR, "arena"), (PTR, "dims")],
        internal=False, attrs="nounwind noinline optnone" if many else "nounwind",
    )  # fmt: skip
    program = schedule.program
    names = {d: b.load(I64, b.offset(dims, 8 * i)) for i, d in enumerate(program.dims)}
    given = addresses(b, inputs, len(program.inputs))
    results = addresses(b, outputs, len(program.outputs))
    products = emit_products(b, dict.fromkeys((arena.nbytes, *_offsets(arena))), names)
    workspace = b.offset(memory, emit_extent(b, arena.nbytes, names, products=products))
    status = None
    if checked:
        status = b.alloca(1)
        b.store(b.zero(I8), status)
    shared = Shared(module, machine, name, b, workspace, products, status, cell)
    frame = Frame(shared, schedule, arena, memory, given, results, names)
    run_all(frame, runs)
    b.ret(b.i64(0))
    b.close()
    return Emitted(len(shared.kernels), shared.looks)


def _offsets(arena: Arena) -> Iterator[Extent]:
    """Yield where everything lies, in the memory of bodies too."""
    yield from arena.offsets.values()
    for inside in arena.inside.values():
        yield from _offsets(inside)
