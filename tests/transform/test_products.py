"""`jvp`, `vjp` and `linearize`: structures, integers, zeros, and what is compiled when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import transform
from chainrule.api import shared, variant
from chainrule.errors import ChainruleError, DTypeError, ShapeError, StructureError

X = np.array([0.5, 1.0, 2.0])
V = np.array([1.0, -1.0, 0.5])
Function = Callable[..., Any]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs that are compiled."""
    names: list[str] = []
    compile_variant = variant.compile_variant

    def counting(traced: Any, *options: Any, **more: Any) -> Any:
        names.append(traced.program.name)
        return compile_variant(traced, *options, **more)

    monkeypatch.setattr(variant, "compile_variant", counting)
    monkeypatch.setattr(shared, "_KNOWN", type(shared._KNOWN)())
    return names


def cubes(x: Any) -> Any:
    return cnp.sum(x**3)


def test_jvp_compiles_once(compiled: list[str]) -> None:
    for k in range(4):
        _, slope = cr.jvp(cubes, (k * X,), (V,))
        assert float(slope) == pytest.approx(3 * k**2 * np.sum(X**2 * V))
    assert len(compiled) == 1
    cr.jvp(cubes, (X[:2],), (V[:2],))
    cr.jvp(cubes, (X.astype(np.float32),), (V,))
    assert len(compiled) == 3


def test_vjp_compiles_value_and_pullback_once(compiled: list[str]) -> None:
    for k in range(1, 4):
        _, pullback = cr.vjp(lambda x: x**3, k * X)
        for g in (V, 2 * V):
            np.testing.assert_allclose(pullback(g)[0], 3 * (k * X) ** 2 * g)
    assert len(compiled) == 2


def test_linearize_traces_and_compiles_once(compiled: list[str]) -> None:
    calls = []

    def fn(x: Any) -> Any:
        calls.append(1)
        return cnp.sin(x)

    _, along = cr.linearize(fn, X)
    for k in range(5):
        np.testing.assert_allclose(along(k * V), np.cos(X) * k * V)
    assert len(calls) == 2
    assert len(compiled) == 2
    _, again = cr.linearize(fn, X)
    again(V)
    assert len(compiled) == 2


def test_what_a_function_closes_over_is_looked_at_anew(compiled: list[str]) -> None:
    held = {"scale": 1.0}

    def fn(x: Any) -> Any:
        return held["scale"] * x

    for scale in (1.0, 2.0, 1.0):
        held["scale"] = scale
        assert float(cr.jvp(fn, (3.0,), (1.0,))[1]) == scale
    assert len(compiled) == 2


def test_equal_programs_of_other_messages_are_not_shared() -> None:
    for fn in (lambda first, i: first[i], lambda second, i: second[i]):
        with pytest.raises(IndexError, match=r"test_products\.py:\d+"):
            cr.jvp(fn, (X, 5), (V, None))


def test_the_point_stays_when_the_array_changes() -> None:
    x = X.copy()
    _, along = cr.linearize(lambda x: x**2, x)
    _, pullback = cr.vjp(lambda x: x**2, x)
    x[:] = 0
    np.testing.assert_allclose(along(V), 2 * X * V)
    np.testing.assert_allclose(pullback(V)[0], 2 * X * V)


def test_code_in_use_is_kept(monkeypatch: pytest.MonkeyPatch, compiled: list[str]) -> None:
    monkeypatch.setattr(shared, "KEPT", 2)
    cr.jvp(cnp.sin, (X,), (V,))
    for fn in (cnp.cos, cnp.tan, cnp.exp):
        cr.jvp(fn, (X,), (V,))
        cr.jvp(cnp.sin, (X,), (V,))
    assert len(compiled) == 4


def test_large_arrays_are_not_kept(compiled: list[str]) -> None:
    table = np.ones(1 << 18)
    table[0] = 2.0
    for _ in range(2):
        cr.grad(lambda x: cnp.sum(table * x))(1.0)
    assert len(compiled) == 2
    assert not shared._KNOWN


def test_gradients_made_anew_share_code(compiled: list[str]) -> None:
    for k in range(3):
        np.testing.assert_allclose(cr.grad(cubes)(k * X), 3 * (k * X) ** 2)
    assert len(compiled) == 1
    lasting: Any = cr.grad(cubes)
    for k in range(4):
        np.testing.assert_allclose(lasting(k * X), 3 * (k * X) ** 2)
    np.testing.assert_allclose(lasting(X[:2]), 3 * X[:2] ** 2)
    np.testing.assert_allclose(lasting(X), 3 * X**2)
    assert len(lasting.compilations) == 2
    assert len(compiled) == 2


