"""Arrays made from numbers, from shapes, and from one another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least, counted, decide
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.extents import SymbolicExtent, known_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_to_shape,
    cast,
    common_dtype,
    node_of,
    stored,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, I64, DType, dtype_of
from chainrule.numpy.joining import concatenate, stack
from chainrule.numpy.nodes import (
    asked_shape,
    checked_broadcast,
    converted,
    given,
    graph_of_any,
    normalized_axes,
    part,
    shifted,
    to_node,
)

__all__ = [
    "arange", "array", "asarray", "ascontiguousarray", "astype", "copy", "diff", "empty",
    "empty_like", "eye", "full", "full_like", "geomspace", "identity", "linspace", "logspace",
    "meshgrid", "ones", "ones_like", "tri", "tril", "triu", "vander", "zeros", "zeros_like",
]  # fmt: skip


@array_function(np.asarray, np.asanyarray)
def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None) -> Array:
    """Return an array, of another dtype if wished; lists of arrays are stacked."""
    del order, copy
    if isinstance(a, list | tuple):
        if not a:
            return Array(to_node(a))
        parts = [asarray(x) if isinstance(x, list | tuple) else x for x in a]
        return Array(converted(stack(parts).node, dtype))
    return Array(converted(to_node(a), dtype))


@array_function(np.array)
def array(
    object: Any, dtype: Any = None, *, copy: bool | None = True, order: Any = None, ndmin: int = 0
) -> Any:
    """Return an array; lists of arrays are stacked, as `numpy.array`."""
    del copy, order
    made = asarray(object, dtype)
    return (
        made.reshape((1,) * (ndmin - made.ndim) + tuple(made.shape)) if made.ndim < ndmin else made
    )


@array_function(np.ascontiguousarray)
def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    """Return an array of at least one axis, as `numpy.ascontiguousarray`."""
    return array(a, dtype, ndmin=1)


@array_function(newer("astype"))
def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    """Convert to another dtype, as `numpy.astype`."""
    del copy
    return asarray(x, dtype)


@array_function(np.copy)
def copy(a: Any, order: Any = None) -> Any:
    """Return the array: values never change."""
    del order
    return asarray(a)


def _filled(shape: Any, value: float, dtype: Any) -> Array:
    graph = graph_of_any([shape])
    return Array(graph.full(asked_shape(shape, graph), value, dtype_of(dtype)))


@array_function(np.zeros)
def zeros(shape: Any, dtype: Any = float, order: Any = "C") -> Array:
    """Return zeros of a shape whose extents may be named dims, as `numpy.zeros`."""
    del order
    return _filled(shape, 0, dtype or float)


@array_function(np.ones)
def ones(shape: Any, dtype: Any = None, order: Any = "C") -> Array:
    """Return ones of a shape whose extents may be named dims, as `numpy.ones`."""
    del order
    return _filled(shape, 1, dtype or float)


@array_function(np.empty)
def empty(shape: Any, dtype: Any = float, order: Any = "C") -> Array:
    """Return zeros: nothing is left undefined."""
    del order
    return _filled(shape, 0, dtype or float)


@array_function(np.full)
def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> Array:
    """Return a shape filled with a value, which may be traced, as `numpy.full`."""
    del order
    graph = graph_of_any([shape, fill_value])
    operand = as_operand(fill_value)
    node = node_of(operand, graph) if dtype is None else stored(operand, graph, dtype_of(dtype))
    return Array(broadcast_to_shape(node, checked_broadcast(node, asked_shape(shape, graph))))


def _like(a: Any, value: Any, dtype: Any, shape: Any) -> Array:
    node = to_node(a)
    graph = graph_of_any([a, value])
    wanted = node.dtype if dtype is None else dtype_of(dtype)
    made = node_of(as_operand(value), graph, wanted)
    wide = node.shape if shape is None else asked_shape(shape, graph)
    return Array(broadcast_to_shape(made, wide))


@array_function(np.zeros_like)
def zeros_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """Return zeros of the array's shape and dtype, as `numpy.zeros_like`."""
    return _like(a, 0, dtype, shape)


