"""`vmap` over trees, nested, by keyword, over no examples, and what it says when it cannot."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import transform
from chainrule.errors import ChainruleError, ShapeError, StructureError

Function = Callable[..., Any]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 4))
W = RANDOM.normal(size=(4, 2))


def loop(f: Function, *args: Any, axes: tuple[Any, ...], out: int = 0) -> Any:
    """Run examples one by one; `axes` says for each argument which axis, or None."""
    count = next(a.shape[i] for a, i in zip(args, axes, strict=True) if i is not None)
    results = [
        f(*[a if i is None else np.take(a, k, i) for a, i in zip(args, axes, strict=True)])
        for k in range(count)
    ]
    return np.stack(results, axis=out)


def test_every_axis() -> None:
    def f(a: Any, b: Any) -> Any:
        return cnp.tanh(a) * b[0, 0] + cnp.sum(a, axis=0)

    axes = list(itertools.product(range(-3, 3), repeat=2))

    def all_of_them(x: Any, w: Any) -> Any:
        return [cr.vmap(f, in_axes=(i, None), out_axes=np.int64(j))(x, w) for i, j in axes]

    for (i, j), got in zip(axes, cr.jit(all_of_them)(X, W), strict=True):
        expected = loop(f, X, W, axes=(i, None), out=j)
        np.testing.assert_allclose(got, expected, rtol=1e-14, err_msg=f"{i} to {j}")


def test_nested_over_different_axes() -> None:
    def f(a: Any, w: Any) -> Any:
        return cnp.sin(a) @ w[: a.shape[0]]

    axes = list(itertools.product((0, 1, -1), (0, 1, -1), (0, -1)))

    def all_of_them(x: Any, w: Any) -> Any:
        return [
            cr.vmap(cr.vmap(f, (inner, None), out), in_axes=(outer, None))(x, w)
            for outer, inner, out in axes
        ]

    for (outer, inner, out), got in zip(axes, cr.jit(all_of_them)(X, W), strict=True):
        rows = np.moveaxis(X, outer, 0)
        expected = [
            np.stack([f(v, W) for v in np.moveaxis(row, inner, 0)], axis=out) for row in rows
        ]
        np.testing.assert_allclose(got, expected, rtol=1e-13, err_msg=f"{outer} {inner} {out}")


def test_axes_of_trees() -> None:
    tree = {"a": X, "b": (W, None), "c": np.ones(3)}

    def f(t: Any, scale: Any) -> Any:
        return {"p": t["a"] * t["c"], "q": (t["b"][0].sum() * scale, t["a"].sum())}

    axes = {"a": 1, "b": (None, None), "c": 0}
    outs: Any
    for given in (axes, {"a": 1, "b": None, "c": 0}, {"a": -2, "b": (None, 0), "c": -1}):
        for outs in (0, {"p": 1, "q": 0}, {"p": -1, "q": (0, 0)}):
            got = cr.vmap(f, in_axes=(given, None), out_axes=outs)(tree, 2.0)
            place = outs if isinstance(outs, int) else outs["p"]
            np.testing.assert_allclose(got["p"], np.moveaxis(X, 1, place), rtol=1e-15)
            np.testing.assert_allclose(got["q"][0], np.full(3, 2 * W.sum()))
            np.testing.assert_allclose(got["q"][1], X.sum((0, 2)))


def test_what_does_not_depend_on_the_example() -> None:
    def f(a: Any, w: Any) -> Any:
        return a.sum(), {"w": w * 2, "n": None}, 3.0

    got = cr.vmap(f, in_axes=(0, None), out_axes=(0, None, None))(X, W)
    np.testing.assert_array_equal(got[1]["w"], 2 * W)
    assert got[1]["n"] is None
    assert got[2].shape == ()
    many = cr.vmap(f, in_axes=(0, None), out_axes=(0, {"w": 1, "n": 0}, 0))(X, W)
    np.testing.assert_array_equal(many[1]["w"], np.stack([2 * W] * 2, axis=1))
    np.testing.assert_array_equal(many[2], [3.0, 3.0])


def test_keyword_arguments_and_settings() -> None:
    def f(a: Any, *, scale: Any, mode: str = "sum", **more: Any) -> Any:
        total = a.sum() if mode == "sum" else a.max()
        return total * scale + sum(more.values())

    got = cr.vmap(f)(X, scale=np.array([1.0, 2.0]), mode="max", shift=np.array([5.0, 6.0]))
    np.testing.assert_allclose(got, X.max((1, 2)) * [1, 2] + [5, 6])


def test_vmap_of_grad_of_vmap() -> None:
    def score(w: Any, x: Any) -> Any:
        return cnp.tanh(x @ w)

    def loss(w: Any, xs: Any) -> Any:
        return cnp.sum(cr.vmap(score, in_axes=(None, 0))(w, xs) ** 2)

    ws = RANDOM.normal(size=(5, 4))
    xs = RANDOM.normal(size=(3, 4))
    got = cr.vmap(cr.grad(loss), in_axes=(0, None))(ws, xs)
    t = np.tanh(ws @ xs.T)
    np.testing.assert_allclose(got, (2 * t * (1 - t**2)) @ xs, rtol=1e-13)
    again = cr.vmap(lambda w: cr.grad(loss)(w, xs))(ws)
    np.testing.assert_array_equal(again, got)
    second = cr.grad(lambda ws: cnp.sum(cr.vmap(cr.grad(loss), in_axes=(0, None))(ws, xs)))(ws)
    rows = [cr.hessian(loss)(w, xs) @ np.ones(4) for w in ws]
    np.testing.assert_allclose(second, rows, rtol=1e-11)


@pytest.mark.parametrize("run", [cr, transform], ids=["compiled", "evaluated"])
def test_no_examples(run: Any) -> None:
    def f(r: Any) -> Any:
        return (cnp.sin(r) * r).sum()

    none = np.ones((0, 3))
    assert run.vmap(f)(none).shape == (0,)
    assert run.vmap(run.grad(f))(none).shape == (0, 3)
    assert run.vmap(run.hessian(f), out_axes=1)(none).shape == (3, 0, 3)
    assert run.vmap(run.vmap(cnp.exp))(np.ones((2, 0))).shape == (2, 0)
    assert run.vmap(run.vmap(cnp.exp))(np.ones((0, 2))).shape == (0, 2)
    assert float(run.grad(lambda a: cnp.sum(run.vmap(lambda r: a * r.sum())(none)))(2.0)) == 0.0
    picked = run.vmap(lambda r, i: r[i])(none, np.zeros(0, np.int64))
    assert picked.shape == (0,)


def test_named_extents_on_the_mapped_axis() -> None:
    def f(a: Any, w: Any) -> Any:
        return cnp.exp(a @ w)

    compiled = cr.jit(cr.vmap(f, in_axes=(1, None), out_axes=1), dims={"a": (4, "n"), "w": (4, 2)})
    for n in (3, 1, 0, 17):
        a = RANDOM.normal(size=(4, n))
        np.testing.assert_allclose(compiled(a, W), np.exp(a.T @ W).T, rtol=1e-12)
    assert len(compiled.compilations) == 1
    grads = cr.jit(cr.vmap(cr.grad(lambda r: (r**3).sum())), dims={"r": ("n", "m")})
    for shape in ((2, 3), (5, 1), (0, 4)):
        r = RANDOM.normal(size=shape)
        np.testing.assert_allclose(grads(r), 3 * r**2, rtol=1e-12)
    assert len(grads.compilations) == 1


def test_an_extent_used_as_a_number() -> None:
    mean = cr.jit(cr.vmap(lambda r: r.sum() / r.shape[0]), dims={"r": ("n", "m")})
    np.testing.assert_allclose(mean(X[0]), X[0].mean(1))


def loss(params: Any, rows: Any) -> Any:
    return (params["w"] * rows["x"]).sum()


P, R = {"w": np.ones(3)}, {"x": np.ones((2, 3)), "y": None}
MESSAGES: dict[str, tuple[Function, type[ChainruleError], str]] = {
    "no such axis": (
        lambda: cr.vmap(loss, in_axes=(None, 2))(P, R), ShapeError, r"rows/x has no axis 2",
    ),
    "a number": (lambda: cr.vmap(lambda speed: speed)(3.0), ShapeError, "speed has no axis 0"),
    "other sizes": (
        lambda: cr.vmap(loss)({"w": np.ones((3, 3))}, R), ShapeError,
        r"different numbers of examples\n  params/w  3 on axis 0\n  rows/x  2 on axis 0",
    ),
    "other sizes by keyword": (
        lambda: cr.vmap(lambda first, *, scale: first * scale)(np.ones(2), scale=np.ones(3)),
        ShapeError, r"first  2 on axis 0\n  scale  3 on axis 0",
    ),
    "other names": (
        lambda: cr.trace(cr.vmap(lambda a, b: a * b), cr.spec(("n",)), cr.spec(("m",))),
        ShapeError, r"a  n on axis 0\n  b  m on axis 0\nhint: name both extents alike",
    ),
    "nothing mapped": (
        lambda: cr.vmap(loss, in_axes=None)(P, R), StructureError, "no argument is mapped",
    ),
    "other structure": (
        lambda: cr.vmap(loss, in_axes=(None, {"z": 0}))(P, R), StructureError,
        r"in_axes does not match the structure it is for\n  in_axes  \{'z': 0\}",
    ),
    "too few": (
        lambda: cr.vmap(loss, in_axes=(0,))(P, R), StructureError, "in_axes does not match",
    ),
    "no axis": (
        lambda: cr.vmap(loss, in_axes=(None, {"x": "0", "y": None}))(P, R), StructureError,
        "in_axes holds '0', which is no axis",
    ),
    "a truth value": (
        lambda: cr.vmap(loss, in_axes=(None, True))(P, R), StructureError,
        "in_axes holds True, which is no axis",
    ),
    "no place": (
        lambda: cr.vmap(lambda a: {"total": a.sum()}, out_axes={"total": 1})(X), ShapeError,
        "the result total has no place for examples at axis 1",
    ),
    "no axis of results": (
        lambda: cr.vmap(lambda a: a, out_axes=0.5)(X), StructureError, "out_axes holds 0.5",
    ),
    "other structure of results": (
        lambda: cr.vmap(lambda a: {"s": a}, out_axes={"t": 0})(X), StructureError,
        "out_axes does not match",
    ),
    "depends on the example": (
        lambda: cr.vmap(lambda a: (a.sum(), {"mean": a.mean()}), out_axes=(0, None))(X), ShapeError,
        "the result 1/mean has out_axes=None and depends on the example",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fn", "error", "message"), MESSAGES.values(), ids=MESSAGES)
def test_messages(fn: Function, error: type[ChainruleError], message: str) -> None:
    with pytest.raises(error, match=message):
        fn()
