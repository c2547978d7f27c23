"""Reading and updating parts: `x[...]`, `x.at[...]`, take, take_along_axis, diagonals."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, OutOfRangeError, ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least
from chainrule.frontend.dispatch import IMPLEMENTATIONS, array_function, first_traced
from chainrule.frontend.extents import plain_shape, symbolic
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    graph_of,
    node_of,
    reshape,
    shape_of,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Extent, show_extent, size_of
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import I32, I64
from chainrule.numpy.keys import Picked, parse
from chainrule.numpy.nodes import normalized_axes, permuted, shifted, sliced

__all__ = ["diag", "diag_indices_from", "diagflat", "diagonal", "take", "take_along_axis", "trace"]


# Indices


def known_index(index: Any) -> Any:
    """Return an index as an integer array if its numbers are known, else None."""
    return index if isinstance(index, np.ndarray) else None


def checked(index: Any, extent: Extent, graph: Graph, axis: int) -> Node:
    """Return an index as a node; it is verified here if its numbers are known, else at the call.

    Raises:
        IndexError: A known index is out of range.
    """
    message = (
        f"index out of range for axis {axis} of extent {show_extent(extent)}, at {user_line()}"
    )
    known = known_index(index)
    if known is not None:
        _check_known(known, extent, graph, message)
        return graph.array(known, I32 if known.dtype == np.int32 else I64)
    node = node_of(as_operand(index), graph)
    if node.dtype.kind not in ("int", "uint"):
        raise DTypeError(
            explain("indices are integers", f"index  {node.type}", f"at  {user_line()}")
        )
    if _is_counter(node, extent):
        return node
    wide = cast(node, I64)
    size = _extent_node(extent, wide)
    outside = (wide >= size) | (wide < -size)
    axes = tuple(range(outside.type.rank))
    count = cast(outside, I64)
    graph.check(graph.call("sum", count, axes=axes) > 0 if axes else outside, message)
    return node if node.dtype in (I32, I64) else wide


def refuse_negative(index: Any, what: str) -> None:
    """Refuse an index that counts from the end, here if its numbers are known, else at the call.

    Raises:
        IndexError: A known index is negative.
    """
    message = f"{what}, at {user_line()}"
    known = known_index(index)
    if known is not None:
        if known.size and known.min() < 0:
            raise OutOfRangeError(message)
        return
    node = index.node
    if node.dtype.kind != "int":
        return
    graph, negative = node.graph, node < 0
    axes = tuple(range(negative.type.rank))
    count = graph.call("sum", cast(negative, I64), axes=axes) > 0 if axes else negative
    graph.check(count, message)


def _check_known(known: np.ndarray[Any, Any], extent: Extent, graph: Graph, message: str) -> None:
    if not known.size:
        return
    low, high = int(known.min()), int(known.max())
    if isinstance(extent, Dim):
        at_least(graph, extent, max(high + 1, -low), message)
    elif low < -extent or high >= extent:
        raise OutOfRangeError(message)


def _is_counter(node: Node, extent: Extent) -> bool:
    return node.op.name == "iota" and node.shape == (extent,)


def _extent_node(extent: Extent, like: Node) -> Node:
    graph = like.graph
    if isinstance(extent, int):
        return graph.full(like.shape, extent, like.dtype)
    return graph.broadcast(cast(graph.call("extent", extent=extent), like.dtype), like.shape, ())


def wrapped(index: Node, extent: Extent) -> Node:
    """Count negative indices from the end; the result is int64."""
    index = cast(index, I64)
    if _is_counter(index, extent):
        return index
    return index.graph.select(index < 0, index + _extent_node(extent, index), index)


# Reading


def gathered(node: Node, axes: Sequence[int], indices: Sequence[Any]) -> Node:
    """Pick along axes by index arrays that broadcast: first the index's axes, then the others."""
    graph = node.graph
    operands = [as_operand(i) for i in indices]
    common = broadcast_shape([shape_of(o) for o in operands], operands)
    found = [checked(i, node.shape[a], graph, a) for a, i in zip(axes, indices, strict=True)]
    rest = [i for i in range(node.type.rank) if i not in axes]
    lined = permuted(node, [*axes, *rest])
    if len(axes) == 1:
        return graph.call("gather", lined, broadcast_to_shape(found[0], common), batch=0)
    if len(axes) == 2 and len(common) == 1 and _counts(indices[0], found[0], node.shape[axes[0]]):
        # x[arange(n), i]: one element of each row.
        column = reshape(broadcast_to_shape(found[1], common), (*common, 1))
        picked = graph.call("gather", lined, column, batch=1)
        return reshape(picked, (*common, *picked.shape[2:]))
    flat, merged = linear(lined, found, len(axes), common)
    return graph.call("gather", merged, flat, batch=0)


