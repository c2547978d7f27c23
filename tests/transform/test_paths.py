"""Derivatives with respect to leaves chosen by their paths, compared with those of arguments."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import DTypeError, StructureError

RNG = np.random.default_rng(5)
PARAMS: dict[str, Any] = {
    "layers": [
        {"W": RNG.normal(size=(3, 4)), "b": RNG.normal(size=4)},
        {"W": RNG.normal(size=(4, 2)), "b": RNG.normal(size=2)},
    ],
    "scale": np.array(0.7),
    "steps": np.array(3),
}
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2))


def loss(params: Any, x: Any, y: Any, power: Any = 2) -> Any:
    for layer in params["layers"]:
        x = cnp.tanh(x @ layer["W"] + layer["b"])
    return cnp.mean((params["scale"] * x - y) ** power) * params["steps"]


def floats_of(params: Any) -> Any:
    return {k: v for k, v in params.items() if k != "steps"}


def whole() -> Any:
    """The gradient of all floats, by arguments."""
    return cr.grad(lambda p, x, y: loss({**p, "steps": 3}, x, y))(floats_of(PARAMS), X, Y)


def test_one_path_gives_the_array() -> None:
    expected = whole()["layers"][1]["W"]
    for wrt in ("params/layers/1/W", "/params/layers/1/W", "layers/1/W", "1/W"):
        np.testing.assert_allclose(cr.grad(loss, wrt=wrt)(PARAMS, X, Y), expected, rtol=1e-13)
    value, slope = cr.value_and_grad(loss, wrt="params/scale")(PARAMS, X, y=Y)
    assert value == pytest.approx(float(loss(PARAMS, X, Y)))
    assert slope == pytest.approx(float(whole()["scale"]))
    np.testing.assert_allclose(
        cr.grad(loss, wrt="x")(PARAMS, X, Y), cr.grad(loss, argnums=1)(PARAMS, X, Y)
    )


def test_several_paths_give_a_dict_by_path() -> None:
    expected = whole()
    flat = {
        f"params/layers/{i}/{n}": g for i, layer in enumerate(expected["layers"])
        for n, g in layer.items()
    }  # fmt: skip
    flat["params/scale"] = expected["scale"]
    for wrt, names in (
        ("params/layers/*/W", ["params/layers/0/W", "params/layers/1/W"]),
        ("**/b", ["params/layers/0/b", "params/layers/1/b"]),
        ("params/layers/0/?", ["params/layers/0/W", "params/layers/0/b"]),
        ("params/layers/**", list(flat)[:4]),
        ("params/scal*", ["params/scale"]),
        (["params/scale"], ["params/scale"]),
        (("params/scale", "1/b", "params/**/b"),
         ["params/layers/0/b", "params/layers/1/b", "params/scale"]),
    ):  # fmt: skip
        for run in (cr.grad(loss, wrt=wrt), cr.jit(cr.grad(loss, wrt=wrt))):
            got = run(PARAMS, X, Y)
            assert sorted(got) == names
            for name in names:
                np.testing.assert_allclose(got[name], flat[name], rtol=1e-12, err_msg=name)


def test_jacobians_hessians_and_products() -> None:
    def residual(params: Any, count: Any) -> Any:
        return {"r": cnp.sin(params["a"]) * params["b"] * count, "s": cnp.sum(params["b"] ** 3)}

    params = {"a": np.array([0.3, 0.4]), "b": np.array([1.5, -2.0]), "n": np.array([1, 2])}
    a, b = params["a"], params["b"]
    for verb in (cr.jacfwd, cr.jacrev, cr.jacobian):
        single = verb(residual, wrt="params/a")(params, 3)
        np.testing.assert_allclose(single["r"], np.diag(np.cos(a) * b * 3))
        np.testing.assert_allclose(single["s"], np.zeros(2))
        both = verb(residual, wrt=("params/b", "a"))(params, 3)
        np.testing.assert_allclose(both["r"]["params/b"], np.diag(np.sin(a) * 3))
        np.testing.assert_allclose(both["s"]["params/b"], 3 * b**2)
    f = lambda params, count: cnp.sum(residual(params, count)["r"]) + residual(params, 1)["s"]  # noqa: E731
    np.testing.assert_allclose(cr.hessian(f, wrt="b")(params, 3), np.diag(6 * b))
    blocks = cr.hessian(f, wrt=("a", "b"))(params, 3)
    np.testing.assert_allclose(blocks["params/a"]["params/b"], np.diag(3 * np.cos(a)))
    np.testing.assert_allclose(blocks["params/a"]["params/a"], np.diag(-3 * np.sin(a) * b))
    v, w = np.array([1.0, -1.0]), np.array([0.5, 2.0])
    np.testing.assert_allclose(cr.hvp(f, wrt="params/b")(params, 3, v), 6 * b * v)
    product = cr.hvp(f, wrt="params/?")
    with pytest.raises(DTypeError, match="params/n"):
        product(params, 3, v)
    product = cr.hvp(f, wrt=["params/a", "params/b"])
    got = product(params, 3, {"params/a": v, "params/b": w})
    np.testing.assert_allclose(
        got["params/a"], -3 * np.sin(a) * b * v + 3 * np.cos(a) * w, rtol=1e-13
    )
    with pytest.raises(StructureError, match="a dict by path"):
        product(params, 3, v)


@dataclass(frozen=True)
class Body:
    """A tree of a class of its own."""

    mass: Any
    at: Any


def energy(*bodies: Any, gravity: Any = 1.0) -> Any:
    return gravity * cnp.sum(cnp.stack([b.mass * cnp.sum(b.at**2) for b in bodies]))


def test_starred_arguments_keywords_and_dataclasses() -> None:
    bodies = [Body(2.0, np.array([1.0, 2.0])), Body(3.0, np.array([0.0, 1.0]))]
    at = cr.grad(energy, wrt="bodies/1/at")(*bodies, gravity=2)
    np.testing.assert_allclose(at, [0.0, 12.0])
    masses = cr.grad(energy, wrt=("**/mass", "gravity"))(*bodies, gravity=2.0)
    assert {k: float(v) for k, v in masses.items()} == {
        "bodies/0/mass": 10.0, "bodies/1/mass": 2.0, "gravity": 13.0
    }  # fmt: skip


def test_nested_and_with_auxiliary_results() -> None:
    def f(p: Any) -> Any:
        return p["a"] ** 3 * p["b"], p["a"]

    p = {"a": 2.0, "b": 5.0, "name": 1}
    slope, aux = cr.grad(f, wrt="p/a", has_aux=True)(p)
    assert (float(slope), float(aux)) == (60.0, 2.0)
    second = cr.grad(cr.grad(lambda p: f(p)[0], wrt="p/a"), wrt="p/b")
    assert float(second(p)) == 12.0
    many = cr.vmap(cr.grad(lambda p: f(p)[0], wrt="p/*b"), in_axes=({"a": 0, "b": None},))
    got = many({"a": np.array([1.0, 2.0]), "b": 5.0})
    np.testing.assert_array_equal(got["p/b"], [1.0, 8.0])


def cubed(p: Any) -> Any:
    return p["a"] ** 3


def test_it_pickles() -> None:
    again = pickle.loads(pickle.dumps(cr.grad(cubed, wrt="p/a")))  # noqa: S301
    assert float(again({"a": 2.0, "b": 1})) == 12.0


@pytest.mark.parametrize(
    ("wrt", "error", "message"),
    [
        ("params/layers/0/V", StructureError,
         r"gradient: wrt='params/layers/0/V' is not there\n  params/layers/0/[Wb]  float64\[.*\]"),
        ("params/layers/0", StructureError, r"is no leaf\n(?s:.*)params/layers/0/\*\* for all"),
        ("W", StructureError, r"is the end of several leaves\n(?s:.*)give the whole path"),
        ("params/*/W", StructureError, "is not there"),
        ("params/steps", DTypeError, "params/steps, which is not floating point"),
        ("params/*", DTypeError, "params/steps"),
        ((), StructureError, "wrt names no leaf"),
    ],
)  # fmt: skip
def test_messages(wrt: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cr.grad(loss, wrt=wrt)(PARAMS, X, Y)


def test_one_way_to_choose() -> None:
    for how in ({"argnums": 1}, {"argnums": (0,)}, {"argnames": "x"}):
        with pytest.raises(StructureError, match="give one of them"):
            cr.grad(loss, wrt="x", **how)(PARAMS, X, Y)
    x = cr.symbol("x")
    assert str(cr.hessian(x**3, wrt=x)) == str(cr.hessian(x**3, x)) == "6 x"
