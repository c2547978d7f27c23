"""Every trap, forwards and backwards, in both precisions, before and after every pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.differentiate.traps import TRAPS, Trap, total

from chainrule.differentiate.forward import push_forward
from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program, check
from chainrule.ir.types import F32, F64, Array, DType, Type
from chainrule.numerics import FAST, STRICT
from chainrule.ops import OPS
from chainrule.optimize import expand, optimize, stabilize

PASSES: dict[str, Callable[[Program], Program]] = {
    "raw": lambda p: p,
    "strict": lambda p: expand(optimize(p, STRICT)),
    "fast": optimize,
    "expanded": lambda p: expand(optimize(p)),
    "compiled": lambda p: expand(optimize(p), FAST),
    "optimized_again": lambda p: optimize(expand(optimize(p))),
}


def backwards(y: Node, inputs: list[Node]) -> list[Node]:
    one = y.graph.full_like(y, 1.0)
    found = pull_back([y], [one], inputs)
    return [x.graph.full_like(x, 0.0) if g is None else g
            for x, g in zip(inputs, found, strict=True)]  # fmt: skip


def forwards(y: Node, inputs: list[Node]) -> list[Node]:
    """Push every unit vector through and collect the gradient."""
    rows = []
    for x in inputs:
        found = []
        for i in range(int(str(x.shape[0]))):
            unit = np.zeros(int(str(x.shape[0])))
            unit[i] = 1
            (t,) = push_forward([y], {x: x.graph.array(unit, x.dtype)})
            t = y.graph.full_like(y, 0.0) if t is None else t
            found.append(x.graph.call("reshape", t, shape=(1,)))
        empty = x.graph.full_like(x, 0.0)
        rows.append(x.graph.call("concatenate", *found, axis=0) if found else empty)
    return rows


MODES = {"reverse": backwards, "forward": forwards}


def program(trap: Trap, mode: str, dtype: DType) -> tuple[Program, list[Array]]:
    graph = Graph(OPS)
    arrays = trap.at(dtype)
    inputs = [graph.input(f"x{i}", Type(dtype, array.shape)) for i, array in enumerate(arrays)]
    (y,) = stabilize([trap.function(*inputs)])
    gradient = MODES[mode](y, inputs)
    if trap.order == 2:
        (y,) = stabilize([total(gradient[0])])
        gradient = [total(g) for g in MODES[mode](y, inputs)][:1]
    names = tuple(str(i) for i in range(len(inputs)))
    results = tuple(str(i) for i in range(len(gradient)))
    return Program(trap.name, tuple(inputs), tuple(gradient), names, results), arrays


@pytest.mark.share(6)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trap", TRAPS, ids=lambda t: t.name)
def test_gradient_is_exact(trap: Trap, mode: str, dtype: DType) -> None:
    built, arrays = program(trap, mode, dtype)
    tolerance = trap.tolerance if dtype is F64 else max(trap.tolerance, 1e-5)
    for name, run in PASSES.items():
        done = run(built)
        check(done)
        for got, want in zip(evaluate(done, *arrays), trap.expected(dtype), strict=True):
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 1e-10,
                                       err_msg=f"after pass {name!r}")  # fmt: skip


def test_no_two_traps_share_a_name() -> None:
    names = [t.name for t in TRAPS]
    assert len(set(names)) == len(names)
