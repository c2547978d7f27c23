"""Minimisation by Hessian-vector products within a trust region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import largest, number
from chainrule.solvers.line_search import Doubt, disagreement, slack_of
from chainrule.solvers.quasi_newton import (
    PATIENCE,
    Progress,
    Tolerances,
    reason_to_stop,
    starting_status,
)
from chainrule.solvers.record import ROUNDED, RUNNING, STALLED
from chainrule.transform import linearize, while_loop

__all__ = ["newton_cg"]


class _Inner(NamedTuple):
    step: Any
    residual: Any
    direction: Any
    decrease: Any  # of the quadratic model
    steps: Any
    done: Any
    at_border: Any


def _steihaug(product: Callable[[Any], Any], g: Any, radius: Any, max_steps: Any) -> _Inner:
    """Minimise g·p + p·Hp/2 over ‖p‖ ≤ radius, roughly: Nocedal and Wright (2006), algorithm 7.2.

    Ends within the region as accurately as superlinear convergence needs, or on its border along a
    direction of negative curvature.
    """
    size = cnp.linalg.norm(g)
    least = cnp.minimum(0.5, cnp.sqrt(size)) * size

    def turn(s: _Inner) -> _Inner:
        image = product(s.direction)
        curvature = s.direction @ image
        square = s.residual @ s.residual
        length = square / cnp.where(curvature > 0, curvature, 1.0)
        step = s.step + length * s.direction
        leaves = ~((curvature > 0) & (cnp.linalg.norm(step) < radius))
        length = cnp.where(leaves, _to_border(s.step, s.direction, radius), length)
        step = s.step + length * s.direction
        # g·p + p·Hp/2 changes by -τ r·d + τ² d·Hd/2, where r·d = r·r.
        decrease = s.decrease + length * (square - 0.5 * length * curvature)
        residual = s.residual - length * image
        after = residual @ residual
        direction = residual + after / square * s.direction
        done = leaves | ~(cnp.sqrt(after) > least)
        return _Inner(step, residual, direction, decrease, s.steps + 1, done, leaves)

    no = np.bool_(False)
    start = _Inner(cnp.zeros_like(g), -g, -g, number(0, g), np.int64(0), no, no)
    found: _Inner = while_loop(lambda s: ~s.done & (s.steps < max_steps), turn, start)
    return found


def _to_border(p: Any, d: Any, radius: Any) -> Any:
    """Return τ ≥ 0 with ‖p + τ d‖ = radius."""
    a, b, c = d @ d, p @ d, radius * radius - p @ p
    # The form without cancellation.
    root = cnp.sqrt(cnp.maximum(b * b + a * c, 0))
    return cnp.where(b > 0, c / (b + root), (root - b) / a)


class _State(NamedTuple):
    x: Any
    value: Any
    gradient: Any
    radius: Any
    doubt: Doubt  # of the steps since the last that lowered the value by more than rounding
    progress: Progress
    nit: Any
    status: Any


def newton_cg(
    value_and_grad: Callable[[Any], tuple[Any, Any]], x0: Any, tolerances: Tolerances
) -> tuple[Any, Any, Any, Any]:
    """Minimise by Newton's method with conjugate gradients in a trust region.

    Nocedal and Wright (2006), algorithms 4.1 and 7.2 (Steihaug 1983).  The Hessian is never formed:
    each inner step takes one product with it, forward over reverse.  A step to where the function
    is not finite is rejected, and the region shrinks.

    Returns:
        `(x, largest element of the gradient, number of steps, status)`.
    """
    n = x0.shape[0]

    def gradient_at(x: Any) -> Any:
        return value_and_grad(x)[1]

    def turn(s: _State) -> _State:
        _, product = linearize(gradient_at, s.x)
        inner = _steihaug(product, s.gradient, s.radius, 2 * n)
        x = s.x + inner.step
        value, gradient = value_and_grad(x)
        finite = cnp.isfinite(value) & cnp.isfinite(largest(gradient))
        # Both differences carry the rounding of the value: Conn, Gould, Toint (2000), 17.4.2.
        slack = slack_of(s.value)
        ratio = (s.value - value + slack) / (inner.decrease + slack)
        ratio = cnp.where(finite, ratio, -1.0)
        size = cnp.linalg.norm(inner.step)
        wider = cnp.where((ratio > 0.75) & inner.at_border, 2 * s.radius, s.radius)
        radius = cnp.where(ratio < 0.25, 0.25 * size, wider)
        taken = ratio > 1e-4
        status = reason_to_stop(value, gradient, s.value - value, inner.step, x, tolerances)
        tiny = size <= float(np.finfo(x0.dtype).eps) * cnp.linalg.norm(s.x)
        # The model promises less within a smaller region: what counts is what it did at first.
        gain = cnp.maximum(s.doubt.gain, inner.decrease)
        error = disagreement(value - s.value, s.gradient @ inner.step, gradient @ inner.step)
        doubt = Doubt(gain, cnp.maximum(0.25 * s.doubt.noise, error))
        hidden = doubt.hides(gain, s.value)
        end = cnp.where(hidden, ROUNDED, STALLED)
        progress = s.progress.after(cnp.where(taken, value, s.value))
        idle = (progress.idle >= PATIENCE) & hidden & taken
        status = cnp.where(taken, status, cnp.where(tiny, end, RUNNING))
        # A step of nothing that counts as taken would be taken for ever.
        status = cnp.where((status == RUNNING) & ((size == 0) | idle), end, status)
        lower = progress.idle == 0
        none = Doubt(number(0, x0), number(0, x0))
        return _State(
            cnp.where(taken, x, s.x), cnp.where(taken, value, s.value),
            cnp.where(taken, gradient, s.gradient), radius,
            Doubt(*(cnp.where(lower, a, b) for a, b in zip(none, doubt, strict=True))),
            progress, s.nit + 1, status,
        )  # fmt: skip

    value, gradient = value_and_grad(x0)
    radius = cnp.maximum(1.0, cnp.linalg.norm(x0))
    status = starting_status(value, gradient, tolerances)
    end = while_loop(
        lambda s: (s.status == RUNNING) & (s.nit < tolerances.max_steps), turn,
        _State(
            x0, value, gradient, radius, Doubt(number(0, x0), number(0, x0)),
            Progress.start(value), np.int64(0), status,
        ),
    )  # fmt: skip
    return end.x, largest(end.gradient), end.nit, end.status
