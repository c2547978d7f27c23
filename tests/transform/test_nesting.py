"""Derivatives inside derivatives: each sees its own variable only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.transform import (
    grad,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
    vmap,
)


def deriv(fn: Any) -> Any:
    """Differentiate by forward mode."""
    return lambda x: jvp(fn, (x,), (cnp.ones_like(x),))[1]


@pytest.mark.parametrize("outer", [grad, deriv], ids=["grad", "jvp"])
@pytest.mark.parametrize("inner", [grad, deriv], ids=["grad", "jvp"])
class TestPerturbationConfusion:
    def test_siskind_and_pearlmutter(self, outer: Any, inner: Any) -> None:
        # d/dx (x * d/dy (x + y)) = 1, not 2
        assert float(trace(outer(lambda x: x * inner(lambda y: x + y)(1.0)), 1.0).run(1.0)) == 1.0

    def test_the_same_value_outside_and_inside(self, outer: Any, inner: Any) -> None:
        fn = outer(lambda x: inner(lambda a: a * x)(x))
        assert float(trace(fn, 3.0).run(3.0)) == 1.0

    def test_product(self, outer: Any, inner: Any) -> None:
        fn = outer(lambda x: x * inner(lambda y: x * y * y)(x))
        assert float(trace(fn, 3.0).run(3.0)) == pytest.approx(6 * 3.0**2)

    def test_constant_inside(self, outer: Any, inner: Any) -> None:
        fn = outer(lambda x: inner(lambda y: x * x)(2.0) + x)
        assert float(trace(fn, 3.0).run(3.0)) == 1.0

    def test_three_deep(self, outer: Any, inner: Any) -> None:
        fn = outer(lambda x: inner(lambda y: outer(lambda z: x * y * z * z)(y))(x))
        # inner: d/dy (2 x y²) = 4 x y at y = x: 4 x²
        assert float(trace(fn, 3.0).run(3.0)) == pytest.approx(24.0)

    def test_amazing_bug(self, outer: Any, inner: Any) -> None:
        # Manzyuk et al.: a function that returns a function made in a derivative
        def shift(u: Any) -> Any:
            return lambda f: lambda x: f(x + u)

        def hat(x: Any) -> Any:
            return outer(lambda u: shift(u)(lambda v: inner(lambda t: cnp.exp(t) * v)(v))(x))(0.0)

        y = 0.5
        # f(v) = v e^v, f'(x) = (1 + x) e^x
        assert float(trace(hat, y).run(y)) == pytest.approx(1.5 * np.exp(0.5))


def test_orders_of_derivatives() -> None:
    fn: Any = cnp.sin
    for expected in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos):
        fn = grad(fn)
        assert float(fn(0.7)) == pytest.approx(expected(0.7), rel=1e-14)


def test_transformations_of_plain_values_inside_a_trace() -> None:
    def fn(x: Any) -> Any:
        slope = grad(lambda a: a**3)(2.0)
        return x * slope + vmap(lambda r: r.sum())(np.ones((2, 3))).sum()

    assert float(trace(fn, 1.0).run(1.0)) == 18.0


def test_modes_agree_on_a_network() -> None:
    generator = np.random.default_rng(0)
    params = {
        "W": generator.normal(size=(4, 3)),
        "b": generator.normal(size=3),
        "v": generator.normal(size=3),
    }
    x = generator.normal(size=(5, 4))

    def loss(params: Any, x: Any) -> Any:
        return cnp.mean(cnp.tanh(x @ params["W"] + params["b"]) @ params["v"])

    gradient = grad(loss)(params, x)
    value, again = value_and_grad(loss)(params, x)
    forward = jacfwd(loss)(params, x)
    backward = jacrev(loss)(params, x)
    _, pullback = vjp(loss, params, x)
    _, along = linearize(loss, params, x)
    direction = {k: generator.normal(size=v.shape) for k, v in params.items()}
    pushed = along(direction, np.zeros_like(x))
    assert value == pytest.approx(
        float(np.mean(np.tanh(x @ params["W"] + params["b"]) @ params["v"]))
    )
    for key in params:
        for other in (again, forward, backward, pullback(1.0)[0]):
            np.testing.assert_allclose(other[key], gradient[key], rtol=1e-12)
    assert float(pushed) == pytest.approx(sum(np.sum(direction[k] * gradient[k]) for k in params))


def test_hessian_products() -> None:
    generator = np.random.default_rng(0)
    x, v = generator.normal(size=4), generator.normal(size=4)

    def fn(x: Any) -> Any:
        return cnp.sum(cnp.exp(x[1:] * x[:-1]))

    H = hessian(fn)(x)
    np.testing.assert_allclose(H, H.T)
    np.testing.assert_allclose(hvp(fn)(x, v), H @ v)
    np.testing.assert_allclose(jacfwd(grad(fn))(x), H)
    np.testing.assert_allclose(jacrev(grad(fn))(x), H)
    np.testing.assert_allclose(jacrev(jacfwd(fn))(x), H)
    rows = vmap(lambda e: hvp(fn)(x, e))(np.eye(4))
    np.testing.assert_allclose(rows, H)


def test_hessians_of_trees() -> None:
    p = {"a": np.array([1.0, 2.0]), "b": np.array(3.0)}
    H = hessian(lambda p: (p["a"] ** 2).sum() * p["b"])(p)
    np.testing.assert_allclose(H["a"]["a"], 6.0 * np.eye(2))
    np.testing.assert_allclose(H["a"]["b"], [2.0, 4.0])
    np.testing.assert_allclose(H["b"]["b"], 0.0)


def test_jacobians_of_trees() -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])

    def fn(x: Any, y: Any) -> Any:
        return {"outer": x[:, None] * y, "sum": x.sum() + y.sum()}

    for verb in (jacfwd, jacrev):
        J = verb(fn, argnums=(0, 1))(x, y)
        assert J["outer"][0].shape == (2, 3, 2)
        np.testing.assert_allclose(J["outer"][1], np.einsum("i,jk->ijk", x, np.eye(3)))
        np.testing.assert_allclose(J["sum"][0], np.ones(2))


def test_named_extents_in_jacobians() -> None:
    x = np.array([1.0, 2.0, 3.0])
    for verb in (jacfwd, jacrev):
        traced = trace(verb(cnp.sin), x, dims={"x": ("n",)})
        for value in (x, np.ones(5)):
            np.testing.assert_allclose(traced.run(value), np.diag(np.cos(value)))
