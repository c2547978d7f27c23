"""Extents that change from call to call: named once, told apart when a call tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

Shape = tuple[int, ...]

Case = tuple[Callable[..., Any], Callable[..., Any], Sequence[tuple[Shape, ...]], int]

CALLS: dict[str, Case] = {
    # name: function, NumPy, shapes of each call, compilations in all
    "product": (
        lambda w, x: x @ w, lambda w, x: x @ w,
        [((4,), (4, 4)), ((6,), (6, 6)), ((5,), (6, 5)), ((3,), (9, 3)), ((2,), (2, 2))], 3,
    ),
    "outer": (
        cnp.outer, np.outer, [((3,), (3,)), ((4,), (4,)), ((4,), (5,)), ((7,), (7,))], 3,
    ),
    "joined": (
        lambda a, b: cnp.concatenate([a, b]), lambda a, b: np.concatenate([a, b]),
        [((3,), (3,)), ((4,), (4,)), ((4,), (5,)), ((9,), (2,))], 3,
    ),
    "sum": (
        lambda a, b: a + b, lambda a, b: a + b,
        [((3,), (3,)), ((4,), (4,)), ((1,), (5,)), ((6,), (6,)), ((1,), (8,))], 3,
    ),
    "rows": (
        lambda a: cnp.mean(a, axis=0), lambda a: np.mean(a, axis=0),
        [((3, 2),), ((4, 2),), ((50, 2),), ((1, 2),)], 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_any_sizes_that_numpy_takes(name: str) -> None:
    fn, reference, calls, compilations = CALLS[name]
    compiled = cr.jit(fn)
    rng = np.random.default_rng(0)
    for shapes in calls:
        arrays = [rng.normal(size=s) for s in shapes]
        np.testing.assert_allclose(compiled(*arrays), reference(*arrays), rtol=1e-12)
    assert len(compiled.compilations) == compilations, [c.reason for c in compiled.compilations]


def test_sizes_that_numpy_refuses_are_refused() -> None:
    compiled = cr.jit(lambda a, b: a + b)
    for n in (3, 4):
        compiled(np.ones(n), np.ones(n))
    with pytest.raises(cr.ShapeError, match="do not broadcast: axis 0 is 4 vs 5"):
        compiled(np.ones(4), np.ones(5))


def test_one_name_of_the_users_is_one_number() -> None:
    compiled = cr.jit(lambda a, b: cnp.sum(a) + cnp.sum(b), dims={"a": ("n",), "b": ("n",)})
    compiled(np.ones(3), np.ones(3))
    with pytest.raises(cr.ShapeError, match="n"):
        compiled(np.ones(3), np.ones(4))
    assert len(compiled.compilations) == 1


@pytest.mark.parametrize(
    ("fn", "extent", "message"),
    [
        (lambda x: x.reshape(-1, 2), 7, """\
cannot reshape f64[n] to [-1, 2]
  n is not a multiple of 2
  n  7
  at  test_extents.py:"""),
        (lambda x: cnp.split(x, 3)[0], 4, """\
split: the axis does not divide into 3 equal parts
  n is not a multiple of 3
  n  4
  at  test_extents.py:"""),
    ],
    ids=["reshape", "split"],
)  # fmt: skip
def test_what_extents_must_be(fn: Callable[[Any], Any], extent: int, message: str) -> None:
    compiled = cr.jit(fn, dims={"x": ("n",)})
    compiled(np.zeros(6))
    with pytest.raises(cr.ShapeError) as error:
        compiled(np.zeros(extent))
    assert str(error.value).startswith(message)
    with pytest.raises(cr.StructureError, match=r"\n  signature  function\(x\)"):
        compiled()


def test_sizes_that_a_name_would_refuse_are_compiled_for() -> None:
    compiled = cr.jit(lambda a: a[2:] + a[: a.shape[0] - 2])
    for n in (5, 8, 2, 9):
        a = np.arange(float(n))
        np.testing.assert_array_equal(compiled(a), a[2:] + a[: n - 2])
    assert len(compiled.compilations) == 2
    # Below 2 the slices are cut short, which only the number itself tells.
    assert compiled(np.arange(1.0)).shape == (0,)
    assert len(compiled.compilations) == 3


def test_a_donated_name_has_to_exist() -> None:
    with pytest.raises(cr.StructureError, match="has no parameter typo"):
        cr.jit(lambda a: a, donate_argnames="typo")(np.ones(3))


@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("dims", [None, {"a": ("n",)}], ids=["fixed", "named"])
def test_long_sums_stay_accurate(numerics: str, dims: Any) -> None:
    a = np.full(3_000_000, 0.1, np.float32)
    expected = np.sum(a, dtype=np.float64)
    found = cr.jit(cnp.sum, dims=dims, numerics=numerics)(a)
    assert abs(found / expected - 1) < 3e-6


@pytest.mark.parametrize("dims", [None, {"a": ("n",)}], ids=["fixed", "named"])
def test_long_products_stay_accurate(dims: Any) -> None:
    a = np.full(3_000_000, 0.1, np.float32)
    expected = np.sum(np.square(a, dtype=np.float64))
    assert abs(cr.jit(lambda a: a @ a, dims=dims)(a) / expected - 1) < 2e-5
