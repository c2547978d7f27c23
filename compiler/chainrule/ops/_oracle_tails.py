"""NumPy meanings of functions with tails, by other formulas than compiled code has.

Squares are taken with their rounding errors, tails of the normal distribution by a continued
fraction, values near a zero by quadrature of the derivative.  Of complex arguments, which only a
complex step has, values are the first two terms of Taylor's series.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from chainrule.ir.types import Array

__all__ = ["atan2_slope", "cbrt", "cbrt_slope", "cos_pi", "entr", "erf_slope", "gelu",
           "gelu_slope", "gelu_tanh", "gelu_tanh_weight", "log2", "log10", "log_ndtr",
           "log_ndtr_slope", "log_quotient", "logit", "ndtr", "ndtr_slope", "rel_entr",
           "sigmoid_slope", "silu", "silu_slope", "sin_pi", "sinc_value", "tan_slope",
           "tanh_slope"]  # fmt: skip

Real = Callable[[Array], Array]

_DENSITY: Final = 1 / math.sqrt(2 * math.pi)
_ROOT_HALF: Final = (0.7071067811865476, -4.833646656726457e-17)
"The square root of 1/2, in two parts."
_GELU_ROOT: Final = (0.7517915246935645, -1.4956759177009883e-17)
_SILU_ROOT: Final = (1.2784645427610737, 1.0946994183093437e-16)
"Minus where the slopes of gelu and silu are 0, in two parts."
_GELU_TANH: Final = (
    (1.5957691216057308, -9.96930880911092e-17), (0.044715, 2.1960211427085595e-18),
)  # fmt: skip
"The argument of gelu by tanh is (first) x (1 + second x^2): both factors, in two parts."
_FRACTION_FROM: Final = 5.0
_FRACTION_TERMS: Final = 60


def _real(value: Real, slope: Real | None = None) -> Callable[[Any], Array]:
    """Take a function of doubles to arrays of any floating type, and to complex ones by `slope`."""

    @functools.wraps(value)
    def of_arrays(x: Any) -> Array:
        with np.errstate(all="ignore"):
            if np.iscomplexobj(x):
                assert slope is not None, "a complex step needs the slope"
                at = np.real(x)
                return np.asarray(value(at) + 1j * slope(at) * np.imag(x))
            given = np.asarray(x)
            return np.asarray(value(given.astype(np.float64)), dtype=given.dtype)

    return of_arrays


def _product(a: Array, b: Any) -> tuple[Array, Array]:
    """Return the product and its rounding error (Veltkamp, Dekker); of huge numbers, no error."""

    def halves(x: Array) -> tuple[Array, Array]:
        shifted = x * 134217729.0
        high = shifted - (shifted - x)
        return high, x - high

    p = a * b
    (a1, a2), (b1, b2) = halves(np.asarray(a)), halves(np.asarray(b))
    error = a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)
    return p, np.where(np.isfinite(error), error, 0.0)


def _bell(x: Array, halves: float, factor: Any = 1.0) -> Array:
    """Return exp(-x^2 * halves) * factor, by two factors of which none is subnormal."""
    square, left = _product(x, x)
    root = np.exp(square * (-halves / 2)) * np.exp(left * (-halves / 2))
    return np.asarray(root * factor * root)


def _fraction(a: Array) -> Array:
    """Return the density over the distribution function at -a, by Laplace's continued fraction."""
    f = a
    for k in range(_FRACTION_TERMS, 0, -1):
        f = a + k / f
    return f


def _tail(a: Array, factor: Any = 1.0) -> Array:
    """Return `factor` times the normal distribution function at -a, a >= 0."""
    near = np.minimum(a, _FRACTION_FROM)
    z, left = _product(near, _ROOT_HALF[0])
    left = left + near * _ROOT_HALF[1]
    core = np.vectorize(math.erfc, otypes=[float])(z) if z.size else z
    inner = 0.5 * (core - 2 / math.sqrt(math.pi) * np.exp(-z * z) * left) * factor
    far = np.clip(a, _FRACTION_FROM, 50.0)
    outer = _bell(far, 0.5, _DENSITY / _fraction(far) * factor)
    return np.asarray(np.where(a <= _FRACTION_FROM, inner, np.where(np.isnan(a), a, outer)))


