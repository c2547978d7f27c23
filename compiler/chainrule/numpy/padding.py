"""`pad`: elements added at the ends of axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.extents import known_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_to_shape,
    node_of,
)
from chainrule.ir.dims import Dim, Extent, show_extent
from chainrule.ir.graph import Node
from chainrule.numpy.indexing import take
from chainrule.numpy.nodes import joined, normalized_axes, part, to_node

__all__ = [
    "pad",
]  # fmt: skip


Pair = tuple[Extent, Extent]


def _pairs(width: Any, node: Node) -> list[Pair]:
    """Return how many elements go before and after each axis.

    Raises:
        ShapeError: A number is negative.
    """
    pairs = _broadcast_pairs(width, node.type.rank)
    for pair in pairs:
        for count in pair:
            at_least(node.graph, count, 0, f"pad: a width is negative: {show_extent(count)}")
    return pairs


def _broadcast_pairs(width: Any, rank: int) -> list[Pair]:
    if isinstance(width, dict):
        own = {normalized_axes(k, rank)[0]: v for k, v in width.items()}
        return [_pair(own.get(i, 0)) for i in range(rank)]
    rows = list(width) if isinstance(width, Sequence | np.ndarray) else [width]
    nested = any(isinstance(r, Sequence | np.ndarray) for r in rows)
    if not nested:
        return [_pair(rows)] * rank
    return [_pair(r) for r in rows] if len(rows) == rank else [_pair(rows[0])] * rank


def _pair(entry: Any) -> Pair:
    values = [*entry] if isinstance(entry, Sequence | np.ndarray) else [entry]
    both = [known_extent(v) if isinstance(v, Dim) else int(v) for v in values]
    return (both[0], both[-1])


@array_function(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Array:
    """Add elements at the ends of axes, as `numpy.pad`.

    Modes: `constant` (with `constant_values`), `edge`, `reflect`, `symmetric`, `wrap`.

    Raises:
        UnsupportedError: Another mode.
        ShapeError: A width is negative, an axis without elements is to be continued, or a named one
            is shorter than its reflection.
    """
    node = to_node(array)
    pairs = _pairs(pad_width, node)
    if mode == "constant":
        return Array(_pad_constant(node, pairs, kwargs.get("constant_values", 0)))
    if mode not in _ENDS or kwargs:
        raise UnsupportedError(
            explain(
                f"pad: mode {mode!r} with {kwargs or 'no options'} is not available",
                f"at  {user_line()}",
                hint=f"modes are constant, {', '.join(_ENDS)}",
            )
        )
    for axis, (before, after) in enumerate(pairs):
        if (before, after) != (0, 0):
            places = _repeated(mode, node.shape[axis], before, after)
            if places is None:
                node = _ENDS[mode](node, axis, before, after)
            else:
                node = take(Array(node), places, axis).node
    return Array(node)


def _repeated(mode: str, extent: Extent, before: Extent, after: Extent) -> Any:
    """Return where elements come from if an axis is shorter than its reflection, else None."""
    if isinstance(extent, Dim) or isinstance(before, Dim) or isinstance(after, Dim):
        return None
    if mode == "edge" or not 0 < extent <= max(before, after):
        return None
    repeat: Any = np.pad
    return repeat(np.arange(extent), (before, after), mode)


def _pad_constant(node: Node, pairs: Sequence[Pair], values: Any) -> Node:
    graph = node.graph
    single = np.ndim(values) == 0 and not isinstance(values, Array)
    if single and values == 0:
        extents = tuple([a + n + b for n, (a, b) in zip(node.shape, pairs, strict=True)])
        if extents == node.shape:
            return node
        starts = tuple([a for a, _ in pairs])
        return graph.call("place", node, starts=starts, shape=extents, steps=(1,) * len(starts))
    fills = _fills(values, node.type.rank)
    for axis, ((before, after), (low, high)) in enumerate(zip(pairs, fills, strict=True)):
        ends = []
        for length, fill in ((before, low), (after, high)):
            shape = tuple(length if i == axis else n for i, n in enumerate(node.shape))
            ends.append(broadcast_to_shape(node_of(as_operand(fill), graph, node.dtype), shape))
        node = joined([ends[0], node, ends[1]], axis)
    return node


def _fills(values: Any, rank: int) -> list[tuple[Any, Any]]:
    if isinstance(values, Array) or np.ndim(values) == 0:
        return [(values, values)] * rank
    rows = np.broadcast_to(np.asarray(values), (rank, 2))
    return [(low, high) for low, high in rows]


def _pad_edge(node: Node, axis: int, before: Extent, after: Extent) -> Node:
    extent = node.shape[axis]
    ends = []
    for start, length in ((0, before), (extent - 1, after)):
        if length == 0:
            ends.append(part(node, axis, 0, 0))
            continue
        at_least(node.graph, extent, 1, "pad: the edge of an empty axis")
        shape = tuple(length if i == axis else n for i, n in enumerate(node.shape))
        ends.append(broadcast_to_shape(part(node, axis, start, 1), shape))
    return joined([ends[0], node, ends[1]], axis)


def _pad_mirrored(node: Node, axis: int, before: Extent, after: Extent, skip: int) -> Node:
    extent = node.shape[axis]
    for length in (before, after):
        at_least(node.graph, extent, length + skip, "pad: the axis is shorter than its reflection")
    head = part(node, axis, before + (skip - 1), before, -1)
    tail = part(node, axis, extent - 1 - skip, after, -1)
    return joined([head, node, tail], axis)


def _pad_wrapped(node: Node, axis: int, before: Extent, after: Extent) -> Node:
    extent = node.shape[axis]
    for length in (before, after):
        at_least(node.graph, extent, length, "pad: the axis is shorter than what is wrapped")
    return joined(
        [part(node, axis, extent - before, before), node, part(node, axis, 0, after)], axis
    )


_ENDS = {
    "edge": _pad_edge,
    "reflect": lambda n, axis, a, b: _pad_mirrored(n, axis, a, b, 1),
    "symmetric": lambda n, axis, a, b: _pad_mirrored(n, axis, a, b, 0),
    "wrap": _pad_wrapped,
}
