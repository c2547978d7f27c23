"""Each rule against its formula written again with NumPy, in float64, one array at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from chainrule import optim
from chainrule.typing import PyTree

Floats = NDArray[Any]
Steps = Callable[[Floats, list[Floats]], Iterator[Floats]]
STEPS = 8


class Case(NamedTuple):
    """An optimizer and the same in a few lines of NumPy."""

    name: str
    make: Callable[[], optim.Optimizer]
    reference: Steps


def _sgd(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    for g in grads:
        w = w - 0.1 * g
        yield w


def _momentum(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    m = np.zeros_like(w)
    for g in grads:
        m = 0.8 * m + g
        w = w - 0.1 * m
        yield w


def _nesterov(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    m = np.zeros_like(w)
    for g in grads:
        m = 0.8 * m + g
        w = w - 0.1 * (g + 0.8 * m)
        yield w


def _rmsprop(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    v = np.zeros_like(w)
    for g in grads:
        v = 0.9 * v + 0.1 * g**2
        w = w - 0.1 * g / (np.sqrt(v) + 1e-8)
        yield w


def _adagrad(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    v = np.zeros_like(w)
    for g in grads:
        v = v + g**2
        w = w - 0.1 * g / (np.sqrt(v) + 1e-10)
        yield w


def _adam(w: Floats, grads: list[Floats], decay: float = 0.0) -> Iterator[Floats]:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        w = w - 0.1 * (m_hat / (np.sqrt(v_hat) + 1e-8) + decay * w)
        yield w


def _adamw(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    return _adam(w, grads, decay=0.2)


def _lion(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    m = np.zeros_like(w)
    for g in grads:
        w = w - 0.1 * (np.sign(0.9 * m + 0.1 * g) + 0.2 * w)
        m = 0.99 * m + 0.01 * g
        yield w


def _penalised(w: Floats, grads: list[Floats]) -> Iterator[Floats]:
    for g in grads:
        w = w - 0.1 * (np.clip(g, -1, 1) + 0.3 * w)
        yield w


CASES = [
    Case("sgd", lambda: optim.sgd(0.1), _sgd),
    Case("momentum", lambda: optim.momentum(0.1, 0.8), _momentum),
    Case("nesterov", lambda: optim.nesterov(0.1, 0.8), _nesterov),
    Case("rmsprop", lambda: optim.rmsprop(0.1, 0.9), _rmsprop),
    Case("adagrad", lambda: optim.adagrad(0.1), _adagrad),
    Case("adam", lambda: optim.adam(0.1), _adam),
    Case("adamw", lambda: optim.adamw(0.1, weight_decay=0.2), _adamw),
    Case("lion", lambda: optim.lion(0.1, weight_decay=0.2), _lion),
    Case(
        "chain",
        lambda: optim.chain(optim.clip(1.0), optim.add_decayed_weights(0.3), optim.sgd(0.1)),
        _penalised,
    ),
]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def sample(seed: int) -> dict[str, Any]:
    """Parameters of several structures and dtypes, 0-d and empty ones among them."""
    draw = np.random.default_rng(seed)
    return {
        "W": draw.normal(size=(3, 2)),
        "layers": [draw.normal(size=4).astype(np.float32), (np.array(draw.normal()), None)],
        "empty": np.zeros((0, 3)),
    }


def leaves(tree: PyTree) -> list[Floats]:
    return [tree["W"], tree["empty"], tree["layers"][0], tree["layers"][1][0]]


@by_case
def test_rule_equals_its_formula(case: Case) -> None:
    opt, params = case.make(), sample(0)
    gradients = [sample(seed) for seed in range(1, STEPS + 1)]
    expected = [
        list(case.reference(w.astype(np.float64), [g.astype(np.float64) for g in gs]))
        for w, *gs in zip(leaves(params), *map(leaves, gradients), strict=True)
    ]

    state = opt.init(params)
    for step, grads in enumerate(gradients):
        params, state = opt.apply(grads, state, params)
        for leaf, wanted in zip(leaves(params), expected, strict=True):
            tolerance = 1e-12 if leaf.dtype == np.float64 else 2e-6
            np.testing.assert_allclose(leaf, wanted[step], rtol=tolerance, atol=tolerance)


@by_case
def test_apply_keeps_structure_dtypes_and_arrays(case: Case) -> None:
    opt, params = case.make(), sample(0)
    state = opt.init(params)
    after, next_state = opt.apply(sample(1), state, params)

    for old, new in zip(leaves(params), leaves(after), strict=True):
        assert isinstance(new, np.ndarray)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
    assert after["layers"][1][1] is None
    assert describe(next_state) == describe(state)


def describe(tree: Any) -> Any:
    """Return the structure with each array's type, shape and dtype in its place."""
    match tree:
        case dict():
            return {name: describe(child) for name, child in tree.items()}
        case list() | tuple():
            return (type(tree), [describe(child) for child in tree])
        case None:
            return None
    return (type(tree), tree.shape, tree.dtype)


