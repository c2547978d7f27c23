"""Compile time against the number of nodes: seconds a stage for chains of 1k, 10k and 100k ops.

    python benchmarks/compile_time.py [1000 10000 100000]

The chain is y -> 1.5 sin(y) with its gradient.  Linear means a constant figure in the last column.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.pipeline import lower_program
from chainrule.transform import value_and_grad


def main(lengths: list[int]) -> None:
    """Print a line a length."""
    for length in lengths:

        def chain(x: np.ndarray, length: int = length) -> np.ndarray:
            for _ in range(length // 2):
                x = cnp.sin(x) * 1.5
            return cnp.sum(x)

        began = time.perf_counter()
        program = trace(value_and_grad(chain), np.ones(4)).program
        traced = time.perf_counter() - began
        lowered = lower_program(program)
        began = time.perf_counter()
        code = lowered.code()
        llvm = time.perf_counter() - began
        stages = {"trace": traced, **lowered.seconds, "llvm": llvm}
        total = sum(stages.values())
        shown = "  ".join(f"{k} {v:.2f}" for k, v in stages.items())
        print(
            f"{length:7d} ops, {len(program.nodes):7d} nodes: {shown}  total {total:.2f} s, "
            f"{len(code):,} bytes, {1e6 * total / length:.0f} us an op"
        )


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [1000, 10_000, 100_000])
