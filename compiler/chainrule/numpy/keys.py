"""What is between the brackets of `x[...]`: from NumPy's indices to slices and integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, OutOfRangeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least, clamped, counted, decide
from chainrule.frontend.extents import SymbolicExtent, plain_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Extent, Shape, show_extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL

__all__ = ["Picked", "Region", "normalize_slice", "parse"]


@dataclass
class Region:
    """The basic part of an index: a slice of every axis.

    Attributes:
        starts: First element on each axis.
        shape: Number of elements on each axis.
        steps: Distances between them.
        dropped: Axes that an integer removes.
    """

    starts: list[Extent] = field(default_factory=list)
    shape: list[Extent] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)

    def covers(self, shape: Shape) -> bool:
        """Tell whether every element is in it, in the order of the array."""
        return all(
            s == 0 and n == m and k == 1
            for s, n, m, k in zip(self.starts, self.shape, shape, self.steps, strict=True)
        )


@dataclass
class Picked:
    """An index taken apart.

    Attributes:
        region: Slices and integers, on the array's axes.
        arrays: The axes that integer arrays index, with those arrays.
        entries: What the result's axes are, in the order written: an axis of the array, None for a
            new one, and "arrays" where the axes of the integer arrays go.
    """

    region: Region
    arrays: list[tuple[int, Any]]
    entries: list[int | str | None]


def parse(key: Any, node: Node) -> Picked:
    """Take an index of `node` apart.

    Raises:
        IndexError: There are too many indices, or one is out of range for certain.
        UnsupportedError: A traced mask.
        DTypeError: An array that is not of integers.
    """
    items = _expanded(list(key) if isinstance(key, tuple) else [key], node)
    mixed = any(isinstance(i, Array | np.ndarray) for i in items)
    region, arrays = Region(), []
    entries: list[int | str | None] = []
    places: list[int] = []
    axis = 0
    for position, item in enumerate(items):
        if item is None:
            entries.append(None)
            continue
        extent = node.shape[axis]
        if isinstance(item, slice):
            start, length, step = normalize_slice(item, extent, node.graph)
            entries.append(axis)
        elif isinstance(item, Array | np.ndarray):
            start, length, step = 0, extent, 1
            arrays.append((axis, item))
            places.append(position)
        else:
            start, length, step = _integer(item, extent, axis, node), 1, 1
            region.dropped.append(axis)
            if mixed:
                places.append(position)
        region.starts.append(start)
        region.shape.append(length)
        region.steps.append(step)
        axis += 1
    if arrays:
        # Indices that stand side by side leave their axes there; separated ones put them first.
        together = places == list(range(places[0], places[0] + len(places)))
        before = sum(
            1 for p, i in enumerate(items) if p < places[0] and (i is None or isinstance(i, slice))
        )
        entries.insert(before if together else 0, "arrays")
    return Picked(region, arrays, entries)


def _expanded(items: list[Any], node: Node) -> list[Any]:
    """Convert items, expand masks, and write the ellipsis out."""
    converted: list[Any] = []
    for item in items:
        converted += _converted(item, node)
    used = sum(i is not None and i is not Ellipsis for i in converted)
    if used > node.type.rank:
        raise OutOfRangeError(
            explain(
                f"{used} indices for an array of {node.type.rank} axes",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
            )
        )
    dots = [i for i, x in enumerate(converted) if x is Ellipsis]
    if len(dots) > 1:
        raise OutOfRangeError(explain("an index has one ellipsis at most", f"at  {user_line()}"))
    rest = [slice(None)] * (node.type.rank - used)
    at = dots[0] if dots else len(converted)
    return [*converted[:at], *rest, *converted[at + 1 :]]


def _converted(item: Any, node: Node) -> list[Any]:
    if item is None or item is Ellipsis or isinstance(item, slice | SymbolicExtent):
        return [item]
    if isinstance(item, bool | np.bool_):
        raise UnsupportedError(
            explain("True and False as an index are not available for traced values",
                    f"at  {user_line()}", hint="insert axes with None")
        )  # fmt: skip
    if isinstance(item, int | np.integer):
        return [int(item)]
    if isinstance(item, Array):
        if item.node.dtype is BOOL:
            raise UnsupportedError(
                explain(
                    "a mask as an index makes an array whose shape depends on values",
                    f"mask  {describe(item.node)}",
                    f"at  {user_line()}",
                    hint="keep the shape with cnp.where(mask, x, 0), then reduce; "
                    "x.at[mask].set(0) changes elements",
                )
            )
        if item.node.dtype.is_float:
            _not_integers(describe(item.node))
        return [item]
    array = np.asarray(item)
    if array.dtype == bool:
        return list(array.nonzero())
    if array.size == 0 and array.dtype.kind == "f" and isinstance(item, list):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        _not_integers(f"{array.dtype}")
    del node
    return [int(array)] if array.ndim == 0 else [array]


def _not_integers(what: str) -> None:
    raise DTypeError(
        explain("indices are integers, slices, None, ... or arrays of integers", f"index  {what}",
                f"at  {user_line()}", hint="convert with .astype(int)")
    )  # fmt: skip


def _integer(item: Any, extent: Extent, axis: int, node: Node) -> Extent:
    index: Extent = plain_extent(item) if isinstance(item, Dim) else int(item)
    graph = node.graph
    if isinstance(index, int) and isinstance(extent, int):
        if not -extent <= index < extent:
            raise OutOfRangeError(
                explain(
                    f"index {index} is out of range for axis {axis} of extent {extent}",
                    f"operand  {describe(node)}",
                    f"at  {user_line()}",
                )
            )
        return index % extent
    shown = f"index {show_extent(index)} of axis {axis}"
    if not decide(graph, index, 0, f"{shown} is counted from the front"):
        at_least(graph, extent + index, 0, f"{shown} is before the first", OutOfRangeError)
        return extent + index
    at_least(graph, extent, index + 1, f"{shown} is beyond the last", OutOfRangeError)
    return index


def normalize_slice(item: slice, extent: Extent, graph: Graph) -> tuple[Extent, Extent, int]:
    """Return first element, number of elements and step, as `slice.indices` of Python."""
    step = 1 if item.step is None else item.step.__index__()
    if step == 0:
        raise OutOfRangeError("slice step cannot be zero")
    bounds = [plain_extent(b) for b in (item.start, item.stop)]
    for b in bounds:
        if isinstance(b, Array):
            raise UnsupportedError(
                explain("a slice bound that is a traced value makes an unknown shape",
                        f"bound  {describe(b.node)}", f"at  {user_line()}",
                        hint="take a window of known length: cnp.take(x, start + cnp.arange(n))")
            )  # fmt: skip
    start: Extent
    length: Extent
    if isinstance(extent, int) and not any(isinstance(b, Dim) for b in bounds):
        numbers = range(*slice(bounds[0], bounds[1], step).indices(extent))
        start, length = numbers.start, len(numbers)
    else:
        start, length = _spanned(bounds, extent, step, graph)
    return (start, length, step) if length != 0 else (0, 0, 1)


def _spanned(
    bounds: Sequence[Any], extent: Extent, step: int, graph: Graph
) -> tuple[Extent, Extent]:
    """Return the first element that a slice takes of an axis, and how many."""
    low, high = bounds
    # Downwards, the end before the first element is -1, whatever that means as an index.
    first, last = (0, extent) if step > 0 else (-1, extent - 1)
    ends = (first, last) if step > 0 else (last, first)
    start = ends[0] if low is None else _bound(low, extent, first, last, graph)
    stop = ends[1] if high is None else _bound(high, extent, first, last, graph)
    span = stop - start if step > 0 else start - stop
    span = counted(graph, span, "a slice ends before it begins", extent)
    size = abs(step)
    return start, span if size == 1 else (span + (size - 1)) // size


def _bound(bound: Any, extent: Extent, first: Extent, last: Extent, graph: Graph) -> Extent:
    """Return a bound counted from the front, clamped to what a slice can begin or end with."""
    place: Extent = bound if isinstance(bound, Dim) else bound.__index__()
    shown = f"a slice bound of {show_extent(place)}"
    if not decide(graph, place, 0, f"{shown} is counted from the front"):
        place = place + extent
    return clamped(graph, place, first, last, f"{shown} is beyond an axis of {show_extent(extent)}")
