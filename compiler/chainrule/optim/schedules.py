"""Learning rates that change: functions of the number of steps already taken.

The number is a Python integer or a 0-d integer array, traced or plain; with an array the rate is
computed in float64 and takes a parameter's own dtype when it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import chainrule.numpy as cnp
from chainrule.errors import OutOfRangeError
from chainrule.typing import Array

__all__ = ["Schedule", "constant", "cosine", "exponential", "piecewise", "warmup_cosine"]

Schedule: TypeAlias = Callable[[Array], Any]


def constant(value: float) -> Schedule:
    """Return `value` at every step.

    >>> constant(0.1)(7)
    0.1
    """
    return lambda _count: value


def cosine(value: float, steps: int, alpha: float = 0.0) -> Schedule:
    """Fall along half a cosine from `value` to `alpha` * `value` in `steps` steps, then stay.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Args:
        value: The rate at step 0.
        steps: How long it falls; positive.
        alpha: The part of `value` that remains.

    Returns:
        A schedule.

    Raises:
        OutOfRangeError: `steps` is not positive.

    >>> rate = cosine(0.1, 100)
    >>> [round(float(rate(count)), 6) for count in (0, 50, 100, 200)]
    [0.1, 0.05, 0.0, 0.0]
    """
    _check_steps("cosine", steps)

    def rate(count: Array) -> Any:
        fraction = cnp.minimum(count / steps, 1.0)
        return value * (alpha + (1 - alpha) * 0.5 * (1 + cnp.cos(math.pi * fraction)))

    return rate


def warmup_cosine(
    start: float, peak: float, warmup_steps: int, decay_steps: int, end: float = 0.0
) -> Schedule:
    """Rise in a straight line from `start` to `peak`, then fall along half a cosine to `end`.

    Args:
        start: The rate at step 0.
        peak: The rate at step `warmup_steps`.
        warmup_steps: How long it rises; 0 or more.
        decay_steps: The step at which it reaches `end`, counted from step 0.
        end: The rate from there on.

    Returns:
        A schedule.

    Raises:
        OutOfRangeError: `warmup_steps` is negative, or `decay_steps` not greater.

    >>> rate = warmup_cosine(0.0, 0.1, 10, 110)
    >>> [round(float(rate(count)), 6) for count in (0, 5, 10, 60, 110, 500)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """
    if not 0 <= warmup_steps < decay_steps:
        raise OutOfRangeError(
            f"warmup_cosine rises for {warmup_steps} steps and ends at step {decay_steps}; "
            "the first is 0 or more and less than the second"
        )

    def rate(count: Array) -> Any:
        rising = start + (peak - start) * (count / max(1, warmup_steps))
        fraction = (count - warmup_steps) / (decay_steps - warmup_steps)
        bounded = cnp.clip(fraction, 0.0, 1.0)
        falling = end + (peak - end) * 0.5 * (1 + cnp.cos(math.pi * bounded))
        return cnp.where(count < warmup_steps, rising, falling)

    return rate


def exponential(value: float, steps: int, factor: float, *, staircase: bool = False) -> Schedule:
    """Multiply by `factor` in every `steps` steps: value * factor**(count / steps).

    Args:
        value: The rate at step 0.
        steps: In how many steps the factor applies once; positive.
        factor: Positive; less than 1 to fall.
        staircase: Change only at multiples of `steps`.

    Returns:
        A schedule.

    Raises:
        OutOfRangeError: `steps` or `factor` is not positive.

    >>> rate = exponential(0.1, 10, 0.5)
    >>> [round(float(rate(count)), 6) for count in (0, 10, 20)]
    [0.1, 0.05, 0.025]
    """
    _check_steps("exponential", steps)
    if not factor > 0:
        raise OutOfRangeError(f"exponential multiplies by a positive factor, not {factor}")

    def rate(count: Array) -> Any:
        exponent = count / steps
        if staircase:
            exponent = cnp.floor(exponent)
        return value * cnp.exp(math.log(factor) * exponent)

    return rate


def piecewise(value: float, factors: Mapping[int, float]) -> Schedule:
    """Multiply by each factor once its step is reached.

    Args:
        value: The rate at step 0.
        factors: For each step at which the rate changes, by what it is multiplied there.

    Returns:
        A schedule.

    >>> rate = piecewise(1.0, {100: 0.1, 200: 0.5})
    >>> [round(float(rate(count)), 6) for count in (0, 99, 100, 200)]
    [1.0, 1.0, 0.1, 0.05]
    """
    changes = sorted(factors.items())

    def rate(count: Array) -> Any:
        current: Any = value
        for step, factor in changes:
            current = current * cnp.where(count >= step, factor, 1.0)
        return current

    return rate


def _check_steps(name: str, steps: int) -> None:
    if steps <= 0:
        raise OutOfRangeError(f"{name} changes over a positive number of steps, not {steps}")
