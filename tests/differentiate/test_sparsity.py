"""Index propagation against the nonzeros of dense Jacobians."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from tests.ops.samples import ALL, Sample, array_for, call, inputs_for, samples
from tests.random_programs import random_program
from tests.transform.cases import differentiated

from chainrule.differentiate.dependence import Known
from chainrule.differentiate.pattern import Pattern, from_pairs, identity, union
from chainrule.differentiate.reverse import pull_back
from chainrule.differentiate.sparsity import propagate
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Op
from chainrule.ir.program import Program
from chainrule.ir.types import Array
from chainrule.ops import OPS

CASES = [
    (op, sample)
    for op in ALL if differentiated(op)
    for sample in samples(op, shapes=[(), (5,), (2, 3)])
]  # fmt: skip


def dense(output: Node, wrt: Node, inputs: Sequence[Node], arrays: Sequence[Array]) -> Array:
    """Return the Jacobian, a row for each element of the output, by unit cotangents."""
    graph = output.graph
    g = graph.input("g", output.type)
    (slope,) = pull_back([output], [g], [wrt])
    shape = np.shape(arrays[list(inputs).index(wrt)])
    count = int(np.prod([int(str(e)) for e in output.shape]))
    if slope is None:
        return np.zeros((count, int(np.prod(shape))))
    names = tuple(f"x{i}" for i in range(len(inputs) + 1))
    program = Program("slope", (*inputs, g), (slope,), names, ("",))
    units = np.eye(count).reshape(count, *[int(str(e)) for e in output.shape])
    rows = [evaluate(program, *arrays, u)[0].ravel() for u in units]
    return np.array(rows).reshape(count, int(np.prod(shape)))


@pytest.mark.parametrize(("op", "sample"), CASES, ids=str)
def test_every_op_has_the_pattern_of_its_jacobian(op: Op, sample: Sample) -> None:
    random = np.random.default_rng(zlib.crc32(f"{op.name} {sample}".encode()))
    graph = Graph(OPS)
    inputs = inputs_for(sample, graph)
    output = call(op, inputs, sample)
    arrays = [array_for(op, i, t, random) for i, t in enumerate(sample.types)]
    known = {n: a for n, a in zip(inputs, arrays, strict=True) if not n.dtype.is_float}
    for wrt, array in zip(inputs, arrays, strict=True):
        if not wrt.dtype.is_float or not output.dtype.is_float:
            continue
        given = {wrt: identity(np.arange(array.size), array.size)}
        (pattern,) = propagate([output], given, Known(known))
        found = dense(output, wrt, inputs, arrays) != 0
        assert not np.any(found & ~pattern.dense()), "an entry was missed"
        if op.name not in CHOOSING and op.kind is not Kind.FACTOR and op.name not in SOLVING:
            assert np.array_equal(found, pattern.dense())


CHOOSING = {"maximum", "minimum", "max", "min", "clip", "relu", "remainder", "fmod", "prod"}
"Ops whose slope is zero or not by the values; a product of numbers with a 0 among them."

SOLVING = {"solve", "det", "logabsdet", "cofactors", "cofactors_slope"}
"Matrices count as a whole, as those that are factored do."


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_miss_no_entry(seed: int) -> None:
    case = random_program(seed)
    program = case.program
    output = program.outputs[0]
    for wrt, array in zip(program.inputs, case.arrays, strict=True):
        given = {wrt: identity(np.arange(array.size), array.size)}
        (pattern,) = propagate([output], given, Known({}))
        found = dense(output, wrt, program.inputs, case.arrays) != 0
        assert not np.any(found & ~pattern.dense())


def scattered(random: np.random.Generator, rows: int, columns: int, count: int) -> Pattern:
    return from_pairs(
        random.integers(-1, rows, count), random.integers(0, columns, count), (rows, columns)
    )


@pytest.mark.parametrize("seed", range(20))
def test_boolean_matrices(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = random.integers(1, 8, 2)
    one, other = (scattered(random, int(rows), int(columns), 12) for _ in range(2))
    full = one.dense()
    assert np.array_equal(union([one, other]).dense(), full | other.dense())
    assert np.array_equal(one.transposed.dense(), full.T)
    picks = random.integers(-1, rows, 9)
    assert np.array_equal(one.take(picks).dense(), np.where(picks[:, None] >= 0, full[picks], 0))
    groups = random.integers(-1, 3, int(rows))
    merged = np.array([full[groups == k].any(axis=0) for k in range(3)])
    assert np.array_equal(one.merge(groups, 3).dense(), merged)
    for p in (one, one.transposed, one.merge(groups, 3)):
        assert all(np.all(np.diff(p.indices[a:b]) > 0) for a, b in pairwise(p.indptr))
