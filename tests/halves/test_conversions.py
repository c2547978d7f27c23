"""Conversions from and to 16 bits: every pattern, and every kind of float, on each processor."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, program_of, targets

from chainrule.ir.graph import Graph
from chainrule.ir.types import BF16, F16, F32, F64, HALVES, I64, Array, DType, Type
from chainrule.ops import OPS

pytest.importorskip("ml_dtypes")

PATTERNS = np.arange(1 << 16, dtype=np.uint16)
NUMERICS = ("fast", "reproducible")


@cache
def converter(source: DType, to: DType, size: int, target: str, numerics: str = "fast") -> Compiled:
    graph = Graph(OPS)
    x = graph.input("x", Type(source, (size,)))
    return Compiled(
        program_of([x], [graph.call("cast", x, dtype=to)]), target=target, numerics=numerics
    )


def converted(values: Array, source: DType, to: DType, target: str, numerics: str = "fast") -> Any:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    (found,) = converter(source, to, values.size, target, numerics)(values)
    return found


def oracle(values: Array, to: DType) -> Array:
    with np.errstate(all="ignore"):
        return values.astype(to.numpy)


def assert_same(found: Array, expected: Array) -> None:
    """Compare bits; of NaN only that it is one, and its sign."""
    nan = np.isnan(oracle(expected, F64))
    np.testing.assert_array_equal(np.isnan(oracle(found, F64)), nan)
    whole = np.dtype(f"u{found.dtype.itemsize}")
    np.testing.assert_array_equal(found[~nan].view(whole), expected[~nan].view(whole))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_every_pattern_widens(half: DType, target: str, numerics: str) -> None:
    values = PATTERNS.view(half.numpy)
    assert_same(converted(values, half, F32, target, numerics), oracle(values, F32))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_every_pattern_survives_float32(half: DType, target: str) -> None:
    wide = oracle(PATTERNS.view(half.numpy), F32)
    found = converted(wide, F32, half, target)
    assert_same(found, PATTERNS.view(half.numpy))
    nan = np.isnan(wide)
    # Quiet, with the payload's upper bits.
    quiet = 0x0200 if half is F16 else 0x0040
    assert (found.view(np.uint16)[nan] & quiet).all()


def around(half: DType) -> Array:
    """Return, for each 16-bit number, what lies just below, at and above the middle to the next."""
    numbers = oracle(PATTERNS[: 1 << 15].view(half.numpy), F32)
    numbers = numbers[np.isfinite(numbers)]
    middle = numbers[:-1] + (numbers[1:] - numbers[:-1]) / 2
    near = [middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))]
    largest = np.float32(half.largest)
    with np.errstate(all="ignore"):
        beyond = largest * (1 + np.float32(2.0**-12) * np.arange(-4, 40, dtype=np.float32))
    both = np.concatenate([*near, beyond, [0.0, np.inf, 1e-45, 1e-40, 3e38]]).astype(np.float32)
    return np.concatenate([both, -both])


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_ties_go_to_even(half: DType, target: str, numerics: str) -> None:
    values = around(half)
    assert_same(converted(values, F32, half, target, numerics), oracle(values, half))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_doubles_round_as_numpy_rounds_them(half: DType, target: str) -> None:
    """To float16 once; to bfloat16, as ml_dtypes does, by way of float32."""
    exact = around(half).astype(np.float64)
    values = np.concatenate([exact, exact * (1 + 2.0**-40), exact * (1 - 2.0**-40), [np.nan]])
    assert_same(converted(values, F64, half, target), oracle(values, half))


@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_integers_convert_by_way_of_float32(half: DType) -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([np.arange(-70000, 70000, 7), random.integers(-(2**62), 2**62, 999)])
    found = converted(values, I64, half, "host")
    assert_same(found, oracle(oracle(values, F32), half))
    finite = oracle(PATTERNS.view(half.numpy), F32)
    finite = finite[np.abs(finite) < 2.0**62]
    whole = converted(oracle(finite, half), half, I64, "host")
    np.testing.assert_array_equal(whole, finite.astype(np.int64))


@pytest.mark.parametrize("target", TARGETS)
def test_one_half_becomes_the_other(target: str) -> None:
    for source, to in ((F16, BF16), (BF16, F16)):
        values = PATTERNS.view(source.numpy)
        assert_same(converted(values, source, to, target), oracle(oracle(values, F32), to))


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_every_float_narrows(half: DType, target: str) -> None:
    step = 1 << 24
    infinity = int(np.array(np.inf).astype(half.numpy).view(np.uint16))
    for start in range(0, 1 << 32, step):
        values = np.arange(start, start + step, dtype=np.uint32).view(np.float32)
        found = converted(values, F32, half, target).view(np.uint16)
        expected = oracle(values, half).view(np.uint16)
        differs = np.flatnonzero(found != expected)
        # Of NaN, which NumPy's packages give payloads of their own, the sign.
        assert np.isnan(values[differs]).all()
        assert ((found[differs] & 0x7FFF) > infinity).all()
        assert ((found[differs] ^ expected[differs]) < 1 << 15).all()
