"""Fusion: what a step reads was made before it, and results do not depend on the limits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import Compiled, assert_close, launches, program_of
from tests.random_programs import random_program

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.differentiate.reverse import pull_back
from chainrule.ir.dims import named
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import F64, Type
from chainrule.loops.ir import statements
from chainrule.ops import OPS
from chainrule.optimize import expand, optimize
from chainrule.pipeline import lower_program
from chainrule.schedule import fuse as fusion
from chainrule.schedule.steps import Checked, Copy, Nest, Schedule, Strips


def with_gradient(seed: int) -> Program:
    program = random_program(seed, nodes=14, dims=True, smooth=True).program
    graph, wrt = program.graph, list(program.inputs)
    seeds = [graph.full_like(y, 1.0) for y in program.outputs]
    found = pull_back(list(program.outputs), seeds, wrt)
    return program_of(wrt, [*program.outputs, *(g for g in found if g is not None)])


def assert_ordered(schedule: Schedule) -> None:
    """Every value is in memory before a step reads it there, or is recomputed from what is."""
    done: set[Node] = set()
    for step in schedule.steps:
        assert not isinstance(step, Strips)
        own = set(step.nodes) if not isinstance(step, Checked) else set()
        waiting = [step.node] if isinstance(step, Copy) else [x for n in own for x in n.args]
        while waiting:
            x = waiting.pop()
            if x in own or x.op.kind is Kind.SOURCE:
                continue
            if x in schedule.stored and schedule.level[x] < step.level:
                assert x in done, f"{x} is read before it is made"
                continue
            assert x.op.kind in (Kind.VIEW, Kind.POINTWISE, Kind.GATHER), f"{x} is not stored"
            waiting.extend(x.args)
        done |= own


@pytest.mark.parametrize("seed", range(25))
def test_steps_read_only_what_lower_levels_made(seed: int) -> None:
    plain = expand(optimize(with_gradient(seed)))
    schedule = fusion.fuse(plain)
    assert_ordered(schedule)
    made = [n for s in schedule.steps if not isinstance(s, Checked) for n in s.nodes]
    assert len(made) == len(set(made)), "every node is made once"
    limits = [len(s.members) for s in schedule.steps if isinstance(s, Nest)]
    assert max(limits, default=0) <= fusion.MEMBERS


@pytest.mark.share(6)
@pytest.mark.parametrize("limits", [(1, 0, 0), (1, 6, 3), (2, 1, 1), (3, 1000, 1000), (64, 0, 0)])
def test_limits_change_no_result(
    limits: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(("MEMBERS", "CHEAP_FLOPS", "CHEAP_LOADS"), limits, strict=True):
        monkeypatch.setattr(fusion, name, value)
    for seed in range(8):
        program = with_gradient(seed)
        arrays = random_program(seed, nodes=14, dims=True, smooth=True).arrays
        assert_close(Compiled(program)(*arrays), evaluate(program, *arrays), F64, f"seed {seed}")


# Programs of any size


def _pointwise(graph: Graph, x: Node, count: int) -> Node:
    for _ in range(count // 2):
        x = graph.call("sin", x) * 1.5
    return x


def _contractions(graph: Graph, x: Node, count: int) -> Node:
    w = x
    for _ in range(count // 2):
        x = graph.call("tanh", graph.call("contract", x, w, batch=((), ()), summed=((1,), (0,))))
    return x


def _rows(graph: Graph, x: Node, count: int) -> Node:
    for _ in range(count // 2):
        x = graph.call("softmax", x, axes=(1,)) + x
    return x


def _views(graph: Graph, x: Node, count: int) -> Node:
    for _ in range(count // 2):
        x = graph.call("transpose", graph.call("exp", x * 0.1), axes=(1, 0))
    return x


def _diamonds(graph: Graph, x: Node, count: int) -> Node:
    for _ in range(count // 2):
        x = graph.call("sub", x * x, x)
    return x


SHAPES: list[Callable[[Graph, Node, int], Node]] = [
    _pointwise, _contractions, _rows, _views, _diamonds,
]  # fmt: skip


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    before = sys.getrecursionlimit()
    # What pytest itself stands on is not counted against the compiler.
    depth = 0
    frame = sys._getframe()
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 150)
    yield
    sys.setrecursionlimit(before)


def work(make: Callable[[Graph, Node, int], Node], count: int) -> tuple[int, int, int]:
    """Return the numbers of steps, launches and statements of a program and its gradient."""
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (4, 4)))
    y = graph.call("sum", make(graph, x, count), axes=(0, 1))
    (dx,) = pull_back([y], [graph.constant(1.0)], [x])
    assert dx is not None
    lowered = lower_program(program_of([x], [y, dx]))
    found = launches(lowered)
    total = sum(sum(1 for _ in statements(one.kernel.body)) for one in found)
    return len(lowered.schedule.steps), len(found), total


@pytest.mark.share(6)
@pytest.mark.parametrize("make", SHAPES, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("shallow_stack")
def test_long_chains_are_lowered_in_linear_work_without_recursion(
    make: Callable[[Graph, Node, int], Node],
) -> None:
    small, large = work(make, 150), work(make, 600)
    for a, b in zip(small, large, strict=True):
        assert b <= 5 * a + 20, f"{small} {large}"


@pytest.mark.usefixtures("shallow_stack")
def test_thousands_of_inputs_and_outputs() -> None:
    graph = Graph(OPS)
    inputs = [graph.input(f"x{i}", Type(F64, (3,))) for i in range(2000)]
    outputs = [graph.call("tanh", x) + inputs[i - 1] for i, x in enumerate(inputs)]
    pairs = tuple((i, i) for i in range(0, 2000, 2))
    lowered = lower_program(program_of(inputs, outputs, donated=pairs))
    assert lowered.kernels < 300
    assert len(launches(lowered)) <= 4000


def test_deep_broadcasts_and_many_axes() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (2,)))
    shape = tuple(2 if i in (3, 17, 30) else 1 for i in range(32))
    wide = graph.broadcast(x, shape, (17,))
    other = graph.call("transpose", wide * 2.0, axes=tuple(reversed(range(32))))
    total = graph.call("sum", graph.call("exp", wide), axes=(3, 4, 30))
    last = graph.call("softmax", graph.call("reshape", other, shape=shape), axes=(17, 30))
    program = program_of([x], [wide + last, other, total])
    array = np.array([0.5, -1.0])
    assert_close(Compiled(program)(array), evaluate(program, array), F64)


def test_nothing_anywhere() -> None:
    """Zero-size arrays, static and named, through every kind of step."""
    n = named("n")
    for extent, rows in ((0, 0), (n, 0)):
        graph = Graph(OPS)
        x = graph.input("x", Type(F64, (extent, 3)))
        w = graph.input("w", Type(F64, (3, 2)))
        empty = graph.input("e", Type(F64, (4, 0)))
        product = graph.call("contract", x, w, batch=((), ()), summed=((1,), (0,)))
        gram = graph.call("contract", x, x, batch=((), ()), summed=((0,), (0,)))
        none = graph.call("contract", empty, empty, batch=((), ()), summed=((1,), (1,)))
        outputs = [
            graph.call("tanh", product), gram, none, graph.call("sum", x, axes=(0,)),
            graph.call("sum", x, axes=(0, 1)), graph.call("cumsum", x, axis=0, reverse=False),
            graph.call("concatenate", x, x, axis=0), graph.call("prod", empty, axes=(1,)),
            graph.call("transpose", product, axes=(1, 0)), graph.call("exp", empty),
            graph.call("sum", graph.call("tanh", product), axes=(0,)),
        ]  # fmt: skip
        program = program_of([x, w, empty], outputs)
        arrays = [np.ones((rows, 3)), np.ones((3, 2)), np.ones((4, 0))]
        assert_close(Compiled(program)(*arrays), evaluate(program, *arrays), F64)


@pytest.mark.parametrize(("parts", "kernels"), [(3, 1), (16, 1), (17, 2), (40, 3)])
def test_short_parts_of_a_concatenation_share_kernels(parts: int, kernels: int) -> None:
    def stacked(x: Any) -> Any:
        return cnp.stack([x[i] * x[i - 1] for i in range(parts)])

    x = np.linspace(0.5, 2.0, parts)
    compiled = cr.jit(stacked, cache=False)
    np.testing.assert_array_equal(compiled(x), x * np.roll(x, 1))
    assert compiled.lower(x).compile().cost.kernels == kernels
