"""What the sweeps of extents and the random programs found, each as its smallest program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import Compiled, program_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.differentiate.reverse import pull_back
from chainrule.ir.dims import named
from chainrule.ir.graph import Graph
from chainrule.ir.types import F64, I64, Type
from chainrule.ops import OPS

# Kind: a step back along an axis, of which there is none where the axis is empty.

RUNNING = {
    "cumprod": lambda x: cnp.cumprod(x, 0),
    "cumprod, last axis": lambda x: cnp.cumprod(x, -1),
    "prod": lambda x: cnp.prod(x, 0),
    "prod, last axis": lambda x: cnp.prod(x, -1),
    "prod of all": cnp.prod,
    "flipped": lambda x: cnp.cumprod(cnp.flip(x), 0),
}
SHAPES = [(0,), (1,), (0, 3), (3, 0), (1, 3), (3, 1), (0, 0)]


def all_derivatives(f: Any) -> Any:
    def loss(x: Any) -> Any:
        return cnp.sum(cnp.sin(f(x)))

    def run(x: Any, t: Any) -> Any:
        return (
            f(x), cr.grad(loss)(x), cr.jvp(f, (x,), (t,))[1], cr.vjp(f, x)[1](f(x))[0],
            cr.hvp(loss)(x, t),
        )  # fmt: skip

    return run


def assert_running(f: Any, compiled: Any, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    x, t = random.uniform(0.5, 1.5, shape), random.normal(size=shape)
    value, gradient, pushed, pulled, curved = compiled(x, t)
    np.testing.assert_allclose(value, f(x), 1e-14)
    step = 1e-5
    slope = (np.sin(f(x + step * t)).sum() - np.sin(f(x - step * t)).sum()) / (2 * step)
    assert np.sum(gradient * t) == pytest.approx(slope, 1e-8, 1e-8)
    moved = (np.asarray(f(x + step * t)) - np.asarray(f(x - step * t))) / (2 * step)
    np.testing.assert_allclose(pushed, moved, 1e-8, 1e-8)
    assert gradient.shape == pulled.shape == curved.shape == shape
    assert np.sum(pulled * t) == pytest.approx(np.sum(np.asarray(value) * pushed), 1e-10, 1e-10)


@pytest.mark.parametrize("name", RUNNING)
def test_running_products_of_nothing(name: str) -> None:
    f = RUNNING[name]
    for shape in SHAPES:
        assert_running(f, cr.jit(all_derivatives(f), cache=False), shape)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("name", RUNNING)
def test_running_products_of_dims_that_become_nothing(name: str, rank: int) -> None:
    f = RUNNING[name]
    dims = ("n", "m")[:rank]
    compiled = cr.jit(all_derivatives(f), dims={"x": dims, "t": dims}, cache=False)
    for shape in [(2, 3), (0, 3), (3, 0), (1, 2), (0, 0), (1, 1)]:
        assert_running(f, compiled, shape[:rank])


# Kind: a remainder by the extent of an axis without elements, where no index exists.


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 0)])
def test_products_over_elements_that_do_not_exist(shape: tuple[int, ...]) -> None:
    programs: list[Callable[[Any], Any]] = [
        lambda x: cnp.dot(cnp.tile(x, 2).ravel(), cnp.tile(x, 2).ravel()),
        lambda x: cnp.vdot(cnp.tile(x, 2), cnp.tile(x, 2)),
        lambda x: cnp.vdot(cnp.repeat(x, 3), cnp.repeat(x, 3)),
        lambda x: cnp.sum(cnp.tile(x, 2) @ cnp.tile(x, 2).T),
        lambda x: cnp.einsum("i,i->", cnp.ravel(cnp.tile(x, 2)), cnp.ravel(cnp.tile(x, 2))),
    ]
    x = np.zeros(shape)
    names = tuple(f"n{i}" for i in range(x.ndim))
    for f in programs:
        for dims in (None, {"x": names}):
            value, slope = cr.jit(cr.value_and_grad(f), dims=dims, cache=False)(x)
            assert value == f(x) == 0
            assert slope.shape == shape


# Kind: "the nearest place" of an axis that has none, written to or read from all the same.


@pytest.mark.parametrize("tail", [(), (3,)])
@pytest.mark.parametrize("size", [0, named("n")])
def test_places_in_an_empty_axis_are_left_alone(size: Any, tail: tuple[int, ...]) -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (size, *tail)))
    g, at = graph.input("g", Type(F64, (4, *tail))), graph.input("at", Type(I64, (4,)))
    outputs = [graph.call("scatter_add", g, at, size=size, batch=0)]
    if size == 0:
        outputs.append(graph.call("gather", x, at, batch=0))
    compiled = Compiled(program_of([x, g, at], outputs))
    # Memory around every array is compared with what it was.
    got = compiled(np.zeros((0, *tail)), np.ones((4, *tail)), np.array([0, -1, 5, 2]))
    assert got[0].shape == (0, *tail)
    assert all(not y.any() for y in got)


def test_updates_of_nothing_in_a_branch_not_taken() -> None:
    def f(on: Any, x: Any, at: Any) -> Any:
        return cr.vmap(
            lambda p: cr.cond(p, lambda: cnp.sum(cnp.sin(x).at[at].add(1.0)), lambda: 2.0)
        )(on)

    compiled = cr.jit(f, dims={"x": ("n",)}, cache=False)
    on, at = np.zeros(3, bool), np.array([0, 1])
    assert compiled(~on, np.zeros(4), at).tolist() == [2.0] * 3
    assert compiled(on, np.zeros(0), at).tolist() == [2.0] * 3


# Kind: what several branches keep for their derivative is one value, kept twice.


@pytest.mark.parametrize("named_dim", [False, True])
def test_second_derivative_of_branches_that_keep_the_same(named_dim: bool) -> None:
    def chosen(x: Any) -> Any:
        return cr.cond(
            cnp.sum(x) > 0.1, lambda v: cnp.sin(v) + cnp.sin(cnp.sum(v)),
            lambda v: cnp.cos(v) + cnp.sin(2 * cnp.sum(v)), x,
        )  # fmt: skip

    def slope(x: Any) -> Any:
        return cnp.sum(cnp.tanh(cr.grad(lambda v: cnp.sum(cnp.sin(chosen(v))))(x)))

    dims = {"x": ("n",)} if named_dim else None
    both = cr.jit(cr.value_and_grad(slope), dims=dims, cache=False)
    for x in (np.array([0.3, 0.4, -0.2]), np.array([-0.3, 0.1, 0.05]), np.zeros(0)):
        _, got = both(x)
        step = 1e-5
        for i in range(len(x)):
            at = step * (np.arange(len(x)) == i)
            expected = (both(x + at)[0] - both(x - at)[0]) / (2 * step)
            assert got[i] == pytest.approx(expected, 1e-7, 1e-8)


# Kind: extremes of nothing that have a value all the same.


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
def test_largest_norms_of_nothing_are_zero(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    programs = [
        lambda m, x: m.linalg.norm(x, np.inf, axis=0),
        lambda m, x: m.linalg.norm(x, np.inf, axis=1),
        lambda m, x: m.linalg.norm(x, np.inf), lambda m, x: m.linalg.norm(x, 1),
    ]  # fmt: skip
    for f in programs:
        sums = np.abs(x).sum(1), np.abs(x).sum(0)
        expected: Any = [
            np.max(np.abs(x), 0, initial=0), np.max(np.abs(x), 1, initial=0),
            np.max(sums[0], initial=0), np.max(sums[1], initial=0),
        ][programs.index(f)]  # fmt: skip
        for dims in (None, {"x": ("n", "m")}):
            got = cr.jit(lambda x, f=f: f(cnp, x), dims=dims, cache=False)(x)
            np.testing.assert_array_equal(got, expected)
            slope = cr.grad(lambda x, f=f: cnp.sum(f(cnp, x)))(x)
            assert np.all(np.isfinite(slope))


def test_smallest_norms_of_nothing_are_refused() -> None:
    f = cr.jit(lambda x: cnp.linalg.norm(x, -np.inf), dims={"x": ("n",)}, cache=False)
    assert f(np.array([2.0, -1.0])) == 1.0
    with pytest.raises(ValueError, match="at least one element"):
        f(np.zeros(0))


def test_powers_of_no_numbers_have_no_columns() -> None:
    for x, count in ((np.zeros(0), None), (np.ones(3), 0), (np.ones(1), None), (np.ones(2), 3)):
        got = cr.jit(lambda x, count=count: cnp.vander(x, count))(x)
        np.testing.assert_array_equal(got, np.vander(x, count))


def test_derivative_of_a_product_with_a_dim_that_becomes_nothing() -> None:
    """The part before each factor had a first element even where there was none."""
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (named("m"), named("n"))))
    y = graph.call("prod", x, axes=(1,))
    (slope,) = pull_back([y], [graph.full_like(y, 1.0)], [x])
    assert slope is not None
    compiled = Compiled(program_of([x], [y, slope]))
    for shape in ((2, 3), (4, 0), (0, 2), (3, 1)):
        values = np.random.default_rng(1).uniform(0.5, 2, shape)
        got = compiled(values)
        np.testing.assert_allclose(got[0], values.prod(1), 1e-14)
        np.testing.assert_allclose(got[1], values.prod(1)[:, None] / values, 1e-13)


# Kind: an access that does not depend on the loop around it, of which there is no turn.


@pytest.mark.parametrize("shape", [(1, 0), (0, 1), (1, 0, 1)])
def test_accesses_of_nothing_stay_in_their_loops(shape: tuple[int, ...]) -> None:
    def curved(x: Any) -> Any:
        def loss(x: Any) -> Any:
            return cnp.sum(cnp.sin(cr.special.logsumexp(x, axis=0)))

        return cr.hvp(loss)(x, 0.5 * x + 1)

    for dims in (None, {"x": tuple(f"n{i}" for i in range(len(shape)))}):
        assert cr.jit(curved, dims=dims, cache=False)(np.zeros(shape)).shape == shape


# Kind: an extent divided by a dim that is 0 when the function is called.


def test_division_by_a_dim_that_is_zero() -> None:
    def f(x: Any, y: Any) -> Any:
        whole, left = x.shape[0] // y.shape[0], x.shape[0] % y.shape[0]
        counted = cr.fori_loop(0, 2, lambda _i, s: s + cnp.ones(whole).sum(), cnp.sum(y))
        return cnp.zeros(whole), cnp.arange(left), counted

    compiled = cr.jit(f, dims={"x": ("n",), "y": ("m",)}, cache=False)
    for n, m in ((4, 2), (5, 3), (0, 1)):
        zeros, numbers, counted = compiled(np.ones(n), np.ones(m))
        assert (len(zeros), len(numbers), counted) == (n // m, n % m, m + 2 * (n // m))
    with pytest.raises(ValueError, match="a division by the extent m"):
        compiled(np.ones(4), np.ones(0))
    with pytest.raises(ZeroDivisionError):
        cr.jit(lambda x: cnp.zeros(x.shape[0] % 0), dims={"x": ("n",)})(np.ones(3))
