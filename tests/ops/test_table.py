"""What must hold of every op: meaning, type, derivative or reason, batching, definition."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ops.samples import (
    ALL,
    BODIES,
    FLOATS,
    INDEXED,
    SOURCES,
    TABLE,
    Sample,
    array_for,
    call,
    inputs_for,
    samples,
)

from chainrule.differentiate.batch import batched
from chainrule.differentiate.forward import push_forward
from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Arithmetic, Kind, Op, Special, VectorMath
from chainrule.ir.program import Program, check
from chainrule.ir.types import DTYPES, F64, Array, Type, dtype_of
from chainrule.ops import OPS
from chainrule.optimize import expand

NO_DERIVATIVE = {
    "floor": "constant between integers", "ceil": "constant between integers",
    "trunc": "constant between integers", "rint": "constant between half-integers",
    "sign": "constant off 0", "floor_divide": "constant between jumps",
    "stop_gradient": "its derivative is 0 by definition",
    "pivoted": "made after differentiation",
}  # fmt: skip


def arrays_for(op: Op, sample: Sample, seed: int = 0) -> list[Array]:
    random = np.random.default_rng([seed, len(op.name)])
    return [array_for(op, i, t, random) for i, t in enumerate(sample.types)]


def run(inputs: list[Node], outputs: list[Node], arrays: list[Array]) -> list[Array]:
    program = Program(
        "f", tuple(inputs), tuple(outputs), tuple(f"x{i}" for i in range(len(inputs))),
        tuple(f"y{i}" for i in range(len(outputs))),
    )  # fmt: skip
    check(program)
    return evaluate(program, *arrays)


@pytest.mark.parametrize("op", OPS.values(), ids=repr)
def test_declaration_is_complete(op: Op) -> None:
    known = op.name in SOURCES | BODIES or any(samples(op, d) for d in DTYPES)
    assert known, "no sample: see tests/ops/samples.py"
    assert isinstance(op.native, Arithmetic | VectorMath | Special)
    written = isinstance(op.native, Arithmetic) and op.native.name == "expand"
    composite = op.kind is Kind.COMPOSITE
    assert (op.expand is not None) == (written or composite), "a definition where it is needed"
    if op.name in SOURCES | BODIES:
        return
    one = samples(op)
    if one and op.infer(*one[0].types, **one[0].attributes).dtype.is_float:
        told = op.slopes is not None or op.pull is not None
        assert told != (op.name in NO_DERIVATIVE), "a derivative, or a reason for having none"
        assert op.kind is Kind.POINTWISE or (told == (op.push is not None) and op.batch is not None)
    else:
        assert op.kind is Kind.POINTWISE or op.batch is not None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("op", ALL, ids=repr)
def test_value_has_the_inferred_type(op: Op, dtype: Any) -> None:
    for sample in samples(op, dtype):
        inferred = op.infer(*sample.types, **sample.attributes)
        with np.errstate(all="ignore"):
            got = np.asarray(op.value(*arrays_for(op, sample), **sample.attributes))
        assert got.dtype == inferred.dtype.numpy, f"{sample}: {got.dtype}"
        assert got.shape == inferred.shape, f"{sample}: {got.shape}"


def derived(op: Op) -> list[Sample]:
    """Samples on which the op has a derivative that is not zero by decree."""
    small = samples(op, F64, [(4,), (2, 3)])
    small = [s for s in small if op.infer(*s.types, **s.attributes).dtype.is_float]
    if op.name == "cast":
        return [s for s in small if s.attributes["dtype"] is F64]
    return [] if op.name in ("stop_gradient", "pivoted") else small


@pytest.mark.parametrize("op", [op for op in ALL if derived(op)], ids=repr)
def test_pull_and_push_agree_with_each_other_and_with_differences(op: Op) -> None:
    for number, sample in enumerate(derived(op)):
        random = np.random.default_rng(number)
        arrays = arrays_for(op, sample, number)
        graph = Graph(OPS)
        inputs = inputs_for(sample, graph)
        y = call(op, inputs, sample)
        floats = [i for i, n in enumerate(inputs) if n.dtype.is_float]
        for chosen in [floats, *([[i] for i in floats] if len(floats) > 1 else [])]:
            seed = graph.input("g", y.type)
            tangents = {inputs[i]: graph.input(f"t{i}", inputs[i].type) for i in chosen}
            pulled = pull_back([y], [seed], [inputs[i] for i in chosen])
            (pushed,) = push_forward([y], tangents)
            g = random.normal(size=y.shape)
            t = [random.normal(size=arrays[i].shape) for i in chosen]
            if op.name in NO_DERIVATIVE:
                assert pushed is None
                assert all(p is None for p in pulled)
                pulled, pushed = (), graph.full_like(y, 0.0)
            if pushed is None:
                assert not any(inputs[i].type.size for i in chosen), "only what is empty is still"
                pushed = graph.full_like(y, 0.0)
            outputs = [pushed, *(p for p in pulled if p is not None)]
            got = run([*inputs, seed, *tangents.values()], outputs, [*arrays, g, *t])
            forward = float(np.sum(g * got[0]))
            backward = float(sum(np.sum(a * b) for a, b in zip(t, got[1:], strict=False)))
            assert forward == pytest.approx(backward, rel=1e-11, abs=1e-12), str(sample)
            step = 1e-6
            ends = []
            for sign in (1, -1):
                moved = list(arrays)
                for i, direction in zip(chosen, t, strict=True):
                    moved[i] = arrays[i] + sign * step * direction
                ends.append(np.asarray(op.value(*moved, **sample.attributes)))
            slope = float(np.sum(g * (ends[0] - ends[1]))) / (2 * step)
            assert forward == pytest.approx(slope, rel=2e-6, abs=1e-6), str(sample)


@pytest.mark.parametrize("op", [op for op in ALL if derived(op)], ids=repr)
def test_axes_that_are_told_to_be_apart_are(op: Op) -> None:
    """What moves at one index of such an axis of an argument moves the result there alone."""
    assert op.kind is Kind.POINTWISE or op.apart is not None, "see ir/op.py"
    if op.apart is None:
        return
    for number, sample in enumerate(derived(op)):
        arrays = arrays_for(op, sample, number)
        inputs = inputs_for(sample, Graph(OPS))
        y = call(op, inputs, sample)
        found = op.apart(y, *y.args, **y.attributes)
        assert len(found) == len(y.args)
        before = np.asarray(op.value(*arrays, **sample.attributes))
        for i, pairs in enumerate(found):
            for own, axis in pairs.items() if arrays[i].size else ():
                moved = list(arrays)
                moved[i] = arrays[i].copy()
                np.moveaxis(moved[i], axis, 0)[-1] *= 1.01
                after = np.asarray(op.value(*moved, **sample.attributes))
                off = np.moveaxis(before != after, own, 0)
                assert not np.any(off[:-1]), f"{sample}: {own} and {axis}"


@pytest.mark.parametrize("op", [op for op in ALL if derived(op)], ids=repr)
def test_second_derivative_agrees_with_differences_of_the_first(op: Op) -> None:
    for number, sample in enumerate(derived(op)[:4]):
        random = np.random.default_rng(number)
        arrays = arrays_for(op, sample, number)
        graph = Graph(OPS)
        inputs = inputs_for(sample, graph)
        y = call(op, inputs, sample)
        floats = [i for i, n in enumerate(inputs) if n.dtype.is_float]
        wrt = [inputs[i] for i in floats]
        # A weight that is not constant keeps linear parts from dropping out.
        seed = graph.call("sin", y)
        first = [p if p is not None else graph.full_like(x, 0.0)
                 for p, x in zip(pull_back([y], [seed], wrt), wrt, strict=True)]  # fmt: skip
        weights = [random.normal(size=arrays[i].shape) for i in floats]
        shaped = [graph.array(w, F64) for w in weights]
        second = [p if p is not None else graph.full_like(x, 0.0)
                  for p, x in zip(pull_back(first, shaped, wrt), wrt, strict=True)]  # fmt: skip
        tangents = {x: graph.array(w, F64) for x, w in zip(wrt, weights, strict=True)}
        pushed = [p if p is not None else graph.full_like(x, 0.0)
                  for p, x in zip(push_forward(first, tangents), wrt, strict=True)]  # fmt: skip
        got = run(inputs, [*second, *pushed], arrays)
        step = 1e-6
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            for i, w in zip(floats, weights, strict=True):
                moved[i] = arrays[i] + sign * step * w
            ends.append(run(inputs, first, moved))
        for i, (a, b) in enumerate(zip(*ends, strict=True)):
            expected = (a - b) / (2 * step)
            # The Hessian is symmetric: rows and columns times the same weights are equal.
            np.testing.assert_allclose(got[i], expected, rtol=2e-5, atol=2e-5, err_msg=str(sample))
            np.testing.assert_allclose(got[len(floats) + i], got[i], rtol=1e-9, atol=1e-10,
                                       err_msg=str(sample))  # fmt: skip


@pytest.mark.parametrize("op", ALL, ids=repr)
def test_batching_equals_a_loop(op: Op) -> None:
    size = 3
    dtype = next(d for d in DTYPES if samples(op, d))
    cases = samples(op, dtype)
    cases = cases if op.kind is not Kind.POINTWISE else cases[2:4]
    for number, sample in enumerate(cases):
        for flags in itertools.product([False, True], repeat=len(sample.types)):
            if not any(flags):
                continue
            graph = Graph(OPS)
            inputs = inputs_for(sample, graph)
            y = call(op, inputs, sample)
            stacked = [
                graph.input(f"b{i}", type(x.type)(x.dtype, (size, *x.shape)))
                for i, x in enumerate(inputs)
            ]
            given = {x: b for x, b, f in zip(inputs, stacked, flags, strict=True) if f}
            ((result, has_axis),) = batched([y], given, size)
            assert has_axis
            single = arrays_for(op, sample)
            many = [np.stack([arrays_for(op, sample, 10 * number + k)[i] for k in range(size)])
                    for i in range(len(inputs))]  # fmt: skip
            (got,) = run([*inputs, *stacked], [result], [*single, *many])
            with np.errstate(all="ignore"):
                expected = np.stack([
                    np.asarray(op.value(
                        *[m[k] if f else s for m, s, f in zip(many, single, flags, strict=True)],
                        **sample.attributes,
                    )) for k in range(size)
                ])  # fmt: skip
            # NumPy solves stacks of matrices in another order than single ones.
            near = 1e-6 if got.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(got, expected, rtol=near, atol=near, err_msg=str(sample))


SPECIAL = [-math.inf, -1e300, -800.0, -1.5, -1e-9, -5e-324, -0.0, 0.0, 5e-324, 1e-9, 0.4, 1.0, 30.0,
           800.0, 1e300, math.inf, math.nan]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("op", [op for op in ALL if op.expand is not None], ids=repr)
def test_definition_equals_the_value(op: Op, dtype: Any) -> None:
    for sample in samples(op, dtype):
        graph = Graph(OPS)
        inputs = inputs_for(sample, graph)
        names = tuple(f"x{i}" for i in range(len(inputs)))
        program = Program("f", tuple(inputs), (call(op, inputs, sample),), names, ("y",))
        written = expand(program)
        assert all(n.op.expand is None for n in written.nodes)
        arrays = arrays_for(op, sample)
        loose = 1e-13 if dtype is F64 else 1e-5
        np.testing.assert_allclose(
            evaluate(written, *arrays)[0], evaluate(program, *arrays)[0], rtol=loose, atol=loose,
        )  # fmt: skip


@pytest.mark.parametrize(
    "op", [op for op in ALL if op.kind is Kind.COMPOSITE and op.params == ("axes",)], ids=repr
)
def test_composite_is_defined_for_special_rows(op: Op) -> None:
    rows = np.array([
        [0, 0, 0], [-math.inf] * 3, [math.inf, 1, 2], [-math.inf, 1, 2], [math.nan, 1, 2],
        [1e4, 1e4, -1e4], [1e-200, 2e-200, 0], [1e300, 1e300, 0], [math.inf, -math.inf, 0],
        [math.inf, math.inf, math.inf],
    ])  # fmt: skip
    graph = Graph(OPS)
    x = graph.input("x", _type(rows))
    y = graph.call(op.name, x, axes=(1,))
    program = Program("f", (x,), (y,), ("x",), ("y",))
    np.testing.assert_allclose(
        evaluate(expand(program), rows)[0], evaluate(program, rows)[0], rtol=1e-13, atol=0,
    )  # fmt: skip


def _type(array: Array) -> Type:
    return Type(dtype_of(array.dtype), array.shape)


def test_every_sample_belongs_to_an_op() -> None:
    assert {*TABLE, *INDEXED, *SOURCES} <= set(OPS)


def test_documented_error_budgets_are_the_declared_ones() -> None:
    page = (Path(__file__).parents[2] / "docs" / "numerics.md").read_text()
    rows = {
        f"| `{op.name}` | {op.native.ulp32} | {op.native.ulp64} |"
        for op in OPS.values() if isinstance(op.native, VectorMath)
    }  # fmt: skip
    budgets = page.split("## Error budgets")[1].splitlines()
    assert {line for line in budgets if line.startswith("| `")} == rows