def _density(x: Array) -> Array:
    return _bell(np.clip(x, -50.0, 50.0), 0.5, _DENSITY)


def _ndtr(x: Array) -> Array:
    tail = _tail(np.abs(x))
    return np.where(x < 0, tail, 1 - tail)


def _gelu(x: Array) -> Array:
    a = np.abs(x)
    part = _tail(a, np.minimum(a, 50.0))
    return np.where(x < 0, -part, x - part)


def _from_root(x: Array, root: tuple[float, float], second: Real) -> Array:
    """Return the integral of `second` from -root to x."""
    t, weight = np.polynomial.legendre.leggauss(24)
    length = (x + root[0]) + root[1]
    at = x[..., None] - length[..., None] * (1 - t) / 2
    return np.asarray(length * np.sum(weight * second(at), -1) / 2)


def _gelu_slope(x: Array) -> Array:
    a = np.abs(x)
    bounded = np.minimum(a, 50.0)
    part = np.where(
        a > _FRACTION_FROM,
        _tail(a, 1 - bounded * _fraction(np.maximum(bounded, _FRACTION_FROM))),
        _tail(a) - bounded * _density(bounded),
    )
    near = np.abs(a - _GELU_ROOT[0]) < 0.3
    at_root = _from_root(np.where(near, -a, -1.0), _GELU_ROOT, lambda v: _density(v) * (2 - v * v))
    part = np.where(near, at_root, part)
    return np.where(x < 0, part, 1 - part)


def _log_ndtr(x: Array) -> Array:
    a = np.maximum(-x, _FRACTION_FROM)
    square, left = _product(a, a)
    far = -square / 2 - (left / 2 + np.log(_fraction(a) / _DENSITY))
    near = np.log(_ndtr(np.clip(x, -_FRACTION_FROM, 0)))
    return np.where(x < -_FRACTION_FROM, far, np.where(x < 0, near, np.log1p(-_tail(np.abs(x)))))


def _log_ndtr_slope(x: Array) -> Array:
    far = _fraction(np.maximum(-x, _FRACTION_FROM))
    near = np.maximum(x, -_FRACTION_FROM)
    return np.where(x < -_FRACTION_FROM, far, _density(near) / _ndtr(near))


ndtr: Final = _real(_ndtr, _density)
ndtr_slope: Final = _real(_density, lambda x: -x * _density(x))
gelu: Final = _real(_gelu, lambda x: _ndtr(x) + x * _density(x))
gelu_slope: Final = _real(_gelu_slope, lambda x: (2 - x * x) * _density(x))
log_ndtr: Final = _real(_log_ndtr, _log_ndtr_slope)
log_ndtr_slope: Final = _real(
    _log_ndtr_slope, lambda x: -_log_ndtr_slope(x) * (x + _log_ndtr_slope(x))
)