@by_case
def test_a_zero_gradient_makes_no_nan(case: Case) -> None:
    opt = case.make()
    params = {"w": np.ones(3, np.float32)}
    state = opt.init(params)
    for _ in range(3):
        params, state = opt.apply({"w": np.zeros(3, np.float32)}, state, params)

    assert np.isfinite(params["w"]).all()
    if case.name not in {"adamw", "lion", "chain"}:
        assert params["w"].tolist() == [1, 1, 1]


SCHEDULED: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": optim.sgd,
    "momentum": optim.momentum,
    "nesterov": optim.nesterov,
    "rmsprop": optim.rmsprop,
    "adagrad": optim.adagrad,
    "adam": optim.adam,
    "adamw": optim.adamw,
    "lion": optim.lion,
}


@pytest.mark.parametrize("make", SCHEDULED.values(), ids=SCHEDULED.keys())
def test_a_schedule_is_asked_for_the_steps_taken_before(
    make: Callable[[Any], optim.Optimizer],
) -> None:
    g = {"w": np.ones(2, np.float32)}
    rates = [0.3, 0.2, 0.1]
    scheduled = make(optim.piecewise(0.3, {1: 2 / 3, 2: 1 / 2}))
    params, state = {"w": np.ones(2, np.float32)}, scheduled.init(g)

    for rate in rates:
        constant = make(rate)
        wanted, _ = constant.apply(g, state, params)
        params, state = scheduled.apply(g, state, params)
        np.testing.assert_allclose(params["w"], wanted["w"], rtol=1e-6)
        assert params["w"].dtype == np.float32
    assert int(state.count) == len(rates)
    assert state.count.dtype == np.int32


def test_adam_starts_right_in_float32() -> None:
    """The bias corrections of the first steps keep their digits: 1 - 0.999 has lost four."""
    opt = optim.adam(1.0, b1=0.0, b2=0.999, eps=0.0)
    params = np.zeros(1, np.float32)
    updates, _ = opt.update(np.full(1, 3.0, np.float32), opt.init(params), params)

    assert updates[0] == pytest.approx(-1, rel=5e-7)


TORCH: dict[str, tuple[Callable[[], optim.Optimizer], dict[str, Any]]] = {
    "SGD": (lambda: optim.sgd(0.002), {"lr": 0.002}),
    "SGD momentum": (lambda: optim.momentum(0.002, 0.9), {"lr": 0.002, "momentum": 0.9}),
    "SGD nesterov": (
        lambda: optim.nesterov(0.002, 0.9),
        {"lr": 0.002, "momentum": 0.9, "nesterov": True},
    ),
    "RMSprop": (lambda: optim.rmsprop(0.05), {"lr": 0.05, "alpha": 0.9}),
    "Adagrad": (lambda: optim.adagrad(0.05), {"lr": 0.05}),
    "Adam": (lambda: optim.adam(0.05), {"lr": 0.05}),
    "AdamW": (lambda: optim.adamw(0.05, weight_decay=0.1), {"lr": 0.05, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", TORCH)
def test_same_path_as_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, options = TORCH[name]
    opt, start = make(), np.array([1.5, -1.0])
    weights = torch.tensor(start.copy(), requires_grad=True)
    theirs = getattr(torch.optim, name.split(maxsplit=1)[0])([weights], **options)

    ours, state = start, opt.init(start)
    for _ in range(20):
        theirs.zero_grad()
        x, y = weights
        ((1 - x) ** 2 + 10 * (y - x**2) ** 2).backward()
        theirs.step()
        a, b = ours
        slope = np.array([-2 * (1 - a) - 40 * a * (b - a**2), 20 * (b - a**2)])
        ours, state = opt.apply(slope, state, ours)

    np.testing.assert_allclose(ours, weights.detach().numpy(), rtol=1e-9)


def test_every_rule_finds_the_bottom_of_a_bowl() -> None:
    for name, make in SCHEDULED.items():
        opt = make(optim.cosine(0.3, 400))
        w, state = np.array([2.0, -3.0]), opt.init(np.zeros(2))
        for _ in range(400):
            w, state = opt.apply(np.array([1.0, 4.0]) * w, state, w)
        assert math.hypot(*w) < 0.1, name
