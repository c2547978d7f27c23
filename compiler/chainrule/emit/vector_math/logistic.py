"""The logistic function, x times it, softplus and logaddexp, with their slopes.

All are made of exp and log1p of a number that is never positive.
"""

from __future__ import annotations

from typing import Final

from chainrule.emit.vector_math.coefficients import SILU_SLOPE
from chainrule.emit.vector_math.exponential import Reduced, exp_of, exp_parts, reduce_exp, scale
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log1p_of

__all__ = [
    "gelu_tanh", "gelu_tanh_weight", "logaddexp", "sigmoid", "sigmoid_slope", "silu", "silu_slope",
    "softplus",
]  # fmt: skip

# Below this exp is zero, also times any number that is not far larger than it is negative.
_LEAST: Final = {"float": -110.0, "double": -755.0}
# Where the slope of silu is 0, in two parts.
_ROOT: Final = {
    "float": (1.2784645557403564, -1.297928265020314e-08),
    "double": (1.2784645427610737, 1.0946994183093437e-16),
}
# The argument of gelu by tanh is 2 sqrt(2/pi) x (1 + 0.044715 x^2): both constants, in two parts.
_GELU_TANH: Final = {
    "float": ((1.5957691669464111, -4.534068042105272e-08),
              (0.044714998453855515, 1.5461444854736329e-09)),
    "double": ((1.5957691216057308, -9.96930880911092e-17),
               (0.044715, 2.1960211427085595e-18)),
}  # fmt: skip
# From here on the tails of gelu by tanh round to zero.
_GELU_TANH_VANISHED: Final = {"float": 12.0, "double": 22.5}


def _reduced_negative(x: Lanes, *, exactly: bool = False) -> Reduced:
    return reduce_exp(x.at_least(_LEAST[x.scalar]), exactly=exactly)


def _exp_of_negative(x: Lanes) -> Lanes:
    reduced = _reduced_negative(x)
    return scale(exp_of(reduced), reduced)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for negative x."""
    e = _exp_of_negative(-abs(x))
    return (x < 0.0).choose(e, 1.0) / (e + 1.0)


def sigmoid_slope(x: Lanes) -> Lanes:
    """s (1 - s) with s = exp(-|x|) / (1 + exp(-|x|))."""
    reduced = _reduced_negative(-abs(x), exactly=True)
    e = scale(exp_of(reduced), reduced)
    divisor, lost = e.constant(1.0).plus_smaller(e)
    s = e / divisor
    # What the divisor lost changes the result by -s (1 - s) (1 - 2 s) of it.
    missing = 1.0 - s
    lost = lost * missing * (missing - s)
    return s.minus_times(s, s + lost)


def _quotient(top: Lanes, more: Lanes, divisor: Lanes, lost: Lanes) -> tuple[Lanes, Lanes]:
    """Return (top + more) / (divisor + lost) as a sum whose second term is small."""
    inverse = 1.0 / divisor
    y = top * inverse
    back, error = y.times_exactly(divisor)
    return y, (((top - back) - error) + more).minus_times(y, lost) * inverse


def silu(x: Lanes) -> Lanes:
    """x / (1 + exp(-x)); for negative x, x times exp(x) is what is scaled by a power of two."""
    bounded = x.at_least(_LEAST[x.scalar])
    reduced = _reduced_negative(-abs(bounded), exactly=True)
    head, rest = exp_parts(reduced)
    divisor, lost = x.constant(1.0).plus_smaller(scale(head + rest, reduced))
    y, y_low = _quotient(bounded, x.constant(0.0), divisor, lost)
    tail = scale(y.times_plus(head, y.times_plus(rest, y_low * head)), reduced)
    y = (x < 0.0).choose(tail, (divisor > 1.0).choose(y + y_low, x))
    return y.copy_sign(x)


def silu_slope(x: Lanes) -> Lanes:
    """For x < 0, e (1 - a + e) / (1 + e)^2 with a = |x|, e = exp(-a); 1 less that for x > 0."""
    a = abs(x).at_most(-_LEAST[x.scalar])
    reduced = _reduced_negative(-a, exactly=True)
    head, rest = exp_parts(reduced)
    e = scale(head + rest, reduced)
    # Near its zero the sum cancels: there it is the distance from the zero times a polynomial.
    high, low = _ROOT[x.scalar]
    distance = (high - a) + low
    near = distance.times_exactly(distance.polynomial(SILU_SLOPE[x.scalar]))
    far = (1.0 - a).plus_exactly(e)
    close = abs(distance) < 0.25
    top, top_low = (close.choose(n, f) for n, f in zip(near, far, strict=True))
    divisor, lost = x.constant(1.0).plus_smaller(e)
    square, left = divisor.times_exactly(divisor)
    y, y_low = _quotient(top, top_low, square, (divisor + divisor).times_plus(lost, left))
    tail = scale(y.times_plus(head, y.times_plus(rest, y_low * head)), reduced)
    return (x < 0.0).choose(tail, 1.0 - tail)


def _gelu_tanh_tail(a: Lanes) -> tuple[Reduced, Lanes, Lanes]:
    """Return exp(-2 u) of a >= 0, where 2 u is the argument: its reduction, and its two parts.

    In one number, the rounding error of 2 u would be multiplied by it.
    """
    (first, first_low), (second, second_low) = _GELU_TANH[a.scalar]
    square, left = a.times_exactly(a)
    term, lost = square.times_exactly(a.constant(second))
    lost = left.times_plus(second, square.times_plus(second_low, lost))
    factor, more = term.plus_exactly(1.0)
    product, error = a.times_exactly(factor)
    error = a.times_plus(more + lost, error)
    head, rest = product.times_exactly(a.constant(first))
    rest = error.times_plus(first, product.times_plus(first_low, rest))
    reduced = reduce_exp(-head, -rest)
    return reduced, *exp_parts(reduced)


def gelu_tanh_weight(x: Lanes) -> Lanes:
    """The logistic function of 2 u: what x is multiplied with in gelu by tanh."""
    reduced, head, rest = _gelu_tanh_tail(abs(x).at_most(_GELU_TANH_VANISHED[x.scalar]))
    e = scale(head + rest, reduced)
    return (x < 0.0).choose(e, 1.0) / (e + 1.0)


def gelu_tanh(x: Lanes) -> Lanes:
    """x times its weight; for negative x, the product is what is scaled by a power of two."""
    a = abs(x).at_most(_GELU_TANH_VANISHED[x.scalar])
    reduced, head, rest = _gelu_tanh_tail(a)
    divisor, lost = x.constant(1.0).plus_smaller(scale(head + rest, reduced))
    y, y_low = _quotient(a, x.constant(0.0), divisor, lost)
    tail = -scale(y.times_plus(head, y.times_plus(rest, y_low * head)), reduced)
    y = (x < 0.0).choose(tail, (divisor > 1.0).choose(y + y_low, x))
    return y.copy_sign(x)


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
