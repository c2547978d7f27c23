"""Speed of generated contractions against OpenBLAS, and what LLVM takes to compile them.

Run it as `python benchmarks/contraction.py [filter [machine]]`.  Both sides are called from the
same generated loop, one thread, interleaved; a ratio above 1 means ours is faster.  Columns: layout
of A and B (N natural, T transposed), sizes, GFLOP/s, median ratio to OpenBLAS, LLVM milliseconds.
"""

from __future__ import annotations

import os
import sys

# OpenBLAS reads these when numpy is imported: one thread, and the kernels of the real processor.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

import ctypes  # noqa: E402
import itertools  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

import llvmlite.binding as llvm  # noqa: E402
import numpy as np  # noqa: E402

from chainrule.emit.builder import F32, F64, I32, I64, PTR, VOID, Builder, LType, Module, Value  # noqa: E402
from chainrule.emit.contraction import Contraction, Epilogue, emit_contraction, workspace_bytes  # noqa: E402
from chainrule.emit.machine import AVX2, AVX512, BASELINE, Machine  # noqa: E402

ROUNDS = 15
ROUND_SECONDS = 0.002


class Shape(NamedTuple):
    """One row of the table."""

    layout: str
    m: int
    n: int
    k: int
    run_time: str = ""
    accumulate: bool = False
    dtype: LType = F32


SHAPES = [
    *(Shape("NN", n, n, n) for n in (8, 16, 32, 64, 128, 256, 512, 1000, 1024)),
    *(Shape(t, n, n, n) for n in (32, 128, 512, 1024) for t in ("NT", "TN")),
    *(Shape(t, 128, 512, 784) for t in ("NN", "NT", "TN")),
    *(Shape(t, 512, 512, 64) for t in ("NN", "NT", "TN")),
    *(Shape(t, 32, 10, 512) for t in ("NN", "NT", "TN")),
    *(Shape(t, 1, 1024, 1024) for t in ("NN", "NT")),
    *(Shape("NN", n, n, n, dtype=F64) for n in (8, 32, 64, 256, 1024)),
    *(Shape("NT", n, n, n, dtype=F64) for n in (32, 256)),
    *(Shape(t, m, 512, 784, "m") for m in (1, 2, 4, 8, 16) for t in ("NN", "NT")),
    # 784-512-256-10: forward, gradients of weights, gradients of activations.
    *(Shape("NN", m, n, k, "m") for m in (32, 64, 96, 128, 256)
      for k, n in ((784, 512), (512, 256), (256, 10))),
    *(Shape("TN", m, n, k, "k", True) for k in (64, 256)
      for m, n in ((784, 512), (512, 256), (256, 10))),
    *(Shape("NT", m, n, k, "m") for m in (64, 256) for k, n in ((256, 512), (10, 256))),
    # 2-32-32-1 at batches of 1 and 8.
    *(shape for m in (1, 8) for shape in (
        Shape("NN", m, 32, 2, "m"), Shape("NN", m, 32, 32, "m"), Shape("NN", m, 1, 32, "m"),
        Shape("TN", 32, 1, m, "k", True), Shape("NT", m, 32, 1, "m"),
        Shape("TN", 32, 32, m, "k", True), Shape("NT", m, 32, 32, "m"),
        Shape("TN", 2, 32, m, "k", True))),
]  # fmt: skip


