"""Functions that move elements: shapes, axes, joining, splitting, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least, divisible
from chainrule.frontend.dispatch import array_function, first_traced
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    as_strong,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    common_dtype,
    graph_of,
    node_of,
    shape_of,
)
from chainrule.frontend.operands import reshape as reshape_node
from chainrule.frontend.value import describe, plain_extent, plain_shape, symbolic
from chainrule.ir.dims import Dim, Extent, Shape, show_extent, size_of
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import dtype_of
from chainrule.numpy.reductions import normalized_axes

__all__ = [
    "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_to",
    "column_stack", "concat", "concatenate", "dsplit", "dstack", "expand_dims", "flip", "fliplr",
    "flipud", "hsplit", "hstack", "matrix_transpose", "moveaxis", "ndim", "pad", "permute_dims",
    "ravel", "repeat", "reshape", "roll", "rollaxis", "rot90", "shape", "size", "split", "squeeze",
    "stack", "swapaxes", "tile", "transpose", "unstack", "vsplit", "vstack",
]  # fmt: skip


def to_node(x: Any) -> Node:
    """Return an operand as a node of its own graph."""
    operand = as_operand(x)
    return node_of(operand, graph_of([operand]))


def permuted(node: Node, axes: Sequence[int]) -> Node:
    """Transpose; nothing where the order is right."""
    order = tuple(axes)
    return node if order == tuple(range(len(order))) else node.graph.call("transpose", node, axes=order)


def sliced(
    node: Node, starts: Sequence[Extent], shape: Sequence[Extent], steps: Sequence[int]
) -> Node:
    """Take a slice; nothing where it is everything."""
    whole = all(s == 1 for s in steps) and all(s == 0 for s in starts)
    if whole and tuple(shape) == node.shape:
        return node
    return node.graph.call(
        "slice", node, starts=tuple(starts), shape=tuple(shape), steps=tuple(steps)
    )


def part(node: Node, axis: int, start: Extent, length: Extent, step: int = 1) -> Node:
    """Take a slice along one axis."""
    rank = node.type.rank
    return sliced(
        node,
        [start if i == axis else 0 for i in range(rank)],
        [length if i == axis else n for i, n in enumerate(node.shape)],
        [step if i == axis else 1 for i in range(rank)],
    )


def joined(nodes: Sequence[Node], axis: int) -> Node:
    """Concatenate nodes of one dtype; nothing where there is one."""
    kept = [n for n in nodes if n.shape[axis] != 0] or list(nodes[:1])
    return kept[0] if len(kept) == 1 else kept[0].graph.call("concatenate", *kept, axis=axis)


@array_function(np.shape)
def shape(a: Any) -> tuple[Any, ...]:
    """Return the extents, as `numpy.shape`."""
    graph = graph_of([as_operand(a)])
    return tuple([symbolic(e, graph) for e in to_node(a).shape])


@array_function(np.ndim)
def ndim(a: Any) -> int:
    """Return the number of axes, as `numpy.ndim`."""
    return to_node(a).type.rank


@array_function(np.size)
def size(a: Any, axis: int | None = None) -> Any:
    """Return the number of elements, as `numpy.size`."""
    node = to_node(a)
    extent = node.type.size if axis is None else node.shape[normalized_axes(axis, node.type.rank)[0]]
    return symbolic(extent, node.graph)


@array_function(np.reshape)
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None
) -> Array:
    """Give an array another shape with as many elements; one extent may be -1, as `numpy.reshape`.

    Raises:
        ShapeError: The number of elements differs, or does not divide.
    """
    del copy
    if order not in ("C", "A"):
        _refuse_order(order)
    node = to_node(a)
    wanted = newshape if shape is None else shape
    given = plain_shape(tuple(wanted) if isinstance(wanted, Sequence) else (wanted,))
    extents = [e if isinstance(e, Dim) else int(e) for e in given]
    free = [i for i, e in enumerate(extents) if e == -1]
    if len(free) > 1:
        raise ShapeError(explain("only one extent can be -1", f"shape  {tuple(extents)}",
                                 f"at  {user_line()}"))  # fmt: skip
    if free:
        rest = size_of(e for e in extents if e != -1)
        why = f"cannot reshape {node.type} to {_shown(extents)}"
        extents[free[0]] = divisible(node.graph, node.type.size, rest, why)
    if not free and size_of(extents) != node.type.size:
        raise ShapeError(
            explain(
                "cannot reshape: the number of elements differs",
                f"from  {describe(node)}: {show_extent(node.type.size)} elements",
                f"to    {_shown(extents)}: {show_extent(size_of(extents))} elements",
                f"at  {user_line()}",
            )
        )
    return Array(reshape_node(node, tuple(extents)))


def _shown(extents: Sequence[Extent]) -> str:
    return "[" + ", ".join(map(show_extent, extents)) + "]"


def _refuse_order(order: str) -> None:
    raise UnsupportedError(
        explain(
            f"order {order!r} is not available for traced values",
            f"at  {user_line()}",
            hint="transpose before and after, with the default order 'C'",
        )
    )


@array_function(np.ravel)
def ravel(a: Any, order: str = "C") -> Array:
    """Return all elements on one axis, as `numpy.ravel`."""
    return reshape(a, -1, order)


@array_function(np.transpose, getattr(np, "permute_dims", np.transpose))
def transpose(a: Any, axes: Any = None) -> Array:
    """Reorder the axes; reverse them unless an order is given, as `numpy.transpose`."""
    node = to_node(a)
    rank = node.type.rank
    if axes is None:
        return Array(permuted(node, range(rank)[::-1]))
    order = [ax % rank if -rank <= ax < rank else ax for ax in axes]
    if sorted(order) != list(range(rank)):
        raise ShapeError(
            explain(
                f"transpose: {tuple(axes)} is not an order of {rank} axes",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
            )
        )
    return Array(permuted(node, order))


permute_dims = transpose


@array_function(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Array:
    """Exchange the last two axes, as `numpy.matrix_transpose`."""
    return swapaxes(x, -1, -2)


@array_function(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """Exchange two axes, as `numpy.swapaxes`."""
    node = to_node(a)
    order = list(range(node.type.rank))
    (i,), (j,) = (normalized_axes(x, node.type.rank) for x in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return Array(permuted(node, order))


@array_function(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Array:
    """Move axes to other places, as `numpy.moveaxis`."""
    node = to_node(a)
    rank = node.type.rank
    goals = _each_axis(destination, rank)
    sources = _each_axis(source, rank)
    if len(goals) != len(sources):
        raise ShapeError(explain("moveaxis: as many sources as destinations are needed",
                                 f"at  {user_line()}"))  # fmt: skip
    order = [i for i in range(rank) if i not in sources]
    for goal, origin in sorted(zip(goals, sources, strict=True)):
        order.insert(goal, origin)
    return Array(permuted(node, order))


def _each_axis(axes: Any, rank: int) -> list[int]:
    given = axes if isinstance(axes, Sequence) else (axes,)
    return [normalized_axes(a, rank)[0] for a in given]


@array_function(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """Move an axis before another, as `numpy.rollaxis`."""
    rank = to_node(a).type.rank
    (at,) = normalized_axes(axis, rank)
    goal = start + rank if start < 0 else start
    return moveaxis(a, at, goal - 1 if at < goal else goal)


@array_function(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Array:
    """Insert axes of extent 1, as `numpy.expand_dims`."""
    node = to_node(a)
    given = axis if isinstance(axis, Sequence) else (axis,)
    axes = normalized_axes(tuple(given), node.type.rank + len(given))
    extents = list(node.shape)
    for i in axes:
        extents.insert(i, 1)
    return Array(reshape_node(node, tuple(extents)))


@array_function(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Array:
    """Remove axes of extent 1, as `numpy.squeeze`.

    Raises:
        ShapeError: The extent of a named axis is not 1.
    """
    node = to_node(a)
    rank = node.type.rank
    if axis is None:
        axes: tuple[int, ...] = tuple(i for i, n in enumerate(node.shape) if n == 1)
    else:
        axes = normalized_axes(axis, rank)
    wrong = [i for i in axes if node.shape[i] != 1]
    if wrong:
        raise ShapeError(
            explain(
                f"squeeze: axis {wrong[0]} is {show_extent(node.shape[wrong[0]])}, not 1",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
            )
        )
    return Array(reshape_node(node, tuple(n for i, n in enumerate(node.shape) if i not in axes)))


@array_function(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Array:
    """Copy an array into a shape it broadcasts to, as `numpy.broadcast_to`."""
    del subok
    given = plain_shape(tuple(shape) if isinstance(shape, Sequence) else (shape,))
    operand = as_operand(array)
    found = first_traced([array, *(shape if isinstance(shape, Sequence) else (shape,))])
    assert found is not None, "called for traced arguments"
    node = node_of(operand, found.graph)
    return Array(broadcast_to_shape(node, checked_broadcast(node, given)))


def checked_broadcast(node: Node, shape: Shape) -> Shape:
    """Return `shape` if the node broadcasts to it."""
    own = node.shape
    ends = zip(own, shape[len(shape) - len(own) :], strict=False)
    if len(own) > len(shape) or any(m not in (1, n) for m, n in ends):
        raise ShapeError(
            explain(
                f"{node.type} does not broadcast to {_shown(shape)}",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
            )
        )
    return shape


@array_function(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Array, ...]:
    """Copy arrays into the shape they broadcast to, as `numpy.broadcast_arrays`."""
    del subok
    operands = [as_operand(x) for x in args]
    graph = graph_of(operands)
    common = broadcast_shape([shape_of(x) for x in operands], operands)
    return tuple([Array(broadcast_to_shape(node_of(x, graph), common)) for x in operands])


def _at_least(rank: int, where: Any, arrays: tuple[Any, ...]) -> Any:
    made = []
    for a in arrays:
        node = to_node(a) if first_traced([a]) is not None else None
        if node is None:
            made.append(where[1](a))
            continue
        extents = where[0](node.shape) if node.type.rank < rank else node.shape
        made.append(Array(reshape_node(node, extents)))
    return made[0] if len(made) == 1 else tuple(made)


@array_function(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Give numbers an axis, as `numpy.atleast_1d`."""
    return _at_least(1, (lambda s: (1,), np.atleast_1d), arys)


