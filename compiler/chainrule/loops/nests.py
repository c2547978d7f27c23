"""Nests to loops: rows outside, one or more passes over the columns inside.

A row value that needs the whole row (a maximum, a sum) ends a pass.  Values wanted in several
passes are recomputed if cheap, kept in a row of scratch memory if not.

In an ordered schedule a sum adds over the axes as they follow one another, the last one in lanes
unless it is short: an order that the extents of what is summed set alone, so that `vmap`, which
puts one more axis of rows before them, changes no bit.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from chainrule.ir.dims import Extent, Shape, loop_variables, named, size_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.loops.ir import Accumulator, Combine
from chainrule.loops.values import Place, Scratch, Values
from chainrule.schedule.access import Index, flat_offset, peel, squeeze
from chainrule.schedule.fuse import local_member
from chainrule.schedule.steps import Nest, Role, Schedule

__all__ = ["COMBINES", "lower_nest"]

COMBINES: Final[dict[str, Combine]] = {"sum": "sum", "prod": "prod", "max": "max", "min": "min"}
KEEP_FLOPS: Final = 8
"A value of at least so many operations is kept for later passes, not computed again."
SHORT: Final = 6
"Columns so few that lanes run across rows instead: a vector would be mostly empty."


def lower_nest(
    schedule: Schedule, nest: Nest, summed: AbstractSet[Node], strip: str | None
) -> Values | None:
    """Return the loops of a nest, or None if nothing it makes is wanted.

    Members in `summed` add to what memory holds: the nest sees one strip of the batch.
    """
    lowering = _Nest(schedule, nest, summed, strip)
    return lowering.run() if lowering.sinks else None


class _Nest:
    def __init__(
        self, schedule: Schedule, nest: Nest, summed: AbstractSet[Node], strip: str | None
    ) -> None:
        self.schedule, self.nest, self.summed = schedule, nest, summed
        self.rows, self.columns = nest.rows or (), nest.columns
        self.values = Values(lambda node: schedule.in_memory(node, nest.level), strip)
        self.vars = loop_variables("i", len(nest.space))
        self.sinks = [
            n for n, role in nest.members.items()
            if n in schedule.stored or role in (Role.COLUMN_REDUCE, Role.TOTAL_REDUCE)
        ]  # fmt: skip
        self.ordered = schedule.ordered and any(_rounds(n) for n in nest.members)
        self.short = self.ordered and _is_short(nest.space)
        self.across_rows = self._few_columns()
        self.totals: dict[Node, str] = {}
        self.pass_of: dict[Node, int] = {}
        self.computed: dict[Node, set[int]] = {}
        self.kept: dict[Node, Place] = {}
        self.known: dict[tuple[Node, int], str] = {}
        self.row_value: dict[Node, str] = {}
        self.now = 0
        # Stores to donated memory come last in a turn: other members may still load from there.
        self.late: list[tuple[Node, Extent, str]] = []
        # Totals whose terms come in another order than they add in: the terms, kept for later.
        self.terms: dict[Node, Scratch] = {}

    # Analysis

    def _few_columns(self) -> bool:
        """Tell whether rows, not columns, go into the lanes."""
        columns = size_of(self.nest.space[c] for c in self.columns)
        if not self.rows or not isinstance(columns, int) or columns > SHORT:
            return False
        # Rows that are added up in memory must come one after the other.
        roles = set(self.nest.members.values())
        if self.ordered and (not self.short or Role.TOTAL_REDUCE in roles):
            return False
        return Role.COLUMN_REDUCE not in roles

    def plan_passes(self) -> int:
        """Find in which pass each member runs; return the number of passes."""
        after: dict[Node, int] = {}
        for n, role in self.nest.members.items():
            first = 0
            for x in n.args:
                member = local_member(self.nest, x)
                if member is not None:
                    first = max(first, after[member])
            self.pass_of[n] = first
            # The value of a combined row exists once its pass is over.
            after[n] = first + 1 if role is Role.ROW_REDUCE else first
        wanted: dict[Node, set[int]] = {n: {self.pass_of[n]} for n in self.sinks}
        for n in reversed(self.nest.members):
            if n not in wanted:
                continue
            role, passes = self.nest.members[n], wanted[n]
            keep = n in self.schedule.stored or (_cost(n) >= KEEP_FLOPS and not self.across_rows)
            if role is Role.FULL:
                self.computed[n] = {min(passes)} if keep else passes
                if keep and len(passes) > 1:
                    self.kept[n] = self._place(n)
            else:
                self.computed[n] = {self.pass_of[n]}
            for x in n.args:
                member = local_member(self.nest, x)
                if member is not None:
                    wanted.setdefault(member, set()).update(self.computed[n])
        return 1 + max((max(p) for p in self.computed.values()), default=0)

    def _place(self, node: Node) -> Place:
        if node in self.schedule.stored:
            return node
        size = size_of(self.nest.space[c] for c in self.columns)
        return Scratch(len(self.kept), node.dtype, size)

    # Emission

    def run(self) -> Values:
        passes, values, nest = self.plan_passes(), self.values, self.nest
        for n, role in nest.members.items():
            if role is Role.TOTAL_REDUCE:
                self.totals[n] = self._accumulator(n)
                if self._out_of_order(n):
                    shape = nest.row_shape if self._source_is_row(n) else nest.space
                    serial = len(self.kept) + len(self.terms)
                    self.terms[n] = Scratch(serial, n.dtype, size_of(shape))
        for r in self.rows:
            values.open(self.vars[r])
        for self.now in range(passes):
            self._run_pass()
        for n in self.sinks:
            role = nest.members[n]
            if role in (Role.ROW, Role.ROW_REDUCE):
                combine = COMBINES[n.op.name] if n in self.summed else None
                values.store(n, n.dtype, self._offset(n), self._row(n), combine)
            elif role is Role.TOTAL_REDUCE and self._source_is_row(n):
                member = local_member(nest, n.args[0])
                assert member is not None, "a row value of this nest"
                self._add_term(n, self._row(member))
        for k, r in enumerate(reversed(self.rows)):
            values.close(self.vars[r], nest.space[r], vector=k == 0 and self.across_rows)
        for n, place in self.terms.items():
            self._add_up(n, place)
        for n, name in self.totals.items():
            values.store(n, n.dtype, 0, name, COMBINES[n.op.name])
        return values

    def _out_of_order(self, total: Node) -> bool:
        """Tell whether the terms of a total come otherwise than its axes follow one another."""
        if not self.ordered or not _rounds(total):
            return False
        return self._source_is_row(total) or self.rows != tuple(range(len(self.rows)))

    def _add_term(self, total: Node, term: str) -> None:
        """Add to a total, or keep what is to be added when all is there."""
        place = self.terms.get(total)
        if place is None:
            self.values.update(self.totals[total], term, ordered=self.ordered)
            return
        axes = self.rows if self._source_is_row(total) else tuple(range(len(self.nest.space)))
        shape = tuple([self.nest.space[a] for a in axes])
        at = flat_offset(shape, tuple([named(self.vars[a]) for a in axes]))
        self.values.store(place, place.dtype, at, term)

    def _add_up(self, total: Node, place: Scratch) -> None:
        """Add the terms that were kept, in the order of their axes."""
        values = self.values
        shape = self.nest.row_shape if self._source_is_row(total) else self.nest.space
        variables = loop_variables("j", len(shape))
        for v in variables:
            values.open(v)
        at = flat_offset(shape, tuple(map(named, variables)))
        values.update(self.totals[total], values.load(place, place.dtype, at), ordered=True)
        for k, v in enumerate(reversed(variables)):
            values.close(v, shape[-1 - k], vector=k == 0 and not _is_short(shape))

    def _accumulator(self, node: Node) -> str:
        """Declare a running combination in the innermost open loop."""
        name = self.values.name("a")
        self.values.emit(Accumulator(name, node.dtype, COMBINES[node.op.name]))
        self.values.declare(name, node.dtype)
        return name

    def _source_is_row(self, node: Node) -> bool:
        """Tell whether a total adds one term a row, not a row's value once for each column."""
        member = local_member(self.nest, node.args[0])
        if member is None or self.nest.members[member] is Role.FULL:
            return False
        return peel(node.args[0]) is member

    def _run_pass(self) -> None:
        values, nest = self.values, self.nest
        here = [n for n in nest.members if self.now in self.computed.get(n, ())]
        for n in here:
            if nest.members[n] is Role.ROW_REDUCE:
                self.row_value[n] = self._accumulator(n)
        for c in self.columns:
            values.open(self.vars[c])
        for n in here:
            self._run_member(n, nest.members[n])
        for n, offset, name in self.late:
            values.store(n, n.dtype, offset, name)
        self.late.clear()
        for k, c in enumerate(reversed(self.columns)):
            lanes = k == 0 and not self.across_rows and not self.short
            values.close(self.vars[c], nest.space[c], vector=lanes)

    def _run_member(self, n: Node, role: Role) -> None:
        values = self.values
        if role is Role.FULL:
            stored = n in self.schedule.stored
            if not stored and n not in self.kept:
                return
            name = self._full(n)
            if n in self.schedule.overwriting:
                self.late.append((n, self._offset(n), name))
            elif stored:
                values.store(n, n.dtype, self._offset(n), name)
            else:
                values.store(self.kept[n], n.dtype, self._column_offset(), name)
        elif role is Role.ROW_REDUCE:
            values.update(self.row_value[n], self._element(n.args[0]), ordered=self.ordered)
        elif role is Role.TOTAL_REDUCE and not self._source_is_row(n):
            self._add_term(n, self._element(n.args[0]))
        elif role is Role.COLUMN_REDUCE:
            values.store(
                n, n.dtype, self._column_offset(), self._element(n.args[0]), COMBINES[n.op.name]
            )

    # Values

    def _index(self, node: Node) -> Index:
        """Return the element of a full member (or of a row member) at the nest's own place."""
        shape = squeeze(node.shape)
        axes = range(len(shape)) if shape == self.nest.space else self.rows
        own = iter(named(self.vars[a]) for a in axes)
        return tuple(0 if e == 1 else next(own) for e in node.shape)

    def _offset(self, node: Node) -> Extent:
        role = self.nest.members[node]
        if role in (Role.ROW, Role.ROW_REDUCE):
            shape = [self.nest.space[r] for r in self.rows]
            return flat_offset(tuple(shape), tuple(named(self.vars[r]) for r in self.rows))
        return flat_offset(node.shape, self._index(node))

    def _column_offset(self) -> Extent:
        shape = tuple(self.nest.space[c] for c in self.columns)
        return flat_offset(shape, tuple(named(self.vars[c]) for c in self.columns))

    def _element(self, x: Node) -> str:
        """Name the element of an argument at the nest's own place."""
        member = local_member(self.nest, x)
        if member is not None:
            if self.nest.members[member] is Role.FULL:
                return self._full(member)
            return self._row(member)
        return self.values.value(x, self._index(x), self._inside)

    def _inside(self, node: Node, index: Index) -> str | None:
        """Answer for members asked for by what is computed in place."""
        if self.nest.members.get(node) is Role.FULL and index == self._index(node):
            known = self.known.get((node, self.now))
            if known is not None:
                return known
        return None

    def _full(self, node: Node) -> str:
        known = self.known.get((node, self.now))
        if known is not None:
            return known
        # Members run in order, so only chains of members not yet named in this pass go deep.
        waiting = [node]
        while waiting:
            n = waiting[-1]
            if (n, self.now) in self.known:
                waiting.pop()
                continue
            if n in self.kept and self.now not in self.computed[n]:
                self.known[n, self.now] = self._again(n)
                continue
            missing = []
            for x in n.args:
                member = local_member(self.nest, x)
                full = member is not None and self.nest.members[member] is Role.FULL
                if member is not None and full and (member, self.now) not in self.known:
                    missing.append(member)
            if missing:
                waiting += missing
                continue
            self.known[n, self.now] = self._compute(n)
        return self.known[node, self.now]

    def _again(self, node: Node) -> str:
        """Load what an earlier pass kept."""
        place = self.kept[node]
        offset = self._offset(node) if isinstance(place, Node) else self._column_offset()
        return self.values.load(place, node.dtype, offset)

    def _compute(self, n: Node) -> str:
        values = self.values
        if n.op.kind is Kind.REDUCE:
            return self._element(n.args[0])
        if n.op.kind is Kind.POINTWISE:
            return values.compute(n.op, [self._element(x) for x in n.args], n.dtype, n.attrs)
        # Views, gathers and sources that are given memory of their own.
        return values.value(n, self._index(n), self._picked)

    def _picked(self, x: Node, index: Index) -> str | None:
        member = local_member(self.nest, x)
        if member is None or index != self._index(x):
            return None
        if self.nest.members[member] is Role.FULL:
            return self.known.get((member, self.now))
        return self.row_value.get(member)

    def _row(self, node: Node) -> str:
        known = self.row_value.get(node)
        if known is not None:
            return known
        waiting = [node]
        while waiting:
            n = waiting[-1]
            if n in self.row_value:
                waiting.pop()
                continue
            members = [local_member(self.nest, x) for x in n.args]
            missing = [m for m in members if m is not None and m not in self.row_value]
            if missing:
                waiting += missing
                continue
            self.row_value[n] = self._compute_row(n, members)
        return self.row_value[node]

    def _compute_row(self, n: Node, members: list[Node | None]) -> str:
        if n.op.kind not in (Kind.REDUCE, Kind.POINTWISE):
            # What is picked from is no row value: its elements are asked for by place, one by one.
            return self.values.value(n, self._index(n), self._picked)
        args = [
            self.row_value[m] if m is not None else self.values.value(x, self._index(x))
            for x, m in zip(n.args, members, strict=True)
        ]
        return args[0] if n.op.kind is Kind.REDUCE else self.values.compute(
            n.op, args, n.dtype, n.attrs
        )  # fmt: skip


def _is_short(shape: Shape) -> bool:
    """Tell whether the last axis is too short for lanes."""
    last = shape[-1] if shape else 1
    return isinstance(last, int) and last <= SHORT


def _rounds(node: Node) -> bool:
    """Tell whether a node depends on the order in which it combines an axis."""
    return node.op.kind is Kind.REDUCE and node.dtype.is_float and node.op.name in ("sum", "prod")


def _cost(node: Node) -> int:
    return node.op.flops if node.op.kind is Kind.POINTWISE else 0
