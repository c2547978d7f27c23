"""Systems of equations and what elimination gives on the way, under NumPy's and SciPy's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from chainrule.errors import ShapeError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_strong,
    broadcast_shape,
    broadcast_to_shape,
    graph_of,
    node_of,
    reshape,
    resolve,
)
from chainrule.frontend.trace import trace
from chainrule.frontend.value import describe, refuse
from chainrule.ir.dims import show_extent, size_of
from chainrule.ir.graph import Node
from chainrule.numpy.nodes import permuted
from chainrule.ops._matrices import diagonal, identity
from chainrule.ops.linalg import lu, parity

__all__ = ["SlogdetResult", "cholesky", "det", "inv", "slogdet", "solve", "solve_triangular"]


class SlogdetResult(NamedTuple):
    """The sign and the logarithm of the absolute value of determinants."""

    sign: Array
    logabsdet: Array


def _floats(*args: Any) -> list[Node]:
    """Bring operands into one graph and the floating-point dtype that NumPy computes in."""
    operands = [as_strong(x) for x in args]
    dtype = resolve(np.true_divide, [operands[0], operands[-1]])[-1]
    graph = graph_of(operands)
    return [node_of(x, graph, dtype) for x in operands]


def _matrix(name: str, a: Any) -> Node:
    (node,) = _floats(a)
    _check_square(name, node)
    return node


def _check_square(name: str, a: Node) -> None:
    if a.type.rank < 2:
        raise ShapeError(
            explain(f"{name}: a matrix has two axes, this array has {a.type.rank}",
                    f"a  {describe(a)}", f"at  {user_line()}",
                    hint="the axes before the last two count matrices")
        )  # fmt: skip
    rows, columns = a.shape[-2:]
    if rows != columns:
        raise ShapeError(
            explain(f"{name}: the matrix is not square: {show_extent(rows)} rows, "
                    f"{show_extent(columns)} columns", f"a  {describe(a)}", f"at  {user_line()}",
                    hint="a system with more equations than unknowns is a least-squares problem; "
                    "name both extents alike where they are known at the call alone")
        )  # fmt: skip


@array_function(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Array:
    """Return the triangular factor of positive definite matrices, as `numpy.linalg.cholesky`.

    Of a traced matrix its symmetric part (a + aᵀ)/2 is factored, so that derivatives with respect
    to `a` are symmetric; NumPy, which computes with plain arrays, reads the lower triangle alone.

    Args:
        a: Symmetric matrices, shape (..., n, n).
        upper: Return the upper triangular factor, the transposed one.

    Returns:
        Shape (..., n, n): L with L Lᵀ = a and zeros above the diagonal.  Where a traced matrix is
        not positive definite, its triangle is NaN; of a plain one NumPy raises `LinAlgError`.
        n³/3 operations.

    Raises:
        ShapeError: The last two extents differ.

    >>> cholesky(np.array([[4.0, 2.0], [2.0, 5.0]])).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    node = _matrix("cholesky", a)
    turned = _turned(node)
    factor = node.graph.call("cholesky", (node + turned) * 0.5)
    return Array(_turned(factor) if upper else factor)


def _turned(x: Node) -> Node:
    last = x.type.rank - 1
    return permuted(x, (*range(last - 1), last, last - 1))


def _solved(name: str, a: Any, b: Any, system: Callable[[Node, Node], Node]) -> Array:
    """Solve systems whose leading axes broadcast; `b` is a vector if it has one axis."""
    x, y = _floats(a, b)
    _check_square(name, x)
    vector = y.type.rank == 1
    if not y.type.rank or x.shape[-1] != y.shape[-1 if vector else -2]:
        rows = show_extent(y.shape[-1 if vector else -2]) if y.type.rank else "no"
        raise ShapeError(
            explain(f"{name}: the right-hand side has {rows} rows, the matrix "
                    f"{show_extent(x.shape[-1])}", f"a  {describe(x)}", f"b  {describe(y)}",
                    f"at  {user_line()}",
                    hint="b is one vector (n,), or matrices (..., n, k); "
                    "give stacked vectors an axis with b[..., None]")
        )  # fmt: skip
    if vector:
        y = reshape(y, (*y.shape, 1))
    if x.type.rank == 2:
        # One matrix: every right-hand side is a column.
        last = y.type.rank - 1
        inner = permuted(y, (last - 1, *range(last - 1), last))
        wide = reshape(inner, (inner.shape[0], size_of(inner.shape[1:])))
        solved = reshape(system(x, wide), inner.shape)
        z = permuted(solved, (*range(1, last), 0, last))
    else:
        lead = broadcast_shape([x.shape[:-2], y.shape[:-2]], [Array(x), Array(y)])
        z = system(
            broadcast_to_shape(x, (*lead, *x.shape[-2:])),
            broadcast_to_shape(y, (*lead, *y.shape[-2:])),
        )
    return Array(reshape(z, z.shape[:-1]) if vector else z)


