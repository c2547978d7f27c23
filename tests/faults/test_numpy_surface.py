"""Kinds of fault: an option, a count or an empty axis of NumPy's that led to an internal error."""

# ruff: noqa: PLW0108  (a lambda is the line of the user)

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError, ShapeError, StructureError, UnsupportedError
from chainrule.frontend.trace import trace

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 5))
M = (RNG.uniform(size=(4, 5)) > 0.4) | np.eye(4, 5, 1, dtype=bool) | (np.arange(5) < 2)


def differences(fn: Callable[..., Any], x: Any, step: float = 1e-6) -> Any:
    """Central differences of a function of an array, with NumPy alone."""
    result = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        e = np.zeros_like(x)
        e[i] = step
        result[i] = (fn(x + e) - fn(x - e)) / (2 * step)
    return result


# Kind: what NumPy deprecates follows NumPy.


def test_fix_is_there_as_long_as_numpys_is() -> None:
    np.testing.assert_array_equal(cr.jit(cnp.fix)(X * 3), np.trunc(X * 3))
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        getattr(np, "fix", np.trunc)(X)
    with warnings.catch_warnings(record=True) as got:
        warnings.simplefilter("always")
        cnp.fix(X)
    assert [w.category for w in got] == [w.category for w in given]


# Kind: options of reductions.

