"""Hessians of sparse pattern, laid into zeros, against those of one product an element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.transform import filled

Function = Callable[[Any], Any]

N: Final = 24


def chain(x: Any) -> Any:
    return cnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bands(x: Any) -> Any:
    return cnp.sum(cnp.sin(x[2:] * x[:-2]) + cnp.exp(x[1:-1])) + cnp.sum(cnp.cosh(x[3:] - x[:-3]))


def arrow(x: Any) -> Any:
    return cnp.sum(cnp.tanh(x[0] * x[1:]) * x[1:])


def blocks(x: Any) -> Any:
    a, b, c = x[::3], x[1::3], x[2::3]
    return cnp.sum(cnp.sin(a * b) * cnp.cos(c) + a * c**2)


def ring(x: Any) -> Any:
    return cnp.sum(cnp.logaddexp(x, cnp.roll(x, 1)))


def separable(x: Any) -> Any:
    return cnp.sum(x**4 - cnp.cos(x))


def grid(x: Any) -> Any:
    u = x.reshape(2, N // 2)
    return cnp.sum(cnp.sqrt(1 + (u[1] - u[0]) ** 2)) + cnp.sum((u[:, 1:] - u[:, :-1]) ** 4)


def dot(x: Any) -> Any:
    r = x[1:] ** 2 - x[:-1]
    return r @ r


def linear(x: Any) -> Any:
    return cnp.sum(3 * x)


def some(x: Any) -> Any:
    return cnp.sum(x[3:9] * x[4:10])


SPARSE: Final = [chain, bands, arrow, blocks, ring, separable, grid, dot, linear, some]


def dense(x: Any) -> Any:
    return cnp.sum(x) ** 3


def scattered(x: Any) -> Any:
    order = np.random.default_rng(3).permutation(N)
    return cnp.sum(x * cnp.sin(x[order]))


def matrix(x: Any) -> Any:
    return x @ (np.arange(N * N).reshape(N, N) @ x)


def looped(x: Any) -> Any:
    return cr.scan(lambda c, a: (c * a + a, None), x[0], x)[0]


def product(x: Any) -> Any:
    return cnp.sum(cnp.sin(x)) * cnp.sum(x**2)


def pairs(x: Any) -> Any:
    return cnp.sum(cnp.exp(-((x[:, None] - x[None, :]) ** 2)))


def normalised(x: Any) -> Any:
    return cnp.sum(x[1:] * x[:-1]) / cnp.linalg.norm(x)


DENSE: Final = [dense, matrix, looped, scattered, product, pairs, normalised]


WEIGHTS: Final = np.sin(np.arange(N * N)).reshape(N, N)
TRANSFORMED: Final[list[Callable[[Function], Callable[[Any, Any], Any]]]] = [
    lambda h: lambda x, t: cr.vmap(h)(cnp.stack([x, x + 0.1 * t])),
    lambda h: lambda x, t: cr.jvp(h, (x,), (t,)),
    lambda h: lambda x, t: cr.grad(lambda x: cnp.sum(cnp.sin(h(x)) * WEIGHTS))(x) * t,
    lambda h: lambda x, t: cr.vmap(lambda s: cr.jvp(h, (s * x,), (t,))[1])(cnp.array([1, 0.5])),
    lambda h: cr.hvp(lambda x: cnp.sum(h(x) ** 2)),
]


def whole(f: Function) -> Function:
    """Return the Hessian as one product for each element."""
    return cr.jacfwd(cr.grad(f))


def point(dtype: Any = np.float64) -> Any:
    return np.random.default_rng(5).uniform(0.2, 1.5, N).astype(dtype)


def overlays(f: Function, x: Any, **options: Any) -> int:
    lowered = cr.jit(cr.hessian(f), cache=False, **options).lower(x)
    return sum(n.op.name == "overlay" for n in lowered.lowered.optimized.nodes)


@pytest.mark.share(4)
@pytest.mark.parametrize("f", [*SPARSE, *DENSE], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_entries_are_those_of_one_product_each(f: Function, dtype: Any) -> None:
    x = point(dtype)
    loose = 1e-12 if dtype is np.float64 else 1e-4
    expected = cr.jit(whole(f), numerics="strict", cache=False)(x)
    compiled = cr.jit(cr.hessian(f), cache=False)
    got = compiled(x)
    assert got.dtype == dtype
    scale = max(1.0, float(np.max(np.abs(expected))))
    np.testing.assert_allclose(got, expected, loose, loose * scale)
    evaluated = compiled.lower(x).traced.run(x)
    np.testing.assert_allclose(got, evaluated, loose, loose * scale)


@pytest.mark.share(4)
@pytest.mark.parametrize("f", SPARSE, ids=lambda f: f.__name__)
def test_transformed_again(f: Function) -> None:
    x, t = point(), np.cos(np.arange(N))
    for made in TRANSFORMED:
        got = cr.jit(made(cr.hessian(f)), cache=False)(x, t)
        expected = cr.jit(made(whole(f)), cache=False)(x, t)
        for a, b in zip(cr.tree_leaves(got), cr.tree_leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, 1e-9, 1e-9 * max(1.0, float(np.max(np.abs(b)))))


def test_work_is_that_of_the_pattern() -> None:
    """Few kernels, and operations for a few sweeps, not for all elements."""
    x = point()
    for f in SPARSE:
        few, all_ = (
            cr.jit(g(f), cache=False).lower(x).compile().cost.flops for g in (cr.hessian, whole)
        )
        assert 2 * few <= all_ or f is linear, f"{f.__name__}: {few} {all_}"
    lowered = cr.jit(cr.hessian(chain), cache=False).lower(x).lowered
    assert lowered.kernels <= 2
    assert [n.op.name for n in lowered.optimized.outputs] == ["overlay"]


def test_where_one_product_for_each_element_stays() -> None:
    x = point()
    assert all(overlays(f, x) == 1 for f in SPARSE if f is not linear)
    assert not any(overlays(f, x) for f in DENSE)
    assert not overlays(chain, x, numerics="strict")
    assert not overlays(chain, x[:8])
    named = cr.jit(cr.hessian(chain), dims={"x": ("n",)}, cache=False)
    np.testing.assert_allclose(named(x), cr.hessian(chain)(x), 1e-12, 1e-12)


def test_integers_from_the_data_are_not_looked_through() -> None:
    x, order = point(), np.roll(np.arange(N), 1)
    compiled = cr.jit(lambda x, i: cr.hessian(lambda x: cnp.sum(x * cnp.sin(x[i])))(x), cache=False)
    known = cr.hessian(lambda x: cnp.sum(x * cnp.sin(x[order])))(x)
    np.testing.assert_allclose(compiled(x, order), known, 1e-12, 1e-12)


def test_what_is_not_in_the_pattern_is_zero() -> None:
    x = point()
    x[5] = np.inf
    found = cr.hessian(chain)(x)
    away = np.abs(np.subtract.outer(np.arange(N), np.arange(N))) > 1
    assert np.array_equal(found[away], np.zeros(away.sum()))
    assert not np.signbit(found[away]).any()


def test_an_argument_with_axes() -> None:
    x = point().reshape(4, 6)

    def f(u: Any) -> Any:
        return cnp.sum(cnp.sin(u[:, 1:] * u[:, :-1]))

    found = cr.hessian(f)(x)
    assert found.shape == (4, 6, 4, 6)
    np.testing.assert_allclose(found, whole(f)(x), 1e-12, 1e-12)


def test_entries_outside_of_steps_stand_alone() -> None:
    values = [filled._Value(at, ((0, at),)) for at in (0, 1, 7, 14, 21, 28, 35, 40)]
    runs = filled._runs(values, 6)
    assert sorted(v for run in runs for v in run) == values
    assert max(len(run) for run in runs) == 6
