"""Kind: searches that call the optimum a failure, because rounding hides what is left to gain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.solvers.record import MESSAGES, ROUNDED, SMALL

METHODS = ("lbfgs", "bfgs", "newton-cg")


def data(seed: int, noise: float, count: int = 200) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    x = np.sort(random.uniform(0, 10, count))
    return x, np.sin(x) + noise * random.normal(size=count)


def likelihood(p: Any, x: Any, y: Any) -> Any:
    """Return the negative log-likelihood of a Gaussian process, a constant apart."""
    length, size, noise = cnp.exp(p[0]), cnp.exp(p[1]), cnp.exp(p[2])
    apart = (x[:, None] - x[None, :]) / length
    k = size**2 * cnp.exp(-0.5 * apart * apart) + (noise**2 + 1e-8) * cnp.eye(x.shape[0])
    factor = cnp.linalg.cholesky(k)
    return 0.5 * y @ cnp.linalg.solve(k, y) + cnp.sum(cnp.log(cnp.diagonal(factor)))


@pytest.mark.broad
@pytest.mark.share(3)
@pytest.mark.parametrize("method", METHODS)
def test_likelihoods_of_gaussian_processes_converge(method: str) -> None:
    search = cr.jit(lambda p, x, y: tuple(cr.minimize(likelihood, p, x, y, method=method)))
    ended = set()
    for seed, noise in ((0, 1e-3), (1, 1e-3), (2, 1e-2), (3, 1e-2)):
        x, y = data(seed, noise)
        found, value, steps, converged, _, status = search(np.array([0.0, 0.0, -1.0]), x, y)
        ended.add(int(status))
        assert converged, MESSAGES[int(status)]
        assert steps < 100
        # No point nearby is lower by more than the values are worth.
        for direction in np.vstack([np.eye(3), -np.eye(3)]):
            away = likelihood(found + 0.02 * direction, x, y)
            assert away > value - 1e-6 * abs(value)
    assert ended <= {SMALL, ROUNDED}


def offset(x: Any) -> Any:
    """Return a bowl high above 0, in numbers of which few digits are left for it."""
    return 1e6 * (1 + 1e-7 * cnp.sum((x - 1.0) ** 2 * cnp.arange(1.0, 4.0).astype(x.dtype)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_hidden_by_an_offset_counts_as_converged(method: str, dtype: Any) -> None:
    found = cr.minimize(offset, np.full(3, 5.0, dtype), method=method, tol=1e-15)
    assert found.converged, found.message
    np.testing.assert_allclose(found.x, 1.0, atol=5.0 if dtype is np.float32 else 1e-3)


@pytest.mark.share(3)
@pytest.mark.parametrize("method", METHODS)
def test_a_start_at_the_optimum_is_one(method: str) -> None:
    x, y = data(0, 1e-3)
    best = cr.minimize(likelihood, np.array([0.0, 0.0, -1.0]), x, y, method=method).x
    again = cr.minimize(likelihood, best, x, y, method=method)
    assert again.converged, again.message
    np.testing.assert_allclose(again.x, best, atol=1e-2)


def wrong(slope: Callable[[Any], Any]) -> Any:
    """Return a bowl whose slope is another function."""

    @cr.custom_jvp
    def bowl(x: Any) -> Any:
        return cnp.sum((x - 1.0) ** 2)

    @bowl.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return bowl(x), slope(x) @ t

    return bowl


SLOPES: dict[str, Callable[[Any], Any]] = {
    "sign": lambda x: -2 * (x - 1.0),
    "one element": lambda x: 2 * (x - 1.0) * cnp.array([1.0, -1.0, 1.0]),
    "constant": cnp.ones_like,
}


@pytest.mark.share(3)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SLOPES)
def test_a_wrong_derivative_is_still_found_out(name: str, method: str) -> None:
    found = cr.minimize(wrong(SLOPES[name]), np.array([3.0, 2.0, -1.0]), method=method)
    assert not found.converged


@pytest.mark.parametrize("method", ["levenberg-marquardt", "gauss-newton"])
@pytest.mark.parametrize("solver", [None, "cg"])
def test_residuals_that_stay_large_converge(method: str, solver: str | None) -> None:
    if solver and method == "gauss-newton":
        return
    t = np.linspace(0, 1, 50)
    y = 1e3 + np.exp(-2 * t) + 0.1 * np.random.default_rng(0).normal(size=50)

    def residuals(p: Any) -> Any:
        return p[0] * cnp.exp(-p[1] * t) - y

    found = cr.minimize(residuals, np.array([1.0, 1.0]), method=method, tol=1e-18,
                        linear_solver=solver)  # fmt: skip
    assert found.converged, found.message
