"""Batching: the same program over a new leading axis of some of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import I64
from chainrule.ir.walk import depends_on, topological

__all__ = ["batched"]


def batched(
    outputs: Sequence[Node], given: Mapping[Node, Node], size: Extent
) -> list[tuple[Node, bool]]:
    """Replace nodes by ones with a new leading axis and carry the axis through.

    `given` maps nodes to their batched forms (the new axis, of extent `size`, is axis 0).  Returns,
    for each output, its new form and whether it has the axis.
    """
    graph = next(iter(given)).graph
    first = min(node.id for node in given)
    checks = [c for c in graph.checks if c.failed.id > first]
    nodes = topological([*outputs, *(c.failed for c in checks)])
    active = depends_on(nodes, given)
    new: dict[Node, Node] = dict(given)
    for y in nodes:
        if y in new or y not in active:
            continue
        flags = [x in active for x in y.args]
        args = [new.get(x, x) for x in y.args]
        new[y] = _batched(y, args, flags, size)
        origins = y.graph.origins.get(y)
        if origins:
            y.graph.origins.setdefault(new[y], {}).update(origins)
    for one in [c for c in checks if c.failed in active]:
        # By a sum, because there may be no examples.
        count = graph.call("sum", graph.call("cast", new[one.failed], dtype=I64), axes=(0,))
        graph.check(count > 0, one.message)
        del graph.checks[one]
    return [(new.get(y, y), y in active) for y in outputs]


def _batched(y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent) -> Node:
    if y.op.kind is Kind.POINTWISE:
        full = [
            x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
            for x, f in zip(args, flags, strict=True)
        ]
        return y.graph.apply(y.op, tuple(full), y.attrs)
    assert y.op.batch is not None, f"{y.op.name} has a batching rule"
    return y.op.batch(args, flags, size, **y.attributes)
