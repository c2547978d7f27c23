"""Derivatives that users give: in loops and branches, with closures, with integer results."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

W, X = np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0])


def scaled(w: Any) -> Any:
    @cr.custom_jvp
    def times(x: Any) -> Any:
        return x * w

    times.defjvp(lambda p, t: (times(*p), t[0] * w))
    return times


def closing(w: Any, x: Any) -> Any:
    f = scaled(w)
    branch = cr.cond(x[0] > 0, f, lambda v: v, x)
    loop, _ = cr.scan(lambda c, _: (f(c), None), x, None, 3)
    return cnp.sum(branch) + cnp.sum(loop) + cnp.sum(cr.checkpoint(f)(x))


def test_rules_that_close_over_values_work_inside_bodies() -> None:
    want = 2 * W + W**3
    np.testing.assert_allclose(cr.jit(cr.grad(closing, 1))(W, X), want)
    many = cr.vmap(cr.grad(closing, 1), (None, 0))(W, np.stack([X, X]))
    np.testing.assert_allclose(many, np.stack([want, want]))


def test_a_derivative_by_what_is_closed_over_is_refused() -> None:
    with pytest.raises(cr.NotDifferentiableError, match="closes over a value that is diff"):
        cr.grad(closing)(W, X)
    held = lambda w, x: cnp.sum(scaled(cr.stop_gradient(w))(x) * w)  # noqa: E731
    np.testing.assert_allclose(cr.grad(held)(W, X), W * X)


def test_results_without_derivatives_have_no_cotangent() -> None:
    @cr.custom_vjp
    def both(x: Any) -> Any:
        return cnp.sum(x * x), cnp.argmax(x)

    both.defvjp(lambda x: (both(x), x), lambda x, g: (100.0 * g[0] * x,))
    np.testing.assert_allclose(cr.grad(lambda x: both(x)[0])(X), 100 * X)


def test_a_pull_back_serves_forward_mode_where_it_is_linear() -> None:
    @cr.custom_vjp
    def cube(x: Any) -> Any:
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))

    def f(x: Any) -> Any:
        return cnp.sum(cube(x) * x[::-1])

    np.testing.assert_allclose(cr.hessian(f)(X), cr.jacrev(cr.grad(f))(X), rtol=1e-12)
    np.testing.assert_allclose(cr.jvp(cube, (X,), (np.ones(3),))[1], 3 * X**2)


def test_a_pull_back_that_is_not_linear_serves_reverse_mode_alone() -> None:
    @cr.custom_vjp
    def same(x: Any) -> Any:
        return 1.0 * x

    same.defvjp(lambda x: (same(x), None), lambda _, g: (cnp.clip(g, -1.0, 1.0),))
    np.testing.assert_allclose(cr.grad(lambda x: cnp.sum(5 * same(x)))(X), np.ones(3))
    with pytest.raises(cr.NotDifferentiableError, match="not linear in the cotangent"):
        cr.jvp(same, (X,), (np.ones(3),))


# Callbacks


def test_a_callback_may_keep_what_it_is_given() -> None:
    kept = []

    def keep(a: Any) -> Any:
        kept.append(a)
        return a.sum()

    f = cr.jit(lambda x: cr.callback(keep, cr.spec((), np.float64), cnp.sin(x) * 2))
    f(np.ones(3_000_000))
    del f
    gc.collect()
    assert kept[0][0] == 2 * np.sin(1.0)


def test_exceptions_of_callbacks_come_through() -> None:
    def fails(_a: Any) -> Any:
        raise ValueError("of mine")

    with pytest.raises(ValueError, match="of mine"):
        cr.jit(lambda x: cr.callback(fails, x, x) + 1.0)(X)
    with pytest.raises(cr.ShapeError, match="another shape than it announced"):
        cr.jit(lambda x: cr.callback(lambda a: a[:2], x, x) + 1.0)(X)


def test_callbacks_run_under_transformations() -> None:
    @cr.custom_vjp
    def sine(x: Any) -> Any:
        return cr.callback(np.sin, x, x)

    sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * cnp.cos(x),))
    np.testing.assert_allclose(cr.grad(lambda x: cnp.sum(sine(2 * x)))(X), 2 * np.cos(2 * X))
    np.testing.assert_allclose(cr.vmap(sine)(np.stack([X, W])), np.sin(np.stack([X, W])))
    thrice = cr.jit(lambda x: cr.scan(lambda c, _: (sine(c), None), x, None, 3)[0])
    np.testing.assert_allclose(thrice(X), np.sin(np.sin(np.sin(X))))
    with pytest.raises(cr.NotDifferentiableError, match="callback sin has no derivative"):
        cr.grad(lambda x: cnp.sum(cr.callback(np.sin, x, x)))(X)
    with pytest.raises(cr.ExportError, match="calls a function of this process"):
        cr.export(thrice, args=(cr.spec((3,)),), path="unused", name="thrice")


def test_sums_in_loops_are_ordered_in_strict_mode() -> None:
    def f(x: Any) -> Any:
        return cr.scan(lambda c, _: (c * 0.9, cnp.sum(c)), x, np.arange(4.0))[1]

    rows = np.random.default_rng(0).normal(size=(5, 3))
    many = cr.jit(cr.vmap(f), numerics="strict")(rows)
    one = cr.jit(f, numerics="strict")
    np.testing.assert_array_equal(many, np.stack([one(r) for r in rows]))
