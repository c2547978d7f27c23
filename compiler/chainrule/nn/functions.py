"""Functions between layers: elementwise but for `softmax`, `log_softmax` and `logsumexp`.

All take arrays of any shape, traced or plain, and keep float32 float32.  Where a function has a
corner, its docstring says which slope it takes there.
"""

from __future__ import annotations

import numpy as np

import chainrule.numpy as cnp
from chainrule import special
from chainrule.typing import Array, DType

__all__ = [
    "elu",
    "gelu",
    "leaky_relu",
    "log_softmax",
    "logsumexp",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
]


def relu(x: Array) -> Array:
    """Return max(x, 0); the slope at 0 is 0.

    >>> relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return special.relu(x)


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """Return x where it is positive, else `negative_slope` * x; the slope at 0 is that of the left.

    A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013.

    >>> leaky_relu(np.array([-1.0, 2.0])).tolist()
    [-0.01, 2.0]
    """
    return cnp.where(x > 0, x, negative_slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return x where it is positive, else `alpha` * (exp(x) - 1); the slope at 0 is `alpha`.

    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016.

    >>> elu(np.array([-1.0, 2.0])).round(4).tolist()
    [-0.6321, 2.0]
    """
    # The exponential is taken of what is selected only: of a large x it would overflow.
    return cnp.where(x > 0, x, alpha * cnp.expm1(cnp.where(x > 0, 0.0, x)))


def gelu(x: Array, approximate: bool = False) -> Array:
    """Return x Φ(x), where Φ is the distribution function of the standard normal distribution.

    D. Hendrycks, K. Gimpel, "Gaussian error linear units", arXiv:1606.08415.

    Args:
        x: An array.
        approximate: Use their formula with tanh instead of erf, which is off by up to 5e-4.

    Returns:
        An array like `x`.

    >>> gelu(np.array([-1.0, 2.0])).round(4).tolist()
    [-0.1587, 1.9545]
    """
    return special.gelu(x, approximate)


def silu(x: Array) -> Array:
    """Return x / (1 + exp(-x)), also called swish.

    >>> silu(np.array([-1.0, 2.0])).round(4).tolist()
    [-0.2689, 1.7616]
    """
    return special.silu(x)


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), without overflow and without loss for negative x.

    >>> softplus(np.array([-1.0, 1000.0])).round(4).tolist()
    [0.3133, 1000.0]
    """
    return special.softplus(x)


def sigmoid(x: Array) -> Array:
    """Return the logistic function 1 / (1 + exp(-x)), SciPy's `expit`.

    >>> sigmoid(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    return special.expit(x)


def softmax(x: Array, axis: int | tuple[int, ...] | None = -1) -> Array:
    """Return exp(x) divided by its sum along `axis`, without overflow.

    >>> softmax(np.array([0.0, 0.0, 1000.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    return special.softmax(x, axis=axis)


def log_softmax(x: Array, axis: int | tuple[int, ...] | None = -1) -> Array:
    """Return the logarithm of `softmax`, finite where that rounds to 0.

    >>> log_softmax(np.array([0.0, 1000.0])).tolist()
    [-1000.0, 0.0]
    """
    return special.log_softmax(x, axis=axis)


def logsumexp(x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """Return log(sum(exp(x))) along `axis`, all axes unless given, without overflow.

    >>> float(logsumexp(np.array([1000.0, 1000.0])).round(4))
    1000.6931
    """
    return special.logsumexp(x, axis=axis, keepdims=keepdims)


def one_hot(labels: Array, classes: int, dtype: DType = np.float32) -> Array:
    """Return rows that are 1 at the label and 0 elsewhere.

    Args:
        labels: Integers of shape S; a label outside [0, classes) makes a row of zeros.
        classes: The number of columns.
        dtype: The result's dtype.

    Returns:
        An array of shape (*S, classes).

    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    columns = cnp.arange(classes, dtype=labels.dtype)
    return (cnp.expand_dims(labels, -1) == columns).astype(dtype)
