"""Minimisation of half the sum of squares of residuals: Levenberg-Marquardt and Gauss-Newton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import largest, number
from chainrule.solvers.damping import damped_step
from chainrule.solvers.factors import least_squares, triangularised
from chainrule.solvers.line_search import backtracked, slack_of
from chainrule.solvers.matrix_free import JacobianOperator, levenberg_marquardt_by_products
from chainrule.solvers.quasi_newton import Tolerances, reason_to_stop, starting_status
from chainrule.solvers.record import FLAT, ROUNDED, RUNNING, SMALL, STALLED, STEP
from chainrule.transform import cond, jacfwd, jacrev, while_loop

__all__ = ["gauss_newton", "levenberg_marquardt"]

Residual = Callable[[Any], Any]


def _jacobian(residual: Residual, x: Any, r: Any) -> Any:
    """Return the matrix of slopes, in the mode that takes fewer products."""
    few = isinstance(r.shape[0], int) and isinstance(x.shape[0], int) and r.shape[0] < x.shape[0]
    return (jacrev if few else jacfwd)(residual).traced(x)


class _Factored(NamedTuple):
    """Residuals at a point, and the triangular factor of their Jacobian."""

    norm: Any  # ‖r‖
    r: Any  # R, J = Q R
    projected: Any  # the first elements of Qᵀ r
    columns: Any  # lengths of the columns of J

    @classmethod
    def at(cls, residual: Residual, x: Any, r: Any) -> _Factored:
        """Factor the Jacobian at x."""
        jacobian = _jacobian(residual, x, r)
        factor, projected = triangularised(jacobian, r)
        return cls(cnp.linalg.norm(r), factor, projected, cnp.linalg.norm(jacobian, axis=0))

    @property
    def gradient(self) -> Any:
        """Jᵀ r."""
        return self.projected @ self.r


class _State(NamedTuple):
    x: Any
    at: _Factored
    scale: Any  # D, lengths of columns: the largest so far
    radius: Any
    damping: Any
    nit: Any
    status: Any


def levenberg_marquardt(
    residual: Residual, x0: Any, parameters: Sequence[Any], tolerances: Tolerances, *,
    matrix_free: bool = False,
    operator: Callable[[Any, Sequence[Any]], JacobianOperator] | None = None,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Minimise ‖r(x)‖²/2 by Levenberg's and Marquardt's method as a trust-region method.

    J. Moré, "The Levenberg-Marquardt algorithm: implementation and theory" (1978), as in MINPACK's
    `lmder`: the variables are scaled by the lengths of the Jacobian's columns, and the damping is
    chosen so that the scaled step has the length of the region's radius.  The Jacobian is factored
    by reflections, not squared, and only where a step was taken.

    Args:
        residual: Of a vector.
        x0: The start.
        parameters: What the operator is given besides x.
        tolerances: When to stop.
        matrix_free: Take products with the Jacobian alone (`matrix_free.py`).
        operator: What gives these products, for a point and parameters.

    Returns:
        `(x, largest element of Jᵀ r, number of steps, status)`.
    """
    if matrix_free:
        given = None if operator is None else lambda x: operator(x, parameters)
        return levenberg_marquardt_by_products(residual, x0, tolerances, given)

    def turn(s: _State) -> _State:
        p, damping = damped_step(s.at.r, s.at.projected, s.scale, s.radius, s.damping)
        size = cnp.linalg.norm(s.scale * p)
        radius = cnp.where(s.nit == 0, cnp.minimum(s.radius, size), s.radius)
        x = s.x + p
        r = residual(x)
        gained = _Gain.of(s, p, size, damping, cnp.linalg.norm(r))
        taken = gained.ratio >= 1e-4
        radius, damping = gained.next(radius, size, damping)
        at = cond(
            taken, lambda s, x, r: _Factored.at(residual, x, r), lambda s, x, r: s.at, s, x, r
        )
        x = cnp.where(taken, x, s.x)
        status = _status(at, gained, radius, cnp.linalg.norm(s.scale * x), taken, tolerances)
        scale = cnp.maximum(s.scale, at.columns)
        return _State(x, at, scale, radius, damping, s.nit + 1, status)

    r0 = residual(x0)
    at = _Factored.at(residual, x0, r0)
    scale = cnp.where(at.columns == 0, 1.0, at.columns)
    length = cnp.linalg.norm(scale * x0)
    radius = cnp.where(length == 0, 100.0, 100 * length)
    start = _State(
        x0, at, scale, radius, number(0, x0), np.int64(0),
        starting_status(0.5 * at.norm**2, at.gradient, tolerances),
    )  # fmt: skip
    end = while_loop(lambda s: (s.status == RUNNING) & (s.nit < tolerances.max_steps), turn, start)
    return end.x, largest(end.at.gradient), end.nit, end.status


