"""How far to go along a direction of descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.solvers.closed import largest, number
from chainrule.transform import while_loop

__all__ = ["HIDDEN", "Doubt", "Point", "backtracked", "disagreement", "slack_of", "strong_wolfe"]

DECREASE = 1e-4
"c₁: the share of the decrease that the slope at the start promises."
CURVATURE = 0.9
"c₂: the share of the slope at the start that may be left."


HIDDEN = 10
"How many times the rounding of values a decrease has to be, to be found."


class Point(NamedTuple):
    """A point on the line: how far, the value, its slope along the line."""

    step: Any
    value: Any
    slope: Any


class Doubt(NamedTuple):
    """What there is to be gained along a line, beside what can be seen of it.

    Attributes:
        gain: The decrease to the minimum of the parabola through the slopes; infinity where these
            enclose none.
        noise: By how much values differ from what slopes say, at the shortest steps.  Of a smooth
            function with its own slopes that is the rounding of its values; of slopes that are
            wrong it vanishes with the steps.
    """

    gain: Any
    noise: Any

    def hides(self, gain: Any, value: Any) -> Any:
        """Tell whether a decrease is within the rounding of the value."""
        return gain <= HIDDEN * cnp.maximum(self.noise, slack_of(value) / HIDDEN)


class _Search(NamedTuple):
    low: Point  # the lowest so far that promises a minimum towards `high`
    gradient: Any  # there
    high: Point  # infinitely far as long as nothing encloses a minimum
    trial: Any
    done: Any
    count: Any
    doubt: Doubt


def slack_of(value: Any) -> Any:
    """Return how much of a difference of values is rounding."""
    return 64 * np.finfo(value.dtype).eps * cnp.abs(value)


def strong_wolfe(
    value_and_grad: Callable[[Any], tuple[Any, Any]], x: Any, value: Any, gradient: Any,
    direction: Any, first: Any, *, max_trials: int = 40,
) -> tuple[Any, Any, Any, Doubt]:  # fmt: skip
    """Return a point that meets the strong Wolfe conditions, or the lowest one that was tried.

    J. Nocedal, S. Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6, as one loop with
    one evaluation a turn: the outer end of the interval lies at infinity until one is found.
    Trials are minima of the cubic through both ends (their equation 3.59), every third the middle.
    A value that is not finite counts as too high.

    Args:
        value_and_grad: Of a vector.
        x: Where the line starts.
        value: The value there.
        gradient: The gradient there.
        direction: A direction of descent.
        first: The first step to try.
        max_trials: The largest number of evaluations.

    Returns:
        `(step, value, gradient, doubt)` of the point; the step is 0 if no lower one was found.
    """
    slope = gradient @ direction
    infinite = number(np.inf, x)
    slack = slack_of(value)
    reach = largest(direction) / (1 + largest(x))
    eps = float(np.finfo(x.dtype).eps)

    def turn(s: _Search) -> _Search:
        at, g = value_and_grad(x + s.trial * direction)
        now = Point(s.trial, at, g @ direction)
        finite = cnp.isfinite(at) & cnp.isfinite(now.slope)
        enough = at <= value + DECREASE * s.trial * slope + slack
        lower = (s.low.step == 0) | (at < s.low.value + slack)
        good = finite & enough & lower
        done = good & (cnp.abs(now.slope) <= -CURVATURE * slope)
        rising = now.slope * (s.high.step - s.low.step) >= 0
        high = _chosen(good & ~rising, s.high, _chosen(good, s.low, now))
        low = _chosen(good, now, s.low)
        lowest = cnp.where(good, g, s.gradient)
        count = s.count + 1
        trial = cnp.where(cnp.isfinite(high.step), _inside(low, high, count), _beyond(s.low, now))
        # What is left of the interval cannot be told from x any more.
        narrow = cnp.abs(high.step - low.step) * reach <= eps
        doubt = _doubted(s.doubt, value, slope, now)
        return _Search(low, lowest, high, trial, done | narrow, count, doubt)

    start = _Search(
        Point(number(0, x), value, slope), gradient, Point(infinite, infinite, infinite),
        cnp.asarray(first), np.bool_(False), np.int64(0), Doubt(infinite, number(0, x)),
    )  # fmt: skip
    end = while_loop(lambda s: ~s.done & (s.count < max_trials), turn, start)
    return end.low.step, end.low.value, end.gradient, end.doubt


def _doubted(before: Doubt, value: Any, slope: Any, now: Point) -> Doubt:
    curvature = (now.slope - slope) / now.step
    known = cnp.isfinite(before.gain) | ~(curvature > 0)
    gain = cnp.where(known, before.gain, 0.5 * slope * slope / cnp.where(known, 1.0, curvature))
    error = disagreement(now.value - value, now.step * slope, now.step * now.slope)
    return Doubt(gain, cnp.maximum(0.5 * before.noise, error))


def disagreement(change: Any, before: Any, after: Any) -> Any:
    """Return by how much a value changes otherwise than slopes say, those at both ends of a step.

    The trapezoidal rule is right to the third order of the step.
    """
    error = cnp.abs(change - 0.5 * (before + after))
    return cnp.where(cnp.isfinite(error), error, 0.0)


def _chosen(on: Any, a: Point, b: Point) -> Point:
    return Point(*(cnp.where(on, u, v) for u, v in zip(a, b, strict=True)))


def _inside(low: Point, high: Point, count: Any) -> Any:
    """Return where the cubic through both ends is least, well inside of them."""
    width = high.step - low.step
    d = low.slope + high.slope - 3 * (low.value - high.value) / (low.step - high.step)
    root = cnp.sign(width) * cnp.sqrt(cnp.maximum(d * d - low.slope * high.slope, 0))
    share = 1 - (high.slope + root - d) / (high.slope - low.slope + 2 * root)
    share = cnp.where(cnp.isfinite(share) & (count % 3 > 0), share, 0.5)
    # Where the far end is not finite, be careful.
    share = cnp.where(cnp.isfinite(high.value) & cnp.isfinite(high.slope), share, 0.1)
    return low.step + cnp.clip(share, 0.05, 0.95) * width


def _beyond(before: Point, now: Point) -> Any:
    """Return a longer step: where the slope would be 0, but twice to ten times as long."""
    share = now.slope / (before.slope - now.slope)
    guess = now.step + (now.step - before.step) * share
    guess = cnp.where(cnp.isfinite(guess) & (guess > 0), guess, 4 * now.step)
    return cnp.clip(guess, 2 * now.step, 10 * now.step)


def backtracked(
    value_at: Callable[[Any], Any], value: Any, slope: Any, *, max_trials: int = 40
) -> Any:
    """Return a step that lowers the value enough: 1, or shorter; 0 if there is none.

    Nocedal and Wright (2006), algorithm 3.1; the next trial is where the parabola through value,
    slope and the last trial is least, at a tenth to a half of it.

    Args:
        value_at: The value after a step.
        value: The value at the start.
        slope: Its slope there, negative.
        max_trials: The largest number of evaluations.
    """
    slack = slack_of(value)

    def fits(step: Any, at: Any) -> Any:
        return cnp.isfinite(at) & (at <= value + DECREASE * step * slope + slack)

    def turn(s: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        step, at, count = s
        least = -slope * step * step / (2 * (at - value - slope * step))
        least = cnp.where(cnp.isfinite(least), least, 0.0)
        step = cnp.clip(least, 0.1 * step, 0.5 * step)
        return step, value_at(step), count + 1

    one = number(1, value)
    step, at, _ = while_loop(
        lambda s: ~fits(s[0], s[1]) & (s[2] < max_trials), turn, (one, value_at(one), np.int64(1))
    )
    return cnp.where(fits(step, at), step, 0.0)