def host_machine() -> Machine:
    """Return the class of the processor this runs on."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return AVX512
    return AVX2 if features.get("avx2") and features.get("fma") else BASELINE


def blas_address(dtype: LType) -> int:
    """Return the address of numpy's own CBLAS matrix product (64-bit integers)."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    library = ctypes.CDLL(str(next(folder.glob("libscipy_openblas64_*"))))
    name = f"scipy_cblas_{'s' if dtype == F32 else 'd'}gemm64_"
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def strides(shape: Shape) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return the element strides of A, B and C."""
    a = (shape.k, 1) if shape.layout[0] == "N" else (1, shape.m)
    b = (shape.n, 1) if shape.layout[1] == "N" else (1, shape.k)
    return a, b, (shape.n, 1)


def spec_of(shape: Shape) -> Contraction:
    """Return the spec: `run_time` names the extents not known when compiling."""
    a, b, c = strides(shape)
    m, n, k = (None if x in shape.run_time else e for x, e in zip("mnk", shape[1:4], strict=True))
    return Contraction(shape.dtype, m, n, k, a, b, c, shape.accumulate)


def emit_repeat(module: Module, function: str) -> None:
    """Define `ours(count, A, B, C, m, n, k, am, ak, bk, bn, cm, cn, workspace)`."""
    types = [PTR] * 3 + [I64] * 9 + [PTR]
    arguments = [(I64, "count"), *((t, f"p{i}") for i, t in enumerate(types))]
    b, values = module.function("ours", VOID, arguments, internal=False)

    def turn(_i: Value, _c: list[Value]) -> None:
        b.call(function, VOID, values[1:])

    b.loop(0, values[0], 1, [], turn)
    b.ret()
    b.close()


def emit_blas(module: Module, dtype: LType) -> None:
    """Define `blas(count, gemm, A, B, C, m, n, k, ta, tb, lda, ldb, ldc, beta)`."""
    names = ["m", "n", "k", "ta", "tb", "lda", "ldb", "ldc"]
    arguments = [(I64, "count"), *((PTR, p) for p in ("gemm", "A", "B", "C")),
                 *((I64, n) for n in names), (dtype, "beta")]  # fmt: skip
    b, v = module.function("blas", VOID, arguments, internal=False)
    count, gemm, a, b_matrix, c, m, n, k, ta, tb, lda, ldb, ldc, beta = v
    ta, tb = b.cast("trunc", ta, I32), b.cast("trunc", tb, I32)
    row_major = b.const(I32, 101)

    def turn(_i: Value, _c: list[Value]) -> None:
        b.call_pointer(gemm, VOID, [
            row_major, ta, tb, m, n, k, b.const(dtype, 1.0), a, lda, b_matrix, ldb, beta, c, ldc,
        ])  # fmt: skip

    b.loop(0, count, 1, [], turn)
    b.ret()
    b.close()


def timed(call: Callable[[int], None], count: int) -> float:
    """Return seconds per repetition."""
    start = time.perf_counter()
    call(count)
    return (time.perf_counter() - start) / count


class Result(NamedTuple):
    """What one shape measured."""

    ours: float
    ratio: float
    compile_ms: float


def measure(shape: Shape, machine: Machine) -> Result:
    """Compile one shape, check it once against numpy, time it against OpenBLAS."""
    spec = spec_of(shape)
    module = Module()
    function = emit_contraction(module, machine, spec)
    alone = module.text().replace("define internal void @contraction", "define void @contraction")
    _, _, compile_ms = load(alone)
    emit_repeat(module, function)
    emit_blas(module, shape.dtype)
    address, keep, _ = load(module.text())
    kind = np.float32 if shape.dtype == F32 else np.float64
    rng = np.random.default_rng(0)
    a = aligned(rng.standard_normal((shape.m, shape.k)).astype(kind), shape.layout[0] == "T")
    b = aligned(rng.standard_normal((shape.k, shape.n)).astype(kind), shape.layout[1] == "T")
    c = aligned(np.zeros((shape.m, shape.n), kind), False)
    scratch = aligned(np.zeros((workspace_bytes(machine, spec) // 4 + 16, 1), np.float32), False)
    (am, ak), (bk, bn), (cm, cn) = strides(shape)
    numbers = [shape.m, shape.n, shape.k, am, ak, bk, bn, cm, cn]
    pointers = [x.ctypes.data for x in (a, b, c)]
    ours = ctypes.CFUNCTYPE(
        None, ctypes.c_int64, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 9, ctypes.c_void_p
    )(address("ours"))
    real = ctypes.c_float if shape.dtype == F32 else ctypes.c_double
    blas = ctypes.CFUNCTYPE(
        None, ctypes.c_int64, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 8, real
    )(address("blas"))
    blas_numbers = [shape.m, shape.n, shape.k,
                    111 + (shape.layout[0] == "T"), 111 + (shape.layout[1] == "T"),
                    max(am, ak), max(bk, bn), cm]  # fmt: skip

    def run_ours(count: int) -> None:
        ours(count, *pointers, *numbers, scratch.ctypes.data)

    def run_blas(count: int) -> None:
        blas(count, blas_address(shape.dtype), *pointers, *blas_numbers, float(shape.accumulate))

    run_ours(1)
    assert np.allclose(c, a @ b, rtol=1e-3, atol=1e-2 if kind == np.float32 else 1e-9), shape
    count = max(1, int(ROUND_SECONDS / timed(run_ours, 3)))
    pairs = [(timed(run_ours, count), timed(run_blas, count)) for _ in range(ROUNDS)]
    del keep
    return Result(
        statistics.median(p[0] for p in pairs), statistics.median(p[1] / p[0] for p in pairs),
        compile_ms,
    )  # fmt: skip


def aligned(values: np.ndarray[Any, Any], transposed: bool) -> np.ndarray[Any, Any]:
    """Return a copy at a multiple of 64 bytes, its columns adjacent if `transposed`."""
    raw = np.zeros(values.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    flat = raw[start : start + values.nbytes].view(values.dtype)
    shape = values.shape[::-1] if transposed else values.shape
    view: np.ndarray[Any, Any] = flat.reshape(shape)
    view = view.T if transposed else view
    view[...] = values
    return view


def load(text: str) -> tuple[Callable[[str], int], object, float]:
    """Compile IR; return the look-up of addresses, what keeps the code alive, and milliseconds."""
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2,
        codemodel="small", reloc="pic", jit=True,
    )  # fmt: skip
    start = time.perf_counter()
    parsed = llvm.parse_assembly(text)
    engine = llvm.create_mcjit_compiler(parsed, target)
    engine.finalize_object()
    elapsed = (time.perf_counter() - start) * 1e3
    return lambda name: int(engine.get_function_address(name)), (engine, target), elapsed


def bias_relu(
    b: Builder, extra: Sequence[Value], acc: Value, _row: Value, column: Value, mask: Value | None
) -> Value:
    """Add a bias and clamp below at zero: the forward layers' epilogue."""
    place = b.offset(extra[0], b.mul(column, acc.type.bits // 8))
    bias = b.load(acc.type, place) if mask is None else b.masked_load(acc.type, place, mask)
    total, zero = b.fadd(acc, bias), b.zero(acc.type)
    return b.select(b.fcmp("olt", total, zero), zero, total)


def where_positive(
    b: Builder, extra: Sequence[Value], acc: Value, row: Value, column: Value, mask: Value | None
) -> Value:
    """Keep what flows to positive activations: the backward layers' epilogue."""
    at = b.mul(b.add(b.mul(row, extra[1]), column), acc.type.bits // 8)
    place = b.offset(extra[0], at)
    old = b.load(acc.type, place) if mask is None else b.masked_load(acc.type, place, mask)
    zero = b.zero(acc.type)
    return b.select(b.fcmp("ogt", old, zero), acc, zero)


def network(machine: Machine, widths: Sequence[int]) -> tuple[float, float, int]:
    """Emit and compile all contractions of a dense network, forward and backward.

    Returns milliseconds of emission, milliseconds in LLVM, and lines of IR.
    """
    start = time.perf_counter()
    module = Module()
    forward = Epilogue("bias_relu", ((PTR, "bias"),), bias_relu)
    backward = Epilogue("where_positive", ((PTR, "x"), (I64, "x_row")), where_positive)
    for i, (k, n) in enumerate(itertools.pairwise(widths)):
        for spec, epilogue in (
            (Contraction(F32, None, n, k, (k, 1), (n, 1), (n, 1), False), forward),
            (Contraction(F32, k, n, None, (1, k), (n, 1), (n, 1), True), None),
            (Contraction(F32, None, k, n, (n, 1), (1, n), (k, 1), False), backward),
        ):
            if i or epilogue is not backward:
                emit_contraction(module, machine, spec, epilogue)
    text = module.text().replace("define internal void @contraction", "define void @contraction")
    emission = (time.perf_counter() - start) * 1e3
    return emission, load(text)[2], text.count("\n")


def main() -> None:
    """Print the table."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = host_machine()
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    if len(sys.argv) > 2:
        machine = {m.name: m for m in (AVX512, AVX2, BASELINE)}[sys.argv[2]]
    print(f"{'shape':34} {'ns':>10} {'GFLOP/s':>8} {'x BLAS':>7} {'LLVM ms':>8}")
    for shape in SHAPES:
        flags = " acc" if shape.accumulate else ""
        flags += f" open {shape.run_time}" if shape.run_time else ""
        name = f"{shape.layout} {shape.m}x{shape.n}x{shape.k} {shape.dtype.mangled}{flags}"
        if wanted in name:
            result = measure(shape, machine)
            flops = 2 * shape.m * shape.n * shape.k / result.ours / 1e9
            print(f"{name:34} {result.ours * 1e9:10.1f} {flops:8.1f} {result.ratio:7.2f} "
                  f"{result.compile_ms:8.1f}", flush=True)  # fmt: skip
    for widths in ((784, 512, 256, 10), (784, 128, 10), (2, 32, 32, 1)):
        emission, compilation, lines = min(network(machine, widths) for _ in range(3))
        print(f"{'-'.join(map(str, widths))}: {lines} lines of IR written in {emission:.1f} ms, "
              f"compiled in {compilation:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
