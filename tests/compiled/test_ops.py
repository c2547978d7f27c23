"""Every op, compiled: each dtype, static and named extents, special floats, each vector width."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, assert_close, assert_ulps, program_of, targets
from tests.ops.samples import ALL, INDEXED, Sample, array_for, call, samples

from chainrule.ir.dims import named
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Arithmetic, Kind, Op, VectorMath
from chainrule.ir.types import BOOL, DTYPES, F32, F64, I32, I64, Array, DType, Type
from chainrule.ops import OPS

POINTWISE: Final = [op for op in ALL if op.kind is Kind.POINTWISE]
OTHERS: Final = [op for op in ALL if op.kind is not Kind.POINTWISE]
WRITTEN_OUT: Final = {"log1mexp": 4.0, "one_minus_square": 3.0, "rsqrt": 2.0, "xlogy": 4.0,
                      "xlog1py": 4.0, "weighted_exp": 6.0, "entr": 4.0,
                      "rel_entr": 4.0}  # fmt: skip
"Ops of several roundings, and how many units they may be off."
PRODUCTS: Final = ("xlogy", "xlog1py")
NEAR_ZEROS: Final = {"sinc": (2e-6, 1e-14)}
"Ops that cancel where they are 0: by how much they may be off in f32 and f64, times pi**order."
CANCELS: Final = {"logaddexp"}
"Ops whose result may be far smaller than what it is the sum of."
ORACLE_ULPS: Final = 2.0
"How far NumPy's own double precision functions are from the truth."


def budget(op: Op, dtype: DType) -> float:
    """Return by how many units in the last place compiled code may differ."""
    match op.native:
        case VectorMath(_, ulp32, ulp64) if dtype.is_float:
            return ulp32 if dtype is F32 else ulp64 + ORACLE_ULPS
        case Arithmetic("expand"):
            return WRITTEN_OUT[op.name]
    return WRITTEN_OUT.get(op.name, 0.0) if dtype.is_float else 0.0


def wide_oracle(op: Op, arrays: Sequence[Array], sample: Sample) -> Array:
    """Return the op's value, computed in double precision where its budget speaks of the truth."""
    precise = isinstance(op.native, VectorMath) or op.name in (
        "entr", "rel_entr", *PRODUCTS, *NEAR_ZEROS,
    )  # fmt: skip
    if precise and sample.types[0].dtype is F32:
        arrays = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    with np.errstate(all="ignore"):
        return np.asarray(op.value(*arrays, **sample.attributes))


def assert_agrees(op: Op, sample: Sample, arrays: Sequence[Array], got: Array) -> None:
    expected = wide_oracle(op, arrays, sample)
    dtype = next((t.dtype for t in sample.types if t.dtype is not BOOL), BOOL)
    if op.name in NEAR_ZEROS:
        off = NEAR_ZEROS[op.name][dtype is F64] * math.pi ** sample.attributes["order"]
        np.testing.assert_allclose(got, expected, 0, off, err_msg=f"{op.name}: {sample}")
        return
    if op.kind is not Kind.POINTWISE or op.name in CANCELS:
        assert_close([got], [expected], dtype, f"{op.name}: {sample}")
    else:
        assert_ulps(got, expected, budget(op, dtype), f"{op.name}: {sample}", str(arrays)[:2000])


def named_inputs(sample: Sample, at: int, graph: Graph) -> list[Node]:
    return [graph.input(f"x{at + i}", t) for i, t in enumerate(sample.types)]


def resized(sample: Sample, shape: tuple[int, ...]) -> Sample:
    return Sample(tuple(Type(t.dtype, shape) for t in sample.types), sample.attributes)


def run_samples(op: Op, cases: Sequence[Sample], target: str) -> None:
    """Compile all samples as one program, run it, and compare."""
    graph, random = Graph(OPS), np.random.default_rng(len(op.name))
    inputs: list[Node] = []
    outputs, groups = [], []
    for sample in cases:
        own = named_inputs(sample, len(inputs), graph)
        outputs.append(call(op, own, sample))
        groups.append([array_for(op, i, t, random) for i, t in enumerate(sample.types)])
        inputs += own
    got = Compiled(program_of(inputs, outputs), target=target)(*itertools.chain(*groups))
    for sample, arrays, value in zip(cases, groups, got, strict=True):
        assert_agrees(op, sample, arrays, value)


