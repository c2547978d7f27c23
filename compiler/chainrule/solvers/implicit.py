"""Derivatives of solutions by the implicit function theorem.

A solution x(w) of F(x, w) = 0 moves with its parameters so that F stays 0:

    J dx + F_w dw = 0,  J = ∂F/∂x,  hence  dx = -J⁻¹ F_w dw.

No step of the solver is differentiated, so the number of steps costs nothing and the solver may use
branches and tolerances as it likes.  The rule is written with the solution itself, so it can be
differentiated again: J and F_w are functions of (x(w), w).

Source: A. Griewank, A. Walther, Evaluating Derivatives (2008), chapter 15; M. Blondel et al.,
Efficient and Modular Implicit Differentiation (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

import chainrule.numpy as cnp
from chainrule.frontend.array import Array
from chainrule.frontend.context import tracing
from chainrule.frontend.operands import as_operand, node_of
from chainrule.ir.graph import Node
from chainrule.ops.control import Custom
from chainrule.solvers.calls import call_with, same_call
from chainrule.solvers.closed import floating
from chainrule.solvers.linear import MatVec, conjugate_gradients, gmres, linear_solve
from chainrule.transform import jacfwd, jvp

__all__ = ["DENSE", "implicitly", "solve_by_jacobian"]

DENSE: Final = 200
"The largest number of unknowns for which a Jacobian is formed, unless a caller says otherwise."
KRYLOV: Final = 300
"Vectors kept by GMRES between restarts, where derivatives are solved for."

Residual = Callable[[Any, Sequence[Any]], Any]


def implicitly(
    solve: Callable[[Any, Sequence[Any]], tuple[Any, ...]], residual: Residual, x0: Any,
    parameters: Sequence[Any], *, name: str, symmetric: bool = False, dense: bool = True,
) -> list[Any]:  # fmt: skip
    """Return `solve(x0, parameters)`; its first result x has the derivative of a root.

    Args:
        solve: Returns x, shape (n,), and what else is to be told of it, which has no derivative.
        residual: `residual(x, parameters)`, shape (n,), which is 0 at x.
        x0: Where to start, shape (n,); the solution does not depend on it.
        parameters: Arrays.
        name: What messages call it.
        symmetric: The residual is a gradient, so that its Jacobian is symmetric.
        dense: Form the Jacobian; else solve by its products alone.
    """
    made: list[Node] = []

    def push(args: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
        graph = args[0].graph
        with tracing(graph):
            x = Array(same_call(made[0], args))
            w = [Array(n) for n in args[1:]]
            at = [i for i, v in enumerate(w) if floating(v)]

            def of_floats(*values: Any) -> Any:
                full = list(w)
                for i, v in zip(at, values, strict=True):
                    full[i] = v
                return residual(x, full)

            others: list[Node | None] = [None] * (_floats(made[0]) - 1)
            if not at:
                return [None, *others]
            along = tuple(Array(tangents[1 + i]) for i in at)
            moved = jvp(of_floats, tuple(w[i] for i in at), along)[1]
            dx = solve_by_jacobian(residual, x, w, -moved, symmetric=symmetric, dense=dense)
            return [node_of(as_operand(dx), graph), *others]

    def of_leaves(start: Any, *w: Any) -> Any:
        return solve(start, w)

    return call_with(of_leaves, [x0, *parameters], Custom(name, push=push), made)


def _floats(made: Node) -> int:
    """Return how many results of a call have tangents."""
    return sum(x.dtype.is_float for x in made.attributes["body"].outputs)


def solve_by_jacobian(
    residual: Residual, x: Any, parameters: Sequence[Any], b: Any, *, symmetric: bool, dense: bool
) -> Any:
    """Return y with (∂residual/∂x) y = b, at x.

    By elimination where the Jacobian is formed; else by conjugate gradients where it is symmetric
    (and then positive definite, as at a minimum), by GMRES where not.
    """
    if dense:
        return cnp.linalg.solve(jacfwd(lambda z: residual(z, parameters)).traced(x), b)

    def family(w: Sequence[Any], v: Any) -> Any:
        return jvp(lambda z: residual(z, w[1:]), (w[0],), (v,))[1]

    return linear_solve(family, [x, *parameters], b, iterative(x, symmetric), symmetric=symmetric)


def iterative(x: Any, symmetric: bool) -> Callable[[MatVec, Any], Any]:
    """Return a solver of systems as large as a vector, to about the last digits.

    Where it does not get near them the result is NaN: a derivative that is a few percent off would
    not be noticed.
    """
    n = x.shape[0]
    eps = float(np.finfo(x.dtype).eps)
    tol, enough = 10 * eps, eps**0.5
    restart = min(n, KRYLOV) if isinstance(n, int) else KRYLOV

    def solve(matvec: MatVec, b: Any) -> Any:
        if symmetric:
            y = conjugate_gradients(matvec, b, tol=tol, max_steps=20 * n)
        else:
            y = gmres(matvec, b, tol=tol, restart=restart, max_restarts=20)
        near = cnp.linalg.norm(b - matvec(y)) <= enough * cnp.linalg.norm(b)
        return cnp.where(near, y, np.nan)

    return solve
