"""argnums, argnames, auxiliary results, dtypes, and arguments that do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule.numpy as cnp
from chainrule.errors import StructureError
from chainrule.frontend.pytree import tree_leaves, tree_map
from chainrule.frontend.trace import trace
from chainrule.transform import (
    Transformed,
    grad,
    jacrev,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)


def fn(a: Any, b: Any, c: Any = 2.0) -> Any:
    return a * b**2 * c


def test_argnums_and_argnames() -> None:
    assert float(grad(fn)(3.0, 2.0)) == 8.0
    assert float(grad(fn, argnums=-1)(3.0, 2.0)) == 24.0
    assert [float(g) for g in grad(fn, argnums=(1, 0))(3.0, 2.0)] == [24.0, 8.0]
    assert float(grad(fn, argnames="b")(3.0, 2.0)) == 24.0
    assert float(grad(fn, argnames="c")(3.0, 2.0, c=5.0)) == 12.0
    assert [float(g) for g in grad(fn, argnames=("a", "b"))(3.0, b=2.0)] == [8.0, 24.0]
    with pytest.raises(StructureError, match="is not given an argument d"):
        grad(fn, argnames="d")(3.0, 2.0)


def test_auxiliary_results() -> None:
    def with_aux(x: Any) -> Any:
        return x**2, {"double": 2 * x, "note": "text", "plain": 3}

    (value, aux), slope = trace_free(value_and_grad(with_aux, has_aux=True), 3.0)
    assert (float(value), float(slope), float(aux["double"])) == (9.0, 6.0, 6.0)
    slope, aux = trace_free(grad(with_aux, has_aux=True), 3.0)
    assert (float(slope), float(aux["double"])) == (6.0, 6.0)


def trace_free(verb: Any, x: float) -> Any:
    """Run inside a trace, keeping what is no array: only there may auxiliary results hold text."""
    kept: list[Any] = []

    def run(x: Any) -> Any:
        result = verb(x)
        kept.append(result)
        return [v for v in tree_leaves(result) if not isinstance(v, str | int)]

    numbers = iter(trace(run, x).run(x))
    return filled(kept[0], numbers)


def filled(tree: Any, numbers: Any) -> Any:
    return tree_map(lambda v: v if isinstance(v, str | int) else next(numbers), tree)


def test_settings_pass_through() -> None:
    def with_mode(x: Any, mode: str, scale: int) -> Any:
        return x**2 * scale if mode == "square" else x

    assert float(grad(with_mode)(3.0, "square", 2)) == 12.0
    assert float(grad(with_mode)(3.0, mode="other", scale=1)) == 1.0


def test_gradients_have_the_dtype_and_structure_of_the_argument() -> None:
    params = {"w": np.ones(3, np.float32), "v": [np.ones(2)], "none": None}

    def loss(p: Any) -> Any:
        return (p["w"] ** 2).sum() + p["v"][0].sum()

    gradient = grad(loss)(params)
    assert gradient["w"].dtype == np.float32
    assert gradient["v"][0].dtype == np.float64
    assert gradient["none"] is None


def test_what_does_not_matter_has_gradient_zero() -> None:
    gradient = grad(lambda x, y: x * 2.0, argnums=(0, 1))(1.0, np.ones((2, 3), np.float32))
    assert gradient[1].shape == (2, 3)
    assert gradient[1].dtype == np.float32
    assert not gradient[1].any()
    assert float(grad(lambda x: 3.0)(1.0)) == 0.0
    assert float(jvp(cnp.floor, (1.5,), (1.0,))[1]) == 0.0


def test_integers_take_part_without_derivatives() -> None:
    labels = np.array([2, 0])
    gradient = grad(lambda x, n: (x[cnp.arange(2), n] ** 2).sum())(
        np.arange(6.0).reshape(2, 3), labels
    )
    np.testing.assert_array_equal(gradient, [[0, 0, 4], [6, 0, 0]])


def test_stop_gradient_of_trees() -> None:
    def loss(x: Any) -> Any:
        held = stop_gradient({"a": x, "n": 3})
        return x * held["a"] * held["n"]

    assert float(grad(loss)(2.0)) == 6.0
    assert stop_gradient([1.0, "text"]) == [1.0, "text"]


def test_pullback_may_be_used_twice_inside_a_trace() -> None:
    def both(x: Any) -> Any:
        y, pullback = vjp(lambda x: (x**2, cnp.sin(x)), x)
        return y, pullback((1.0, 0.0)), pullback((0.0, 2.0))

    _, first, second = trace(both, 0.5).run(0.5)
    assert float(first[0]) == 1.0
    assert float(second[0]) == pytest.approx(2 * np.cos(0.5))


def test_vmap_axes() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(vmap(lambda a: a * 2, in_axes=1, out_axes=1)(x), x * 2)
    np.testing.assert_array_equal(vmap(lambda a: a, in_axes=-1)(x), np.moveaxis(x, -1, 0))
    np.testing.assert_array_equal(
        vmap(lambda a: a.T, in_axes=2, out_axes=-1)(x), x.transpose(1, 0, 2)
    )
    tree = {"a": x, "b": np.arange(3.0)}
    result = vmap(lambda t: {"s": t["a"].sum() + t["b"]}, in_axes=({"a": 1, "b": 0},))(tree)
    np.testing.assert_array_equal(result["s"], x.sum((0, 2)) + np.arange(3.0))
    constant, shared = vmap(lambda a: (1.5, np.ones(2)), out_axes=(0, None))(x)
    assert constant.shape == (2,)
    assert shared.shape == (2,)
    nested = vmap(vmap(lambda a, b: a * b, in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_array_equal(
        nested(np.arange(2.0), np.arange(3.0)), np.outer(np.arange(2), np.arange(3))
    )
    np.testing.assert_array_equal(
        vmap(lambda a, scale: a * scale)(np.ones(2), scale=np.arange(2.0)), [0, 1]
    )


def test_vmap_over_a_named_extent() -> None:
    def fn(w: Any, x: Any) -> Any:
        return vmap(grad(lambda w, r: cnp.tanh(r @ w)), in_axes=(None, 0))(w, x)

    w, x = np.ones(3), np.random.default_rng(0).normal(size=(4, 3))
    traced = trace(fn, w, x, dims={"x": ("n", 3)})
    expected = (1 - np.tanh(x @ w) ** 2)[:, None] * x
    np.testing.assert_allclose(traced.run(w, x), expected)
    np.testing.assert_allclose(traced.run(w, x[:2]), expected[:2])


def test_checks_survive_transformations() -> None:
    x, good, bad = np.arange(6.0).reshape(2, 3), np.array([0, 2]), np.array([0, 3])
    verbs = {
        "grad": lambda i: grad(lambda x: x[0, i].sum())(x),
        "vmap": lambda i: vmap(lambda r, k: r[k])(x, i),
        "vmap of grad": lambda i: vmap(grad(lambda r, k: r[k] ** 2))(x, i),
        "jacrev": lambda i: jacrev(lambda x: x[0, i])(x),
        "shared": lambda i: vmap(lambda r: r[i].sum())(x),
    }
    for name, run in verbs.items():
        traced = trace(run, good)
        traced.run(good)
        with pytest.raises(IndexError, match="out of range"):
            traced.run(bad)
        assert len(traced.program.checks) == 1, name


def test_transformed_functions_know_their_origin() -> None:
    transformed = grad(fn)
    assert isinstance(transformed, Transformed)
    assert transformed.__wrapped__ is fn
    assert transformed.__name__ == "grad(fn)"
    assert trace(transformed, 3.0, 2.0).program.paths == ("a", "b")


def test_forward_numbers_of_origins_are_those_of_the_program() -> None:
    traced = trace(grad(lambda y: cnp.sin(y) * y), 1.0)
    graph = traced.program.graph
    forward = {
        graph_node.op.name: origin.rule
        for node in traced.program.nodes
        for origin in graph.origins.get(node, ())
        if origin.forward is not None
        for graph_node in traced.program.nodes
        if graph_node.id == origin.forward
    }
    assert forward.get("sin") == "pull sin"
