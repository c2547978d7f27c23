"""What solvers return, and why they stop."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

__all__ = ["FLAT", "LIMIT", "MESSAGES", "NOT_FINITE", "ROUNDED", "RUNNING", "SMALL", "STALLED",
           "STEP", "UNBOUNDED", "Minimum", "Root"]  # fmt: skip

RUNNING: Final = 0
LIMIT: Final = 0
SMALL: Final = 1
STEP: Final = 2
FLAT: Final = 3
STALLED: Final = 4
NOT_FINITE: Final = 5
ROUNDED: Final = 6
UNBOUNDED: Final = 7

MESSAGES: Final = (
    "the largest number of steps was taken",
    "the gradient, or the residual, is as small as asked for",
    "the last step was as small as xtol allows",
    "the last step changed the value as little as ftol allows",
    "no step lowers the value: it is at the limit of rounding, or the derivative is wrong",
    "the function is not finite at the start",
    "what the gradient promises is less than the rounding of the value",
    "the value fell below -1e15, or x passed 1e30: the function seems to have no minimum",
)
"What each `status` means."


class Minimum(NamedTuple):
    """What `minimize` found.

    Attributes:
        x: The minimiser, nested as `x0`.
        fun: The value there (half the sum of squares where residuals are given).
        nit: Number of steps.
        converged: Whether a tolerance was met, or the limit of rounding.
        grad_norm: The largest element of the gradient there, in absolute value.
        status: Why it stopped, an index into `solvers.MESSAGES`.
    """

    x: Any
    fun: Any
    nit: Any
    converged: Any
    grad_norm: Any
    status: Any

    @property
    def message(self) -> str:
        """Why it stopped, in words; of a result with numbers, outside of traces."""
        return MESSAGES[int(self.status)]


class Root(NamedTuple):
    """What `find_root` and `fixed_point` found.

    Attributes:
        x: The root, nested as `x0`.
        fun: The residual there, nested as the function returns it.
        nit: Number of steps.
        converged: Whether the tolerance was met.
        residual_norm: The largest element of the residual, in absolute value.
        status: Why it stopped, an index into `solvers.MESSAGES`.
    """

    x: Any
    fun: Any
    nit: Any
    converged: Any
    residual_norm: Any
    status: Any

    @property
    def message(self) -> str:
        """Why it stopped, in words; of a result with numbers, outside of traces."""
        return MESSAGES[int(self.status)]
