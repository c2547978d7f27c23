"""Optimizers inside one compiled step: the same parameters as outside, in the arrays given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, random
from chainrule.frontend.pytree import tree_leaves, tree_map
from chainrule.typing import Array, PyTree

OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.sgd(optim.exponential(0.1, 5, 0.5)),
    "momentum": lambda: optim.momentum(0.1),
    "nesterov": lambda: optim.nesterov(optim.cosine(0.1, 5)),
    "rmsprop": lambda: optim.rmsprop(0.01),
    "adagrad": lambda: optim.adagrad(0.1),
    "adam": lambda: optim.adam(optim.warmup_cosine(0.0, 0.01, 2, 6)),
    "adamw": lambda: optim.adamw(optim.piecewise(0.01, {3: 0.1}), weight_decay=0.1),
    "lion": lambda: optim.lion(0.01),
    "chain": lambda: optim.chain(
        optim.clip(0.1),
        optim.clip_by_global_norm(0.2),
        optim.add_decayed_weights(0.1),
        optim.adam(0.01),
    ),
}


def loss(params: PyTree, x: Array, y: Array) -> Array:
    return nn.huber(params(x), y).mean()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiled_step_equals_the_step_outside(name: str, dtype: Any) -> None:
    opt = OPTIMIZERS[name]()
    x_key, y_key, key = random.split(random.key(0), 3)
    x, y = random.normal(x_key, (16, 3), dtype), random.normal(y_key, (16, 1), dtype)
    gradient = cr.value_and_grad(loss)

    @cr.jit
    def step(params: PyTree, state: PyTree, x: Array, y: Array) -> tuple[PyTree, PyTree, Array]:
        value, grads = gradient(params, x, y)
        return *opt.apply(grads, state, params), value

    inside = outside = nn.MLP.init(key, (3, 8, 1), activation=nn.gelu, dtype=dtype)
    state = outside_state = opt.init(inside)
    for _ in range(8):
        value, grads = gradient(outside, x, y)
        outside, outside_state = opt.apply(grads, outside_state, outside)
        inside, state, inside_value = step(inside, state, x, y)
        np.testing.assert_allclose(inside_value, value, rtol=1e-5 if dtype == np.float32 else 1e-10)

    tolerance = 2e-4 if dtype == np.float32 else 1e-9
    for ours, theirs in zip(tree_leaves(inside), tree_leaves(outside), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    kinds = tree_map(lambda leaf: (leaf.dtype.name, leaf.shape), state)
    assert kinds == tree_map(lambda leaf: (leaf.dtype.name, leaf.shape), outside_state)


def test_donated_parameters_are_updated_where_they_lie() -> None:
    opt = optim.adam(0.01)

    @cr.jit(donate_argnames=("params", "state"))
    def step(params: PyTree, state: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        return opt.apply(grads, state, params)

    params, grads = {"w": np.ones(4)}, {"w": np.ones(4)}
    after, _ = step(params, opt.init(params), grads)

    assert after["w"] is params["w"]
    assert after["w"] == pytest.approx(0.99)
