"""Updates: what is read is looked up in what was written; which are made in memory.

An update in memory writes its part alone, where memory can be taken over.  Where it cannot, a
selection by counters is better: it fuses with what reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chainrule.ir.body import Body, with_bodies
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.walk import rebuild, topological, users
from chainrule.ops.control import Loop
from chainrule.ops.laying import added_at, laid
from chainrule.ops.update import axes_of_part, picked, selected, single
from chainrule.optimize.contractions import peeled
from chainrule.optimize.rewrite import Step, same_number

__all__ = ["UPDATES", "merged", "settled"]

DEPTH: Final = 32
"Updates that a slice is looked up behind, at most."
CHOSEN: Final = 8
"Updates of a branch that are chosen one by one, at most."
LONG: Final = 4
"Updates of updates from which on memory is better than so many selections for each element."

OWNED: Final = frozenset({
    Kind.ITEM, Kind.CONTRACT, Kind.SCATTER, Kind.UPDATE, Kind.WRITE, Kind.CUMULATE, Kind.FACTOR,
})  # fmt: skip
"Kinds of ops whose results lie in memory in any case."


# Reading what was written


def _slice_of_update(node: Node) -> Node | None:
    """Return what was written where a slice lies inside the part, or look behind the update."""
    (x,) = node.args
    starts, shape, steps = node.attrs
    graph, found = node.graph, x
    for _ in range(DEPTH):
        if found.op.kind is not Kind.UPDATE or found.attributes["axes"]:
            break
        inner = _within(node, found)
        if inner is None:
            break
        if inner:
            at, step = (tuple(p) for p in zip(*inner, strict=True))
            new = graph.call("slice", found.args[1], starts=at, shape=shape, steps=step)
            if found.attributes["how"] == "set":
                return new
            old = graph.call("slice", found.args[0], starts=starts, shape=shape, steps=steps)
            return old + new if node.dtype.kind != "bool" else None
        found = found.args[0]
    if found is x:
        return None
    return graph.call("slice", found, starts=starts, shape=shape, steps=steps)


def _within(part: Node, update: Node) -> list[tuple[Extent, int]] | None:
    """Say where in what an update writes a slice lies: start and step for each axis.

    Empty: it lies beside it.  None: neither is certain.
    """
    starts, shape, steps = part.attrs
    given = update.attributes
    found: list[tuple[Extent, int]] = []
    beside = False
    certain = True
    for s, n, t, a, m, k in zip(
        starts, shape, steps, given["starts"], update.args[1].shape, given["steps"], strict=True
    ):
        if (s, n, t) == (a, m, k):
            found.append((0, 1))
            continue
        if not all(isinstance(e, int) for e in (s, n, a, m)) or n == 0 or m == 0:
            certain = False
            continue
        low, high = sorted((s, s + (n - 1) * t))
        first, last = sorted((a, a + (m - 1) * k))
        if high < first or low > last:
            beside = True
        elif (s - a) % k == 0 and (t % k == 0 or n == 1) and first <= low and high <= last:
            found.append(((s - a) // k, t // k if n > 1 else 1))
        else:
            certain = False
    if beside:
        return []
    return found if certain and found else None


# Choosing between what was written


def _choice_of_updates(node: Node) -> Node | None:
    """Choose what is written, not between whole arrays that differ in the part alone.

    Where a condition is that of a whole example, as when branches run side by side under `vmap`.
    """
    condition, *sides = node.args
    lines = [_line(x) for x in sides]
    base = next((x for x in lines[0] if x in lines[1]), None)
    if base is None or sides[0] is sides[1]:
        return None
    core, axes = peeled(condition, tuple(range(node.type.rank)))
    found = base
    for line, taken in zip(lines, (True, False), strict=True):
        for u in reversed(line[: line.index(base)]):
            _, v, *index = u.args
            at = axes_of_part(u.shape, v.shape, axes, **_where(u))
            if at is None or not _is_small(v, u):
                return None
            new = (v, _kept(found, u)) if taken else (_kept(found, u), v)
            chosen = node.graph.select(node.graph.broadcast(core, v.shape, at), *new)
            found = node.graph.apply(u.op, (found, chosen, *index), u.attrs)
    return found


def _line(x: Node) -> list[Node]:
    """Return an array and what it is an update of, and so on."""
    found = [x]
    while found[-1].op.kind is Kind.UPDATE and len(found) <= CHOSEN:
        found.append(found[-1].args[0])
    return found


def _kept(x: Node, update: Node) -> Node:
    """Return what an update of `x` would write that changes nothing."""
    v, given = update.args[1], update.attributes
    if given["how"] == "add":
        # x + -0.0 is x, whichever zero x is.
        return x.graph.full(v.shape, -0.0 if v.dtype.is_float else 0, v.dtype)
    return picked(x, update.args[2:], v.shape, **_where(update))


def _where(update: Node) -> dict[str, Any]:
    """Return the attributes that name an update's places."""
    return {k: update.attributes[k] for k in ("axes", "batch", "starts", "steps")}


