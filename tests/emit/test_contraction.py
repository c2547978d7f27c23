"""Contractions and transposes against NumPy, on memory whose ends are guarded by the processor."""

from __future__ import annotations

import ctypes
import itertools
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from chainrule.emit.builder import F32, F64, I32, I64, PTR, Builder, LType, Module, Value
from chainrule.emit.contraction import (
    Contraction,
    Epilogue,
    emit_contraction,
    emit_transpose,
    workspace_bytes,
)
from chainrule.emit.machine import AVX2, AVX512, BASELINE, NEON, Machine
from chainrule.link.libraries import load

NUMPY = {F32: np.float32, F64: np.float64, I32: np.int32, I64: np.int64}
PAGE = mmap.PAGESIZE
ARENA_BYTES = 144 * PAGE
_LIBC = ctypes.CDLL(None, use_errno=True)
_LOADED: list[Any] = []  # machine code lives as long as this


def host_has(feature: str) -> bool:
    """Tell whether the processor running the tests has a feature."""
    return bool(llvm.get_host_cpu_features().get(feature, False))


def runs_here(machine: Machine) -> bool:
    """Tell whether code written for `machine` runs on this processor."""
    if machine.masks:
        return host_has("avx512f") and host_has("avx512vl") and host_has("avx512dq")
    return not machine.fma or host_has("fma")


# Code for NEON is generic IR: here it proves the paths of a machine with FMA and no lane masks.
MACHINES = [m for m in (AVX512, AVX2, BASELINE, NEON) if runs_here(m)]


def compiled(module: Module, machine: Machine) -> Callable[[str], int]:
    """Return a function from a name to its address."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu = {"avx2": "haswell", "baseline": ""}.get(machine.name, llvm.get_host_cpu_name())
    features = "" if cpu in ("", "haswell") else llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=2, codemodel="small", reloc="pic", jit=True
    )
    text = module.text().replace("define internal void @contraction", "define void @contraction")
    text = text.replace("define internal void @transpose", "define void @transpose")
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    outside = llvm.Linkage.external
    defined = [f for f in parsed.functions if not f.is_declaration]
    names = tuple(f.name for f in defined if f.linkage == outside)
    loaded = load(bytes(target.emit_object(parsed)), names)
    _LOADED.append(loaded)
    return loaded.addresses.__getitem__


class Arena:
    """Pages between two that fault when touched; arrays are placed flush against either end."""

    def __init__(self, nbytes: int = ARENA_BYTES) -> None:
        self.nbytes = nbytes
        self.map = mmap.mmap(-1, nbytes + 2 * PAGE)
        self.bytes = np.frombuffer(self.map, np.uint8)
        self.base = self.bytes.ctypes.data
        for guard in (self.base, self.base + PAGE + nbytes):
            assert _LIBC.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0) == 0

    def place(
        self, values: np.ndarray[Any, Any], strides: Sequence[int], at_end: bool
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return a strided copy of `values`, and the whole arena as poisoned elements."""
        size = values.itemsize
        whole = self.bytes[PAGE : PAGE + self.nbytes].view(values.dtype)
        whole[:] = np.nan if values.dtype.kind == "f" else 111
        reach = [(n - 1) * s for n, s in zip(values.shape, strides, strict=True) if n > 0]
        low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
        origin = len(whole) - 1 - high if at_end else -low
        if 0 in values.shape:
            origin = 0
        assert origin + low >= 0
        assert origin + high < len(whole)
        view = np.lib.stride_tricks.as_strided(
            whole[origin:], values.shape, [s * size for s in strides]
        )
        view[...] = values
        return view, whole


@pytest.fixture(scope="module")
def arenas() -> list[Arena]:
    """Return one arena for each operand."""
    return [Arena() for _ in range(4)]


