"""Reverse mode: one walk over the nodes between inputs and outputs, consumers first.

Cotangents are ordinary expressions of the same graph, so a gradient can be printed, simplified
with the value, differentiated again, fused and exported.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.differentiate.control import pull_control
from chainrule.differentiate.masks import added, product, pulled
from chainrule.errors import NotDifferentiableError, explain
from chainrule.ir.graph import Graph, Node, Origin
from chainrule.ir.op import Kind
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import depends_on, topological

__all__ = ["product", "pull_back"]


def pull_back(
    outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node], *,
    inside: bool = False,
) -> tuple[Node | None, ...]:  # fmt: skip
    """Return the cotangent of each node in `wrt`, or None where the outputs do not depend on it.

    Only nodes between `wrt` and `outputs` are visited, and only cotangents that lead to `wrt` are
    built.  A node's cotangent is complete when its own chain rule runs.  Work and result are linear
    in the nodes visited.

    Args:
        outputs: Results.
        cotangents: That of each.
        wrt: What they are pulled back to.
        inside: These are nodes of a body, and what is found is pulled back further outside of it.
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
            adjoint[node] = added(adjoint[node], g) if node in adjoint else g
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
            inner = [inside or not active.isdisjoint(x.args) for x in y.args]
            if bundle is not None:
                found: Sequence[Node | None] = pull_control(y, bundle, wanted, inner, pull_back)
            else:
                found = _pulled(y, adjoint[y], wanted, inner)
            for x, gx, want in zip(y.args, found, wanted, strict=True):
                if gx is not None and want:
                    adjoint[x] = added(adjoint[x], gx) if x in adjoint else gx
    return tuple(adjoint.get(x) for x in wrt)


def _origin(graph: Graph, y: Node) -> Origin:
    known = next(iter(graph.origins.get(y, ())), Origin())
    return Origin(line=known.line, rule=f"pull {y.op.name}", forward=y.id)


def _pulled(
    y: Node, g: Node, wanted: Sequence[bool], inner: Sequence[bool]
) -> Sequence[Node | None]:
    """Apply the pull-back of one node; masks of `g` stay outermost."""
    op = y.op
    if op.slopes is not None:
        slopes = op.slopes(y, *y.args, **y.attributes)
        return [product(g, s) if w else None for s, w in zip(slopes, wanted, strict=True)]
    if op.pull is None:
        if op.kind.name == "POINTWISE" or not any(wanted):
            return [None] * len(y.args)
        raise NotDifferentiableError(explain(f"{op.name} has no derivative", f"at  {y.type}"))
    return pulled(y, g, wanted, inner)
