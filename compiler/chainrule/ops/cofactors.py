"""Cofactors of matrices, the derivative of determinants: right for singular matrices too.

The cofactor of an element is the determinant of what is left without its row and its column, up to
the sign.  Where a matrix has an inverse, cofactors are det(a) a⁻ᵀ; here they are made of the same
elimination without a division by a pivot that may be 0.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import F64, I64, Array
from chainrule.ops._declare import declare
from chainrule.ops._matrices import (
    diagonal,
    each_matrix,
    identity,
    matrices_apart,
    on_diagonal,
    part,
    positions,
    product,
    square,
    total,
    turned,
)
from chainrule.ops.linalg import (
    by_matrix,
    factors,
    lu,
    parity,
    solve_l,
    triangular_solve,
    unpermuted,
)

__all__ = ["cofactors"]

MINORS: Final = 8
"Rows up to which derivatives of cofactors are made of those of smaller matrices."


def _value(a: Array) -> Array:
    """Return cofactors by a singular value decomposition: exact for a matrix of any rank."""
    n = a.shape[-1]

    def one(a: Array) -> Array:
        u, s, vt = np.linalg.svd(a)
        others = np.where(np.eye(n, dtype=bool), 1, s).prod(-1)
        found: Array = np.linalg.det(u) * np.linalg.det(vt) * (u * others) @ vt
        return found

    return by_matrix(a, one, (n, n))


def _expand(a: Node) -> Node:
    """Write cofactors as those of the factors, whose product they are.

    The rows of u, over the sizes of their pivots, have pivots e of 1, -1 or 0.  The adjugate of
    such a triangle has the element [i, j] (e_0 ... e_{i-1}) g[i, j] (e_{j+1} ... e_{n-1}), where g
    is the inverse of the unit triangle with the elements u[k, j] (e_{k+1} ... e_{j-1}).
    """
    n = a.shape[-1]
    if n in (0, 1):
        return a.graph.full_like(a, 1.0)
    if n == 2:
        return _of_two(a)
    y = lu(a)
    u = part(factors(y), lower=False, diagonal=True)
    size = _scale(y, u)
    u = u / _along(size, u, 0)
    pivots = _along(diagonal(u), u, 1)
    graph, (rows, columns) = u.graph, positions(u)
    between = on_diagonal(part(u * _between(u), lower=False, diagonal=False),
                          u.graph.full_like(u, 1.0))  # fmt: skip
    g = triangular_solve(between, identity(u), lower=False, transposed=False, unit_diagonal=True)
    before = _product(pivots, columns < rows)
    after = _product(pivots, columns > rows)
    others = _product(_along(size, u, 1), graph.call("not_equal", columns, rows))
    adjugate = (
        _along(before, u, 0) * part(g, lower=False, diagonal=True) * _along(after * others, u, 1)
    )
    found = unpermuted(solve_l(y, turned(adjugate), transposed=True), y)
    return found * a.graph.broadcast(parity(y), a.shape, tuple(range(a.type.rank - 2)))


def _of_two(a: Node) -> Node:
    lead = a.type.rank - 2
    starts, steps = (0,) * lead + (1, 1), (1,) * lead + (-1, -1)
    turned_over = a.graph.call("slice", a, starts=starts, shape=a.shape, steps=steps)
    signs = a.graph.array(np.array([[1.0, -1.0], [-1.0, 1.0]]), a.dtype)
    return turned_over * a.graph.broadcast(signs, a.shape, (lead, lead + 1))


def _scale(y: Node, u: Node) -> Node:
    """Return the sizes of pivots, but 1 for those that are nothing beside their rows."""
    size = u.graph.call("abs", diagonal(y))
    longest = u.graph.call("max", u.graph.call("abs", u), axes=(u.type.rank - 1,))
    least = longest * (1e-150 if u.dtype is F64 else 1e-18)
    return u.graph.select(size > least, size, 1.0)


def _along(x: Node, like: Node, axis: int) -> Node:
    """Copy a vector for each matrix: as a column (axis 0) or as a row (axis 1)."""
    lead = like.type.rank - 2
    return x.graph.broadcast(x, like.shape, (*range(lead), lead + axis))


def _product(x: Node, where: Node) -> Node:
    """Multiply the elements of each row at which a condition holds."""
    chosen = x.graph.select(where, x, 1.0)
    return x.graph.call("prod", chosen, axes=(x.type.rank - 1,))


def _between(u: Node) -> Node:
    """Return for each row and column the product of the pivots between the two."""
    graph, last = u.graph, u.type.rank - 1
    rows, columns = positions(u)
    pivots = diagonal(u)
    places = graph.call("iota", length=u.shape[-1], dtype=I64)
    left = graph.broadcast(graph.call("maximum", places - 1, places * 0), pivots.shape, (last - 1,))
    before = _along(graph.call("gather", pivots, left, batch=last - 1), u, 1)
    beside = columns - rows <= 1
    return graph.call(
        "recurrence", graph.select(beside, 0.0, before),
        graph.select(beside, graph.full_like(u, 1.0), 0.0), axis=last, reverse=False,
    )  # fmt: skip


def _derivative(a: Node, y: Node, t: Node) -> Node:
    """Return the derivative of cofactors along t, which is its own transpose.

    An element's is the sum of the products of t with the cofactors of the element's minor.  Large
    matrices, and those of unknown size, are taken to have an inverse.
    """
    n = a.shape[-1]
    if n in (0, 1):
        return t.graph.full_like(t, 0.0)
    if not isinstance(n, int) or n > MINORS:
        inverse = a.graph.call("solve", a, identity(a), transposed=True)
        along = a.graph.broadcast(total(t * inverse), a.shape, tuple(range(a.type.rank - 2)))
        return along * y - product(y, product(t, inverse, (0, 0)))
    lead = a.type.rank - 2
    signs = a.graph.array((-1.0) ** np.add.outer(np.arange(n), np.arange(n)), a.dtype)
    found = total(_minors(t, n) * cofactors(_minors(a, n)))
    return found * a.graph.broadcast(signs, a.shape, (lead, lead + 1))


def _minors(a: Node, n: int) -> Node:
    """Return for each element the matrix without its row and column."""
    graph, lead = a.graph, a.shape[:-2]
    left = np.array([[k for k in range(n) if k != i] for i in range(n)]).reshape(n, n - 1)
    places = left[:, None, :, None] * n + left[None, :, None, :]
    index = graph.broadcast(
        graph.array(places, I64), (*lead, *places.shape), tuple(range(len(lead), len(lead) + 4))
    )
    flat = graph.call("reshape", a, shape=(*lead, n * n))
    return graph.call("gather", flat, index, batch=len(lead))


cofactors: Final[Op] = declare(
    Op(
        "cofactors", Kind.COMPOSITE, (), square("cofactors"), _value, Special(),
        pull=lambda g, y, a: (_derivative(a, y, g),),
        push=lambda tangents, y, a: _derivative(a, y, tangents[0]),
        batch=each_matrix("cofactors"), expand=_expand, apart=matrices_apart,
        notation=Notation("cofactors({0})", r"\operatorname{{cof}}({0})"),
    )
)  # fmt: skip