def bias_relu(dtype: LType) -> Epilogue:
    """Add bias[column], then clamp below at zero."""

    def apply(
        b: Builder, extra: Sequence[Value], acc: Value, _row: Value, column: Value,
        mask: Value | None,
    ) -> Value:  # fmt: skip
        place = b.offset(extra[0], b.mul(column, dtype.bits // 8))
        bias = b.load(acc.type, place) if mask is None else b.masked_load(acc.type, place, mask)
        zero = b.zero(acc.type)
        if dtype.is_float:
            total = b.fadd(acc, bias)
            return b.select(b.fcmp("olt", total, zero), zero, total)
        return b.smax(b.add(acc, bias), zero)

    return Epilogue("bias_relu", ((PTR, "bias"), (I64, "unused")), apply)


def times_mask(dtype: LType) -> Epilogue:
    """Multiply by an element of a matrix of C's shape."""

    def apply(
        b: Builder, extra: Sequence[Value], acc: Value, row: Value, column: Value,
        mask: Value | None,
    ) -> Value:  # fmt: skip
        at = b.mul(b.add(b.mul(row, extra[1]), column), dtype.bits // 8)
        place = b.offset(extra[0], at)
        other = b.load(acc.type, place) if mask is None else b.masked_load(acc.type, place, mask)
        return b.fmul(acc, other) if dtype.is_float else b.mul(acc, other)

    return Epilogue("times_mask", ((PTR, "mask"), (I64, "mask_row")), apply)


def step_down(dtype: LType) -> Epilogue:
    """Subtract from C itself, whose address and row stride are passed again."""

    def apply(
        b: Builder, extra: Sequence[Value], acc: Value, row: Value, column: Value,
        mask: Value | None,
    ) -> Value:  # fmt: skip
        at = b.mul(b.add(b.mul(row, extra[1]), column), dtype.bits // 8)
        place = b.offset(extra[0], at)
        old = b.load(acc.type, place) if mask is None else b.masked_load(acc.type, place, mask)
        return b.fsub(old, acc) if dtype.is_float else b.sub(old, acc)

    return Epilogue("step_down", ((PTR, "target"), (I64, "target_row")), apply, reads_c=True)


EPILOGUES: dict[str, Callable[[LType], Epilogue]] = {
    "bias_relu": bias_relu, "times_mask": times_mask, "step_down": step_down,
}  # fmt: skip


class Case:
    """A spec to compile, and the sizes and strides to run it with."""

    def __init__(
        self, spec: Contraction, sizes: Sequence[tuple[int, int, int]], epilogue: str = "",
        strides: Callable[[int, int, int], tuple[tuple[int, int], ...]] | None = None,
    ) -> None:  # fmt: skip
        self.spec, self.sizes, self.epilogue, self.strides = spec, sizes, epilogue, strides

    def emit(self, module: Module, machine: Machine) -> str:
        """Emit the function; return its name."""
        made = EPILOGUES[self.epilogue](self.spec.dtype) if self.epilogue else None
        return emit_contraction(module, machine, self.spec, made)


def random_values(
    rng: np.random.Generator, dtype: LType, shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    """Return test data: small integers for the integer types."""
    if dtype.is_float:
        return rng.standard_normal(shape).astype(NUMPY[dtype])
    return rng.integers(-50, 50, shape).astype(NUMPY[dtype])


def run(
    arenas: list[Arena], rng: np.random.Generator, machine: Machine, address: int, case: Case,
    size: tuple[int, int, int],
) -> None:  # fmt: skip
    """Run one case once and compare with NumPy, surroundings included."""
    spec, (m, n, k) = case.spec, size
    assert case.strides is not None
    at_end = bool(rng.integers(2))
    given = case.strides(m, n, k)
    values = [random_values(rng, spec.dtype, s) for s in ((m, k), (k, n), (m, n))]
    placed = [arena.place(v, s, at_end) for arena, v, s in zip(arenas, values, given, strict=False)]
    (a, _), (b, _), (c, c_whole) = placed
    before = c_whole.copy()
    expected = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    if not spec.dtype.is_float:
        expected = a.astype(np.int64) @ b.astype(np.int64)
    # Where the spec leaves it open, an argument tells whether to add.
    adding = bool(rng.integers(2)) if spec.accumulate is None else spec.accumulate
    if adding:
        expected = expected + c
        scale = scale + np.abs(c)
    extra: list[Any] = []
    if case.epilogue == "bias_relu":
        bias = random_values(rng, spec.dtype, (1, n))
        view, _ = arenas[3].place(bias, (n, 1), at_end=True)
        expected, scale = np.maximum(expected + bias, 0), scale + np.abs(bias)
        extra = [ctypes.c_void_p(view.ctypes.data), ctypes.c_int64(0)]
    elif case.epilogue == "times_mask":
        factor = random_values(rng, spec.dtype, (m, n))
        view, _ = arenas[3].place(factor, (n, 1), at_end=True)
        expected, scale = expected * factor, scale * np.abs(factor)
        extra = [ctypes.c_void_p(view.ctypes.data), ctypes.c_int64(n)]
    elif case.epilogue == "step_down":
        assert spec.accumulate is False
        expected, scale = c - expected, scale + np.abs(c)
        extra = [ctypes.c_void_p(c.ctypes.data), ctypes.c_int64(given[2][0])]
    if spec.accumulate is None:
        extra.insert(0, ctypes.c_int64(adding))
    nbytes = workspace_bytes(machine, spec)
    scratch = np.full(nbytes + 192, 0xAB, np.uint8)
    start = -scratch.ctypes.data % 64 + 64
    wrong = 987654321  # a known number must not be read from the arguments
    known = [spec.m, spec.n, spec.k, *spec.a, *spec.b, *spec.c]
    numbers = [m, n, k, *itertools.chain(*given)]
    passed = [x if known_x is None else wrong for x, known_x in zip(numbers, known, strict=True)]
    prototype = ctypes.CFUNCTYPE(
        None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 9, ctypes.c_void_p,
        *[type(x) for x in extra],
    )  # fmt: skip
    prototype(address)(
        a.ctypes.data, b.ctypes.data, c.ctypes.data, *passed,
        scratch.ctypes.data + start if nbytes else None, *extra,
    )  # fmt: skip
    what = f"{spec} m={m} n={n} k={k} strides={given} epilogue={case.epilogue!r}"
    if spec.dtype.is_float:
        epsilon = 2.0 ** -{32: 23, 64: 52}[spec.dtype.bits]
        tolerance = 4 * (k + 4) * epsilon * (scale + 1e-30)
        assert (np.abs(c - expected) <= tolerance).all(), what
    else:
        assert np.array_equal(c, expected.astype(NUMPY[spec.dtype])), what
    after = c_whole.copy()
    inside = np.zeros(len(c_whole), bool)
    origin = (c.ctypes.data - c_whole.ctypes.data) // c.itemsize
    rows, columns = np.ogrid[:m, :n]
    inside[(origin + rows * given[2][0] + columns * given[2][1]).ravel()] = True
    outside = ~inside
    size_bits = f"u{c.itemsize}"
    assert np.array_equal(after.view(size_bits)[outside], before.view(size_bits)[outside]), what
    assert (scratch[:start] == 0xAB).all(), what
    assert (scratch[start + nbytes :] == 0xAB).all(), what


def run_cases(arenas: list[Arena], machine: Machine, cases: Sequence[Case], seed: int = 0) -> None:
    """Compile all cases as one module, then run each over its sizes."""
    module = Module()
    names = [case.emit(module, machine) for case in cases]
    address = compiled(module, machine)
    rng = np.random.default_rng(seed)
    for case, name in zip(cases, names, strict=True):
        for size in case.sizes:
            run(arenas, rng, machine, address(name), case, size)


def layout(name: str, pad: int = 0) -> Callable[[int, int, int], tuple[tuple[int, int], ...]]:
    """Return the strides of a layout: two letters, N (natural) or T (transposed), for A and B."""

    def strides(m: int, n: int, k: int) -> tuple[tuple[int, int], ...]:
        a = (k + pad, 1) if name[0] == "N" else (1, m + pad)
        b = (n + pad, 1) if name[1] == "N" else (1, k + pad)
        c = (n + pad, 1) if len(name) < 3 else (1, m + pad)
        return a, b, c

    return strides


def spec_for(
    dtype: LType, size: tuple[int, int, int], name: str, pad: int, run_time: str,
    accumulate: bool | None = False, strict: bool = False,
) -> Contraction:  # fmt: skip
    """Return the spec of a layout; `run_time` has the letters of what is left open.

    These are m, n, k, s for strides other than 1, S for all strides.
    """

    def opened(pair: tuple[int, int]) -> tuple[int | None, int | None]:
        first, second = (
            None if "S" in run_time or ("s" in run_time and s != 1) else s for s in pair
        )
        return first, second

    # A stride that depends on an open extent is open too.
    m, n, k = (None if x in run_time else e for x, e in zip("mnk", size, strict=True))
    a, b, c = map(opened, layout(name, pad)(*size))
    if "k" in run_time:
        a = (None, a[1]) if name[0] == "N" else a
        b = (b[0], None) if name[1] == "T" else b
    if "m" in run_time:
        a = (a[0], None) if name[0] == "T" else a
        c = (c[0], None) if len(name) == 3 else c
    if "n" in run_time:
        b = (None, b[1]) if name[1] == "N" else b
        c = (None, c[1]) if len(name) == 2 else c
    return Contraction(dtype, m, n, k, a, b, c, accumulate, strict)


EDGES = (1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 31, 32, 33, 47, 67)


@pytest.mark.share(16)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [F32, F64, I32, I64], ids=lambda t: t.mangled)
def test_run_time_extents_over_a_grid(arenas: list[Arena], machine: Machine, dtype: LType) -> None:
    rng = np.random.default_rng(7)
    cases = []
    for name, accumulate, epilogue in itertools.product(
        ("NN", "TN", "NT", "TT", "NNT"), (False, True, None), ("", "bias_relu", "times_mask")
    ):
        sizes = [(int(a), int(b), int(c)) for a, b, c in rng.choice((0, *EDGES), (14, 3))]
        spec = spec_for(dtype, (2, 2, 2), name, 0, "mnk", accumulate)
        cases.append(Case(spec, sizes, epilogue, layout(name, 3)))
        opened = spec_for(dtype, (2, 2, 2), name, 0, "mnkS", accumulate)
        cases.append(Case(opened, sizes[:5], epilogue, layout(name, 2)))
    for case in cases:
        open_row = case.spec.a, case.spec.b, case.spec.c
        assert any(None in pair for pair in open_row)
    run_cases(arenas, machine, cases)


@pytest.mark.share(9)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [F32, F64, I32], ids=lambda t: t.mangled)
def test_static_extents(arenas: list[Arena], machine: Machine, dtype: LType) -> None:
    rng = np.random.default_rng(11)
    cases = []
    special = [(1, 32, 32), (8, 32, 2), (8, 1, 32), (1, 1, 1), (32, 1, 8), (5, 2, 40), (0, 3, 3),
               (3, 0, 3), (3, 3, 0), (64, 10, 33), (2, 64, 65), (3, 40, 1), (7, 3, 16)]  # fmt: skip
    for i, size in enumerate([*special, *map(tuple, rng.choice(EDGES, (20, 3)).tolist())]):
        for name in ("NN", "TN", "NT", "TT", "NNT"):
            run_time = ("", "m", "s")[i % 3]
            accumulate = (False, True, None)[rng.integers(3)]
            strict = bool(rng.integers(4) == 0)
            epilogue = str(rng.choice(["", "", "bias_relu", "times_mask"]))
            spec = spec_for(dtype, size, name, i % 4, run_time, accumulate, strict)
            cases.append(Case(spec, [size], epilogue, layout(name, i % 4)))
    run_cases(arenas, machine, cases)


@pytest.mark.share(8)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_long_sums_are_split(arenas: list[Arena], machine: Machine) -> None:
    cases = []
    for name, accumulate, strict, epilogue in itertools.product(
        ("NN", "TN", "NT"), (False, True, None), (False, True), ("", "bias_relu", "step_down")
    ):
        size = (9, 37, 1100)
        for run_time in ("", "k"):
            if accumulate is not False and epilogue == "step_down":
                continue
            spec = spec_for(F32, size, name, 0, run_time, accumulate, strict)
            cases.append(Case(spec, [size], epilogue, layout(name, 0)))
    run_cases(arenas, machine, cases)


@pytest.mark.share(8)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_operands_far_apart_are_copied(arenas: list[Arena], machine: Machine) -> None:
    cases = []
    for name, accumulate, run_time, epilogue in itertools.product(
        ("NN", "TN", "NT"), (False, True), ("", "m", "mnk", "mnkS"), ("", "bias_relu", "step_down")
    ):
        if accumulate is False or epilogue != "step_down":
            size, pad = (69, 139, 23), 1000
            spec = spec_for(F32, size, name, pad, run_time, accumulate)
            cases.append(Case(spec, [size], epilogue, layout(name, pad)))
    run_cases(arenas, machine, cases)


@pytest.mark.share(9)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_long_sums_of_operands_far_apart(machine: Machine) -> None:
    arenas = [Arena(900 * PAGE) for _ in range(4)]
    cases = []
    for name, strict, run_time, epilogue in itertools.product(
        ("NN", "TN", "NT"), (False, True), ("", "k"), ("", "bias_relu", "step_down")
    ):
        size, pad = (66, 135, 600), 820
        spec = spec_for(F32, size, name, pad, run_time, strict=strict)
        cases.append(Case(spec, [size], epilogue, layout(name, pad)))
    run_cases(arenas, machine, cases)


@pytest.mark.share(9)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [F32, F64, I32], ids=lambda t: t.mangled)
def test_one_wide_row(arenas: list[Arena], machine: Machine, dtype: LType) -> None:
    cases = []
    for name, accumulate, run_time, epilogue in itertools.product(
        ("NN", "TN", "NT"), (False, True, None), ("", "m", "mnk"), ("", "bias_relu", "step_down")
    ):
        if accumulate is False or epilogue != "step_down":
            for size in ((1, 139, 23), (1, 128, 0), (1, 160, 4)):
                spec = spec_for(dtype, size, name, 0, run_time, accumulate)
                cases.append(Case(spec, [size], epilogue, layout(name)))
    run_cases(arenas, machine, cases)


@pytest.mark.share(8)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [F32, F64, I64], ids=lambda t: t.mangled)
def test_random_strides(arenas: list[Arena], machine: Machine, dtype: LType) -> None:
    rng = np.random.default_rng(13)
    cases = []
    for _ in range(60):
        m, n, k = (int(x) for x in rng.choice(EDGES[:13], 3))
        gap = int(rng.integers(1, 4))
        pairs = [
            (1, m * gap + 1), (k + 2, 1), (-(k + 1), 1), (1, -(m + 1)), (0, 1), (1, 0), (0, 0),
            (2 * k, 2), (3, 3 * m), (-k, -1), (-1, -m),
        ]  # fmt: skip
        a = pairs[rng.integers(len(pairs))]
        pairs = [
            (1, k * gap + 1), (n + 2, 1), (-(n + 1), 1), (1, -(k + 1)), (0, 1), (1, 0), (0, 0),
            (2 * n, 2), (3, 3 * k), (-n, -1), (-1, -k),
        ]  # fmt: skip
        b = pairs[rng.integers(len(pairs))]
        pairs = [
            (n, 1), (n + 5, 1), (-n - 1, 1), (1, m), (1, -m - 2), (2 * n, 2), (-n, -1), (3, 3 * m),
        ]  # fmt: skip
        c = pairs[rng.integers(len(pairs))]
        open_ = rng.integers(0, 2, 9) * rng.integers(0, 2)
        dims = [None if o else e for o, e in zip(open_[:3], (m, n, k), strict=True)]
        strides = [None if o else s for o, s in zip(open_[3:], (*a, *b, *c), strict=True)]
        spec = Contraction(
            dtype, dims[0], dims[1], dims[2], (strides[0], strides[1]), (strides[2], strides[3]),
            (strides[4], strides[5]), bool(rng.integers(2)), bool(rng.integers(3) == 0),
        )  # fmt: skip
        epilogue = str(rng.choice(["", "bias_relu", "times_mask"]))
        cases.append(Case(spec, [(m, n, k)], epilogue, lambda *_, s=(a, b, c): s))
    run_cases(arenas, machine, cases)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [F32, F64], ids=lambda t: t.mangled)
