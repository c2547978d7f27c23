"""Gradients of every smooth function against differences; forward mode against reverse mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.array_functions.cases import CASES, UPDATES, Case, arrays

import chainrule.numpy as cnp
from chainrule.frontend.pytree import tree_leaves
from chainrule.frontend.trace import trace
from chainrule.transform import grad, jvp, vmap

SMOOTH = [c for c in CASES if c.smooth] + [Case(t) for t in UPDATES]
STEP = 1e-5


def loss_of(case: Case) -> Callable[..., Any]:
    """Weigh the results with numbers that tell their elements apart."""

    def loss(*values: Any) -> Any:
        total: Any = 0.0
        for leaf in tree_leaves(case.value(cnp, *values)):
            size = int(np.prod(leaf.shape))
            weights = np.cos(np.arange(size)).reshape(leaf.shape)
            total = total + cnp.sum(leaf * weights)
        return total

    return loss


@pytest.mark.share(2)
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradient_matches_differences(case: Case) -> None:
    values = arrays(case.names, seed=3)
    chosen = [i for i, v in enumerate(values) if v.dtype == np.float64]
    loss = loss_of(case)
    gradients = grad(loss, argnums=tuple(chosen))(*values)
    generator = np.random.default_rng(7)
    directions = [generator.normal(size=values[i].shape) for i in chosen]

    slope = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions, strict=True))

    def moved(step: float) -> float:
        at = list(values)
        for i, d in zip(chosen, directions, strict=True):
            at[i] = values[i] + step * d
        return float(trace(loss, *at).run(*at))

    # Fourth order: differences of differences.
    near, far = moved(STEP) - moved(-STEP), moved(2 * STEP) - moved(-2 * STEP)
    expected = (8 * near - far) / (12 * STEP)
    assert slope == pytest.approx(expected, rel=1e-6, abs=1e-7)

    def of_chosen(*given: Any) -> Any:
        full = list(values)
        for i, g in zip(chosen, given, strict=True):
            full[i] = g
        return loss(*full)

    _, forward = jvp(of_chosen, tuple(values[i] for i in chosen), tuple(directions))
    assert float(forward) == pytest.approx(slope, rel=1e-10, abs=1e-12)


BATCHED = [c for c in CASES if c.batched and c.names] + [Case(t) for t in UPDATES]


@pytest.mark.share(3)
@pytest.mark.parametrize("case", BATCHED, ids=str)
@pytest.mark.parametrize("mapped", ["all", "first"])
def test_vmap_equals_a_loop(case: Case, mapped: str) -> None:
    examples = [arrays(case.names, seed=s) for s in range(3)]
    count = len(case.names) if mapped == "all" else 1

    def fn(*values: Any) -> Any:
        return case.value(cnp, *values)

    rows = [[e[i] if i < count else examples[0][i] for i in range(len(e))] for e in examples]
    given = [
        np.stack([r[i] for r in rows]) if i < count else rows[0][i] for i in range(len(rows[0]))
    ]
    axes = tuple(0 if i < count else None for i in range(len(given)))
    got = tree_leaves(vmap(fn, in_axes=axes)(*given))
    expected = [tree_leaves(trace(fn, *r).run(*r)) for r in rows]
    for i, leaf in enumerate(got):
        wanted = np.stack([e[i] for e in expected])
        assert leaf.dtype == wanted.dtype
        np.testing.assert_allclose(leaf, wanted, rtol=1e-12, atol=1e-12)
