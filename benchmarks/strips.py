"""Batch strips against the same code with the whole batch at once: time, and bytes of arena.

    python benchmarks/strips.py

Both are compiled from one program and interleaved; a ratio above 1 says that strips are faster.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
from interleave import interleaved
from networks import data, network

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.pytree import tree_leaves
from chainrule.frontend.trace import trace
from chainrule.ir.dims import evaluate_extent
from chainrule.ir.program import Program
from chainrule.options import Options
from chainrule.pipeline import lower_program

CASES = (((64,) * 5 + (10,), 4096, "tanh"), ((784, 512, 256, 10), 8192, "relu"))
BATCHES = (32, 512, 8192)


def native(
    program: Program, arrays: Sequence[np.ndarray], batch: int, *, strips: bool
) -> tuple[Callable[[], object], Callable[[int], int]]:
    """Return a call of the compiled program on fixed arrays, and its arena's bytes by batch."""
    lowered = lower_program(program, Options(strips=strips))
    code = lowered.load()
    outputs = [
        np.empty([evaluate_extent(e, {"batch": batch}) for e in n.shape], n.dtype.numpy)
        for n in program.outputs
    ]

    def arena(rows: int) -> int:
        return evaluate_extent(lowered.arena, {"batch": rows})

    memory = np.zeros(arena(batch) + 64, np.uint8)
    start = -(-memory.ctypes.data // 64) * 64

    def pointers(of: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
        return (ctypes.c_void_p * len(of))(*(a.ctypes.data for a in of))

    function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4)(
        code.addresses[lowered.entry]
    )
    inputs, results = pointers(arrays), pointers(outputs)
    dims = (ctypes.c_int64 * 1)(batch)
    kept = (code, memory, outputs, arrays)
    return lambda: (function(inputs, results, start, dims), kept)[0], arena


def main() -> None:
    """Print one line a network."""
    for sizes, batch, activation in CASES:
        params, x, y = data(sizes, batch, np.float32, activation)
        loss = cr.value_and_grad(network(cnp, len(sizes) - 1, activation))
        dims = {"x": ("batch", sizes[0]), "y": ("batch", sizes[-1])}
        program = trace(loss, params, x, y, dims=dims).program
        arrays = tree_leaves((params, x, y))
        strips, arena = native(program, arrays, batch, strips=True)
        whole, whole_arena = native(program, arrays, batch, strips=False)
        found = interleaved({"strips": strips, "whole": whole}, rounds=15, seconds=0.05)
        memory = ", ".join(f"{b}: {arena(b):,} ({whole_arena(b):,})" for b in BATCHES)
        print(f"{'-'.join(map(str, sizes))} at {batch}: whole batch/strips {found['whole']}")
        print(f"  arena bytes by batch, whole batch in brackets: {memory}")


if __name__ == "__main__":
    main()