REDUCTIONS: list[Callable[[Any, Any, Any], Any]] = [
    lambda m, x, w: m.sum(x, where=w),
    lambda m, x, w: m.sum(x, axis=0, where=w, initial=2.0),
    lambda m, x, w: m.sum(x * x, axis=(0, 1), keepdims=True, where=w),
    lambda m, x, w: m.prod(x, where=w),
    lambda m, x, w: m.prod(x, axis=1, where=w, initial=0.5),
    lambda m, x, w: m.max(x, where=w, initial=-0.25),
    lambda m, x, w: m.max(x, axis=0, where=w, initial=-9.0, keepdims=True),
    lambda m, x, w: m.min(x, axis=-1, where=w, initial=0.25),
    lambda m, x, w: m.min(x, initial=-5.0),
    lambda m, x, w: m.mean(x, where=w),
    lambda m, x, w: m.mean(x, axis=1, where=w, keepdims=True),
    lambda m, x, w: m.var(x, where=w, ddof=1),
    lambda m, x, w: m.var(x, axis=0, where=w),
    lambda m, x, w: m.std(x, axis=1, where=w),
    lambda m, x, w: m.var(x, mean=m.mean(x, keepdims=True)),
    lambda m, x, w: m.std(x, axis=0, mean=m.mean(x, axis=0, keepdims=True), where=w),
    lambda m, x, w: m.nansum(x, where=w, initial=1.0),
    lambda m, x, w: m.nanmean(x, axis=0, where=w),
    lambda m, x, w: m.nanmax(x, axis=1, where=w, initial=-3.0),
    lambda m, x, w: x.sum(axis=0, where=w, initial=1.0),
    lambda m, x, w: x.mean(where=w),
    lambda m, x, w: x.max(axis=1, where=w, initial=0.0),
    lambda m, x, w: np.add.reduce(x, where=w, initial=1.0),
    lambda m, x, w: m.diff(x, prepend=1.0, append=x[:, :2]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", range(len(REDUCTIONS)))
def test_where_and_initial_are_numpys(case: int) -> None:
    fn = REDUCTIONS[case]
    dims = {"x": ("n", "m"), "w": ("n", "m")}
    compiled = cr.jit(lambda x, w: fn(cnp, x, w), dims=dims)
    for rows in (4, 1, 7):
        x = RNG.normal(size=(rows, 5))
        w = RNG.uniform(size=(rows, 5)) > 0.4
        w[:, 1:3] = True
        expected = fn(np, x, w)
        for got in (compiled(x, w), trace(lambda x, w: fn(cnp, x, w), x, w).run(x, w)):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
        small = x.astype(np.float32)
        narrow = trace(lambda x, w: fn(cnp, x, w), small, w).run(small, w)
        assert narrow.dtype == fn(np, small, w).dtype
    # The gradient, in reverse, forward and under vmap, by differences of NumPy's own function.
    gradient = cr.grad(lambda x: (fn(cnp, x, M) ** 2).sum())
    exact = differences(lambda x: (fn(np, x, M) ** 2).sum(), X)
    np.testing.assert_allclose(gradient(X), exact, rtol=1e-4, atol=1e-6)
    tangent = cr.jvp(lambda x: (fn(cnp, x, M) ** 2).sum(), (X,), (Y,))[1]
    np.testing.assert_allclose(tangent, (exact * Y).sum(), rtol=1e-4, atol=1e-6)
    both = cr.vmap(lambda x: fn(cnp, x, M))(np.stack([X, Y]))
    np.testing.assert_allclose(both, [fn(np, X, M), fn(np, Y, M)], rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, bool, np.float16])
def test_where_and_initial_in_other_dtypes(dtype: Any) -> None:
    x = (RNG.uniform(-4, 4, (3, 4))).astype(dtype)
    w = RNG.uniform(size=(3, 4)) > 0.3
    programs: tuple[Callable[..., Any], ...] = (
        lambda m, x, w: m.sum(x, axis=0, where=w, initial=2),
        lambda m, x, w: m.max(x, axis=1, where=w, initial=0),
        lambda m, x, w: m.min(x, where=w, initial=1),
        lambda m, x, w: m.any(x, axis=1, where=w),
        lambda m, x, w: m.all(x, axis=0, where=w),
        lambda m, x, w: m.mean(x, axis=0, where=w | True),
    )  # fmt: skip
    for fn in programs:
        expected = fn(np, x, w)
        got = cr.jit(lambda x, w, fn=fn: fn(cnp, x, w))(x, w)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(
            np.asarray(got, float), np.asarray(expected, float), rtol=2e-3, atol=2e-3
        )


def test_an_extreme_of_nothing_is_its_initial() -> None:
    fn = cr.jit(lambda x: x.max(axis=0, initial=-7.0), dims={"x": ("n", 3)})
    for rows in (0, 1, 5):
        x = RNG.normal(size=(rows, 3))
        np.testing.assert_array_equal(fn(x), np.max(x, axis=0, initial=-7.0))
    assert cr.grad(lambda x: x.max(initial=3.0))(np.ones(0)).shape == (0,)


def test_left_out_elements_pass_nothing_on() -> None:
    x = np.array([1.0, np.nan, np.inf, -2.0])
    w = np.array([True, False, False, True])
    for fn in (cnp.sum, cnp.mean, cnp.prod, cnp.var, cnp.std):
        slope = cr.grad(lambda x, fn=fn: fn(x, where=w))(x)
        assert np.isfinite(slope).all()
        assert (slope[1:3] == 0).all()


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(StructureError, match="where= needs initial="):
        trace(lambda x: cnp.max(x, where=M), X)
    with pytest.raises(ChainruleError, match="where= takes truth values"):
        trace(lambda x: cnp.sum(x, where=X), X)
    with pytest.raises(ShapeError, match="does not broadcast"):
        trace(lambda x: cnp.sum(x, where=np.ones((2, 4, 5), bool)), X)
    with pytest.raises(ShapeError, match="initial is one number"):
        trace(lambda x: cnp.sum(x, axis=0, initial=np.ones(5)), X)


# Kind: options of elementwise functions.


def test_an_option_that_stores_or_leaves_out_is_refused_by_name() -> None:
    buffer = np.empty_like(X)
    for call, name in (
        (lambda x: np.add(x, Y, where=M), "where"), (lambda x: cnp.add(x, Y, where=M), "where"),
        (lambda x: np.clip(x, 0, 1, out=buffer), "out="), (lambda x: x.clip(0, 1, buffer), "out="),
        (lambda x: np.add(x, Y, buffer), "out="), (lambda x: cnp.add(x, Y, buffer), "out="),
        (lambda x: x.sum(0, None, np.empty(5)), "out="), (lambda x: x.mean(out=buffer), "out="),
        (lambda x: np.concatenate([x, Y], out=buffer), "out="),
        (lambda x: np.exp(x, casting="unsafe"), "casting"),
        (lambda x: cnp.sqrt(x, signature="d->d"), "signature"),
        (lambda x: np.matmul(x, Y.T, axes=[(0, 1), (0, 1), (0, 1)]), "axes"),
        (lambda x: x.astype(np.float32, casting="safe"), "casting"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedError, match=name) as caught:
            trace(call, X)
        assert "test_numpy_surface.py" in str(caught.value)


def test_an_option_that_does_not_exist_is_told_by_its_neighbours() -> None:
    with pytest.raises(StructureError, match=r"sum has no parameter axes(.|\n)*did you mean axis"):
        trace(lambda x: cnp.sum(x, axes=0), X)  # type: ignore[call-arg]
    with pytest.raises(StructureError, match="tanh has no parameter frobnicate"):
        trace(lambda x: cnp.tanh(x, frobnicate=1), X)
    with pytest.raises(TypeError, match=r"clip|missing"):
        trace(lambda x: cnp.clip(), X)  # type: ignore[call-arg]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_ufuncs_dtype_is_what_it_computes_in(dtype: Any) -> None:
    i = np.array([2**31 - 1, 5, -7], np.int32)
    big = np.array([3e38, 1.0, 2.0], np.float32)
    programs: tuple[tuple[Callable[..., Any], Any], ...] = (
        (lambda m, x: m.add(x, x, dtype=dtype), i), (lambda m, x: m.multiply(x, 2, dtype=dtype), i),
        (lambda m, x: m.absolute(x, dtype=dtype), i), (lambda m, x: m.square(x, dtype=dtype), i),
        (lambda m, x: m.power(x, 2, dtype=dtype), i), (lambda m, x: m.floor(x, dtype=dtype), big),
        (lambda m, x: m.add(x, x, dtype=dtype), big), (lambda m, x: m.sqrt(x, dtype=dtype), big),
    )  # fmt: skip
    for fn, x in programs:
        try:
            with np.errstate(all="ignore"):
                expected = fn(np, x)
        except TypeError:
            with pytest.raises(TypeError):
                trace(lambda x, fn=fn: fn(cnp, x), x)
            continue
        got = cr.jit(lambda x, fn=fn: fn(cnp, x))(x)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-6)


# Kind: counts and places that are traced.


COUNTS: list[Callable[[Any, Any], Any]] = [
    lambda x, n: cnp.split(x, [n]), lambda x, n: cnp.linspace(0, 1, n),
    lambda x, n: cnp.linspace(x[0], 1, num=n), lambda x, n: cnp.eye(n),
    lambda x, n: cnp.eye(3, M=n), lambda x, n: cnp.eye(3, 3, n), lambda x, n: cnp.identity(n),
    lambda x, n: cnp.tri(n), lambda x, n: cnp.zeros(n), lambda x, n: cnp.ones((2, n)),
    lambda x, n: cnp.full(n, 1.0), lambda x, n: cnp.empty([n]), lambda x, n: cnp.arange(n),
    lambda x, n: cnp.broadcast_to(x, (n, 4)), lambda x, n: x.reshape(n, -1),
    lambda x, n: cnp.tile(x, n), lambda x, n: cnp.repeat(x, n), lambda x, n: cnp.pad(x, n),
    lambda x, n: cnp.roll(x, n), lambda x, n: cnp.diag(x, n),
    lambda x, n: cnp.array_split(x, n),
    lambda x, n: cnp.sum(x, axis=n), lambda x, n: cnp.diff(x, n), lambda x, n: cnp.vander(x, n),
    lambda x, n: cnp.tril(cnp.outer(x, x), n), lambda x, n: cnp.trace(cnp.outer(x, x), n),
    lambda x, n: cnp.rot90(cnp.outer(x, x), n), lambda x, n: cnp.round(x, n),
    lambda x, n: cnp.logspace(0, 1, n), lambda x, n: cnp.geomspace(1, 2, n),
    lambda x, n: cnp.moveaxis(x, n, 0), lambda x, n: cnp.expand_dims(x, n),
    lambda x, n: cnp.squeeze(x, n), lambda x, n: cnp.take(x, 0, axis=n),
    lambda x, n: cnp.tensordot(x, x, n), lambda x, n: cnp.cumsum(x, n),
    lambda x, n: cnp.linalg.matrix_power(cnp.outer(x, x), n), lambda x, n: x[:n],
    lambda x, n: cnp.stack([x, x], axis=n), lambda x, n: cnp.var(x, ddof=n),
    lambda x, n: cr.random.normal(cr.random.key(0), (n,)), lambda x, n: cr.nn.one_hot(n, n),
]  # fmt: skip


@pytest.mark.parametrize("call", COUNTS)
def test_a_traced_count_works_or_is_refused_in_the_users_words(call: Callable[..., Any]) -> None:
    x = np.arange(4.0) + 1
    said = ""
    try:
        trace(call, x, 2)
    except ChainruleError as error:
        said = str(error)
    assert not said or ("test_numpy_surface.py" in said and "hint" in said)
    assert "node" not in said


# Kind: padding of arrays with an axis that has no elements, or fewer than are asked for.


@pytest.mark.share(10)
@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap", "constant"])
@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((0, 3), ((0, 0), (1, 2))), ((3, 0), ((1, 2), (0, 0))), ((0,), ((0, 0),)),
        ((1, 0, 2), ((2, 0), (0, 0), (1, 1))), ((1,), ((2, 3),)), ((2,), ((5, 4),)),
        ((3, 2), ((7, 0), (0, 3))), ((3,), ((2, 3),)), ((4, 3), ((0, 0), (0, 0))),
        ((0,), ((1, 0),)),
    ],
)  # fmt: skip
def test_padding_at_few_elements_is_numpys(mode: Any, shape: Any, width: Any) -> None:
    x = RNG.normal(size=shape)
    try:
        expected = np.pad(x, width, mode)
    except ValueError:
        with pytest.raises(ShapeError):
            cr.jit(lambda x: cnp.pad(x, width, mode))(x)
        return
    np.testing.assert_array_equal(cr.jit(lambda x: cnp.pad(x, width, mode))(x), expected)
    weights = RNG.normal(size=expected.shape)
    slope = cr.grad(lambda x: (cnp.pad(x, width, mode) * weights).sum())(x)
    exact = differences(lambda x: (np.pad(x, width, mode) * weights).sum(), x)
    np.testing.assert_allclose(slope, exact, rtol=1e-6, atol=1e-8)
    names = tuple("nmk"[i] if w == (0, 0) else None for i, w in enumerate(width))
    named = cr.jit(lambda x: cnp.pad(x, width, mode), dims={"x": names})
    np.testing.assert_array_equal(named(x), expected)