def test_functions_that_compute_the_same_for_one_shape_only() -> None:
    def scaled(other: float) -> Any:
        return cr.grad(lambda x: cnp.sum(x**2) * (1.0 if x.shape[0] == 3 else other))

    first, second = scaled(2.0), scaled(5.0)
    for _ in range(4):
        for fn, other in ((first, 2.0), (second, 5.0)):
            np.testing.assert_allclose(fn(X), 2 * X)
            np.testing.assert_allclose(fn(X[:2]), 2 * other * X[:2])
            np.testing.assert_allclose(fn(X[:1]), 2 * other * X[:1])


def test_lent_code_is_called_natively_from_the_second_call_on() -> None:
    cr.grad(cubes)(X)
    fn: Any = cr.grad(cubes)
    fn(X)
    fn(X)
    taken: list[Any] = []
    fn._take_apart = taken.append
    np.testing.assert_allclose(fn(2 * X), 12 * X**2)
    assert not taken


def several(p: dict[str, Any], y: Any) -> dict[str, Any]:
    return {"product": p["a"] * y, "pair": (p["b"].sum(), [p["a"] ** 2]), "none": None}


P = {"a": X, "b": V}
RUNS = {"compiled": cr, "evaluated": transform}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
class TestStructures:
    def test_results_nest(self, run: Any) -> None:
        y, t = run.jvp(several, (P, X), ({"a": V, "b": X}, V))
        np.testing.assert_allclose(y["product"], X * X)
        np.testing.assert_allclose(t["product"], V * X + X * V)
        assert float(t["pair"][0]) == pytest.approx(float(X.sum()))
        np.testing.assert_allclose(t["pair"][1][0], 2 * X * V)
        assert t["none"] is None
        _, along = run.linearize(several, P, X)
        again = along({"a": V, "b": X}, V)
        np.testing.assert_allclose(again["product"], t["product"])
        _, pullback = run.vjp(several, P, X)
        p, x = pullback({"product": V, "pair": (2.0, [X]), "none": None})
        np.testing.assert_allclose(p["a"], V * X + 2 * X * X)
        np.testing.assert_allclose(p["b"], np.full(3, 2.0))
        np.testing.assert_allclose(x, V * X)

    def test_none_stands_for_zeros(self, run: Any) -> None:
        zeros = {"a": 0 * X, "b": 0 * V}
        full = run.jvp(several, (P, X), (zeros, V))[1]
        for short in ({"a": None, "b": None}, {"a": None, "b": 0 * V}, None):
            t = run.jvp(several, (P, X), (short, V))[1]
            np.testing.assert_array_equal(t["product"], full["product"])
            assert float(t["pair"][0]) == 0.0
        _, along = run.linearize(several, P, X)
        np.testing.assert_array_equal(along(None, V)["product"], full["product"])
        _, pullback = run.vjp(several, P, X)
        p, x = pullback({"product": V, "pair": None, "none": None})
        np.testing.assert_array_equal(p["a"], V * X)
        np.testing.assert_array_equal(p["b"], np.zeros(3))
        np.testing.assert_array_equal(x, V * X)
        nothing = pullback(None)
        assert not nothing[1].any()
        assert not nothing[0]["a"].any()

    def test_integers_do_not_move(self, run: Any) -> None:
        def picked(x: Any, i: Any, on: Any) -> Any:
            return cnp.where(on, x[i], 0.0) * i, i + 1

        i, on = np.array([2, 0]), np.array([True, False])
        for tangent in (None, np.zeros_like(i)):
            (y, k), (t, s) = run.jvp(picked, (X, i, on), (V, tangent, None))
            np.testing.assert_allclose(y, [2 * X[2], 0])
            np.testing.assert_allclose(t, [2 * V[2], 0])
            np.testing.assert_array_equal(k, i + 1)
            np.testing.assert_array_equal(s, [0, 0])
            assert s.dtype == k.dtype
        _, along = run.linearize(picked, X, i, on)
        np.testing.assert_allclose(along(V, None, None)[0], t)
        _, pullback = run.vjp(picked, X, i, on)
        for g in (None, np.zeros_like(i), np.ones_like(i)):
            x, *rest = pullback((np.ones(2), g))
            np.testing.assert_allclose(x, [0, 0, 2])
            assert rest == [None, None]

    def test_integers_that_are_told_to_move(self, run: Any) -> None:
        def power(x: Any, n: Any) -> Any:
            return x**n

        with pytest.raises(DTypeError, match="n is of integers, which do not move"):
            run.jvp(power, (X, 2), (V, 1.0))
        for verb in (run.vjp, run.linearize):
            with pytest.raises(DTypeError, match="with respect to x, which is not floating point"):
                verb(lambda x: x**2, 3)
        with pytest.raises(DTypeError, match="with respect to x, which is not floating point"):
            run.jvp(lambda x: x**2, (3,), (None,))
        np.testing.assert_allclose(run.vjp(power, X, 2)[1](V)[0], 2 * X * V)

    def test_auxiliary_results(self, run: Any) -> None:
        def fn(x: Any) -> Any:
            return x**2, {"half": x / 2, "n": 3}

        y, t, aux = run.jvp(fn, (X,), (V,), has_aux=True)
        for other in (run.vjp(fn, X, has_aux=True), run.linearize(fn, X, has_aux=True)):
            np.testing.assert_allclose(other[0], y)
            np.testing.assert_allclose(other[2]["half"], X / 2)
        np.testing.assert_allclose(t, 2 * X * V)
        np.testing.assert_allclose(aux["half"], X / 2)
        np.testing.assert_allclose(run.vjp(fn, X, has_aux=True)[1](V)[0], 2 * X * V)
        np.testing.assert_allclose(run.linearize(fn, X, has_aux=True)[1](V), 2 * X * V)

    def test_messages(self, run: Any) -> None:
        with pytest.raises(StructureError, match="the tangents nest otherwise than the arguments"):
            run.jvp(several, (P, X), (V, V))
        with pytest.raises(StructureError, match="the tangents nest otherwise"):
            run.jvp(several, (P, X), (P,))
        with pytest.raises(ShapeError, match="the tangent of p/a has another shape"):
            run.jvp(several, (P, X), ({"a": V[:2], "b": V}, V))
        _, pullback = run.vjp(several, P, X)
        with pytest.raises(StructureError, match="the cotangent nests otherwise than the result"):
            pullback(V)
        with pytest.raises(ShapeError, match="a cotangent has another shape than its result"):
            pullback({"product": V[:2], "pair": None, "none": None})
        with pytest.raises(StructureError, match="primals and tangents are tuples"):
            run.jvp(cubes, X, V)


