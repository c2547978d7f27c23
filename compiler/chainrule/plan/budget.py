"""Programs made to fit a memory budget: values that many steps lie between are computed again.

Where a program needs too much, the step at which most memory is live is found.  Of the values that
only wait there, made before and read after, the one whose recomputation costs least for each byte
is computed a second time, apart and as late as its readers allow; then the program is planned anew.
The greedy choice by cost per byte is that of Chen et al. 2016, "Training deep nets with sublinear
memory cost", and of Kirisame et al. 2021, "Dynamic tensor rematerialization", taken ahead of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chainrule.errors import UnsupportedError, explain
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent, evaluate_extent, names_of
from chainrule.ir.graph import Check, Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.walk import rebuild
from chainrule.ops.control import results_of
from chainrule.ops.cost import NOMINAL, flops_of
from chainrule.schedule.steps import Checked, Control, Copy, Nest, Schedule, Single, Step, Strips

__all__ = ["Attempt", "fitted"]

ATTEMPTS: Final = 64
"Values that are computed again, at most."
PATIENCE: Final = 12
"Values computed again without any gain, until no gain is expected."
SHOWN: Final = 8
"Values that a message lists."


@dataclass(frozen=True, slots=True)
class Attempt:
    """A program, how it is scheduled, and the bytes it needs."""

    program: Program
    schedule: Schedule
    nbytes: Extent


def fitted(
    first: Attempt, budget: int, plan: Callable[[Program], Attempt], dims: Mapping[str, int]
) -> Attempt:
    """Return a program like the first that needs at most `budget` bytes.

    Args:
        first: The program as it is.
        budget: Bytes.
        plan: Schedules a program.
        dims: What the named dims are taken to be.

    Raises:
        UnsupportedError: It cannot be made to fit; says what is large and the least that was met.
    """
    best = now = first
    sizes = _Sizes(dims)
    since = 0
    for _ in range(ATTEMPTS):
        if sizes.of(best.nbytes) <= budget:
            return best
        program = _smaller(now, sizes) if since < PATIENCE else None
        if program is None:
            break
        now = plan(program)
        since += 1
        if sizes.of(now.nbytes) < sizes.of(best.nbytes):
            best, since = now, 0
    if sizes.of(best.nbytes) <= budget:
        return best
    raise UnsupportedError(_too_large(best, budget, sizes))


class _Sizes:
    """Extents as numbers."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        self.dims = dims

    def of(self, extent: Extent) -> int:
        loose = dict.fromkeys(names_of(extent), NOMINAL)
        return evaluate_extent(extent, {**loose, **self.dims})

    def bytes_of(self, node: Node) -> int:
        return self.of(node.type.size) * node.dtype.nbytes


@dataclass(frozen=True, slots=True)
class _Live:
    """When each stored value is made, first read after the peak, and last read: by step."""

    made: dict[Node, int]
    last: dict[Node, int]
    readers: dict[Node, list[int]]
    peak: int
    waiting: list[Node]


def _live(schedule: Schedule, sizes: _Sizes) -> _Live | None:
    made: dict[Node, int] = {}
    readers: dict[Node, list[int]] = {}
    for i, step in enumerate(schedule.steps):
        for n in step.nodes:
            if n in schedule.stored and n not in schedule.targets and not isinstance(step, Checked):
                made[n] = i
        for x in _reads(schedule, step):
            readers.setdefault(x, []).append(i)
    last = {n: max(readers.get(n, [i])) for n, i in made.items()}
    if not made:
        return None
    total = [0] * (len(schedule.steps) + 1)
    for n, i in made.items():
        total[i] += sizes.bytes_of(n)
        total[last[n] + 1] -= sizes.bytes_of(n)
    for i in range(1, len(total)):
        total[i] += total[i - 1]
    peak = max(range(len(total)), key=total.__getitem__)
    waiting = [n for n, i in made.items() if i < peak < last[n] and peak not in readers[n]]
    return _Live(made, last, readers, peak, waiting)


def _reads(schedule: Schedule, step: Step) -> set[Node]:
    """Return the stored values that a step reads."""
    if isinstance(step, Strips):
        found: set[Node] = set()
        return found.union(*(_reads(schedule, s) for s in step.steps))
    if isinstance(step, Checked):
        return set(step.nodes)
    own = set(step.nodes)
    level = step.level
    match step:
        case Copy():
            waiting = [step.node]
        case Control():
            waiting = list(step.node.args)
        case Nest():
            # A member that is not stored runs only if another one needs it.
            kept = [n for n in step.members if n in schedule.stored]
            waiting = [x for n in kept for x in n.args]
            own = set(kept)
        case Single():
            waiting = list(step.node.args)
    found, seen = set(), set()
    while waiting:
        x = waiting.pop()
        if x in seen or x in own:
            continue
        seen.add(x)
        if x in schedule.stored and schedule.level[x] < level:
            found.add(x)
        else:
            waiting.extend(x.args)
    return found