def _logistic(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def _sigmoid_slope(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(e / (1 + e) / (1 + e))


def _silu(x: Array) -> Array:
    a = np.abs(x)
    half = np.exp(-a / 2)
    tail = -(half * (np.minimum(a, 1600.0) / (1 + np.exp(-a))) * half)
    return np.asarray(np.where(x < 0, tail, x / (1 + np.exp(-a))))


def _silu_slope(x: Array) -> Array:
    a = np.abs(x)
    bounded, half, e = np.minimum(a, 1600.0), np.exp(-a / 2), np.exp(-a)
    part = half * ((1 - bounded + e) / (1 + e) ** 2) * half
    near = np.abs(a - _SILU_ROOT[0]) < 0.3
    inner = _from_root(np.where(near, -a, -1.0), _SILU_ROOT, _silu_second)
    part = np.where(near, inner, part)
    return np.where(x < 0, part, 1 - part)


def _silu_second(x: Array) -> Array:
    return np.asarray(_sigmoid_slope(x) * (2 + x * (_logistic(-x) - _logistic(x))))


def _gelu_tanh_argument(a: Array) -> tuple[Array, Array]:
    """Return what gelu by tanh takes the logistic function of, in two parts, for a >= 0."""
    square, left = _product(a, a)
    term, lost = _product(square, _GELU_TANH[1][0])
    lost = lost + left * _GELU_TANH[1][0] + square * _GELU_TANH[1][1]
    factor = 1 + term
    more = np.where(term < 1, term - (factor - 1), 1 - (factor - term)) + lost
    product, error = _product(a, factor)
    head, rest = _product(product, _GELU_TANH[0][0])
    return head, rest + (error + a * more) * _GELU_TANH[0][0] + product * _GELU_TANH[0][1]


def _gelu_tanh_weight(x: Array) -> Array:
    head, rest = _gelu_tanh_argument(np.minimum(np.abs(x), 30.0))
    e = np.exp(-head) * (1 - rest)
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def _gelu_tanh_weight_slope(x: Array) -> Array:
    slope = _GELU_TANH[0][0] * (1 + 3 * _GELU_TANH[1][0] * np.minimum(x * x, 900.0))
    return np.asarray(_gelu_tanh_weight(x) * _gelu_tanh_weight(-x) * slope)


def _gelu_tanh(x: Array) -> Array:
    a = np.minimum(np.abs(x), 30.0)
    head, rest = _gelu_tanh_argument(a)
    half = np.exp(-head / 2)
    e = half * half * (1 - rest)
    return np.asarray(np.where(x < 0, -(half * (a * (1 - rest) / (1 + e)) * half), x / (1 + e)))


gelu_tanh_weight: Final = _real(_gelu_tanh_weight, _gelu_tanh_weight_slope)
gelu_tanh: Final = _real(
    _gelu_tanh, lambda x: _gelu_tanh_weight(x) + x * _gelu_tanh_weight_slope(x)
)
silu: Final = _real(_silu, lambda x: _logistic(x) + x * _sigmoid_slope(x))
silu_slope: Final = _real(_silu_slope, _silu_second)
sigmoid_slope: Final = _real(
    _sigmoid_slope, lambda x: _sigmoid_slope(x) * (_logistic(-x) - _logistic(x))
)


def _erf_slope(x: Array) -> Array:
    return _bell(np.clip(x, -30.0, 30.0), 1.0, 2 / math.sqrt(math.pi))


erf_slope: Final = _real(_erf_slope, lambda x: -2 * x * _erf_slope(x))


def _tanh_slope(x: Array) -> Array:
    half = np.exp(-np.abs(x))
    return np.asarray(half * (4 / (1 + half * half) ** 2) * half)


tanh_slope: Final = _real(_tanh_slope, lambda x: -2 * np.tanh(x) * _tanh_slope(x))
tan_slope: Final = _real(lambda x: 1 / np.cos(x) ** 2, lambda x: 2 * np.tan(x) / np.cos(x) ** 2)

# Powers and logarithms


def _cbrt_slope(x: Array) -> Array:
    root = np.cbrt(x)
    return np.asarray(1 / (3 * (root * root)))


cbrt: Final = _real(np.cbrt, _cbrt_slope)
cbrt_slope: Final = _real(_cbrt_slope, lambda x: -2 / 3 * _cbrt_slope(x) / x)


def _based(function: Callable[[Any], Any], scale: float) -> Callable[[Any], Array]:
    return _real(function, lambda x: 1 / (scale * x))


log2: Final = _based(np.log2, math.log(2))
log10: Final = _based(np.log10, math.log(10))


def _logit(p: Array) -> Array:
    middle = np.abs(p - 0.5) <= 0.25
    inner = 2 * np.arctanh(2 * np.where(middle, p, 0.5) - 1)
    return np.where(middle, inner, np.log(p) - np.log1p(-p))


logit: Final = _real(_logit, lambda p: 1 / (p * (1 - p)))


def log_quotient(x: Array, y: Array) -> Array:
    """Return log(x / y), also where the quotient leaves the range or is near 1."""
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return np.asarray(np.log(x) - np.log(y))
    dtype = np.asarray(x).dtype
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        q = a / b
        near = np.abs(q - 1) < 0.5
        close = np.log1p(np.where(near, a - b, 0) / np.where(near, b, 1))
        wide = (q > 1e300) | (np.abs(q) < 1e-300)
        inside = wide & np.isfinite(a) & np.isfinite(b) & (a != 0) & (b != 0) & ((a > 0) == (b > 0))
        parts = np.log(np.abs(a)) - np.log(np.abs(b))
        value = np.where(near, close, np.where(inside, parts, np.log(np.abs(q))))
        negative = (np.signbit(a) != np.signbit(b)) & (a != 0)
        return np.where(negative, np.nan, value).astype(dtype)


def entr(x: Array) -> Array:
    """Return -x log(x), 0 at 0 and -inf below."""
    if np.iscomplexobj(x):
        return np.asarray(-x * np.log(x))
    return np.asarray(_real(_entr)(x))


def _entr(x: Array) -> Array:
    return np.where(x < 0, -np.inf, np.where(x == 0, 0.0, -x * np.log(np.where(x > 0, x, np.nan))))


def rel_entr(x: Array, y: Array) -> Array:
    """Return x log(x / y): 0 where x is 0 and y >= 0, inf outside of x, y > 0."""
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return np.asarray(x * (np.log(x) - np.log(y)))
    dtype = np.asarray(x).dtype
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    inside = (a > 0) & (b > 0)
    one = np.ones_like(a)
    with np.errstate(all="ignore"):
        value = a * log_quotient(np.where(inside, a, one), np.where(inside, b, one))
    outside = np.where((a == 0) & (b >= 0), 0.0, np.inf)
    outside = np.where(np.isnan(a) | np.isnan(b), np.nan, outside)
    return np.where(inside, value, outside).astype(dtype)


# Of multiples of pi


def _turned(x: Array) -> tuple[Array, Array]:
    """Return x less the nearest integer, and minus one to that integer."""
    nearest = np.rint(x)
    return x - nearest, 1 - 2 * np.abs(np.remainder(nearest, 2))


def _sin_pi(x: Array) -> Array:
    rest, sign = _turned(x)
    folded = np.where(np.abs(rest) > 0.25, np.cos(np.pi * (0.5 - np.abs(rest))),
                      np.sin(np.pi * np.abs(rest)))  # fmt: skip
    return np.where(x == 0, x, sign * np.copysign(folded, rest))


def _cos_pi(x: Array) -> Array:
    rest, sign = _turned(x)
    folded = np.where(np.abs(rest) > 0.25, np.sin(np.pi * (0.5 - np.abs(rest))),
                      np.cos(np.pi * np.abs(rest)))  # fmt: skip
    return np.asarray(sign * folded)


sin_pi: Final = _real(_sin_pi, lambda x: np.pi * _cos_pi(x))
cos_pi: Final = _real(_cos_pi, lambda x: -np.pi * _sin_pi(x))


def _sinc(x: Array) -> Array:
    return np.where(x == 0, 1.0, _sin_pi(x) / np.where(x == 0, 1.0, np.pi * x))


def _sinc_slope(x: Array) -> Array:
    return np.where(x == 0, 0.0, (_cos_pi(x) - _sinc(x)) / np.where(x == 0, 1.0, x))


sinc_value: Final = _real(_sinc, _sinc_slope)


def atan2_slope(x: Array, y: Array) -> Array:
    """Return y / (x^2 + y^2); 0 if either is infinite."""
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return np.asarray(y / (x * x + y * y))
    dtype = np.asarray(x).dtype
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        _, power = np.frexp(np.maximum(np.abs(a), np.abs(b)))
        top, own = np.frexp(b)
        square = np.ldexp(a, -power) ** 2 + np.ldexp(b, -power) ** 2
        slope = np.ldexp(top / square, own - 2 * power)
        return np.where(np.isinf(a) | np.isinf(b), 0.0, slope).astype(dtype)
