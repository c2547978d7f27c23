"""Sums of shifted arrays as arrays in parts: the same numbers, without zeros to fill."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import Compiled, program_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.dims import named
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program
from chainrule.ir.types import F64, Type
from chainrule.numerics import STRICT
from chainrule.ops import OPS
from chainrule.optimize import optimize


def placed(x: Node, axis: int, start: int, extent: int) -> Node:
    shape = tuple(extent if i == axis else e for i, e in enumerate(x.shape))
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    return x.graph.call("place", x, starts=starts, shape=shape, steps=(1,) * len(shape))


def summed(
    first: tuple[int, int], second: tuple[int, int], extent: int, axis: int, rank: int
) -> Program:
    """Return place(a) + place(b), laid from a start with an extent along an axis."""
    graph = Graph(OPS)
    nodes = []
    for i, (_, size) in enumerate((first, second)):
        shape = tuple(size if k == axis else named("n") for k in range(rank))
        nodes.append(graph.input(f"x{i}", Type(F64, shape)))
    laid = [placed(x, axis, s, extent) for x, (s, _) in zip(nodes, (first, second), strict=True)]
    return program_of(nodes, [laid[0] + laid[1]])


@pytest.mark.share(2)
@pytest.mark.parametrize(("axis", "rank"), [(0, 1), (0, 2), (1, 2), (1, 3)])
def test_every_way_two_pieces_may_lie(axis: int, rank: int) -> None:
    rng, extent = np.random.default_rng(3), 4
    spans = [(s, e - s) for s in range(extent) for e in range(s + 1, extent + 1)]
    for first, second in itertools.product(spans, spans):
        program = summed(first, second, extent, axis, rank)
        arrays = [
            rng.normal(size=[size if k == axis else 2 for k in range(rank)])
            for _, size in (first, second)
        ]
        (expected,) = evaluate(program, *arrays)
        better = optimize(program)
        (got,) = evaluate(better, *arrays)
        np.testing.assert_array_equal(got, expected, err_msg=f"{first} {second}")
        ends = sorted((s, s + size) for s, size in (first, second))
        parts = (
            ends[0][0] == 0 and ends[0][1] < ends[1][1] == extent and 0 < ends[1][0] <= ends[0][1]
        )
        names = {n.op.name for n in better.nodes}
        assert ("concatenate" in names) == parts, f"{first} {second}"
        assert "place" not in names or not parts
        if parts:
            (native,) = Compiled(program)(*arrays)
            np.testing.assert_array_equal(native, expected)
        strict = optimize(program, STRICT)
        assert "concatenate" not in {n.op.name for n in strict.nodes}


def test_differences_along_each_axis() -> None:
    def energy(u: Any) -> Any:
        return cnp.sum((u[1:] - u[:-1]) ** 2) + cnp.sum(cnp.cos(u[:, 2:] - u[:, :-2]))

    u = np.random.default_rng(4).normal(size=(5, 6))
    expected = np.zeros_like(u)
    down, across = u[1:] - u[:-1], -np.sin(u[:, 2:] - u[:, :-2])
    expected[1:] += 2 * down
    expected[:-1] -= 2 * down
    expected[:, 2:] += across
    expected[:, :-2] -= across
    np.testing.assert_allclose(cr.grad(energy)(u), expected, rtol=1e-13, atol=1e-14)
    strict = cr.jit(cr.grad(energy), numerics="strict")
    np.testing.assert_allclose(strict(u), expected, rtol=1e-13, atol=1e-14)
