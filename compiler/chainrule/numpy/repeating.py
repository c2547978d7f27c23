"""Elements turned around, moved along and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import decide, never_fewer
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.extents import plain_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import reshape as reshape_node
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Extent, show_extent
from chainrule.ir.graph import Graph, Node
from chainrule.numpy.nodes import each_axis, joined, normalized_axes, part, sliced, to_node
from chainrule.numpy.shape import swapaxes

__all__ = [
    "flip", "fliplr", "flipud", "repeat", "roll", "rot90", "tile",
]  # fmt: skip


def flipped(node: Node, axes: Sequence[int]) -> Node:
    """Reverse axes."""
    rank = node.type.rank
    starts = [node.shape[i] - 1 if i in axes else 0 for i in range(rank)]
    steps = [-1 if i in axes else 1 for i in range(rank)]
    if any(node.shape[i] == 0 for i in axes):
        return node
    return sliced(node, starts, node.shape, steps) if axes else node


@array_function(np.flip)
def flip(m: Any, axis: Any = None) -> Array:
    """Reverse axes, all unless named, as `numpy.flip`."""
    node = to_node(m)
    return Array(flipped(node, normalized_axes(axis, node.type.rank)))


@array_function(np.flipud)
def flipud(m: Any) -> Any:
    """Reverse the first axis, as `numpy.flipud`."""
    return flip(m, 0)


@array_function(np.fliplr)
def fliplr(m: Any) -> Any:
    """Reverse the second axis, as `numpy.fliplr`."""
    return flip(m, 1)


@array_function(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turn by quarters in the plane of two axes, as `numpy.rot90`."""
    node = to_node(m)
    plane = each_axis(axes, node.type.rank)
    if len(plane) != 2:
        raise ShapeError(
            explain("rot90: a plane has two axes", f"axes  {axes!r:.60}", f"at  {user_line()}")
        )
    i, j = plane
    match k % 4:
        case 0:
            return Array(node)
        case 1:
            return swapaxes(flip(Array(node), j), i, j)
        case 2:
            return flip(Array(node), (i, j))
        case _:
            return flip(swapaxes(Array(node), i, j), j)


@array_function(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Array:
    """Move elements around along axes, as `numpy.roll`."""
    node = to_node(a)
    if axis is None:
        flat = reshape_node(node, (node.type.size,))
        return Array(reshape_node(_rolled(flat, plain_extent(shift), 0), node.shape))
    axes = each_axis(axis, node.type.rank)
    shifts = list(shift) if isinstance(shift, Sequence | np.ndarray) else [shift] * len(axes)
    if len(shifts) != len(axes):
        shifts, axes = (
            (shifts * len(axes), axes) if len(shifts) == 1 else (shifts, axes * len(shifts))
        )
    for by, at in zip(shifts, axes, strict=True):
        node = _rolled(node, plain_extent(by), at)
    return Array(node)


def _rolled(node: Node, by: Any, axis: int) -> Node:
    extent = node.shape[axis]
    by = _within_one_turn(by if isinstance(by, Dim) else int(by), extent, node.graph)
    if by in (0, extent):
        return node
    return joined([part(node, axis, extent - by, by), part(node, axis, 0, extent - by)], axis)


def _within_one_turn(by: Extent, extent: Extent, graph: Graph) -> Extent:
    """Return a shift from 0 up to `extent` that moves elements to the same places."""
    if isinstance(by, int) and isinstance(extent, int):
        return by % extent if extent else 0
    shown = f"roll by {show_extent(by)}"
    if not decide(graph, extent, 1, "roll of an empty axis"):
        return 0
    if not decide(graph, by, 0, f"{shown} is forward"):
        if decide(graph, by + extent, 0, f"{shown} is more than the extent"):
            return by + extent
    elif decide(graph, extent, by, f"{shown} is more than the extent"):
        return by
    return by % extent


def _times(name: str, count: Any, graph: Graph) -> Extent:
    """Return how often something is repeated.

    Raises:
        ShapeError: The number is negative.
    """
    times: Extent = plain_extent(count) if isinstance(count, Dim) else int(count)
    return never_fewer(graph, times, f"{name}: a number of repetitions is negative")


@array_function(np.tile)
def tile(A: Any, reps: Any) -> Array:
    """Lay copies side by side, as `numpy.tile`."""
    node = to_node(A)
    times = list(reps) if isinstance(reps, Sequence | np.ndarray) else [reps]
    times = [_times("tile", t, node.graph) for t in times]
    rank = max(len(times), node.type.rank)
    times = [1] * (rank - len(times)) + times
    own = (1,) * (rank - node.type.rank) + node.shape
    lined = reshape_node(node, own)
    wide: list[Extent] = []
    axes: list[int] = []
    for t, n in zip(times, own, strict=True):
        if t != 1:
            wide.append(t)
        axes.append(len(wide))
        wide.append(n)
    spread = node.graph.broadcast(lined, tuple(wide), tuple(axes))
    return Array(reshape_node(spread, tuple([t * n for t, n in zip(times, own, strict=True)])))


@array_function(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Repeat each element a fixed number of times, as `numpy.repeat`.

    Raises:
        UnsupportedError: How often is itself a traced value.
    """
    node = to_node(a)
    if axis is None:
        node, axis = reshape_node(node, (node.type.size,)), 0
    (at,) = normalized_axes(axis, node.type.rank)
    if isinstance(repeats, Array):
        raise UnsupportedError(
            explain(
                "repeat: the result's shape would depend on values",
                f"repeats  {describe(repeats.node)}",
                f"at  {user_line()}",
                hint="repeats are Python integers",
            )
        )
    if np.ndim(repeats) and np.size(repeats) > 1:
        places = np.repeat(np.arange(len(repeats)), repeats)
        values: Any = Array(node)
        return np.take(values, places, axis=at)
    times = _times("repeat", repeats if not np.ndim(repeats) else repeats[0], node.graph)
    wide = (*node.shape[: at + 1], times, *node.shape[at + 1 :])
    axes = tuple(i if i <= at else i + 1 for i in range(node.type.rank))
    spread = node.graph.broadcast(node, wide, axes)
    merged = (*node.shape[:at], node.shape[at] * times, *node.shape[at + 1 :])
    return Array(reshape_node(spread, merged))
