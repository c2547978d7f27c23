"""Steps to kernels: which kernels run, in which order, on which memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from chainrule.ir.dims import Extent, names_of
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I64, U8, DType
from chainrule.loops.collapse import collapse
from chainrule.loops.ir import Assign, For, Kernel, Position, Store, Tile, statements
from chainrule.loops.nests import lower_nest
from chainrule.loops.singles import fill, lower_copy, lower_single, overwrites
from chainrule.loops.values import Kept, Place, Values
from chainrule.ops.control import Loop, results_of
from chainrule.schedule.steps import (
    Checked,
    Control,
    Copy,
    Nest,
    Role,
    Schedule,
    Single,
    Strips,
    Whole,
)

__all__ = ["Choose", "Foreign", "Launch", "Part", "Repeat", "Returns", "Run", "StripLoop",
           "launches", "lower", "neutral"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """One call of a kernel: what its buffers stand for. Its extents go by name."""

    kernel: Kernel
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Returns:
    """Return an error if a stored truth value is set: check number `code`."""

    place: Node
    code: int


@dataclass(frozen=True, slots=True)
class StripLoop:
    """Launches repeated for each strip of `dim`; inside, `dim` is the number of rows of the strip.

    Where the whole batch's extent is meant (the divisor of a mean), it is called `dim.whole`.
    """

    dim: str
    rows: int
    body: tuple[Launch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A body, lowered: what its inputs and outputs stand for is said where it runs.

    Attributes:
        inside: Its own memory, in one piece of the memory around it.
    """

    schedule: Schedule
    runs: tuple[Run, ...]
    inside: Kept


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """A loop.

    Attributes:
        before: Copies the first carries to where they are kept.
        carries: Where each carry lives, during the loop and after it.
        args: Where the arrays whose rows are elements, and the constants, lie.
        stacked: Where the rows of the stacked results go.
        position: Where the number of the step is.
        go: Where the test leaves its answer.
    """

    step: Control
    before: tuple[Launch, ...]
    carries: tuple[Place, ...]
    args: tuple[Whole, ...]
    stacked: tuple[Place, ...]
    position: Kept
    go: Kept | None
    body: Part
    test: Part | None

    @property
    def loop(self) -> Loop:
        """The op."""
        return Loop.of(self.step.node)


