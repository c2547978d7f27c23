"""Every vector function against mpmath, C99's special cases, and itself at other widths."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
from tests.accuracy.vector_jit import (
    BINARY,
    Array,
    compiled,
    host_machines,
    module_of,
    target_machine,
)

from chainrule.emit.machine import AVX512, Machine
from chainrule.emit.vector_math import FUNCTIONS
ULP_BUDGET={}

MACHINES = [pytest.param(m, id=m.name) for m in host_machines()]
SCALARS = ("float", "double")
DTYPES: dict[str, Any] = {"float": np.float32, "double": np.float64}
BITS = {"float": (24, -126, 127), "double": (53, -1022, 1023)}
INTEGERS: dict[str, Any] = {"float": np.uint32, "double": np.uint64}
# Where a multiplication and an addition round apart, errors grow a little.
UNFUSED = 1.25
POSITIVE = frozenset({"log", "acosh"})
BOUNDED = frozenset({"asin", "acos", "atanh"})
EDGES = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0,
         2.5, -2.5, 1e-320, -1e-320, 1e-40, -1e-40, 1e300, -1e300, 1e38, -1e38, 1e15, 1e20,
         88.72, 89.0, -88.0, -103.9, -104.0, 709.78, 710.0, -745.1, -746.0)  # fmt: skip


def exact(name: str, *x: mpmath.mpf) -> mpmath.mpf:
    """Return the function's value in mpmath's working precision, NaN where it has none."""
    match name:
        case "sigmoid":
            return 1 / (1 + mpmath.exp(-x[0]))
        case "softplus":
            return mpmath.log1p(mpmath.exp(x[0]))
        case "logaddexp":
            return max(x) + mpmath.log1p(mpmath.exp(-abs(x[0] - x[1])))
        case "pow":
            return mpmath.power(*x)
        case "asin" | "acos" | "atanh" if abs(x[0]) > 1:
            return mpmath.nan
        case "acosh" if x[0] < 1:
            return mpmath.nan
        case "log" | "log1p" if x[0] < (0 if name == "log" else -1):
            return mpmath.nan
        case "sin" | "cos" | "tan":
            # As many digits as the argument's exponent takes away.
            with mpmath.workprec(120 + max(0, mpmath.mag(x[0]))):
                return getattr(mpmath, name)(x[0])
    return getattr(mpmath, name)(*x)


def error_in_ulps(scalar: str, got: float, true: mpmath.mpf) -> float:
    """Return the distance in units of the last place that the true value would have."""
    digits, least, greatest = BITS[scalar]
    if mpmath.isnan(true) or math.isnan(got):
        return 0.0 if mpmath.isnan(true) and math.isnan(got) else math.inf
    if math.isinf(got):
        limit = mpmath.ldexp(2 - mpmath.ldexp(1, 1 - digits), greatest)
        return 0.0 if abs(true) > limit and (true > 0) == (got > 0) else math.inf
    exponent = max(least, mpmath.mag(true) - 1 if true else least)
    # mag may be one too large.
    if true and mpmath.ldexp(1, exponent) > abs(true):
        exponent = max(least, exponent - 1)
    return float(abs(mpmath.mpf(got) - true) / mpmath.ldexp(1, exponent - digits + 1))


def sample(name: str, scalar: str, count: int) -> list[Array]:
    """Return seeded arguments: any bits, small, moderate, and where the function is delicate."""
    random = np.random.default_rng(20)
    largest = 89.0 if scalar == "float" else 710.0

    def one() -> list[Array]:
        width = 32 if scalar == "float" else 64
        anything = random.integers(0, 2**width - 1, count, dtype=INTEGERS[scalar])
        return [
            anything.view(DTYPES[scalar]).astype(float),
            random.uniform(-1, 1, count) * 2.0 ** random.uniform(-20, 4, count),
            random.uniform(-10, 10, count),
            random.uniform(-1.05, 1.05, count),
            random.uniform(-40, 40, count),
            random.uniform(-1.06 * largest, largest, count),
            1 + random.uniform(-1, 1, count) * 2.0 ** random.uniform(-20, 0, count),
            random.integers(1, 2**20, count) * (math.pi / 2),
            random.uniform(-1, 1, count) * 10.0 ** random.uniform(0, 300, count),
        ]

    with np.errstate(over="ignore", invalid="ignore"):
        parts = [np.concatenate(one()).astype(DTYPES[scalar]) for _ in range(1 + (name in BINARY))]
    if name in BINARY:
        random.shuffle(parts[1])
    parts = [np.where(np.isfinite(p), p, DTYPES[scalar](0.75)) for p in parts]
    if name in POSITIVE or name == "pow":
        parts[0] = abs(parts[0])
    if name in BOUNDED:
        parts[0] = np.where(abs(parts[0]) > 1, 1 / parts[0], parts[0])
    if name == "pow":
        # Exponents that bring the result anywhere between the ends of the range.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            scaled = random.uniform(-1.1, 1.1, parts[0].size) * largest / np.log(parts[0])
            parts[1] = np.where(np.isfinite(scaled), scaled, parts[1]).astype(DTYPES[scalar])
    if name == "logaddexp":
        # Of unlike signs the sum cancels, in any implementation.
        parts = [abs(p) for p in parts]
    return parts


def worst(name: str, scalar: str, machine: Machine, lanes: int, arguments: list[Array]) -> str:
    """Return what breaks the budget most, or nothing."""
    budget = ULP_BUDGET[name][scalar == "double"] * (1.0 if machine.fma else UNFUSED)
    results = compiled(name, machine, scalar, lanes)(*arguments)
    report, largest = "", budget
    for *point, got in zip(*arguments, results, strict=True):
        numbers = [mpmath.mpf(float(p)) for p in point]
        # Past any result's range, exact powers of ten thousand digits prove nothing.
        if name in ("exp", "expm1", "sinh", "cosh", "softplus") and abs(numbers[0]) > 2000:
            continue
        if name in ("erfc", "sigmoid") and abs(numbers[0]) > 1000:
            continue
        error = error_in_ulps(scalar, float(got), exact(name, *numbers))
        if error > largest:
            report, largest = f"{name}{tuple(map(float, point))} = {got}: {error:.2f} ulp", error
    return report


@pytest.fixture(autouse=True, scope="module")
def _precision() -> Any:
    with mpmath.workprec(120):
        yield


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_within_the_budget(name: str, scalar: str) -> None:
    for machine in host_machines():
        lanes = machine.lanes(4 if scalar == "float" else 8)
        if machine.fma and machine is not host_machines()[-1]:
            continue  # the same bits: see below
        assert not worst(name, scalar, machine, lanes, sample(name, scalar, 50))


@pytest.mark.exhaustive
@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_error_is_within_the_budget_on_many_points(
    name: str, scalar: str, machine: Machine
) -> None:
    lanes = machine.lanes(4 if scalar == "float" else 8)
    assert not worst(name, scalar, machine, lanes, sample(name, scalar, 20_000))


def edges(name: str, scalar: str) -> list[Array]:
    """Return the special arguments, in all pairs for functions of two."""
    with np.errstate(over="ignore"):
        numbers = np.array(EDGES).astype(DTYPES[scalar])
    if name not in BINARY:
        return [numbers]
    pairs = np.array(list(itertools.product(numbers, numbers)), DTYPES[scalar])
    return [np.ascontiguousarray(pairs[:, i]) for i in range(2)]


NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
               "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}  # fmt: skip


def c99(name: str, *x: float) -> float:
    """Return what C's mathematics library has for special arguments, as Python offers it."""
    if name == "sigmoid":
        return 1 / (1 + math.exp(-x[0])) if x[0] > -700 else math.exp(x[0])
    if name == "softplus":
        return max(x[0], 0.0) + math.log1p(math.exp(-abs(x[0]))) if x[0] == x[0] else x[0]
    if name == "logaddexp":
        return float(np.logaddexp(x[0], x[1]))
    if name == "pow":
        # With arrays of exponents: for the single exponent 1/2 NumPy takes the square root.
        bases, exponents = (np.array([number, number]) for number in x)
        return float(np.power(bases, exponents)[0])
    try:
        numpy_name = NUMPY_NAMES.get(name, name)
        function = getattr(math if name in ("erf", "erfc") else np, numpy_name)
        return float(function(*map(np.float64, x)))
    except OverflowError:
        return math.inf


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_arguments(name: str, scalar: str, machine: Machine) -> None:
    arguments = edges(name, scalar)
    results = compiled(name, machine, scalar, machine.lanes(4))(*arguments)
    for *point, got in zip(*arguments, results, strict=True):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wide = c99(name, *map(float, point))
            expected = DTYPES[scalar](wide)
        where = f"{name}{tuple(map(float, point))} = {got}, not {expected}"
        if math.isnan(expected) or math.isinf(expected) or expected == 0:
            # Next to the end of the range the rounding may go either way.
            assert np.array_equal(got, expected, equal_nan=True), where
            assert math.isnan(expected) or np.signbit(got) == np.signbit(expected), where
        else:
            smallest = 2.0 ** (BITS[scalar][1] - BITS[scalar][0] + 1)
            slack = 10 * 2.0 ** -BITS[scalar][0] * abs(wide) + 2 * smallest
            assert abs(float(got) - wide) <= slack, where


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_width_does_not_change_a_bit(name: str, scalar: str, machine: Machine) -> None:
    arguments = [
        np.concatenate(pair)
        for pair in zip(edges(name, scalar), sample(name, scalar, 100), strict=True)
    ]
    integer = INTEGERS[scalar]
    whole = 16 if scalar == "float" else 8
    scalars = compiled(name, machine, scalar, 0)(*arguments)
    for lanes in (2, 4, whole):
        results = compiled(name, machine, scalar, lanes)(*arguments)
        same = results.view(integer) == scalars.view(integer)
        same |= np.isnan(results) & np.isnan(scalars)
        assert same.all(), f"{lanes} lanes: {name}({[a[~same][:3] for a in arguments]})"


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_machines_with_fused_arithmetic_agree(name: str, scalar: str) -> None:
    machines = [m for m in host_machines() if m.fma]
    arguments = sample(name, scalar, 200)
    results = [
        compiled(name, m, scalar, m.lanes(4 if scalar == "float" else 8))(*arguments)
        for m in machines
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_outside_the_module_is_called(machine: Machine) -> None:
    for name, scalar, lanes in itertools.product(FUNCTIONS, SCALARS, (0, 8)):
        parsed = llvm.parse_assembly(module_of(name, machine, scalar, lanes).text())
        assembly = target_machine(machine).emit_assembly(parsed)
        called = set(re.findall(r"^\s*(?:callq?|bl)\s+(\S+)", assembly, re.MULTILINE))
        assert all(function.startswith("vector_math.") for function in called), called


@pytest.mark.exhaustive
@pytest.mark.skipif(AVX512 not in host_machines(), reason="vscalef is AVX-512's")
def test_scalef_is_the_product_of_two_factors_for_every_float() -> None:
    for start in range(0, 2**32, 2**24):
        x = np.arange(start, start + 2**24, dtype=np.uint32).view(np.float32)
        portable, scalef = (compiled("exp", AVX512, "float", lanes)(x) for lanes in (8, 16))
        np.testing.assert_array_equal(portable, scalef)
