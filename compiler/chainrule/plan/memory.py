"""Placing buffers: from sizes and lifetimes to offsets.

Lifetimes are intervals over the order of launches.  Buffers of known size share a region whose
offsets are numbers; those of so many bytes a row, one whose offsets are numbers for each row.  What
depends on named dims otherwise shares slots, each as large as its first tenant, taken over only by
what provably fits.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, NamedTuple

from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Dim, Extent

__all__ = ["Plan", "Span", "plan_memory"]

ALIGN: Final = 64
"Bytes; a cache line and the widest vector register."
ROWS: Final = 8
"Narrow rows whose bytes are rounded up together."
FEW: Final = 512
"Buffers up to which planning may take quadratic time."


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
    """Place buffers of known size, those of so many bytes a row, and others in slots behind them.

    Greedy, hence not always the least.  Up to `FEW` buffers of a kind are placed with quadratic
    care, more in time n log n.  The order is fixed by size, lifetime and name.
    """
    fixed = [s for s in spans if isinstance(s.nbytes, int)]
    free = [s for s in spans if not isinstance(s.nbytes, int)]
    placed, last = _packed(fixed)
    offsets: dict[str, Extent] = dict(placed)
    end: Extent = last
    groups, free = _by_rows(free)
    for rows, spans_of_rows in groups.items():
        placed, last = _packed(spans_of_rows)
        offsets.update((name, end + at * rows) for name, at in placed.items())
        end = end + last * rows
    for size, tenants in _shared_slots(free) if len(free) <= FEW else _slots_by_size(free):
        offsets.update((t.name, end) for t in tenants)
        end = end + _rounded(size)
    return Plan(offsets, end)


Placed = tuple[dict[str, int], int]


def _packed(spans: Sequence[Span]) -> Placed:
    """Place spans of known size."""
    found = _in_order_of_time(spans)
    if len(spans) <= FEW:
        # On equal terms the first of these two.
        found = min(_largest_first(spans), found, key=lambda plan: plan[1])
    return found


def _by_rows(spans: Sequence[Span]) -> tuple[dict[Extent, list[Span]], list[Span]]:
    """Return spans that are so many bytes a row as spans of known size, by the number of rows.

    Rows of a multiple of `ALIGN` bytes stay aligned whatever their number; of others, `ROWS` at a
    time are taken together.  The rest is returned as it is.
    """
    groups: dict[Extent, list[Span]] = {}
    rest: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.first, s.name)):
        terms = span.nbytes.terms if isinstance(span.nbytes, Dim) else ()
        if len(terms) != 1 or terms[0][1] <= 0 or not terms[0][0]:
            rest.append(span)
            continue
        ((monomial, width),) = terms
        rows: Extent = Dim(((monomial, 1),))
        if width % ALIGN:
            rows, width = (rows + (ROWS - 1)) // ROWS, _aligned(width * ROWS)
        groups.setdefault(rows, []).append(span._replace(nbytes=width))
    return groups, rest


def _largest_first(spans: Sequence[Span]) -> Placed:
    """Give each span the lowest gap that is free for its whole lifetime."""
    placed: list[tuple[int, Span]] = []
    for span in sorted(spans, key=lambda s: (-_int(s.nbytes), s.first, s.name)):
        start = 0
        for offset, other in placed:
            if offset >= start + _int(span.nbytes):
                break
            if span.meets(other):
                start = max(start, _aligned(offset + _int(other.nbytes)))
        placed.append((start, span))
        placed.sort(key=lambda p: (p[0], p[1].name))
    end = max((at + _int(s.nbytes) for at, s in placed), default=0)
    return {s.name: at for at, s in placed}, _aligned(end)


def _in_order_of_time(spans: Sequence[Span]) -> Placed:
    """Run through the launches; a span takes the tightest gap, and gives it back after its last."""
    offsets: dict[str, int] = {}
    gaps = _Gaps()
    ending: list[tuple[int, int, int]] = []
    for span in sorted(spans, key=lambda s: (s.first, -_int(s.nbytes), s.name)):
        while ending and ending[0][0] < span.first:
            _, start, size = heappop(ending)
            gaps.give(start, size)
        size = _aligned(_int(span.nbytes))
        offsets[span.name] = start = gaps.take(size)
        if size:
            heappush(ending, (span.last, start, size))
    return offsets, gaps.end


class _Gaps:
    """Free memory below `end`: gaps by their start and, the same, by their size."""

    def __init__(self) -> None:
        self.end = 0
        self.sizes: dict[int, int] = {}
        self.starts: list[int] = []
        self.by_size: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        """Return where `size` bytes are free from now on."""
        if not size:
            return 0
        at = bisect_left(self.by_size, (size, 0))
        if at < len(self.by_size):
            found, start = self.by_size[at]
            self._drop(start)
            if found > size:
                self._keep(start + size, found - size)
            return start
        start = self.end
        if self.starts and self.starts[-1] + self.sizes[self.starts[-1]] == start:
            # The last gap touches the end: it grows.
            start = self.starts[-1]
            self._drop(start)
        self.end = start + size
        return start

    def give(self, start: int, size: int) -> None:
        """Free memory, joining it with the gaps beside it."""
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] == start + size:
            size += self.sizes[self.starts[at]]
            self._drop(self.starts[at])
        if at and self.starts[at - 1] + self.sizes[self.starts[at - 1]] == start:
            start = self.starts[at - 1]
            size += self.sizes[start]
            self._drop(start)
        self._keep(start, size)

    def _drop(self, start: int) -> None:
        size = self.sizes.pop(start)
        del self.starts[bisect_left(self.starts, start)]
        del self.by_size[bisect_left(self.by_size, (size, start))]

    def _keep(self, start: int, size: int) -> None:
        self.sizes[start] = size
        insort(self.starts, start)
        insort(self.by_size, (size, start))


Slots = list[tuple[Extent, list[Span]]]


def _shared_slots(spans: Sequence[Span]) -> Slots:
    """Let spans of run-time size take over slots that are provably large enough."""
    slots: Slots = []
    for span in sorted(spans, key=lambda s: (-_degree(s.nbytes), s.first, s.name)):
        for size, tenants in slots:
            if not any(span.meets(t) for t in tenants) and _bounds(size, span.nbytes):
                tenants.append(span)
                break
        else:
            slots.append((span.nbytes, [span]))
    return slots


def _slots_by_size(spans: Sequence[Span]) -> Slots:
    """Let spans of one and the same run-time size follow each other."""
    slots: Slots = []
    ending: dict[Extent, list[tuple[int, int]]] = {}
    for span in sorted(spans, key=lambda s: (s.first, s.name)):
        free = ending.setdefault(span.nbytes, [])
        if free and free[0][0] < span.first:
            _, at = heappop(free)
            slots[at][1].append(span)
        else:
            at = len(slots)
            slots.append((span.nbytes, [span]))
        heappush(free, (span.last, at))
    return slots


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
    """Tell whether `large >= small` whatever the named dims are."""
    return never_negative(large - small)
