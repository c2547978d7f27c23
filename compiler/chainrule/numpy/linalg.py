"""`chainrule.numpy.linalg`: norms, products, systems and factors under NumPy's names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from chainrule.errors import UnsupportedError, absent, explain, public_names
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least
from chainrule.frontend.dispatch import IMPLEMENTATIONS, array_function
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import as_operand, cast, node_of, reshape
from chainrule.ir.dims import size_of
from chainrule.ir.graph import Node
from chainrule.ir.types import F64
from chainrule.numpy import linear, shape
from chainrule.numpy.creation import eye
from chainrule.numpy.indexing import diagonal as diagonal_of
from chainrule.numpy.indexing import trace as trace_of
from chainrule.numpy.nodes import normalized_axes
from chainrule.numpy.systems import cholesky, det, inv, slogdet, solve, solve_triangular

__all__ = ["cholesky", "cross", "det", "diagonal", "inv", "matmul", "matrix_norm", "matrix_power",
           "matrix_transpose", "multi_dot", "norm", "outer", "slogdet", "solve",
           "solve_triangular", "tensordot", "trace", "vecdot", "vector_norm"]  # fmt: skip


def _float(x: Any) -> Node:
    node = node_of(as_operand(x), x.graph)
    return node if node.dtype.is_float else cast(node, F64)


def _kept(node: Node, like: Node, axes: tuple[int, ...], keepdims: bool) -> Array:
    if keepdims:
        node = reshape(node, tuple([1 if i in axes else n for i, n in enumerate(like.shape)]))
    return Array(node)


def _vector(node: Node, order: Any, axes: tuple[int, ...]) -> Node:
    graph = node.graph
    if order in (None, 2, "fro"):
        return graph.call("norm", node, axes=axes)
    size = graph.call("abs", node)
    if order in (math.inf, -math.inf):
        return _extreme(size, axes, largest=order > 0)
    if order == 1:
        return graph.call("sum", size, axes=axes)
    if order == 0:
        return graph.call("sum", cast(~node.equals(0), node.dtype), axes=axes)
    return graph.call("p_norm", node, axes=axes, order=float(order))


def _matrix(node: Node, order: Any, axes: tuple[int, int]) -> Node:
    if order in (None, "fro"):
        return node.graph.call("norm", node, axes=tuple(sorted(axes)))
    if order not in (1, -1, math.inf, -math.inf):
        raise UnsupportedError(
            explain(f"the matrix norm of order {order!r} needs singular values",
                    f"at  {user_line()}", hint="orders are 'fro', 1, -1, inf, -inf")
        )  # fmt: skip
    rows, columns = axes
    along, across = (rows, columns) if order in (1, -1) else (columns, rows)
    sums = node.graph.call("sum", node.graph.call("abs", node), axes=(along,))
    left = across - (across > along)
    return _extreme(sums, (left,), largest=order > 0)


def _extreme(sizes: Node, axes: tuple[int, ...], *, largest: bool) -> Node:
    """Return the largest of numbers that are not negative, 0 of none, or the smallest of some."""
    graph = sizes.graph
    if not largest:
        for i in axes:
            at_least(graph, sizes.shape[i], 1, "the smallest needs at least one element")
        return graph.call("min", sizes, axes=axes)
    count = size_of([sizes.shape[i] for i in axes])
    found = graph.call("max", sizes, axes=axes)
    if isinstance(count, int):
        return found if count else graph.full_like(found, 0.0)
    # Not the larger of it and 0: of zeros that would be a tie, and half of the derivative.
    none = graph.call("extent", extent=count).equals(0)
    return graph.select(graph.broadcast(none, found.shape, ()), 0.0, found)


@array_function(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """Return the norm of vectors or matrices, as `numpy.linalg.norm`.

    Norms neither overflow nor underflow on the way, and their derivative at 0 is 0.

    Args:
        x: An array; of any shape where `ord` and `axis` are None.
        ord: None or 2, 1, inf, -inf, 0 or another number for vectors; None or "fro", 1, -1, inf,
            -inf for matrices.
        axis: The vectors' axis, or the two axes of the matrices.
        keepdims: Keep the axes, with extent 1.

    Raises:
        UnsupportedError: An order that needs singular values.
    """
    node = _float(x)
    rank = node.type.rank
    if axis is None and ord is None:
        axes = tuple(range(rank))
        return _kept(
            _vector(node, None, axes) if axes else node.graph.call("abs", node),
            node,
            axes,
            keepdims,
        )
    given = (
        (axis if isinstance(axis, tuple) else (axis,)) if axis is not None else tuple(range(rank))
    )
    plain = tuple(normalized_axes(a, rank)[0] for a in given)
    if len(plain) == 1:
        return _kept(_vector(node, ord, plain), node, plain, keepdims)
    return _kept(_matrix(node, ord, (plain[0], plain[1])), node, plain, keepdims)


@array_function(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Array:
    """Return the norm over axes taken together, as `numpy.linalg.vector_norm`."""
    node = _float(x)
    axes = normalized_axes(axis, node.type.rank)
    return _kept(_vector(node, ord, axes), node, axes, keepdims)


@array_function(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Return the norm of the matrices of the last two axes, as `numpy.linalg.matrix_norm`."""
    node = _float(x)
    axes = (node.type.rank - 2, node.type.rank - 1)
    return _kept(_matrix(node, ord, axes), node, axes, keepdims)