@array_function(np.linalg.solve)
def solve(a: Any, b: Any) -> Array:
    """Return x with a x = b, as `numpy.linalg.solve`.

    By elimination with row exchanges.  The derivative solves with the transposed matrix and the
    same factors, so a gradient costs n² operations a column more, not another elimination.

    Args:
        a: Matrices, shape (..., n, n).
        b: One vector, shape (n,), or matrices of columns, shape (..., n, k).

    Returns:
        Shape (..., n) for a vector, else (..., n, k); leading axes broadcast.  Where a traced
        matrix is singular, infinities and NaN; of a plain one NumPy raises `LinAlgError`.
        2n³/3 operations, and 2n² a column.

    Raises:
        ShapeError: A matrix is not square, or extents do not agree.

    >>> solve(np.array([[0.0, 2.0], [4.0, 0.0]]), np.array([2.0, 8.0])).tolist()
    [2.0, 1.0]
    """
    return _solved("solve", a, b, lambda x, y: x.graph.call("solve", x, y, transposed=False))


_TRANSPOSED: Final[dict[Any, bool]] = {
    0: False, 1: True, 2: True, "N": False, "T": True, "C": True,
}  # fmt: skip


def _plain_triangular(a: Any, b: Any, **given: Any) -> Any:
    arrays = np.asarray(a), np.asarray(b)
    made = trace(lambda x, y: solve_triangular(x, y, **given), *arrays)
    return made.run(*arrays)[()]


@array_function(_plain_triangular)
def solve_triangular(
    a: Any, b: Any, *, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Array:
    """Return x with a x = b for triangular matrices, as `scipy.linalg.solve_triangular`.

    Args:
        a: Matrices, shape (..., n, n), of which one triangle is read.
        b: One vector, shape (n,), or matrices of columns, shape (..., n, k).
        trans: 0 or "N" solves a x = b; 1, 2, "T" or "C" solve aᵀ x = b.
        lower: Read the lower triangle, not the upper one.
        unit_diagonal: Take 1 for every element of the diagonal; it is not read.

    Returns:
        Shape (..., n) for a vector, else (..., n, k); leading axes broadcast.  A zero on the
        diagonal gives infinities and NaN.  n² operations a column.

    Raises:
        ShapeError: A matrix is not square, or extents do not agree.

    >>> solve_triangular(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([3.0, 4.0])).tolist()
    [1.0, 1.0]
    """
    if trans not in _TRANSPOSED:
        refuse(f"solve_triangular: trans={trans!r} is unknown", None, "trans is 0, 1 or 2")
    given = {"lower": bool(lower), "transposed": _TRANSPOSED[trans],
             "unit_diagonal": bool(unit_diagonal)}  # fmt: skip
    return _solved(
        "solve_triangular", a, b, lambda x, y: x.graph.call("triangular_solve", x, y, **given)
    )


@array_function(np.linalg.inv)
def inv(a: Any) -> Array:
    """Return inverse matrices, as `numpy.linalg.inv`; `solve(a, b)` is cheaper than `inv(a) @ b`.

    Args:
        a: Matrices, shape (..., n, n).

    Returns:
        Shape (..., n, n).  Where a traced matrix is singular, infinities and NaN; of a plain one
        NumPy raises `LinAlgError`.

    Raises:
        ShapeError: The last two extents differ.

    >>> inv(np.array([[0.0, 2.0], [4.0, 0.0]])).tolist()
    [[0.0, 0.25], [0.5, 0.0]]
    """
    node = _matrix("inv", a)
    return Array(node.graph.call("solve", node, identity(node), transposed=False))


@array_function(np.linalg.det)
def det(a: Any) -> Array:
    """Return determinants, as `numpy.linalg.det`.

    The derivative is the matrix of cofactors, det(a) a⁻ᵀ where there is an inverse, and right where
    there is none.  So are second derivatives of matrices of up to 8 rows; those of larger ones, and
    of ones with a named extent, are made with the inverse.

    Args:
        a: Matrices, shape (..., n, n).

    Returns:
        Shape (...).  2n³/3 operations; `slogdet` where the product of the pivots may overflow.

    Raises:
        ShapeError: The last two extents differ.

    >>> round(float(det(np.array([[0.0, 2.0], [4.0, 0.0]]))), 6)
    -8.0
    """
    node = _matrix("det", a)
    return Array(node.graph.call("det", node))


@array_function(np.linalg.slogdet)
def slogdet(a: Any) -> SlogdetResult:
    """Return sign and logarithm of the size of determinants, as `numpy.linalg.slogdet`.

    Args:
        a: Matrices, shape (..., n, n).

    Returns:
        `sign` (1, -1, or 0 where singular) and `logabsdet` (-inf where singular), each of shape
        (...).  The derivative of the second is a⁻ᵀ.

    Raises:
        ShapeError: The last two extents differ.

    >>> sign, logabsdet = slogdet(np.array([[0.0, 2.0], [4.0, 0.0]]))
    >>> float(sign), round(float(logabsdet), 6)
    (-1.0, 2.079442)
    """
    node = _matrix("slogdet", a)
    graph, eliminated = node.graph, lu(node)
    signs = graph.call("sign", diagonal(eliminated))
    sign = graph.call("prod", signs, axes=(signs.type.rank - 1,)) * parity(eliminated)
    return SlogdetResult(Array(sign), Array(graph.call("logabsdet", node)))
