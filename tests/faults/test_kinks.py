"""Kinks: a mask of an extreme is a mask, a cusp has slope 0, values keep NaN behind masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

Function = Callable[[Any], Any]
MODES = ("fast", "strict", "reproducible")
numerics = pytest.mark.parametrize("numerics", MODES)


def slopes(f: Function, numerics: str) -> list[Function]:
    """The derivative of a function of one number, forward and reverse, and once more."""
    forward = cr.jit(lambda x: cr.jvp(f, (x,), (1.0,))[1], numerics=numerics)
    return [cr.jit(cr.grad(f), numerics=numerics), forward]


# Functions that do not depend on x where it is negative.
FLAT: dict[str, Function] = {
    "sqrt of maximum": lambda x: cnp.sqrt(cnp.maximum(x, 0.0)),
    "sqrt of maximum, turned round": lambda x: cnp.sqrt(cnp.maximum(0.0, x)),
    "sqrt of minimum": lambda x: cnp.sqrt(-cnp.minimum(0.0, -x)),
    "power of maximum": lambda x: cnp.maximum(x, 0.0) ** 0.75,
    "sqrt of fmax": lambda x: cnp.sqrt(cnp.fmax(x, 0.0)),
    "sqrt of clip": lambda x: cnp.sqrt(cnp.clip(x, 0.0, None)),
    "sqrt of clip at both ends": lambda x: cnp.sqrt(cnp.clip(x, 0.0, 3.0)),
    "cbrt of maximum": lambda x: cnp.cbrt(cnp.maximum(x, 0.0)),
    "sqrt of max over an axis": lambda x: cnp.sqrt(cnp.max(cnp.stack([x, 0.0]))),
    "sqrt of min over an axis": lambda x: cnp.sqrt(-cnp.min(cnp.stack([-x, 0.0]))),
    "sqrt of x times a truth value": lambda x: cnp.sqrt(x * (x > 0)),
    "1/sqrt behind maximum": lambda x: 1.0 / (1.0 + cnp.sqrt(cnp.maximum(x, 0.0))),
}


@numerics
@pytest.mark.parametrize("name", FLAT)
def test_no_slope_where_another_argument_is_the_extreme(name: str, numerics: str) -> None:
    f = FLAT[name]
    # The tangent of an extreme over an axis is a number, which tells no mask.
    for slope in slopes(f, numerics)[: 1 if "axis" in name else 2]:
        assert slope(-1.0) == 0.0
        h = 1e-6
        np.testing.assert_allclose(slope(1.3), (f(1.3 + h) - f(1.3 - h)) / (2 * h), rtol=1e-8)
    assert cr.jit(cr.hessian(f), numerics=numerics)(-1.0) == 0.0


def test_hessian_of_a_hinge_away_from_its_kinks() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 0.0], [-1.0, -1.0]])

    def loss(w: Any) -> Any:
        return cnp.sum(cnp.maximum(1 - rows @ w, 0.0) ** 1.5)

    expected = 0.75 / np.sqrt(3) * np.ones((2, 2))
    np.testing.assert_allclose(cr.hessian(loss)(np.ones(2)), expected)


@pytest.mark.parametrize("ties", [1, 2, 3])
def test_winners_share_evenly(ties: int) -> None:
    x = np.array([1.0, -2.0, 1.0, 1.0])
    x[:3] -= np.arange(3) >= ties
    for verb in (cr.grad, cr.jacfwd):
        got = verb(lambda x: 3 * cnp.max(x))(x)
        np.testing.assert_array_equal(got, 3 * (x == x.max()) / np.sum(x == x.max()))


CUSPS: dict[str, Function] = {
    "abs(x)**.75": lambda x: cnp.abs(x) ** 0.75,
    "sqrt(abs(x))": lambda x: cnp.sqrt(abs(x)),
    "cbrt(abs(x))": lambda x: cnp.cbrt(abs(x)),
    "(x*x)**.375": lambda x: (x * x) ** 0.375,
    "cbrt(x**2)": lambda x: cnp.cbrt(x**2),
    "norm(x)**.75": lambda x: cnp.linalg.norm(cnp.stack([x, 2 * x])) ** 0.75,
    "sqrt(hypot(x, x))": lambda x: cnp.sqrt(cnp.hypot(x, x)),
}


@numerics
@pytest.mark.parametrize("name", CUSPS)
def test_the_sides_of_a_cusp_cancel(name: str, numerics: str) -> None:
    f = CUSPS[name]
    for slope in slopes(f, numerics):
        assert slope(0.0) == 0.0
        h = 1e-6
        for x in (0.7, -0.7):
            np.testing.assert_allclose(slope(x), (f(x + h) - f(x - h)) / (2 * h), rtol=1e-8)


@numerics
def test_what_is_no_cusp_keeps_its_infinite_slope(numerics: str) -> None:
    def signed(x: Any) -> Any:
        return cnp.sign(x) * cnp.sqrt(abs(x))

    for f in (signed, cnp.sqrt, cnp.cbrt, lambda x: x**0.75):
        for slope in slopes(f, numerics):
            assert slope(0.0) == np.inf
    assert cr.jit(cr.hessian(lambda x: abs(x) ** 1.5), numerics=numerics)(0.0) == np.inf


MASKED: dict[str, Callable[[Any, Any], Any]] = {
    "truth value": lambda m, x: x * (x > 0),
    "from the left": lambda m, x: (x > 0) * x,
    "as numbers": lambda m, x: (x > 0).astype(float) * x,
    "where": lambda m, x: x * m.where(x > 0, 2.0, 0.0),
    "where, turned round": lambda m, x: x * m.where(x > 0, 0.0, 2.0),
    "row": lambda m, x: m.stack([x, x]) * (x > 0),
    "isfinite": lambda m, x: x * m.isfinite(x),
    "of a logarithm": lambda m, x: (x > 0) * m.log(x),
    "identity": lambda m, x: m.eye(4) * x,
}


@numerics
@pytest.mark.parametrize("name", MASKED)
def test_a_factor_behind_a_mask_keeps_its_nan(name: str, numerics: str) -> None:
    f, x = MASKED[name], np.array([np.nan, 1.0, -2.0, np.inf])
    with np.errstate(all="ignore"):
        expected = f(np, x)
    np.testing.assert_array_equal(cr.jit(lambda x: f(cnp, x), numerics=numerics)(x), expected)


@pytest.mark.parametrize("verb", [cr.jacfwd, cr.jacrev, cr.jacobian])
@pytest.mark.parametrize("f", [cnp.sqrt, cnp.cbrt, cnp.log, lambda x: 1 / x, lambda x: x**0.75])
def test_an_infinite_slope_stays_in_its_column(f: Function, verb: Any) -> None:
    x = np.array([0.0, 1.0, 4.0])
    alone = np.array([cr.grad(f)(v) for v in x])
    assert np.isinf(alone[0])
    np.testing.assert_array_equal(verb(f)(x), np.where(np.eye(3, dtype=bool), alone, 0.0))


def logistic(form: int) -> Callable[[Any, Any], Any]:
    """The logistic loss of scores z and labels y in the textbooks' spellings."""
    log1p, exp, log, top = cnp.log1p, cnp.exp, cnp.log, cnp.maximum
    return [
        lambda z, y: top(z, 0) - z * y + log1p(exp(-abs(z))),
        lambda z, y: log1p(exp(-abs(z))) + top(z, 0) - z * y,
        lambda z, y: log(1 + exp(-abs(z))) + top(0, z) - z * y,
        lambda z, y: top(z, 0) + log1p(exp(-abs(z))) - z * y,
        lambda z, y: top(z, 0) + (log1p(exp(-abs(z))) - z * y),
        lambda z, y: top(z, 0) - (z * y - log1p(exp(-abs(z)))),
    ][form]