UPDATES: Final = (
    Step(("slice",), _slice_of_update),
    Step(("select",), _choice_of_updates),
)


def merged(results: Sequence[Node]) -> list[Node]:
    """Let updates that write one number side by side be one, where nothing else reads between.

    The cotangent of an array that is written element by element is such a chain of zeros.
    """
    if not any(n.op.kind is Kind.UPDATE for n in topological(results)):
        return list(results)
    taken = users(topological(results))
    kept = set(results)

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is not Kind.UPDATE or node.args[0].op.kind is not Kind.UPDATE:
            return None
        inner = node.args[0]
        passing = all(u is node or u.op.name == "slice" for u in taken[inner])
        return _one_of(args, node) if passing and inner not in kept else None

    return rebuild(results, results[0].graph, change)[0]


def _one_of(args: tuple[Node, ...], node: Node) -> Node | None:
    x, v = args[:2]
    outer, inner = node.attributes, x.attributes
    if x.op.kind is not Kind.UPDATE or outer["axes"] or inner["axes"]:
        return None
    if outer["how"] != "set":
        return None
    if x.args[1].shape == v.shape and inner | {"how": "set"} == outer:
        # Nothing of what was written first is left.
        return node.graph.call("update", x.args[0], v, **outer)
    if inner["how"] != "set":
        return None
    one, other = constant_value(v), constant_value(x.args[1])
    if one is None or other is None or not same_number(one, other):
        return None
    joint = _joined(outer, v.shape, inner, x.args[1].shape)
    if joint is None:
        return None
    starts, shape = joint
    value = node.graph.full(shape, one, node.dtype)
    attributes = outer | {"starts": starts, "steps": (1,) * len(starts)}
    return node.graph.call("update", x.args[0], value, **attributes)


