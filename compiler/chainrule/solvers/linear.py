"""Systems of linear equations whose matrix is known by its products with vectors alone.

`conjugate_gradients` and `gmres` are plain functions of traced values; `linear_solve` adds the
derivative, which is a system of the same kind, so that it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.frontend.array import Array
from chainrule.frontend.context import tracing
from chainrule.frontend.operands import as_operand, node_of
from chainrule.ir.graph import Node
from chainrule.ops.control import Custom
from chainrule.solvers.calls import call_with, same_call
from chainrule.solvers.closed import floating, number
from chainrule.solvers.factors import least_squares
from chainrule.transform import fori_loop, jvp, vjp, while_loop

__all__ = ["MatVec", "conjugate_gradients", "gmres", "linear_solve"]

MatVec = Callable[[Any], Any]
Family = Callable[[Sequence[Any], Any], Any]
"""Products with a matrix that depends on parameters: `family(parameters, vector)`."""


class _Descent(NamedTuple):
    x: Any
    residual: Any
    direction: Any
    size: Any
    steps: Any


def conjugate_gradients(
    matvec: MatVec, b: Any, *, tol: float, max_steps: Any,
    preconditioner: MatVec = lambda r: r,
) -> Any:  # fmt: skip
    """Return x with A x = b for a symmetric positive definite matrix A.

    Hestenes and Stiefel (1952); with a preconditioner, Nocedal and Wright (2006), algorithm 5.3.
    Stops where the residual is `tol` times as long as `b`, or where a direction has no positive
    curvature.  One product a step, at most `max_steps`.

    Args:
        matvec: `matvec(v)` is A v.
        b: A vector, shape (n,).
        tol: The relative length of the residual at the end.
        max_steps: The largest number of steps.
        preconditioner: Approximates the solution of A z = r, as a symmetric positive matrix does.

    >>> a = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradients(lambda v: a @ v, np.array([3.0, 4.0]), tol=1e-12, max_steps=5).round(9)
    array([1., 1.])
    """
    least = tol * cnp.linalg.norm(b)
    z = preconditioner(b)
    size = b @ z

    def going(s: _Descent) -> Any:
        return (cnp.linalg.norm(s.residual) > least) & (s.size > 0) & (s.steps < max_steps)

    def step(s: _Descent) -> _Descent:
        image = matvec(s.direction)
        curvature = s.direction @ image
        usable = curvature > 0
        length = cnp.where(usable, s.size / cnp.where(usable, curvature, 1.0), 0.0)
        residual = s.residual - length * image
        z = preconditioner(residual)
        size = cnp.where(usable, residual @ z, 0.0)
        direction = z + size / s.size * s.direction
        return _Descent(s.x + length * s.direction, residual, direction, size, s.steps + 1)

    start = _Descent(cnp.zeros_like(b), b, z, size, np.int64(0))
    return while_loop(going, step, start).x


def gmres(matvec: MatVec, b: Any, *, tol: float, restart: int, max_restarts: int) -> Any:
    """Return x with A x = b for any matrix A that is not singular.

    Saad and Schultz (1986), with modified orthogonalisation done twice.  Stops where the residual
    is `tol` times as long as `b`, or no longer shrinks.

    Args:
        matvec: `matvec(v)` is A v.
        b: A vector, shape (n,).
        tol: The relative length of the residual at the end.
        restart: The dimension of the Krylov spaces: so many vectors are kept.
        max_restarts: The largest number of Krylov spaces.

    >>> from chainrule.transform import evaluated
    >>> a = np.array([[0.0, 2.0], [4.0, 1.0]])
    >>> solve = lambda b: gmres(lambda v: a @ v, b, tol=1e-12, restart=2, max_restarts=3)
    >>> evaluated(solve, (np.array([2.0, 5.0]),)).round(9)
    array([1., 1.])
    """
    least = tol * cnp.linalg.norm(b)

    def going(s: tuple[Any, Any, Any, Any]) -> Any:
        _, residual, before, count = s
        size = cnp.linalg.norm(residual)
        return (size > least) & (size < before) & (count < max_restarts)

    def cycle(s: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
        x, residual, _, count = s
        size = cnp.linalg.norm(residual)
        moved = x + _krylov_step(matvec, residual, size, restart)
        after = b - matvec(moved)
        better = cnp.linalg.norm(after) < size
        x, residual = cnp.where(better, moved, x), cnp.where(better, after, residual)
        return x, residual, size, count + 1

    start = (cnp.zeros_like(b), b, number(np.inf, b), np.int64(0))
    return while_loop(going, cycle, start)[0]


def _krylov_step(matvec: MatVec, residual: Any, size: Any, restart: int) -> Any:
    """Return the best correction in the Krylov space of a residual (the Arnoldi process)."""
    rows, columns = np.arange(restart + 1), np.arange(restart)
    basis = (rows == 0)[:, None] * (residual / size)
    hessenberg = np.zeros((restart + 1, restart), residual.dtype)

    def extend(j: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        basis, hessenberg = state
        # Rows of the basis beyond j are zeros still, and take no part.
        new = matvec((rows == j).astype(residual.dtype) @ basis)
        scale = cnp.linalg.norm(new)
        first = basis @ new
        new = new - first @ basis
        second = basis @ new
        new = new - second @ basis
        length = cnp.linalg.norm(new)
        grows = length > 10 * np.finfo(residual.dtype).eps * scale
        unit = cnp.where(grows, new / cnp.where(grows, length, 1.0), 0.0)
        column = first + second + (rows == j + 1) * cnp.where(grows, length, 0.0)
        basis = basis + (rows == j + 1)[:, None] * unit
        return basis, hessenberg + column[:, None] * (columns == j)

    basis, hessenberg = fori_loop(0, restart, extend, (basis, hessenberg))
    tiny = np.finfo(residual.dtype).eps * cnp.max(cnp.abs(hessenberg))
    weights = least_squares(hessenberg, (rows == 0) * size, tiny)
    return weights @ basis[:-1]


def linear_solve(
    family: Family, parameters: Sequence[Any], b: Any, solver: Callable[[MatVec, Any], Any],
    *, symmetric: bool = False,
) -> Any:  # fmt: skip
    """Return x with A(w) x = b, differentiable with respect to `w` and `b` to any order.

    dx solves A dx = db - dA x; of a cotangent g, that of b solves Aᵀ λ = g, and that of w is the
    pull-back of -λ through w ↦ A(w) x.  Each is a system solved by `solver` again.

    Args:
        family: `family(w, v)` is A(w) v.
        parameters: `w`, a sequence of arrays.
        b: A vector, shape (n,).
        solver: `solver(matvec, b)`.
        symmetric: A is symmetric.

    >>> from chainrule.transform import evaluated, grad
    >>> def solver(matvec, b):
    ...     return conjugate_gradients(matvec, b, tol=1e-12, max_steps=5)
    >>> def total(w, b):
    ...     return cnp.sum(linear_solve(lambda w, v: w[0] * v, [w], b, solver, symmetric=True))
    >>> grad(total)(2.0, np.ones(2)).round(9)
    np.float64(-0.5)
    """
    w_given = list(parameters)
    count = len(w_given)

    def transposed(w: Sequence[Any], v: Any) -> Any:
        if symmetric:
            return family(w, v)
        return vjp(lambda z: family(w, z), cnp.zeros_like(v))[1](v)[0]

    def solution(*leaves: Any) -> Any:
        w, rhs = leaves[:count], leaves[count]
        return solver(lambda v: family(w, v), rhs)

    def varying(w: Sequence[Any], x: Any) -> tuple[list[int], Callable[..., Any]]:
        """Return which parameters are floating-point numbers, and A(w) x as their function."""
        at = [i for i, v in enumerate(w) if floating(v)]

        def of_floats(*values: Any) -> Any:
            full = list(w)
            for i, v in zip(at, values, strict=True):
                full[i] = v
            return family(full, x)

        return at, of_floats

    made: list[Node] = []

    def push(args: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
        graph = args[0].graph
        with tracing(graph):
            x = Array(same_call(made[0], args))
            w = [Array(n) for n in args[:count]]
            at, of_floats = varying(w, x)
            rhs = Array(tangents[count])
            if at:
                primals = tuple(w[i] for i in at)
                along = tuple(Array(tangents[i]) for i in at)
                rhs = rhs - jvp(of_floats, primals, along)[1]
            moved = linear_solve(family, w, rhs, solver, symmetric=symmetric)
            return [node_of(as_operand(moved), graph)]

    def pull(args: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
        graph = args[0].graph
        with tracing(graph):
            x = Array(same_call(made[0], args))
            w = [Array(n) for n in args[:count]]
            g = Array(cotangents[0])
            back = linear_solve(transposed, w, g, solver, symmetric=symmetric)
            found: list[Node | None] = [None] * len(args)
            found[count] = node_of(as_operand(back), graph)
            at, of_floats = varying(w, x)
            if at:
                slopes = vjp(of_floats, *(w[i] for i in at))[1](-back)
                for i, slope in zip(at, slopes, strict=True):
                    found[i] = node_of(as_operand(slope), graph)
            return found

    (x,) = call_with(solution, [*w_given, b], Custom("linear_solve", pull, push), made)
    return x