@numerics
@pytest.mark.parametrize("form", range(6))
def test_the_logistic_loss_has_its_hessian_at_zero_scores(form: int, numerics: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3))
    y = (x[:, 0] > 0).astype(float)

    def loss(w: Any) -> Any:
        return cnp.sum(logistic(form)(x @ w, y))

    np.testing.assert_allclose(
        cr.jit(cr.hessian(loss), numerics=numerics)(np.zeros(3)), x.T @ x / 4, rtol=1e-12
    )
    w = np.array([40.0, -3.0, 0.5])
    z = x @ w
    np.testing.assert_allclose(
        cr.jit(loss, numerics=numerics)(w), np.sum(np.logaddexp(0, z) - z * y), 1e-13, 1e-14
    )


W = np.array([1.0, 2.0, 3.0])
FORM = np.diag(W) + 0.1
LENGTHS: dict[str, Function] = {
    "keepdims": lambda v: cnp.sum(cnp.sqrt(cnp.sum(v**2, keepdims=True))),
    "root of a mean": lambda v: cnp.sum(cnp.sqrt(cnp.mean(v**2, axis=-1, keepdims=True))),
    "an axis more": lambda v: cnp.sqrt((v @ v)[None])[0],
    "four squares": lambda v: cnp.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2 + v[0] ** 2),
    "sums of sums": lambda v: cnp.sqrt(cnp.sum(v * v) + cnp.sum((2 * v) ** 2)),
    "a product and a sum": lambda v: cnp.sqrt(v @ v + cnp.sum(v * v)),
    "twice a form": lambda v: cnp.sqrt(2 * (v @ FORM @ v)),
    "a form over a number": lambda v: cnp.sqrt((v @ FORM @ v) / 3),
    "two forms": lambda v: cnp.sqrt(v @ FORM @ v + v @ v),
    "weights first": lambda v: cnp.sqrt(cnp.sum(W * v * v)),
    "weights and squares": lambda v: cnp.sqrt(cnp.sum(W * v**2)),
    "weights by a product": lambda v: cnp.sqrt(W @ (v * v)),
    "an average": lambda v: cnp.sqrt(cnp.average(v**2, weights=W)),
    "scaled squares": lambda v: cnp.sum(cnp.sqrt(v**2 * W)),
    "Mahalanobis": lambda v: cnp.sqrt(cnp.sum(v**2 / W**2)),
    "half an angle": lambda v: cnp.sum(cnp.sqrt(2 * (1 - cnp.cos(v)))),
    "half an angle, expanded": lambda v: cnp.sum(cnp.sqrt(2 - 2 * cnp.cos(v))),
    "half an angle, over 2": lambda v: cnp.sum(cnp.sqrt((1 - cnp.cos(v)) / 2)),
    "a power of half an angle": lambda v: cnp.sum((2 * (1 - cnp.cos(v))) ** 0.75),
    "a power of a form": lambda v: (2 * (v @ FORM @ v)) ** 0.75,
    "a power of two forms": lambda v: (v @ FORM @ v + v @ v) ** 0.75,
    "a logarithm": lambda v: cnp.sum(cnp.log1p(v**2) ** 0.75),
    "powers of two degrees": lambda v: cnp.sum((v**2 + v**4) ** 0.75),
    "a trace": lambda v: cnp.sqrt(cnp.trace(cnp.outer(v, v))),
    "a trace of a product": lambda v: _frobenius(cnp.stack([v, 2 * v])),
    "a quotient": lambda v: cnp.sum(cnp.sqrt(v**2 / (1 + v**2))),
    "a flat power": lambda v: (v @ v) ** 1.25,
    "a flat power of a form": lambda v: (v @ FORM @ v) ** 1.1,
}


