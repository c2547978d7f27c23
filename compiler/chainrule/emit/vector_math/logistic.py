"""sigmoid, softplus and logaddexp: exp and log1p of a number that is never positive."""

from __future__ import annotations

from chainrule.emit.vector_math.exponential import exp_of, reduce_exp, scale
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log1p_of

__all__ = ["logaddexp", "sigmoid", "softplus"]


def _exp_of_negative(x: Lanes, *, exactly: bool = False) -> Lanes:
    reduced = reduce_exp(x.at_least(-746.0 if x.is_double else -104.5), exactly=exactly)
    return scale(exp_of(reduced), reduced)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for negative x."""
    e = _exp_of_negative(-abs(x))
    return (x < 0.0).choose(e, 1.0) / (e + 1.0)


def softplus(x: Lanes) -> Lanes:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    e = _exp_of_negative(-abs(x))
    # Adding to x, not to a selected 0, keeps NaN.
    y = log1p_of(e)
    return (x <= 0.0).choose(y, x + y)


def logaddexp(a: Lanes, b: Lanes) -> Lanes:
    """log(exp(a) + exp(b)), as max(a, b) + log1p(exp(-|a - b|))."""
    # Infinities of one sign have no difference, but they are equal.
    distance = a.equals(b).choose(a.constant(0.0), abs(a - b))
    y = (a > b).choose(a, b) + log1p_of(_exp_of_negative(-distance))
    return distance.is_nan().choose(distance, y)
