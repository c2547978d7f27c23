"""What loops leave, taken apart by views, and read by nests and branches alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

TURNS = 20


def states(x: Any) -> Any:
    def step(y: Any, _: None) -> tuple[Any, Any]:
        y = cnp.tanh(y)
        return y, y

    return cr.scan(step, x, length=TURNS)[1]


@pytest.mark.parametrize("rows", [slice(9, None, 10), slice(None, None, 3), slice(None, 4, -2)])
def test_a_view_is_read_by_a_nest_and_then_in_one_piece_by_a_branch(rows: slice) -> None:
    @cr.jit
    def both(x: Any, bound: float) -> Any:
        seen = states(x)[rows].reshape(-1)
        return cr.cond(
            cnp.max(cnp.abs(seen)) < bound, lambda a: 2 * a, lambda a: cnp.cumsum(cnp.sin(a)), seen
        )

    x = np.random.default_rng(0).normal(size=(4, 2))
    path, at = [], x
    for _ in range(TURNS):
        at = np.tanh(at)
        path.append(at)
    wanted = np.stack(path)[rows].ravel()
    np.testing.assert_allclose(both(x, 2.0), 2 * wanted, rtol=1e-13)
    np.testing.assert_allclose(both(x, 0.0), np.cumsum(np.sin(wanted)), rtol=1e-13)


@pytest.mark.parametrize("hidden", [3, 8, 13])
def test_columns_of_weights_in_one_vector_are_told_apart_by_lanes(hidden: int) -> None:
    """Places in a flat vector are quotients of counters, of which some have lanes and some not."""
    rng = np.random.default_rng(hidden)
    start, flat = rng.normal(size=(4, 2)), rng.normal(size=5 * hidden)

    def moved(v: Any, y: Any) -> Any:
        first, bias = v[: 2 * hidden].reshape(2, hidden), v[2 * hidden : 3 * hidden]
        return y + 0.1 * cnp.tanh(y @ first + bias) @ v[3 * hidden :].reshape(hidden, 2)

    def path(v: Any) -> Any:
        def step(y: Any, _: None) -> tuple[Any, Any]:
            y = moved(v, y)
            return y, y

        return cr.scan(step, start, length=6)[1].reshape(-1)

    def by_complex_step(i: int) -> Any:
        v = flat.astype(complex)
        v[i] += 1e-30j
        y, rows = start.astype(complex), []
        for _ in range(6):
            y = moved(v, y)
            rows.append(y)
        return np.stack(rows).imag.ravel() / 1e-30

    wanted = np.stack([by_complex_step(i) for i in range(flat.size)], axis=1)
    np.testing.assert_allclose(cr.jacfwd(path)(flat), wanted, rtol=1e-11, atol=1e-13)
