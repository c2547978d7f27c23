"""Batching: the same program over a new leading axis of some of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chainrule.differentiate.control import batch_control
from chainrule.ir.dims import Dim, Extent, names_of, substitute_extent
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
    # What has the axis; of the active nodes all but items that no mapped argument reaches.
    mapped = set(given)
    items: dict[Node, dict[int, tuple[Node, bool]]] = {}
    lengths: dict[str, Extent] = {}
    for y in nodes:
        if y in new or y not in active:
            continue
        if y.op.kind is Kind.ITEM:
            new[y], has = _item(y, new, items)
            if has:
                mapped.add(y)
            continue
        flags = [x in mapped for x in y.args]
        args = [new.get(x, x) for x in y.args]
        attrs = _renamed(y.attrs, lengths)
        if y.op.kind is Kind.CONTROL and any(flags):
            items[y] = batch_control(y, args, flags, size, lengths, batched)
            continue
        if not any(flags):
            new[y] = graph.apply(y.op, tuple(args), attrs)
            continue
        new[y] = _batched(y, args, attrs, flags, size)
        mapped.add(y)
        origins = y.graph.origins.get(y)
        if origins:
            y.graph.origins.setdefault(new[y], {}).update(origins)
    for one in [c for c in checks if c.failed in mapped]:
        # By a sum, because there may be no examples.
        count = graph.call("sum", graph.call("cast", new[one.failed], dtype=I64), axes=(0,))
        graph.check(count > 0, one.message)
        del graph.checks[one]
    return [(new.get(y, y), y in mapped) for y in outputs]


def _item(
    y: Node, new: Mapping[Node, Node], items: Mapping[Node, Mapping[int, tuple[Node, bool]]]
) -> tuple[Node, bool]:
    bundle, (index, _) = y.args[0], y.attrs
    if bundle in items:
        return items[bundle][index]
    return y.graph.apply(y.op, (new.get(bundle, bundle),), y.attrs), False


def _batched(
    y: Node, args: Sequence[Node], attrs: tuple[Any, ...], flags: Sequence[bool], size: Extent
) -> Node:
    if y.op.kind is Kind.POINTWISE:
        full = [
            x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
            for x, f in zip(args, flags, strict=True)
        ]
        return y.graph.apply(y.op, tuple(full), attrs)
    assert y.op.batch is not None, f"{y.op.name} has a batching rule"
    return y.op.batch(args, flags, size, **dict(zip(y.op.params, attrs, strict=True)))


def _renamed(attrs: tuple[Any, ...], lengths: Mapping[str, Extent]) -> tuple[Any, ...]:
    """Put the number of steps of batched loops in place of that of the loops they came from."""
    if not lengths:
        return attrs

    def renamed(value: Any) -> Any:
        if isinstance(value, Dim) and not names_of(value).isdisjoint(lengths):
            return substitute_extent(value, lengths)
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(map(renamed, value))
        return value

    return tuple(map(renamed, attrs))