def test_padding_a_named_axis_that_may_be_empty() -> None:
    fn = cr.jit(lambda x: cnp.pad(x, ((0, 0), (1, 1)), "reflect"), dims={"x": ("n", "m")})
    for rows in (0, 1, 4):
        x = RNG.normal(size=(rows, 3))
        np.testing.assert_array_equal(fn(x), np.pad(x, ((0, 0), (1, 1)), "reflect"))
    with pytest.raises(ShapeError, match="reflection"):
        fn(np.ones((2, 1)))


@pytest.mark.parametrize("subscripts", ["ij,kl->ik", "ij,jk,k->i", "ij,k->i", "i,j->", "ij,kl->"])
@pytest.mark.parametrize("named", [False, True])
def test_einsum_over_an_empty_axis_is_0_whatever_stands_beside_it(
    subscripts: str, named: bool
) -> None:
    groups = subscripts.split("->", maxsplit=1)[0].split(",")
    letters = sorted(set("".join(groups)))
    gone = [c for c in letters if c not in subscripts.split("->")[1]]
    dims = {f"xs/{i}": tuple(g) for i, g in enumerate(groups)} if named else None
    fn = cr.jit(lambda *xs: cnp.einsum(subscripts, *xs), dims=dims)
    for empty in gone:
        extents = {c: 0 if c == empty else 2 for c in letters}
        xs = [np.full([extents[c] for c in g], np.inf) for g in groups]
        np.testing.assert_array_equal(fn(*xs), np.einsum(subscripts, *xs))
