"""Exact counts in place of times: code, operations, memory, and what runs at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

WIDTH = 8


def rnn(W: Any, b: Any, x: Any) -> Any:
    return cr.scan(lambda h, v: (cnp.tanh(W @ h + v + b), None), cnp.zeros(WIDTH), x)[0].sum()


def lstm(W: Any, U: Any, b: Any, x: Any) -> Any:
    def logistic(v: Any) -> Any:
        return 1 / (1 + cnp.exp(-v))

    def step(c: Any, v: Any) -> Any:
        h, s = c
        g = v @ W + h @ U + b
        i, f, o, u = (g[j * WIDTH : (j + 1) * WIDTH] for j in range(4))
        s = logistic(f) * s + logistic(i) * cnp.tanh(u)
        return (logistic(o) * cnp.tanh(s), s), None

    zero = cnp.zeros(WIDTH)
    return cr.scan(step, (zero, zero), x)[0][0].sum()


def rnn_specs(steps: int) -> list[Any]:
    return [cr.spec(s, "float64") for s in ((WIDTH, WIDTH), (WIDTH,), (steps, WIDTH))]


def lstm_specs(steps: int) -> list[Any]:
    wide = 4 * WIDTH
    shapes = ((WIDTH, wide), (WIDTH, wide), (wide,), (steps, WIDTH))
    return [cr.spec(s, "float64") for s in shapes]


NETWORKS = pytest.mark.parametrize(
    ("network", "specs"), [(rnn, rnn_specs), (lstm, lstm_specs)], ids=["rnn", "lstm"]
)


def lowered(fn: Any, *specs: Any) -> Any:
    return cr.trace(fn, *specs).lower()


@NETWORKS
@pytest.mark.parametrize("differentiated", [False, True], ids=["value", "gradient"])
def test_code_does_not_grow_with_the_length(
    network: Any, specs: Callable[[int], list[Any]], differentiated: bool
) -> None:
    fn = cr.grad(network, argnums=(0, 1)) if differentiated else network
    few, many = (lowered(fn, *specs(n)) for n in (16, 512))
    assert few.lowered.kernels == many.lowered.kernels
    lines = [len(x.as_text("llvm").splitlines()) for x in (few, many)]
    assert lines[0] == lines[1]


@NETWORKS
def test_a_gradient_costs_at_most_three_values(network: Any, specs: Any) -> None:
    args = specs(64)
    value = lowered(network, *args).compile().cost.flops
    gradient = lowered(cr.grad(network, argnums=tuple(range(len(args)))), *args).compile()
    assert gradient.cost.flops <= 3 * value


@NETWORKS
def test_a_value_keeps_no_step(network: Any, specs: Any) -> None:
    few, many = (lowered(network, *specs(n)).compile().memory.arena for n in (16, 512))
    assert few == many


def test_results_not_taken_are_not_stacked() -> None:
    def fn(x: Any) -> Any:
        return cr.scan(lambda c, v: (cnp.sin(c + v), (c * v, c - v, v * 2)), x[0], x)[0]

    few, many = (lowered(fn, cr.spec((n, 50), "float64")).compile().memory.arena for n in (4, 4000))
    assert few == many


def test_a_gradient_keeps_a_few_vectors_a_step() -> None:
    fn = cr.grad(rnn, argnums=(0, 1))
    few, many = (lowered(fn, *rnn_specs(n)).compile().memory.arena for n in (100, 300))
    assert many - few <= 200 * 2 * WIDTH * 8


def test_checkpoints_keep_segments_only() -> None:
    def segmented(W: Any, b: Any, x: Any) -> Any:
        def one(h: Any, v: Any) -> Any:
            return cnp.tanh(W @ h + v + b), None

        segment = cr.checkpoint(lambda h, rows: (cr.scan(one, h, rows)[0], None))
        return cr.scan(segment, cnp.zeros(WIDTH), x.reshape((16, 32, WIDTH)))[0].sum()

    args = rnn_specs(512)
    plain, kept = (
        lowered(cr.grad(f, argnums=(0, 1)), *args).compile().memory.arena for f in (rnn, segmented)
    )
    assert kept < plain / 5


def test_an_unbounded_loop_tapes_as_it_goes() -> None:
    def slope(bound: int | None) -> Any:
        def fn(x: Any) -> Any:
            return cr.while_loop(
                lambda v: v.sum() < 5, lambda v: v * 1.5 + cnp.sin(v), x, max_steps=bound
            ).sum()

        return lowered(cr.grad(fn), cr.spec((100,), "float64")).compile().memory.arena

    assert slope(None) < slope(10) < slope(1000)
    assert slope(1000) >= 990 * 100 * 8


# Only the branch that is taken runs


def for_ever(x: Any) -> Any:
    return cr.while_loop(lambda s: s < 2.0, lambda s: s * 1.0, x[0] * 0.0)


@pytest.mark.parametrize("numerics", ["fast", "strict"])
def test_a_branch_that_would_never_end_is_not_run(numerics: str) -> None:
    def fn(x: Any, n: Any) -> Any:
        return cr.cond(n < 5, for_ever, lambda x: x[1] * 3.0, x)

    x = np.arange(3.0)
    assert cr.jit(fn, numerics=numerics)(x, 7) == 3.0
    slopes = cr.jit(cr.grad(fn), numerics=numerics)(x, 7)
    np.testing.assert_array_equal(slopes, [0.0, 3.0, 0.0])


def test_nor_are_the_other_ways_of_a_switch() -> None:
    def fn(x: Any, n: Any) -> Any:
        return cr.switch(n, [for_ever, lambda x: x[2], for_ever], x)

    assert cr.jit(fn)(np.arange(3.0), 1) == 2.0


def test_nor_is_a_branch_in_a_loop() -> None:
    def fn(x: Any) -> Any:
        return cr.scan(lambda c, v: (c + cr.cond(v < 0, lambda: for_ever(x), lambda: v), c), 0.0, x)

    assert cr.jit(fn)(np.arange(4.0))[0] == 6.0


def test_a_derivative_of_the_branch_not_taken_may_be_infinite() -> None:
    def fn(x: Any) -> Any:
        return cr.cond(x > 0, cnp.sqrt, lambda v: 2.0 * v, x)

    for numerics in ("fast", "strict"):
        assert cr.jit(cr.grad(fn), numerics=numerics)(0.0) == 2.0


# Loops of very many steps


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1000, 1025, 5000])
def test_tapes_grow(count: int) -> None:
    def fn(x: Any, n: Any) -> Any:
        return cr.fori_loop(0, n, lambda i, v: 0.5 * cnp.sin(v) + x, x).sum()

    x = np.array([0.3, 0.7, 1.1])
    v, slope = x, np.ones(3)
    for _ in range(count):
        v, slope = 0.5 * np.sin(v) + x, 0.5 * np.cos(v) * slope + 1.0
    got = TAPED(x, count)
    np.testing.assert_allclose(got[0], v.sum(), 1e-12)
    np.testing.assert_allclose(got[1], slope, 1e-12)


TAPED: Any = cr.jit(
    cr.value_and_grad(lambda x, n: cr.fori_loop(0, n, lambda i, v: 0.5 * cnp.sin(v) + x, x).sum())
)


def test_ten_million_steps() -> None:
    count = 10**7
    x = np.array([2.0, 1.0])
    by_count = cr.jit(lambda x: cr.fori_loop(0, count, lambda i, s: s * 0.5 + x[1], x[0]))
    by_test = cr.jit(
        lambda x: cr.while_loop(
            lambda c: c[0] < count, lambda c: (c[0] + 1, c[1] * 0.5 + x[1]), (0, x[0])
        )
    )
    assert by_count(x) == 2.0
    assert [y.item() for y in by_test(x)] == [count, 2.0]
