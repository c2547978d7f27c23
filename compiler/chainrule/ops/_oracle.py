"""NumPy meanings of ops that NumPy spells differently or not at all.

Written for clarity and accuracy, not speed: the reference evaluator is what compiled code is
measured against, and shares no formula with it.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from chainrule.ir.types import Array

__all__ = ["erf", "erfc", "floor_divide", "fmod", "log1mexp", "log_softmax", "logsumexp", "norm",
           "one_minus_square", "p_norm", "power", "relu", "remainder", "rsqrt", "shift_left",
           "shift_right", "sigmoid", "sinc", "softmax", "softplus", "weighted_exp", "xlog1py",
           "xlogy"]  # fmt: skip


def _wide(x: Array) -> Array:
    """Compute in double precision, or in complex numbers for a complex step."""
    return x if np.iscomplexobj(x) else np.asarray(x, dtype=np.float64)


def _like(result: Any, x: Array) -> Array:
    return np.asarray(result) if np.iscomplexobj(result) else np.asarray(result, dtype=x.dtype)


def rsqrt(x: Array) -> Array:
    """Return 1 / sqrt(x)."""
    return _like(1 / np.sqrt(_wide(x)), x)


def one_minus_square(x: Array) -> Array:
    """Return 1 - x*x without cancellation."""
    x_ = _wide(x)
    return _like((1 - x_) * (1 + x_), x)


def relu(x: Array) -> Array:
    """Return x where it is positive, 0 elsewhere; NaN stays."""
    return np.where(np.real(x) <= 0, np.zeros_like(x), x)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    x_ = _wide(x)
    small = np.exp(np.where(np.real(x_) < 0, x_, -x_))
    return _like(np.where(np.real(x_) < 0, small, 1) / (1 + small), x)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow or cancellation."""
    x_ = _wide(x)
    up = np.real(x_) > 0
    return _like(np.where(up, x_, 0) + np.log1p(np.exp(np.where(up, -x_, x_))), x)


def log1mexp(x: Array) -> Array:
    """Return log(1 - exp(x)) for negative x, without cancellation at either end."""
    x_ = _wide(x)
    near = np.real(x_) > -0.5
    return _like(
        np.where(near, np.log(-np.expm1(np.where(near, x_, -1))),
                 np.log1p(-np.exp(np.where(near, -1, x_)))), x,
    )  # fmt: skip


def erf(x: Array) -> Array:
    """Return the error function (of complex arguments near the real axis by its Taylor step)."""
    if np.iscomplexobj(x):
        real = np.vectorize(math.erf, otypes=[float])(np.real(x))
        slope = 2 / math.sqrt(math.pi) * np.exp(-(np.real(x) ** 2))
        return np.asarray(real + 1j * slope * np.imag(x))
    return _like(np.vectorize(math.erf, otypes=[float])(_wide(x)), x)


def erfc(x: Array) -> Array:
    """Return 1 - erf(x) without cancellation."""
    if np.iscomplexobj(x):
        real = np.vectorize(math.erfc, otypes=[float])(np.real(x))
        return np.asarray(real + np.conj(erf(x) - np.real(erf(x))))
    return _like(np.vectorize(math.erfc, otypes=[float])(_wide(x)), x)


def xlogy(x: Array, y: Array) -> Array:
    """Return x log(y), and 0 where x is 0 and y is a number."""
    dead = (x == 0) & ~np.isnan(y)
    return np.where(dead, np.zeros_like(x), x * np.log(np.where(dead, np.ones_like(y), y)))


def xlog1py(x: Array, y: Array) -> Array:
    """Return x log(1 + y), and 0 where x is 0 and y is a number."""
    dead = (x == 0) & ~np.isnan(y)
    return np.where(dead, np.zeros_like(x), x * np.log1p(np.where(dead, np.zeros_like(y), y)))


def weighted_exp(w: Array, x: Array) -> Array:
    """Return w exp(x), and 0 where w is 0."""
    return np.where(w == 0, np.zeros_like(w), w * np.exp(np.where(w == 0, np.zeros_like(x), x)))


def p_norm(x: Array, *, axes: tuple[int, ...], order: float) -> Array:
    """Return the sum of powers of sizes to the inverse power, without overflow or underflow."""
    size = np.abs(_wide(x))
    if order > 0:
        top = np.max(size, axis=axes, keepdims=True, initial=0)
    else:
        top = np.min(size, axis=axes, keepdims=True, initial=np.inf)
    scale = np.where((top == 0) | ~np.isfinite(top), 1, top)
    total = np.sum((size / scale) ** order, axis=axes)
    return _like(total ** (1 / order) * np.squeeze(scale, axes), x)


