"""Kind: functions that compute the same share code, whatever else they are compiled with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

ROWS, WIDTH, DEPTH = 64, 16, 6


def fresh() -> Callable[..., Any]:
    """Return a function that is another object each time and computes the same."""

    def loss(weights: Any, x: Any) -> Any:
        for w in weights:
            x = cnp.tanh(x @ w)
        return cnp.sum(x * x)

    return cr.value_and_grad(loss)


def arguments() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return list(random.normal(size=(DEPTH, WIDTH, WIDTH)) / 4), random.normal(size=(ROWS, WIDTH))


def arena(fn: Any) -> int:
    """Return the bytes that the one compiled form of a function takes."""
    (variants,) = fn._variants.values()
    (variant,) = variants
    return int(variant.lowered.arena)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)], ids=str)
def test_budgets_are_kept_whoever_compiled_before(order: tuple[int, ...]) -> None:
    args = arguments()
    whole = cr.jit(fresh()).lower(*args).compile().memory.arena
    budgets = [None, int(0.95 * whole), int(0.75 * whole)]
    expected = cr.tree_leaves(fresh()(*args))
    for i in (*order, *order):
        fn = cr.jit(fresh(), memory_budget=budgets[i], lenient=True)
        for one, other in zip(cr.tree_leaves(fn(*args)), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
        budget = budgets[i]
        assert arena(fn) == whole if budget is None else arena(fn) <= budget


def test_a_budget_still_refuses_extents_in_code_that_is_lent() -> None:
    for _ in range(3):
        fn = cr.jit(lambda x: cnp.sum(cnp.cumsum(cnp.exp(x)) ** 2), dims={"x": ("n",)},
                    memory_budget=400_000, lenient=True)  # fmt: skip
        fn(np.ones(100))
        with pytest.raises(cr.ShapeError, match="needs more memory than its memory_budget"):
            fn(np.ones(1_000_000))


def test_exports_fit_what_jit_fits(tmp_path: Path) -> None:
    args = arguments()
    whole = cr.jit(fresh()).lower(*args).compile().memory.arena
    budget = int(0.75 * whole)
    by_jit = cr.export(cr.jit(fresh(), memory_budget=budget), args=args, path=tmp_path / "a",
                       name="step")  # fmt: skip
    by_hand = cr.export(fresh(), args=args, path=tmp_path / "b", name="step", memory_budget=budget)
    for report in (by_jit, by_hand):
        assert isinstance(report.arena, int)
        assert report.arena <= budget
    assert cr.export(fresh(), args=args, path=tmp_path / "c", name="step").arena == whole
    with pytest.raises(cr.ExportError, match="needs more memory than memory_budget"):
        cr.export(fresh(), args=args, path=tmp_path / "d", name="step", memory_budget=1000)
