"""Calls of jitted functions: which reach native code, and that all give the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, random
from chainrule.api.calls import MISSED
from chainrule.errors import StructureError
from chainrule.frontend.pytree import register_pytree_node, tree_leaves

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def full_path(f: Any) -> Callable[..., bool]:
    """Return a function that calls `f` and tells whether Python had to take the call apart."""
    counted = [0]
    take_apart = f._take_apart

    def counting(*args: Any) -> Any:
        counted[0] += 1
        return take_apart(*args)

    f._take_apart = counting

    def call(*args: Any, **kwargs: Any) -> bool:
        before = counted[0]
        f(*args, **kwargs)
        return counted[0] != before

    return call


def test_a_training_step_with_adam_stays_native() -> None:
    opt = optim.adam(0.01)
    model = nn.MLP.init(random.key(0), [3, 4, 1])
    state = opt.init(model)

    def loss(model: Any, x: Any) -> Any:
        return (model(x) ** 2).mean()

    def step(model: Any, state: Any, x: Any) -> Any:
        value, grads = cr.value_and_grad(loss)(model, x)
        return value, *opt.apply(grads, state, model)

    fast = cr.jit(step)
    first = fast(model, state, X)
    slow = full_path(fast)
    assert not slow(*first[1:], X)
    fast(*first[1:], x=X)
    assert not slow(*first[1:], x=X)
    again = fast(model, state, X)
    assert type(again[1]) is nn.MLP
    assert type(again[2]) is type(state)
    assert again[1].activation is model.activation
    for a, b in zip(tree_leaves(first), tree_leaves(again), strict=True):
        assert a.tobytes() == b.tobytes()
    for _ in range(50):
        value, model, state = fast(model, state, x=X)
    assert value < first[0]
    assert len(fast.compilations) == 1


@dataclass(frozen=True)
class Scale:
    by: Any
    power: int = field(default=1, metadata={"static": True})


def test_a_changed_static_field_compiles_anew() -> None:
    f = cr.jit(lambda s, x: replace(s, by=(s.by * x) ** s.power))
    by = np.float64(2) * np.ones(3)
    for power in (1, 2, 1, 3, 2):
        result = f(Scale(by, power), by)
        assert result.power == power
        assert (result.by == 4.0**power).all()
    assert len(f.compilations) == 3
    slow = full_path(f)
    assert not any(slow(Scale(by, power), by) for power in (1, 2, 3))


class Sided(NamedTuple):
    left: Any
    right: Any


class SidedMore(Sided):
    pass


def test_instances_of_subclasses_come_back_as_such() -> None:
    f = cr.jit(lambda s: s._replace(left=s.left + s.right))
    assert type(f(Sided(X, X))) is Sided
    assert type(f(SidedMore(X, X))) is SidedMore
    assert type(f(Sided(X, X))) is Sided


@pytest.mark.parametrize("number", [2.0, 3])
def test_python_numbers_stay_weak_and_native(number: Any) -> None:
    f = cr.jit(lambda x, n: x * n)
    assert f(X, number).dtype == np.float32
    assert f(X, np.array(number, np.float64)).dtype == np.float64
    assert f(X, number).dtype == np.float32
    f(X, n=number)
    slow = full_path(f)
    assert not slow(X, number)
    assert not slow(X, n=number + 1)
    assert (f(X, number + 1) == X * (number + 1)).all()
    assert f(X, np.float32(2)).tolist() == (X * 2).tolist()
    assert f(X, True).tolist() == X.tolist()


def test_a_donated_number_is_no_memory() -> None:
    f = cr.jit(lambda x, n: (x + 1, n + 1.0), donate_argnames="n")
    for _ in range(3):
        y, n = f(np.zeros(3), 2.0)
        assert (y[0], n) == (1, 3.0)


def test_keywords_and_static_arguments_reach_native_code() -> None:
    @cr.jit(static_argnames="mode")
    def f(x: Any, y: Any = 1.0, *rest: Any, mode: str = "add", **more: Any) -> Any:
        total = x + y if mode == "add" else x * y
        for one in (*rest, *more.values()):
            total = total + one
        return total

    calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = [
        ((X,), {}, X + 1), ((X, X), {}, X + X), ((X,), {"y": X}, X + X),
        ((), {"y": X, "x": X}, X + X), ((X, X), {"mode": "mul"}, X * X),
        ((X,), {"mode": "mul", "y": X}, X * X), ((X, X, X, X), {}, 4 * X),
        ((X,), {"z": X}, 2 * X + 1), ((X, X), {"mode": "mul", "z": X}, X * X + X),
    ]  # fmt: skip
    for _ in range(2):
        for args, kwargs, expected in calls:
            assert (f(*args, **kwargs) == expected).all()
    slow = full_path(f)
    for args, kwargs, expected in calls:
        assert not slow(*args, **kwargs)
        out = np.empty_like(X)
        assert f(*args, **kwargs, out=out) is out
        assert (out == expected).all()
    with pytest.raises(StructureError, match="hashable"):
        f(X, X, mode=[])
    with pytest.raises(StructureError, match="do not fit"):
        f(y=X)
    assert cr.jit(lambda x: f(x, y=x, mode="mul"))(X).tolist() == (X * X).tolist()


def test_equal_settings_of_different_types_differ() -> None:
    f = cr.jit(lambda x, n: x * n, static_argnames="n")
    x = np.ones(2, np.int64)
    assert [f(x, n).dtype.kind for n in (1, 1.0, True, 1)] == ["i", "f", "i", "i"]


class Box:
    def __init__(self, inside: Any) -> None:
        self.inside = inside


register_pytree_node(Box, lambda b: ((b.inside,), None), lambda _, children: Box(*children))


def test_registered_classes_run_natively_on_their_leaves() -> None:
    f = cr.jit(lambda b: {"y": Box(b.inside * 2)})
    assert (f(Box(X))["y"].inside == 2 * X).all()
    (variants,) = f._variants.values()
    assert variants[0].flat
    assert variants[0].run([X], None) is not MISSED
    out = {"y": Box(np.empty_like(X))}
    assert f(Box(X), out=out) is out
    assert (out["y"].inside == 2 * X).all()
    assert (f(Box(X[:, ::-1]))["y"].inside == 2 * X[:, ::-1]).all()
    strided = {"y": Box(np.zeros((2, 6), np.float32)[:, ::2])}
    assert (f(Box(X), out=strided)["y"].inside == 2 * X).all()
    with pytest.raises(StructureError):
        f(Box(X), out=out["y"])


def test_settings_of_transformed_functions_reach_native_code() -> None:
    def power(x: Any, kind: str) -> Any:
        return (x * x if kind == "square" else x).sum()

    f = cr.grad(power)
    assert (f(X, "square") == 2 * X).all()
    assert (f(X, "none") == 1).all()
    slow = full_path(f)
    assert not slow(X, "square")
    assert not slow(X, kind="none") or not slow(X, kind="none")
