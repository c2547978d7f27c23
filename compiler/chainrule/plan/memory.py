"""One arena: where every intermediate lives, planned before the first call.

Lifetimes are intervals over the order of launches.  Buffers of known size share a region whose
offsets are numbers; those whose size depends on named dims share slots, each as large as its first
tenant, taken over only by what provably fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from chainrule.ir.dims import Dim, Extent, size_of, substitute_extent
from chainrule.loops.lower import Launch, Returns, Run, StripLoop
from chainrule.loops.values import Place, Scratch
from chainrule.schedule.steps import Schedule

__all__ = ["Plan", "Span", "plan_arena", "plan_memory"]

ALIGN: Final = 64
"Bytes; a cache line and the widest vector register."


class Span(NamedTuple):
    """An intermediate: its size, and the first and last launch that touch it."""

    name: str
    nbytes: Extent
    first: int
    last: int

    def meets(self, other: Span) -> bool:
        """Tell whether both are live at some launch."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Plan:
    """Where buffers lie in the arena.

    Attributes:
        offsets: Bytes from the arena's start, by place and the launch range it belongs to.
        nbytes: Size of the arena; linear in the named dims.
    """

    offsets: dict[str, Extent]
    nbytes: Extent


def plan_memory(spans: Sequence[Span]) -> Plan:
    """Place buffers of known size largest first, each in the lowest gap free for its lifetime.

    Buffers of run-time size then go into slots behind them.  Greedy, hence not always the least;
    the order is fixed by size, lifetime and name.
    """
    fixed = [s for s in spans if isinstance(s.nbytes, int)]
    placed: list[tuple[int, Span]] = []
    for span in sorted(fixed, key=lambda s: (-_int(s.nbytes), s.first, s.name)):
        start = 0
        for offset, other in placed:
            if offset >= start + _int(span.nbytes):
                break
            if span.meets(other):
                start = max(start, _aligned(offset + _int(other.nbytes)))
        placed.append((start, span))
        placed.sort(key=lambda p: (p[0], p[1].name))
    offsets: dict[str, Extent] = {s.name: at for at, s in placed}
    end: Extent = _aligned(max((at + _int(s.nbytes) for at, s in placed), default=0))

    slots: list[tuple[Extent, list[Span]]] = []
    free = [s for s in spans if not isinstance(s.nbytes, int)]
    for span in sorted(free, key=lambda s: (-_degree(s.nbytes), s.first, s.name)):
        for size, tenants in slots:
            if _bounds(size, span.nbytes) and not any(span.meets(t) for t in tenants):
                tenants.append(span)
                break
        else:
            slots.append((span.nbytes, [span]))
    for size, tenants in slots:
        offsets |= {t.name: end for t in tenants}
        end = end + _rounded(size)
    return Plan(offsets, end)


def _int(extent: Extent) -> int:
    assert isinstance(extent, int), f"{extent} is a number"
    return extent


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGN) * ALIGN


def _rounded(nbytes: Extent) -> Extent:
    """Round up to the alignment, staying linear: what remains is at most one line too much."""
    return nbytes if _divides(nbytes) else (nbytes + (ALIGN - 1)) // ALIGN * ALIGN


def _divides(nbytes: Extent) -> bool:
    if isinstance(nbytes, int):
        return nbytes % ALIGN == 0
    return all(c % ALIGN == 0 for _, c in nbytes.terms)


def _degree(extent: Extent) -> int:
    return sum(abs(c) for _, c in extent.terms) if isinstance(extent, Dim) else 0


def _bounds(large: Extent, small: Extent) -> bool:
    """Tell whether `large >= small` whatever the named dims are (they are at least 0)."""
    rest = large - small
    return rest >= 0 if isinstance(rest, int) else all(c >= 0 for _, c in rest.terms)


def plan_arena(schedule: Schedule, runs: Sequence[Run]) -> tuple[dict[Place | tuple[int, Place], Extent], Extent]:
    """Return the arena offset of every intermediate, and the arena's size in bytes.

    Scratch memory belongs to one launch and is keyed by (number of the launch, scratch).
    """
    first: dict[object, int] = {}
    last: dict[object, int] = {}
    sizes: dict[object, Extent] = {}
    count = 0

    def touch(place: Place, time: int, strips: StripLoop | None) -> None:
        if isinstance(place, int):
            return
        key: object = place
        if isinstance(place, Scratch):
            key, nbytes = (time, place), place.size * place.dtype.nbytes
        else:
            if place.op.name in ("input", "data") or place in schedule.targets:
                return
            nbytes = size_of(place.shape) * place.dtype.nbytes
        if strips is not None:
            nbytes = substitute_extent(nbytes, {strips.dim: strips.rows})
        first.setdefault(key, time)
        last[key] = time
        sizes[key] = nbytes

    for run in runs:
        match run:
            case Launch():
                for p in run.places:
                    touch(p, count, None)
                count += 1
            case Returns():
                touch(run.place, count, None)
                count += 1
            case StripLoop():
                begin = count
                before = set(first)
                for launch in run.body:
                    for p in launch.places:
                        touch(p, count, run)
                    count += 1
                for key in before:
                    # What was made before the strips and is used in them serves every strip.
                    if last[key] >= begin:
                        last[key] = count - 1
    names = {key: f"{i:06d}" for i, key in enumerate(first)}
    spans = [Span(names[k], sizes[k], first[k], last[k]) for k in first]
    plan = plan_memory(spans)
    return {k: plan.offsets[names[k]] for k in first}, plan.nbytes  # type: ignore[misc]
