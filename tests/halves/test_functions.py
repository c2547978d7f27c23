"""Every array function on arrays of 16 bits, and random programs of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.array_functions.cases import CASES, Case, arrays
from tests.compiled.run import Compiled
from tests.compiled.test_random_programs import with_gradients
from tests.random_programs import random_program

import chainrule.numpy as cnp
from chainrule.frontend.pytree import tree_leaves
from chainrule.frontend.trace import trace
from chainrule.ir.evaluate import evaluate
from chainrule.ir.types import BF16, F16, HALVES, Array, DType
from chainrule.numerics import FAST
from chainrule.optimize import widen

pytest.importorskip("ml_dtypes")

TOLERANCE = {F16: 4e-3, BF16: 3e-2}
"How far some roundings of intermediate results take a function of numbers near 1."
PLACES = {F16: 2.0**-8, BF16: 2.0**-5}
"What fourteen ops and their derivatives make of a difference in the last place."


def converted(values: list[Any], dtype: Any) -> list[Any]:
    return [v.astype(dtype) if v.dtype == np.float64 else v for v in values]


@pytest.mark.parametrize("half", HALVES, ids=repr)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_dtypes_are_numpys_and_values_those_of_float32(case: Case, half: DType) -> None:
    """With float16 as the witness of dtypes, where NumPy has the function for it at all."""
    values = converted(arrays(case.names), half.numpy)
    wide = [v.astype(np.float32) if v.dtype == half.numpy else v for v in values]
    with np.errstate(all="ignore"):
        try:
            witness = case.value(np, *converted(arrays(case.names), np.float16))
        except TypeError:
            pytest.skip("NumPy does not compute this in float16")
        expected = case.value(np, *wide)
    found = trace(lambda *given: case.value(cnp, *given), *values).run(*values)
    leaves = zip(*map(tree_leaves, (found, witness, expected)), strict=True)
    for one, like, exact in leaves:
        dtype = np.asarray(like).dtype
        assert one.dtype == (half.numpy if dtype == np.float16 else dtype)
        if one.dtype == half.numpy:
            compare(one, exact, TOLERANCE[half])


def compare(found: Array, expected: Any, tolerance: float) -> None:
    wanted = np.asarray(expected).astype(np.float64)
    finite = np.isfinite(wanted)
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0, where=finite)))
    assert found.shape == wanted.shape
    np.testing.assert_allclose(
        found.astype(np.float64)[finite], wanted[finite], rtol=0, atol=tolerance * scale
    )


def run_seed(seed: int) -> None:
    """Compare with the evaluator, in `fast` numerics with what is not rounded in between."""
    half, numerics = HALVES[seed % 2], ("strict", "fast", "reproducible")[seed // 2 % 3]
    case = random_program(seed, nodes=14, dtype=half, dims=seed % 3 > 0, smooth=True)
    program = with_gradients(case)
    given = [a.astype(n.dtype.numpy) for n, a in zip(program.inputs, case.arrays, strict=True)]
    exact = widen(program, FAST) if numerics == "fast" else program
    expected = evaluate(exact, *given)
    found = Compiled(program, strips=bool(seed % 2), numerics=numerics)(*given)
    for one, other in zip(found, expected, strict=True):
        wide = other.astype(np.float64)
        # Where values leave the range in which digits are kept, there is nothing to compare.
        if np.all(np.isfinite(wide)) and np.all(np.abs(wide) < 1e3):
            compare(one, wide, PLACES[half])


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", range(30))
def test_values_and_gradients_of_random_programs(seed: int) -> None:
    run_seed(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(30, 400))
def test_values_and_gradients_of_many_random_programs(seed: int) -> None:
    run_seed(seed)
