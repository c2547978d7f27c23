"""Every op on arrays of 16 bits: float32 arithmetic, rounded once at its result."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, program_of, targets
from tests.ops.samples import ALL, Sample, array_for, call, samples

from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.halves import moves
from chainrule.ir.op import Kind, Op
from chainrule.ir.types import F32, HALVES, Array, DType, Type
from chainrule.numerics import numerics_called
from chainrule.ops import OPS
from chainrule.optimize import widen

pytest.importorskip("ml_dtypes")

NUMERICS = ("fast", "strict", "reproducible")
WRITTEN_OUT = 4
"Units in the last place of float32 that functions written out may be off, before rounding to 16."


def halved(op: Op, half: DType) -> list[Sample]:
    """Return the op's calls on float32 with 16-bit arguments in place of these."""
    return [
        Sample(
            tuple(Type(half if t.dtype is F32 else t.dtype, t.shape) for t in s.types), s.attributes
        )
        for s in samples(op, F32)
        if any(t.dtype is F32 for t in s.types)
    ]


FLOATS = [op for op in ALL if halved(op, F32)]
"The ops that floats have."


def program(op: Op, half: DType) -> tuple[Any, list[list[Array]], list[Sample]]:
    graph, random = Graph(OPS), np.random.default_rng(len(op.name))
    inputs: list[Node] = []
    outputs, groups = [], []
    cases = halved(op, half)
    for sample in cases:
        own = [graph.input(f"x{len(inputs) + i}", t) for i, t in enumerate(sample.types)]
        outputs.append(call(op, own, sample))
        groups.append([array_for(op, i, t, random) for i, t in enumerate(sample.types)])
        inputs += own
    return program_of(inputs, outputs), groups, cases


