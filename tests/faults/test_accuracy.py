"""Kinds of fault: digits lost in tails, at exact powers, and slopes that vanish or are NaN there.

Right values are mpmath's, by formulas that the compiled code does not use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, special

MODES = ("fast", "strict", "reproducible")
FLOATS = (np.float32, np.float64)
Exact = Callable[[Any], Any]


def compiled(function: Any, x: Any, order: int = 0, mode: str = "fast") -> Any:
    """Return the function's values, or derivatives of that order, elementwise."""
    for _ in range(order):
        function = _slope(function)
    return cr.jit(function, numerics=mode)(x)


def _slope(function: Any) -> Any:
    return cr.grad(lambda x: cnp.sum(function(x)))


def ulps(got: Any, points: Any, exact: Exact) -> float:
    """Return the largest error in units in the last place."""
    worst = 0.0
    with mpmath.workprec(2400):
        for y, x in zip(got, points, strict=True):
            true = exact(mpmath.mpf(float(x)))
            unit = float(np.spacing(np.abs(got.dtype.type(float(true)))))
            worst = max(worst, float(abs(mpmath.mpf(float(y)) - true) / mpmath.mpf(unit)))
    return worst


# Exact powers


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_logarithms_are_exact_at_exact_powers(dtype: Any, mode: str) -> None:
    tens = np.array([dtype(10.0**k) for k in range(11 if dtype == np.float32 else 23)])
    twos = np.ldexp(dtype(1), np.arange(-140 if dtype == np.float32 else -1070, 120))
    np.testing.assert_array_equal(compiled(cnp.log10, tens, 0, mode), np.arange(len(tens)))
    exponents = np.arange(-140 if dtype == np.float32 else -1070, 120)
    np.testing.assert_array_equal(compiled(cnp.log2, twos, 0, mode), exponents)
    assert float(cnp.log10(10.0)) == 1.0
    assert float(cr.jit(cnp.log2)(8.0)) == 3.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_cube_roots_are_exact_at_cubes_and_steep_at_zero(dtype: Any, mode: str) -> None:
    whole = np.arange(-100, 101).astype(dtype)
    np.testing.assert_array_equal(compiled(cnp.cbrt, whole**3, 0, mode), whole)
    ends = np.array([0.0, -0.0, math.inf, -math.inf], dtype)
    slopes = compiled(cnp.cbrt, ends, 1, mode)
    np.testing.assert_array_equal(slopes, [math.inf, math.inf, 0, 0])
    assert float(cr.jvp(cnp.cbrt, (0.0,), (1.0,))[1]) == math.inf


# Tails

TAILS: dict[str, tuple[Any, Exact, Any]] = {
    "tanh": (cnp.tanh, mpmath.tanh, (0.3, 3.0, 6.0, 8.0, 10.0, 20.0, 40.0)),
    "erf": (special.erf, mpmath.erf, (0.5, 2.0, 4.0, 6.0, 9.0)),
    "erfc": (special.erfc, mpmath.erfc, (-2.0, 0.5, 2.0, 4.0, 6.0, 9.0)),
    "ndtr": (special.ndtr, mpmath.ncdf, (-12.9, -7.3, -1.0, 0.1, 5.0)),
    "gelu": (special.gelu, lambda x: x * mpmath.ncdf(x), (-12.9, -7.3, -1.0, -0.7517, 0.1, 5.0)),
    "silu": (special.silu, lambda x: x / (1 + mpmath.exp(-x)),
             (-95.0, -80.3, -18.2, -1.2785, 0.1, 5.0)),
    "expit": (special.expit, lambda x: 1 / (1 + mpmath.exp(-x)), (-85.3, -9.1, 0.2, 9.3, 80.1)),
    "softplus": (special.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), (-80.3, -1.0, 30.0)),
    "logit": (special.logit, lambda p: mpmath.log(p / (1 - p)),
              (1e-30, 0.01, 0.499, 0.5001, 0.9, 0.9999)),
    "log_ndtr": (special.log_ndtr, lambda x: mpmath.log(mpmath.ncdf(x)),
                 (-1e3, -37.0, -5.1, -0.1, 0.1, 4.0, 9.0)),
    "cbrt": (cnp.cbrt, lambda x: mpmath.root(x, 3), (1e-30, 0.3, 7.0, 1e20)),
    "sinc": (cnp.sinc, lambda x: mpmath.sinpi(x) / (mpmath.pi * x), (0.3, 0.9999, 7.00001, 1000.5)),
    "tan": (cnp.tan, mpmath.tan, (0.3, 1.2, 1.57, 100.0)),
    "arccosh": (cnp.arccosh, mpmath.acosh, (1.0001, 1.5, 1e10, 1e30)),
    "arctan": (cnp.arctan, mpmath.atan, (0.3, 1.2, 1e10, 1e22)),
}  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", TAILS)
def test_values_and_slopes_keep_their_digits_in_the_tails(name: str, dtype: Any, mode: str) -> None:
    function, exact, points = TAILS[name]
    x = np.array(points, dtype)
    limit = (2.0 if dtype == np.float32 else 4.0) * (1.0 if mode != "reproducible" else 1.25)
    value, first = cr.jit(lambda v: (function(v), _slope(function)(v)), numerics=mode)(x)
    assert ulps(value, x, exact) <= limit

    def slope(at: Any) -> Any:
        # A difference of 2,400 bits: right to 700 of them.
        step = mpmath.ldexp(1, -900) * max(1, abs(at))
        return (exact(at + step) - exact(at - step)) / (2 * step)

    # The slope of sinc has zeros between two terms: there they cancel.
    assert name == "sinc" or ulps(first, x, slope) <= limit