class _Gain(NamedTuple):
    """By how much a step lowers ‖r‖², and by how much it should, as shares of it."""

    actual: Any
    predicted: Any
    slope: Any
    ratio: Any

    @classmethod
    def of(cls, s: _State, p: Any, size: Any, damping: Any, norm: Any) -> _Gain:
        """Compare the model with the residuals after the step."""
        share = norm / s.at.norm
        lower = cnp.isfinite(norm) & (0.1 * norm < s.at.norm)
        actual = cnp.where(lower, 1 - share * share, -1.0)
        linear = (cnp.linalg.norm(s.at.r @ p) / s.at.norm) ** 2
        damped = damping * (size / s.at.norm) ** 2
        predicted = linear + 2 * damped
        ratio = cnp.where(predicted > 0, actual / cnp.where(predicted > 0, predicted, 1.0), 0.0)
        return cls(actual, predicted, -(linear + damped), ratio)

    def next(self, radius: Any, size: Any, damping: Any) -> tuple[Any, Any]:
        """Return the next radius, and the damping to begin with."""
        fall = 0.5 * self.slope / (self.slope + 0.5 * self.actual)
        factor = cnp.where(self.actual >= 0, 0.5, fall)
        factor = cnp.where((self.actual <= -0.99) | ~(factor >= 0.1), 0.1, factor)
        shrinks = self.ratio <= 0.25
        grows = ~shrinks & ((damping == 0) | (self.ratio >= 0.75))
        smaller = factor * cnp.minimum(radius, 10 * size)
        after = cnp.where(shrinks, smaller, cnp.where(grows, 2 * size, radius))
        damping = cnp.where(shrinks, damping / factor, cnp.where(grows, 0.5 * damping, damping))
        return after, damping


def _status(
    at: _Factored, gained: _Gain, radius: Any, length: Any, taken: Any, t: Tolerances
) -> Any:
    """Tell whether to stop: a tolerance is met, or rounding hides what is to be gained."""
    eps = float(np.finfo(at.norm.dtype).eps)
    small = largest(at.gradient) <= t.tol
    within = (cnp.abs(gained.actual) <= max(t.ftol, 2 * eps)) & (gained.ratio <= 2)
    flat = within & (gained.predicted <= max(t.ftol, 2 * eps))
    short = radius <= max(t.xtol, eps) * length
    return cnp.where(taken & small, SMALL, cnp.where(flat, FLAT, cnp.where(short, STEP, RUNNING)))


class _Plain(NamedTuple):
    x: Any
    value: Any
    residual: Any
    jacobian: Any
    nit: Any
    status: Any


def gauss_newton(
    residual: Residual, x0: Any, parameters: Sequence[Any], tolerances: Tolerances
) -> tuple[Any, Any, Any, Any]:
    """Minimise ‖r(x)‖²/2 by steps to the minimum of the linearised residuals.

    Nocedal and Wright (2006), section 10.3, with backtracking.  Fast where residuals at the minimum
    are small; where the Jacobian is singular the direction is damped by the square root of the
    rounding unit, relative to its longest column, and may point nowhere.

    Returns:
        `(x, largest element of Jᵀ r, number of steps, status)`.
    """
    del parameters
    root = float(np.sqrt(np.finfo(x0.dtype).eps))

    def turn(s: _Plain) -> _Plain:
        longest = cnp.max(cnp.linalg.norm(s.jacobian, axis=0))
        p = -least_squares(s.jacobian, s.residual, root * longest)
        slope = (s.jacobian @ p) @ s.residual

        def value_at(step: Any) -> Any:
            r = residual(s.x + step * p)
            return 0.5 * (r @ r)

        step = backtracked(value_at, s.value, slope)
        x = s.x + step * p
        r = residual(x)
        jacobian = _jacobian(residual, x, r)
        value = 0.5 * (r @ r)
        moved = (step > 0) & (slope < 0)
        status = reason_to_stop(value, r @ jacobian, s.value - value, step * p, x, tolerances)
        # Rounding lets values pass that are no lower; that may go on for ever.
        stuck = ~moved | ((status == RUNNING) & ~(value < s.value))
        # The step to the minimum of the linearised residuals halves what the slope says.
        hidden = -0.5 * slope <= slack_of(s.value)
        status = cnp.where(stuck, cnp.where(hidden, ROUNDED, STALLED), status)
        return _Plain(x, value, r, jacobian, s.nit + cnp.where(moved, 1, 0), status)

    r0 = residual(x0)
    value, jacobian = 0.5 * (r0 @ r0), _jacobian(residual, x0, r0)
    status = starting_status(value, r0 @ jacobian, tolerances)
    end = while_loop(
        lambda s: (s.status == RUNNING) & (s.nit < tolerances.max_steps), turn,
        _Plain(x0, value, r0, jacobian, np.int64(0), status),
    )  # fmt: skip
    return end.x, largest(end.residual @ end.jacobian), end.nit, end.status
