"""A sample compared with JAX, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule.numpy as cnp
from chainrule import special, transform

jax: Any = pytest.importorskip("jax")
jnp: Any = pytest.importorskip("jax.numpy")


@pytest.fixture(autouse=True)
def _double() -> Any:
    with jax.enable_x64(True):
        yield


def softmax_loss(m: Any, softmax: Any) -> Any:
    def loss(params: Any, x: Any, labels: Any) -> Any:
        hidden = m.tanh(x @ params["W"] + params["b"])
        logits = hidden @ params["V"]
        return -m.mean(m.take_along_axis(softmax(logits, axis=-1), labels[:, None], axis=-1))

    return loss


def test_classifier() -> None:
    generator = np.random.default_rng(0)
    params = {
        "W": generator.normal(size=(6, 5)),
        "b": generator.normal(size=5),
        "V": generator.normal(size=(5, 4)),
    }
    x, labels = generator.normal(size=(7, 6)), generator.integers(0, 4, 7)
    ours, theirs = softmax_loss(cnp, special.log_softmax), softmax_loss(jnp, jax.nn.log_softmax)
    got, expected = transform.grad(ours)(params, x, labels), jax.grad(theirs)(params, x, labels)
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12)
    v = {k: generator.normal(size=p.shape) for k, p in params.items()}
    product = jax.jvp(lambda p: jax.grad(theirs)(p, x, labels), (params,), (v,))[1]
    mine = transform.hvp(lambda p: ours(p, x, labels))(params, v)
    for key, value in product.items():
        np.testing.assert_allclose(mine[key], value, rtol=1e-10, atol=1e-14)


SAMPLE: list[Any] = [
    lambda m, x: m.sum(m.cumprod(x)), lambda m, x: m.max(x), lambda m, x: m.prod(x),
    lambda m, x: m.std(x), lambda m, x: m.sum(m.sinc(x)),
    lambda m, x: m.sum(m.logaddexp(x, x[::-1])),
    lambda m, x: m.einsum("i,j,k->", x, x, x), lambda m, x: m.sum(m.where(x > 0, x**1.5, m.exp(x))),
    lambda m, x: m.linalg.norm(m.outer(x, x)), lambda m, x: m.sum(m.clip(x, -0.5, 0.5) ** 2),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(SAMPLE)))
def test_first_and_second_derivatives(index: int) -> None:
    x = np.array([0.3, -0.7, 1.2, 0.9])
    fn = SAMPLE[index]
    first = transform.grad(lambda x: fn(cnp, x))(x)
    second = transform.hessian(lambda x: fn(cnp, x))(x)
    # JAX differentiates x**1.5 of what is not chosen.
    x_of_jax = np.abs(x) if index == 7 else x
    if index == 7:
        first, second = (
            verb(lambda x: fn(cnp, x))(x_of_jax) for verb in (transform.grad, transform.hessian)
        )
    np.testing.assert_allclose(first, jax.grad(lambda x: fn(jnp, x))(x_of_jax), rtol=1e-10)
    np.testing.assert_allclose(
        second, jax.hessian(lambda x: fn(jnp, x))(x_of_jax), rtol=1e-8, atol=1e-9
    )