def _joined(
    a: Mapping[str, tuple[int, ...]], own: Sequence[Extent], b: Mapping[str, tuple[int, ...]],
    other: Sequence[Extent],
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:  # fmt: skip
    """Return the part that two make together, if they lie side by side along one axis."""
    numbers = (*a["starts"], *own, *b["starts"], *other)
    if not all(isinstance(e, int) for e in numbers) or any(
        k != 1 and n != 1
        for part, shape in ((a, own), (b, other))
        for k, n in zip(part["steps"], shape, strict=True)
    ):
        return None
    starts: list[int] = []
    shape: list[int] = []
    joins = 0
    for s, n, t, m in zip(a["starts"], own, b["starts"], other, strict=True):
        assert isinstance(n, int), "all are numbers"
        assert isinstance(m, int), "all are numbers"
        if (s, n) != (t, m):
            joins += 1
            if s > t + m or t > s + n:
                return None
        starts.append(min(s, t))
        shape.append(max(s + n, t + m) - min(s, t))
    return (tuple(starts), tuple(shape)) if joins <= 1 else None


# Memory or selection


def settled(results: Sequence[Node], lent: Mapping[Node, set[int]], *, fast: bool) -> list[Node]:
    """Write updates that would not be made in place as selections, in bodies too.

    What is added to a part of an array that can be changed in place becomes an update of it.

    Args:
        results: What is computed.
        lent: Inputs that may be overwritten, and by which of the results.
        fast: Whether an array may keep a negative zero to which a zero was added.
    """

    def bodies(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is not Kind.CONTROL:
            return None

        def inside(body: Body) -> Body:
            if node.op.name == "loop":
                count = Loop.of(node).count
                own = {x: {k} for k, x in enumerate(body.inputs[1 : 1 + count])}
                if body is node.attributes["test"]:
                    own = {}
            else:
                everything = set(range(len(body.outputs)))
                own = dict.fromkeys(body.inputs, everything)
            return Body(body.inputs, tuple(settled(body.outputs, own, fast=fast)))

        return node.graph.apply(node.op, args, with_bodies(node, inside))

    if not results:
        return []
    graph = results[0].graph
    found = rebuild(results, graph, bodies)[0]
    found = _with_sums(found, lent, fast=fast)
    kept = _in_memory(found, lent)

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is not Kind.UPDATE or node in kept:
            return None
        return selected(*args, **node.attributes)

    return rebuild(found, graph, change)[0]


def _with_sums(results: Sequence[Node], lent: Mapping[Node, set[int]], *, fast: bool) -> list[Node]:
    """Write sums of an array in memory and of one that is zero nearly everywhere as updates.

    A sum with 0 turns -0 into 0 where nothing is laid.  If not `fast`, only arrays are added to
    that have no -0 there: zeros but for a part, and in that part 0 is added first.
    """
    if not any(n.op.name == "place" or n.op.kind is Kind.SCATTER for n in topological(results)):
        return list(results)
    clean: set[Node] = set()

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.name != "add" or not node.dtype.is_float:
            return None
        for x, term in (args, args[::-1]):
            total = x
            if x.op.name == "place" and not fast:
                total = node.graph.apply(x.op, (x.args[0] + 0.0,), x.attrs)
            begins = x.op.name == "place" or x in clean
            if begins or (fast and (x in lent or x.op.kind in (Kind.UPDATE, Kind.ITEM))):
                terms = laid(term)
                if len(terms) == 1 and _is_small(terms[0].v, node):
                    found = added_at(total, terms[0])
                    if found is not None and begins:
                        clean.add(found)
                    return found
        return None

    return rebuild(results, results[0].graph, change)[0]


def _is_small(v: Node, whole: Node) -> bool:
    part, all_of_it = v.type.size, whole.type.size
    if isinstance(part, int) and isinstance(all_of_it, int):
        return 2 * part <= all_of_it
    return isinstance(part, int)


def _in_memory(results: Sequence[Node], lent: Mapping[Node, set[int]]) -> set[Node]:
    """Return the updates to be made in memory: in what can be overwritten, or many in a row."""
    nodes = topological(results)
    updates = [n for n in nodes if n.op.kind is Kind.UPDATE]
    depth: dict[Node, int] = {}
    last: dict[Node, Node] = {}
    for u in updates:
        depth[u] = depth.get(u.args[0], 0) + 1
    for u in reversed(updates):
        last.setdefault(u, u)
        last.setdefault(u.args[0], last[u])
    place: dict[Node, set[int]] = {}
    for k, n in enumerate(results):
        place.setdefault(n, set()).add(k)
    carried = {x for n in nodes if n.op.name == "loop" for x in Loop.of(n).inits}
    kept: set[Node] = set()
    for u in updates:
        x, end = u.args[0], last[u]
        goes_on = end in carried
        taken = x in lent and (goes_on or bool(lent[x] & place.get(end, set())))
        owned = x.op.kind in OWNED and (x.op.kind is not Kind.UPDATE or x in kept)
        if taken or owned or depth[end] >= LONG or not single(u):
            kept.add(u)
    return kept
