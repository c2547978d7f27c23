"""Gradients of losses and activations, against their formulas written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn
from chainrule.typing import Array

X = np.array([-50.0, -3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0, 50.0])
PHI = np.exp(-X * X / 2) / np.sqrt(2 * np.pi)
SIGMOID = special.expit(X)
SLOPES: dict[str, tuple[Callable[[Array], Array], Any]] = {
    "relu": (nn.relu, X > 0),
    "leaky_relu": (nn.leaky_relu, np.where(X > 0, 1, 0.01)),
    "elu": (nn.elu, np.where(X > 0, 1, np.exp(np.minimum(X, 0)))),
    "gelu": (nn.gelu, special.ndtr(X) + X * PHI),
    "silu": (nn.silu, SIGMOID * (1 + X * (1 - SIGMOID))),
    "softplus": (nn.softplus, SIGMOID),
    "sigmoid": (nn.sigmoid, SIGMOID * special.expit(-X)),
    "huber": (lambda x: nn.huber(x, 0.0), np.clip(X, -1, 1)),
    "absolute_error": (lambda x: nn.absolute_error(x, 0.0), np.sign(X)),
    "squared_error": (lambda x: nn.squared_error(x, 0.0), 2 * X),
    "sigmoid_binary_cross_entropy": (
        lambda x: nn.sigmoid_binary_cross_entropy(x, np.full(9, 0.25)), SIGMOID - 0.25,
    ),
    "logsumexp": (nn.logsumexp, special.softmax(X)),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_slope_is_the_formula(name: str) -> None:
    function, slope = SLOPES[name]
    gradient = cr.jit(cr.grad(lambda x: cnp.sum(function(x))))(X)

    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-15)


def test_huber_bends_at_0() -> None:
    """Its second derivative is 1 inside, at 0 too, where a form with |x| would give 0."""
    second = cr.grad(cr.grad(lambda x: nn.huber(x, 0.0)))

    assert float(second(np.array(0.0))) == 1
    assert float(second(np.array(2.0))) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slope_of_softmax_cross_entropy_is_p_minus_q(dtype: Any) -> None:
    draw = np.random.default_rng(0)
    logits, labels = (10 * draw.normal(size=(6, 4))).astype(dtype), draw.integers(0, 4, 6)
    q = np.eye(4, dtype=dtype)[labels]
    expected = special.softmax(logits.astype(np.float64), axis=-1) - q

    for y in (labels, q):
        gradient = cr.jit(cr.grad(lambda x, y: cnp.sum(nn.softmax_cross_entropy(x, y))))(logits, y)
        assert gradient.dtype == dtype
        tolerance = 3e-6 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=tolerance)


def test_gradient_for_a_model_has_its_structure() -> None:
    model = nn.MLP.init(np.array([0, 1], np.uint32), (4, 3, 2))
    gradient = cr.jit(cr.grad(lambda model, x: nn.mean_squared_error(model(x), 0.0)))
    grads = gradient(model, np.ones((5, 4), np.float32))

    assert isinstance(grads, nn.MLP)
    assert grads.layers[0].W.shape == (4, 3)
    assert np.asarray(grads.layers[1].b).dtype == np.float32