@pytest.mark.parametrize("mode", MODES)
def test_slopes_of_tanh_do_not_vanish_in_the_tails(mode: str) -> None:
    x = np.array([6.0, 20.0, 100.0, 300.0, 360.0])
    first = compiled(cnp.tanh, x, 1, mode)
    assert ulps(first, x, lambda v: 4 / (mpmath.exp(v) + mpmath.exp(-v)) ** 2) <= 4
    second = compiled(cnp.tanh, x[:4], 2, mode)
    assert ulps(second, x[:4], lambda v: -2 * mpmath.tanh(v) * mpmath.sech(v) ** 2) <= 5
    forward = cr.jit(lambda v: cr.jvp(cnp.tanh, (v,), (1.0,))[1], numerics=mode)
    assert float(forward(20.0)) == float(first[1])


def test_slope_of_tanh_in_a_loop_under_vmap_and_in_halves() -> None:
    def steps(x: Any) -> Any:
        return cr.scan(lambda h, _: (cnp.tanh(h), None), x, None, length=1)[0]

    expected = 4 / (math.exp(20) + math.exp(-20)) ** 2
    assert float(cr.jit(cr.grad(steps))(20.0)) == pytest.approx(expected, rel=1e-15)
    found = cr.jit(cr.vmap(cr.grad(cnp.tanh)))(np.array([20.0, -20.0]))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-15)
    half = compiled(cnp.tanh, np.array([5.0], np.float16), 1)
    np.testing.assert_allclose(half.astype(float), [4 / (math.exp(5) + math.exp(-5)) ** 2], 1e-3)


def test_gelu_by_tanh_as_people_write_it_keeps_digits_in_fast_mode() -> None:
    def gelu(x: Any) -> Any:
        inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + cnp.tanh(inner))

    def exact(x: Any) -> Any:
        inner = mpmath.mpf(0.7978845608028654) * (x + mpmath.mpf(0.044715) * x**3)
        return x / (1 + mpmath.exp(-2 * inner))

    x = np.array([-9.0, -6.0, -3.0, -1.0, 0.5, 4.0])
    with mpmath.workprec(300):
        values = [float(exact(mpmath.mpf(v))) for v in x]
        slopes = [float(mpmath.diff(exact, mpmath.mpf(v))) for v in x]
    # The rounding of the inner polynomial counts as often as it is large.
    np.testing.assert_allclose(compiled(gelu, x), values, rtol=3e-14)
    np.testing.assert_allclose(compiled(gelu, x, 1), slopes, rtol=3e-13)
    np.testing.assert_allclose(compiled(gelu, x, 1, "strict"), slopes, atol=1e-14)
    squared = compiled(lambda v: 1 - cnp.tanh(v) ** 2, np.array([6.0, 20.0, 300.0]))
    assert ulps(squared, np.array([6.0, 20.0, 300.0]), lambda v: mpmath.sech(v) ** 2) <= 4


