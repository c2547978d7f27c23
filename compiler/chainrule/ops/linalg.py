"""Triangular factors and the systems they solve.

Matrices are the last two axes; the axes before them count matrices.  Three primitives do all the
work of small dense linear algebra, and each derivative is made of such solves and products.  The
general system and determinants, in `systems`, are composites of them.

Derivatives: M. Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008; I. Murray, "Differentiation of the Cholesky decomposition",
arXiv:1602.07527.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import I64, Array, Type
from chainrule.ops._declare import declare
from chainrule.ops._matrices import (
    each_matrix,
    each_system,
    halved,
    matrices_apart,
    on_diagonal,
    part,
    product,
    square,
    system,
    turned,
)

__all__ = ["by_matrix", "cholesky", "factors", "is_odd", "lu", "parity", "permutation", "permuted",
           "solve_l",           "solve_u", "triangular_solve", "unpermuted"]  # fmt: skip

Pair = tuple[Node | None, Node | None]

# Cholesky: a = y yᵀ with y lower triangular; of a, the lower triangle is read


def by_matrix(a: Array, function: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Apply a function to each matrix; where NumPy refuses one, the result is NaN."""
    y = np.full((*a.shape[:-2], *shape), np.nan, dtype=a.dtype)
    for i in np.ndindex(a.shape[:-2]):
        try:
            y[i] = function(a[i])
        except np.linalg.LinAlgError:
            continue
    return y


def _cholesky_value(a: Array) -> Array:
    n = a.shape[-1]
    return np.tril(by_matrix(a, np.linalg.cholesky, (n, n)))


def _cholesky_pull(g: Node, y: Node, _a: Node) -> tuple[Node]:
    # With P the halved lower triangle of yᵀ g, the cotangent of a symmetric a is y⁻ᵀ P y⁻¹ made
    # symmetric; both triangles' shares go to the lower one, which alone is read.
    def back(x: Node) -> Node:
        return triangular_solve(y, x, lower=True, transposed=True, unit_diagonal=False)

    s = back(turned(back(halved(product(y, g, (0, 0))))))
    both = part(s + turned(s), lower=True, diagonal=False)
    return (on_diagonal(both, s),)


def _cholesky_push(tangents: tuple[Node], y: Node, _a: Node) -> Node:
    (t,) = tangents
    below = part(t, lower=True, diagonal=False)
    symmetric = on_diagonal(below + turned(below), t)

    def forth(x: Node) -> Node:
        return triangular_solve(y, x, lower=True, transposed=False, unit_diagonal=False)

    return product(y, halved(forth(turned(forth(symmetric)))))


cholesky: Final[Op] = declare(
    Op(
        "cholesky", Kind.FACTOR, (), square("cholesky"), _cholesky_value, Special(),
        pull=_cholesky_pull, push=_cholesky_push, batch=each_matrix("cholesky"), flops=1,
        apart=matrices_apart,
        notation=Notation("cholesky({0})", r"\operatorname{{cholesky}}({0})"),
    )
)  # fmt: skip

# triangular_solve: a y = b, or aᵀ y = b; of a, one triangle is read


def _triangular_value(
    a: Array, b: Array, *, lower: bool, transposed: bool, unit_diagonal: bool
) -> Array:
    if transposed:
        a, lower = a.mT, not lower
    y, n = np.array(b), a.shape[-1]
    with np.errstate(all="ignore"):
        for i in range(n) if lower else range(n - 1, -1, -1):
            done = slice(0, i) if lower else slice(i + 1, n)
            y[..., i, :] -= (a[..., i, None, done] @ y[..., done, :])[..., 0, :]
            if not unit_diagonal:
                y[..., i, :] /= a[..., i, i, None]
    return y


def _triangular_pull(
    g: Node, y: Node, a: Node, _b: Node, *, lower: bool, transposed: bool, unit_diagonal: bool
) -> tuple[Node, Node]:
    gb = triangular_solve(a, g, lower=lower, transposed=not transposed, unit_diagonal=unit_diagonal)
    outer = product(y, gb, (1, 1)) if transposed else product(gb, y, (1, 1))
    return -part(outer, lower=lower, diagonal=not unit_diagonal), gb


def _triangular_push(
    tangents: Pair, y: Node, a: Node, _b: Node, *, lower: bool, transposed: bool,
    unit_diagonal: bool,
) -> Node:  # fmt: skip
    ta, drive = tangents
    if ta is not None:
        moved = product(
            part(ta, lower=lower, diagonal=not unit_diagonal), y, (0 if transposed else 1, 0)
        )
        drive = -moved if drive is None else drive - moved
    assert drive is not None, "one of the two has a tangent"
    return triangular_solve(
        a, drive, lower=lower, transposed=transposed, unit_diagonal=unit_diagonal
    )


triangular_solve: Final[Op] = declare(
    Op(
        "triangular_solve", Kind.FACTOR, ("lower", "transposed", "unit_diagonal"),
        system("triangular_solve"), _triangular_value, Special(),
        pull=_triangular_pull, push=_triangular_push, batch=each_system("triangular_solve"),
        flops=3, apart=matrices_apart,
        notation=Notation("solve_triangular({0}, {1})", r"\operatorname{{solve}}({0}, {1})"),
    )
)  # fmt: skip