@pytest.mark.parametrize("name", ["NN", "TN", "NT", "TT"])
def test_strict_rows_do_not_depend_on_the_number_of_rows(
    machine: Machine, dtype: LType, name: str
) -> None:
    n, k, rows = 45, 1037, 21
    rng = np.random.default_rng(17)
    spec = Contraction(
        dtype, None, n, None,
        (None, 1) if name[0] == "N" else (1, None), (n, 1) if name[1] == "N" else (1, None),
        (n, 1), accumulate=False, strict=True,
    )  # fmt: skip
    module = Module()
    function = emit_contraction(module, machine, spec)
    prototype = ctypes.CFUNCTYPE(
        None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 9, ctypes.c_void_p
    )
    call = prototype(compiled(module, machine)(function))
    scratch = np.zeros(workspace_bytes(machine, spec) + 64, np.uint8)
    aligned = scratch.ctypes.data + -scratch.ctypes.data % 64
    a = random_values(rng, dtype, (rows, k))
    b = random_values(rng, dtype, (k, n))
    stored_b = b if name[1] == "N" else np.ascontiguousarray(b.T)

    def product(m: int) -> np.ndarray[Any, Any]:
        stored_a = np.ascontiguousarray(a[:m] if name[0] == "N" else a[:m].T)
        c = np.zeros((m, n), NUMPY[dtype])
        strides = (k, 1) if name[0] == "N" else (1, m)
        call(stored_a.ctypes.data, stored_b.ctypes.data, c.ctypes.data, m, n, k, *strides,
             *((n, 1) if name[1] == "N" else (1, k)), n, 1, aligned)  # fmt: skip
        return c

    whole = product(rows)
    assert np.allclose(whole, a @ b, rtol=1e-3, atol=1e-3)
    for m in range(1, rows):
        assert np.array_equal(product(m), whole[:m]), f"{m} rows"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_infinities_and_nans_reach_every_sum_they_are_part_of(machine: Machine) -> None:
    m, n, k = 11, 37, 9
    a, b = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
    a[3, 2], b[4, 35] = np.inf, np.nan
    spec = Contraction(F32, m, n, k, (k, 1), (n, 1), (n, 1), accumulate=False)
    module = Module()
    function = emit_contraction(module, machine, spec)
    prototype = ctypes.CFUNCTYPE(
        None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 9, ctypes.c_void_p
    )
    c = np.zeros((m, n), np.float32)
    prototype(compiled(module, machine)(function))(
        a.ctypes.data, b.ctypes.data, c.ctypes.data, *[0] * 9, None
    )
    expected = np.zeros((m, n), bool)
    expected[3, :] = expected[:, 35] = True
    assert np.array_equal(np.isnan(c), expected)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("k", [0, None])