@pytest.mark.share(8)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ALL, ids=repr)
def test_static_extents(op: Op, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    for dtype in DTYPES if target == "host" else (F32, F64, I32):
        cases = samples(op, dtype)
        if cases:
            run_samples(op, cases, target)


def row_counts(dtype: DType, target: str) -> list[int]:
    lanes = targets()[target].machine.lanes(max(dtype.nbytes, 4))
    return sorted({0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2})


@pytest.mark.share(6)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", POINTWISE, ids=repr)
def test_named_extents_of_pointwise_ops(op: Op, target: str) -> None:
    """One compilation serves every number of rows, those that do not fill a vector included."""
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    for dtype in DTYPES if target == "host" else (F32, F64, I64):
        cases = samples(op, dtype, [(2,)])
        if not cases:
            continue
        graph = Graph(OPS)
        named_cases = [
            Sample(tuple(Type(t.dtype, (named("n"),)) for t in s.types), s.attributes)
            for s in cases
        ]  # fmt: skip
        inputs = [graph.input(f"x{i}", t) for i, t in enumerate(named_cases[0].types)]
        outputs = [call(op, inputs, s) for s in named_cases]
        compiled = Compiled(program_of(inputs, outputs), target=target)
        for rows in row_counts(dtype, target):
            random = np.random.default_rng(rows)
            arrays = [
                array_for(op, i, Type(t.dtype, (rows,)), random)
                for i, t in enumerate(cases[0].types)
            ]  # fmt: skip
            for case, value in zip(cases, compiled(*arrays), strict=True):
                assert_agrees(op, case, arrays, value)


def with_named_axis(op: Op, sample: Sample, extent: int) -> Sample | None:
    """Return the sample with every occurrence of one extent named, where that is still legal."""
    n = named("n")

    def renamed(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(n if e == extent else e for e in value)
        return n if value == extent else value

    types = tuple(
        Type(t.dtype, tuple(n if e == extent else e for e in t.shape)) for t in sample.types
    )
    attributes = {
        k: renamed(v) if k in ("shape", "size") else v for k, v in sample.attributes.items()
    }
    if op.name == "reshape":
        # As many elements: one extent that is a multiple of it follows.
        (x,), shape = types, list(sample.attributes["shape"])
        at = next((i for i, e in enumerate(shape) if e % extent == 0), None)
        if at is None or x.shape.count(n) != 1:
            return None
        shape[at] = n * (shape[at] // extent)
        attributes["shape"] = tuple(shape)
    return Sample(types, attributes) if any(n in t.shape for t in types) else None


@pytest.mark.share(10)
@pytest.mark.parametrize("op", OTHERS, ids=repr)
def test_named_extents_of_other_ops(op: Op) -> None:
    """Every dtype that the op takes, each extent of each sample named in turn."""
    for dtype in DTYPES:
        cases = [
            (sample, extent, case)
            for sample in samples(op, dtype)
            for extent in sorted(
                {e for t in sample.types for e in t.shape if isinstance(e, int)} - {0, 1}
            )
            if (case := with_named_axis(op, sample, extent)) is not None
        ]
        assert cases or not samples(op, dtype), f"no case of {op.name} in {dtype}"
        for sample, extent, case in cases:
            inputs = named_inputs(case, 0, Graph(OPS))
            program = program_of(inputs, [call(op, inputs, case)])
            random = np.random.default_rng(extent)
            arrays = [array_for(op, i, t, random) for i, t in enumerate(sample.types)]
            expected = evaluate(program, *arrays)
            assert_close(Compiled(program)(*arrays), expected, dtype, f"{op.name}: {case}")


REDUCTIONS: Final = (
    "sum", "prod", "max", "min", "argmax", "softmax", "logsumexp", "norm", "cumsum",
)  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [F32, F64, I64], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_any_extent(name: str, dtype: DType, target: str) -> None:
    """Rows, columns and everything, at extents around the vector width and 0."""
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    n, m = named("n"), named("m")
    graph = Graph(OPS)
    x = graph.input("x", Type(dtype, (n, m)))
    if not dtype.is_float and name in ("softmax", "logsumexp", "norm"):
        return
    if name == "argmax":
        outputs = [graph.call(name, x, axis=a) for a in (0, 1)]
    elif name == "cumsum":
        outputs = [graph.call(name, x, axis=a, reverse=r) for a in (0, 1) for r in (False, True)]
    else:
        outputs = [graph.call(name, x, axes=axes) for axes in [(0,), (1,), (0, 1)]]
    program = program_of([x], outputs)
    compiled = Compiled(program, target=target)
    counts = row_counts(dtype, target)
    empty = 1 if name in ("max", "min", "argmax", "softmax", "logsumexp") else 0
    for rows, columns in [(a, b) for a in counts for b in counts if min(a, b) >= empty]:
        random = np.random.default_rng([rows, columns])
        array = random.uniform(-2, 2, (rows, columns))
        array = array if dtype.is_float else np.trunc(3 * array)
        array = array.astype(dtype.numpy)
        assert_close(compiled(array), evaluate(program, array), dtype, f"{name} {rows}x{columns}")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_remainder_of_every_conversion(dtype: DType, target: str) -> None:
    """Static extents whose last vector has any number of lanes; widening and narrowing."""
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    graph, random = Graph(OPS), np.random.default_rng(1)
    inputs = [graph.input(f"x{n}", Type(dtype, (n,))) for n in (1, 2, 3, 5, 7, 9, 15, 17, 33)]
    outputs = [graph.call("cast", x, dtype=to) for x in inputs for to in DTYPES if to is not dtype]
    program = program_of(inputs, outputs)
    arrays = [array_for(OPS["cast"], 0, x.type, random) * 3 for x in inputs]
    got = Compiled(program, target=target)(*arrays)
    for value, expected in zip(got, evaluate(program, *arrays), strict=True):
        np.testing.assert_array_equal(value, expected)


SPECIAL: Final = [
    math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-310, 1.4e-45, -1.4e-45, 1e-40,
    1.1754944e-38, 2.2250738585072014e-308, 1.0, -1.0, 0.5, -0.5, 1.5, 2.0, 2.5, -2.5, 3.0, 1e-9,
    3.4028235e38, -3.4028235e38, 1.7976931348623157e308, 88.8, -104.0, 709.9, -745.2, 8388609.0,
    4503599627370497.0, 9007199254740993.0, math.pi, 1e22, 1e10, -1e5,
]  # fmt: skip
# Where NumPy's own answer is not the one compiled code must give, or is not exact enough.
LOOSE: Final = {"sinc", "log1mexp"}


@pytest.mark.share(3)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("op", [op for op in POINTWISE if op.name not in LOOSE], ids=repr)
def test_special_floats(op: Op, dtype: DType, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    with np.errstate(all="ignore"):
        pool = np.array(SPECIAL).astype(dtype.numpy)
    for sample in samples(op, dtype, [(2,)]):
        count = sum(t.dtype is dtype for t in sample.types)
        columns = list(np.meshgrid(*[pool] * min(count, 2), indexing="ij"))
        columns = [c.ravel() for c in columns]
        while len(columns) < count:
            columns.append(np.roll(columns[-1], 7))
        arrays = [
            columns.pop() if t.dtype is dtype else np.arange(len(pool) ** min(count, 2)) % 3 == 0
            for t in sample.types
        ]  # fmt: skip
        if op.name == "cast" and not sample.attributes["dtype"].is_float:
            keep = np.isfinite(arrays[0]) & (np.abs(arrays[0]) < 100) & (arrays[0] >= 0)
            arrays = [arrays[0][keep]]
        sized = resized(sample, arrays[0].shape)
        graph = Graph(OPS)
        inputs = named_inputs(sized, 0, graph)
        (got,) = Compiled(program_of(inputs, [call(op, inputs, sized)]), target=target)(*arrays)
        assert_agrees(op, sized, arrays, got)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_the_sign_of_a_zero_is_a_zero_without_sign(dtype: DType, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    graph = Graph(OPS)
    x = graph.input("x", Type(dtype, (6,)))
    given = np.array([-0.0, 0.0, math.nan, -math.inf, -5e-45, 2.0], dtype.numpy)
    (got,) = Compiled(program_of([x], [graph.call("sign", x)]), target=target)(given)
    np.testing.assert_array_equal(got, np.sign(given))
    np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(np.sign(given[:2])))


@pytest.mark.parametrize("op", [op for op in POINTWISE if op.name not in INDEXED], ids=repr)
def test_extreme_integers(op: Op) -> None:
    for dtype in DTYPES:
        if dtype.is_float:
            continue
        info = None if dtype is BOOL else np.iinfo(dtype.numpy)
        pool = [0, 1] if info is None else [
            0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 65, int(info.max), int(info.max) - 1,
            int(info.min), int(info.min) + 1, *([-1, -2, -7, -33] if dtype.kind == "int" else []),
        ]  # fmt: skip
        for sample in samples(op, dtype, [(2,)]):
            values = np.array(pool).astype(dtype.numpy)
            grids = np.meshgrid(*[values] * len(sample.types), indexing="ij")
            arrays = [
                g.ravel().astype(t.dtype.numpy) for g, t in zip(grids, sample.types, strict=True)
            ]
            sized = resized(sample, arrays[0].shape)
            graph = Graph(OPS)
            inputs = named_inputs(sized, 0, graph)
            (got,) = Compiled(program_of(inputs, [call(op, inputs, sized)]))(*arrays)
            assert_agrees(op, sized, arrays, got)
