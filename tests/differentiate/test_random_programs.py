"""Gradients of random programs: reverse mode, forward mode and central differences."""

from __future__ import annotations

import numpy as np
import pytest
from tests.random_programs import Case, random_program

from chainrule.differentiate.forward import push_forward
from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Node
from chainrule.ir.program import Program, check, guarded
from chainrule.ir.show import show
from chainrule.ir.types import Array
from chainrule.optimize import expand, optimize, stabilize

SEEDS = range(80)


def scalar(program: Program) -> Node:
    """Weigh the outputs' elements by a fixed wave and add everything up."""
    total = program.graph.constant(0.0)
    for y in program.outputs:
        axes = tuple(range(y.type.rank))
        total = total + y.graph.call("sum", y.graph.call("sin", y) + y * 0.5, axes=axes)
    return total


def programs(case: Case) -> tuple[Program, Program, list[str]]:
    """Return value with gradient by reverse mode, and a directional derivative by forward mode."""
    inputs = case.program.inputs
    (y,) = stabilize([scalar(case.program)])
    directions = [y.graph.input(f"t{i}", x.type) for i, x in enumerate(inputs)]
    found = pull_back([y], [y.graph.constant(1.0)], inputs)
    gradient = [x.graph.full_like(x, 0.0) if g is None else g
                for x, g in zip(inputs, found, strict=True)]  # fmt: skip
    (pushed,) = push_forward([y], dict(zip(inputs, directions, strict=True)))
    pushed = y.graph.full_like(y, 0.0) if pushed is None else pushed
    paths = [f"x{i}" for i in range(len(inputs))]
    reverse = Program("reverse", inputs, (y, *gradient), tuple(paths),
                      tuple(f"y{i}" for i in range(len(gradient) + 1)))  # fmt: skip
    forward = Program("forward", (*inputs, *directions), (pushed,),
                      (*paths, *(f"t{i}" for i in range(len(inputs)))), ("t",))  # fmt: skip
    return guarded(reverse), guarded(forward), paths


def compare(seed: int, *, dims: bool, smooth: bool) -> None:
    case = random_program(seed, dims=dims, smooth=smooth)
    reverse, forward, _ = programs(case)
    check(reverse)
    check(forward)
    random = np.random.default_rng(seed)
    t: list[Array] = [random.normal(size=a.shape) for a in case.arrays]
    _, *gradient = evaluate(reverse, *case.arrays)
    (pushed,) = evaluate(forward, *case.arrays, *t)
    pulled = sum(float(np.sum(g * d)) for g, d in zip(gradient, t, strict=True))
    assert pulled == pytest.approx(float(pushed), rel=1e-9, abs=1e-9), show(reverse)
    for fast in (optimize(reverse), expand(optimize(reverse))):
        for got, want in zip(evaluate(fast, *case.arrays)[1:], gradient, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8, err_msg=show(reverse))
    if not smooth:
        return
    step = 1e-6
    ends = [
        float(evaluate(reverse, *(a + sign * step * d
                                  for a, d in zip(case.arrays, t, strict=True)))[0])
        for sign in (1, -1)
    ]  # fmt: skip
    size = sum(float(np.sum(abs(g * d))) for g, d in zip(gradient, t, strict=True))
    slope = (ends[0] - ends[1]) / (2 * step)
    assert slope == pytest.approx(pulled, rel=1e-5, abs=1e-6 * (1 + size)), show(reverse)


@pytest.mark.share(4)
@pytest.mark.parametrize("dims", [False, True], ids=["static", "named"])
@pytest.mark.parametrize("seed", SEEDS)
def test_reverse_forward_and_differences_agree(seed: int, dims: bool) -> None:
    compare(seed, dims=dims, smooth=True)


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", SEEDS)
def test_reverse_and_forward_agree_where_there_are_kinks(seed: int) -> None:
    compare(5000 + seed, dims=bool(seed % 2), smooth=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(100))
def test_many_more_programs(block: int) -> None:
    for seed in range(100_000 + 50 * block, 100_050 + 50 * block):
        compare(seed, dims=bool(seed % 2), smooth=bool(seed % 3))
