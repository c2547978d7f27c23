"""Derivatives of the Rosenbrock function against CasADi's compiled C and SymEngine's LLVM code.

    python benchmarks/rosenbrock.py [rounds]      # needs gcc, casadi, symengine

Gradient and Hessian-vector product of 1,000 variables, and the dense Hessian of 50, in float64 on
one thread.  Each rival is called by its quickest way from Python, into arrays that are there
already: CasADi through `Function.buffer`, its C from `Function.generate` by gcc -O3 -march=native,
once from scalar expressions (SX, straight-line code) and once from array expressions (MX);
SymEngine through `LLVMDouble.unsafe_real`.  Results are compared first.  Ratios are times over
chainrule's, median and quartiles of rounds in turns; then the same for the machine code alone,
called from a loop in C, and what each way in costs for a function that does next to nothing.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import casadi
import numpy as np
import symengine
from symengine.lib.symengine_wrapper import LLVMDouble

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.api.stages import LoweredFunction

sys.path.insert(0, str(Path(__file__).resolve().parent))
from interleave import Ratio, interleaved

Run = Callable[[], object]
GCC = ("gcc", "-O3", "-march=native", "-fPIC", "-shared")
DRIVER = """
#include <stdint.h>
typedef int64_t (*ours)(const double **, double **, void *, const int64_t *);
typedef int (*theirs)(const double **, double **, long long *, double *, int);
void run_ours(ours f, const double **in, double **out, void *arena, const int64_t *dims, long n) {
    for (long i = 0; i < n; i++) f(in, out, arena, dims);
}
void run_theirs(theirs f, const double **in, double **out, long long *iw, double *w, long n) {
    for (long i = 0; i < n; i++) f(in, out, iw, w, 0);
}
"""


def rosenbrock(x: Any) -> Any:
    """Return the sum over neighbours of 100 (b - a²)² + (1 - a)²."""
    return cnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def task(name: str) -> Callable[..., Any]:
    """Return chainrule's function for a task."""
    if name == "gradient":
        return cr.grad(rosenbrock)
    return cr.hvp(rosenbrock) if name == "product" else cr.hessian(rosenbrock)


def casadi_function(name: str, n: int, kind: Any, folder: Path) -> tuple[Any, Any]:
    """Return CasADi's function for a task, from its generated C, and the address of its code."""
    x, v = kind.sym("x", n), kind.sym("v", n)
    f = casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    made = {
        "gradient": lambda: ([x], [casadi.gradient(f, x)]),
        "product": lambda: ([x, v], [casadi.jtimes(casadi.gradient(f, x), x, v)]),
        "hessian": lambda: ([x], [casadi.densify(casadi.hessian(f, x)[0])]),
        "nothing": lambda: ([x], [x + 1]),
    }[name]()
    label = f"{name}_{kind.__name__}"
    function = casadi.Function(label, *made)
    generator = casadi.CodeGenerator(f"{label}.c")
    generator.add(function)
    generator.generate(f"{folder}/")
    library = folder / f"{label}.so"
    subprocess.run([*GCC, str(folder / f"{label}.c"), "-o", str(library)], check=True)
    return casadi.external(label, str(library)), ctypes.CDLL(str(library))[label]


def symengine_function(name: str, n: int) -> Any:
    """Return SymEngine's LLVM function for a task."""
    x, v = symengine.symbols(f"x:{n}"), symengine.symbols(f"v:{n}")
    if name == "nothing":
        return LLVMDouble(list(x), [a + 1 for a in x])
    # Of a sum only the two terms that a variable is in: the derivatives of all take minutes.
    terms = [100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x)]
    g = [
        sum(t.diff(x[i]) for t in terms[max(i - 1, 0) : i + 1])
        for i in range(n)
    ]  # fmt: skip
    near = [[j for j in (i - 1, i, i + 1) if 0 <= j < n] for i in range(n)]
    if name == "gradient":
        return LLVMDouble(list(x), g, cse=True, opt_level=3)
    if name == "product":
        hv = [sum(g[i].diff(x[j]) * v[j] for j in near[i]) for i in range(n)]
        return LLVMDouble([*x, *v], hv, cse=True, opt_level=3)
    zero = symengine.Integer(0)
    dense = [g[i].diff(x[j]) if j in near[i] else zero for i in range(n) for j in range(n)]
    return LLVMDouble(list(x), dense, cse=True, opt_level=3)