@dataclass(frozen=True, slots=True, eq=False)
class Choose:
    """A switch, or a call: a switch of one.

    Attributes:
        index: Copies the number of the branch to `chosen`.
        results: Where the results go.
    """

    step: Control
    index: tuple[Launch, ...]
    chosen: Kept | None
    args: tuple[Whole, ...]
    results: tuple[Place, ...]
    branches: tuple[Part, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """A call out of compiled code.

    Attributes:
        table: Memory for the addresses of the arguments and the results, and for their extents.
    """

    step: Control
    args: tuple[Whole, ...]
    results: tuple[Place, ...]
    table: Kept


Run: TypeAlias = "Launch | Returns | StripLoop | Repeat | Choose | Foreign"


def launches(runs: Iterable[Run]) -> Iterator[Launch]:
    """Yield every launch, those inside strips, loops and branches included."""
    for run in runs:
        match run:
            case Launch():
                yield run
            case StripLoop():
                yield from run.body
            case Repeat():
                yield from run.before
                yield from launches(run.body.runs)
                yield from launches(run.test.runs if run.test else ())
            case Choose():
                yield from run.index
                for branch in run.branches:
                    yield from launches(branch.runs)
            case Returns() | Foreign():
                pass


def lower(schedule: Schedule, *, strict: bool = False) -> list[Run]:
    """Return everything that runs, in order; `strict` fixes the order of additions in products."""
    runs: list[Run] = []
    for step in schedule.steps:
        match step:
            case Checked():
                codes = {c.failed: i + 1 for i, c in enumerate(schedule.program.checks)}
                runs += [Returns(n, codes[n]) for n in dict.fromkeys(step.nodes)]
            case Strips():
                runs += [
                    _launch(fill(n, n.dtype, n.type.size, neutral(_combine(n), n.dtype)))
                    for n in step.summed if not overwrites(n)
                ]  # fmt: skip
                summed = set(step.summed)
                body = [
                    x for s in step.steps for x in _lower(schedule, s, summed, step.dim, strict)
                ]
                runs.append(StripLoop(step.dim, step.rows, tuple(body)))
            case Control():
                runs.append(_control(schedule, step, strict=strict))
            case _:
                runs += _lower(schedule, step, set(), None, strict)
    return runs


def _control(schedule: Schedule, step: Control, *, strict: bool) -> Repeat | Choose | Foreign:
    node = step.node
    if node.op.name == "callback":
        return _foreign(step)
    parts = tuple(
        Part(p, tuple(lower(p, strict=strict)), Kept(node, f"inside {i}", U8, 0))
        for i, p in enumerate(replace(p, ordered=schedule.ordered) for p in step.parts)
    )
    args = tuple(whole for whole in step.args if whole is not None)
    count = len(step.args) - len(args)
    if node.op.name == "loop":
        loop = Loop.of(node)
        carries = tuple(_kept(step, k, x) for k, x in enumerate(loop.carried))
        before = tuple(
            _launch(lower_copy(schedule, step.level, x, place))
            for x, place in zip(loop.inits, carries, strict=True)
            if place not in step.handed
        )
        stacked = tuple(_kept(step, count + j, x) for j, x in enumerate(loop.stacked))
        test = parts[1] if loop.test is not None else None
        go = Kept(node, "go", BOOL, 1) if test else None
        return Repeat(
            step, before, carries, args, stacked, Kept(node, "position", I64, 1), go, parts[0], test
        )
    index: tuple[Launch, ...] = ()
    chosen = None
    if count:
        chosen = Kept(node, "chosen", I64, 1)
        index = (_launch(lower_copy(schedule, step.level, node.args[0], chosen)),)
    outputs = step.parts[0].program.outputs
    results = tuple(_kept(step, i, x) for i, x in enumerate(outputs))
    return Choose(step, index, chosen, args, results, parts)


def _foreign(step: Control) -> Foreign:
    node = step.node
    outputs = results_of(node)
    values = [*node.args, *outputs]
    words = len(values) + sum(x.type.rank for x in values)
    args = tuple(whole for whole in step.args if whole is not None)
    results = tuple(_kept(step, i, x) for i, x in enumerate(outputs))
    return Foreign(step, args, results, Kept(node, "table", I64, max(words, 1)))


def _kept(step: Control, index: int, like: Node) -> Place:
    """Return where a result goes: to the item that is used, or to memory of the step's own."""
    item = step.items.get(index)
    return item if item is not None else Kept(step.node, str(index), like.dtype, like.type.size)


def _lower(
    schedule: Schedule, step: Nest | Single | Copy, summed: set[Node], strip: str | None,
    strict: bool,
) -> Iterator[Launch]:  # fmt: skip
    match step:
        case Nest():
            values = lower_nest(schedule, step, summed, strip)
            if values is None:
                return
            for n, role in step.members.items():
                if role in (Role.COLUMN_REDUCE, Role.TOTAL_REDUCE) and n not in summed:
                    yield _launch(fill(n, n.dtype, n.type.size, neutral(_combine(n), n.dtype)))
            yield _launch(values)
        case Single(_, node):
            dim = strip if node in summed else None
            for found in lower_single(schedule, step, dim, strict=strict):
                yield _launch(found)
        case Copy():
            yield _launch(lower_copy(schedule, step.level, step.node, step.output))


def _combine(node: Node) -> str:
    return node.op.name if node.op.name in ("prod", "max", "min") else "sum"


def neutral(combine: str, dtype: DType) -> float | int | bool:
    """Return the number that combining with does not change."""
    match combine:
        case "prod":
            return 1
        case "max" | "min":
            low = combine == "max"
            if dtype.is_float:
                return -math.inf if low else math.inf
            if dtype.kind == "bool":
                return not low
            bits = dtype.nbytes * 8
            if dtype.kind == "uint":
                return 0 if low else (1 << bits) - 1
            return -(1 << (bits - 1)) if low else (1 << (bits - 1)) - 1
        case _:
            return 0


def _launch(values: Values) -> Launch:
    body = tuple(values.scopes[0].statements)
    used: set[str] = set()
    bound: set[str] = set()
    for s in statements(body):
        used |= _mentioned(s)
        if isinstance(s, For):
            bound.add(s.variable)
        elif isinstance(s, Assign) and s.dtype is I64:
            bound.add(s.name)
    extents = tuple(sorted(used - bound))
    kernel = Kernel(tuple(values.buffers.values()), extents, body)
    return Launch(collapse(kernel), tuple(values.buffers))


def _mentioned(s: object) -> set[str]:
    """Return the names in the extents of one statement."""
    found: list[Extent] = []
    match s:
        case Assign(_, _, value):
            if isinstance(value, Position):
                found.append(value.extent)
            elif hasattr(value, "offset"):
                found.append(value.offset)
        case Store(_, offset):
            found.append(offset)
        case For(_, extent):
            found.append(extent)
        case Tile():
            found += [s.m, s.n, s.k]
            for o in (s.a, s.b, s.out):
                found += [o.offset, *o.strides]
            found.append(s.accumulate)
    return set().union(*(names_of(e) for e in found)) if found else set()
