"""Masks of cotangents: a zero that stands for "this branch was not taken" keeps out infinities.

The cotangent of a branch is `select(condition, g, 0)`.  Where the branch was not taken, its slopes
may be infinite, and 0 times infinity is NaN.  So products select after multiplying, by the masks
of both factors; and what adds up, moves or mixes masked cotangents is masked itself, so that the
next product still sees the mask.

Most masks are copies of a smaller one along some axes: of a single condition, or of one for each
example.  This *core* is what passes through ops that mix elements along other axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple

from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.types import BOOL, I64
from chainrule.ops.laying import added_up, laid

__all__ = ["Core", "added", "core_of", "either", "mask_of", "masked", "product", "pulled", "pushed",
           "split", "summed"]  # fmt: skip

MOVES: Final = frozenset({Kind.VIEW, Kind.WRITE, Kind.UPDATE})
"Kinds of ops whose pull-back moves elements, so that a mask may move along."


class Core(NamedTuple):
    """A mask without the axes along which it is constant; axis i of `node` is axis `axes[i]`."""

    node: Node
    axes: tuple[int, ...]

    def over(self, like: Node, pairing: Mapping[int, int] | None = None) -> Node:
        """Copy the mask along the axes of `like`, of which `pairing` tells which are its own."""
        axes = tuple([a if pairing is None else pairing[a] for a in self.axes])
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        node = self.node
        if order != list(range(len(axes))):
            node = node.graph.call("transpose", node, axes=tuple(order))
        return node.graph.broadcast(node, like.shape, tuple(sorted(axes)))


def core_of(mask: Node) -> Core:
    """Return a mask without the axes along which it is constant."""
    axes = tuple(range(mask.type.rank))
    while mask.op.name == "broadcast":
        axes = tuple([axes[i] for i in mask.attributes["axes"]])
        mask = mask.args[0]
    return Core(mask, axes)


def split(g: Node) -> tuple[list[Node], Node]:
    """Return the masks that a cotangent is zero outside of, outermost first, and the rest."""
    masks: list[Node] = []
    while True:
        condition = _truth_of(g)
        if condition is not None:
            masks += [m for m in _parts(condition) if m not in masks]
            return masks, g.graph.full_like(g, 1)
        if g.op.name != "select":
            return masks, g
        condition, a, b = g.args
        if constant_value(b) == 0:
            mask, g = condition, a
        elif constant_value(a) == 0:
            mask, g = _logic("bit_not", condition), b
        else:
            return masks, g
        masks += [m for m in _parts(mask) if m not in masks]


def _truth_of(x: Node) -> Node | None:
    """Return the condition that a float is 1 and 0 for, copied along axes or not."""
    core = core_of(x)
    if core.node.op.name != "cast" or core.node.args[0].dtype is not BOOL:
        return None
    return Core(core.node.args[0], core.axes).over(x)


def _parts(mask: Node) -> list[Node]:
    """Return the conditions that all have to hold, which simplification has put into one."""
    if mask.op.name != "bit_and":
        return [mask]
    found: list[Node] = []
    stack = [mask]
    while stack:
        m = stack.pop()
        if m.op.name == "bit_and":
            stack += reversed(m.args)
        else:
            found.append(m)
    # What does not differ along some axis may go where the whole could not.
    return found if any(len(core_of(m).axes) < m.type.rank for m in found) else [mask]


def masked(masks: Sequence[Node], g: Node) -> Node:
    """Make a cotangent zero outside of masks, the first of which becomes the outermost."""
    for mask in reversed(masks):
        g = g.graph.select(mask, g, 0.0)
    return g


def mask_of(g: Node) -> Node | None:
    """Return the mask that a cotangent is zero outside of, if there is one."""
    masks, inside = split(g)
    if constant_value(inside) == 0:
        return g.graph.full(g.shape, False, BOOL)
    return reduce(lambda m, n: _logic("bit_and", m, n), masks) if masks else None


def either(masks: Sequence[Node]) -> Node:
    """Return where one of the masks holds."""
    return reduce(lambda m, n: _logic("bit_or", m, n), masks)


def _logic(name: str, *conditions: Node) -> Node:
    """Combine conditions, along the axes along which one of them is not constant."""
    like, graph = conditions[0], conditions[0].graph
    cores = [core_of(c) for c in conditions]
    union = sorted({a for c in cores for a in c.axes})
    shape = tuple([like.shape[a] for a in union])
    inner = [graph.broadcast(n, shape, tuple([union.index(a) for a in axes])) for n, axes in cores]
    return graph.broadcast(graph.call(name, *inner), like.shape, tuple(union))


# Products and sums


def product(g: Node, slope: Node | float | None) -> Node | None:
    """Multiply a cotangent (or tangent) by a slope, selecting after multiplying."""
    if slope is None:
        return None
    number = constant_value(slope) if isinstance(slope, Node) else slope
    if number == 1:
        return g
    masks, inside = split(g)
    if number is not None:
        return masked(masks, -inside if number == -1 else inside * slope)
    assert isinstance(slope, Node), "what is no node is a number"
    others, rest = split(slope)
    return masked([*masks, *(m for m in others if m not in masks)], inside * rest)


def added(a: Node, b: Node, *, unite: bool = True) -> Node:
    """Add cotangents; where both are zero outside masks, so is their sum, outside of both.

    Masks that both have move outwards: (k and m) or (n and m) is m and (k or n).  Those that one of
    them has may be left where they are.
    """
    masks, inside = split(a)
    others, rest = split(b)
    common = [m for m in masks if m in others]
    own = [m for m in masks if m not in common]
    foreign = [m for m in others if m not in common]
    total = summed(masked(own, inside), masked(foreign, rest))
    if own and foreign and unite:
        one, other = (reduce(lambda m, n: _logic("bit_and", m, n), c) for c in (own, foreign))
        if _logic("bit_not", one) is not other and _logic("bit_not", other) is not one:
            total = masked([_logic("bit_or", one, other)], total)
    return masked(common, total)


def summed(a: Node, b: Node) -> Node:
    """Add cotangents; of one that is zero but where an index points, only that is added.

    So is what slices give back, where the other is an array that an index has been written to.
    """
    for total, term in ((a, b), (b, a)):
        terms = laid(term)
        indexed = total.op.kind is Kind.UPDATE and len(total.args) > 2
        if terms and (indexed or all(t.index for t in terms)) and constant_value(total) != 0:
            found = added_up(total, terms)
            if found is not None:
                return found
    return a + b


# Other ops


def pulled(
    y: Node, g: Node, wanted: Sequence[bool], inner: Sequence[bool]
) -> Sequence[Node | None]:
    """Pull a cotangent back through an op that has a pull-back, its masks along with it.

    Args:
        y: The op's result.
        g: The cotangent of the result.
        wanted: Which arguments' cotangents are asked for.
        inner: Of which arguments the cotangents are pulled back further.
    """
    masks, inside = split(g)
    if not masks or y.op.name == "select":
        return _pull(y, g)
    if (y.op.kind in MOVES or y.op.kind is Kind.POINTWISE) and y.op.name != "broadcast":
        return _moved(y, masks, inside)
    cores = [core_of(m) for m in masks]
    return [
        _mixed(y, g, cores, at, further=i) if w else None
        for at, (w, i) in enumerate(zip(wanted, inner, strict=True))
    ]


def _pull(y: Node, g: Node, result: Node | None = None, args: Sequence[Node] = ()) -> list[
    Node | None
]:  # fmt: skip
    assert y.op.pull is not None, f"{y.op.name} has a pull-back"
    return list(y.op.pull(g, result or y, *(args or y.args), **y.attributes))


def _moved(y: Node, masks: Sequence[Node], inside: Node) -> list[Node | None]:
    """Move the masks as the cotangent is moved; what is pointwise and linear leaves them."""
    if y.op.kind is Kind.POINTWISE:
        return [None if x is None else masked(masks, x) for x in _pull(y, inside)]
    apart = _apart(y)
    places = [_pull(y, m) for m in masks]
    found: list[Node | None] = []
    for i, (x, gx) in enumerate(zip(y.args, _pull(y, inside), strict=True)):
        own: list[Node] = []
        same = x.type.size == y.type.size
        for mask, place in zip(masks, places, strict=True):
            core, moved = core_of(mask), place[i]
            fits = _fits(core, apart[i])
            own += [core.over(x, apart[i])] if fits else []
            # What is not in a slice has no cotangent either.
            if moved is not None and not (fits and (y.op.kind is Kind.WRITE or same)):
                own.append(moved)
        found.append(None if gx is None else masked(own, gx))
    return found


def _apart(y: Node) -> Sequence[Mapping[int, int]]:
    none: Sequence[Mapping[int, int]] = [{} for _ in y.args]
    return none if y.op.apart is None else y.op.apart(y, *y.args, **y.attributes)


def _mixed(y: Node, g: Node, cores: Sequence[Core], at: int, *, further: bool) -> Node | None:
    """Pull a masked cotangent back to one argument of an op that mixes elements."""
    op, x = y.op, y.args[at]
    apart = _apart(y)
    if op.kind is Kind.CONTRACT:
        cores = [c for c in cores if (further and _fits(c, apart[at])) or not _follows(c, y)]
    whole = [c for c in cores if _fits(c, apart[at])]
    if len(y.args) == 1:
        # Outside of the masks anything will do.
        masks, inside = split(g)
        g = masked([m for m in masks if core_of(m) not in whole], inside)
    outer = [c.over(x, apart[at]) for c in whole]
    result, args = y, list(y.args)
    for core in cores:
        if core in whole:
            continue
        for i, pairing in enumerate(apart):
            if i != at and _fits(core, pairing):
                # A sum over what the arguments share leaves out what the mask leaves out.
                args[i] = masked([core.over(args[i], pairing)], args[i])
                result = masked([core.over(y)], result)
        if further or not (op.linear or op.kind in SUMS):
            own = _touched(y, core, at, apart[at])
            outer += [own] if own is not None else []
            args = [masked([own], a) for a in args] if own and op.kind is Kind.CUMULATE else args
    found = _pull(y, g, result, args)[at]
    return None if found is None else masked(outer, found)


SUMS: Final = frozenset({Kind.CONTRACT, Kind.GATHER, Kind.SCATTER})
"Kinds of ops in whose pull-back a zero is as good as a mask, if nothing comes after it."

NEARBY: Final = 100
"Nodes looked at between a result and a condition on it."


def _fits(core: Core, pairing: Mapping[int, int]) -> bool:
    return pairing.keys() >= set(core.axes)


def _follows(core: Core, y: Node) -> bool:
    """Tell whether a mask is a condition on the values of `y`, as that of a relu behind it.

    Then what the mask leaves out is as finite as what it does not, and costs nothing.  A single
    condition costs nothing anyway.  What depends on `y` is numbered after it.
    """
    if not core.axes:
        return False
    stack, seen = [core.node], {core.node}
    while stack and len(seen) < NEARBY:
        node = stack.pop()
        if node is y:
            return True
        new = [a for a in node.args if a.id >= y.id and a not in seen]
        stack += new
        seen.update(new)
    return False


def _touched(y: Node, core: Core, at: int, pairing: Mapping[int, int]) -> Node | None:
    """Return which elements of an argument lead to one inside a mask; None if all may."""
    graph, kind = y.graph, y.op.kind
    if kind in (Kind.GATHER, Kind.SCATTER, Kind.CUMULATE):
        count = graph.call("cast", core.over(y), dtype=I64)
        if kind is not Kind.CUMULATE:
            back = _pull(y, count)[at]
            return None if back is None else back > 0
        given = y.attributes
        running = graph.call("cumsum", count, axis=given["axis"], reverse=not given["reverse"])
        return running > 0
    if kind not in (Kind.FACTOR, Kind.COMPOSITE) and len(core.axes) == y.type.rank:
        return None
    if _is_pick(core.node):
        return None
    return _any(core, pairing).over(y.args[at], pairing)


# Forward mode


def pushed(y: Node, tangents: Sequence[Node | None], *, further: bool) -> Node | None:
    """Push tangents forward through an op that has a push-forward, their masks along with them.

    Args:
        y: The op's result.
        tangents: Those of the arguments.
        further: Whether the tangent of the result is pushed forward in turn.
    """
    assert y.op.push is not None, f"{y.op.name} has a push-forward"
    found = y.op.push(tuple(tangents), y, *y.args, **y.attributes)
    if found is None or y.op.name == "select" or mask_of(found) is not None:
        return found
    if y.op.linear and not further:
        return found
    masks: list[Node] = []
    for at, t in enumerate(tangents):
        if t is not None:
            mask = mask_of(t)
            reaching = None if mask is None else _reached(y, mask, at)
            if reaching is None:
                return found
            masks.append(reaching)
    return masked([either(masks)], found)


def _reached(y: Node, mask: Node, at: int) -> Node | None:
    """Return which elements of a result one inside a mask of an argument leads to; None: any."""
    if y.op.kind is Kind.POINTWISE:
        return mask
    core = core_of(mask)
    pairing = {axis: own for own, axis in _apart(y)[at].items()}
    if y.op.kind is Kind.CONTRACT and core.axes and len(core.axes) == mask.type.rank:
        # Masks of elements, as those of a relu, are not looked at by products.
        return None
    if _fits(core, pairing):
        return core.over(y, pairing)
    if y.op.kind is Kind.VIEW:
        return y.graph.apply(y.op, (mask,), y.attrs)
    mixes = y.op.kind in (Kind.REDUCE, Kind.FACTOR, Kind.COMPOSITE)
    return _any(core, pairing).over(y, pairing) if mixes else None


def _is_pick(mask: Node) -> bool:
    """Tell whether a mask holds where a counter is some number: at one element of each row."""
    return mask.op.name == "equal" and any(core_of(a).node.op.name == "iota" for a in mask.args)


def _any(core: Core, pairing: Mapping[int, int]) -> Core:
    """Return where a mask holds anywhere along the axes that go with none."""
    mixed = tuple([i for i, a in enumerate(core.axes) if a not in pairing])
    count = core.node.graph.call("sum", core.node.graph.call("cast", core.node, dtype=I64),
                                 axes=mixed)  # fmt: skip
    return Core(count > 0, tuple([a for a in core.axes if a in pairing]))
