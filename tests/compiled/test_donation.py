"""Donated inputs: results in place, right whatever still reads the old values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest
from tests.compiled.run import Compiled, assert_close, launches, program_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.dims import named
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import F64, I64, Type
from chainrule.ops import OPS

Maker = Callable[[Graph, Node, Node], Sequence[Node]]


def _reversed(g: Graph, x: Node) -> Node:
    n = x.shape[0]
    assert isinstance(n, int)
    starts = (n - 1, *(0 for _ in x.shape[1:]))
    return g.call("slice", x, starts=starts, shape=x.shape, steps=(-1, *(1 for _ in x.shape[1:])))


def _transposed(g: Graph, x: Node) -> Node:
    return g.call("transpose", x, axes=(1, 0))


def _matmul(g: Graph, a: Node, b: Node) -> Node:
    return g.call("contract", a, b, batch=((), ()), summed=((1,), (0,)))


def _sum(g: Graph, x: Node, *axes: int) -> Node:
    return g.call("sum", x, axes=axes)


def _wide(g: Graph, x: Node, like: Node, *axes: int) -> Node:
    return g.broadcast(x, like.shape, axes)


def _first_row(g: Graph, x: Node) -> Node:
    row = g.call("slice", x, starts=(0, 0), shape=(1, x.shape[1]), steps=(1, 1))
    return g.call("reshape", row, shape=(x.shape[1],))


def _chain(g: Graph, x: Node) -> Node:
    """Return something that takes several steps."""
    for _ in range(3):
        x = g.call("tanh", _matmul(g, x, x))
    return x


# Outputs 0 and 1 take over inputs 0 and 1, both f64[6, 6].
CASES: Final[dict[str, Maker]] = {
    "elementwise": lambda g, a, b: [a + b, a * b],
    "swapped": lambda g, a, b: [b, a],
    "swapped with arithmetic": lambda g, a, b: [b * 2.0, a * 3.0],
    "swapped in part": lambda g, a, b: [b, a + b],
    "unchanged": lambda g, a, b: [a, b],
    "one unchanged": lambda g, a, b: [a, a + b],
    "read later": lambda g, a, b: [a * 2.0, _chain(g, b) * a],
    "read by another nest": lambda g, a, b: [g.call("exp", a), _wide(g, _sum(g, a, 1), a, 0) + b],
    "transposed": lambda g, a, b: [_transposed(g, a), b],
    "transposed read": lambda g, a, b: [_transposed(g, a) + a, b * 2.0],
    "reversed": lambda g, a, b: [_reversed(g, a), b],
    "reversed and itself": lambda g, a, b: [_reversed(g, a) + a, b + a],
    "reversed of a sum": lambda g, a, b: [_reversed(g, a + b), b + 1.0],
    "reversed of the other": lambda g, a, b: [_reversed(g, b), _reversed(g, a)],
    "view of what is inlined": lambda g, a, b: [b + 1.0, _transposed(g, a * 2.0)],
    "softmax": lambda g, a, b: [g.call("softmax", a, axes=(1,)), b],
    "columns": lambda g, a, b: [
        g.call("softmax", a, axes=(0,)), g.call("softmax", b, axes=(0, 1))],
    "contraction": lambda g, a, b: [_matmul(g, a, b), _matmul(g, b, a)],
    "contraction later": lambda g, a, b: [a + 1.0, _matmul(g, _matmul(g, b, b), a)],
    "cumulative": lambda g, a, b: [g.call("cumsum", a, axis=0, reverse=False), a + b],
    "spread row": lambda g, a, b: [a + _wide(g, _first_row(g, a), a, 1), b],
    "same value twice": lambda g, a, b: [a + b, a + b],
    "gathered": lambda g, a, b: [
        g.call("gather", a, g.array(np.array([5, 4, 3, 2, 1, 0]), I64), batch=0), b + a],
    "concatenated": lambda g, a, b: [
        g.call("concatenate", *(g.call("slice", a, starts=(s, 0), shape=(3, 6), steps=(1, 1))
                                for s in (3, 0)), axis=0), b],
    "more results than inputs": lambda g, a, b: [a * 2.0, b * 2.0, a, _transposed(g, a), a, b - a],
    "a constant": lambda g, a, b: [g.full_like(a, 3.0), a],
    "reduced elsewhere": lambda g, a, b: [a - b, b * _wide(g, _sum(g, a, 0, 1), b)],
    "reshaped": lambda g, a, b: [
        g.call("reshape", g.call("exp", g.call("reshape", a, shape=(36,))), shape=(6, 6)), b],
    "shifted reshape": lambda g, a, b: [
        g.call("reshape", _transposed(g, g.call("reshape", a, shape=(4, 9))), shape=(6, 6)), b],
}  # fmt: skip


@pytest.mark.parametrize("strips", [True, False], ids=["strips", "whole"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_donated_inputs_give_the_same_results(case: str, strips: bool) -> None:
    graph = Graph(OPS)
    inputs = [graph.input(name, Type(F64, (6, 6))) for name in "ab"]
    program = program_of(inputs, CASES[case](graph, *inputs), donated=((0, 0), (1, 1)))
    random = np.random.default_rng(0)
    arrays = [random.uniform(-1, 1, (6, 6)) for _ in inputs]
    compiled = Compiled(program, strips=strips)
    assert_close(compiled(*arrays), evaluate(program, *arrays), F64, case)


def test_an_update_runs_in_place_without_copies() -> None:
    graph = Graph(OPS)
    a, b = (graph.input(name, Type(F64, (1000,))) for name in "ab")
    compiled = Compiled(program_of([a, b], [a - b * 0.1, a * b], donated=((0, 0), (1, 1))))
    assert len(launches(compiled.lowered)) == 1
    assert compiled.lowered.arena == 0


def test_returning_a_donated_array_runs_nothing() -> None:
    graph = Graph(OPS)
    a = graph.input("a", Type(F64, (10,)))
    compiled = Compiled(program_of([a], [a], donated=((0, 0),)))
    assert not launches(compiled.lowered)


def _loss(graph: Graph, x: Node, w: Node) -> Node:
    hidden = graph.call("tanh", _matmul(graph, x, w))
    return _sum(graph, hidden * hidden, 0, 1)


@pytest.mark.parametrize("rows", [0, 1, 33, 700])
def test_strips_and_donations_go_together(rows: int) -> None:
    """Weights that become their own gradient, and a batch that is overwritten strip by strip."""
    from chainrule.differentiate.reverse import pull_back

    graph, n = Graph(OPS), named("n")
    x, w = graph.input("x", Type(F64, (n, 5))), graph.input("w", Type(F64, (5, 4)))
    loss = _loss(graph, x, w)
    dx, dw = pull_back([loss], [graph.constant(1.0)], [x, w])
    assert dx is not None
    assert dw is not None
    first = graph.call("slice", w, starts=(0, 0), shape=(1, 4), steps=(1, 1))
    late = _wide(graph, loss, w) * w + _wide(graph, graph.call("reshape", first, shape=(4,)), w, 1)
    random = np.random.default_rng(rows)
    arrays = [random.uniform(-1, 1, (rows, 5)), random.uniform(-1, 1, (5, 4))]
    for outputs in ([dx, dw], [x * 2.0, dw], [dx, w - dw * 0.1], [dx, w * 2.0], [dx, late]):
        program = program_of([x, w], [*outputs, loss], donated=((0, 0), (1, 1)))
        expected = evaluate(program, *arrays)
        for strips in (True, False):
            assert_close(Compiled(program, strips=strips)(*arrays), expected, F64, str(outputs))


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "swap": lambda a, b: (b, a),
    "update": lambda a, b: (a - 0.1 * b, b * 0.9 + a),
    "partial overlap": lambda a, b: (a[::-1] + a, b[1:].sum() * b),
    "unchanged": lambda a, b: (a, b),
    "rows": lambda a, b: (cnp.cumsum(a), a - b),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_updates_donated_arguments(name: str) -> None:
    plain, random = FUNCTIONS[name], np.random.default_rng(0)
    a, b = random.normal(size=(2, 37))
    expected = [np.asarray(y) for y in cr.jit(plain)(a, b)]
    function = cr.jit(plain, donate_argnames=("a", "b"))
    for _ in range(2):
        mine, other = a.copy(), b.copy()
        results = function(mine, other)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=1e-12)
        assert {id(r) for r in results} == {id(mine), id(other)}


@pytest.mark.parametrize("take", [
    lambda table, i: table[i], lambda table, i: cnp.take(table, i, axis=0),
    lambda table, i: cnp.take_along_axis(table, i[:, None], axis=1),
], ids=["index", "take", "take_along_axis"])  # fmt: skip
def test_a_bad_index_leaves_donated_memory_alone(take: Callable[..., Any]) -> None:
    function = cr.jit(
        lambda state, table, i: (state * 2.0 + cnp.sum(take(table, i)), table + 1.0),
        donate_argnames=("state", "table"),
    )
    state, table = np.arange(5.0), np.arange(12.0).reshape(4, 3)
    good = np.array([0, 1, -1, 2])
    function(state.copy(), table.copy(), good)
    for bad in ([0, 0, 0, 4], [-5, 0, 0, 0], [2**40, 0, 0, 0]):
        mine, other = state.copy(), table.copy()
        with pytest.raises(IndexError):
            function(mine, other, np.array(bad))
        np.testing.assert_array_equal(mine, state)
        np.testing.assert_array_equal(other, table)


def test_what_a_check_reads_is_not_written_before_it_passes() -> None:
    """The value that the condition is made of is itself a donated result."""
    graph = Graph(OPS)
    a = graph.input("a", Type(F64, (40,)))
    y = graph.call("exp", a)
    failed = graph.call("max", y > 5.0, axes=(0,))
    graph.check(failed, "too large")
    program = program_of([a], [y], checks=tuple(graph.checks), donated=((0, 0),))
    compiled = Compiled(program)
    small, large = np.linspace(0, 1, 40), np.linspace(0, 3, 40)
    np.testing.assert_allclose(compiled(small)[0], np.exp(small), rtol=1e-14)
    np.testing.assert_array_equal(compiled(large)[0], large)
    assert compiled.code == 1
