"""Kind: constants merged along a chain until they overflow or underflow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.ir.evaluate import evaluate
from chainrule.optimize import optimize

Step = Callable[[Any, Any], Any]


def damped(x: Any, _c: Any) -> Any:
    return x + 0.5 * (cnp.sin(x) - x)


def driven(x: Any, c: Any) -> Any:
    return 1.5 * cnp.tanh(x) + c


def unrolled(step: Step, count: int) -> Step:
    def run(x: Any, c: Any) -> Any:
        for _ in range(count):
            x = step(x, c)
        return x

    return run


def looped(step: Step, count: int) -> Step:
    return lambda x, c: cr.fori_loop(0, count, lambda _i, x: step(x, c), x)


def by_hand(step: Step, count: int, x: float, c: float) -> tuple[float, float, float]:
    """Return the value and the derivatives by x and c, carried forward in float64."""
    by_x, by_c = 1.0, 0.0
    for _ in range(count):
        if step is damped:
            x, slope, own = x + 0.5 * (math.sin(x) - x), 0.5 + 0.5 * math.cos(x), 0.0
        else:
            y = math.tanh(x)
            x, slope, own = 1.5 * y + c, 1.5 * (1 - y * y), 1.0
        by_x, by_c = by_x * slope, by_c * slope + own
    return x, by_x, by_c


DTYPES = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-10}
STEPS = {"damped": (damped, 1.0), "driven": (driven, 0.3)}


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_gradients_of_long_unrolled_chains(name: str, dtype: str) -> None:
    step, start = STEPS[name]
    x, c = np.array([start, 0.1], dtype)
    expected = by_hand(step, 240, float(x), float(c))
    value, slopes = cr.value_and_grad(unrolled(step, 240), argnums=(0, 1))(x, c)
    np.testing.assert_allclose(
        np.array([value, *slopes], float), expected, rtol=DTYPES[dtype], atol=1e-6
    )


@pytest.mark.share(9)
@pytest.mark.parametrize("count", [1200, 1800])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STEPS)
def test_rewriting_of_very_long_chains(name: str, dtype: str, count: int) -> None:
    step, start = STEPS[name]
    x, c = np.array([start, 0.1], dtype)
    traced = trace(cr.grad(unrolled(step, count), argnums=(0, 1)), x, c)
    found = evaluate(optimize(traced.program), x, c)
    expected = by_hand(step, count, float(x), float(c))[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "float32" else 1e-9,
                               atol=1e-12)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STEPS)
def test_gradients_of_long_loops(name: str, dtype: str) -> None:
    step, start = STEPS[name]
    x, c = np.array([start, 0.1], dtype)
    expected = by_hand(step, 1800, float(x), float(c))
    value, slopes = cr.value_and_grad(looped(step, 1800), argnums=(0, 1))(x, c)
    np.testing.assert_allclose(
        np.array([value, *slopes], float), expected,
        rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-12,
    )  # fmt: skip


CHAINS: list[tuple[Callable[[Any], Any], float, float]] = [
    (lambda x: x * 1e-200 * 1e-200 * 1e300, 1e150, 1e50),
    (lambda x: x * 1e-200 * 1e-200 * 1e300, 1e250, 1e150),
    (lambda x: x * 1e200 * 1e200 * 1e-300, 1e-250, 1e-150),
    (lambda x: x / 1e200 / 1e200 * 1e300, 1e250, 1e150),
    (lambda x: 1e-200 / x / 1e200 * 1e300, 1e-250, 1e150),
    (lambda x: 1e-200 / (x * 1e200) * 1e100, 1e-200, 1e-100),
    (lambda x: x * 1e-200 * x, 1e200, 1e200),
    (lambda x: x * 1e200 * x, 1e-200, 1e-200),
    (lambda x: x / (x * 1e200), 1e-250, 1e-200),
    (lambda x: x * (1e-200 / x), 1e-150, 1e-200),
    (lambda x: 0.5 * x + 0.5 * (x * 0.9), 1.7e308, 1.615e308),
    (lambda x: (x + 1e308) + 1e308, -1.5e308, 5e307),
    (lambda x: (x + 1e16) + 1.0, -1e16, 1.0),
    (lambda x: (1e16 - x) + 1.0, 1e16, 1.0),
    (lambda x: (x + 1.0) + 1e-9, -1.0, 1e-9),
    (lambda x: x**-2, 2.0**520, 2.0**-1040),
    (lambda x: x * 1.5e308 + x * 1.5e308, 0.25, 7.5e307),
    (lambda x: (x * 1e-200) ** 2 * 1e300, 1e200, 1e300),
]


@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("at", range(len(CHAINS)))
def test_constants_at_the_ends_of_the_range(at: int, numerics: str) -> None:
    f, x, expected = CHAINS[at]
    assert float(cr.jit(f, numerics=numerics)(x)) == pytest.approx(expected, rel=1e-9)


def test_sums_do_not_lose_the_factor_that_keeps_them_finite() -> None:
    x = np.full(100, 1e307)
    assert cr.jit(lambda x: cnp.sum(x * 1e-200))(x) == pytest.approx(1e109)
    assert cr.jit(lambda x: x @ cnp.full(100, 1e-200))(x) == pytest.approx(1e109)
    small = np.full(100, 1e37, np.float32)
    scaled = cr.jit(lambda x: cnp.sum(x * np.float32(1e-30)))(small)
    assert scaled == pytest.approx(1e9, rel=1e-5)
    rows = cr.jit(lambda x, y: x * y * 1e-300)(np.full((3, 2), 1e10), np.full(2, 1e290))
    np.testing.assert_allclose(rows, 1.0)