@array_function(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Put axes in front until there are two, as `numpy.atleast_2d`."""
    return _at_least(2, (lambda s: (1,) * (2 - len(s)) + s, np.atleast_2d), arys)


@array_function(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Add axes until there are three, as `numpy.atleast_3d`."""
    shapes = {0: lambda s: (1, 1, 1), 1: lambda s: (1, *s, 1), 2: lambda s: (*s, 1)}
    return _at_least(3, (lambda s: shapes[len(s)](s), np.atleast_3d), arys)


@array_function(np.concatenate, getattr(np, "concat", np.concatenate))
def concatenate(arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None) -> Array:
    """Join arrays along an axis they have, as `numpy.concatenate`.

    Raises:
        ShapeError: Other extents differ, or there are no arrays.
    """
    del out
    if isinstance(arrays, Array):
        arrays = list(arrays)
    operands = [as_strong(x) for x in arrays]
    wanted = dtype_of(dtype) if dtype is not None else common_dtype(operands)
    graph = graph_of(operands)
    nodes = [node_of(x, graph, wanted) for x in operands]
    if axis is None:
        return Array(joined([reshape_node(n, (n.type.size,)) for n in nodes], 0))
    if not nodes[0].type.rank:
        raise ShapeError(
            explain(
                "arrays without axes cannot be concatenated",
                f"at  {user_line()}",
                hint="use cnp.stack",
            )
        )
    (at,) = normalized_axes(axis, nodes[0].type.rank)
    _check_joinable(nodes, at)
    return Array(joined(nodes, at))


def _check_joinable(nodes: Sequence[Node], axis: int) -> None:
    first = nodes[0]
    for i, node in enumerate(nodes):
        alike = node.type.rank == first.type.rank and all(
            a == b for j, (a, b) in enumerate(zip(node.shape, first.shape, strict=True)) if j != axis
        )
        if not alike:
            raise ShapeError(
                explain(
                    f"concatenate along axis {axis}: the other extents differ",
                    f"operand 0  {describe(first)}",
                    f"operand {i}  {describe(node)}",
                    f"at  {user_line()}",
                )
            )


concat = concatenate


@array_function(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None) -> Array:
    """Join arrays of one shape along a new axis, as `numpy.stack`.

    Raises:
        ShapeError: The shapes differ.
    """
    del out
    if isinstance(arrays, Array):
        arrays = list(arrays)
    operands = [as_strong(x) for x in arrays]
    shapes = [shape_of(x) for x in operands]
    for i, s in enumerate(shapes):
        if s != shapes[0]:
            raise ShapeError(
                explain(
                    "stack: the shapes differ",
                    f"operand 0  {_shown(shapes[0])}",
                    f"operand {i}  {_shown(s)}",
                    f"at  {user_line()}",
                )
            )
    wanted = dtype_of(dtype) if dtype is not None else common_dtype(operands)
    graph = graph_of(operands)
    (at,) = normalized_axes(axis, len(shapes[0]) + 1)
    lined = (*shapes[0][:at], 1, *shapes[0][at:])
    return Array(joined([reshape_node(node_of(x, graph, wanted), lined) for x in operands], at))


@array_function(getattr(np, "unstack", np.split))
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Return the parts along an axis without the axis, as `numpy.unstack`."""
    return tuple(moveaxis(x, axis, 0))


def _traced_only(function: Any, arrays: Any) -> list[Any]:
    """Apply to each array what may be plain."""
    return [function(a) if isinstance(a, Array) else function_plain(function, a) for a in arrays]


def function_plain(function: Any, a: Any) -> Any:
    """Apply a function of this module to what is not traced: it then computes with NumPy."""
    return function(np.asarray(a))


@array_function(np.vstack)
def vstack(tup: Any, *, dtype: Any = None) -> Array:
    """Join arrays along the first axis, rows made of 1-d ones, as `numpy.vstack`."""
    return concatenate(_traced_only(atleast_2d, tup), 0, dtype=dtype)


@array_function(np.hstack)
def hstack(tup: Any, *, dtype: Any = None) -> Array:
    """Join arrays along the second axis, 1-d ones along the first, as `numpy.hstack`."""
    arrays = _traced_only(atleast_1d, tup)
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype)


@array_function(np.dstack)
def dstack(tup: Any) -> Array:
    """Join arrays along the third axis, as `numpy.dstack`."""
    return concatenate(_traced_only(atleast_3d, tup), 2)


@array_function(np.column_stack)
def column_stack(tup: Any) -> Array:
    """Join arrays along the second axis, columns made of 1-d ones, as `numpy.column_stack`."""
    columns = [c if c.ndim > 1 else c[:, None] for c in _traced_only(atleast_1d, tup)]
    return concatenate(columns, 1)


@array_function(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut an axis into nearly equal parts, or at places, as `numpy.array_split`."""
    return _cut(ary, indices_or_sections, axis, exact=False)


@array_function(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Cut an axis into equal parts, or at places, as `numpy.split`.

    Raises:
        ShapeError: The parts would not be equal.
    """
    return _cut(ary, indices_or_sections, axis, exact=True)


def _cut(ary: Any, sections: Any, axis: int, *, exact: bool) -> list[Array]:
    node = to_node(ary)
    (at,) = normalized_axes(axis, node.type.rank)
    extent = node.shape[at]
    if not isinstance(sections, Sequence | np.ndarray):
        count = int(sections)
        if exact or isinstance(extent, Dim):
            each = divisible(node.graph, extent, count, f"split: {count} equal parts")
            return [Array(part(node, at, each * i, each)) for i in range(count)]
        sizes = [extent // count + (i < extent % count) for i in range(count)]
        places: list[Any] = [sum(sizes[:i]) for i in range(1, count)]
    else:
        places = [plain_extent(p) for p in sections]
    ends = [*places, extent]
    starts: list[Any] = [0, *places]
    if isinstance(extent, int) and all(isinstance(p, int | np.integer) for p in places):
        starts = [slice(int(s), None).indices(extent)[0] for s in starts]
        ends = [slice(None, int(e)).indices(extent)[1] for e in ends]
        sizes = [max(e - s, 0) for s, e in zip(starts, ends, strict=True)]
    else:
        for s, e in zip(starts, ends, strict=True):
            at_least(node.graph, e, s, "split: places beyond the end")
        sizes = [e - s for s, e in zip(starts, ends, strict=True)]
    return [Array(part(node, at, s, n)) for s, n in zip(starts, sizes, strict=True)]


@array_function(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut the first axis, as `numpy.vsplit`."""
    return split(ary, indices_or_sections, 0)


@array_function(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut the second axis, the first of 1-d arrays, as `numpy.hsplit`."""
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


@array_function(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    """Cut the third axis, as `numpy.dsplit`."""
    return split(ary, indices_or_sections, 2)


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
def flipud(m: Any) -> Array:
    """Reverse the first axis, as `numpy.flipud`."""
    return flip(m, 0)


@array_function(np.fliplr)
def fliplr(m: Any) -> Array:
    """Reverse the second axis, as `numpy.fliplr`."""
    return flip(m, 1)


@array_function(np.rot90)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Turn by quarters in the plane of two axes, as `numpy.rot90`."""
    node = to_node(m)
    i, j = _each_axis(axes, node.type.rank)
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
    axes = _each_axis(axis, node.type.rank)
    shifts = list(shift) if isinstance(shift, Sequence | np.ndarray) else [shift] * len(axes)
    if len(shifts) != len(axes):
        shifts, axes = (shifts * len(axes), axes) if len(shifts) == 1 else (shifts, axes * len(shifts))
    for by, at in zip(shifts, axes, strict=True):
        node = _rolled(node, plain_extent(by), at)
    return Array(node)


def _rolled(node: Node, by: Any, axis: int) -> Node:
    extent = node.shape[axis]
    if isinstance(extent, int) and isinstance(by, int | np.integer):
        by = int(by) % extent if extent else 0
    elif not isinstance(by, Dim):
        by = int(by)
        at_least(node.graph, extent, builtin_abs(by), "roll by more than the extent")
        by = by if by >= 0 else extent + by
    if by in (0, extent):
        return node
    return joined([part(node, axis, extent - by, by), part(node, axis, 0, extent - by)], axis)


def builtin_abs(number: int) -> int:
    """Return the size of a Python integer."""
    return number if number >= 0 else -number


@array_function(np.tile)
def tile(A: Any, reps: Any) -> Array:
    """Lay copies side by side, as `numpy.tile`."""
    node = to_node(A)
    times = list(reps) if isinstance(reps, Sequence | np.ndarray) else [reps]
    times = [plain_extent(t) if isinstance(t, Dim) else int(t) for t in times]
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
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Array:
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
        return Array(np.take(Array(node), places, axis=at).node)
    times = plain_extent(repeats if not np.ndim(repeats) else repeats[0])
    times = times if isinstance(times, Dim) else int(times)
    wide = (*node.shape[: at + 1], times, *node.shape[at + 1 :])
    axes = tuple(i if i <= at else i + 1 for i in range(node.type.rank))
    spread = node.graph.broadcast(node, wide, axes)
    merged = (*node.shape[:at], node.shape[at] * times, *node.shape[at + 1 :])
    return Array(reshape_node(spread, merged))


Pair = tuple[Extent, Extent]


def _pairs(width: Any, rank: int) -> list[Pair]:
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
    both = [plain_extent(v) if isinstance(v, Dim) else int(v) for v in values]
    return (both[0], both[-1])


@array_function(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Array:
    """Add elements at the ends of axes, as `numpy.pad`.

    Modes: `constant` (with `constant_values`), `edge`, `reflect`, `symmetric`, `wrap`.

    Raises:
        UnsupportedError: Another mode.
        ShapeError: A reflection or a wrap is longer than the axis.
    """
    node = to_node(array)
    pairs = _pairs(pad_width, node.type.rank)
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
        node = _ENDS[mode](node, axis, before, after)
    return Array(node)


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
    return joined([part(node, axis, extent - before, before), node, part(node, axis, 0, after)], axis)


_ENDS = {
    "edge": _pad_edge,
    "reflect": lambda n, axis, a, b: _pad_mirrored(n, axis, a, b, 1),
    "symmetric": lambda n, axis, a, b: _pad_mirrored(n, axis, a, b, 0),
    "wrap": _pad_wrapped,
}


def graph_of_any(values: Sequence[Any]) -> Graph:
    """Return the graph of a traced value among arguments."""
    found = first_traced(values)
    assert found is not None, "called for traced arguments"
    return found.graph


def converted(node: Node, dtype: Any) -> Node:
    """Convert to a NumPy dtype, unless it is None."""
    return node if dtype is None else cast(node, dtype_of(dtype))
