"""Norms of any order at 0 and at the ends of the range; norms written as something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

linalg = cnp.linalg
ORDERS = [3, 1.5, 4, 0.5, -1, -2.5, -0.5, 1, 2, np.inf, -np.inf]


def exact(x: Any, order: float) -> tuple[Any, Any]:
    """Return a norm and its gradient, with many digits and no bounds on exponents."""
    sizes = [abs(mpmath.mpf(float(v))) for v in x]
    if abs(order) == np.inf:
        top = max(sizes) if order > 0 else min(sizes)
        slopes = [mpmath.mpf(s == top) for s in sizes]
    else:
        top = mpmath.fsum(s**order for s in sizes) ** (mpmath.mpf(1) / order)
        slopes = [(s / top) ** (order - 1) for s in sizes]
    return float(top), np.array([float(s) for s in slopes]) * np.sign(x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ORDERS)
def test_at_every_scale(order: float, dtype: Any) -> None:
    norm = cr.jit(cr.value_and_grad(lambda x: linalg.norm(x, order)))
    tiny, huge = (1e-200, 1e200) if dtype is np.float64 else (1e-30, 1e30)
    for scale in (1.0, tiny, huge):
        x = (np.array([3.0, -1.0, 2.0, -0.5]) * scale).astype(dtype)
        value, slope = norm(x)
        wanted = exact(x, order)
        rtol = 1e-12 if dtype is np.float64 else 2e-5
        np.testing.assert_allclose(value, wanted[0], rtol=rtol)
        np.testing.assert_allclose(slope, wanted[1], rtol=rtol)


@pytest.mark.parametrize("order", ORDERS)
def test_at_zero(order: float) -> None:
    def norm(x: Any) -> Any:
        return linalg.norm(x, order)

    for verb in (cr.grad(norm), cr.jacfwd(norm), cr.jit(cr.grad(norm), numerics="strict")):
        np.testing.assert_array_equal(verb(np.zeros(3)), np.zeros(3))
    # One element that is 0: a kink or a slope of 0 there; the others as mathematics has them.
    x = np.array([3.0, 0.0, 4.0])
    slope = cr.grad(norm)(x)
    assert slope[1] == 0
    if order > 0:
        np.testing.assert_allclose(slope[[0, 2]], exact(x[[0, 2]], order)[1], rtol=1e-12)
    else:
        # The norm is 0 however the others move.
        np.testing.assert_array_equal(slope[[0, 2]], 0)


@pytest.mark.parametrize("order", ORDERS)
def test_along_axes(order: float) -> None:
    m = np.array([[0.0, 0.0], [3.0, -4.0], [1e-200, 2e-200]])
    wanted = np.stack([np.zeros(2), exact(m[1], order)[1], exact(m[2], order)[1]])
    rows = lambda m: cnp.sum(linalg.vector_norm(m, ord=order, axis=1))  # noqa: E731
    np.testing.assert_allclose(cr.grad(rows)(m), wanted, rtol=1e-12)
    columns = lambda m: cnp.sum(linalg.norm(m, order, axis=0, keepdims=True))  # noqa: E731
    np.testing.assert_allclose(cr.grad(columns)(m.T), wanted.T, rtol=1e-12)
    each = cr.vmap(cr.grad(lambda r: linalg.norm(r, order)))
    np.testing.assert_allclose(each(m), wanted, rtol=1e-12)


@pytest.mark.parametrize("order", [3, 1.5, 0.5, -1])
def test_named_extents_and_empty_ones(order: float) -> None:
    norm = cr.jit(cr.value_and_grad(lambda x: linalg.norm(x, order)), dims={"x": ("n",)})
    with np.errstate(divide="ignore"):
        for n in (3, 1, 0, 2):
            x = np.arange(1.0, n + 1)
            value, slope = norm(x)
            np.testing.assert_allclose(value, np.linalg.norm(x, order), rtol=1e-12)
            assert slope.shape == (n,)


def test_second_derivatives() -> None:
    x = np.array([3.0, -1.0, 2.0])
    for order in (3, 1.5, -1):
        hessian = cr.hessian(lambda x, p=order: linalg.norm(x, p))(x)
        step = 1e-6
        ends = [(exact(x + e, order)[1], exact(x - e, order)[1]) for e in step * np.eye(3)]
        rows = np.array([(a - b) / (2 * step) for a, b in ends])
        np.testing.assert_allclose(hessian, rows, rtol=1e-6, atol=1e-8)
    assert np.all(np.isfinite(cr.hessian(lambda x: linalg.norm(x, 3))(np.zeros(2))))


# One function, one answer


WRITTEN: dict[str, Callable[[Any], Any]] = {
    "sum": lambda v: cnp.sqrt(cnp.sum(v * v)),
    "matmul": lambda v: cnp.sqrt(v @ v),
    "dot": lambda v: cnp.sqrt(cnp.dot(v, v)),
    "vdot": lambda v: cnp.sqrt(cnp.vdot(v, v)),
    "inner": lambda v: cnp.sqrt(cnp.inner(v, v)),
    "vecdot": lambda v: cnp.sqrt(linalg.vecdot(v, v)),
    "einsum": lambda v: cnp.sqrt(cnp.einsum("i,i->", v, v)),
    "tensordot": lambda v: cnp.sqrt(cnp.tensordot(v, v, 1)),
    "scaled": lambda v: cnp.sqrt(2.0 * (v @ v)),
    "mean": lambda v: cnp.sqrt((v @ v) / 3),
    "norm": linalg.norm,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_norm_however_it_is_written(name: str) -> None:
    norm = WRITTEN[name]
    programs = (norm, lambda v: 0.5 * norm(v) ** 2, lambda v: norm(v) ** 4,
                lambda v: norm(v) * norm(v))  # fmt: skip
    for program in programs:
        for verb in (cr.grad(program), cr.jacfwd(program), cr.jit(cr.grad(program))):
            np.testing.assert_array_equal(verb(np.zeros(3)), np.zeros(3))
    x = np.array([1.0, 2.0, -2.0])
    length = float(cr.jit(norm)(x))
    np.testing.assert_allclose(cr.grad(norm)(x), x * length / 9, rtol=1e-12)
    np.testing.assert_allclose(cr.grad(programs[1])(x), x * length**2 / 9, rtol=1e-12)


def test_norms_of_rows_by_einsum() -> None:
    m = np.array([[0.0, 0.0], [3.0, 4.0]])
    rows = lambda m: cnp.sum(cnp.sqrt(cnp.einsum("bi,bi->b", m, m)))  # noqa: E731
    np.testing.assert_allclose(cr.grad(rows)(m), [[0.0, 0.0], [0.6, 0.8]])
    whole = lambda m: cnp.sqrt(cnp.einsum("bi,bi->", m, m))  # noqa: E731
    np.testing.assert_array_equal(cr.grad(whole)(m * 0), m * 0)
    each = lambda m: cnp.sum(cr.vmap(lambda v: cnp.sqrt(v @ v))(m))  # noqa: E731
    np.testing.assert_allclose(cr.grad(each)(m), [[0.0, 0.0], [0.6, 0.8]])


ROOTS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sqrt(x)**2": (lambda x: cnp.sqrt(x) ** 2, 1.0),
    "sqrt(x)**3": (lambda x: cnp.sqrt(x) ** 3, 0.0),
    "sqrt(x)**4": (lambda x: cnp.sqrt(x) ** 4, 0.0),
    "x*sqrt(x)": (lambda x: x * cnp.sqrt(x), 0.0),
    "sqrt(x)*sqrt(x)": (lambda x: cnp.sqrt(x) * cnp.sqrt(x), 1.0),
    "(x**0.5)**2": (lambda x: (x**0.5) ** 2, 1.0),
    "square(sqrt(x))": (lambda x: cnp.square(cnp.sqrt(x)), 1.0),
}
# Roots of what is 0 with its slope: the exponent of the whole is 1 or more.
ROOTED: dict[str, tuple[Callable[[Any], Any], float]] = {
    "((x-1)**2)**.75": (lambda x: ((x - 1) ** 2) ** 0.75, 1.0),
    "(3*x*x)**.75": (lambda x: (3 * x * x) ** 0.75, 0.0),
    "(x**4)**.25": (lambda x: (x**4) ** 0.25, 0.0),
    "cbrt(x**4)": (lambda x: cnp.cbrt(x**4), 0.0),
    "cbrt(x**5)": (lambda x: cnp.cbrt(x**5), 0.0),
    "cbrt(8*x**6)": (lambda x: cnp.cbrt(8 * x**6), 0.0),
    "(1-cos(x))**.75": (lambda x: (1 - cnp.cos(x)) ** 0.75, 0.0),
    "sqrt(1-cos(x))": (lambda x: cnp.sqrt(1 - cnp.cos(x)), 0.0),
    "(x*x+(2*x)**2)**.6": (lambda x: (x * x + (2 * x) ** 2) ** 0.6, 0.0),
}
FORMS: dict[str, Callable[[Any], Any]] = {
    "matmul": lambda v: (v @ v) ** 0.75,
    "sum": lambda v: cnp.sum(v**2) ** 0.6,
    "mean": lambda v: cnp.mean(v * v) ** 0.75,
    "variance": lambda v: cnp.var(v) ** 0.75,
    "form": lambda v: (v @ (np.diag([1.0, 2.0, 3.0]) @ v)) ** 0.75,
    "rows": lambda v: cnp.sum(cnp.sum(cnp.stack([v, 2 * v]) ** 2, axis=1) ** 0.75),
}


@pytest.mark.parametrize("name", ROOTS)
def test_powers_of_roots(name: str) -> None:
    function, slope = ROOTS[name]
    step = lambda x: cr.scan(lambda c, _: (function(c), None), x, None, length=1)[0]  # noqa: E731
    for verb in (cr.grad(function), cr.jacfwd(function), cr.grad(step)):
        np.testing.assert_allclose(verb(0.0), slope, rtol=1e-15)
    np.testing.assert_allclose(cr.vmap(cr.grad(function))(np.zeros(2)), slope, rtol=1e-15)
    # The root of a negative number is none, whatever is made of it.
    assert np.isnan(cr.jit(function)(-2.0))
    assert np.isnan(cr.grad(function)(-2.0))
    # Beside a derivative, where powers are merged, as well.
    for numerics in ("fast", "strict", "reproducible"):
        value, _ = cr.jit(cr.value_and_grad(function), numerics=numerics)(2.25)
        np.testing.assert_allclose(value, function(np.float64(2.25)), rtol=1e-14)
        value, _ = cr.jit(cr.value_and_grad(function), numerics=numerics)(-2.0)
        assert np.isnan(value)


@pytest.mark.parametrize("name", ROOTED)
def test_roots_of_powers(name: str) -> None:
    function, at = ROOTED[name]

    def step(x: Any) -> Any:
        return cr.scan(lambda c, _: (function(c), None), x, None, length=1)[0]

    strict = cr.jit(cr.grad(function), numerics="strict")
    for verb in (cr.grad(function), cr.jacfwd(function), cr.grad(step), strict):
        assert verb(at) == 0
    np.testing.assert_allclose(cr.vmap(cr.grad(function))(np.full(2, at)), 0)
    for x in (0.7, -1.3, 2.0):
        h = 1e-6
        slope = (function(np.float64(x + h)) - function(np.float64(x - h))) / (2 * h)
        np.testing.assert_allclose(cr.grad(function)(x), slope, rtol=1e-8)
        for numerics in ("fast", "strict", "reproducible"):
            value, _ = cr.jit(cr.value_and_grad(function), numerics=numerics)(x)
            np.testing.assert_allclose(value, function(np.float64(x)), rtol=1e-14)


@pytest.mark.parametrize("numerics", ["fast", "strict"])
def test_the_root_of_a_form_of_nothing_has_no_slope(numerics: str) -> None:
    def f(x: Any, a: Any) -> Any:
        return cr.jvp(lambda x: cnp.sqrt(x @ a @ x), (x,), (x,))[1]

    fn = cr.jit(f, dims={"x": ("n",), "a": ("n", "n")}, numerics=numerics)
    for n in (0, 1, 2):
        assert fn(np.zeros(n), np.eye(n)) == 0
        np.testing.assert_allclose(fn(np.ones(n), np.eye(n)), np.sqrt(n))


def test_roots_of_odd_powers() -> None:
    def third(x: Any) -> Any:
        return (x**3) ** (1 / 3)

    assert cr.grad(third)(0.0) == cr.grad(lambda x: cnp.cbrt(x**3))(0.0) == 1
    assert cr.grad(lambda x: cnp.cbrt(x**3))(-2.0) == 1
    # A broken power of a negative number is none, whatever is made of it.
    assert np.isnan(cr.jit(cr.grad(third))(-2.0))


@pytest.mark.parametrize("name", FORMS)
def test_powers_of_squared_norms(name: str) -> None:
    function = FORMS[name]
    strict = cr.jit(cr.grad(function), numerics="strict")
    for verb in (cr.grad(function), cr.jacfwd(function), strict):
        np.testing.assert_array_equal(verb(np.zeros(3)), np.zeros(3))
    x, h = np.array([1.0, 2.5, -2.0]), 1e-6
    slopes = [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(cr.grad(function)(x), slopes, rtol=1e-7)


@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("first", [True, False])
def test_a_signed_root_beside_the_sign_of_another_number(first: bool, numerics: str) -> None:
    def product(x: Any, y: Any) -> Any:
        signed = cnp.sqrt(cnp.abs(x)) * cnp.sign(x)
        return cnp.sign(y) * signed if first else signed * cnp.sign(y)

    for x, y in ((2.25, -3.0), (-2.25, -3.0), (-2.25, 3.0), (2.25, 0.0)):
        value, slope = cr.jit(cr.value_and_grad(product), numerics=numerics)(x, y)
        np.testing.assert_allclose(value, np.sign(x) * np.sign(y) * 1.5, rtol=1e-15)
        np.testing.assert_allclose(slope, np.sign(y) / 3, rtol=1e-15)
