"""Cofactors of matrices, the derivative of determinants: right for singular matrices too.

The cofactor of an element is the determinant of what is left without its row and its column, up to
the sign.  Where a matrix has an inverse, cofactors are det(a) a⁻ᵀ; here they are made of the same
elimination without a division by a pivot that may be 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import F64, I64, Array, Type
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
    is_odd,
    lu,
    parity,
    solve_l,
    triangular_solve,
    unpermuted,
)
from chainrule.ops.pivoting import along, eliminated

__all__ = ["cofactors", "cofactors_slope"]

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
    u = u / along(size, u, 0)
    pivots = along(diagonal(u), u, 1)
    graph, (rows, columns) = u.graph, positions(u)
    between = on_diagonal(part(u * _between(u), lower=False, diagonal=False),
                          u.graph.full_like(u, 1.0))  # fmt: skip
    g = triangular_solve(between, identity(u), lower=False, transposed=False, unit_diagonal=True)
    before = _product(pivots, columns < rows)
    after = _product(pivots, columns > rows)
    others = _product(along(size, u, 1), graph.call("not_equal", columns, rows))
    adjugate = (
        along(before, u, 0) * part(g, lower=False, diagonal=True) * along(after * others, u, 1)
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
    before = along(graph.call("gather", pivots, left, batch=last - 1), u, 1)
    beside = columns - rows <= 1
    return graph.call(
        "recurrence", graph.select(beside, 0.0, before),
        graph.select(beside, graph.full_like(u, 1.0), 0.0), axis=last, reverse=False,
    )  # fmt: skip


def _derivative(a: Node, t: Node) -> Node:
    """Return the derivative of cofactors along t, which is its own transpose.

    An element's is the sum of the products of t with the cofactors of the element's minor.  Of
    small matrices it is made like this, and so are its derivatives in turn.
    """
    n = a.shape[-1]
    if n in (0, 1):
        return t.graph.full_like(t, 0.0)
    if not isinstance(n, int) or n > MINORS:
        return cofactors_slope(a, t)
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
        pull=lambda g, y, a: (_derivative(a, g),),
        push=lambda tangents, y, a: _derivative(a, tangents[0]),
        batch=each_matrix("cofactors"), expand=_expand, apart=matrices_apart,
        notation=Notation("cofactors({0})", r"\operatorname{{cof}}({0})"),
    )
)  # fmt: skip

# The derivative of cofactors of matrices of any size.  `t` may have axes before those that count
# matrices: directions, for which one matrix is factored once.


def _slope_type(a: Type, t: Type) -> Type:
    square("cofactors_slope")(a)
    square("cofactors_slope")(t)
    assert t.shape[t.rank - a.rank :] == a.shape, f"cofactors_slope: {t} is along {a}"
    assert a.dtype is t.dtype, f"cofactors_slope: {a} and {t} have one dtype"
    return t


def _slope_value(a: Array, t: Array) -> Array:
    """Return the derivative by a singular value decomposition."""
    n, found = a.shape[-1], np.zeros_like(t)
    a = np.broadcast_to(a, t.shape)
    for i in np.ndindex(t.shape[:-2]):
        if not np.isfinite(a[i]).all():
            found[i] = np.nan
            continue
        u, s, vt = np.linalg.svd(a[i])
        inner = u.T @ t[i] @ vt.T
        pairs = [[[k for k in range(n) if k not in (i, j)] for j in range(n)] for i in range(n)]
        others = np.array([[s[k].prod() for k in row] for row in pairs]).reshape(n, n)
        found[i] = np.linalg.det(u) * np.linalg.det(vt) * u @ _of_diagonal(inner, others) @ vt
    return found


def _of_diagonal(t: Array, others: Array) -> Array:
    """Return the derivative at a diagonal matrix; others: products of all pivots but two."""
    n = len(t)
    pairs = np.where(np.eye(n, dtype=bool), 0, others)
    found: Array = np.diag(pairs @ np.diag(t)) - pairs * t.T
    return found


def _slope_expand(a: Node, t: Node) -> Node:
    """Write it as that of a diagonal matrix, between factors that have inverses.

    At the diagonal matrix of the d_i, the derivative along s has the elements -w[i, j] s[j, i], and
    on its diagonal the sums of w[i, k] s[k, k] over all other k; w[i, j] is the product of all d
    but d_i and d_j.
    """
    graph, more = a.graph, t.type.rank - a.type.rank
    lower, upper, pivots, rows, columns = eliminated(a)
    others = _but_two(along(pivots, a, 1))
    odd = _odd(rows, a).equals(_odd(columns, a))
    others = others * graph.select(odd, graph.full_like(a, 1.0), -1.0)

    def each(x: Node) -> Node:
        return graph.broadcast(
            x, (*t.shape[:more], *x.shape), tuple(range(more, more + x.type.rank))
        )

    lower, upper, others, rows, columns = map(each, (lower, upper, others, rows, columns))
    depth = t.type.rank - 2
    inner = turned(graph.call("gather", t, rows, batch=depth))
    inner = graph.call("gather", inner, columns, batch=depth)
    # Of the transposed t: (L⁻¹ t U⁻¹)ᵀ = U⁻ᵀ tᵀ L⁻ᵀ.
    inner = triangular_solve(upper, inner, lower=False, transposed=True, unit_diagonal=True)
    inner = triangular_solve(lower, turned(inner), lower=True, transposed=False, unit_diagonal=True)
    sums = graph.call("sum", others * along(diagonal(inner), inner, 1), axes=(depth + 1,))
    found = on_diagonal(-others * turned(inner), along(sums, inner, 0))
    found = triangular_solve(lower, found, lower=True, transposed=True, unit_diagonal=True)
    found = turned(found)
    found = triangular_solve(upper, found, lower=False, transposed=False, unit_diagonal=True)
    found = graph.call("scatter_add", found, columns, size=a.shape[-1], batch=depth)
    found = graph.call("scatter_add", turned(found), rows, size=a.shape[-1], batch=depth)
    # What is not finite has no factors.
    missing = each(total(a * 0.0))
    return found + graph.broadcast(missing, t.shape, tuple(range(depth)))


def _but_two(pivots: Node) -> Node:
    """Return for each two places the product of all pivots but those; 0 for a place with itself.

    The pivots stand along the rows of a matrix.
    """
    graph, (rows, columns) = pivots.graph, positions(pivots)
    first = graph.call("minimum", rows, columns)
    last = graph.call("maximum", rows, columns)
    before, after = _product(pivots, columns < rows), _product(pivots, columns > rows)
    between = _between(on_diagonal(graph.full_like(pivots, 0.0), pivots))
    between = graph.select(rows < columns, between, turned(between))

    def at(x: Node, places: Node) -> Node:
        return graph.call("gather", x, places, batch=x.type.rank - 1)

    apart = at(before, first) * between * at(after, last)
    return graph.select(rows.equals(columns), 0.0, apart)


def _odd(order: Node, like: Node) -> Node:
    """Tell for every element of a matrix whether its rows were put in an odd order."""
    graph, lead = order.graph, tuple(range(order.type.rank - 1))
    return graph.broadcast(is_odd(order), like.shape, lead)


def _spread(a: Node, t: Node) -> Node:
    return a.graph.broadcast(a, t.shape, tuple(range(t.type.rank - a.type.rank, t.type.rank)))


def _third(a: Node, t: Node, s: Node) -> Node:
    """Return the second derivative of cofactors along t and s, of a matrix that has an inverse."""
    inverse = a.graph.call("solve", a, identity(a), transposed=True)
    y, inverse = _spread(cofactors(a), t), _spread(inverse, t)

    def each(x: Node) -> Node:
        return x.graph.broadcast(x, t.shape, tuple(range(x.type.rank)))

    by_t, by_s = product(t, inverse, (0, 0)), product(s, inverse, (0, 0))
    along_t, along_s = total(t * inverse), total(s * inverse)
    both = total(by_t * turned(by_s))
    one, other = product(y, by_t), product(y, by_s)
    return (
        each(along_t * along_s - both) * y - each(along_s) * one - each(along_t) * other
        + product(one, by_s) + product(other, by_t)
    )  # fmt: skip


def _slope_pull(g: Node, _y: Node, a: Node, t: Node) -> tuple[Node, Node]:
    by_a = _third(a, t, g)
    axes = tuple(range(t.type.rank - a.type.rank))
    by_a = a.graph.call("sum", by_a, axes=axes) if axes else by_a
    return by_a, cofactors_slope(a, g)


def _slope_push(tangents: tuple[Node | None, Node | None], _y: Node, a: Node, t: Node) -> Node:
    ta, tt = tangents
    parts = [] if ta is None else [_third(a, t, _spread(ta, t))]
    parts += [] if tt is None else [cofactors_slope(a, tt)]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _slope_batch(args: Sequence[Node], flags: Sequence[bool], size: Extent) -> Node:
    a, t = args
    graph = a.graph
    if not flags[1]:
        t = graph.broadcast(t, (size, *t.shape), tuple(range(1, t.type.rank + 1)))
    if flags[0]:
        more = t.type.rank - a.type.rank
        shape = (size, *t.shape[1 : 1 + more], *a.shape[1:])
        a = graph.broadcast(a, shape, (0, *range(1 + more, t.type.rank)))
    return graph.call("cofactors_slope", a, t)


def _slope_apart(_y: Node, a: Node, t: Node) -> list[Mapping[int, int]]:
    more = t.type.rank - a.type.rank
    return [
        {i + more: i for i in range(a.type.rank - 2)}, {i: i for i in range(t.type.rank - 2)},
    ]  # fmt: skip


cofactors_slope: Final[Op] = declare(
    Op(
        "cofactors_slope", Kind.COMPOSITE, (), _slope_type, _slope_value, Special(),
        pull=_slope_pull, push=_slope_push, batch=_slope_batch, expand=_slope_expand,
        apart=_slope_apart,
        notation=Notation("cofactors'({0}, {1})", r"\operatorname{{cof}}'({0}, {1})"),
    )
)  # fmt: skip
