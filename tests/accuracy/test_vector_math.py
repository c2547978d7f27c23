"""Every vector function against mpmath, C99's special cases, and itself at other widths."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
from tests.accuracy.exact import BITS, error_in_ulps
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
from chainrule.ir.op import VectorMath
from chainrule.ops import OPS

MACHINES = [pytest.param(m, id=m.name) for m in host_machines()]
SCALARS = ("float", "double")
DTYPES: dict[str, Any] = {"float": np.float32, "double": np.float64}
INTEGERS: dict[str, Any] = {"float": np.uint32, "double": np.uint64}
# Where a multiplication and an addition round apart, errors grow a little.
UNFUSED = 1.25
OF_NAMES = {op.native.name: op for op in OPS.values() if isinstance(op.native, VectorMath)}
ULP_BUDGET = {
    op.native.name: (op.native.ulp32, op.native.ulp64)
    for op in OPS.values() if isinstance(op.native, VectorMath)
}  # fmt: skip
POSITIVE = frozenset({"log", "acosh", "log2", "log10", "log_quotient", "cbrt_slope"})
BOUNDED = frozenset({"asin", "acos", "atanh"})
EXPONENTIAL = frozenset(
    {"exp", "expm1", "sinh", "cosh", "softplus", "erfc", "sigmoid", "tanh", "tanh_slope", "erf",
     "erf_slope", "sigmoid_slope", "silu", "silu_slope", "ndtr", "ndtr_slope", "gelu",
     "gelu_slope", "gelu_tanh", "gelu_tanh_weight", "logaddexp"}
)  # fmt: skip
EDGES = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0,
         2.5, -2.5, 1e-320, -1e-320, 1e-40, -1e-40, 1e300, -1e300, 1e38, -1e38, 1e15, 1e20,
         88.72, 89.0, -88.0, -103.9, -104.0, 709.78, 710.0, -745.1, -746.0)  # fmt: skip


def _tail(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _density(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def _gelu_tanh_weight(x: mpmath.mpf) -> mpmath.mpf:
    argument = 2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf(44715) / 10**6 * x**3)
    return 1 / (1 + mpmath.exp(-argument))


# Functions that mpmath has not by that name.
EXACT: dict[str, Callable[..., mpmath.mpf]] = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sigmoid_slope": lambda x: 1 / (1 + mpmath.exp(-x)) / (1 + mpmath.exp(x)),
    "gelu_tanh": lambda x: x * _gelu_tanh_weight(x),
    "gelu_tanh_weight": _gelu_tanh_weight,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "silu_slope": lambda x: (1 + x / (1 + mpmath.exp(x))) / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "logaddexp": lambda x, y: max(x, y) + mpmath.log1p(mpmath.exp(-abs(x - y))),
    "pow": mpmath.power,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "log_quotient": lambda x, y: mpmath.log(x / y),
    "logit": lambda p: mpmath.log(p / (1 - p)),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.root(abs(x), 3) if x else x,
    "cbrt_slope": lambda x: 1 / (3 * mpmath.root(abs(x), 3) ** 2),
    "sin_pi": mpmath.sinpi,
    "cos_pi": mpmath.cospi,
    "sinc_value": lambda x: mpmath.sinpi(x) / (mpmath.pi * x) if x else mpmath.mpf(1),
    "tan_slope": lambda x: mpmath.sec(x) ** 2,
    "tanh_slope": lambda x: mpmath.sech(x) ** 2,
    "erf_slope": lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x),
    "ndtr": _tail,
    "ndtr_slope": _density,
    "gelu": lambda x: x * _tail(x),
    "gelu_slope": lambda x: _tail(x) + x * _density(x),
    "log_ndtr": lambda x: mpmath.log(_tail(x)) if x < 1 else mpmath.log1p(-_tail(-x)),
    "log_ndtr_slope": lambda x: _density(x) / _tail(x),
    "atan2_slope": lambda x, y: y / (x * x + y * y),
}


def exact(name: str, *x: mpmath.mpf) -> mpmath.mpf:
    """Return the function's value in mpmath's working precision, NaN where it has none."""
    match name:
        case "asin" | "acos" | "atanh" if abs(x[0]) > 1:
            return mpmath.nan
        case "acosh" if x[0] < 1:
            return mpmath.nan
        case "log" | "log2" | "log10" | "log1p" if x[0] < (-1 if name == "log1p" else 0):
            return mpmath.nan
        case "sin" | "cos" | "tan" | "tan_slope" | "sin_pi" | "cos_pi" | "sinc_value":
            # As many digits as the argument's exponent takes away.
            with mpmath.workprec(120 + max(0, int(mpmath.mag(x[0])) if x[0] else 0)):
                return EXACT[name](*x) if name in EXACT else getattr(mpmath, name)(x[0])
    return EXACT[name](*x) if name in EXACT else getattr(mpmath, name)(*x)


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
    if name == "logit":
        parts[0] = np.where(abs(parts[0]) < 1, abs(parts[0]), 1 / (1 + abs(parts[0])))
    if name == "log_quotient":
        parts[1] = abs(parts[1])
        third = parts[0].size // 3
        close = 1 + random.uniform(-1, 1, third) * 2.0 ** random.uniform(-22, 0, third)
        with np.errstate(over="ignore"):
            parts[1][:third] = (parts[0][:third] * close).astype(DTYPES[scalar])
        parts = [np.where(p == 0, DTYPES[scalar](1), p) for p in parts]
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
        if name in EXPONENTIAL and max(map(abs, numbers)) > 800:
            continue
        if name.startswith("log_ndtr") and abs(numbers[0]) > 1e6:
            continue
        try:
            true = exact(name, *numbers)
        except ZeroDivisionError:
            continue  # a pole: special arguments have a test of their own
        error = error_in_ulps(scalar, float(got), true)
        if error > largest:
            report, largest = f"{name}{tuple(map(float, point))} = {got}: {error:.2f} ulp", error
    return report


@pytest.fixture(autouse=True, scope="module")
def _precision() -> Any:
    with mpmath.workprec(120):
        yield


@pytest.mark.share(4)
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
UNSIGNED_ZEROS = frozenset({"sin_pi", "cos_pi", "sinc_value", "log_quotient"})
OURS = frozenset(OF_NAMES) - {"pow", *dir(np), *NUMPY_NAMES, "erf", "erfc", "sigmoid", "softplus"}
"Functions that C and NumPy do not have: special arguments give what the op means in NumPy."


def c99(name: str, *x: float) -> float:
    """Return what C's mathematics library has for special arguments, as Python offers it."""
    if name in OURS:
        return float(OF_NAMES[name].value(*map(np.float64, x)))
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


@pytest.mark.share(3)
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
            same = name in UNSIGNED_ZEROS or np.signbit(got) == np.signbit(expected)
            assert math.isnan(expected) or same, where
        else:
            smallest = 2.0 ** (BITS[scalar][1] - BITS[scalar][0] + 1)
            slack = 10 * 2.0 ** -BITS[scalar][0] * abs(wide) + 2 * smallest
            assert abs(float(got) - wide) <= slack, where


@pytest.mark.share(8)
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


@pytest.mark.share(6)
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