def single(array: Array) -> Array:
    """Return float32 in place of 16 bits."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def by_hand(op: Op, arrays: Sequence[Array], sample: Sample, result: Node) -> Array:
    """Compute with NumPy in float32 and round; move bits where nothing is computed."""
    with np.errstate(all="ignore"):
        if moves(result) and op.name != "cast":
            bits = [a.view(np.uint16) if a.dtype.itemsize == 2 else a for a in arrays]
            return np.asarray(op.value(*bits, **sample.attributes)).view(result.dtype.numpy)
        value = np.asarray(op.value(*map(single, arrays), **sample.attributes))
        return value.astype(result.dtype.numpy)


def same_float(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(single(found), single(expected))
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("half", HALVES, ids=repr)
@pytest.mark.parametrize("op", FLOATS, ids=repr)
def test_evaluator_rounds_float32_arithmetic(op: Op, half: DType) -> None:
    made, groups, cases = program(op, half)
    found = evaluate(made, *itertools.chain(*groups))
    for node, sample, arrays, value in zip(made.outputs, cases, groups, found, strict=True):
        same_float(value, by_hand(op, arrays, sample, node))


@pytest.mark.share(16)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
@pytest.mark.parametrize("op", FLOATS, ids=repr)
def test_compiled_ops(op: Op, half: DType, target: str) -> None:
    """Where float32 arithmetic is off by its last places, so is the rounding, by one place."""
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    made, groups, _ = program(op, half)
    arrays = list(itertools.chain(*groups))
    expected = evaluate(made, *arrays)
    for numerics in NUMERICS if target == "host" else ("fast",):
        found = Compiled(made, target=target, numerics=numerics)(*arrays)
        for node, one, other in zip(made.outputs, found, expected, strict=True):
            if moves(node) or not node.dtype.is_half:
                assert_moved(op, one, other)
            else:
                assert_one_place(one, other, half, f"{op.name}, {numerics}")


def assert_moved(op: Op, found: Array, expected: Array) -> None:
    assert found.dtype == expected.dtype, op.name
    np.testing.assert_array_equal(single(found), single(expected), op.name)


def assert_one_place(found: Array, expected: Array, half: DType, what: str) -> None:
    assert found.dtype == expected.dtype == half.numpy
    digits = 11 if half.name == "f16" else 8
    tiny = 2.0**-24 if half.name == "f16" else 2.0**-133
    a, b = (x.astype(np.float64) for x in (found, expected))
    with np.errstate(all="ignore"):
        allowed = np.maximum(np.abs(b) * 2.0 ** (1 - digits), tiny)
        good = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= allowed)
    assert good.all(), f"{what}: {found[~good]} is not {expected[~good]}"


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, np.inf, -np.inf, np.nan, 6e-8, 1e-7, 6e4, 1e-40, 3e38]
EXACT = ("add", "sub", "mul", "div", "sqrt", "neg", "abs", "maximum", "minimum", "relu", "rint",
         "floor", "ceil", "trunc", "sign", "less", "equal", "not_equal", "select")  # fmt: skip


@pytest.mark.parametrize("half", HALVES, ids=repr)
@pytest.mark.parametrize("name", EXACT)
def test_special_floats(name: str, half: DType) -> None:
    """What float32 computes exactly or rounds correctly is IEEE arithmetic of 16 bits."""
    with np.errstate(all="ignore"):
        numbers = np.array(SPECIAL).astype(half.numpy)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(numbers, numbers))
    graph, type_ = Graph(OPS), Type(half, x.shape)
    a, b = graph.input("a", type_), graph.input("b", type_)
    op = OPS[name]
    count = len(samples(op, F32)[0].types)
    given = [a < b, a, b] if name == "select" else [a, b][:count]
    result = graph.apply(op, tuple(given), ())
    made = program_of([a, b], [result])
    (expected,) = evaluate(made, x, y)
    for numerics in NUMERICS:
        (found,) = Compiled(made, numerics=numerics)(x, y)
        same_float(found, expected)


@pytest.mark.parametrize("numerics", NUMERICS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_only_loads_stores_and_conversions_know_16_bits(half: DType, numerics: str) -> None:
    for op in FLOATS:
        made, _, _ = program(op, half)
        for node in widen(made, numerics_called(numerics)).nodes:
            types = [node.dtype, *(x.dtype for x in node.args)]
            assert moves(node) or not any(t.is_half for t in types), f"{op.name}: {node}"


@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_sums_and_products_accumulate_in_float32(half: DType) -> None:
    """A running sum of 16 bits stands still at 2**11 or 2**8."""
    graph, count = Graph(OPS), 5000
    x = graph.input("x", Type(half, (count,)))
    total = graph.call("sum", x, axes=(0,))
    dot = graph.call("contract", x, x, batch=((), ()), summed=((0,), (0,)))
    ones = np.ones(count, half.numpy)
    for numerics in NUMERICS:
        for value in Compiled(program_of([x], [total, dot]), numerics=numerics)(ones):
            assert float(value) == float(np.float32(count).astype(half.numpy))


def test_fast_numerics_round_where_values_are_stored() -> None:
    """2**-14 is lost beside 1 in bfloat16, unless the sum is not rounded before it is used."""
    (half,) = [h for h in HALVES if h.name == "bf16"]
    graph = Graph(OPS)
    x = graph.input("x", Type(half, (40,)))
    again = ((x + 1) - 1) * 1.5
    values = np.full(40, 2.0**-14).astype(half.numpy)
    found = {n: Compiled(program_of([x], [again]), numerics=n)(values)[0] for n in NUMERICS}
    assert (found["strict"].astype(np.float32) == 0).all()
    assert (found["reproducible"].astype(np.float32) == 0).all()
    assert (found["fast"].astype(np.float32) == 1.5 * 2.0**-14).all()


@pytest.mark.parametrize("numerics", NUMERICS)
def test_asked_for_conversions_always_round(numerics: str) -> None:
    (half,) = [h for h in HALVES if h.name == "bf16"]
    graph = Graph(OPS)
    x = graph.input("x", Type(F32, (40,)))
    rounded = graph.call("cast", graph.call("cast", x * 3, dtype=half), dtype=F32)
    values = np.random.default_rng(0).normal(size=40).astype(np.float32)
    (found,) = Compiled(program_of([x], [rounded * 1]), numerics=numerics)(values)
    expected = (values * np.float32(3)).astype(half.numpy).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_kinds_that_move_are_those_without_arithmetic() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F32, (3,)))
    assert moves(graph.call("transpose", x, axes=(0,)))
    assert not moves(x + x)
    assert Kind.SCATTER is OPS["scatter_add"].kind
    assert not moves(graph.apply(OPS["sum"], (x,), ((0,),)))