def _smaller(now: Attempt, sizes: _Sizes) -> Program | None:
    """Return the program with one more value computed again after the peak."""
    live = _live(now.schedule, sizes)
    if live is None:
        return None
    options = []
    for n in live.waiting:
        if n.op.kind in (Kind.ITEM, Kind.SOURCE):
            continue
        late = min(i for i in live.readers[n] if i > live.peak)
        found = _recipe(n, late, now, live)
        if found is not None:
            cost = sum(sizes.of(flops_of(x)) for x in found[1])
            options.append((cost / max(sizes.bytes_of(n), 1), n.id, n, found[0], late))
    for _, _, n, given, late in sorted(options, key=lambda o: o[:2]):
        program = _again(now, n, given, late, live)
        if program is not None:
            return program
    return None


def _recipe(
    node: Node, late: int, now: Attempt, live: _Live
) -> tuple[list[Node], list[Node]] | None:
    """Return what is in memory anyway when `node` is read late, and what to compute from it."""
    doomed = set(now.schedule.overwriting.values())
    given: list[Node] = []
    computed: list[Node] = []
    seen: set[Node] = set()
    waiting = [node]
    while waiting:
        x = waiting.pop()
        if x in seen:
            continue
        seen.add(x)
        there = x is not node and x in live.made and live.last[x] >= late
        if there or x.op.name == "input":
            if x in doomed:
                return None
            given.append(x)
        elif x.op.kind in (Kind.ITEM, Kind.CONTROL):
            return None
        else:
            computed.append(x)
            waiting.extend(x.args)
    return sorted(given, key=lambda n: n.id), computed


def _again(
    now: Attempt, node: Node, given: Sequence[Node], late: int, live: _Live
) -> Program | None:
    """Return the program with `node` computed again for those who read it after the peak."""
    program, schedule = now.program, now.schedule
    graph = program.graph
    steps = [schedule.steps[i] for i in live.readers[node] if i >= late]
    readers = {n for step in steps for n in _made_by(step, schedule)}
    # Known only after the peak: what makes the second computation wait.
    signals = [x for step in steps for x in _reads(schedule, step) if live.made[x] >= live.peak]
    if not signals or len(steps) < sum(i >= late for i in live.readers[node]):
        return None
    signal = max(signals, key=lambda x: live.made[x])
    inner = {x: graph.input("x", x.type) for x in dict.fromkeys((*given, signal))}
    (copy,), _ = rebuild([node], graph, lambda _n, _a: None, inner)
    stored = [n for n in live.made if n is not node]
    new: dict[Node, Node] = {}

    def fresh() -> Node:
        body = Body(tuple(inner.values()), (copy,))
        outside = [new.get(x, x) for x in inner]
        call = graph.call("call", *outside, body=body, custom=None, apart=True)
        return results_of(call)[0]

    def change(n: Node, args: tuple[Node, ...]) -> Node | None:
        if n in readers:
            known = {x: new[x] for x in stored if x in new} | {node: fresh()}
            args = tuple(rebuild(n.args, graph, lambda _n, _a: None, known)[0])
        new[n] = n if args == n.args else graph.apply(n.op, args, n.attrs)
        return new[n]

    results, _ = rebuild(program.results, graph, change)
    return _rewired(program, results)


def _made_by(step: Step, schedule: Schedule) -> list[Node]:
    """Return the nodes of a step whose arguments are read there."""
    match step:
        case Nest():
            return [n for n in step.members if n in schedule.stored]
        case Single() | Control():
            return [step.node]
        case _:
            return []


def _rewired(program: Program, results: Sequence[Node]) -> Program:
    split = len(program.checks)
    checks = tuple(
        Check(node, one.message) for one, node in zip(program.checks, results[:split], strict=True)
    )
    return replace(program, checks=checks, outputs=tuple(results[split:]))


def _too_large(best: Attempt, budget: int, sizes: _Sizes) -> str:
    live = _live(best.schedule, sizes)
    facts = []
    if live is not None:
        there = [n for n, i in live.made.items() if i <= live.peak <= live.last[n]]
        there.sort(key=lambda n: -sizes.bytes_of(n))
        facts = [
            f"{sizes.bytes_of(n)} bytes  {n.op.name} {n.type}{_where(n)}" for n in there[:SHOWN]
        ]
        if len(there) > SHOWN:
            facts.append(f"and {len(there) - SHOWN} smaller ones")
    return explain(
        f"{best.program.name} does not fit the memory budget",
        f"budget    {budget} bytes",
        f"smallest  {sizes.of(best.nbytes)} bytes that were reached",
        *facts,
        hint="raise memory_budget to the smallest, process fewer rows at a time, or let loops keep "
        'less with scan(..., checkpoint="sqrt")',
    )


def _where(node: Node) -> str:
    lines = [o.line for o in node.graph.origins.get(node, ()) if o.line]
    return f"  at {lines[0]}" if lines else ""
