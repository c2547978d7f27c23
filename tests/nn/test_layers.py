from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule import nn, random
from chainrule.frontend.pytree import tree_leaves, tree_map

KEY = random.key(0)


def test_dense_is_a_matrix_product_and_a_sum() -> None:
    layer = nn.Dense(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -0.5]))

    assert layer(np.array([1.0, 10.0])).tolist() == [31.5, 41.5]
    assert layer(np.ones((3, 4, 2))).shape == (3, 4, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_have_the_dtype_asked_for(dtype: Any) -> None:
    model = nn.MLP.init(KEY, (4, 3, 2), dtype=dtype)

    assert [leaf.dtype for leaf in tree_leaves(model)] == [dtype] * 4
    assert model(np.ones((5, 4), dtype)).dtype == dtype


def test_mlp_equals_its_layers_by_hand() -> None:
    model = nn.MLP.init(KEY, (4, 3, 3, 2), activation=np.tanh)
    x = np.random.default_rng(0).normal(size=(5, 4))
    y = x
    for i, layer in enumerate(model.layers):
        y = y @ layer.W + layer.b
        y = np.tanh(y) if i < 2 else y

    assert np.array_equal(model(x), y)
    assert not np.array_equal(model.layers[0].W[:3], model.layers[1].W[:3])


def test_models_are_pytrees_of_their_parameters() -> None:
    mlp = nn.MLP.init(KEY, (4, 3, 2))
    bare = nn.Sequential((nn.Dense.init(KEY, 4, 3, bias=False), nn.Dense.init(KEY, 3, 2)))

    assert [leaf.shape for leaf in tree_leaves(mlp)] == [(4, 3), (3,), (3, 2), (2,)]
    assert [leaf.shape for leaf in tree_leaves(bare)] == [(4, 3), (3, 2), (2,)]
    doubled = tree_map(lambda leaf: 2 * leaf, mlp)
    assert isinstance(doubled, nn.MLP)
    assert doubled.activation is mlp.activation
    assert np.array_equal(doubled.layers[1].W, 2 * mlp.layers[1].W)


def test_one_size_is_no_network() -> None:
    with pytest.raises(ValueError, match=r"an input and an output size; got \(4,\)"):
        nn.MLP.init(KEY, (4,))


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (nn.glorot_uniform, 2 / 500),
        (nn.glorot_normal, 2 / 500),
        (nn.he_uniform, 2 / 200),
        (nn.he_normal, 2 / 200),
        (nn.lecun_normal, 1 / 200),
    ],
)
def test_initialisers_have_their_variance(initializer: Any, variance: float) -> None:
    weights = initializer(KEY, (200, 300))
    window = initializer(KEY, (2, 10, 10, 300 // 2))

    assert weights.dtype == np.float32
    assert float(weights.mean()) == pytest.approx(0, abs=5 * math.sqrt(variance / weights.size))
    assert float(weights.var()) == pytest.approx(variance, rel=0.03)
    # A window multiplies the inputs and the outputs that a weight is among.
    assert initializer in {nn.glorot_uniform, nn.glorot_normal} or (
        float(window.var()) == pytest.approx(variance, rel=0.05)
    )


def test_uniform_initialisers_stay_in_their_bounds() -> None:
    assert abs(nn.he_uniform(KEY, (24, 1000))).max() <= np.float32(0.5)
    assert abs(nn.glorot_uniform(KEY, (24, 1000))).max() <= math.sqrt(6 / 1024)


def test_zeros_and_what_is_no_weight() -> None:
    assert nn.zeros(KEY, (2, 3), np.float64).tolist() == [[0] * 3] * 2
    with pytest.raises(ValueError, match=r"the shape is \(3,\)"):
        nn.he_normal(KEY, (3,))
