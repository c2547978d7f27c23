"""Forward mode: one walk, arguments first, carrying tangents along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.differentiate.control import push_control
from chainrule.differentiate.masks import added, product, pushed
from chainrule.errors import NotDifferentiableError, explain
from chainrule.ir.graph import Node, Origin
from chainrule.ir.op import Kind
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import depends_on, topological

__all__ = ["push_forward"]


def push_forward(outputs: Sequence[Node], tangents: Mapping[Node, Node]) -> tuple[Node | None, ...]:
    """Return the tangent of each output, given those of some nodes (None: it is zero).

    Pointwise ops use the same slopes as reverse mode.  Work and result are linear in the nodes
    between the given ones and the outputs.
    """
    nodes = topological(outputs)
    active = {n for n in depends_on(nodes, tangents) if n.dtype.is_float or n.dtype is BUNDLE}
    found: dict[Node, Node] = {n: t for n, t in tangents.items() if n.dtype.is_float}
    of_items: dict[Node, dict[int, Node]] = {}
    for y in nodes:
        if y in found or y not in active or not y.args:
            continue
        if y.op.kind is Kind.ITEM:
            t = of_items.get(y.args[0], {}).get(y.attrs[0])
            if t is not None:
                found[y] = t
            continue
        # What has no elements does not move: its tangent would be the 0 of 0 times infinity.
        given = tuple(None if x.type.size == 0 else found.get(x) for x in y.args)
        if any(t is not None for t in given):
            with y.graph.origin(Origin(rule=f"push {y.op.name}", forward=y.id)):
                if y.op.kind is Kind.CONTROL:
                    of_items[y] = push_control(y, given, push_forward)
                    continue
                t = _pushed(y, given)
            if t is not None:
                found[y] = t
    return tuple(found.get(y) for y in outputs)


def _pushed(y: Node, tangents: tuple[Node | None, ...]) -> Node | None:
    op = y.op
    if op.slopes is not None:
        total: Node | None = None
        for t, slope in zip(tangents, op.slopes(y, *y.args, **y.attributes), strict=True):
            part = None if t is None else product(t, slope)
            if part is not None:
                total = part if total is None else added(total, part)
        return total
    if op.push is not None:
        return pushed(y, tangents)
    if op.kind.name == "POINTWISE":
        return None
    raise NotDifferentiableError(explain(f"{op.name} has no derivative", f"at  {y.type}"))
