"""Random nests of loops and branches: values, derivatives and batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.control.kits import OURS, PLAIN
from tests.control.programs import agree, leaves
from tests.control.random_control import RandomCase, random_case

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import check
from chainrule.optimize import expand, optimize


def ours(case: RandomCase) -> Any:
    return lambda a, b, c: case.fn(OURS, a, b, c)


def loss(case: RandomCase) -> Any:
    weights = np.cos(np.arange(4.0))
    return lambda a, b, c: sum(cnp.sum(y * weights) for y in case.fn(OURS, a, b, c))


def compare(seed: int, *, depth: int, size: int) -> None:
    case = random_case(seed, depth=depth, size=size)
    want = case.fn(PLAIN, *case.args)
    numerics = ("fast", "strict")[seed % 2]
    gradient = cr.grad(loss(case), argnums=(0, 1, 2))

    def both(a: Any, b: Any, c: Any) -> Any:
        return case.fn(OURS, a, b, c), gradient(a, b, c)

    traced = trace(both, *case.args)
    check(traced.program)
    values, slopes = traced.run(*case.args)
    agree(values, want, 1e-9, "traced")
    program = traced.program
    for verb in (optimize, expand):
        program = verb(program)
        check(program)
        agree(list(evaluate(program, *case.args)), [*want, *slopes], 1e-8, verb.__name__)
    agree(cr.jit(both, numerics=numerics)(*case.args), [*want, *slopes], 1e-8, numerics)
    along = [np.random.default_rng(seed).normal(size=4) for _ in case.args]
    pushed = trace(lambda p, t: cr.jvp(loss(case), p, t)[1], case.args, tuple(along)).run(
        case.args, tuple(along)
    )
    pulled = sum(np.sum(g * d) for g, d in zip(slopes, along, strict=True))
    assert float(pushed) == pytest.approx(float(pulled), rel=1e-8, abs=1e-8)


def compare_batch(seed: int, *, depth: int) -> None:
    """Map over some arguments: other examples take other branches and other numbers of steps."""
    case = random_case(seed, depth=depth)
    random = np.random.default_rng(seed)
    axes = tuple([0, None][i] for i in random.permutation([0, 0, int(random.integers(2))]))
    many = [
        x if a is None else np.stack([x, -x, 0.3 * x]) for x, a in zip(case.args, axes, strict=True)
    ]

    def row(r: int) -> list[Any]:
        return [x if a is None else x[r] for x, a in zip(many, axes, strict=True)]

    gradient = cr.grad(loss(case), argnums=(0, 1, 2))
    mapped = cr.vmap(lambda a, b, c: (case.fn(OURS, a, b, c), gradient(a, b, c)), in_axes=axes)
    single = trace(gradient, *row(0))
    want = [[*leaves(case.fn(PLAIN, *row(r))), *leaves(single.run(*row(r)))] for r in range(3)]
    stacked = [np.stack(z) for z in zip(*want, strict=True)]
    agree(trace(mapped, *many).run(*many), stacked, 1e-8, "evaluated")
    agree(cr.jit(mapped)(*many), stacked, 1e-8, "compiled")


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 53, 71])
def test_values_and_derivatives(seed: int) -> None:
    compare(seed, depth=1 + seed % 3, size=2 + seed % 2)


@pytest.mark.parametrize("seed", range(1000, 1003))
def test_batches(seed: int) -> None:
    compare_batch(seed, depth=2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10, 600))
def test_many_values_and_derivatives(seed: int) -> None:
    compare(seed, depth=1 + seed % 3, size=2 + seed % 2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1005, 1300))
def test_many_batches(seed: int) -> None:
    compare_batch(seed, depth=1 + seed % 2)
