"""The whole compiler, read top to bottom: a program in, native code out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from chainrule.emit.builder import Module
from chainrule.emit.program import emit_program, workspace_of
from chainrule.errors import OutOfMemoryError, explain
from chainrule.ir.dims import Extent
from chainrule.ir.program import Guard, Program
from chainrule.ir.sizes import LARGEST
from chainrule.link import interrupts
from chainrule.link.cache import Cache
from chainrule.link.jit import cached_code, object_code
from chainrule.link.libraries import Loaded, load
from chainrule.link.target import Target
from chainrule.loops.lower import Run, lower
from chainrule.optimize import expand, optimize, widen
from chainrule.options import Options
from chainrule.plan.arena import Arena, plan_arena
from chainrule.plan.budget import Attempt, fitted
from chainrule.schedule.fuse import fuse
from chainrule.schedule.steps import Schedule
from chainrule.schedule.strips import cut_into_strips

__all__ = ["Lowered", "Observer", "lower_program", "symbol"]

Observer: TypeAlias = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program on its way to code: every stage's result.

    Attributes:
        program: As traced and differentiated.
        optimized: After the rules, composites expanded.
        schedule: Steps in order.
        runs: Kernels in order.
        module: LLVM IR.
        entry: Name of the function in it.
        arena: Bytes of scratch memory a call needs, in the named dims.
        kernels: Number of different kernels.
        cell: Name of the cell for the function that long loops ask for interrupts, if any does.
        seconds: Time spent in each stage.
    """

    program: Program
    optimized: Program
    schedule: Schedule
    runs: Sequence[Run]
    module: Module
    entry: str
    arena: Extent
    kernels: int
    target: Target
    seconds: dict[str, float]
    cell: str | None = None

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the code relies on of the extents."""
        return self.optimized.guards

    def code(self) -> bytes:
        """Return the object code."""
        return object_code(self.module.text(), self.target)

    def load(self, cache: Cache | None = None) -> Loaded:
        """Compile, or take the code from the cache, and load it into this process."""
        code = cached_code(self.module.text(), self.target, cache)
        if self.cell is None:
            return load(code, (self.entry,), shared=True)
        loaded = load(code, (self.entry, self.cell), shared=True)
        interrupts.tell(loaded.addresses[self.cell], cache)
        return loaded


def lower_program(
    program: Program, options: Options | None = None, observe: Observer | None = None
) -> Lowered:
    """Run every stage once, in order; `observe(stage, result)` sees each on the way.

    Raises:
        UnsupportedError: The program cannot be made to fit the memory budget.
    """
    see = observe or (lambda _stage, _result: None)
    options = options or Options()
    numerics, target, budget = options.numerics, options.target, options.memory_budget
    if numerics.portable:
        target = replace(target, machine=target.machine.reproducible())
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)

    # Without an array, in or out, there is no graph that anything could be rewritten in.
    empty = not (program.results or program.inputs)
    lean = program if empty else optimize(widen(program, numerics), numerics)
    clock.lap("optimize")
    see("optimize", lean)

    plain = program if empty else expand(lean, numerics)
    clock.lap("expand")
    see("expand", plain)

    def scheduled(program: Program) -> Schedule:
        schedule = fuse(program, strict=numerics.ordered_products)
        # A strip's partial sums are an order of their own, which vmap would change.
        cut = options.strips and not numerics.ordered_sums
        return replace(
            cut_into_strips(schedule) if cut else schedule, ordered=numerics.ordered_sums
        )

    def planned(schedule: Schedule) -> tuple[list[Run], Arena, Extent]:
        runs = lower(schedule, strict=numerics.ordered_products)
        plan = plan_arena(schedule, runs)
        nbytes = plan.nbytes + workspace_of(runs, target.machine)
        if isinstance(nbytes, int) and nbytes > LARGEST:
            facts = (f"scratch memory  {nbytes} bytes",)
            raise OutOfMemoryError(explain(f"{program.name} needs more than there is", *facts))
        return runs, plan, nbytes

    schedule = scheduled(plain)
    if budget is not None:

        def attempt(program: Program) -> Attempt:
            schedule = scheduled(program)
            return Attempt(program, schedule, planned(schedule)[2])

        fit = fitted(attempt(plain), budget, attempt, dict(options.typical))
        plain, schedule = fit.program, fit.schedule
    clock.lap("schedule")
    see("schedule", schedule)

    runs, plan, arena = planned(schedule)
    clock.lap("plan")
    see("loops", runs)
    see("plan", arena)

    module, entry = Module(), symbol(program.name)
    cell = f"{entry}.look" if options.interruptible and interrupts.possible() else None
    done = emit_program(
        module, target.machine, entry, schedule, runs, plan, checked=options.checked, cell=cell
    )  # fmt: skip
    clock.lap("emit")
    see("emit", module)
    return Lowered(
        program, plain, schedule, runs, module, entry, arena, done.kernels, target, seconds,
        cell if done.looks else None,
    )  # fmt: skip


def symbol(name: str) -> str:
    """Return a program's name as linkers take it."""
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "program"


class _Clock:
    """Writes down the time since the last lap."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self.last = now - self.last, now
