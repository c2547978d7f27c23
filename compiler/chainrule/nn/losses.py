"""Losses, unreduced: one value an element or an example, so that weighting and averaging are yours.

`cnp.mean(softmax_cross_entropy(logits, labels))` is the usual objective.  Predictions of shape
(n, 1) beside targets of shape (n,) are refused: they would broadcast to (n, n), every prediction
compared with every target, and the mean would be a number that looks right.
"""

from __future__ import annotations

import numpy as np

import chainrule.numpy as cnp
from chainrule import special
from chainrule.errors import DTypeError, ShapeError, explain
from chainrule.frontend.locate import user_line
from chainrule.numpy.indexing import refuse_negative
from chainrule.typing import Array

__all__ = [
    "absolute_error",
    "huber",
    "mean_squared_error",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
]


def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the negative log-likelihood of the labels, one value an example.

    With p = softmax(logits) it is -log p[label], or -sum(q log p) for a row q of probabilities;
    the slope for the logits is p - q.  A class of probability 0 contributes 0, even where its
    logit is -inf.

    Args:
        logits: An array of shape (*S, classes), of any real values.
        labels: Integers in [0, classes) of shape S; or rows of probabilities, of the shape of
            `logits`.

    Returns:
        An array of shape S.

    Raises:
        ShapeError: `labels` has neither the shape of `logits` nor one axis fewer.
        DTypeError: Labels of shape S are not integers.
        IndexError: One is below 0, or not below the number of classes.

    >>> logits = np.array([[0.0, 0.0], [1000.0, 0.0]])
    >>> softmax_cross_entropy(logits, np.array([1, 1])).round(4).tolist()
    [0.6931, 1000.0]
    """
    logits, labels = cnp.asarray(logits), cnp.asarray(labels)
    _check_labels(logits, labels)
    log_p = special.log_softmax(logits, axis=-1)
    if labels.ndim == logits.ndim:
        # Only 0 * -inf is taken out: elsewhere the slope for the labels stays -log p.
        impossible = cnp.logical_and(labels == 0, log_p == -np.inf)
        return -cnp.sum(labels * cnp.where(impossible, 0.0, log_p), axis=-1)
    refuse_negative(labels, "a label is below 0")
    picked = cnp.take_along_axis(log_p, cnp.expand_dims(labels, -1), axis=-1)
    return -cnp.squeeze(picked, axis=-1)


def _check_labels(logits: Array, labels: Array) -> None:
    facts = (
        f"logits  {logits.dtype}{list(logits.shape)}",
        f"labels  {labels.dtype}{list(labels.shape)}",
        f"at  {user_line()}",
    )
    hint = "labels are integers of shape (batch,), or probabilities of shape (batch, classes)"
    expected = logits.shape if labels.ndim == logits.ndim else logits.shape[:-1]
    if labels.ndim not in (logits.ndim, logits.ndim - 1) or labels.shape != expected:
        raise ShapeError(explain("labels do not fit the logits", *facts, hint=hint))
    if labels.ndim < logits.ndim and not np.issubdtype(labels.dtype, np.integer):
        raise DTypeError(explain("labels are not integers", *facts, hint=hint))


def _check_pair(name: str, given: tuple[Array, Array], names: tuple[str, str]) -> None:
    """Refuse two arrays of which each would be copied along an axis of the other.

    Raises:
        ShapeError: They broadcast to more elements than either has.
    """
    first, second = (tuple(np.shape(x)) for x in given)
    rank = max(len(first), len(second))
    pairs = list(
        zip(
            (1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True
        )
    )  # fmt: skip
    if any(a == 1 != b for a, b in pairs) and any(b == 1 != a for a, b in pairs):
        together = [b if a == 1 else a for a, b in pairs]
        raise ShapeError(
            explain(
                f"{name}: {names[0]} and {names[1]} would broadcast to {together}",
                *(f"{n}  {list(s)}" for n, s in zip(names, (first, second), strict=True)),
                f"at  {user_line()}",
                hint="give both the same shape: predictions[:, 0] drops an axis of extent 1, "
                "targets[:, None] adds one",
            )
        )


def sigmoid_binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the negative log-likelihood of independent yes-or-no labels, elementwise.

    With p = sigmoid(logits) it is -q log p - (1 - q) log(1 - p) for labels q in [0, 1]; the slope
    for the logits is p - q.  Both logarithms are taken without cancellation, so a confident right
    answer has its true small loss rather than 0.

    Args:
        logits: An array of any finite values.
        labels: Numbers or Booleans in [0, 1], of the shape of `logits`; or one of the two is
            copied along axes that it lacks.

    Returns:
        An array of the larger shape.

    Raises:
        ShapeError: Each of the two would have to be copied.

    >>> logits = np.array([0.0, 800.0, -40.0])
    >>> [float(f"{v:.3g}") for v in sigmoid_binary_cross_entropy(logits, np.array([1, 0, 0]))]
    [0.693, 800.0, 4.25e-18]
    """
    logits, labels = cnp.asarray(logits), cnp.asarray(labels)
    _check_pair("sigmoid_binary_cross_entropy", (logits, labels), ("logits", "labels"))
    # Integer labels become the logits' type: int64 * float32 would be float64.
    if not np.issubdtype(labels.dtype, np.floating):
        labels = labels.astype(logits.dtype)
    return labels * special.softplus(-logits) + (1 - labels) * special.softplus(logits)


def _difference(name: str, predictions: Array, targets: Array) -> Array:
    _check_pair(name, (predictions, targets), ("predictions", "targets"))
    return predictions - targets


def squared_error(predictions: Array, targets: Array) -> Array:
    """Return (predictions - targets)**2, elementwise and without a factor 1/2.

    Raises:
        ShapeError: Each of the two would have to be copied along an axis of the other.

    >>> squared_error(np.array([1.0, 2.0]), np.array([0.0, 4.0])).tolist()
    [1.0, 4.0]
    """
    difference = _difference("squared_error", predictions, targets)
    return difference * difference


def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """Return the mean of `squared_error` over all elements, a scalar.

    Raises:
        ShapeError: Each of the two would have to be copied along an axis of the other.

    >>> float(mean_squared_error(np.array([1.0, 2.0]), np.array([0.0, 4.0])))
    2.5
    """
    difference = _difference("mean_squared_error", predictions, targets)
    return cnp.mean(difference * difference)


def absolute_error(predictions: Array, targets: Array) -> Array:
    """Return |predictions - targets|, elementwise; the slope where they are equal is 0.

    Raises:
        ShapeError: Each of the two would have to be copied along an axis of the other.

    >>> absolute_error(np.array([1.0, 2.0]), np.array([0.0, 4.0])).tolist()
    [1.0, 2.0]
    """
    return cnp.abs(_difference("absolute_error", predictions, targets))


def huber(predictions: Array, targets: Array, delta: float = 1.0) -> Array:
    """Return half the squared error up to `delta`, a straight line of slope `delta` beyond.

    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964).

    Args:
        predictions: An array.
        targets: An array of its shape; or one of the two is copied along axes that it lacks.
        delta: The error at which the parabola turns into its tangent; positive.

    Returns:
        An array of the larger shape.

    Raises:
        ShapeError: Each of the two would have to be copied along an axis of the other.

    >>> huber(np.array([0.5, 3.0]), np.array([0.0, 0.0])).tolist()
    [0.125, 2.5]
    """
    difference = _difference("huber", predictions, targets)
    # One formula for both branches: its slope is the clipped error, everywhere and to any order,
    # and no square of a large error is formed.
    clipped = cnp.clip(difference, -delta, delta)
    return clipped * (difference - 0.5 * clipped)
