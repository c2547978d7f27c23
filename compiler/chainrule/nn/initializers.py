"""First values of weights: each takes a key, a shape and a dtype.

A weight of shape (inputs, outputs) multiplies from the right, `x @ W`; axes before the last two,
as of a convolution, count as the extent of its window.  Each raises `ShapeError` for a shape that
is none, `DTypeError` for a dtype that is not of floating point, and `StructureError` for what is no
key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import random
from chainrule.errors import ShapeError, explain
from chainrule.random.checks import any_type, element_type, shape_asked
from chainrule.typing import Array, DType, Key

__all__ = [
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "zeros",
]


def glorot_uniform(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Draw uniformly with variance 2 / (inputs + outputs), for tanh and sigmoid.

    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    >>> W = glorot_uniform(random.key(0), (64, 32))
    >>> W.shape, bool(abs(W).max() <= (6 / 96) ** 0.5)
    ((64, 32), True)
    """
    inputs, outputs = _fans(shape)
    bound = math.sqrt(6 / (inputs + outputs))
    return random.uniform(key, shape, dtype, -bound, bound)


def glorot_normal(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Draw normally with variance 2 / (inputs + outputs); source as of `glorot_uniform`.

    >>> glorot_normal(random.key(0), (64, 32)).dtype
    dtype('float32')
    """
    inputs, outputs = _fans(shape)
    return _normal(key, shape, dtype, 2 / (inputs + outputs))


def he_uniform(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Draw uniformly with variance 2 / inputs, for relu and its kin.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.

    >>> bool(abs(he_uniform(random.key(0), (64, 32))).max() <= (6 / 64) ** 0.5)
    True
    """
    inputs, _ = _fans(shape)
    bound = math.sqrt(6 / inputs)
    return random.uniform(key, shape, dtype, -bound, bound)


def he_normal(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Draw normally with variance 2 / inputs; source as of `he_uniform`.

    >>> bool(abs(he_normal(random.key(0), (200, 200)).std() * 10 - 1) < 0.05)
    True
    """
    inputs, _ = _fans(shape)
    return _normal(key, shape, dtype, 2 / inputs)


def lecun_normal(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Draw normally with variance 1 / inputs.

    Y. LeCun, L. Bottou, G. B. Orr, K.-R. Müller, "Efficient backprop", 1998.

    >>> lecun_normal(random.key(0), (64, 32)).shape
    (64, 32)
    """
    inputs, _ = _fans(shape)
    return _normal(key, shape, dtype, 1 / inputs)


def zeros(key: Key, shape: tuple[int, ...], dtype: DType = np.float32) -> Array:
    """Return zeros; `key` is not used, so that biases and weights are made alike.

    >>> zeros(random.key(0), (2,)).tolist()
    [0.0, 0.0]
    """
    del key
    return np.zeros(shape_asked(shape, "zeros"), any_type(dtype, "zeros").numpy)


def _normal(key: Key, shape: tuple[int, ...], dtype: DType, variance: float) -> Array:
    """Draw normally; what has 16 bits is scaled before it is rounded to them."""
    kind = element_type(dtype, "an initialiser")
    drawn = random.normal(key, shape, np.float32 if kind.is_half else kind.numpy)
    return (drawn * math.sqrt(variance)).astype(kind.numpy, copy=False)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the numbers of inputs and outputs that one weight is among; at least 1 each."""
    given: Any = shape
    if not isinstance(given, tuple | list) or len(given) < 2:
        raise ShapeError(
            explain("a weight has an axis of inputs and one of outputs; "
                    f"the shape is {shape!r:.60}",
                    hint="biases are made by zeros, or drawn by chainrule.random")
        )  # fmt: skip
    shape = shape_asked(shape, "an initialiser")
    window = math.prod(shape[:-2])
    return max(1, window * shape[-2]), max(1, window * shape[-1])