@array_function(np.ones_like)
def ones_like(a: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """Return ones of the array's shape and dtype, as `numpy.ones_like`."""
    return _like(a, 1, dtype, shape)


@array_function(np.empty_like)
def empty_like(prototype: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """Return zeros: nothing is left undefined."""
    return _like(prototype, 0, dtype, shape)


@array_function(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    """Return the array's shape and dtype filled with a value, as `numpy.full_like`."""
    if not isinstance(a, Array):
        wanted = np.asarray(a).dtype if dtype is None else dtype
        return full(np.shape(a) if shape is None else shape, fill_value, wanted)
    return _like(a, fill_value, dtype, shape)


def _counter(graph: Graph, length: Extent, dtype: DType = I64) -> Node:
    return graph.call("iota", length=length, dtype=dtype)


@array_function(np.arange)
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Array:
    """Count, up to a bound that may be a named dim, as `numpy.arange`.

    Raises:
        UnsupportedError: How many numbers there are depends on a traced value.
    """
    first, last = (0, start) if stop is None else (start, stop)
    traced = [v for v in (first, last, step) if isinstance(v, Array)]
    if traced:
        raise UnsupportedError(
            explain(
                "arange: the number of elements would depend on a traced value",
                f"value  {describe(traced[0].node)}",
                f"at  {user_line()}",
                hint="use an extent or a Python integer, then add the traced value",
            )
        )
    graph = graph_of_any([first, last, step])
    begin, end, by = (known_extent(v) for v in (first, last, step))
    if isinstance(by, Dim) or any(isinstance(v, float) for v in (begin, end, by)):
        raise UnsupportedError(
            explain("arange of a named dim takes integers, and a step that is a number",
                    f"at  {user_line()}", hint="scale cnp.arange(n) instead")
        )  # fmt: skip
    span = end - begin if by > 0 else begin - end
    span = counted(graph, span, "arange: the end comes before the start")
    length = (span + (abs(by) - 1)) // abs(by)
    wanted = I64 if dtype is None else dtype_of(dtype)
    counter = _counter(graph, length, wanted if (begin, by) == (0, 1) else I64)
    if (begin, by) == (0, 1):
        return Array(counter)
    lead = node_of(
        as_operand(begin if not isinstance(begin, Dim) else SymbolicExtent(begin.terms, graph)),
        graph,
        I64,
    )
    return Array(cast(counter * by + graph.broadcast(lead, counter.shape, ()), wanted))


@array_function(np.linspace)
def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False,
    dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    """Return evenly spaced numbers between ends that may be traced, as `numpy.linspace`."""
    graph = graph_of_any([start, stop, num])
    operands = [as_operand(start), as_operand(stop)]
    kind = common_dtype([*operands, 1.0])
    low, high = (Array(node_of(o, graph, kind)) for o in operands)
    count = known_extent(num)
    at_least(graph, count, 0, "linspace: the number of samples is negative")
    counter = Array(cast(_counter(graph, count), kind))
    parts: Any = SymbolicExtent(count.terms, graph) if isinstance(count, Dim) else count
    parts = parts - 1 if endpoint else parts
    span = high - low
    lined = counter.reshape((-1,) + (1,) * max(low.ndim, high.ndim))
    if not decide(graph, known_extent(parts), 1, "linspace of a single sample"):
        step = span * math.nan
        result = lined * span + low
    else:
        step = span / parts
        result = lined * step + low
        if endpoint:
            # The last number is the end itself, whatever rounding says.
            result = Array(
                graph.select(
                    (lined == parts + result * 0).node, (high + result * 0).node, result.node
                )
            )
    if axis:
        result = np.moveaxis(result, 0, axis)
    if dtype is not None:
        whole = dtype_of(dtype).kind in ("int", "uint")
        result = (np.floor(result) if whole else result).astype(dtype)
    return (result, step) if retstep else result


@array_function(np.logspace)
def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0,
    dtype: Any = None, axis: int = 0,
) -> Array:  # fmt: skip
    """Return powers of a base with evenly spaced exponents, as `numpy.logspace`."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    return Array(converted((base**exponents).node, dtype))


@array_function(np.geomspace)
def geomspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Array:
    """Return numbers of equal ratios between positive ends, as `numpy.geomspace`."""
    return Array(
        converted(
            np.exp(linspace(np.log(start), np.log(stop), num, endpoint, axis=axis)).node, dtype
        )
    )


def _band(graph: Graph, rows: Extent, columns: Extent, k: Any) -> tuple[Node, Node]:
    """Return the row's number plus k, and the column's number, at every place."""
    shape = (rows, columns)
    return (
        graph.broadcast(shifted(_counter(graph, rows), k), shape, (0,)),
        graph.broadcast(_counter(graph, columns), shape, (1,)),
    )


@array_function(np.eye)
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = float) -> Array:
    """Return ones on a diagonal and zeros elsewhere; extents may be named dims."""
    graph = graph_of_any([N, M, k])
    rows = known_extent(N)
    columns = rows if M is None else known_extent(M)
    here, there = _band(graph, rows, columns, k)
    return Array(cast(here.equals(there), dtype_of(dtype)))


@array_function(np.identity)
def identity(n: Any, dtype: Any = float) -> Any:
    """Return the identity matrix, as `numpy.identity`."""
    return eye(n, dtype=dtype)


@array_function(np.tri)
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = float) -> Array:
    """Return ones at and below a diagonal, as `numpy.tri`."""
    graph = graph_of_any([N, M, k])
    rows = columns = counted(graph, known_extent(N), "tri: the number of rows is negative")
    if M is not None:
        columns = counted(graph, known_extent(M), "tri: the number of columns is negative")
    here, there = _band(graph, rows, columns, k)
    return Array(cast(here >= there, dtype_of(dtype)))


def _triangle(m: Any, k: int, *, lower: bool) -> Array:
    node = to_node(m)
    graph, rank = node.graph, node.type.rank
    if rank == 1:
        node, rank = graph.broadcast(node, (node.shape[0], node.shape[0]), (1,)), 2
    here, there = _band(graph, node.shape[-2], node.shape[-1], k if lower else k - 1)
    inside = here >= there
    mask = graph.broadcast(inside if lower else ~inside, node.shape, (rank - 2, rank - 1))
    return Array(graph.select(mask, node, 0))


@array_function(np.tril)
def tril(m: Any, k: int = 0) -> Array:
    """Return a matrix with zeros above its k-th diagonal, as `numpy.tril`."""
    return _triangle(m, k, lower=True)


@array_function(np.triu)
def triu(m: Any, k: int = 0) -> Array:
    """Return a matrix with zeros below its k-th diagonal, as `numpy.triu`."""
    return _triangle(m, k, lower=False)


@array_function(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Return powers of a vector as columns, as `numpy.vander`."""
    count = x.shape[0] if N is None else N
    x = x.astype(common_dtype([x, np.zeros((), int)]).numpy)
    columns = [np.ones_like(x)]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    # Of no columns one is made all the same, for its type and its rows.
    return stack(columns if increasing else columns[::-1], axis=1)[:, :count]


@array_function(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """Return differences of neighbours along an axis, n times over, as `numpy.diff`."""
    node = to_node(a, prepend, append)
    (at,) = normalized_axes(axis, node.type.rank)
    if n and (given(prepend) or given(append)):
        node = _extended(node, at, prepend, append)
    for _ in range(n):
        length = node.shape[at] - 1
        if not decide(node.graph, length, 0, "diff of an empty axis"):
            return Array(part(node, at, 0, 0))
        high, low = part(node, at, 1, length), part(node, at, 0, length)
        node = node.graph.call("not_equal", high, low) if node.dtype is BOOL else high - low
    return Array(node)


def _extended(node: Node, axis: int, prepend: Any, append: Any) -> Node:
    """Put what `diff` is to begin and to end with at the ends of an axis."""
    lined = tuple([1 if i == axis else n for i, n in enumerate(node.shape)])
    parts: list[Any] = []
    for value in (prepend, Array(node), append):
        if given(value):
            end = node_of(as_operand(value), node.graph)
            parts.append(Array(end if end.type.rank else broadcast_to_shape(end, lined)))
    longer: Array = concatenate(parts, axis=axis)
    return longer.node


@array_function(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """Return coordinates of a grid from those of its axes, as `numpy.meshgrid`."""
    del copy
    rank = len(xi)
    graph = graph_of_any(xi)
    lines = [node_of(as_operand(x), graph) for x in xi]
    order = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    extents = [lines[i].type.size for i in order]
    grids = []
    for i, line in enumerate(lines):
        at = order.index(i)
        lined = Array(line).reshape([-1 if j == at else 1 for j in range(rank)]).node
        grids.append(Array(lined if sparse else broadcast_to_shape(lined, tuple(extents))))
    return tuple(grids)
