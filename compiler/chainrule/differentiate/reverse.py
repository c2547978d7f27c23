"""Reverse mode: one walk over the nodes between inputs and outputs, consumers first.

Cotangents are ordinary expressions of the same graph, so a gradient can be printed, simplified
with the value, differentiated again, fused and exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.differentiate.control import pull_control
from chainrule.errors import NotDifferentiableError, explain
from chainrule.ir.graph import Graph, Node, Origin, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import depends_on, topological

__all__ = ["product", "pull_back"]

MOVES: Final = frozenset({"sum", "reshape", "transpose", "slice", "place", "concatenate"})
"Ops whose pull-back moves elements without adding them up, so that a mask may move along."


def pull_back(
    outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]
) -> tuple[Node | None, ...]:
    """Return the cotangent of each node in `wrt`, or None where the outputs do not depend on it.

    Only nodes between `wrt` and `outputs` are visited, and only cotangents that lead to `wrt` are
    built.  A node's cotangent is complete when its own chain rule runs.  Work and result are linear
    in the nodes visited.
    """
    if not outputs:
        return (None,) * len(wrt)
    nodes = topological(outputs)
    active = {n for n in depends_on(nodes, wrt) if n.dtype.is_float or n.dtype is BUNDLE}
    stops = set(wrt)
    adjoint: dict[Node, Node] = {}
    of_items: dict[Node, dict[int, Node]] = {}
    for node, g in zip(outputs, cotangents, strict=True):
        if node in active:
            adjoint[node] = adjoint[node] + g if node in adjoint else g
    graph = outputs[0].graph
    for y in reversed(nodes):
        if y.op.kind is Kind.ITEM and y in adjoint:
            index, _ = y.attrs
            of_items.setdefault(y.args[0], {})[index] = adjoint[y]
            continue
        bundle = of_items.get(y)
        if bundle is None and (y not in adjoint or (y in stops and active.isdisjoint(y.args))):
            continue
        wanted = [x in active for x in y.args]
        with graph.origin(_origin(graph, y)):
            if bundle is not None:
                pulled: Sequence[Node | None] = pull_control(y, bundle, wanted, pull_back)
            else:
                pulled = _pulled(y, adjoint[y], wanted)
            for x, gx, want in zip(y.args, pulled, wanted, strict=True):
                if gx is not None and want:
                    adjoint[x] = adjoint[x] + gx if x in adjoint else gx
    return tuple(adjoint.get(x) for x in wrt)


def _origin(graph: Graph, y: Node) -> Origin:
    known = next(iter(graph.origins.get(y, ())), Origin())
    return Origin(line=known.line, rule=f"pull {y.op.name}", forward=y.id)


def _pulled(y: Node, g: Node, wanted: Sequence[bool]) -> Sequence[Node | None]:
    """Apply the pull-back of one node; masks of `g` stay outermost."""
    op = y.op
    if op.slopes is not None:
        slopes = op.slopes(y, *y.args, **y.attributes)
        return [product(g, s) if w else None for s, w in zip(slopes, wanted, strict=True)]
    if op.pull is None:
        if op.kind.name == "POINTWISE" or not any(wanted):
            return [None] * len(y.args)
        raise NotDifferentiableError(explain(f"{op.name} has no derivative", f"at  {y.type}"))
    masked = _mask(g) if op.name in MOVES else None
    if masked is None:
        return op.pull(g, y, *y.args, **y.attributes)
    mask, inside = masked
    insides = op.pull(inside, y, *y.args, **y.attributes)
    masks = op.pull(mask, y, *y.args, **y.attributes)
    return [
        None if a is None or m is None else a.graph.select(m, a, 0.0)
        for a, m in zip(insides, masks, strict=True)
    ]


def _mask(g: Node) -> tuple[Node, Node] | None:
    """Split a cotangent that is zero outside a mask into the mask and the rest."""
    if g.op.name != "select":
        return None
    condition, a, b = g.args
    if constant_value(b) == 0:
        return condition, a
    return (~condition, b) if constant_value(a) == 0 else None


def product(g: Node, slope: Node | float | None) -> Node | None:
    """Multiply a cotangent (or tangent) by a slope, selecting before multiplying.

    A zero that stands for "this branch was not taken" must not meet the infinite slope of that
    branch: where either factor is zero outside a mask, the mask is applied to the product.
    """
    if slope is None:
        return None
    if not isinstance(slope, Node):
        return g if slope == 1 else -g if slope == -1 else g * slope
    one = constant_value(slope)
    if one is not None and not isinstance(one, bool) and one in (1, -1):
        return g if one == 1 else -g
    for this, other in ((g, slope), (slope, g)):
        masked = _mask(this)
        if masked is not None:
            mask, inside = masked
            inner = product(inside, other) if this is g else product(other, inside)
            assert inner is not None, "both factors are nodes"
            return g.graph.select(mask, inner, 0.0)
    return g * slope
