"""Gradients of networks of 16 bits, against float32 and against JAX's bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn
from chainrule.frontend.pytree import tree_leaves, tree_map

pytest.importorskip("ml_dtypes")

NUMERICS = ("fast", "strict", "reproducible")
HALVES = [("float16", 2.0**-10), ("bfloat16", 2.0**-7)]


def params(seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return {
        "W": random.normal(0, 0.3, (8, 16)),
        "b": random.normal(0, 0.1, 16),
        "V": random.normal(0, 0.3, (16, 3)),
    }


def inputs(rows: int = 24) -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    return random.normal(size=(rows, 8)), random.integers(0, 3, rows)


def classifier(params: Any, x: Any, labels: Any) -> Any:
    h = cnp.tanh(x @ params["W"] + params["b"])
    return cnp.mean(nn.softmax_cross_entropy(h @ params["V"], labels))


def as_dtype(tree: Any, dtype: Any) -> Any:
    return tree_map(lambda leaf: leaf.astype(dtype), tree)


def distances(found: Any, exact: Any) -> list[float]:
    """Return the distance of each leaf, in units of its largest element."""
    pairs = zip(tree_leaves(found), tree_leaves(exact), strict=True)
    return [float(np.abs(a.astype(np.float64) - b).max() / np.abs(b).max()) for a, b in pairs]


@pytest.mark.share(3)
@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize(("half", "unit"), HALVES)
def test_gradients_are_those_of_float64_up_to_rounding(
    half: str, unit: float, numerics: str
) -> None:
    x, labels = inputs()
    # Of the numbers that 16 bits hold, so that only arithmetic differs.
    rounded = as_dtype(params(), cr.spec((), half).dtype)
    data = x.astype(cr.spec((), half).dtype)
    gradient = cr.jit(cr.value_and_grad(classifier), numerics=numerics)
    found = gradient(rounded, data, labels)
    exact = gradient(as_dtype(rounded, np.float64), data.astype(np.float64), labels)
    assert {leaf.dtype.name for leaf in tree_leaves(found)} == {half}
    assert max(distances(found, exact)) < (1 if numerics == "fast" else 6) * unit


@pytest.mark.share(2)
@pytest.mark.parametrize(("half", "unit"), HALVES)
def test_named_batches_run_in_strips(half: str, unit: float) -> None:
    """Gradients add up in float32 over all strips, whatever their number."""
    dtype = cr.spec((), half).dtype
    gradient = cr.jit(
        cr.grad(classifier), dims={"x": ("batch", 8), "labels": ("batch",)}
    )  # fmt: skip
    for rows in (1, 37, 3000):
        x, labels = inputs(rows)
        rounded, data = as_dtype(params(), dtype), x.astype(dtype)
        found = gradient(rounded, data, labels)
        exact = cr.grad(classifier)(as_dtype(rounded, np.float64), data.astype(np.float64), labels)
        assert max(distances(found, exact)) < unit


def test_gradients_agree_with_jax() -> None:
    """Both are as far from float64 as rounding in bfloat16 takes them."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def theirs(params: Any, x: Any, labels: Any) -> Any:
        h = jnp.tanh(x @ params["W"] + params["b"])
        logits = jax.nn.log_softmax(h @ params["V"])
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], axis=1))

    x, labels = inputs()
    bfloat16 = cr.spec((), "bfloat16").dtype
    rounded, data = as_dtype(params(), bfloat16), x.astype(bfloat16)
    ours = cr.jit(cr.grad(classifier))(rounded, data, labels)
    jaxs = tree_map(np.asarray, jax.jit(jax.grad(theirs))(rounded, data, labels))
    exact = cr.grad(classifier)(as_dtype(rounded, np.float64), data.astype(np.float64), labels)
    assert {leaf.dtype for leaf in tree_leaves(jaxs)} == {bfloat16}
    assert max(distances(ours, as_dtype(jaxs, np.float64))) < 2.0**-5
    assert max(distances(ours, exact)) <= max(*distances(jaxs, exact), 2.0**-7)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_forward_mode_and_second_derivatives(half: str) -> None:
    dtype = cr.spec((), half).dtype
    x = np.linspace(0.2, 1.2, 9).astype(dtype)

    def f(x: Any) -> Any:
        return cnp.sum(cnp.sin(x) * cnp.exp(x))

    def hessian_product(x: Any, t: Any) -> Any:
        return cr.jvp(cr.grad(f), (x,), (t,))

    wide = x.astype(np.float64)
    found = cr.jit(hessian_product)(x, np.ones_like(x))
    first = np.exp(wide) * (np.sin(wide) + np.cos(wide))
    second = 2 * np.exp(wide) * np.cos(wide)
    assert [a.dtype for a in found] == [dtype] * 2
    assert max(distances(found, (first, second))) < 2.0**-7


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_vmap_is_the_loop(half: str) -> None:
    dtype = cr.spec((), half).dtype
    x = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype)

    def f(row: Any) -> Any:
        return nn.softmax(row) * cnp.mean(row)

    mapped = cr.jit(cr.vmap(f), numerics="strict")(x)
    single = cr.jit(f, numerics="strict")
    np.testing.assert_array_equal(mapped, np.stack([single(row) for row in x]))