@array_function(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Array:
    """Multiply a square matrix, or its inverse, n times, as `numpy.linalg.matrix_power`."""
    if n < 0:
        a, n = inv(a), -n
    result: Any = None
    square = a
    while n:
        if n % 2:
            result = square if result is None else result @ square
        n //= 2
        square = square @ square if n else square
    if result is None:
        return Array((eye(a.shape[-1], dtype=a.dtype) + a * 0).node)
    return Array(result.node)


@array_function(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """Multiply matrices in the order of least cost, as `numpy.linalg.multi_dot`."""
    del out
    first, last = np.ndim(arrays[0]) == 1, np.ndim(arrays[-1]) == 1
    names = "abcdefghijklmnopqrstuvwxyz"
    groups = [names[i : i + 2] for i in range(len(arrays))]
    groups[0] = groups[0][1:] if first else groups[0]
    groups[-1] = groups[-1][:1] if last else groups[-1]
    output = ("" if first else "a") + ("" if last else groups[-1][-1])
    return np.einsum(",".join(groups) + "->" + output, *arrays)


@array_function(np.cross, np.linalg.cross)
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    """Return the vector product of vectors of three elements, as `numpy.cross`."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = np.moveaxis(a, axisa, 0), np.moveaxis(b, axisb, 0)
    if x.shape[0] != 3 or y.shape[0] != 3:
        raise UnsupportedError(
            explain(
                "cross takes vectors of three elements",
                f"extents  {x.shape[0]}, {y.shape[0]}",
                f"at  {user_line()}",
            )
        )
    parts = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
    return np.moveaxis(np.stack(parts), 0, axisc)


# NumPy has these twice, here with the axes of the array API.
matmul: Final = linear.matmul
outer: Final = linear.outer
tensordot: Final = linear.tensordot
vecdot: Final = linear.vecdot
matrix_transpose: Final = shape.matrix_transpose


@array_function(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """Return the diagonals of the matrices of the last two axes, as `numpy.linalg.diagonal`."""
    result: Array = diagonal_of(x, offset, -2, -1)
    return result


@array_function(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Return the traces of the matrices of the last two axes, as `numpy.linalg.trace`."""
    result: Array = trace_of(x, offset, -2, -1, dtype)
    return result


for _here, _there in (
    (np.linalg.matmul, np.matmul), (np.linalg.outer, np.outer),
    (np.linalg.tensordot, np.tensordot), (np.linalg.vecdot, np.vecdot),
    (np.linalg.matrix_transpose, np.matrix_transpose),
):  # fmt: skip
    IMPLEMENTATIONS.setdefault(_here, IMPLEMENTATIONS[_there])


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
