from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn

X = np.concatenate([np.linspace(-12, 12, 241), [-1000, -100, 100, 1000, 1e-30, -1e-30]])
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "relu": (nn.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (nn.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "gelu": (nn.gelu, lambda x: x * special.ndtr(x)),
    "silu": (nn.silu, lambda x: x * special.expit(x)),
    "softplus": (nn.softplus, lambda x: np.logaddexp(x, 0)),
    "sigmoid": (nn.sigmoid, special.expit),
    "softmax": (nn.softmax, lambda x: special.softmax(x, axis=-1)),
    "log_softmax": (nn.log_softmax, lambda x: special.log_softmax(x, axis=-1)),
    "logsumexp": (nn.logsumexp, special.logsumexp),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_equals_its_formula(name: str) -> None:
    function, formula = FUNCTIONS[name]

    np.testing.assert_allclose(function(X), formula(X), rtol=5e-13, atol=1e-300)
    assert function(X.astype(np.float32)).dtype == np.float32


def test_approximate_gelu_is_the_formula_with_tanh() -> None:
    x = np.linspace(-5, 5, 101)
    formula = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    np.testing.assert_allclose(nn.gelu(x, approximate=True), formula, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(nn.gelu(x, approximate=True), nn.gelu(x), atol=5e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_approximate_gelu_of_large_arguments(dtype: Any) -> None:
    largest = np.finfo(dtype).max
    x = np.array([-largest, -100, 100, largest], dtype)

    assert nn.gelu(x, approximate=True).tolist() == [0, 0, 100, largest]


def test_softmax_and_its_kin_along_axes() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))

    for axis in (0, 1, -1, (0, 2), None):
        np.testing.assert_allclose(nn.softmax(x, axis), special.softmax(x, axis))
        np.testing.assert_allclose(nn.log_softmax(x, axis), special.log_softmax(x, axis))
        np.testing.assert_allclose(
            nn.logsumexp(x, axis, keepdims=True), special.logsumexp(x, axis, keepdims=True)
        )


def test_one_hot() -> None:
    # 255 and 3 are no label: rows of zeros.
    labels = np.array([[0, 2], [1, 255], [3, 2]], np.uint8)[:, :, None]
    hot = nn.one_hot(labels, 3, np.float64)

    assert hot.shape == (3, 2, 1, 3)
    assert hot.dtype == np.float64
    assert hot.argmax(-1)[hot.any(-1)].tolist() == [0, 2, 1, 2]
    assert nn.one_hot(np.array(1), 2).tolist() == [0, 1]


SMOOTH: dict[str, Any] = {
    "gelu": nn.gelu, "gelu by tanh": lambda x: nn.gelu(x, approximate=True), "silu": nn.silu,
    "softplus": nn.softplus, "sigmoid": nn.sigmoid, "tanh": cnp.tanh,
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_nan_are_nan(name: str) -> None:
    f = SMOOTH[name]
    for _order in range(3):
        f = cr.grad(f)
        assert np.isnan(f(np.nan))
