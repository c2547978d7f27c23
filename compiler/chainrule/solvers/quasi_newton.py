"""Minimisation by gradients whose differences tell of the curvature: L-BFGS and BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import largest, number
from chainrule.solvers.line_search import slack_of, strong_wolfe
from chainrule.solvers.record import (
    FLAT,
    NOT_FINITE,
    ROUNDED,
    RUNNING,
    SMALL,
    STALLED,
    STEP,
    UNBOUNDED,
)
from chainrule.transform import scan, while_loop

__all__ = [
    "PATIENCE",
    "Progress",
    "Tolerances",
    "bfgs",
    "lbfgs",
    "reason_to_stop",
    "starting_status",
]

ValueAndGrad = Callable[[Any], tuple[Any, Any]]


class Tolerances(NamedTuple):
    """When to stop.

    Attributes:
        tol: Bound of the gradient's largest element.  Not relative to the value: any gradient is
            small beside one that falls without end, or that is still far above its minimum.
        xtol: Bound of a step, relative to x; 0 for none.
        ftol: Bound of a decrease, relative to the value; 0 for none.
        max_steps: The largest number of steps.
    """

    tol: float
    xtol: float
    ftol: float
    max_steps: int


BOTTOMLESS = -1e15
"A value below which a function is taken to have no minimum, unless its gradient vanishes."
ENDLESS = 1e30
"What x has passed where a search is taken to run away."


def starting_status(value: Any, gradient: Any, tolerances: Tolerances) -> Any:
    """Return the status before the first step."""
    size = largest(gradient)
    finite = cnp.isfinite(value) & cnp.isfinite(size)
    small = size <= tolerances.tol
    return cnp.where(finite, cnp.where(small, SMALL, RUNNING), NOT_FINITE)


def reason_to_stop(
    value: Any, gradient: Any, decrease: Any, step: Any, x: Any, tolerances: Tolerances
) -> Any:
    """Return the status after a step that was taken."""
    t = tolerances
    small = largest(gradient) <= t.tol
    away = (value < BOTTOMLESS) | (largest(x) > ENDLESS)
    short = largest(step) <= t.xtol * largest(x) if t.xtol else np.bool_(False)
    flat = cnp.abs(decrease) <= t.ftol * cnp.abs(value) if t.ftol else np.bool_(False)
    going = cnp.where(away, UNBOUNDED, RUNNING)
    return cnp.where(small, SMALL, cnp.where(short, STEP, cnp.where(flat, FLAT, going)))


PATIENCE = 20
"Steps that lower the value by no more than its rounding, after which a search may end."


class Progress(NamedTuple):
    """What has been gained lately.

    Attributes:
        lowest: The lowest value so far that was lower than the one before by more than rounding.
        idle: Number of steps since.
    """

    lowest: Any
    idle: Any

    @classmethod
    def start(cls, value: Any) -> Progress:
        """Return that of no step."""
        return cls(value, np.int64(0))

    def after(self, value: Any) -> Progress:
        """Count a step to a value."""
        lower = value < self.lowest - slack_of(self.lowest)
        return Progress(cnp.where(lower, value, self.lowest), cnp.where(lower, 0, self.idle + 1))


class _History(NamedTuple):
    """Steps and differences of gradients, oldest first, and the inverses of their products."""

    steps: Any
    differences: Any
    inverses: Any  # 0 where there is none yet
    scale: Any  # of the unit matrix that the updates begin with

    def applied(self, g: Any) -> Any:
        """Return the product of the approximate inverse Hessian with a gradient.

        Nocedal and Wright (2006), algorithm 7.4.
        """

        def back(q: Any, row: tuple[Any, Any, Any]) -> tuple[Any, Any]:
            s, y, inverse = row
            a = inverse * (s @ q)
            return q - a * y, a

        rows = (self.steps, self.differences, self.inverses)
        q, weights = scan(back, g, rows, reverse=True)

        def forth(r: Any, row: tuple[Any, Any, Any, Any]) -> tuple[Any, None]:
            s, y, inverse, a = row
            return r + (a - inverse * (y @ r)) * s, None

        return scan(forth, self.scale * q, (*rows, weights))[0]

    def updated(self, s: Any, y: Any) -> _History:
        """Remember a step in place of the oldest, if it tells of positive curvature."""
        product, square = s @ y, y @ y
        keeps = product > np.finfo(s.dtype).eps * square
        inverse = 1 / cnp.where(keeps, product, 1.0)

        def pushed(rows: Any, row: Any) -> Any:
            return cnp.where(keeps, cnp.concatenate([rows[1:], row[None]]), rows)

        scale = cnp.where(keeps, product / cnp.where(keeps, square, 1.0), self.scale)
        return _History(
            pushed(self.steps, s), pushed(self.differences, y), pushed(self.inverses, inverse),
            scale,
        )  # fmt: skip

    def forgotten(self) -> _History:
        """Return a history of nothing."""
        return _History(self.steps, self.differences, 0 * self.inverses, 0 * self.scale + 1)


class _Inverse(NamedTuple):
    """The approximate inverse Hessian itself."""

    matrix: Any
    fresh: Any

    def applied(self, g: Any) -> Any:
        """Return its product with a gradient."""
        return self.matrix @ g

    def updated(self, s: Any, y: Any) -> _Inverse:
        """Return the matrix after a step: Nocedal and Wright (2006), equations 6.17 and 6.20."""
        product = s @ y
        keeps = product > np.finfo(s.dtype).eps * (y @ y)
        inverse = 1 / cnp.where(keeps, product, 1.0)
        h = cnp.where(self.fresh & keeps, product / (y @ y), 1.0) * self.matrix
        hy = h @ y
        after = (
            h - inverse * (hy[:, None] * s + s[:, None] * hy)
            + inverse * (inverse * (y @ hy) + 1) * s[:, None] * s
        )  # fmt: skip
        return _Inverse(cnp.where(keeps, after, self.matrix), self.fresh & ~keeps)

    def forgotten(self) -> _Inverse:
        """Return the unit matrix."""
        n = self.matrix.shape[0]
        return _Inverse(cnp.eye(n, dtype=self.matrix.dtype) + 0 * self.matrix, self.fresh | True)


class _State(NamedTuple):
    x: Any
    value: Any
    gradient: Any
    memory: Any
    fresh: Any  # nothing is remembered: the direction is that of steepest descent
    promised: Any  # the decrease that the last direction without a lower point had promised
    progress: Progress
    nit: Any
    status: Any


def lbfgs(
    value_and_grad: ValueAndGrad, x0: Any, tolerances: Tolerances, *, memory: int = 10
) -> tuple[Any, Any, Any, Any]:
    """Minimise by limited-memory BFGS: Liu and Nocedal (1989), strong Wolfe line search.

    Keeps `memory` steps and differences of gradients: 2 · memory · n numbers.

    Returns:
        `(x, largest element of the gradient, number of steps, status)`.
    """
    n = x0.shape[0]
    rows = cnp.zeros((memory, n), x0.dtype)
    history = _History(rows, rows, np.zeros(memory, x0.dtype), number(1, x0))
    return _descend(value_and_grad, x0, tolerances, history)


def bfgs(
    value_and_grad: ValueAndGrad, x0: Any, tolerances: Tolerances
) -> tuple[Any, Any, Any, Any]:
    """Minimise by BFGS with a dense inverse Hessian of n² numbers.

    Returns:
        `(x, largest element of the gradient, number of steps, status)`.
    """
    matrix = cnp.eye(x0.shape[0], dtype=x0.dtype)
    return _descend(value_and_grad, x0, tolerances, _Inverse(matrix, np.bool_(True)))


def _descend(
    value_and_grad: ValueAndGrad, x0: Any, tolerances: Tolerances, memory: Any
) -> tuple[Any, Any, Any, Any]:
    def turn(s: _State) -> _State:
        direction = -s.memory.applied(s.gradient)
        downhill = s.gradient @ direction < 0
        direction = cnp.where(downhill, direction, -s.gradient)
        steepest = s.fresh | ~downhill
        unit = cnp.minimum(1.0, 1 / cnp.linalg.norm(s.gradient))
        first = cnp.where(steepest, unit, 1.0)
        length, value, gradient, doubt = strong_wolfe(
            value_and_grad, s.x, s.value, s.gradient, direction, first
        )
        moved = length > 0
        # The whole step of a Newton direction halves what the slope says; of the steepest descent
        # only the search tells.
        gain = cnp.where(steepest, doubt.gain, -0.5 * (s.gradient @ direction))
        gain = cnp.maximum(gain, s.promised)
        hidden = doubt.hides(gain, s.value)
        step = length * direction
        x = s.x + step
        status = reason_to_stop(value, gradient, s.value - value, step, x, tolerances)
        progress = s.progress.after(value)
        idle = (status == RUNNING) & (progress.idle >= PATIENCE) & hidden
        status = cnp.where(idle, ROUNDED, status)
        # What is remembered may have misled: try once without.
        end = cnp.where(hidden, ROUNDED, STALLED)
        status = cnp.where(moved, status, cnp.where(steepest, end, RUNNING))
        kept = s.memory.updated(step, gradient - s.gradient)
        memory = _either(moved, kept, s.memory.forgotten())
        nit = s.nit + cnp.where(moved, 1, 0)
        promised = cnp.where(moved, 0.0, gain)
        return _State(x, value, gradient, memory, ~moved, promised, progress, nit, status)

    value, gradient = value_and_grad(x0)
    status = starting_status(value, gradient, tolerances)
    start = _State(
        x0, value, gradient, memory, np.bool_(True), number(0, x0), Progress.start(value),
        np.int64(0), status,
    )  # fmt: skip
    end = while_loop(lambda s: (s.status == RUNNING) & (s.nit < tolerances.max_steps), turn, start)
    return end.x, largest(end.gradient), end.nit, end.status


def _either(on: Any, a: Any, b: Any) -> Any:
    return type(a)(*(cnp.where(on, u, v) for u, v in zip(a, b, strict=True)))
