"""The damping of Levenberg's and Marquardt's method for a given length of the step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import number
from chainrule.solvers.factors import triangularised
from chainrule.transform import while_loop

__all__ = ["damped_step"]


class _Trial(NamedTuple):
    damping: Any
    lower: Any
    upper: Any
    step: Any
    excess: Any
    found: Any
    count: Any


def damped_step(r: Any, projected: Any, scale: Any, radius: Any, first: Any) -> tuple[Any, Any]:
    """Return the step p and the damping λ with which ‖D p‖ is the radius, within a tenth.

    p minimises ‖R p + c‖² + λ ‖D p‖².  λ is 0 if the undamped step is short enough; else it solves
    ‖D p(λ)‖ = radius by Newton's method on 1/radius - 1/‖D p‖, kept between bounds: Moré (1978),
    section 5; MINPACK's `lmpar`.

    Args:
        r: R, the triangular factor of the Jacobian, shape (n, n).
        projected: c, the first elements of Qᵀ r, shape (n,).
        scale: The diagonal of D, shape (n,).
        radius: The radius of the trust region.
        first: The damping to begin with.
    """
    n = scale.shape[0]
    dwarf = float(np.finfo(scale.dtype).tiny)
    diagonal = cnp.abs(cnp.diagonal(r))
    eps = float(np.finfo(scale.dtype).eps)
    regular = cnp.min(diagonal) > eps * cnp.max(diagonal)

    def slope_of(factor: Any, p: Any, size: Any) -> Any:
        """Return ‖S⁻ᵀ D² p‖²/‖D p‖², of which the derivative of ‖D p‖ by λ is made."""
        w = cnp.linalg.solve_triangular(factor, scale * (scale * p / size), trans=1)
        return w @ w

    newton = -cnp.linalg.solve_triangular(r, projected)
    newton_size = cnp.linalg.norm(scale * newton)
    inside = regular & (newton_size - radius <= 0.1 * radius)
    excess = newton_size - radius
    lower = cnp.where(regular, excess / radius / slope_of(r, newton, newton_size), 0.0)
    steepest = cnp.linalg.norm((projected @ r) / scale)
    upper = steepest / radius
    upper = cnp.where(upper == 0, dwarf / cnp.minimum(radius, 0.1), upper)
    damping = cnp.minimum(cnp.maximum(first, lower), upper)
    damping = cnp.where(damping == 0, steepest / newton_size, damping)
    damping = cnp.where(cnp.isfinite(damping), damping, 0.001 * upper)

    def turn(s: _Trial) -> _Trial:
        damping = cnp.where(s.damping == 0, cnp.maximum(dwarf, 0.001 * s.upper), s.damping)
        rows = cnp.sqrt(damping) * scale[:, None] * cnp.eye(n, dtype=scale.dtype)
        factor, c = triangularised(cnp.concatenate([r, rows]), cnp.pad(projected, (0, n)))
        p = -cnp.linalg.solve_triangular(factor, c)
        size = cnp.linalg.norm(scale * p)
        excess = size - radius
        correction = excess / radius / slope_of(factor, p, size)
        lower = cnp.where(excess > 0, cnp.maximum(s.lower, damping), s.lower)
        upper = cnp.where(excess < 0, cnp.minimum(s.upper, damping), s.upper)
        after = cnp.maximum(lower, damping + correction)
        found = (cnp.abs(excess) <= 0.1 * radius) | (
            (s.lower == 0) & (excess <= s.excess) & (s.excess < 0)
        )
        # The damping that belongs to the step is kept once the step is good.
        return _Trial(
            cnp.where(found, damping, after), lower, upper, p, excess, found,
            s.count + 1,
        )  # fmt: skip

    start = _Trial(damping, lower, upper, newton, excess, inside, np.int64(0))
    end = while_loop(lambda s: (~s.found) & (s.count < 10), turn, start)
    return end.step, cnp.where(inside, number(0, scale), end.damping)
