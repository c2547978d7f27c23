"""Programs made to fit a memory budget: equal results, less memory, or a message that helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

LAYERS, ROWS, WIDTH = 12, 64, 16


def loss(weights: list[Any], x: Any) -> Any:
    for w in weights:
        x = cnp.tanh(x @ w)
    return cnp.sum(x * x)


def arguments(rows: int = ROWS) -> tuple[list[Any], Any]:
    random = np.random.default_rng(0)
    weights = [random.normal(size=(WIDTH, WIDTH)) * 0.3 for _ in range(LAYERS)]
    return weights, random.normal(size=(rows, WIDTH))


@pytest.mark.share(3)
@pytest.mark.parametrize("share", [0.95, 0.75, 0.62])
def test_values_are_computed_again_until_the_arena_fits(share: float) -> None:
    args = arguments()
    plain = cr.jit(cr.value_and_grad(loss))
    whole = plain.lower(*args).compile()
    budget = int(share * whole.memory.arena)
    fitted = cr.jit(cr.value_and_grad(loss), memory_budget=budget)
    made = fitted.lower(*args).compile()
    assert made.memory.arena <= budget
    assert whole.cost.flops < made.cost.flops < 2 * whole.cost.flops
    for a, b in zip(cr.tree_leaves(fitted(*args)), cr.tree_leaves(plain(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.broad
def test_what_cannot_fit_is_told_with_what_is_large() -> None:
    with pytest.raises(cr.UnsupportedError) as caught:
        cr.jit(cr.value_and_grad(loss), memory_budget=1000)(*arguments())
    text = str(caught.value)
    assert "budget    1000 bytes" in text
    assert "smallest" in text
    assert "tanh f64[64, 16]  at test_budget.py:" in text


def test_a_budget_holds_for_named_extents_when_they_grow() -> None:
    budget = 400_000
    named = cr.jit(lambda x: cnp.sum(cnp.cumsum(cnp.exp(x)) ** 2), dims={"x": ("n",)},
                   memory_budget=budget)  # fmt: skip
    named(np.ones(100))
    with pytest.raises(cr.ShapeError, match="needs more memory than its memory_budget"):
        named(np.ones(1_000_000))
    assert len(named.compilations) == 1
