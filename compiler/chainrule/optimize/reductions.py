"""Sums merged, shortened and hoisted; sums of products recognised as contractions."""

from __future__ import annotations

from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.optimize.contractions import (
    count,
    einsum,
    named_axes,
    peeled,
    repeated,
    spread_to,
    unless_empty,
)
from chainrule.optimize.ranges import may_move
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["REDUCTIONS"]

Axes = tuple[int, ...]
SIMPLE: Final = ("sum", "max", "min", "prod")


def _left(node: Node) -> Axes:
    """Return the axes of the operand that a reduction keeps."""
    return tuple(i for i in range(node.args[0].type.rank) if i not in node.attributes["axes"])


def _short(node: Node) -> Node | None:
    """Drop axes of extent 1, and reductions over none."""
    (x,), axes = node.args, node.attributes["axes"]
    if not axes:
        return x
    long = tuple(a for a in axes if x.shape[a] != 1)
    if long == axes:
        return None
    kept = tuple(i for i in range(x.type.rank) if i not in axes or i in long)
    inner = node.graph.call("reshape", x, shape=tuple(x.shape[i] for i in kept))
    return node.graph.call(node.op.name, inner, axes=tuple(kept.index(a) for a in long))


def _merge(node: Node) -> Node | None:
    """Reduce once what is reduced twice."""
    (x,) = node.args
    if x.op is not node.op:
        return None
    between = _left(x)
    axes = (*x.attributes["axes"], *(between[a] for a in node.attributes["axes"]))
    return node.graph.call(node.op.name, x.args[0], axes=tuple(sorted(axes)))


def _sum_of_copies(node: Node) -> Node | None:
    """Multiply by the extent instead of adding copies."""
    (x,), axes = node.args, node.attributes["axes"]
    if x.op.name != "broadcast":
        return None
    own = x.attributes["axes"]
    copied = [x.shape[a] for a in axes if a not in own]
    if not copied:
        return None
    source = x.args[0]
    inner = tuple(i for i, a in enumerate(own) if a in axes)
    if inner:
        source = node.graph.call("sum", source, axes=inner)
    scaled = repeated(source, copied)
    left = _left(node)
    kept = tuple(left.index(a) for a in own if a not in axes)
    return node.graph.broadcast(scaled, node.shape, kept)


def _extreme_of_copies(node: Node) -> Node | None:
    """Look for the extreme among the originals, if there is at least one copy."""
    (x,), axes = node.args, node.attributes["axes"]
    if x.op.name != "broadcast":
        return None
    own = x.attributes["axes"]
    copied = [x.shape[a] for a in axes if a not in own]
    if not copied or not all(isinstance(e, int) and e > 0 for e in copied):
        return None
    source = x.args[0]
    inner = tuple(i for i, a in enumerate(own) if a in axes)
    if inner:
        source = node.graph.call(node.op.name, source, axes=inner)
    left = _left(node)
    kept = tuple(left.index(a) for a in own if a not in axes)
    return node.graph.broadcast(source, node.shape, kept)


def _sum_of_view(node: Node) -> Node | None:
    """Sum what a transpose, a full reshape or a placing into zeros was made of."""
    (x,), axes = node.args, node.attributes["axes"]
    graph = node.graph
    match x.op.name:
        case "transpose":
            order = x.attributes["axes"]
            left = [order[i] for i in _left(node)]
            if left == sorted(left):
                return graph.call("sum", x.args[0], axes=tuple(sorted(order[a] for a in axes)))
        case "reshape" if len(axes) == x.type.rank:
            return graph.call("sum", x.args[0], axes=tuple(range(x.args[0].type.rank)))
        case "place":
            starts, shape, steps = x.attrs
            left = list(_left(node))
            inner = graph.call("sum", x.args[0], axes=axes)
            if not left:
                return inner
            return graph.call(
                "place", inner, starts=tuple(starts[i] for i in left),
                shape=tuple(shape[i] for i in left), steps=tuple(steps[i] for i in left),
            )  # fmt: skip
    return None


def _sum_of_product(node: Node) -> Node | None:
    """Take factors out of a sum; contract what would be multiplied out only to be summed."""
    (x,), axes = node.args, node.attributes["axes"]
    if x.op.name == "neg":
        return -node.graph.call("sum", x.args[0], axes=axes)
    if x.op.name not in ("mul", "div") or not all(map(may_move, x.args)):
        return None
    everything = tuple(range(x.type.rank))
    a, a_names = peeled(x.args[0], everything)
    b, b_names = peeled(x.args[1], everything)
    out = _left(node)
    sizes = dict(zip(everything, x.shape, strict=True))
    if x.op.name == "div":
        if any(n in axes for n in b_names):
            return None
        inner = node.graph.call("sum", x.args[0], axes=axes)
        quotient = inner / spread_to(b, b_names, out, sizes)
        return unless_empty(quotient, [x.shape[i] for i in axes], b)
    shared = [n for n in axes if n in a_names and n in b_names]
    blown_up = len(a_names) < len(everything) and len(b_names) < len(everything)
    if shared and not (blown_up and node.dtype.is_float):
        return None
    return einsum(a, a_names, b, b_names, out, sizes)


def _sum_of_contraction(node: Node) -> Node | None:
    """Sum the operands before they are contracted."""
    (x,), axes = node.args, node.attributes["axes"]
    if x.op.name != "contract":
        return None
    a_names, b_names, out, sizes = named_axes(x)
    left = tuple(n for i, n in enumerate(out) if i not in axes)
    return einsum(x.args[0], a_names, x.args[1], b_names, left, sizes)


def _sum_of_one_hot(node: Node) -> Node | None:
    """Sum a row that is zero but for one place: the value there, if the place is in the row."""
    (x,), axes = node.args, node.attributes["axes"]
    if len(axes) != 1 or x.op.name != "select" or x.args[0].op.name != "equal":
        return None
    (axis,) = axes
    condition, value, zero = x.args
    everything = tuple(range(x.type.rank))
    value, value_names = peeled(value, everything)
    if constant_value(zero) != 0 or axis in value_names:
        return None
    sides = [peeled(side, everything) for side in condition.args]
    for (counter, counter_names), (place, names) in (sides, sides[::-1]):
        if counter.op.name == "iota" and counter_names == (axis,) and axis not in names:
            graph, out = node.graph, _left(node)
            sizes = dict(zip(everything, x.shape, strict=True))
            end = count(graph, [x.shape[axis]], place.dtype)
            inside = (place >= 0) & (place < graph.broadcast(end, place.shape, ()))
            return graph.select(
                spread_to(inside, names, out, sizes), spread_to(value, value_names, out, sizes), 0
            )
    return None


def _cumsum_of_zero(node: Node) -> Node | None:
    (x,) = node.args
    return x if constant_value(x) == 0 else None


REDUCTIONS: Final = (
    Step(SIMPLE, _short),
    Step(("max", "min"), _merge),
    Step(("sum", "prod"), _merge, Keeps.REALS),
    Step(("sum",), _sum_of_copies, Keeps.REALS),
    Step(("max", "min"), _extreme_of_copies),
    Step(("sum",), _sum_of_one_hot, Keeps.REALS),
    Step(("sum",), _sum_of_view, Keeps.REALS),
    Step(("sum",), _sum_of_product, Keeps.REALS),
    Step(("sum",), _sum_of_contraction, Keeps.REALS),
    Step(("cumsum",), _cumsum_of_zero),
)
