"""Derivatives of solutions: against closed forms, central differences and unrolled loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import scipy.optimize
from tests.package.c_program import needs_gcc
from tests.package.test_python import imported

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.solvers import conjugate_gradients, gmres, linear_solve
from chainrule.transform import evaluated

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(6, 3)), RNG.normal(size=6)


def ridge(x: Any, t: Any) -> Any:
    return 0.5 * cnp.sum((A @ x - B) ** 2) + 0.5 * t * cnp.sum(x**2)


def ridge_residuals(x: Any, t: Any) -> Any:
    return [A @ x - B, cnp.sqrt(t) * x]


def ridge_exactly(t: float, order: int) -> Any:
    """Return derivatives of x = (AᵀA + t)⁻¹ Aᵀ b by t."""
    inverse = np.linalg.inv(A.T @ A + t * np.eye(3))
    x = inverse @ A.T @ B
    return [x, -inverse @ x, 2 * inverse @ inverse @ x, -6 * inverse @ inverse @ inverse @ x][order]


def minimum_by(method: str, linear_solver: str | None = None) -> Callable[[Any], Any]:
    fn = ridge_residuals if method in ("levenberg-marquardt", "gauss-newton") else ridge
    start = np.zeros(3)
    return lambda t: (
        cr.minimize(fn, start, t, method=method, tol=1e-13, linear_solver=linear_solver).x
    )


def equation(x: Any, t: Any) -> Any:
    return A.T @ (A @ x - B) + t * x


WAYS: Final[dict[str, Callable[[Any], Any]]] = {
    "lbfgs": minimum_by("lbfgs"),
    "bfgs, products": minimum_by("bfgs", "cg"),
    "newton-cg": minimum_by("newton-cg"),
    "newton-cg, products": minimum_by("newton-cg", "cg"),
    "levenberg-marquardt": minimum_by("levenberg-marquardt"),
    "levenberg-marquardt, products": minimum_by("levenberg-marquardt", "cg"),
    "gauss-newton": minimum_by("gauss-newton"),
    "root": lambda t: cr.find_root(equation, np.zeros(3), t).x,
    "root, products": lambda t: (
        cr.find_root(equation, np.zeros(3), t, solver="newton-krylov", tol=1e-12).x
    ),
    "fixed point": lambda t: (
        cr.fixed_point(lambda x, t: x - 0.05 * equation(x, t), np.zeros(3), t, tol=1e-13).x
    ),
}
"Ways to the same solution, of the parameter."
MODES: Final[dict[str, tuple[int, Callable[[Any], Any]]]] = {
    "value": (0, lambda f: f),
    "forward": (1, cr.jacfwd),
    "reverse": (1, cr.jacrev),
    "forward over reverse": (2, lambda f: cr.jacfwd(cr.jacrev(f))),
    "reverse over reverse": (2, lambda f: cr.jacrev(cr.jacrev(f))),
    "reverse over forward": (2, lambda f: cr.jacrev(cr.jacfwd(f))),
    "third": (3, lambda f: cr.jacfwd(cr.jacrev(cr.jacfwd(f)))),
}
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.mark.share(12)
@each_way
def test_derivatives_of_any_order_and_mode(way: str) -> None:
    for name, (order, mode) in MODES.items():
        expected = ridge_exactly(0.7, order)
        found = mode(WAYS[way])(0.7)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9, err_msg=name)


@pytest.mark.share(12)
@each_way
def test_vmap_equals_a_loop(way: str) -> None:
    many = np.array([0.1, 0.7, 30.0])
    for order, mode in (MODES["value"], MODES["reverse"], MODES["forward over reverse"]):
        expected = np.stack([ridge_exactly(t, order) for t in many])
        found = cr.vmap(mode(WAYS[way]))(many)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    slopes = cr.grad(lambda ts: cnp.sum(cr.vmap(WAYS[way])(ts)))(many)
    expected = np.array([ridge_exactly(t, 1).sum() for t in many])
    np.testing.assert_allclose(slopes, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.broad
def test_examples_stop_at_their_own_steps() -> None:
    def bowl(x: Any, a: Any) -> Any:
        return a * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    many = np.array([1.0, 30.0, 500.0])
    start = np.array([-1.2, 1.0])
    for method in ("lbfgs", "bfgs", "newton-cg"):
        at_once = cr.vmap(lambda a, m=method: cr.minimize(bowl, start, a, method=m))(many)
        single = [cr.minimize(bowl, start, a, method=method) for a in many]
        assert len({int(s.nit) for s in single}) == 3
        np.testing.assert_array_equal(at_once.converged, [True] * 3)
        np.testing.assert_allclose(at_once.x, [s.x for s in single], atol=1e-5)
        assert np.abs(at_once.nit - [int(s.nit) for s in single]).max() <= 3


def test_the_start_has_no_influence() -> None:
    by_start, by_t = cr.grad(
        lambda x0, t: cnp.sum(cr.minimize(ridge, x0, t, tol=1e-12).x), argnums=(0, 1)
    )(np.ones(3), 0.7)
    np.testing.assert_array_equal(by_start, np.zeros(3))
    assert by_t == pytest.approx(ridge_exactly(0.7, 1).sum())


def test_what_the_function_closes_over_counts_as_an_argument() -> None:
    def closed(t: Any) -> Any:
        return cnp.sum(cr.minimize(lambda x: ridge(x, t * t), np.zeros(3), tol=1e-12).x)

    assert cr.grad(closed)(0.7) == pytest.approx(1.4 * ridge_exactly(0.49, 1).sum(), rel=1e-9)
    many = cr.vmap(cr.grad(closed))(np.array([0.7, 1.3]))
    assert many[1] == pytest.approx(2.6 * ridge_exactly(1.69, 1).sum(), rel=1e-9)


def test_integers_are_parameters_without_derivative() -> None:
    def towards(x: Any, i: Any, a: Any) -> Any:
        return cnp.sum((x - a[i]) ** 2)

    slope = cr.grad(lambda a, i: cnp.sum(cr.minimize(towards, np.zeros(2), i, a).x))
    np.testing.assert_allclose(slope(np.arange(3.0), np.array(1)), [0, 2, 0], atol=1e-12)
    with pytest.raises(cr.OutOfRangeError, match="index out of range"):
        cr.minimize(towards, np.zeros(2), np.array(7), np.arange(3.0))


def test_the_value_at_the_minimum_follows_the_envelope_theorem() -> None:
    value = lambda t: cr.minimize(ridge, np.zeros(3), t, tol=1e-12).fun  # noqa: E731
    x, dx = ridge_exactly(0.7, 0), ridge_exactly(0.7, 1)
    assert cr.grad(value)(0.7) == pytest.approx(0.5 * x @ x)
    assert cr.grad(cr.grad(value))(0.7) == pytest.approx(x @ dx)


def cubic(x: Any, p: Any) -> Any:
    return {"u": x["u"] ** 3 + p["a"] * x["u"] - cnp.sum(x["v"]), "v": x["v"] - p["b"] * x["u"]}


def test_roots_of_trees_against_central_differences() -> None:
    start = {"u": 1.0, "v": np.ones(2)}
    p = {"a": 2.0, "b": np.array([1.5, 2.5])}

    def total(p: Any) -> Any:
        root = cr.find_root(cubic, start, p, tol=1e-13)
        return root.x["u"] + cnp.sum(cnp.sin(root.x["v"]))

    def by_scipy(a: float, b: Any) -> float:
        found = scipy.optimize.root(
            lambda z: [z[0] ** 3 + a * z[0] - z[1] - z[2], z[1] - b[0] * z[0], z[2] - b[1] * z[0]],
            np.ones(3), tol=1e-14,
        )  # fmt: skip
        return float(found.x[0] + np.sum(np.sin(found.x[1:])))

    assert total(p) == pytest.approx(by_scipy(2.0, p["b"]))
    slopes, h = cr.grad(total)(p), 1e-5
    central = (by_scipy(2 + h, p["b"]) - by_scipy(2 - h, p["b"])) / (2 * h)
    assert slopes["a"] == pytest.approx(central, rel=1e-7)
    step = np.array([h, 0.0])
    central = (by_scipy(2, p["b"] + step) - by_scipy(2, p["b"] - step)) / (2 * h)
    assert slopes["b"][0] == pytest.approx(central, rel=1e-7)


@pytest.mark.broad
def test_a_fixed_point_against_its_unrolled_iteration() -> None:
    w = 0.4 * np.random.default_rng(1).normal(size=(4, 4)) / 2

    def layer(z: Any, w: Any, x: Any) -> Any:
        return cnp.tanh(w @ z + x)

    def unrolled(w: Any, x: Any) -> Any:
        z = cr.fori_loop(0, 80, lambda _i, z: layer(z, w, x), np.zeros(4))
        return cnp.sum(z**2)

    for memory in (5, 0):

        def implicit(w: Any, x: Any, memory: int = memory) -> Any:
            found = cr.fixed_point(layer, np.zeros(4), w, x, memory=memory, tol=1e-13)
            return cnp.sum(found.x**2)

        x = np.linspace(-1, 1, 4)
        for mode in (cr.grad, cr.hessian):
            found, expected = mode(implicit)(w, x), mode(unrolled)(w, x)
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_acceleration_takes_fewer_steps() -> None:
    def slow(z: Any, a: Any) -> Any:
        return z - 0.02 * (np.diag(np.arange(1.0, 31.0)) @ z - a)

    plain = cr.fixed_point(slow, np.zeros(30), np.ones(30), memory=0)
    fast = cr.fixed_point(slow, np.zeros(30), np.ones(30), memory=5)
    assert plain.converged
    assert fast.converged
    assert fast.nit < plain.nit / 4
    np.testing.assert_allclose(fast.x, 1 / np.arange(1.0, 31.0), rtol=1e-7)


@pytest.mark.broad
def test_bilevel() -> None:
    """The weight of the penalty that is best on other data, found by an outer minimisation."""
    rng = np.random.default_rng(5)
    x, other = rng.normal(size=(12, 4)), rng.normal(size=(12, 4))
    truth = np.array([1.0, -0.5, 0.0, 0.2])
    y, y_other = x @ truth + rng.normal(size=12), other @ truth + rng.normal(size=12)

    def inner(w: Any, log_weight: Any) -> Any:
        return 0.5 * cnp.sum((x @ w - y) ** 2) + 0.5 * cnp.exp(log_weight) * cnp.sum(w * w)

    def outer(log_weight: Any) -> Any:
        w = cr.minimize(inner, np.zeros(4), log_weight, tol=1e-11).x
        return 0.5 * cnp.sum((other @ w - y_other) ** 2)

    def by_numpy(log_weight: float) -> float:
        w = np.linalg.solve(x.T @ x + np.exp(log_weight) * np.eye(4), x.T @ y)
        return float(0.5 * np.sum((other @ w - y_other) ** 2))

    h = 1e-5
    central = (by_numpy(0.3 + h) - by_numpy(0.3 - h)) / (2 * h)
    assert cr.grad(outer)(0.3) == pytest.approx(central, rel=1e-7)
    best = cr.minimize(outer, 0.0, tol=1e-7)
    expected = scipy.optimize.minimize_scalar(by_numpy, bounds=(-10, 10), method="bounded",
                                              options={"xatol": 1e-10})  # fmt: skip
    assert best.converged
    assert best.fun == pytest.approx(expected.fun, rel=1e-9)


@pytest.mark.parametrize("wanted", [cr.grad, cr.hessian])
def test_the_solver_runs_once_whatever_is_asked_for(wanted: Any) -> None:
    def total(t: Any) -> Any:
        return cnp.sum(cr.minimize(ridge, np.zeros(3), t, method="newton-cg").x)

    for made, arg in ((wanted(total), 0.7), (cr.vmap(wanted(total)), np.array([0.7, 0.8]))):
        assert cr.jit(made).lower(arg).as_text("expr").count("loop(") == 1


def test_the_reference_interpreter_agrees() -> None:
    def total(t: Any) -> Any:
        return cnp.sum(cr.minimize(ridge, np.zeros(3), t, tol=1e-10).x)

    slope = cr.transform.grad(total)
    assert evaluated(slope.traced, (0.7,)) == pytest.approx(ridge_exactly(0.7, 1).sum(), rel=1e-7)


# Linear systems

N = 12
LEFT = RNG.normal(size=(N, N)) + N * np.eye(N)
SPD = LEFT @ LEFT.T
RIGHT = RNG.normal(size=N)


def product(w: Any, v: Any) -> Any:
    return w[0] @ v + w[1] * v


@pytest.mark.parametrize("restart", [N, 5])
def test_gmres(restart: int) -> None:
    solve = cr.jit(
        lambda b: gmres(lambda v: LEFT @ v, b, tol=1e-13, restart=restart, max_restarts=60)
    )
    np.testing.assert_allclose(solve(RIGHT), np.linalg.solve(LEFT, RIGHT), rtol=1e-10, atol=1e-13)
    np.testing.assert_array_equal(solve(np.zeros(N)), np.zeros(N))


def test_conjugate_gradients() -> None:
    d = np.diag(SPD)
    for preconditioner in (lambda r: r, lambda r: r / d):
        solve = cr.jit(
            lambda b, p=preconditioner: conjugate_gradients(
                lambda v: SPD @ v, b, tol=1e-13, max_steps=100, preconditioner=p
            )
        )
        np.testing.assert_allclose(solve(RIGHT), np.linalg.solve(SPD, RIGHT), rtol=1e-9)
        np.testing.assert_array_equal(solve(np.zeros(N)), np.zeros(N))


@pytest.mark.share(2)
@pytest.mark.parametrize("symmetric", [True, False])
def test_systems_by_products_differentiate_as_dense_ones(symmetric: bool) -> None:
    matrix = SPD if symmetric else LEFT

    def solver(matvec: Any, b: Any) -> Any:
        if symmetric:
            return conjugate_gradients(matvec, b, tol=1e-14, max_steps=60)
        return gmres(matvec, b, tol=1e-14, restart=N, max_restarts=5)

    def by_products(shift: Any, b: Any) -> Any:
        x = linear_solve(product, [matrix, shift], b, solver, symmetric=symmetric)
        return cnp.sum(cnp.sin(x))

    def dense(shift: Any, b: Any) -> Any:
        return cnp.sum(cnp.sin(cnp.linalg.solve(matrix + shift * np.eye(N), b)))

    for mode in (cr.grad, cr.jacfwd, lambda f, k: cr.jacrev(cr.grad(f, 0), k)):
        for k in (0, 1):
            found, expected = mode(by_products, k)(0.5, RIGHT), mode(dense, k)(0.5, RIGHT)
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11)


@needs_gcc
def test_a_search_and_its_derivative_export(tmp_path: Path) -> None:
    def total(t: Any) -> Any:
        return cnp.sum(cr.minimize(ridge, np.zeros(3), t, tol=1e-12).x)

    both = cr.value_and_grad(total)
    cr.export(both, args=(cr.spec((), "float64"),), path=tmp_path, name="search")
    value, slope = imported(tmp_path, "search").search(np.array(0.7))
    assert value == pytest.approx(ridge_exactly(0.7, 0).sum(), rel=1e-9)
    assert slope == pytest.approx(ridge_exactly(0.7, 1).sum(), rel=1e-9)