def test_jacobians_of_integer_results_are_zeros() -> None:
    for verb in (cr.jacfwd, cr.jacrev):
        found, square = verb(lambda x: (cnp.argmax(x), x**2))(X.astype(np.float32))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.zeros(3))
        np.testing.assert_allclose(square, np.diag(2 * X), rtol=1e-6)


def test_inside_of_a_trace() -> None:
    def fn(x: Any, i: Any) -> Any:
        y, pullback = cr.vjp(lambda x, i: x[i] ** 2, x, i)
        _, along = cr.linearize(lambda x, i: x[i] ** 2, x, i)
        return y, pullback(cnp.ones(2))[0], along(x, None)

    y, g, t = cr.jit(fn)(X, np.array([0, 2]))
    np.testing.assert_allclose(y, X[[0, 2]] ** 2)
    np.testing.assert_allclose(g, [1.0, 0.0, 4.0])
    np.testing.assert_allclose(t, 2 * X[[0, 2]] ** 2)


def test_a_pullback_of_plain_values_used_in_a_trace() -> None:
    _, pullback = cr.vjp(lambda x: x**2, X)
    _, along = cr.linearize(lambda x: x**2, X)
    np.testing.assert_allclose(cr.jit(lambda g: pullback(g)[0])(V), 2 * X * V)
    np.testing.assert_allclose(cr.jit(along)(V), 2 * X * V)
    rows = cr.jit(cr.vmap(along))(np.eye(3))
    np.testing.assert_allclose(rows, np.diag(2 * X))


SETTINGS: dict[str, tuple[Function, str]] = {
    "grad": (cr.grad(lambda p: (p["w"] ** 2).sum()), "p/act is not an array"),
    "other argument": (
        lambda p: cr.grad(lambda x, p: (x * p["w"]).sum())(X, p), "p/act is not an array",
    ),
    "vmap": (cr.vmap(lambda p: p["w"] ** 2), "p/act is not an array"),
    "nested": (
        lambda p: cr.grad(lambda q: (q["layers"][1]["w"] ** 2).sum())({"layers": [X, p]}),
        "q/layers/1/act is not an array",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fn", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_inside_of_trees_are_named(fn: Function, message: str) -> None:
    with pytest.raises(StructureError, match=message) as caught:
        fn({"w": X, "act": "relu"})
    assert "'relu'" in str(caught.value)
    assert "static fields of a dataclass" in str(caught.value)


def test_a_static_argument_that_is_no_setting() -> None:
    fn = cr.jit(lambda x, table: x * table[0], static_argnames="table")
    with pytest.raises(StructureError, match="the static argument table is not hashable"):
        fn(X, [1.0, 2.0])
    with pytest.raises(ChainruleError, match="type  ndarray"):
        fn(X, V)
