"""Fusion: which nodes run in one nest of loops.

Nodes are taken in order.  A node joins a nest if every argument is either made in that nest at the
same element (or in the same row), or readable from memory at the nest's level.  Edges between nests
always go from a lower level to a higher one, so the nests cannot form a cycle whatever is joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chainrule.ir.dims import Dim, loop_variables, named, names_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.walk import by_need, users
from chainrule.schedule.access import flat_offset, follow, peel, squeeze, strides_of
from chainrule.schedule.bodies import body_programs, copied_arguments
from chainrule.schedule.donation import (
    handed_over,
    protected,
    returned,
    running_totals,
    taken_over,
    unsafe_targets,
)
from chainrule.schedule.operands import unconverted
from chainrule.schedule.reuse import broken, homes_of, planned_reuse
from chainrule.schedule.steps import (
    Checked,
    Control,
    Copy,
    Nest,
    Role,
    Schedule,
    Single,
    Whole,
)

__all__ = ["fuse", "local_member"]

MEMBERS: Final = 64
"Members a nest may have: enough for a training step's update, few enough to compile fast."
CHEAP_FLOPS: Final = 6
CHEAP_LOADS: Final = 3
"A pointwise value of at most so many operations and loads is recomputed, not stored."

FEW_USERS: Final = 8
"Users that are looked at to find where a value is wanted."

ALONE: Final = frozenset(
    {Kind.CONTRACT, Kind.CUMULATE, Kind.SCATTER, Kind.UPDATE, Kind.WRITE, Kind.FACTOR}
)  # fmt: skip


def fuse(program: Program, *, strict: bool = False, inside: bool = False) -> Schedule:
    """Return the steps that compute `program`, ordered by level.

    Where it is the body of a loop (`inside`) and not `strict`, what is added to a carry is added up
    in the carry's memory, term by term.

    The conditions of checks come first and alone, so that nothing has been written when one
    fails.  Linear in the number of nodes.
    """
    program = protected(program)
    builder = _Fusion(program, strict=strict, inside=inside)
    conditions = [c.failed for c in program.checks]
    if conditions:
        builder.place_all(by_need(conditions, builder.reuse.before))
        builder.barrier(conditions)
    builder.place_all(by_need(program.outputs, builder.reuse.before))
    return builder.finish()


class _Fusion:
    """The state of one run of fusion."""

    def __init__(self, program: Program, *, strict: bool, inside: bool) -> None:
        self.program, self.strict = program, strict
        self.nest_of: dict[Node, Nest] = {}
        self.level: dict[Node, int] = {}
        self.steps: list[Nest | Single | Copy | Checked | Control] = []
        self.readers: dict[Node, list[Nest]] = {}
        self.cost: dict[Node, tuple[int, frozenset[Node]] | None] = {}
        self.stored: dict[Node, None] = {}
        self.floor = 0
        self._ready: dict[Node, int] = {}
        # What contractions read, as found when they were placed: views may be copied later on.
        self._addressed: dict[Node, list[Node]] = {}
        self._users = users(program.nodes)
        self._outputs = set(program.results)
        self.reuse = planned_reuse(program)
        self._totals = running_totals(program, self._users) if inside and not strict else {}

    # Placing nodes

    def place_all(self, nodes: Iterable[Node]) -> None:
        """Place every node of `nodes` (arguments first) that is not placed yet."""
        for node in nodes:
            if node.op.kind is Kind.CONTROL:
                if self._users[node][0] not in self.level:
                    self._place_control(node)
                continue
            if node.op.kind is Kind.VIEW and node in self.reuse.pinned:
                self._copy_view(node)
                continue
            if node in self.level or node.op.kind in (Kind.SOURCE, Kind.VIEW):
                self.cost.setdefault(node, self._inline_cost(node))
                continue
            assert node.op.kind is not Kind.COMPOSITE, f"{node} was not expanded"
            self.cost[node] = self._inline_cost(node)
            if node.op.kind in ALONE:
                self._place_alone(node)
            else:
                self._place_in_nest(node)

    def _inline_cost(self, node: Node) -> tuple[int, frozenset[Node]] | None:
        """Return operations and loads of computing an element where it is used; None: too many."""
        if node.op.kind is Kind.VIEW:
            return self.cost.get(node.args[0])
        if node.op.kind is Kind.SOURCE:
            return 0, frozenset() if node.op.name not in ("input", "data") else frozenset([node])
        if node.op.kind is not Kind.POINTWISE or node in self.reuse.pinned:
            return None
        flops, loads = node.op.flops, frozenset[Node]()
        for x in node.args:
            known = self.cost.get(x)
            if known is None:
                # What is not computed in place is loaded: one load, no operations.
                known = (0, frozenset([_base(x)]))
            flops, loads = flops + known[0], loads | known[1]
        return (flops, loads) if flops <= CHEAP_FLOPS and len(loads) <= CHEAP_LOADS else None

    def ready(self, node: Node) -> int:
        """Return the lowest level at which `node` can be read by a step that does not make it."""
        known = self._ready.get(node)
        if known is not None:
            return known
        if node.op.kind is Kind.SOURCE:
            return 0
        if node.op.kind is Kind.VIEW:
            level = self.level[node] + 1 if node in self.level else self.ready(node.args[0])
        elif self.cost.get(node) is not None:
            level = max((self.ready(x) for x in node.args), default=0)
        else:
            level = self.level[node] + 1
        self._ready[node] = level
        return level

    def _place_alone(self, node: Node) -> None:
        level = self.floor
        for x in node.args:
            if node.op.kind is Kind.CONTRACT:
                base = self._strided(x, node)
                self._addressed.setdefault(node, []).append(base)
                level = max(level, self._kept_level(base))
            else:
                level = max(level, self.ready(x))
        level = max(level, self._after_readers(node))
        total = self._totals.get(node)
        if total is not None:
            self.level[total] = level
            self.stored[total] = None
            self.cost[total] = None
        self.level[node] = level
        self.steps.append(Single(level, node, total))

    def _after_readers(self, node: Node) -> int:
        """Return the lowest level at which all that reads what `node` overwrites has run."""
        readers = self.reuse.before.get(node, ())
        made = [self._users[r][0] if r.op.kind is Kind.CONTROL else r for r in readers]
        return max((self.level[r] + 1 for r in made), default=0)

    def _place_control(self, node: Node) -> None:
        """Place a loop, a switch or a call: what its bodies read is in memory before it."""
        copied = copied_arguments(node)
        level, args = self.floor, []
        for i, x in enumerate(node.args):
            whole = None if i in copied else self._whole(x)
            args.append(whole)
            level = max(level, self.ready(x) if whole is None else self._kept_level(whole.base))
        level = max(level, self._after_readers(node))
        items = {n.attrs[0]: n for n in self._users[node]}
        for n in items.values():
            self.level[n] = level
            self.stored[n] = None
            self.cost[n] = None
        self.steps.append(Control(level, node, items, tuple(args)))

    def _whole(self, x: Node) -> Whole:
        """Return where a value lies in one piece; a view that does not is copied first."""
        variables = loop_variables("x", x.type.rank)
        index = tuple(named(v) for v in variables)
        base, at = follow(x, index, lambda n: n.op.kind is not Kind.VIEW or n in self.level)
        start = None if isinstance(at, tuple) else at - flat_offset(x.shape, index)
        if start is None or not names_of(start).isdisjoint(variables):
            self._copy_view(x)
            return Whole(x, 0)
        return Whole(base, start)

    def _copy_view(self, x: Node) -> None:
        """Give a view memory of its own, unless it has."""
        if x not in self.level:
            nest = Nest(max(self.floor, self.ready(x)), squeeze(x.shape))
            self._join(nest, x, Role.FULL)
            self.steps.append(nest)
            self.cost[x] = None

    def _strided(self, x: Node, node: Node) -> Node:
        """Return a view whose elements lie at constant strides; others are copied first."""
        if source := unconverted(node, x, self._users):
            return source
        variables = loop_variables("x", x.type.rank)
        index = tuple(named(v) for v in variables)
        base, at = follow(x, index, lambda n: n.op.kind is not Kind.VIEW or n in self.level)
        if isinstance(at, tuple) or strides_of(at, variables) is None:
            self._copy_view(x)
            base = x
        return base

    def _kept_level(self, base: Node) -> int:
        """Return the level at which `base` can be read from memory (never recomputed)."""
        if base.op.name in ("input", "data"):
            return 0
        if base not in self.level:
            # A constant or counter that a contraction needs in memory.
            nest = Nest(self.floor, squeeze(base.shape))
            self._join(nest, base, Role.FULL)
            self.steps.append(nest)
        return self.level[base] + 1

    def _place_in_nest(self, node: Node) -> None:
        tried = set()
        for nest in self._candidates(node):
            if nest in tried or nest.level < self.floor or len(nest.members) >= MEMBERS:
                continue
            tried.add(nest)
            role = self._role(nest, node)
            if role is not None:
                self._join(nest, node, role)
                return
        level = max([self.floor, *(self.ready(x) for x in node.args)])
        reads = node.args[0] if node.op.kind is Kind.REDUCE else node
        nest = Nest(level, squeeze(reads.shape))
        role = self._role(nest, node)
        assert role is not None, f"{node} fits a nest of its own"
        self._join(nest, node, role)
        self.steps.append(nest)

    def _candidates(self, node: Node) -> Iterable[Nest]:
        near = self._beside(node)
        if near:
            return near
        for x in node.args:
            base = _base(x)
            if base in self.nest_of:
                near.append(self.nest_of[base])
            near.extend(self.readers.get(base, ())[-2:])
        near += self._where_wanted(node)
        return sorted(dict.fromkeys(near), key=lambda n: -n.level)

    def _beside(self, node: Node) -> list[Nest]:
        """Return the nest of the op that shares its work with this one, if it is computed."""
        if not node.op.beside:
            return []
        return [
            self.nest_of[one]
            for one in self._users[node.args[0]]
            if one.op.name == node.op.beside and one.args == node.args and one in self.nest_of
        ]

    def _where_wanted(self, node: Node) -> Iterable[Nest]:
        """Return nests at or above which every user of `node` runs, for its other arguments.

        Made there, a value need not be kept in memory from where it could first be made.
        """
        wanted: list[Nest] = []
        latest: int | None = None
        for user in self._users[node]:
            others = [_base(x) for x in user.args if x is not node]
            level = max((self.level.get(x, 0) for x in others), default=0)
            latest = level if latest is None else min(latest, level)
            wanted += [self.nest_of[x] for x in others if x in self.nest_of]
            if user.op.kind is Kind.VIEW or len(wanted) > FEW_USERS:
                return []
        if latest is None or node in self._outputs:
            return []
        return [nest for nest in wanted if nest.level <= latest]

    def _join(self, nest: Nest, node: Node, role: Role) -> None:
        nest.members[node] = role
        self.nest_of[node] = nest
        self.level[node] = nest.level
        if role in (Role.ROW_REDUCE, Role.COLUMN_REDUCE) and nest.rows is None:
            reduced = set(_reduced_axes(node))
            kept = tuple(i for i in range(len(nest.space)) if i not in reduced)
            nest.rows = kept if role is Role.ROW_REDUCE else tuple(sorted(reduced))
        elif role is Role.TOTAL_REDUCE and nest.rows is None:
            nest.rows = ()
        for x in node.args:
            base = _base(x)
            if base not in nest.members:
                found = self.readers.setdefault(base, [])
                if not found or found[-1] is not nest:
                    found.append(nest)

    # Whether and how a node fits a nest

    def _role(self, nest: Nest, node: Node) -> Role | None:
        if node.op.kind is Kind.REDUCE:
            return self._reduce_role(nest, node)
        shape = squeeze(node.shape)
        if shape == nest.space:
            role = Role.FULL
        elif nest.rows is not None and shape == nest.row_shape:
            role = Role.ROW
        else:
            return None
        args = list(node.args)
        if node.op.kind is Kind.GATHER:
            # The array picked from must be in memory (or cheap); so must an index that is spread.
            outside = args if node.type.rank > args[1].type.rank else args[:1]
            if any(not self._readable(nest, x) for x in outside):
                return None
            args = [] if len(outside) == len(node.args) else args[1:]
        own = False
        for x in args:
            fits, inside = self._argument_fits(nest, x, role)
            if not fits:
                return None
            own = own or inside
        # A row value joins only the nest whose rows it continues.
        return role if role is Role.FULL or own else None

    def _readable(self, nest: Nest, x: Node) -> bool:
        return self.ready(x) <= nest.level and _base(x) not in nest.members

    def _argument_fits(self, nest: Nest, x: Node, role: Role) -> tuple[bool, bool]:
        """Tell whether argument `x` is available in the nest, and whether it is made there."""
        member = local_member(nest, x)
        if member is None:
            return self.ready(x) <= nest.level, False
        is_row = nest.members[member] in (Role.ROW, Role.ROW_REDUCE)
        # A full member needs full arguments or spread row values; a row member needs row values.
        return (role is Role.FULL) != (is_row and peel(x) is member), True

    def _reduce_role(self, nest: Nest, node: Node) -> Role | None:
        source = peel(node.args[0])
        made = nest.members.get(source)
        if made in (Role.ROW, Role.ROW_REDUCE):
            everything = len(_reduced_axes(node)) == len(nest.rows or ())
            return Role.TOTAL_REDUCE if everything and nest.rows else None
        if made not in (None, Role.FULL) or squeeze(source.shape) != nest.space:
            return None
        if made is None and not self._argument_fits(nest, node.args[0], Role.FULL)[0]:
            return None
        axes = _reduced_axes(node)
        rank = len(nest.space)
        if not axes:
            return Role.FULL
        kept = tuple(i for i in range(rank) if i not in axes)
        if nest.rows is None:
            if not kept and isinstance(nest.space[0], Dim):
                # A sum over a whole batch is finished only after all of its strips.
                return Role.TOTAL_REDUCE
            return Role.ROW_REDUCE if rank - 1 in axes else Role.COLUMN_REDUCE
        if nest.rows == kept:
            return Role.ROW_REDUCE
        if nest.rows == axes:
            return Role.COLUMN_REDUCE
        return Role.TOTAL_REDUCE if not kept else None

    # What must live in memory

    def barrier(self, conditions: list[Node]) -> None:
        """End the steps of the checks; whatever follows runs after them."""
        for node in conditions:
            self._kept_level(node)
            self.stored[node] = None
        level = max(s.level for s in self.steps) + 1
        self.steps.append(Checked(level, conditions))
        self.floor = level + 1

    def require(self, node: Node, level: int) -> None:
        """Make `node` readable by a step at `level`: stored, or computed from what is stored."""
        waiting = [node]
        seen = set()
        while waiting:
            one = waiting.pop()
            if one in seen or one.op.kind is Kind.SOURCE:
                continue
            seen.add(one)
            available = one in self.level and self.level[one] < level
            if one in self.stored and available:
                continue
            if one.op.kind is Kind.VIEW and not available:
                # Of a view that is copied somewhere later, too: from where its elements are.
                waiting.append(one.args[0])
            elif self.cost.get(one) is not None:
                waiting.extend(one.args)
            else:
                assert available, f"{one} is read at level {level}, made at {self.level.get(one)}"
                self.stored[one] = None

    def _require_arguments(self, step: Nest | Single | Copy | Control) -> None:
        match step:
            case Copy():
                self.require(step.node, step.level)
            case Control():
                for x, whole in zip(step.node.args, step.args, strict=True):
                    if x in self._lent_to(step):
                        if x.op.name != "input":
                            self.stored[x] = None
                    elif whole is None:
                        self.require(x, step.level)
                    elif whole.base.op.name not in ("input", "data"):
                        self.stored[whole.base] = None
            case Single():
                self._require_operands(step)
            case Nest():
                for node, role in step.members.items():
                    for x in node.args:
                        self._require_from_nest(step, x)
                    if role in (Role.COLUMN_REDUCE, Role.TOTAL_REDUCE):
                        self.stored[node] = None

    def _lent_to(self, step: Control) -> list[Node]:
        """Return the arguments in whose memory values of a loop are made."""
        return [self.reuse.within[n] for n in step.nodes if n in self.reuse.within]

    def _require_operands(self, step: Single) -> None:
        node = step.node
        self.stored[step.made] = None
        addressed = self._addressed.get(node)
        if addressed is not None:
            inner = [x for x in addressed if x.op.name not in ("input", "data")]
            self.stored.update(dict.fromkeys(inner))
            return
        for x in node.args:
            if x is not self.reuse.within.get(node):
                self.require(x, step.level)
            elif x.op.name != "input":
                self.stored[x] = None

    def _require_from_nest(self, nest: Nest, x: Node) -> None:
        if local_member(nest, x) is None:
            self.require(x, nest.level)

    def finish(self) -> Schedule:
        """Decide which nodes are stored, add copies for odd outputs, and order the steps."""
        program = self.program
        targets: dict[Node, int] = {}
        kept = returned(program)
        last = max((s.level for s in self.steps), default=0) + 1
        for i, node in enumerate(program.outputs):
            if node in self.level and node not in targets:
                targets[node] = i
                self.stored[node] = None
            elif i not in kept:
                self.steps.append(Copy(max(last, self.ready(node)), node, i))
        for step in list(self.steps):
            if not isinstance(step, Checked):
                self._require_arguments(step)
        for step in self.steps:
            if isinstance(step, Control):
                step.handed = handed_over(program, step, targets)
        homes = self._settle_reuse(targets)
        for node in unsafe_targets(
            program, self.steps, self.stored, self.level, targets, self.floor, homes
        ):
            self.steps.append(Copy(last, node, targets.pop(node)))
        homes = homes_of(self.reuse.within, targets)
        for step in self.steps:
            if isinstance(step, Control):
                step.handed = {n: j for n, j in step.handed.items() if n in targets}
                step.handed |= {
                    n: step.node.args.index(self.reuse.within[n])
                    for n in step.nodes if n in self.reuse.within
                }  # fmt: skip
                programs = body_programs(step.node, step.items, step.handed)
                step.parts = tuple(fuse(p, strict=self.strict, inside=True) for p in programs)
        order = sorted(self.steps, key=lambda s: s.level)
        doomed = taken_over(program)
        overwriting = {n: doomed[i] for n, i in targets.items() if i in doomed}
        return Schedule(program, [*order], self.level, self.stored, targets, overwriting, homes)

    def _settle_reuse(self, targets: Mapping[Node, int]) -> dict[Node, Node]:
        """Take back what would overwrite something read later; return where the others live."""
        within = self.reuse.within
        steps = [s for s in self.steps if not isinstance(s, Checked)]
        for node in broken(self.reuse, steps, self.stored, self.level):
            del within[node]
        for step in self.steps:
            if isinstance(step, Single):
                step.inside = step.node in within
        return homes_of(within, targets)


def local_member(nest: Nest, x: Node) -> Node | None:
    """Return the member that holds the element of `x` wanted at the nest's own index, if any.

    That is `x` itself up to axes of extent 1, or the row value that `x` spreads over its row.
    """
    near = peel(x)
    made = nest.members.get(near)
    if made in (Role.FULL, Role.ROW, Role.ROW_REDUCE):
        return near
    if made is None and near.op.name == "broadcast":
        source = peel(near.args[0])
        if nest.members.get(source) in (Role.ROW, Role.ROW_REDUCE):
            aligned = squeeze(near.shape) == nest.space and _squeezed_axes(near) == nest.rows
            return source if aligned else None
    return None


def _base(x: Node) -> Node:
    """Return what `x` is a view of."""
    while x.op.kind is Kind.VIEW:
        x = x.args[0]
    return x


def _reduced_axes(node: Node) -> tuple[int, ...]:
    """Return the reduced axes, counted among the axes of extent other than 1."""
    (axes,) = node.attrs
    count, found = 0, []
    for i, extent in enumerate(node.args[0].shape):
        if extent != 1:
            if i in axes:
                found.append(count)
            count += 1
    return tuple(found)


def _squeezed_axes(broadcast: Node) -> tuple[int, ...]:
    """Return to which axes a broadcast sends its argument's, not counting extents of 1."""
    shape, axes = broadcast.attrs
    source = broadcast.args[0].shape
    place = {a: k for k, a in enumerate(i for i, e in enumerate(shape) if e != 1)}
    return tuple(place[a] for a, e in zip(axes, source, strict=True) if e != 1)
