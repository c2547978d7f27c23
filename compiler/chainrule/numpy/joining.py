"""Arrays joined and cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import divisible
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.extents import known_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_strong,
    common_dtype,
    graph_of,
    node_of,
    shape_of,
)
from chainrule.frontend.operands import reshape as reshape_node
from chainrule.frontend.options import refuse_out
from chainrule.frontend.value import describe
from chainrule.ir.dims import smaller
from chainrule.ir.graph import Node
from chainrule.ir.types import dtype_of
from chainrule.numpy.keys import normalize_slice
from chainrule.numpy.nodes import joined, normalized_axes, part, shown, to_node
from chainrule.numpy.shape import atleast_1d, atleast_2d, atleast_3d, moveaxis

__all__ = [
    "array_split", "column_stack", "concat", "concatenate", "dsplit", "dstack", "hsplit", "hstack",
    "split", "stack", "unstack", "vsplit", "vstack",
]  # fmt: skip


@array_function(np.concatenate, newer("concat"))
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None
) -> Array:
    """Join arrays along an axis they have, as `numpy.concatenate`.

    Raises:
        ShapeError: Other extents differ, or there are no arrays.
    """
    refuse_out(np.concatenate, out)
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
            a == b
            for j, (a, b) in enumerate(zip(node.shape, first.shape, strict=True))
            if j != axis
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
    refuse_out(np.stack, out)
    if isinstance(arrays, Array):
        arrays = list(arrays)
    operands = [as_strong(x) for x in arrays]
    shapes = [shape_of(x) for x in operands]
    for i, s in enumerate(shapes):
        if s != shapes[0]:
            raise ShapeError(
                explain(
                    "stack: the shapes differ",
                    f"operand 0  {shown(shapes[0])}",
                    f"operand {i}  {shown(s)}",
                    f"at  {user_line()}",
                )
            )
    wanted = dtype_of(dtype) if dtype is not None else common_dtype(operands)
    graph = graph_of(operands)
    (at,) = normalized_axes(axis, len(shapes[0]) + 1)
    lined = (*shapes[0][:at], 1, *shapes[0][at:])
    return Array(joined([reshape_node(node_of(x, graph, wanted), lined) for x in operands], at))


@array_function(newer("unstack"))
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
def vstack(tup: Any, *, dtype: Any = None) -> Any:
    """Join arrays along the first axis, rows made of 1-d ones, as `numpy.vstack`."""
    return concatenate(_traced_only(atleast_2d, tup), 0, dtype=dtype)


@array_function(np.hstack)
def hstack(tup: Any, *, dtype: Any = None) -> Any:
    """Join arrays along the second axis, 1-d ones along the first, as `numpy.hstack`."""
    arrays = _traced_only(atleast_1d, tup)
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype)


@array_function(np.dstack)
def dstack(tup: Any) -> Any:
    """Join arrays along the third axis, as `numpy.dstack`."""
    return concatenate(_traced_only(atleast_3d, tup), 2)


@array_function(np.column_stack)
def column_stack(tup: Any) -> Any:
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
        if exact:
            why = f"split: the axis does not divide into {count} equal parts"
            each = divisible(node.graph, extent, count, why)
            return [Array(part(node, at, each * i, each)) for i in range(count)]
        each, more = extent // count, extent % count
        places: list[Any] = [each * i + smaller(more, i) for i in range(1, count)]
    else:
        places = [known_extent(p) for p in sections]
    ends: list[Any] = [*places, None]
    parts = []
    for s, e in zip([None, *places], ends, strict=True):
        start, length, _ = normalize_slice(slice(s, e), extent, node.graph)
        parts.append(Array(part(node, at, start, length)))
    return parts


@array_function(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Cut the first axis, as `numpy.vsplit`."""
    return split(ary, indices_or_sections, 0)


@array_function(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Cut the second axis, the first of 1-d arrays, as `numpy.hsplit`."""
    return split(ary, indices_or_sections, 0 if ary.ndim == 1 else 1)


@array_function(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Cut the third axis, as `numpy.dsplit`."""
    return split(ary, indices_or_sections, 2)
