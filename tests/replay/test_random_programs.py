"""Code, optimised expressions and formulas of random programs and gradients are those of last time.

A refactoring changes no hash; what changes code writes the new hashes with --update-golden, and the
difference shows which programs it changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.compiled.run import program_of
from tests.random_programs import random_program
from tests.replay.tape import Tape, recorded

from chainrule.differentiate.reverse import pull_back
from chainrule.inspect import formula
from chainrule.ir.show import show
from chainrule.ir.types import F32, F64
from chainrule.numerics import numerics_called
from chainrule.options import Options
from chainrule.pipeline import lower_program

SEEDS: Final = range(10_000, 10_024)
NUMERICS: Final = ("fast", "strict", "reproducible")


def test_code_is_that_of_last_time(golden: Callable[[str, str], None]) -> None:
    lines = []
    for seed in SEEDS:
        dtype, numerics = (F32, F64)[seed % 2], NUMERICS[seed % 3]
        case = random_program(seed, nodes=14, dtype=dtype, dims=seed % 4 > 0, smooth=seed % 5 > 0)
        program = case.program
        seeds = [program.graph.full_like(y, 1.0) for y in program.outputs]
        slopes = pull_back(list(program.outputs), seeds, list(program.inputs))
        joint = program_of(
            program.inputs, [*program.outputs, *(g for g in slopes if g is not None)]
        )
        with recorded() as code:
            lowered = lower_program(joint, Options(numerics_called(numerics)))
        optimized = Tape()
        optimized.add(show(lowered.optimized))
        written = Tape()
        for y in joint.outputs:
            shown = formula(y)
            for text in (str(shown), shown.latex(), shown.mathml()):
                written.add(text)
        lines.append(f"{seed} {numerics}: {code}; optimised {optimized}; formulas {written}\n")
    golden("replay/random-programs", "".join(lines))