def test_an_empty_sum_is_zero_and_adding_it_changes_no_bit(accumulate: bool, k: int | None) -> None:
    module = Module()
    spec = Contraction(F32, 3, 3, k, (1, 1), (3, 1), (3, 1), accumulate)
    function = emit_contraction(module, BASELINE, spec)
    prototype = ctypes.CFUNCTYPE(
        None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 9, ctypes.c_void_p
    )
    c = np.full((3, 3), -0.0, np.float32)
    prototype(compiled(module, BASELINE)(function))(None, None, c.ctypes.data, *[0] * 9, None)
    assert (np.signbit(c) == accumulate).all()


def test_equal_specs_share_one_function() -> None:
    module = Module()
    spec = Contraction(F32, None, 32, 32, (32, 1), (32, 1), (32, 1), accumulate=False)
    assert emit_contraction(module, AVX512, spec) == emit_contraction(module, AVX512, spec)
    assert module.text().count("define ") == 2


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("element_bytes", [1, 4, 8])
def test_transpose(arenas: list[Arena], machine: Machine, element_bytes: int) -> None:
    module = Module()
    function = emit_transpose(module, machine, element_bytes)
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4)
    call = prototype(compiled(module, machine)(function))
    rng = np.random.default_rng(19)
    extents = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64)
    for rows, columns in itertools.product(extents, extents):
        # Random bits are NaNs too: a transpose keeps them.
        source = rng.integers(0, 256, (rows, columns, element_bytes), np.uint8)
        source_element = source.view(f"u{element_bytes}")[..., 0]
        at_end = bool(rng.integers(2))
        gaps = rng.integers(0, 4, 2).tolist()
        a, _ = arenas[0].place(source_element, (columns + gaps[0], 1), at_end)
        blank = np.zeros((columns, rows), source_element.dtype)
        c, whole = arenas[1].place(blank, (rows + gaps[1], 1), at_end)
        expected = whole.copy()
        origin = (c.ctypes.data - whole.ctypes.data) // element_bytes
        place = np.arange(columns)[:, None] * (rows + gaps[1]) + np.arange(rows)[None, :]
        expected[(origin + place).ravel()] = source_element.T.ravel()
        call(a.ctypes.data, c.ctypes.data, rows, columns, columns + gaps[0], rows + gaps[1])
        assert np.array_equal(whole, expected), f"{rows} x {columns}"
