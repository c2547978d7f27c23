"""Where a function is near 1 its logarithm keeps its digits; constant powers leave no masks."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.special import log_ndtr


def test_log_ndtr_is_accurate_in_both_tails() -> None:
    points = np.array([-30.0, -6.0, -5.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 5.0, 8.0, 10.0, 30.0])
    with mpmath.workdps(250):
        expected = [float(mpmath.log(mpmath.ncdf(mpmath.mpf(p)))) for p in points]
    np.testing.assert_allclose(cr.jit(log_ndtr)(points), expected, rtol=1e-13)


def test_the_gradient_of_a_constant_power_selects_nothing() -> None:
    def energy(u: Any) -> Any:
        return cnp.sum((u[2:, 1:-1] - u[:-2, 1:-1]) ** 2)

    u = np.random.default_rng(0).normal(size=(7, 6))
    compiled = cr.jit(cr.grad(energy))
    expected = np.zeros_like(u)
    difference = 2 * (u[2:, 1:-1] - u[:-2, 1:-1])
    expected[2:, 1:-1] += difference
    expected[:-2, 1:-1] -= difference
    np.testing.assert_allclose(compiled(u), expected, rtol=1e-12)
    assert "select" not in compiled.lower(u).as_text("expr")
