"""Levenberg-Marquardt over products with the Jacobian, for many variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import largest, number
from chainrule.solvers.line_search import slack_of
from chainrule.solvers.linear import conjugate_gradients
from chainrule.solvers.quasi_newton import Tolerances, reason_to_stop, starting_status
from chainrule.solvers.record import ROUNDED, RUNNING, STALLED
from chainrule.transform import linearize, vjp, while_loop
from chainrule.transform.csr import CSR

__all__ = ["JacobianOperator", "compressed", "levenberg_marquardt_by_products"]


class JacobianOperator(NamedTuple):
    """A Jacobian J by what it does to vectors.

    Unknowns and residuals are flat here: the leaves of their trees, one after another.

    Attributes:
        matvec: `matvec(v)` is J v.
        rmatvec: `rmatvec(u)` is Jᵀ u.
        squares: The diagonal of JᵀJ, the sums of squares of J's columns, shape (n,); it scales the
            variables and preconditions the conjugate gradients.  None where it is not known.
    """

    matvec: Callable[[Any], Any]
    rmatvec: Callable[[Any], Any]
    squares: Any = None


def compressed(matrix: CSR) -> JacobianOperator:
    """Return the products of a matrix in compressed sparse rows."""
    count, n = matrix.shape
    rows = np.repeat(np.arange(count), np.diff(matrix.indptr))
    data, columns = matrix.data, matrix.indices

    def summed(values: Any, into: Any, size: int) -> Any:
        return cnp.zeros(size, data.dtype).at[into].add(values)

    return JacobianOperator(
        lambda v: summed(data * v[columns], rows, count),
        lambda u: summed(data * u[rows], columns, n),
        summed(data * data, columns, n),
    )


class _State(NamedTuple):
    x: Any
    residual: Any
    value: Any
    gradient: Any
    scale: Any
    damping: Any
    growth: Any
    promised: Any  # the decrease that the steps from x which were not taken had promised
    nit: Any
    status: Any


def levenberg_marquardt_by_products(
    residual: Callable[[Any], Any], x0: Any, tolerances: Tolerances,
    operator: Callable[[Any], JacobianOperator] | None = None,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Minimise ‖r(x)‖²/2 with damped steps found by conjugate gradients.

    (JᵀJ + λ D²) p = -Jᵀ r, preconditioned by the diagonal where it is known (Jacobi), solved until
    its residual is a tenth of the gradient's square root or less.  The damping λ follows H. B.
    Nielsen, "Damping parameter in Marquardt's method" (1999).

    Args:
        residual: Of a vector.
        x0: The start.
        tolerances: When to stop.
        operator: The Jacobian at a point; by default forward and reverse mode give its products.

    Returns:
        `(x, largest element of Jᵀ r, number of steps, status)`.
    """
    n = x0.shape[0]
    products = operator if operator is not None else lambda x: _by_differentiation(residual, x)

    def described(x: Any, r: Any) -> tuple[Any, Any]:
        """Return the gradient and the squares of the scales, as far as they are known."""
        jacobian = products(x)
        squares = jacobian.squares
        return jacobian.rmatvec(r), number(1, x) + 0 * x if squares is None else squares

    def turn(s: _State) -> _State:
        jacobian = products(s.x)
        added = s.damping * s.scale
        diagonal = added + (jacobian.squares if jacobian.squares is not None else 0.0)
        size = cnp.linalg.norm(s.gradient)
        share = cnp.minimum(0.1, cnp.sqrt(size / (1 + size)))
        p = conjugate_gradients(
            lambda v: jacobian.rmatvec(jacobian.matvec(v)) + added * v, -s.gradient,
            tol=cnp.maximum(1e-10, 0.1 * share), max_steps=2 * n,
            preconditioner=lambda z: z / diagonal,
        )  # fmt: skip
        x = s.x + p
        r = residual(x)
        value = 0.5 * (r @ r)
        image = jacobian.matvec(p)
        predicted = -(s.gradient @ p) - 0.5 * (image @ image)
        ratio = cnp.where(
            cnp.isfinite(value) & (predicted > 0), (s.value - value) / predicted, -1.0
        )
        taken = ratio > 0
        x, r = cnp.where(taken, x, s.x), cnp.where(taken, r, s.residual)
        gradient, squares = described(x, r)
        status = reason_to_stop(value, gradient, s.value - value, p, x, tolerances)
        eps = float(np.finfo(x.dtype).eps)
        status = cnp.where(taken, status, RUNNING)
        tiny = cnp.linalg.norm(p) <= eps * cnp.linalg.norm(s.x)
        # Damping makes less of what is promised: what counts is what it was at first.
        promised = cnp.maximum(s.promised, predicted)
        end = cnp.where(promised <= slack_of(s.value), ROUNDED, STALLED)
        status = cnp.where((status == RUNNING) & tiny, end, status)
        # Nielsen's equation 2.5: less where the model is good, ever faster more where it is not.
        less = s.damping * cnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
        return _State(
            x, r, cnp.where(taken, value, s.value), gradient, cnp.maximum(s.scale, squares),
            cnp.where(taken, less, s.damping * s.growth), cnp.where(taken, 2.0, 2 * s.growth),
            cnp.where(taken, 0.0, promised), s.nit + 1, status,
        )  # fmt: skip

    r0 = residual(x0)
    value = 0.5 * (r0 @ r0)
    gradient, squares = described(x0, r0)
    scale = cnp.where(squares > 0, squares, 1.0)
    start = _State(
        x0, r0, value, gradient, scale, number(1e-3, x0), number(2, x0), number(0, x0),
        np.int64(0),
        starting_status(value, gradient, tolerances),
    )  # fmt: skip
    end = while_loop(lambda s: (s.status == RUNNING) & (s.nit < tolerances.max_steps), turn, start)
    return end.x, largest(end.gradient), end.nit, end.status


def _by_differentiation(residual: Callable[[Any], Any], x: Any) -> JacobianOperator:
    _, forward = linearize(residual, x)
    _, back = vjp(residual, x)
    return JacobianOperator(forward, lambda u: back(u)[0])