def _counts(index: Any, node: Node, extent: Extent) -> bool:
    known = known_index(index)
    if known is not None:
        return known.shape == (extent,) and bool((known == np.arange(len(known))).all())
    return _is_counter(node, extent)


def linear(
    lined: Node, indices: Sequence[Node], count: int, common: tuple[Extent, ...]
) -> tuple[Node, Node]:
    """Merge the first axes into one: the index into it, and the array."""
    flat: Node | None = None
    for index, extent in zip(indices, lined.shape[:count], strict=True):
        one = broadcast_to_shape(wrapped(index, extent), common)
        flat = one if flat is None else flat * _extent_node(extent, one) + one
    assert flat is not None, "there is an index"
    merged = reshape(lined, (size_of(lined.shape[:count]), *lined.shape[count:]))
    return flat, merged


def getitem(x: Array, key: Any) -> Array:
    """Return `x[key]`, as NumPy.

    Raises:
        IndexError: An index is out of range: now if it is known, else when the function is called.
        UnsupportedError: A mask that is not known while tracing.
    """
    node = x.node
    picked = parse(key, node)
    region = picked.region
    node = sliced(node, region.starts, region.shape, region.steps)
    kept = [i for i in range(node.type.rank) if i not in region.dropped]
    node = reshape(node, tuple([node.shape[i] for i in kept]))
    if not picked.arrays:
        extents = [
            1 if e is None else region.shape[e] for e in picked.entries if not isinstance(e, str)
        ]
        return Array(reshape(node, tuple(extents)), x.weak)
    axes = [kept.index(a) for a, _ in picked.arrays]
    result = gathered(node, axes, [i for _, i in picked.arrays])
    return Array(_arranged(result, node.type.rank - len(axes), picked))


def _arranged(result: Node, rest: int, picked: Picked) -> Node:
    """Move the index's axes where they belong and insert the new axes."""
    lead = result.type.rank - rest
    order: list[int] = []
    extents: list[Extent] = []
    after = lead
    for entry in picked.entries:
        if entry is None:
            extents.append(1)
        elif isinstance(entry, str):
            order += range(lead)
            extents += result.shape[:lead]
        else:
            order.append(after)
            extents.append(result.shape[after])
            after += 1
    return reshape(permuted(result, order), tuple(extents))


IMPLEMENTATIONS[operator.getitem] = getitem


@array_function(np.take)
def take(
    a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
) -> Array:
    """Pick along an axis by integers, as `numpy.take`; of all elements where it is None.

    Raises:
        IndexError: An index is out of range, unless `mode` is `clip` or `wrap`.
    """
    del out
    if first_traced([indices]) is not None:
        indices = IMPLEMENTATIONS[np.asarray](indices)
    operands = [as_operand(a), as_operand(indices)]
    graph = graph_of(operands)
    node = node_of(operands[0], graph)
    if axis is None:
        node, axis = reshape(node, (node.type.size,)), 0
    (at,) = normalized_axes(axis, node.type.rank)
    index: Any = indices if isinstance(indices, Array) else np.asarray(indices)
    if mode != "raise":
        index = _forced(index, node.shape[at], mode, graph)
    result = gathered(node, [at], [index])
    rest = node.type.rank - 1
    lead = result.type.rank - rest
    order = [*range(lead, lead + at), *range(lead), *range(lead + at, lead + rest)]
    return Array(permuted(result, order))


def _forced(index: Any, extent: Extent, mode: str, graph: Graph) -> Array:
    node = cast(node_of(as_operand(index), graph), I64)
    size = _extent_node(extent, node)
    if mode == "wrap":
        return Array(graph.call("remainder", node, size))
    if mode != "clip":
        raise UnsupportedError(explain(f"take: mode {mode!r}", hint="modes are raise, clip, wrap"))
    return Array(graph.call("clip", node, graph.full_like(node, 0), size - 1))


