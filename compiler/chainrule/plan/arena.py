"""The arena: which intermediates live when, and where each lies.

The bodies of loops and branches have arenas of their own, which lie in that of the program like any
other intermediate; so memory is planned once, whatever the number of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from chainrule.ir.dims import Extent, named, smaller, substitute_extent
from chainrule.ir.graph import Node
from chainrule.loops.lower import Choose, Foreign, Launch, Part, Repeat, Returns, Run, StripLoop
from chainrule.loops.values import Place, Scratch, nbytes_of
from chainrule.ops.control import counted_name, counted_names
from chainrule.plan.memory import Span, plan_memory
from chainrule.schedule.steps import Schedule

__all__ = ["Arena", "Offsets", "plan_arena"]

POINTER: Final = 8
"Bytes in the arena of what is as long as a loop turns out to run."

Offsets: TypeAlias = dict["Place | tuple[int, Place]", Extent]
"""Where intermediates lie; scratch memory belongs to one launch: (its number, scratch)."""


@dataclass(frozen=True, slots=True)
class Arena:
    """The memory of a program or of a body.

    Attributes:
        offsets: Bytes from its start to each intermediate.
        nbytes: Its size.
        counted: Intermediates as long as a loop turns out to run; the offset is that of a pointer.
        inside: The memory of the bodies, which lies in this one.
    """

    offsets: Offsets
    nbytes: Extent
    counted: tuple[Place, ...]
    inside: dict[Part, Arena]


def plan_arena(
    schedule: Schedule, runs: Sequence[Run], bounds: Mapping[str, Extent] | None = None
) -> Arena:
    """Return where every intermediate lies, and the arena's size in bytes.

    `bounds` says how long loops can get that stop after a given number of steps.
    """
    lives = _Lives(schedule, dict(bounds or {}))
    for run in runs:
        lives.run(run)
    return lives.planned()


class _Lives:
    """Which launches touch what: built up in the order in which things run."""

    def __init__(self, schedule: Schedule, bounds: dict[str, Extent]) -> None:
        self.schedule, self.bounds = schedule, bounds
        self.first: dict[Any, int] = {}
        self.last: dict[Any, int] = {}
        self.sizes: dict[Any, Extent] = {}
        self.loops: list[tuple[int, int]] = []
        self.counted: dict[Place, None] = {}
        self.inside: dict[Part, Arena] = {}
        self.now = 0

    def run(self, run: Run) -> None:
        match run:
            case Launch():
                self.touch_all(run.places)
                self.now += 1
            case Returns():
                self.touch(run.place)
                self.now += 1
            case StripLoop():
                self.strips(run)
            case Repeat() | Choose():
                self.control(run)
            case Foreign():
                self.touch_all(whole.base for whole in run.args)
                self.touch_all((*run.results, run.table))
                self.now += 1

    def touch_all(self, places: Iterable[Place], strips: StripLoop | None = None) -> None:
        for p in places:
            self.touch(p, strips)

    def touch(self, place: Place, strips: StripLoop | None = None) -> None:
        if isinstance(place, int):
            return
        if isinstance(place, Node):
            place = self.schedule.homes.get(place, place)
        key: Any = place
        if isinstance(place, Scratch):
            key = (self.now, place)
        elif isinstance(place, Node) and (
            place.op.name in ("input", "data") or place in self.schedule.targets
        ):
            return
        nbytes = substitute_extent(nbytes_of(place), self.bounds)
        if strips is not None:
            # Of a batch that is shorter than a strip there are no more rows than it has.
            rows = smaller(named(strips.dim), strips.rows)
            nbytes = substitute_extent(nbytes, {strips.dim: rows})
        if counted_names(nbytes):
            # Only a pointer is in the arena.
            self.counted[place] = None
            nbytes = POINTER
        self.first.setdefault(key, self.now)
        self.last[key] = self.now
        self.sizes[key] = nbytes

    def strips(self, run: StripLoop) -> None:
        begin, before = self.now, set(self.first)
        for launch in run.body:
            self.touch_all(launch.places, run)
            self.now += 1
        for key in before:
            # What was made before the strips and is used in them serves every strip.
            if self.last[key] >= begin:
                self.last[key] = self.now - 1
        self.loops.append((begin, self.now))

    def control(self, run: Repeat | Choose) -> None:
        """Everything a loop or a branch touches is there from its first copy to its end."""
        begin = self.now
        copies, own, parts = _of(run)
        if isinstance(run, Repeat) and (bound := run.loop.node.attributes["bound"]) is not None:
            self.bounds[counted_name(run.loop.length)] = bound
        for launch in copies:
            self.touch_all(launch.places)
            self.now += 1
        self.touch_all(whole.base for whole in run.args)
        self.touch_all((*own, *run.step.nodes))
        for part in parts:
            arena = self.inside[part] = plan_arena(part.schedule, part.runs, self.bounds)
            self.touch(part.inside)
            self.sizes[part.inside] = arena.nbytes
        # A carry is written by the first copies, while the other first values are still read.
        for key, made in self.first.items():
            if made >= begin:
                self.first[key] = begin
        for key, used in self.last.items():
            if used >= begin:
                self.last[key] = self.now
        self.now += 1

    def planned(self) -> Arena:
        first, last = self.first, self.last
        for begin, end in self.loops:
            for key, made in first.items():
                # A sum that is read after the strips must outlive every other strip's own buffers.
                if begin <= made < end <= last[key]:
                    first[key] = begin
        for place in self.counted:
            # Freed when all is done.
            first[place], last[place] = 0, self.now
        names = {key: f"{i:06d}" for i, key in enumerate(first)}
        spans = [Span(names[k], self.sizes[k], first[k], last[k]) for k in first]
        plan = plan_memory(spans)
        offsets = {k: plan.offsets[names[k]] for k in first}
        return Arena(offsets, plan.nbytes, tuple(self.counted), self.inside)


def _of(run: Repeat | Choose) -> tuple[Sequence[Launch], list[Place], list[Part]]:
    """Return the copies that a loop or branch begins with, its own memory, and its bodies."""
    if isinstance(run, Repeat):
        own = [*run.carries, *run.stacked, run.position, *([run.go] if run.go else [])]
        return run.before, own, [run.body, *([run.test] if run.test else [])]
    chosen = [run.chosen] if run.chosen else []
    return run.index, [*run.results, *chosen], list(run.branches)
