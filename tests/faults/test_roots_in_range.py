"""Powers that are merged for their slope at 0 leave values in the range of the written program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

MODES = ("fast", "strict", "reproducible")

# Written so that no intermediate overflows or underflows, at arguments of float32 and float64.
SCALED: dict[str, tuple[Any, tuple[float, ...], tuple[float, ...]]] = {
    "constant": (lambda x: x**6 * 1e-20 * cnp.sqrt(x), (1e6,), (1e48,)),
    "constants": (
        lambda x: (x**3 * 1e-25) * (x**3 * cnp.sqrt(x) * 1e-10), (1e6,), (1e50,),
    ),
    "another factor": (lambda x, y: x**3 * y * cnp.sqrt(x), (1e12, 1e-20), (1e95, 1e-90)),
    "small": (
        lambda x, y: (x**3 * y) * (x**3 * cnp.sqrt(x) * y) * x, (1e-6, 1e15), (1e-50, 1e140),
    ),
    "cbrt": (lambda x, y: x**2 * y * cnp.cbrt(x), (1e18, 1e-20), (1e150, 1e-100)),
}  # fmt: skip


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCALED)
def test_values_beside_gradients(name: str, dtype: Any, numerics: str) -> None:
    f, single, double = SCALED[name]
    args = [dtype(a) for a in (single if dtype is np.float32 else double)]
    wide = [np.longdouble(a) for a in args]
    value, slope = cr.jit(cr.value_and_grad(f), numerics=numerics)(*args)
    expected = float(f(*wide))
    assert np.isfinite(dtype(expected))
    rtol = 1e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(value, expected, rtol=rtol)
    # By a longer float's central difference, in x.
    h = wide[0] * np.longdouble(1e-6)
    rise = f(wide[0] + h, *wide[1:]) - f(wide[0] - h, *wide[1:])
    np.testing.assert_allclose(slope, float(rise / (2 * h)), rtol=max(rtol, 1e-8))


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("name", SCALED)
def test_slopes_at_0(name: str, numerics: str) -> None:
    f, single, _ = SCALED[name]
    args = (0.0, *single[1:])
    assert cr.jit(cr.grad(f), numerics=numerics)(*args) == 0.0


BROKEN: dict[str, Any] = {
    "(x**3)**(1/3)": lambda x: (x**3) ** (1 / 3),
    "(x**3)**(2/3)": lambda x: (x**3) ** (2 / 3),
    "(x**1.5)**(2/3)": lambda x: (x**1.5) ** (2 / 3),
    "x**(1/3) * x**(2/3)": lambda x: x ** (1 / 3) * x ** (2 / 3),
    "(x**5)**.2": lambda x: (x**5) ** 0.2,
}


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", BROKEN)
def test_negative_numbers_have_no_broken_power(name: str, dtype: Any, numerics: str) -> None:
    value, slope = cr.jit(cr.value_and_grad(BROKEN[name]), numerics=numerics)(dtype(-2))
    assert np.isnan(value)
    assert np.isnan(slope)
    value, slope = cr.jit(cr.value_and_grad(BROKEN[name]), numerics=numerics)(dtype(2))
    expected = 2 ** (2.0 if "2/3)**" in name or name == "(x**3)**(2/3)" else 1.0)
    np.testing.assert_allclose(value, expected, rtol=4e-3 if dtype is np.float16 else 1e-6)


def test_roots_of_any_depth_beside_a_merged_power() -> None:
    def f(x: Any, y: Any) -> Any:
        for _ in range(3_000):
            y = cnp.sqrt(y * 1.5)
        return x**2 * y * cnp.sqrt(x)

    assert cr.grad(f)(0.0, 2.0) == 0.0
    np.testing.assert_allclose(cr.grad(f)(4.0, 2.0), 2.5 * 8 * 1.5, rtol=1e-12)
