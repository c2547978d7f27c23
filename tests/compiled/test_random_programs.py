"""Random programs and their gradients: compiled code equals the evaluator, at every size."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, assert_close, launches, program_of, targets
from tests.random_programs import Case, random_program

from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import Program
from chainrule.ir.show import show
from chainrule.ir.types import F32, F64, Array, DType
from chainrule.loops.ir import show as show_kernel
from chainrule.pipeline import lower_program

SEEDS: Final = range(30)
MANY: Final = range(30, 600)
SIZES: Final = [(3, 4), (1, 1), (2, 9), (8, 1), (17, 5), (33, 16)]


def with_gradients(case: Case) -> Program:
    """Return the program with the gradient of the sum of its results appended."""
    program = case.program
    graph = program.graph
    seeds = [graph.full_like(y, 1.0) for y in program.outputs]
    wrt = list(program.inputs)
    found = pull_back(list(program.outputs), seeds, wrt)
    return program_of(wrt, [*program.outputs, *(g for g in found if g is not None)])


def resized(program: Program, arrays: list[Array], n: int, m: int) -> list[Array]:
    """Return inputs for other numbers of the named dims, with values of the same range."""
    random = np.random.default_rng([n, m])
    sizes = {"n": n, "m": m}
    return [
        random.uniform(-1, 1, [sizes.get(str(e), e) for e in x.shape]).astype(a.dtype)
        for x, a in zip(program.inputs, arrays, strict=True)
    ]


def compare(
    program: Program, compiled: Compiled, arrays: list[Array], dtype: DType, what: str
) -> None:
    expected = evaluate(program, *arrays)
    # Where values leave the range in which digits are kept, there is nothing to compare.
    tame = [i for i, y in enumerate(expected) if np.all(np.isfinite(y)) and np.all(np.abs(y) < 1e4)]
    got = compiled(*arrays)
    assert_close([got[i] for i in tame], [expected[i] for i in tame], dtype, what)


def run_seed(seed: int, dtype: DType, target: str = "host") -> None:
    strips, numerics = bool(seed % 2), ("fast", "strict")[seed // 2 % 2]
    case = random_program(seed, nodes=14, dtype=dtype, dims=seed % 3 > 0, smooth=True)
    program = with_gradients(case)
    compiled = Compiled(program, strips=strips, numerics=numerics, target=target)
    compare(program, compiled, case.arrays, dtype, f"seed {seed}")


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", SEEDS)
def test_values_and_gradients(seed: int) -> None:
    run_seed(seed, F64)


@pytest.mark.share(2)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("target", TARGETS[1:])
def test_other_machines(seed: int, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    run_seed(seed, F32 if seed % 2 else F64, target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", MANY)
def test_many_values_and_gradients(seed: int) -> None:
    run_seed(seed, F64)


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", range(100, 112))
def test_kinks_and_selections(seed: int) -> None:
    for dtype in (F32, F64):
        case = random_program(seed, nodes=14, dtype=dtype, dims=True)
        compiled = Compiled(case.program)
        compare(case.program, compiled, case.arrays, dtype, f"seed {seed}")


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", range(200, 215))
def test_one_compilation_serves_every_size(seed: int) -> None:
    case = random_program(seed, nodes=12, dims=True, smooth=True)
    for strips in (True, False):
        compiled = Compiled(case.program, strips=strips)
        for n, m in SIZES:
            arrays = resized(case.program, case.arrays, n, m)
            compare(case.program, compiled, arrays, F64, f"seed {seed} at {n}x{m}")


def stages(seed: int) -> list[str]:
    program = with_gradients(random_program(seed, nodes=12, dims=True, smooth=True))
    lowered = lower_program(program)
    kernels = [show_kernel(x.kernel) for x in launches(lowered)]
    return [show(lowered.optimized), *kernels, str(lowered.arena), lowered.module.text()]


@pytest.mark.parametrize("seed", range(6))
def test_every_stage_prints_the_same_each_time(seed: int) -> None:
    assert stages(seed) == stages(seed)
