"""Time the vector functions against NumPy (and PyTorch, where installed) on cached arrays.

Contestants take turns, and the best of many turns counts, so that what else the machine does
disturbs all alike.

    PYTHONPATH=compiler:runtime python benchmarks/vector_math.py [names ...]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "accuracy"))

from vector_jit import BINARY, compiled, host_machines

SIZE = 16384
NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
               "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
               "pow": "power"}  # fmt: skip
# Functions that NumPy lacks, with the SciPy name.
SCIPY_NAMES = {"erf": "erf", "erfc": "erfc", "sigmoid": "expit"}
RANGES = {"log": (0.01, 100.0), "log1p": (-0.9, 10.0), "acosh": (1.0, 20.0), "pow": (0.1, 3.0),
          "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-1.0, 1.0)}  # fmt: skip


def contestants(name: str, scalar: str) -> dict[str, Callable[[], Any]]:
    """Return one call each that fills an array of SIZE results."""
    dtype = np.float32 if scalar == "float" else np.float64
    random = np.random.default_rng(0)
    low, high = RANGES.get(name, (-8.0, 8.0))
    arrays = [random.uniform(low, high, SIZE).astype(dtype) for _ in range(1 + (name in BINARY))]
    out = np.empty(SIZE, dtype)
    machine = host_machines()[-1]
    kernel: Any = compiled(name, machine, scalar, machine.lanes(dtype().itemsize))
    addresses = arrays[0].ctypes.data, arrays[-1].ctypes.data, out.ctypes.data, SIZE

    def ours(_kept: object = (arrays, out)) -> None:
        kernel.kernel(*addresses)

    calls: dict[str, Callable[[], Any]] = {"ours": ours}
    reference = getattr(np, NUMPY_NAMES.get(name, name), None)
    if name in SCIPY_NAMES:
        reference = getattr(importlib.import_module("scipy.special"), SCIPY_NAMES[name])
    if reference is not None:
        calls["numpy"] = lambda: reference(*arrays, out=out)
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return calls
    torch.set_num_threads(1)
    function = getattr(torch, name, None)
    if function is not None:
        tensors, result = [torch.from_numpy(a) for a in arrays], torch.from_numpy(out.copy())
        calls["torch"] = lambda: function(*tensors, out=result)
    return calls


def best_times(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Return the shortest time of each call in seconds."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            call()
            best[name] = min(best[name], (time.perf_counter() - start) / 2)
    return best


def main() -> None:
    """Print, for each function, our rate and how many times faster it is than the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--turns", type=int, default=200)
    options = parser.parse_args()
    from chainrule.emit.vector_math import FUNCTIONS

    for scalar in ("float", "double"):
        for name in options.names or FUNCTIONS:
            best = best_times(contestants(name, scalar), options.turns)
            ours = best.pop("ours")
            ratios = "  ".join(f"{other} {t / ours:6.2f}x" for other, t in best.items())
            print(f"{scalar:7}{name:10}{SIZE / ours * 1e-9:6.2f} elements/ns  {ratios}")


if __name__ == "__main__":
    main()