class Contest:
    """One task: every way to do it, as calls without arguments, and what they write into."""

    def __init__(self, name: str, n: int, folder: Path, driver: ctypes.CDLL) -> None:
        rng = np.random.default_rng(1)
        x, v = rng.uniform(-1.5, 1.5, n), rng.normal(size=n)
        inputs = (x, v) if name == "product" else (x,)
        shape = (n, n) if name == "hessian" else (n,)
        self.calls: dict[str, Run] = {}
        self.kernels: dict[str, Run] = {}
        self.results: dict[str, np.ndarray] = {}
        self.kept: list[object] = []

        fn = cr.jit(lambda x: x + 1) if name == "nothing" else cr.jit(task(name))
        out = np.zeros(shape)
        fn(*inputs, out=out)
        # The arguments written out: to unpack them in every call takes as long as the call.
        x, last = inputs[0], inputs[-1]
        one, two = lambda: fn(x, out=out), lambda: fn(x, last, out=out)
        self.calls["chainrule"] = one if len(inputs) == 1 else two
        self.results["chainrule"] = out
        self.kernels["chainrule"] = _our_kernel(fn.lower(*inputs), inputs, out, driver)
        for kind in (casadi.SX, casadi.MX):
            self._add_casadi(name, n, kind, folder, inputs, np.zeros(shape), driver)
        self._add_symengine(name, n, np.concatenate(inputs), np.zeros(shape))

    def _add_casadi(
        self, name: str, n: int, kind: Any, folder: Path, inputs: tuple[np.ndarray, ...],
        out: np.ndarray, driver: ctypes.CDLL,
    ) -> None:  # fmt: skip
        label = f"CasADi {kind.__name__}"
        function, pointer = casadi_function(name, n, kind, folder)
        buffer, run = function.buffer()
        for i, array in enumerate(inputs):
            buffer.set_arg(i, memoryview(array))
        buffer.set_res(0, memoryview(out).cast("B").cast("d"))
        self.calls[label] = run
        self.kept.append((buffer, function))
        run()
        self.results[label] = out
        arguments, results = _pointers(*inputs), _pointers(out)
        iw = (ctypes.c_longlong * (function.sz_iw() + 1))()
        w = (ctypes.c_double * (function.sz_w() + 1))()
        self.kernels[label] = lambda: driver.run_theirs(pointer, arguments, results, iw, w, REPEATS)

    def _add_symengine(self, name: str, n: int, flat: np.ndarray, out: np.ndarray) -> None:
        function = symengine_function(name, n)
        row = out.reshape(-1)
        self.calls["SymEngine LLVM"] = lambda: function.unsafe_real(flat, row)
        function.unsafe_real(flat, row)
        self.results["SymEngine LLVM"] = out

    def check(self) -> None:
        """Compare what all wrote."""
        ours = self.results["chainrule"]
        for label, theirs in self.results.items():
            np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-10, err_msg=label)


REPEATS = 100


def _pointers(*arrays: np.ndarray) -> Any:
    return (ctypes.c_void_p * (len(arrays) + 1))(*[a.ctypes.data for a in arrays])


def _our_kernel(
    lowered: LoweredFunction, inputs: tuple[np.ndarray, ...], out: np.ndarray, driver: ctypes.CDLL
) -> Run:
    loaded = lowered.lowered.load()
    address = ctypes.c_void_p(loaded.addresses[lowered.lowered.entry])
    arena = lowered.lowered.arena
    assert isinstance(arena, int)
    scratch = np.zeros(arena + 64, np.uint8)
    place = ctypes.c_void_p(scratch.ctypes.data + -scratch.ctypes.data % 64)
    arguments, results, dims = _pointers(*inputs), _pointers(out), (ctypes.c_int64 * 1)()

    def run() -> object:
        assert loaded, "what is called is kept"
        assert scratch.size == arena + 64, "and so is what it writes to"
        return driver.run_ours(address, arguments, results, place, dims, REPEATS)

    return run


def compiled_driver(folder: Path) -> ctypes.CDLL:
    """Return the loops in C that call a kernel many times."""
    source = folder / "driver.c"
    source.write_text(DRIVER)
    subprocess.run([*GCC, str(source), "-o", str(folder / "driver.so")], check=True)
    driver = ctypes.CDLL(str(folder / "driver.so"))
    p = ctypes.c_void_p
    driver.run_ours.argtypes = [p, p, p, p, p, ctypes.c_long]
    driver.run_theirs.argtypes = [p, p, p, p, p, ctypes.c_long]
    return driver


def table(title: str, found: dict[str, Ratio], each: int = 1) -> None:
    """Print one line a way."""
    print(title)
    for label, ratio in found.items():
        print(f"  {label:16s} {ratio.microseconds / each * 1000:10.0f} ns   x{ratio}")


def main() -> None:
    """Compare and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 41
    cores = sorted(os.sched_getaffinity(0))
    print(f"cores {cores}, {rounds} rounds; casadi {casadi.__version__}, "
          f"symengine {symengine.__version__}")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = compiled_driver(folder)
        for job, n in (("nothing", 1), ("gradient", 1000), ("product", 1000), ("hessian", 50)):
            contest = Contest(job, n, folder, driver)
            contest.check()
            title = {"product": "Hessian-vector product"}.get(job, job)
            table(f"{title}, n = {n}, from Python", interleaved(contest.calls, rounds=rounds))
            table(f"{title}, n = {n}, machine code alone",
                  interleaved(contest.kernels, rounds=rounds), REPEATS)  # fmt: skip


if __name__ == "__main__":
    main()
