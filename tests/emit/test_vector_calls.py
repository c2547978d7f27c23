"""Vector functions of large programs are called, not written in line: with the same bits."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.accuracy.vector_jit import BINARY
from tests.compiled.run import Compiled, program_of

from chainrule.emit import vector_math
from chainrule.ir.dims import named
from chainrule.ir.graph import Graph
from chainrule.ir.op import Op, VectorMath
from chainrule.ir.types import F32, F64, DType, Type
from chainrule.ops import OPS

TABLE = [op for op in OPS.values() if isinstance(op.native, VectorMath)]
CALL = re.compile(r"call \S[^@\n]* @vector_math\.\w+\.(?!\w+\.large)")


def once(op: Op, dtype: DType) -> Compiled:
    graph = Graph(OPS)
    type_ = Type(dtype, (named("n"),))
    inputs = [graph.input(f"x{i}", type_) for i in range(operands(op))]
    return Compiled(program_of(inputs, [graph.call(op.name, *inputs)]), numerics="strict")


def operands(op: Op) -> int:
    """One or two: vector functions have no more."""
    assert isinstance(op.native, VectorMath), "that is what the table was filtered by"
    return 1 + (op.native.name in BINARY)


@pytest.mark.parametrize("dtype", [F32, F64], ids=lambda d: d.name)
@pytest.mark.parametrize("op", TABLE, ids=lambda op: op.name)
def test_a_call_gives_the_bits_of_the_code_in_line(
    op: Op, dtype: DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 1e30, -1e30, 1.0, -1.0]
    arrays = [
        np.concatenate([rng.permutation(special), rng.normal(0, 2, 13)]).astype(dtype.numpy)
        for _ in range(operands(op))
    ]
    (expected,) = once(op, dtype)(*arrays)
    monkeypatch.setattr(vector_math, "IN_LINE", 0)
    called = once(op, dtype)
    assert CALL.search(called.lowered.module.text())
    (got,) = called(*arrays)
    np.testing.assert_array_equal(got, expected)


def test_code_of_a_large_program_does_not_hold_a_function_for_each_use() -> None:
    graph = Graph(OPS)
    x = y = graph.input("x", Type(F64, (named("n"),)))
    for i in range(1_000):
        y = graph.call("sin", y) * (1.0 + i)
    text = Compiled(program_of([x], [y])).lowered.module.text()
    assert len(CALL.findall(text)) > 500
    # A sine is some forty instructions in line.
    assert text.count("\n") < 40_000
