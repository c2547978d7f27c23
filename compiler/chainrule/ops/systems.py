"""Systems and determinants of general matrices, by elimination with row exchanges.

Composites: their derivatives are again systems with the same matrix, not derivatives of its
factors.  Equal expressions are one node, so a system, its adjoint and a determinant share one `lu`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import Array, Type
from chainrule.ops._declare import declare
from chainrule.ops._matrices import (
    diagonal,
    each_matrix,
    each_system,
    identity,
    matrices_apart,
    product,
    square,
    system,
    total,
)
from chainrule.ops.cofactors import cofactors
from chainrule.ops.linalg import (
    by_matrix,
    lu,
    parity,
    permuted,
    solve_l,
    solve_u,
    unpermuted,
)

__all__ = ["det", "logabsdet", "solve"]

Pair = tuple[Node | None, Node | None]

# solve: a y = b, or aᵀ y = b


def _solve_value(a: Array, b: Array, *, transposed: bool) -> Array:
    columns = b.shape[-1]
    if transposed:
        a = a.mT
    both = np.concatenate([a, b], axis=-1)
    n = a.shape[-1]
    return by_matrix(both, lambda m: np.linalg.solve(m[:, :n], m[:, n:]), (n, columns))


def _solve_pull(g: Node, y: Node, a: Node, _b: Node, *, transposed: bool) -> tuple[Node, Node]:
    gb = solve(a, g, transposed=not transposed)
    return -(product(y, gb, (1, 1)) if transposed else product(gb, y, (1, 1))), gb


def _solve_push(tangents: Pair, y: Node, a: Node, _b: Node, *, transposed: bool) -> Node:
    ta, drive = tangents
    if ta is not None:
        moved = product(ta, y, (0 if transposed else 1, 0))
        drive = -moved if drive is None else drive - moved
    assert drive is not None, "one of the two has a tangent"
    return solve(a, drive, transposed=transposed)


def _solve_expand(a: Node, b: Node, *, transposed: bool) -> Node:
    y = lu(a)
    if transposed:
        inner = solve_u(y, b, transposed=True)
        return unpermuted(solve_l(y, inner, transposed=True), y)
    return solve_u(y, solve_l(y, permuted(b, y)))


solve: Final[Op] = declare(
    Op(
        "solve", Kind.COMPOSITE, ("transposed",), system("solve"), _solve_value, Special(),
        pull=_solve_pull, push=_solve_push, batch=each_system("solve"), expand=_solve_expand,
        apart=matrices_apart,
        notation=Notation("solve({0}, {1})", r"\operatorname{{solve}}({0}, {1})"),
    )
)  # fmt: skip

# Determinants


def _spread(g: Node, a: Node) -> Node:
    return g.graph.broadcast(g, a.shape, tuple(range(g.type.rank)))


def _inverse_transposed(a: Node) -> Node:
    return solve(a, identity(a), transposed=True)


def _det_expand(a: Node) -> Node:
    y = lu(a)
    pivots = diagonal(y)
    product_of = a.graph.call("prod", pivots, axes=(pivots.type.rank - 1,))
    return product_of * parity(y)


def _logabsdet_expand(a: Node) -> Node:
    pivots = diagonal(lu(a))
    graph = a.graph
    logs = graph.call("log", graph.call("abs", pivots))
    return graph.call("sum", logs, axes=(logs.type.rank - 1,))


det: Final[Op] = declare(
    Op(
        "det", Kind.COMPOSITE, (), lambda a: Type(a.dtype, square("det")(a).shape[:-2]),
        np.linalg.det, Special(),
        pull=lambda g, y, a: (_spread(g, a) * cofactors(a),),
        push=lambda tangents, y, a: total(tangents[0] * cofactors(a)),
        batch=each_matrix("det"), expand=_det_expand,
        apart=matrices_apart,
        notation=Notation("det({0})", r"\det({0})"),
    )
)  # fmt: skip
logabsdet: Final[Op] = declare(
    Op(
        "logabsdet", Kind.COMPOSITE, (),
        lambda a: Type(a.dtype, square("logabsdet")(a).shape[:-2]),
        lambda a: np.linalg.slogdet(a)[1], Special(),
        pull=lambda g, y, a: (_spread(g, a) * _inverse_transposed(a),),
        push=lambda tangents, y, a: total(tangents[0] * _inverse_transposed(a)),
        batch=each_matrix("logabsdet"), expand=_logabsdet_expand,
        apart=matrices_apart,
        notation=Notation("logabsdet({0})", r"\log\left|\det({0})\right|"),
    )
)  # fmt: skip
