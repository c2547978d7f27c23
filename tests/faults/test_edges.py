"""Values and slopes at the edges of domains: weights of 0, powers of 0, nothing to add up."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import special

INF = np.inf


@pytest.mark.parametrize("y", [3.0, 0.5, -0.5, 1e300, -1.0])
def test_slopes_of_xlog1py_where_x_is_zero(y: float) -> None:
    with np.errstate(divide="ignore"):
        assert cr.grad(special.xlog1py)(0.0, y) == pytest.approx(np.log1p(y))
    assert cr.jvp(lambda y: special.xlog1py(0.0, y), (y,), (1.0,))[1] == 0
    assert cr.grad(special.xlog1py, argnums=1)(0.0, y) == 0
    assert cr.grad(cr.grad(special.xlog1py), argnums=1)(0.0, 3.0) == 0.25


def test_relative_entropy_where_x_is_zero() -> None:
    # x log(x / y) falls without bound in slope as x falls to 0, like entr.
    assert cr.grad(special.rel_entr)(0.0, 2.0) == -INF
    assert cr.grad(special.entr)(0.0) == INF
    assert cr.grad(special.rel_entr, argnums=1)(0.0, 2.0) == 0
    x, y = np.array([0.0, 1, 2, -1, 0]), np.array([0.0, 0, 1, 1, -1])
    np.testing.assert_allclose(special.rel_entr(x, y), [0, INF, 2 * np.log(2), INF, INF])


# Weighted sums of exponentials


def weighted(a: Any, b: Any) -> Any:
    return special.logsumexp(a, b=b)


@pytest.mark.parametrize("large", [800.0, INF, 5.0, -INF])
def test_the_largest_term_has_weight_zero(large: float) -> None:
    a, b = np.array([0.5, large, 1.0]), np.array([1.0, 0.0, 2.0])
    total = np.exp(0.5) + 2 * np.exp(1)
    assert weighted(a, b) == pytest.approx(np.log(total))
    assert cr.jit(weighted)(a, b) == pytest.approx(np.log(total))
    slope = np.array([np.exp(0.5), 0, 2 * np.exp(1)]) / total
    for verb in (cr.grad(weighted), cr.jacfwd(weighted), cr.jit(cr.grad(weighted))):
        np.testing.assert_allclose(verb(a, b), slope, rtol=1e-12)
    with np.errstate(over="ignore"):
        by_weight = np.exp(a) / total
    for verb in (cr.grad(weighted, argnums=1), cr.jacfwd(weighted, argnums=1)):
        np.testing.assert_allclose(verb(a, b), by_weight, rtol=1e-12)


def test_weights_along_an_axis_and_second_derivatives() -> None:
    a, b = np.array([[0.0, 800.0], [1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 3.0]])
    rows = cr.jit(lambda a, b: special.logsumexp(a, axis=1, b=b))(a, b)
    np.testing.assert_allclose(rows, [0, 2 + np.log(3)], rtol=1e-14)
    np.testing.assert_allclose(cr.hessian(weighted)(a[0], b[0]), np.zeros((2, 2)), atol=1e-15)
    assert cr.jit(weighted)(a[0], 0 * b[0]) == -INF


# Powers


@pytest.mark.parametrize(
    ("y", "slope"), [(-2.0, -INF), (-0.5, -INF), (0.0, 0.0), (2.0, 0.0), (-INF, -INF), (INF, 0.0)]
)
def test_slopes_of_powers_of_zero_by_the_exponent(y: float, slope: float) -> None:
    by_exponent = cr.grad(cnp.power, argnums=1)
    for x in (0.0, -0.0):
        assert by_exponent(x, y) == slope
        assert cr.jvp(lambda y, x=x: cnp.power(x, y), (y,), (1.0,))[1] == slope


@pytest.mark.parametrize("exponent", [-1, np.array([1, -1]), np.int64(-2)])
def test_integers_to_known_negative_powers(exponent: Any) -> None:
    x = np.array([1, 2])
    with pytest.raises(ValueError, match="negative integer power"):
        np.power(x, exponent)
    with pytest.raises(ValueError, match="negative integer power"):
        cr.jit(lambda x: x**exponent)(x)
    np.testing.assert_allclose(cr.jit(lambda x: x**exponent)(x * 1.0), (x * 1.0) ** exponent)


def test_integers_to_negative_powers_that_are_found_at_the_call() -> None:
    power = cr.jit(lambda x, y: x**y, dims={"x": ("n",), "y": ("n",)})
    x = np.array([2, 3])
    np.testing.assert_array_equal(power(x, np.array([3, 0])), [8, 1])
    np.testing.assert_array_equal(power(x[:0], x[:0]), x[:0])
    for bad in (np.array([1, -1]), np.array([-1, 1])):
        with pytest.raises(ValueError, match="negative integer power"):
            power(x, bad)
    with pytest.raises(ValueError, match="negative integer power"):
        cr.jit(lambda y: 2**y)(np.int64(-1))
    with pytest.raises(ValueError, match="negative integer power"):
        cr.jit(lambda y: cr.scan(lambda c, k: (c * 2**k, None), 1, y)[0])(np.array([1, -1]))
    counter = cr.jit(lambda n: cnp.sum(2 ** cnp.arange(4)) + n)
    assert counter(0) == 15


# Nothing to add up


@pytest.mark.parametrize("function", ["var", "std"])
def test_spread_of_too_few_rows(function: str) -> None:
    mine, numpys = getattr(cnp, function), getattr(np, function)
    for ddof in (0, 1, 2):
        whole = cr.jit(lambda x, d=ddof: mine(x, ddof=d), dims={"x": ("n",)})
        columns = cr.jit(lambda x, d=ddof: mine(x, axis=0, ddof=d), dims={"x": ("n", 2)})
        for n in (0, 1, 2, 3):
            x = np.arange(2.0 * n).reshape(n, 2) ** 2
            with np.errstate(all="ignore"), pytest.warns() if n <= ddof else nullcontext():
                wanted = numpys(x, axis=0, ddof=ddof), numpys(x[:, 0], ddof=ddof)
            np.testing.assert_allclose(columns(x), wanted[0])
            np.testing.assert_allclose(whole(x[:, 0]), wanted[1])
            np.testing.assert_allclose(cr.jit(lambda x, d=ddof: mine(x, axis=0, ddof=d))(x),
                                       wanted[0])  # fmt: skip


@pytest.mark.parametrize("numerics", ["strict", "fast", "reproducible"])
def test_norms_of_nothing_do_not_move(numerics: Any) -> None:
    def moved(x: Any) -> Any:
        return cr.jvp(lambda x: cnp.sqrt(cnp.sum(x * x)), (x,), (x,))[1]

    assert cr.jit(moved, numerics=numerics)(np.zeros(0)) == 0
    gradient = cr.jit(cr.grad(lambda x: cnp.sqrt(cnp.sum(x * x))), numerics=numerics)
    assert gradient(np.zeros(0)).shape == (0,)
    named = cr.jit(moved, dims={"x": ("n",)})
    assert named(np.zeros(0)) == 0
    np.testing.assert_allclose(named(np.array([3.0, 4.0])), 5.0)
