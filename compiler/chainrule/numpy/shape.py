"""Shapes and axes: the same elements in another arrangement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least, divisible, equal
from chainrule.frontend.dispatch import array_function, first_traced, newer
from chainrule.frontend.extents import plain_shape, symbolic
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    graph_of,
    node_of,
    shape_of,
)
from chainrule.frontend.operands import reshape as reshape_node
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Shape, has_quotient, show_extent, size_of
from chainrule.numpy.nodes import (
    asked_shape,
    axis_number,
    checked_broadcast,
    each_axis,
    normalized_axes,
    permuted,
    shown,
    to_node,
)

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_to", "expand_dims",
    "matrix_transpose", "moveaxis", "ndim", "permute_dims", "ravel", "reshape", "rollaxis",
    "shape", "size", "squeeze", "swapaxes", "transpose",
]  # fmt: skip


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
def size(a: Any, axis: Any = None) -> Any:
    """Return the number of elements, all or along axes, as `numpy.size`."""
    node = to_node(a)
    axes = normalized_axes(axis, node.type.rank)
    return symbolic(size_of(node.shape[i] for i in axes), node.graph)


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
    for e in extents:
        if e != -1:
            at_least(node.graph, e, 0, f"cannot reshape to {shown(extents)}: {e} is negative")
    if len(free) > 1:
        raise ShapeError(explain("only one extent can be -1", f"shape  {tuple(extents)}",
                                 f"at  {user_line()}"))  # fmt: skip
    if free:
        rest = size_of(e for e in extents if e != -1)
        why = f"cannot reshape {node.type} to {shown(extents)}"
        extents[free[0]] = divisible(node.graph, node.type.size, rest, why)
    size = size_of(extents)
    if not free and size != node.type.size and (has_quotient(size) or has_quotient(node.type.size)):
        equal(node.graph, node.type.size, size, f"cannot reshape {node.type} to {shown(extents)}")
    elif not free and size != node.type.size:
        raise ShapeError(
            explain(
                "cannot reshape: the number of elements differs",
                f"from  {describe(node)}: {show_extent(node.type.size)} elements",
                f"to    {shown(extents)}: {show_extent(size_of(extents))} elements",
                f"at  {user_line()}",
            )
        )
    return Array(reshape_node(node, tuple(extents)))


def _refuse_order(order: str) -> None:
    raise UnsupportedError(
        explain(
            f"order {order!r} is not available for traced values",
            f"at  {user_line()}",
            hint="transpose before and after, with the default order 'C'",
        )
    )


@array_function(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """Return all elements on one axis, as `numpy.ravel`."""
    return reshape(a, -1, order)


@array_function(np.transpose, newer("permute_dims"))
def transpose(a: Any, axes: Any = None) -> Array:
    """Reorder the axes; reverse them unless an order is given, as `numpy.transpose`."""
    node = to_node(a)
    rank = node.type.rank
    if axes is None:
        return Array(permuted(node, range(rank)[::-1]))
    if not isinstance(axes, Sequence | np.ndarray) or isinstance(axes, str):
        axes = (axes,)
    asked = [axis_number(ax, "transpose: an axis") for ax in axes]
    order = [ax % rank if -rank <= ax < rank else ax for ax in asked]
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
def matrix_transpose(x: Any, /) -> Any:
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
    goals = each_axis(destination, rank)
    sources = each_axis(source, rank)
    if len(goals) != len(sources):
        raise ShapeError(explain("moveaxis: as many sources as destinations are needed",
                                 f"at  {user_line()}"))  # fmt: skip
    order = [i for i in range(rank) if i not in sources]
    for goal, origin in sorted(zip(goals, sources, strict=True)):
        order.insert(goal, origin)
    return Array(permuted(node, order))


@array_function(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
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
    operand = as_operand(array)
    found = first_traced([array, *(shape if isinstance(shape, Sequence) else (shape,))])
    assert found is not None, "called for traced arguments"
    node = node_of(operand, found.graph)
    return Array(broadcast_to_shape(node, checked_broadcast(node, asked_shape(shape, found.graph))))


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

    def deepened(shape: Shape) -> Shape:
        return (1,) * (len(shape) < 2) + shape + (1,) * (2 if not shape else 1)

    return _at_least(3, (deepened, np.atleast_3d), arys)
