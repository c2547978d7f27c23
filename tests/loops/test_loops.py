"""Loops as printed, and what the checker refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.dims import named
from chainrule.ir.types import F32, F64, I64
from chainrule.loops.ir import (
    Assign,
    Buffer,
    For,
    Kernel,
    Load,
    Number,
    Statement,
    Store,
    Update,
    check,
)
from chainrule.special import softmax

X = np.ones((4, 300), np.float32)
W = np.ones((300, 5), np.float32)


def regression(w: Any, x: Any, y: Any) -> Any:
    return cnp.mean((cnp.tanh(x @ w) - y) ** 2)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "rows_of_softmax": (lambda x: softmax(x, axis=-1), (X,), {"x": ("batch", 300)}),
    "column_sums": (lambda x: cnp.sum(x, axis=0), (X,), {}),
    "few_columns": (lambda x: cnp.sqrt(cnp.sum(x * x, axis=1)), (np.ones((50, 3)),), {}),
    "running_sum": (lambda x: cnp.cumsum(x, axis=0), (np.ones((6, 5)),), {}),
    "strips": (
        cr.value_and_grad(regression), (W, X, np.ones((4, 5), np.float32)),
        {"x": ("batch", 300), "y": ("batch", 5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_print_as_before(name: str, golden: Callable[[str, str], None]) -> None:
    fn, args, dims = PROGRAMS[name]
    golden(f"loops_{name}", cr.jit(fn, dims=dims).lower(*args).as_text("loops"))


B = Buffer("b0", F64)
I = named("i.0")
ILLEGAL: dict[str, tuple[Statement, ...]] = {
    "v1 is assigned twice": (Assign("v1", F64, Number(0.0)), Assign("v1", F64, Number(1.0))),
    "the offset i.0 mentions i.0": (Assign("v1", F64, Load(B, I)),),
    "v1 is not f64": (Assign("v1", F32, Load(B, 0)),),
    "v9 cannot be stored in b0": (Store(B, 0, "v9"),),
    "b1 is not a parameter": (Assign("v1", F64, Load(Buffer("b1", F64), 0)),),
    "a9 is not an accumulator": (Assign("v1", F64, Number(0.0)), Update("a9", "v1")),
    "v.1 cannot be stored in b0": (Assign("v.1", I64, Number(0)), Store(B, 0, "v.1")),
    "a dim may be called v1": (Assign("v1", I64, Number(0)),),
    "a dim may be called n": (For("n", 4, "serial", ()),),
    "a vector loop inside a vector loop": (
        For("i.0", 4, "vector", (For("i.1", 4, "vector", ()),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", ILLEGAL)
def test_illegal_loops_are_refused(message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(Kernel((B,), (), ILLEGAL[message]))


def test_values_leave_their_scope_with_the_loop() -> None:
    inner = For("i.0", 4, "serial", (Assign("v1", F64, Load(B, I)),))
    with pytest.raises(AssertionError, match="v1 cannot be stored"):
        check(Kernel((B,), (), (inner, Store(B, 0, "v1"))))
