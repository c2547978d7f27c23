"""`x.at[mask]`: elements that a mask holds for, as NumPy's indexed assignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ShapeError, UnsupportedError

CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "set": lambda _old, value: value,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "max": np.maximum,
    "min": np.minimum,
}


def changed(how: str, x: Any, mask: Any, value: Any) -> Any:
    result = x.copy()
    result[mask] = CHANGES[how](x[mask], value)
    return result


@pytest.mark.share(3)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("how", CHANGES)
def test_one_value_for_all(how: str, named: bool) -> None:
    def f(x: Any, value: Any) -> Any:
        return getattr(x.at[x > 0.5], how)(value)

    fn = cr.jit(f, dims={"x": ("n",)} if named else None)
    for n in (0, 1, 5):
        x = np.random.default_rng(n).uniform(0, 1, n)
        np.testing.assert_allclose(fn(x, 2.5), changed(how, x, x > 0.5, 2.5), rtol=1e-15)


@pytest.mark.parametrize("how", CHANGES)
def test_rows(how: str) -> None:
    x = np.arange(1.0, 13.0).reshape(2, 3, 2)
    row = np.array([2.0, 3.0])
    for mask in (x[:, :, 0] > 4, x[:, 0, 0] > 4, x > 4):
        value = row if mask.ndim < 3 else 2.0
        got = cr.jit(lambda x, m, v: getattr(x.at[m], how)(v))(x, mask, value)
        np.testing.assert_allclose(got, changed(how, x, mask, value), rtol=1e-15)


def test_dtypes_are_those_of_the_array() -> None:
    x = np.arange(4, dtype=np.int32)
    got = cr.jit(lambda x: x.at[x > 1].set(7))(x)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, [0, 1, 7, 7])


def test_what_is_replaced_has_no_slope() -> None:
    x = np.array([-1.0, 0.0, 4.0])
    got = cr.grad(lambda x: cnp.sum(cnp.sqrt(x.at[x <= 0].set(1.0))))(x)
    np.testing.assert_array_equal(got, [0, 0, 0.25])
    slope = cr.grad(lambda v: cnp.sum(cnp.array(x).at[cnp.array(x) > v * 0].multiply(v)))
    assert slope(3.0) == 4.0


def test_refusals() -> None:
    x = np.arange(4.0)
    with pytest.raises(UnsupportedError, match=r"cnp.where\(mask, value, x\)"):
        cr.jit(lambda x: x.at[x > 1].set(x))(x)
    with pytest.raises(ShapeError, match="leading axes"):
        cr.jit(lambda x: x.at[(x > 1)[:2]].set(0.0))(x)


def test_a_traced_number_is_not_stored_in_an_array_of_numpys() -> None:
    def stored(x: Any) -> Any:
        out = np.zeros(3)
        out[0] = x
        return out

    for call in (cr.jit(stored), cr.grad(lambda x: stored(x)[0])):
        with pytest.raises(UnsupportedError, match="Python float"):
            call(2.0)
