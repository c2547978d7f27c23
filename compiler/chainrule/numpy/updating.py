"""`x.at[key]`: arrays with a part changed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

import chainrule.frontend.known  # noqa: F401  (gives arrays known in a trace `.at`, too)
from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import IMPLEMENTATIONS
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_to_shape,
    cast,
    reshape,
    stored,
)
from chainrule.ir.dims import Dim, Extent
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I32, I64
from chainrule.numpy.indexing import checked, getitem, linear, wrapped
from chainrule.numpy.keys import Picked, Region, parse
from chainrule.numpy.nodes import checked_broadcast, permuted

__all__ = ["updated"]

# Updates that read the part, change it and write it back.
_CHANGES: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "max": np.maximum,
    "min": np.minimum,
}


def updated(x: Array, key: Any, how: str, value: Any) -> Array:
    """Return `x` with the part `key` changed.

    Negative and positive indices may name one element twice: added values add up, of values set the
    last one counts.

    Raises:
        IndexError: An index is out of range.
        UnsupportedError: A product, quotient, power or extreme at indices that may be equal.
    """
    node = x.node
    picked = parse(key, node)
    old = getitem(x, key)
    if how in _CHANGES:
        _refuse_repeats(picked, how)
        how, value = "set", _CHANGES[how](old, value)
    new = stored(as_operand(value), node.graph, node.dtype)
    new = broadcast_to_shape(new, checked_broadcast(new, old.node.shape))
    if not picked.arrays:
        return Array(_in_region(node, picked.region, new, how))
    if len(picked.arrays) == 1 and node.type.rank == 1 and how == "set" and not new.shape:
        return Array(_set_one(node, picked.arrays[0][1], new))
    return Array(_at_places(x, key, picked, new, how))


IMPLEMENTATIONS["at"] = updated


def _refuse_repeats(picked: Picked, how: str) -> None:
    for _, index in picked.arrays:
        known = index if isinstance(index, np.ndarray) else None
        distinct = known is not None and len(np.unique(known)) == known.size
        if not distinct and np.ndim(index):
            raise UnsupportedError(
                explain(
                    f".at[...].{how} at indices that may be equal",
                    f"at  {user_line()}",
                    hint="use .add, or one index at a time",
                )
            )


def _in_region(node: Node, region: Region, new: Node, how: str) -> Node:
    """Write into a slice."""
    graph = node.graph
    value = reshape(new, tuple(region.shape))
    if region.is_whole(node.shape):
        return value if how == "set" else node + value
    laid = graph.call(
        "place", value, starts=tuple(region.starts), shape=node.shape, steps=tuple(region.steps)
    )
    if how == "add":
        return node + laid if node.dtype is not BOOL else node | laid
    inside: Node | None = None
    for axis, (start, length, step) in enumerate(
        zip(region.starts, region.shape, region.steps, strict=True)
    ):
        if (start, length, step) == (0, node.shape[axis], 1):
            continue
        one = graph.broadcast(_within(node, axis, start, length, step), node.shape, (axis,))
        inside = one if inside is None else inside & one
    assert inside is not None, "something is left out"
    return graph.select(inside, laid, node)


def _within(node: Node, axis: int, start: Extent, length: Extent, step: int) -> Node:
    """Tell which positions of an axis a slice takes."""
    graph, extent = node.graph, node.shape[axis]
    counter = graph.call("iota", length=extent, dtype=I64)
    if step < 0:
        start, step = start + (length - 1) * step, -step
    first = _number(start, counter)
    last = _number(start + (length - 1) * step, counter)
    inside = (counter >= first) & (counter <= last)
    if step > 1:
        apart = graph.call("remainder", counter - first, graph.full_like(counter, step))
        inside = inside & apart.equals(0)
    return inside


def _number(extent: Extent, like: Node) -> Node:
    graph = like.graph
    if isinstance(extent, Dim):
        return graph.broadcast(graph.call("extent", extent=extent), like.shape, ())
    return graph.full_like(like, extent)


def _set_one(node: Node, index: Any, new: Node) -> Node:
    """Set one element: a selection by a counter, which fuses with what reads it."""
    graph, extent = node.graph, node.shape[0]
    at = wrapped(checked(index, extent, graph, 0), extent)
    counter = graph.call("iota", length=extent, dtype=I64)
    here = counter.equals(graph.broadcast(at, counter.shape, ()))
    return graph.select(here, graph.broadcast(new, node.shape, ()), node)


def _at_places(x: Array, key: Any, picked: Picked, new: Node, how: str) -> Node:
    """Write at places named by integer arrays."""
    node = x.node
    graph = node.graph
    plain = (
        all(not isinstance(e, int) or e >= 0 for e in picked.entries) and None not in picked.entries
    )
    axes = [a for a, _ in picked.arrays]
    if plain and picked.region.is_whole(node.shape):
        # Only arrays and full slices: whole rows are added at a time.
        rest = [i for i in range(node.type.rank) if i not in axes]
        lined = permuted(node, [*axes, *rest])
        lead = new.type.rank - len(rest)
        at = picked.entries.index("arrays")
        rows = permuted(new, [*range(at, at + lead), *range(at), *range(at + lead, new.type.rank)])
        found = [checked(i, node.shape[a], graph, a) for a, i in picked.arrays]
        index, merged = linear(lined, found, len(axes), rows.shape[:lead])
        result = reshape(_scattered(merged, index, rows, how), lined.shape)
        back = [0] * node.type.rank
        for place, axis in enumerate([*axes, *rest]):
            back[axis] = place
        return permuted(result, back)
    count = graph.call("iota", length=node.type.size, dtype=I64)
    index = getitem(Array(reshape(count, node.shape)), key).node
    flat = reshape(node, (node.type.size,))
    return reshape(_scattered(flat, index, new, how), node.shape)


def _scattered(node: Node, index: Node, rows: Node, how: str) -> Node:
    """Add or set rows of `node` at `index`, whose axes are the first of `rows`."""
    graph, size = node.graph, node.shape[0]
    if how == "add":
        return node + _sum_at(rows, index, size)
    flat = reshape(index, (index.type.size,))
    values = reshape(rows, (index.type.size, *rows.shape[index.type.rank :]))
    last = _last_of_equals(flat)
    wins = graph.broadcast(last, values.shape, (0,))
    written = _sum_at(graph.select(wins, values, 0), flat, size)
    there = _sum_at(cast(last, I32), flat, size) > 0
    return graph.select(graph.broadcast(there, node.shape, (0,)), written, node)


def _sum_at(rows: Node, index: Node, size: Extent) -> Node:
    if rows.dtype is BOOL:
        return _sum_at(cast(rows, I32), index, size) > 0
    return rows.graph.call("scatter_add", rows, index, size=size, batch=0)


def _last_of_equals(index: Node) -> Node:
    """Tell which entries no later entry equals: quadratic in their number."""
    graph, count = index.graph, index.shape[0]
    shape = (count, count)
    counter = graph.call("iota", length=count, dtype=I64)
    same = graph.broadcast(index, shape, (0,)).equals(graph.broadcast(index, shape, (1,)))
    later = graph.broadcast(counter, shape, (1,)) > graph.broadcast(counter, shape, (0,))
    return graph.call("sum", cast(same & later, I64), axes=(1,)).equals(0)