# lu: rows of a, in the order `permutation(y)`, are the product of the two factors in y.
# Column n of y tells, as floats, which row of a each row was.


def factors(y: Node) -> Node:
    """Return both factors in one matrix: L below the diagonal (1 on it), U on it and above."""
    none, steps = (0,) * y.type.rank, (1,) * y.type.rank
    return y.graph.call("slice", y, starts=none, shape=(*y.shape[:-1], y.shape[-2]), steps=steps)


def permutation(y: Node) -> Node:
    """Return which row of the matrix each row of its factors is made of."""
    none, steps = (0,) * (y.type.rank - 1), (1,) * y.type.rank
    last = y.graph.call(
        "slice", y, starts=(*none, y.shape[-2]), shape=(*y.shape[:-1], 1), steps=steps
    )
    return y.graph.call("cast", y.graph.call("reshape", last, shape=y.shape[:-1]), dtype=I64)


def permuted(x: Node, y: Node) -> Node:
    """Exchange rows as they were exchanged in the factored matrix."""
    return x.graph.call("gather", x, permutation(y), batch=x.type.rank - 2)


def unpermuted(x: Node, y: Node) -> Node:
    """Put rows back where they were in the factored matrix."""
    return x.graph.call("scatter_add", x, permutation(y), size=x.shape[-2], batch=x.type.rank - 2)


def parity(y: Node) -> Node:
    """Return -1 where an odd number of exchanges ordered the rows of a factored matrix, else 1."""
    odd = is_odd(permutation(y))
    one = y.graph.full(odd.shape, 1.0, y.dtype)
    return y.graph.select(odd, -one, one)


def is_odd(order: Node) -> Node:
    """Tell whether an odd number of exchanges puts rows in this order."""
    graph, axis = order.graph, order.type.rank - 1
    wide = (*order.shape, order.shape[-1])
    lead = tuple(range(axis))
    before = graph.broadcast(order, wide, (*lead, axis))
    after = graph.broadcast(order, wide, (*lead, axis + 1))
    inverted = part(graph.call("cast", after < before, dtype=I64), lower=False, diagonal=False)
    count = graph.call("sum", inverted, axes=(axis, axis + 1))
    return (count & 1) > 0


def solve_l(y: Node, b: Node, *, transposed: bool = False) -> Node:
    """Solve with the unit lower factor, or its transpose."""
    return triangular_solve(factors(y), b, lower=True, transposed=transposed, unit_diagonal=True)


def solve_u(y: Node, b: Node, *, transposed: bool = False) -> Node:
    """Solve with the upper factor, or its transpose."""
    return triangular_solve(factors(y), b, lower=False, transposed=transposed, unit_diagonal=False)


def _lu_one(a: Array) -> Array:
    n = a.shape[0]
    y = np.column_stack([a, np.arange(n, dtype=a.dtype)])
    with np.errstate(all="ignore"):
        for k in range(n):
            p = k + int(np.argmax(np.nan_to_num(np.abs(y[k:, k]), nan=-1, posinf=np.inf)))
            y[[k, p]] = y[[p, k]]
            y[k + 1 :, k] /= y[k, k] if y[k, k] != 0 else 1
            y[k + 1 :, k + 1 : n] -= np.outer(y[k + 1 :, k], y[k, k + 1 : n])
    return y


def _lu_value(a: Array) -> Array:
    n = a.shape[-1]
    return by_matrix(a, _lu_one, (n, n + 1))


def _lu_pull(g: Node, y: Node, _a: Node) -> tuple[Node]:
    f = factors(y)
    g = factors(g)
    unit = on_diagonal(f, f.graph.full_like(f, 1.0))
    below = part(product(part(unit, lower=True, diagonal=True), g, (0, 0)),
                  lower=True, diagonal=False)  # fmt: skip
    above = part(product(g, part(f, lower=False, diagonal=True), (1, 1)),
                  lower=False, diagonal=True)  # fmt: skip
    inner = solve_l(y, below + above, transposed=True)
    return (unpermuted(turned(solve_u(y, turned(inner))), y),)


def _lu_push(tangents: tuple[Node], y: Node, _a: Node) -> Node:
    (t,) = tangents
    f = factors(y)
    unit = on_diagonal(f, f.graph.full_like(f, 1.0))
    m = solve_l(y, permuted(t, y))
    m = turned(solve_u(y, turned(m), transposed=True))
    below = product(part(unit, lower=True, diagonal=True), part(m, lower=True, diagonal=False))
    above = product(part(m, lower=False, diagonal=True), part(f, lower=False, diagonal=True))
    rank = y.type.rank
    return y.graph.call(
        "place", below + above, starts=(0,) * rank, shape=y.shape, steps=(1,) * rank
    )


def _lu_type(a: Type) -> Type:
    square("lu")(a)
    return Type(a.dtype, (*a.shape[:-1], a.shape[-1] + 1))


lu: Final[Op] = declare(
    Op(
        "lu", Kind.FACTOR, (), _lu_type, _lu_value, Special(), pull=_lu_pull, push=_lu_push,
        batch=each_matrix("lu"), flops=2, apart=matrices_apart,
        notation=Notation("lu({0})", r"\operatorname{{lu}}({0})"),
    )
)  # fmt: skip