def _frobenius(m: Any) -> Any:
    return cnp.sqrt(cnp.trace(m @ m.T))


@pytest.mark.share(2)
@numerics
@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_have_slope_0_at_0_however_they_are_written(name: str, numerics: str) -> None:
    f, zero = LENGTHS[name], np.zeros(3)
    gradient = cr.jit(cr.grad(f), numerics=numerics)
    np.testing.assert_array_equal(gradient(zero), zero)
    assert cr.jit(lambda v: cr.jvp(f, (v,), (W,))[1], numerics=numerics)(zero) == 0
    rows = np.array([[0.3, -0.7, 1.1], [0, 0, 0]])
    h = 1e-6 * np.eye(3)
    slope = [(f(rows[0] + e) - f(rows[0] - e)) / 2e-6 for e in h]
    np.testing.assert_allclose(gradient(rows[0]), slope, rtol=1e-7)
    np.testing.assert_allclose(cr.vmap(cr.grad(f))(rows), np.array([slope, zero]), rtol=1e-7)
    if "flat" in name:
        hessian = cr.jit(cr.hessian(f), numerics=numerics)
        np.testing.assert_array_equal(hessian(zero), np.zeros((3, 3)))


@numerics
def test_what_is_nan_at_0_stays_nan(numerics: str) -> None:
    for f in (lambda x: cnp.sqrt(x**2 * cnp.log(x)), lambda x: cnp.sqrt(x**2 / x)):
        value, slope = cr.jit(cr.value_and_grad(f), numerics=numerics)(0.0)
        assert np.isnan(value)
        assert np.isnan(slope)


@numerics
def test_roots_of_what_does_not_vanish_flatly_are_steep(numerics: str) -> None:
    for f in (lambda x: cnp.sqrt(2 * x), lambda x: cnp.sqrt(cnp.sin(x)), lambda x: x**0.3):
        assert cr.jit(cr.grad(f), numerics=numerics)(0.0) == np.inf
    named = cr.jit(cr.grad(lambda v: cnp.sqrt(cnp.sum(W[0] * v * v))), dims={"v": ("n",)})
    for n in (0, 1, 3):
        np.testing.assert_array_equal(named(np.zeros(n)), np.zeros(n))
