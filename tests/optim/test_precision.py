"""Mixed precision: gradients that 16 bits lose, overflowing steps, and a policy without scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim, random
from chainrule.frontend.pytree import tree_leaves, tree_map
from chainrule.typing import Array, PyTree

NUMERICS = ("fast", "strict")
TINY = 2.0**-23
"A factor on the loss that takes its gradients below what float16 holds."


def data() -> tuple[Array, Array]:
    x_key, w_key = random.split(random.key(1))
    x = random.normal(x_key, (64, 4))
    return x, np.tanh(x @ random.normal(w_key, (4, 1)))


def start(dtype: Any = np.float32) -> PyTree:
    return nn.MLP.init(random.key(0), (4, 16, 1), activation=nn.gelu, dtype=dtype)


def mean_loss(model: PyTree, x: Array, y: Array) -> Array:
    return cnp.mean((model(x) - y) ** 2)


def policy_step(
    policy: optim.Policy, opt: optim.Optimizer, factor: float, numerics: str
) -> Callable[..., Any]:
    """Return a training step; its model returns 16-bit results, whose cotangents are tiny."""

    @cr.jit(numerics=numerics)
    def step(params: PyTree, state: PyTree, scale: optim.LossScale, x: Array, y: Array) -> Any:
        def scaled(params: PyTree) -> Array:
            model, inputs = policy.cast_to_compute((params, x))
            # Tiny before it is scaled, and of 16 bits as the rest of the model.
            loss = mean_loss(model, inputs, y.astype(inputs.dtype)) * factor
            return scale.scaled(loss)

        grads = cr.grad(scaled)(params)
        return *scale.step(opt, grads, state, params), grads

    return step


def unscaled() -> optim.LossScale:
    return optim.loss_scale(1.0, maximum=1.0)


def trained(scale: optim.LossScale, dtype: str, numerics: str, factor: float) -> float:
    """Return by what part the loss fell in fifty steps."""
    opt = optim.sgd(0.3 / factor)
    step = policy_step(optim.Policy(compute_dtype=dtype), opt, factor, numerics)
    (x, y), params = data(), start()
    state, before = opt.init(params), float(mean_loss(params, x, y))
    for _ in range(50):
        params, state, scale, _ = step(params, state, scale, x, y)
    assert {leaf.dtype for leaf in tree_leaves(params)} == {np.dtype(np.float32)}
    return float(mean_loss(params, x, y)) / before


def test_gradients_that_underflow_train_with_scaling() -> None:
    assert trained(optim.loss_scale(), "float16", "strict", TINY) < 0.2
    assert trained(unscaled(), "float16", "strict", TINY) > 0.9


def test_fast_numerics_train_with_scaling_too() -> None:
    assert trained(optim.loss_scale(), "float16", "fast", TINY) < 0.2


@pytest.mark.parametrize("numerics", NUMERICS)
def test_bfloat16_trains_without_scaling(numerics: str) -> None:
    pytest.importorskip("ml_dtypes")
    assert trained(unscaled(), "bfloat16", numerics, TINY) < 0.2


@pytest.mark.parametrize("numerics", NUMERICS)
def test_an_overflowing_step_is_left_out_and_the_scale_halves(numerics: str) -> None:
    opt = optim.adam(0.1)
    step = policy_step(optim.Policy(compute_dtype="float16"), opt, 1.0, numerics)
    params, (x, y) = start(), data()
    # In fast numerics nothing is rounded to 16 bits on the way: only 32 bits overflow.
    first = 24 if numerics == "strict" else 127
    state, scale = opt.init(params), optim.loss_scale(2.0**first, maximum=2.0**first)
    kept = tree_map(np.copy, (params, state))
    seen = []
    for _ in range(30):
        after, after_state, scale, grads = step(params, state, scale, x, y)
        finite = bool(optim.all_finite(grads))
        seen.append((finite, float(scale.scale)))
        if finite:
            break
        for old, new in zip(tree_leaves(kept), tree_leaves((after, after_state)), strict=True):
            np.testing.assert_array_equal(old, new)
    overflows = len(seen) - 1
    assert overflows >= 1
    assert [s for _, s in seen[:-1]] == [2.0 ** (first - 1 - i) for i in range(overflows)]
    assert seen[-1] == (True, 2.0 ** (first - overflows))
    assert int(scale.good_steps) == 1
    assert any(
        (old != new).any() for old, new in zip(tree_leaves(params), tree_leaves(after), strict=True)
    )
    assert all(np.isfinite(leaf).all() for leaf in tree_leaves((after, after_state)))


def by_hand(finite: list[bool], scale: float, period: int, low: float, high: float) -> list[float]:
    good, found = 0, []
    for fine in finite:
        good = good + 1 if fine else 0
        if not fine:
            scale = max(scale / 2, low)
        elif good == period:
            scale, good = min(scale * 2, high), 0
        found.append(scale)
    return found


def test_scale_follows_overflows_and_good_steps() -> None:
    finite = (np.random.default_rng(0).random(300) < 0.8).tolist()
    scale = optim.loss_scale(64, period=3, minimum=8, maximum=256)
    adjust = cr.jit(lambda scale, finite: scale.adjusted(finite))
    inside, seen, outside = scale, [], []
    for fine in finite:
        inside, scale = adjust(inside, np.array(fine)), scale.adjusted(np.array(fine))
        seen.append(float(inside.scale))
        outside.append(float(scale.scale))
    assert seen == outside == by_hand(finite, 64, 3, 8, 256)
    assert {8.0, 256.0} <= set(seen)
    assert (inside.scale.dtype, inside.good_steps.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scaled_step_is_the_step_without_scale(dtype: str) -> None:
    """Powers of two change no digit, so the parameters are the same to the bit."""
    opt = optim.momentum(0.125)
    params = {"w": np.linspace(-1, 1, 8).astype(dtype), "n": np.ones((), dtype)}
    grads = tree_map(lambda p: (p * p + np.asarray(0.5, dtype)).astype(dtype), params)
    scale = optim.loss_scale(4.0)
    larger = tree_map(lambda g: (g * np.asarray(4, g.dtype)).astype(g.dtype), grads)
    found, state, _ = cr.jit(lambda *a: scale.step(opt, *a))(larger, opt.init(params), params)
    expected, expected_state = opt.apply(grads, opt.init(params), params)
    for one, other in zip(
        tree_leaves((found, state)), tree_leaves((expected, expected_state)), strict=True
    ):
        assert one.dtype == other.dtype
        tolerance = 2e-3 if dtype == "float16" else 1e-6
        np.testing.assert_allclose(one, other, rtol=tolerance)


def test_policy_converts_floats_alone() -> None:
    policy = optim.Policy("float64", "float16", "float32")
    tree = {"a": np.ones(2), "n": np.arange(2), "flag": np.array(True), "k": 3}
    kinds = tree_map(lambda leaf: np.asarray(leaf).dtype.name, policy.cast_to_compute(tree))
    assert kinds == {"a": "float16", "n": "int64", "flag": "bool", "k": "int64"}
    assert policy.cast_to_param(np.ones(1, np.float16)).dtype == np.float64
    assert policy.cast_to_output(np.ones(1)).dtype == np.float32
    traced = cr.jit(
        lambda policy, x: policy.cast_to_output(policy.cast_to_compute(x) * 3), numerics="strict"
    )
    np.testing.assert_array_equal(
        traced(policy, np.full(2, 0.1)), (np.float16(0.1) * 3).astype(np.float32)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial": 0.0}, {"initial": 0.5}, {"initial": 2.0**30}, {"period": 0}, {"factor": 1.0},
        {"minimum": 0.0}, {"initial": np.nan},
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"minimum|period"):
        optim.loss_scale(**arguments)
