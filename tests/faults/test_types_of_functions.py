"""Kinds: results of another type than NumPy's; arrays that mean something else; words for keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import DTypeError, StructureError


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32"])
def test_sinc_is_of_numpys_type(dtype: str) -> None:
    x = np.array([0, 1, 1], dtype)
    found = cr.jit(cnp.sinc)(x)
    assert found.dtype == np.sinc(x).dtype
    np.testing.assert_allclose(found, np.sinc(x), atol=1e-3)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
def test_round_is_of_numpys_type(dtype: str) -> None:
    x = np.array([0, 1, 1], dtype)
    found = cr.jit(cnp.round)(x)
    assert found.dtype == np.round(x).dtype
    np.testing.assert_array_equal(found, np.round(x))


ROWS = np.array([[np.nan, np.nan], [1.0, np.nan], [-2.0, 3.0]])


@pytest.mark.parametrize("name", ["nanmax", "nanmin"])
@pytest.mark.parametrize("options", [
    {}, {"axis": 1}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"axis": (0, 1)},
    {"axis": 1, "initial": 0.5}, {"axis": 1, "initial": 0.5, "where": ROWS > 0},
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_extremes_of_nothing_are_nan(name: str, options: dict[str, Any]) -> None:
    found = cr.jit(lambda x: getattr(cnp, name)(x, **options))(ROWS)
    np.testing.assert_array_equal(found, getattr(np, name)(ROWS, **options))


def test_slopes_of_extremes_pass_rows_of_nan_by() -> None:
    found = cr.grad(lambda x: cnp.nansum(cnp.nanmax(x, axis=1)))(ROWS)
    np.testing.assert_array_equal(found, [[0, 0], [1, 0], [0, 1]])


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_and_masks_are_refused() -> None:
    a, square = np.ones((2, 2)), cr.jit(lambda x: x * x)
    square(a)
    matrix = np.matrix(a)
    masked = np.ma.array(a, mask=[[False, True], [False, False]])
    for given, error, words in [
        (matrix, StructureError, "numpy.matrix"),
        (masked, DTypeError, "masked array with masked elements"),
    ]:
        for call in (square, cr.jit(lambda x: x * x), cr.grad(lambda x: (x * x).sum())):
            with pytest.raises(error, match=words):
                call(given)
        with pytest.raises(error, match=words):
            cr.jit(lambda x, m=given: x * m)(a)


def test_traced_values_are_no_keys() -> None:
    for made in (lambda x: {x: 1}, lambda x: {x}, {1: 2}.get):
        with pytest.raises(StructureError, match="cannot be a key of a dict"):
            cr.jit(made)(1.0)


def test_defaultdicts_nest() -> None:
    d = defaultdict(list, {"b": np.ones(2), "a": 3.0})
    found = cr.grad(lambda d: (d["b"] ** 2).sum() * d["a"])(d)
    assert type(found) is defaultdict
    assert found.default_factory is list
    np.testing.assert_array_equal(found["b"], [6.0, 6.0])
    assert found["a"] == 2.0


def test_other_dicts_are_refused_with_what_nests() -> None:
    with pytest.raises(StructureError, match="register_pytree_node makes containers of Counter"):
        cr.grad(lambda d: d["a"])(Counter(a=1))