@array_function(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Array:
    """Pick along an axis by an array of integers like it elsewhere, as `numpy.take_along_axis`.

    Raises:
        ShapeError: The other axes do not broadcast.
        IndexError: An index is out of range.
    """
    operands = [as_operand(arr), as_operand(indices)]
    graph = graph_of(operands)
    node, index = (node_of(o, graph) for o in operands)
    if axis is None:
        node, axis = reshape(node, (node.type.size,)), 0
    (at,) = normalized_axes(axis, node.type.rank)
    if index.type.rank != node.type.rank:
        raise ShapeError(
            explain(
                "take_along_axis: indices have as many axes as the array",
                f"operand  {describe(node)}",
                f"indices  {describe(index)}",
                f"at  {user_line()}",
                hint="insert axes with cnp.expand_dims",
            )
        )
    known = operands[1] if isinstance(operands[1], np.ndarray) else Array(index)
    index = checked(known, node.shape[at], graph, at)
    rest = [i for i in range(node.type.rank) if i != at]
    lined, order = permuted(node, [*rest, at]), permuted(index, [*rest, at])
    lead = broadcast_shape([lined.shape[:-1], order.shape[:-1]])
    lined = broadcast_to_shape(lined, (*lead, lined.shape[-1]))
    order = broadcast_to_shape(order, (*lead, order.shape[-1]))
    result = graph.call("gather", lined, order, batch=len(rest))
    back = [*range(at), len(rest), *range(at, len(rest))]
    return Array(permuted(result, back))


# Diagonals


def diagonal_node(node: Node, first: int, second: int, offset: Any = 0) -> Node:
    """Return the other axes, then the elements with equal indices on two axes."""
    rest = [i for i in range(node.type.rank) if i not in (first, second)]
    lined = permuted(node, [*rest, first, second])
    rows, columns = lined.shape[-2:]
    lead = lined.shape[:-2]
    graph = node.graph
    if isinstance(rows, int) and isinstance(columns, int) and isinstance(offset, int):
        top, left = max(-offset, 0), max(offset, 0)
        length = max(min(rows - top, columns - left), 0)
        flat = reshape(lined, (*lead, rows * columns))
        start = top * columns + left if length else 0
        zeros = [0] * len(lead)
        return sliced(flat, [*zeros, start], [*lead, length], [*[1] * len(lead), columns + 1])
    if rows != columns or offset != 0:
        # That of the square which begins where the diagonal does.
        corner = (max(-offset, 0), max(offset, 0))
        below, right = (
            symbolic(n, graph) - c for n, c in zip((rows, columns), corner, strict=True)
        )
        (rows,) = plain_shape((max(min(below, right), 0),))
        starts = [*([0] * len(lead)), *(plain_shape(corner) if rows != 0 else (0, 0))]
        lined = sliced(lined, starts, [*lead, rows, rows], [1] * lined.type.rank)
    rank = lined.type.rank
    counters = [
        graph.broadcast(graph.call("iota", length=rows, dtype=I64), lined.shape, (a,))
        for a in (rank - 2, rank - 1)
    ]
    only = graph.select(counters[0].equals(counters[1]), lined, 0)
    return graph.call("sum", only, axes=(rank - 1,))


@array_function(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return a diagonal of two axes as the last axis, as `numpy.diagonal`."""
    node = node_of(as_operand(a), a.graph)
    (i,), (j,) = (normalized_axes(x, node.type.rank) for x in (axis1, axis2))
    return Array(diagonal_node(node, i, j, offset))


@array_function(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Array:
    """Return the sum of a diagonal, as `numpy.trace`."""
    result: Array = np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)
    return result


@array_function(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """Return the diagonal of a matrix, or the matrix with a vector on its diagonal."""
    node = node_of(as_operand(v), v.graph)
    if node.type.rank == 2:
        return diagonal(v, k)
    if node.type.rank != 1:
        raise ShapeError(explain("diag takes one or two axes", f"operand  {describe(node)}",
                                 f"at  {user_line()}"))  # fmt: skip
    graph, extent = node.graph, node.shape[0]
    rows, size = node, extent
    if k != 0:
        size, top = plain_shape((extent + abs(k), max(-k, 0)))
        rows = graph.call("place", node, starts=(top,), shape=(size,), steps=(1,))
    shape = (size, size)
    counter = graph.call("iota", length=size, dtype=I64)
    on = graph.broadcast(shifted(counter, k), shape, (0,)).equals(
        graph.broadcast(counter, shape, (1,))
    )
    return Array(graph.select(on, graph.broadcast(rows, shape, (0,)), 0))


@array_function(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """Return the matrix with all elements on its diagonal, as `numpy.diagflat`."""
    return diag(np.ravel(v), k)


@array_function(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    """Return the indices of the main diagonal, as `numpy.diag_indices_from`."""
    return np.diag_indices(arr.shape[0], arr.ndim)