@pytest.mark.parametrize("n", [0, 1, 5, 17])
def test_named_extents_of_functions_with_tails(n: int) -> None:
    def total(x: Any) -> Any:
        return cnp.sum(special.gelu(x) + special.silu(x) + cnp.tanh(x))

    x = np.linspace(-9, 9, n)
    got = cr.jit(cr.grad(total), dims={"x": ("n",)})(x)
    step = 1e-5
    assert got.shape == (n,)
    for k in range(n):
        moved = [float(total(x + s * step * (np.arange(n) == k))) for s in (1, -1)]
        assert got[k] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-8)


# Huge arguments and limits


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", [special.gelu, nn.gelu, special.silu, nn.silu])
def test_huge_numbers_pass_through_activations(function: Any, mode: str) -> None:
    for dtype, huge in ((np.float32, 3e38), (np.float64, 1.7e308)):
        x = np.array([huge, -huge, math.inf, -math.inf], dtype)
        got = compiled(function, x, 0, mode)
        np.testing.assert_array_equal(got, [x[0], 0, math.inf, 0])
        np.testing.assert_array_equal(compiled(function, x, 1, mode), [1, 0, 1, 0])


LIMITS: dict[str, tuple[Any, float, float]] = {
    "entr at inf": (special.entr, math.inf, -math.inf),
    "entr at 0": (special.entr, 0.0, math.inf),
    "entr below 0": (special.entr, -1.0, 0.0),
    "tanh at inf": (cnp.tanh, math.inf, 0.0),
    "ndtr at inf": (special.ndtr, math.inf, 0.0),
    "log_ndtr at -inf": (special.log_ndtr, -math.inf, math.inf),
    "log_ndtr at inf": (special.log_ndtr, math.inf, 0.0),
    "logit at 0": (special.logit, 0.0, math.inf),
    "logit at 1": (special.logit, 1.0, math.inf),
    "softplus at -inf": (special.softplus, -math.inf, 0.0),
    "arctan at inf": (cnp.arctan, math.inf, 0.0),
    "arccosh at inf": (cnp.arccosh, math.inf, 0.0),
    "arccosh at 1": (cnp.arccosh, 1.0, math.inf),
    "log2 at 0": (cnp.log2, 0.0, math.inf),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LIMITS)
def test_slopes_at_the_ends_are_limits(name: str, mode: str) -> None:
    function, point, expected = LIMITS[name]
    assert float(cr.jit(cr.grad(function), numerics=mode)(point)) == expected
    assert float(cr.jit(lambda x: cr.jvp(function, (x,), (1.0,))[1])(point)) == expected


@pytest.mark.parametrize("mode", MODES)
def test_relative_entropy_with_a_quotient_out_of_range(mode: str) -> None:
    x, y = np.array([1.0, 1e300, 0.3]), np.array([5e-324, 1e-300, np.nextafter(0.3, 1)])
    value = cr.jit(special.rel_entr, numerics=mode)(x, y)
    slope = cr.jit(cr.grad(lambda a, b: cnp.sum(special.rel_entr(a, b))), numerics=mode)(x, y)
    with mpmath.workprec(200):
        logs = [mpmath.log(mpmath.mpf(a) / mpmath.mpf(b)) for a, b in zip(x, y, strict=True)]
        values = [float(a * v) for a, v in zip(x, logs, strict=True)]
        np.testing.assert_allclose(value, values, 1e-15)
        np.testing.assert_allclose(slope, [float(v + 1) for v in logs], 1e-15)


def test_angles_of_points_that_overflow_when_squared() -> None:
    for scale in (1e-300, 1e-20, 1.0, 1e200, 1e300):
        found = cr.jit(cr.grad(cnp.arctan2, argnums=(0, 1)))(3 * scale, 4 * scale)
        np.testing.assert_allclose(found, [4 / scale / 25, -3 / scale / 25], rtol=1e-15)
