"""Requirements on sizes: proved, guarded, or refused as the node is made."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule.errors import OutOfMemoryError, ShapeError
from chainrule.ir.dims import named
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program, check, guarded
from chainrule.ir.types import F64, Type
from chainrule.ops import OPS

n, m = named("n"), named("m")


def program(build: Any, *shape: Any) -> Program:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, shape))
    return Program("f", (x,), (build(graph, x),), ("x",), ("y",))


def part(start: Any, length: Any, step: int = 1) -> Any:
    def build(graph: Graph, x: Node) -> Node:
        return graph.call("slice", x, starts=(start,), shape=(length,), steps=(step,))

    return build


@pytest.mark.parametrize(
    ("build", "guards"),
    [
        (part(0, n), 0), (part(0, n // 2), 0), (part(n - 1, n, -1), 0), (part(1, n - 1), 1),
        (part(n - 10, 10), 1), (part(0, n * 2), 1), (part(0, (n + 1) // 2, 2), 0),
        (lambda g, x: g.broadcast(x, (n, n), (0,)), 1),
        (lambda g, x: g.broadcast(x, (8, n), (1,)), 0),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_guarded(build: Any, guards: int) -> None:
    made = program(build, n)
    assert len(guarded(made).guards) == guards
    if guards:
        with pytest.raises(AssertionError, match="neither proved nor guarded"):
            check(made)
    check(guarded(made))


def test_guards_hold_where_the_slice_lies_inside() -> None:
    (guard,) = guarded(program(part(n - 10, 10), n)).guards
    assert [k for k in range(15) if guard.holds({"n": k})] == list(range(10, 15))


def test_numbers_are_verified_as_nodes_are_made() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (4,)))
    for start, length, step in ((0, 5, 1), (-1, 2, 1), (3, 5, -1), (5, 1, -1), (0, 3, 2)):
        with pytest.raises(ShapeError, match="slice"):
            part(start, length, step)(graph, x)
    part(9, 0)(graph, x)  # nothing of it is read
    with pytest.raises(ShapeError, match="negative: -2"):
        graph.full((-2,), 0.0, F64)
    with pytest.raises(OutOfMemoryError, match="no array is that large"):
        graph.full((2**40, 2**40), 0.0, F64)


def test_no_guard_is_needed_where_inputs_are_as_large() -> None:
    def build(graph: Graph, x: Node) -> Node:
        return graph.call("sum", graph.broadcast(x, (n, 512, 16), (0, 1)), axes=(1, 2))

    assert not guarded(program(build, n, 512)).guards