@functools.cache
def _quadrature() -> tuple[Array, Array]:
    """Return the points and weights of a Gauss rule on [0, 1]."""
    t, weight = np.polynomial.legendre.leggauss(200)
    return (t + 1) / 2, weight / 2


def sinc(x: Array, *, order: int) -> Array:
    """Return the `order`-th derivative of sin(pi x)/(pi x), by quadrature of its integral form.

    d^k/dz^k sin(z)/z is the integral of t^k cos(z t + k pi/2) for t from 0 to 1.
    """
    if order == 0:
        return np.sinc(x)
    t, weight = _quadrature()
    z = np.pi * _wide(x)[..., None]
    # cos(u + k pi/2) without rounding the quarter turns, so that odd orders are 0 at 0.
    turn = (np.cos, lambda u: -np.sin(u), lambda u: -np.cos(u), np.sin)[order % 4]
    return _like(np.pi**order * np.sum(weight * t**order * turn(z * t), -1), x)


def power(x: Array, y: Array) -> Array:
    """Return x**y; a negative power of an integer is 0, as truncation has it."""
    if np.issubdtype(np.asarray(x).dtype, np.signedinteger):
        safe = np.power(x, np.maximum(y, 0))
        inverse = np.where(x == 1, 1, np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0))
        return np.where(y < 0, inverse, safe).astype(x.dtype)
    return np.power(x, y)


def remainder(x: Array, y: Array) -> Array:
    """Return the remainder with the sign of the divisor; 0 for an integer divided by 0."""
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return np.asarray(x - y * np.floor(np.real(x) / np.real(y)))
    return np.remainder(x, y)


def fmod(x: Array, y: Array) -> Array:
    """Return the remainder with the sign of the dividend."""
    if np.iscomplexobj(x) or np.iscomplexobj(y):
        return np.asarray(x - y * np.trunc(np.real(x) / np.real(y)))
    return np.fmod(x, y)


def floor_divide(x: Array, y: Array) -> Array:
    """Return the quotient rounded down; 0 for an integer divided by 0."""
    return np.floor_divide(x, y)


def shift_left(x: Array, y: Array) -> Array:
    """Return x * 2**y in the type's own width; shifting everything out leaves 0."""
    bits = np.asarray(x).dtype.itemsize * 8
    kept = (np.asarray(y) >= 0) & (np.asarray(y) < bits)
    return np.where(kept, np.left_shift(x, np.where(kept, y, 0)), 0).astype(np.asarray(x).dtype)


def shift_right(x: Array, y: Array) -> Array:
    """Return x / 2**y rounded down; shifting everything out leaves the sign."""
    bits = np.asarray(x).dtype.itemsize * 8
    kept = (np.asarray(y) >= 0) & (np.asarray(y) < bits)
    dtype = np.asarray(x).dtype
    shifted = np.right_shift(x, np.where(kept, y, bits - 1).astype(dtype))
    return np.asarray(np.where(kept | (np.asarray(x) < 0), shifted, 0), dtype=dtype)


def softmax(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Return exp(x) / sum(exp(x))."""
    x_ = _wide(x)
    if 0 in x_.shape:
        return _like(x_, x)
    e = np.exp(x_ - np.max(np.real(x_), axis=axes, keepdims=True))
    return _like(e / np.sum(e, axis=axes, keepdims=True), x)


def logsumexp(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Return log(sum(exp(x))); -inf for nothing but -inf."""
    x_ = _wide(x)
    if 0 in x_.shape:
        return _like(np.log(np.sum(np.exp(x_), axis=axes)), x)
    top = np.max(np.real(x_), axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return _like(np.log(np.sum(np.exp(x_ - top), axis=axes)) + np.squeeze(top, axes), x)


def log_softmax(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Return x - logsumexp(x), the maximum taken out of both before they are rounded."""
    x_ = _wide(x)
    if 0 in x_.shape:
        return _like(x_, x)
    top = np.max(np.real(x_), axis=axes, keepdims=True)
    shifted = x_ - np.where(np.isfinite(top), top, 0)
    return _like(shifted - np.log(np.sum(np.exp(shifted), axis=axes, keepdims=True)), x)


def norm(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Return the square root of the sum of squares without overflow or underflow."""
    x_ = _wide(x)
    top = np.max(np.abs(x_), axis=axes, keepdims=True, initial=0)
    scale = np.where((top == 0) | ~np.isfinite(top), 1, top)
    return _like(np.sqrt(np.sum((x_ / scale) ** 2, axis=axes)) * np.squeeze(scale, axes), x)
