"""Every function on traced values means what NumPy says, in static and in named extents."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.array_functions.cases import CASES, OTHER, SHAPES, WRITTEN, Case, arrays

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import DTypeError
from chainrule.frontend.pytree import tree_leaves, tree_structure
from chainrule.frontend.trace import trace
from chainrule.ir.program import check

F32_TOLERANCE = 3e-6


def traced(case: Case, module: Any) -> Callable[..., Any]:
    return lambda *values: case.value(module, *values)


def assert_same(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    got_leaves, leaves = tree_leaves(got), tree_leaves(expected)
    assert len(got_leaves) == len(leaves)
    for a, b in zip(got_leaves, leaves, strict=True):
        wanted = np.asarray(b)
        assert a.dtype == wanted.dtype
        assert a.shape == wanted.shape
        np.testing.assert_allclose(a, wanted, rtol=tolerance, atol=tolerance)


def narrowed(values: list[Any]) -> list[Any]:
    return [v.astype(np.float32) if v.dtype == np.float64 else v for v in values]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_traced_equals_numpy(case: Case) -> None:
    values = arrays(case.names)
    expected = case.value(np, *values)
    program = trace(traced(case, cnp), *values)
    check(program.program)
    assert_same(program.run(*values), expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_stays_float32(case: Case) -> None:
    values = narrowed(arrays(case.names))
    with np.errstate(all="ignore"):
        expected = case.value(np, *values)
    program = trace(traced(case, cnp), *values)
    assert_same(program.run(*values), expected, F32_TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_numpy_itself_works_on_traced_values(case: Case) -> None:
    if "empty" in case.text or re.fullmatch(
        r"m\.(zeros|ones|eye|identity|tri|arange|full)\(.*", case.text
    ):
        pytest.skip("NumPy sees no array there")
    values = arrays(case.names)
    program = trace(traced(case, np), *values) if own_function(case) else None
    if program is not None:
        assert_same(program.run(*values), case.value(np, *values))


def own_function(case: Case) -> bool:
    # np.array and np.asarray ask a list's items for their numbers.
    return not re.search(
        r"m\.(array|asarray|ascontiguousarray|geomspace|logspace|atleast|isscalar|full|can_cast)\b",
        case.text,
    )


@pytest.mark.parametrize("case", [c for c in CASES if c.named], ids=str)
def test_named_extents(case: Case) -> None:
    values = arrays(case.names)
    dims = {n: tuple(f"n{e}" if e > 1 else e for e in SHAPES[n]) for n in case.names}
    program = trace(named_call(case), *values, dims=dims)
    check(program.program)
    assert_same(program.run(*values), case.value(np, *values))
    others = arrays(case.names, OTHER)
    assert_same(program.run(*others), case.value(np, *others))


def named_call(case: Case) -> Callable[..., Any]:
    text = f"lambda {', '.join(case.names)}: call({', '.join(case.names)})"
    return eval(text, {"call": traced(case, cnp)})  # type: ignore[no-any-return]  # noqa: S307


@pytest.mark.parametrize("case", CASES, ids=str)
def test_plain_arrays_are_computed_by_numpy(case: Case) -> None:
    if ".at[" in case.text:
        pytest.skip("NumPy arrays have no .at")
    values = arrays(case.names)
    got, expected = case.value(cnp, *values), case.value(np, *values)
    assert type(got) is type(expected)
    assert tree_structure(got) == tree_structure(expected)
    for a, b in zip(tree_leaves(got), tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_function_has_a_case() -> None:
    text = " ".join(c.text for c in WRITTEN)
    used = set(re.findall(r"m\.(?:linalg\.)?(\w+)", text))
    excused = {
        # constants, dtypes and what takes no arrays
        "bool", "bool_", "broadcast_shapes", "dtype", "e", "euler_gamma", "finfo", "float16",
        "float32",
        "float64", "iinfo", "inf", "int32", "int64", "issubdtype", "nan", "ndarray", "newaxis",
        "pi", "tril_indices", "triu_indices", "uint8", "uint32", "linalg",
        # tested by name elsewhere
        "einsum_path", "cumulative_sum", "cumulative_prod", "matvec", "vecmat",
    }  # fmt: skip
    from chainrule.numpy import unavailable

    public = {n for n in dir(cnp) if not n.startswith("_") and callable(getattr(cnp, n))}
    assert public - used - excused - set(unavailable.__all__) == set()


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_cumulative_functions_of_the_array_standard(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    fn = getattr(cnp, name)
    got = trace(lambda a: fn(a, axis=1, include_initial=True), x).run(x)
    running, first = (np.cumsum, 0.0) if name == "cumulative_sum" else (np.cumprod, 1.0)
    np.testing.assert_allclose(got, np.insert(running(x, axis=1), 0, first, axis=1))


def test_products_of_newer_numpy() -> None:
    a, v = np.random.default_rng(0).normal(size=(2, 3, 4)), np.ones((2, 4))
    u = np.ones((2, 3))
    got = trace(lambda a, v, u: (cnp.matvec(a, v), cnp.vecmat(u, a)), a, v, u).run(a, v, u)
    np.testing.assert_allclose(got[0], np.einsum("aij,aj->ai", a, v))
    np.testing.assert_allclose(got[1], np.einsum("ai,aij->aj", u, a))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cube_root_of_a_zero_keeps_its_sign(dtype: Any) -> None:
    x = np.array([-0.0, 0.0, -8.0, 8.0, np.nan, -np.inf], dtype)
    expected = np.cbrt(x)
    for got in (trace(cnp.cbrt, x).run(x), cr.jit(cnp.cbrt)(x)):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        np.testing.assert_array_equal(np.signbit(got[:4]), np.signbit(expected[:4]))


TOTALS = ["sum", "prod", "cumsum", "cumprod"]


@pytest.mark.parametrize("name", TOTALS)
@pytest.mark.parametrize("given", [np.uint8, np.uint32])
def test_totals_of_unsigned_integers_need_a_dtype(name: str, given: Any) -> None:
    x = np.array([[200, 3, 250], [255, 2, 251]], given)
    total = getattr(cnp, name)
    with pytest.raises(DTypeError, match=r"in uint64(.|\n)*hint: .*dtype=np.int64"):
        trace(total, x)
    for dtype in (np.int64, np.uint32, np.uint8, np.float64):
        expected = getattr(np, name)(x, axis=1, dtype=dtype)

        def function(x: Any, dtype: Any = dtype) -> Any:
            return total(x, axis=1, dtype=dtype)

        for got in (trace(function, x).run(x), cr.jit(function, static_argnames="dtype")(x)):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, expected)
