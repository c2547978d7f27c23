"""Losses against mpmath with 60 digits, and against SciPy."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

from chainrule import nn
from chainrule.errors import DTypeError, ShapeError

LOGITS = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 3.0], [-40.0, 0.0, -35.0], [800.0, 790.0, -800.0]])
LABELS = np.array([2, 1, 0, 0])


def exact_cross_entropy(row: Any, q: Any) -> float:
    """Return -sum(q log softmax(row)) with 60 digits, rounded once."""
    with mpmath.workdps(60):
        exponentials = [mpmath.exp(mpmath.mpf(float(v))) for v in row]
        total = mpmath.fsum(exponentials)
        terms = [float(w) * mpmath.log(e / total) for w, e in zip(q, exponentials, strict=True)]
        return float(-mpmath.fsum(terms))


def test_softmax_cross_entropy_of_integer_labels() -> None:
    expected = [exact_cross_entropy(x, np.eye(3)[k]) for x, k in zip(LOGITS, LABELS, strict=True)]
    loss = nn.softmax_cross_entropy(LOGITS, LABELS)

    assert loss.shape == (4,)
    np.testing.assert_allclose(loss, expected, rtol=1e-14, atol=1e-15)


def test_softmax_cross_entropy_of_probabilities() -> None:
    q = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])
    expected = [exact_cross_entropy(x, row) for x, row in zip(LOGITS, q, strict=True)]

    np.testing.assert_allclose(nn.softmax_cross_entropy(LOGITS, q), expected, rtol=1e-14)
    one_hot = nn.one_hot(LABELS, 3, np.float64)
    np.testing.assert_allclose(
        nn.softmax_cross_entropy(LOGITS, one_hot), nn.softmax_cross_entropy(LOGITS, LABELS)
    )


def test_a_class_ruled_out_costs_nothing_where_it_has_no_probability() -> None:
    logits, q = np.array([0.0, -np.inf, 0.0]), np.array([0.5, 0.0, 0.5])

    assert nn.softmax_cross_entropy(logits, q) == pytest.approx(np.log(2))


@pytest.mark.parametrize("labels", [np.int64, np.int32, np.uint8, np.uint32])
@pytest.mark.parametrize("logits", [np.float32, np.float64])
def test_softmax_cross_entropy_keeps_the_logits_dtype(logits: Any, labels: Any) -> None:
    loss = nn.softmax_cross_entropy(LOGITS.astype(logits), LABELS.astype(labels))

    assert loss.dtype == logits


def test_softmax_cross_entropy_over_more_axes() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(2, 3, 5)), draw.integers(0, 5, (2, 3))
    flat = nn.softmax_cross_entropy(logits.reshape(6, 5), labels.ravel())

    assert np.array_equal(nn.softmax_cross_entropy(logits, labels), flat.reshape(2, 3))


def test_softmax_cross_entropy_of_labels_that_do_not_fit() -> None:
    message = (
        "labels do not fit the logits\n"
        "  logits  float64[4, 3]\n"
        "  labels  int64[]\n"
        "hint: labels are integers of shape (batch,), or probabilities of shape (batch, classes)"
    )
    with pytest.raises(ShapeError) as shape:
        nn.softmax_cross_entropy(LOGITS, np.array(1))
    with pytest.raises(DTypeError, match="labels are not integers"):
        nn.softmax_cross_entropy(LOGITS, LABELS.astype(np.float64))

    assert str(shape.value).splitlines()[:3] == message.splitlines()[:3]
    assert str(shape.value).splitlines()[-1] == message.splitlines()[-1]


@pytest.mark.parametrize("label", [0.0, 1.0, 0.25])
def test_sigmoid_binary_cross_entropy(label: float) -> None:
    logits = np.array([-700.0, -40.0, -1.0, 0.0, 1e-9, 1.0, 40.0, 700.0])
    with mpmath.workdps(700):
        p = [1 / (1 + mpmath.exp(-mpmath.mpf(float(x)))) for x in logits]
        exact = [float(-label * mpmath.log(v) - (1 - label) * mpmath.log(1 - v)) for v in p]

    np.testing.assert_allclose(
        nn.sigmoid_binary_cross_entropy(logits, np.full(8, label)), exact, rtol=1e-14
    )


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint8, np.float32])
def test_sigmoid_binary_cross_entropy_keeps_float32(dtype: Any) -> None:
    loss = nn.sigmoid_binary_cross_entropy(np.zeros(2, np.float32), np.array([0, 1]).astype(dtype))

    assert loss.dtype == np.float32
    assert loss == pytest.approx(np.log(2))


def test_huber_equals_scipy() -> None:
    x = np.array([-1e200, -3.0, -0.5, 0.0, 0.5, 0.7, 3.0, 1e200])

    for delta in (0.7, 2.0):
        with np.errstate(over="ignore"):
            expected = special.huber(delta, x)
        np.testing.assert_allclose(nn.huber(x, np.zeros(8), delta), expected, rtol=1e-15)
    assert nn.huber(x[1:-1].astype(np.float32), 0.0).dtype == np.float32


def test_plain_errors() -> None:
    x, y = np.array([[1.0, -2.0], [1.0, -2.0]]), np.array([[0.5], [2.0]])

    assert nn.squared_error(x, y).tolist() == [[0.25, 6.25], [1.0, 16.0]]
    assert nn.absolute_error(x, y).tolist() == [[0.5, 2.5], [1.0, 4.0]]
    assert nn.mean_squared_error(x, y) == 23.5 / 4
