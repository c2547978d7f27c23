"""The passes on random programs and on long ones: equal results, legal programs, linear time."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from tests.random_programs import random_program

from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program, check, guarded
from chainrule.ir.show import show
from chainrule.ir.types import BOOL, DTYPES, F32, F64, I64, DType, Type
from chainrule.ir.walk import reached
from chainrule.numerics import FAST, STRICT, numerics_called
from chainrule.ops import OPS
from chainrule.optimize import Rewriter, expand, optimize, stabilize
from chainrule.optimize.passes import RULES, STEPS

SEEDS = range(60)


def with_gradient(program: Program) -> Program:
    """Append the gradient of the sum of the outputs."""
    outputs = stabilize(program.outputs)
    ones = [y.graph.full_like(y, 1.0) for y in outputs]
    found = pull_back(outputs, ones, program.inputs)
    gradient = [x.graph.full_like(x, 0.0) if g is None else g
                for x, g in zip(program.inputs, found, strict=True)]  # fmt: skip
    results = (*outputs, *gradient)
    return guarded(Program(program.name, program.inputs, results, program.paths,
                           tuple(f"y{i}" for i in range(len(results)))))  # fmt: skip


@pytest.mark.share(4)
@pytest.mark.parametrize("dims", [False, True], ids=["static", "named"])
@pytest.mark.parametrize("seed", SEEDS)
def test_fast_mode_keeps_the_real_numbers(seed: int, dims: bool) -> None:
    case = random_program(seed, dims=dims)
    before = with_gradient(case.program)
    lean = optimize(before)
    for after in (lean, expand(lean), expand(lean, FAST), optimize(expand(lean))):
        check(after)
        for got, want in zip(evaluate(after, *case.arrays), evaluate(before, *case.arrays),
                             strict=True):  # fmt: skip
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9, err_msg=show(before))


@pytest.mark.share(4)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_strict_mode_keeps_the_bits(seed: int, dtype: DType) -> None:
    case = random_program(1000 + seed, dtype=dtype, dims=bool(seed % 2))
    before = with_gradient(case.program)
    if any(n.op.name == "contract" for n in before.nodes):
        # NumPy's einsum may add in another order when an operand is transposed.
        rtol = 1e-11 if dtype is F64 else 1e-3
    else:
        rtol = 0.0
    after = optimize(before, STRICT)
    check(after)
    for got, want in zip(evaluate(after, *case.arrays), evaluate(before, *case.arrays),
                         strict=True):  # fmt: skip
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol, err_msg=show(before))
        if not rtol:
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


@pytest.mark.parametrize("seed", SEEDS)
def test_optimizing_twice_changes_nothing(seed: int) -> None:
    case = random_program(seed, dims=bool(seed % 2))
    once = optimize(with_gradient(case.program))
    assert show(optimize(once)) == show(once)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_contraction_is_added_without_need(seed: int) -> None:
    before = with_gradient(random_program(seed).program)
    after = optimize(before)

    def work(program: Program) -> int:
        return sum(int(str(n.type.size)) * n.op.flops for n in program.nodes if n.args)

    assert work(after) <= work(before) * 1.2 + 200, f"{show(before)}{show(after)}"


def program_of(outputs: list[Node], inputs: list[Node]) -> Program:
    names = tuple(f"x{i}" for i in range(len(inputs)))
    results = tuple(f"y{i}" for i in range(len(outputs)))
    return guarded(Program("f", tuple(inputs), tuple(outputs), names, results))


def chain(length: int) -> tuple[Node, Node]:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3,)))
    y = x
    for i in range(length // 4):
        y = (graph.call("sin", y) * 0.5 + x) * (1.0 + i % 3)
    return x, y


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    yield
    sys.setrecursionlimit(before)


def test_tries_grow_linearly() -> None:
    tries = []
    for length in (1000, 2000, 4000):
        x, y = chain(length)
        rewriter = Rewriter(x.graph, RULES, STEPS)
        rewriter.run([y])
        tries.append(rewriter.attempts)
    assert tries[2] - tries[1] == pytest.approx(2 * (tries[1] - tries[0]), rel=0.05)


@pytest.mark.usefixtures("shallow_stack")
@pytest.mark.parametrize("length", [
    pytest.param(30_000, marks=pytest.mark.broad),
    pytest.param(100_000, marks=pytest.mark.exhaustive),
])  # fmt: skip
def test_a_long_chain_needs_no_stack(length: int) -> None:
    x, y = chain(length)
    (y,) = stabilize([y])
    (g,) = pull_back([y], [x.graph.full_like(x, 1.0)], [x])
    assert g is not None
    before = program_of([y, g], [x])
    after = expand(optimize(before))
    check(after)
    text = show(after)
    assert text.count("\n") > length
    at = np.array([0.1, -0.5, 0.9])
    for got, want in zip(evaluate(after, at), evaluate(before, at), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def optimized(*outputs: Node) -> list[Node]:
    inputs = sorted((n for n in reached(outputs) if n.op.name == "input"), key=lambda n: n.id)
    return list(optimize(program_of(list(outputs), inputs)).outputs)


def names(node: Node) -> list[str]:
    return sorted(n.op.name for n in reached([node]) if n.op.name != "input")


def test_a_sum_of_copies_is_a_product_with_the_extent() -> None:
    from chainrule.ir.dims import named

    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (named("n"),)))
    y = graph.call("sum", graph.broadcast(x, (3, named("n")), (1,)), axes=(0,))
    (got,) = optimized(y)
    assert names(got) == ["broadcast", "constant", "mul"]
    z = graph.call("sum", graph.broadcast(x, (3, named("n")), (1,)), axes=(0, 1))
    assert "broadcast" not in names(optimized(z)[0])


def test_a_product_multiplied_out_only_to_be_summed_is_a_contraction() -> None:
    graph = Graph(OPS)
    a, b = graph.input("a", Type(F64, (5, 3))), graph.input("b", Type(F64, (3, 4)))
    wide = graph.broadcast(a, (5, 3, 4), (0, 1)) * graph.broadcast(b, (5, 3, 4), (1, 2))
    (got,) = optimized(graph.call("sum", wide, axes=(1,)))
    assert names(got) == ["contract"]


def test_transposes_fold_into_a_contraction_in_strict_mode_too() -> None:
    graph = Graph(OPS)
    a, b = graph.input("a", Type(F64, (3, 5))), graph.input("b", Type(F64, (4, 3)))
    turned = [graph.call("transpose", n, axes=(1, 0)) for n in (a, b)]
    y = graph.call("contract", *turned, batch=((), ()), summed=((1,), (0,)))
    z = graph.call("transpose", y, axes=(1, 0))
    for mode in ("fast", "strict"):
        got = optimize(program_of([y, z], [a, b]), numerics_called(mode))
        assert [n.op.name for n in got.nodes if n.args] == ["contract", "contract"]


def test_softmax_and_its_kin_share_their_parts() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (4, 5)))
    outputs = [graph.call(n, x, axes=(1,)) for n in ("softmax", "log_softmax", "logsumexp")]
    found = [n.op.name for n in expand(program_of(outputs, [x])).nodes]
    assert [found.count(n) for n in ("exp", "max", "sum", "log")] == [1, 1, 1, 1]


def test_row_scalars_are_computed_before_they_are_copied() -> None:
    graph = Graph(OPS)
    x, r = graph.input("x", Type(F64, (4, 5))), graph.input("r", Type(F64, (4,)))
    wide = graph.broadcast(r, (4, 5), (0,))
    (got,) = optimized(graph.call("exp", wide) * 3.0 * x)
    assert [n.shape for n in sorted(reached([got]), key=lambda n: n.id)
            if n.op.name in ("exp", "mul")].count((4, 5)) == 1  # fmt: skip


def test_origins_survive_rewriting() -> None:
    from chainrule.ir.graph import Origin

    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3,)))
    with graph.origin(Origin(line="model.py:7")):
        y = graph.call("log", graph.call("sum", graph.call("exp", x), axes=(0,)))
    (got,) = optimized(y)
    assert got.op.name == "logsumexp"
    assert Origin(line="model.py:7") in graph.origins[got]


def test_a_rule_that_loops_stops() -> None:
    from chainrule.optimize.rule import Rule, call, wild

    x = wild("x")
    rules = (Rule(call("sin", x), call("cos", x)), Rule(call("cos", x), call("sin", x)),
             Rule(call("tan", x), call("tan", call("tan", x))))  # fmt: skip
    graph = Graph(OPS)
    node = graph.input("x", Type(F64, (3,)))
    for name in ("sin", "tan"):
        (got,) = Rewriter(graph, rules).run([graph.call(name, node)])
        assert len(reached([got])) < 200


def test_indices_and_masks_fold() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3,)))
    yes = graph.full((3,), 1, BOOL)
    assert optimized(graph.select(yes, x, 0.0))[0] is x
    assert optimized(graph.call("cast", graph.call("cast", x, dtype=F64), dtype=F64))[0] is x
    n = graph.call("extent", extent=3)
    assert optimized(n * 2 + 1)[0] is graph.constant(7, I64)


def test_a_sum_over_one_hot_rows_is_no_sum() -> None:
    graph = Graph(OPS)
    x, place = graph.input("x", Type(F64, (6,))), graph.input("p", Type(I64, (6,)))
    counter = graph.broadcast(graph.call("iota", length=3, dtype=I64), (6, 3), (1,))
    hot = counter.equals(graph.broadcast(place, (6, 3), (0,)))
    y = graph.call("sum", graph.select(hot, graph.broadcast(x, (6, 3), (0,)), 0.0), axes=(1,))
    before = program_of([y], [x, place])
    after = optimize(before)
    assert "sum" not in [n.op.name for n in after.nodes]
    # Places outside the row count for nothing.
    arrays = [np.arange(1.0, 7), np.array([0, 2, 1, 3, -1, 7])]
    np.testing.assert_array_equal(evaluate(after, *arrays)[0], evaluate(before, *arrays)[0])


def flops(node: Node) -> int:
    """Count the multiplications of the contractions below a node."""
    total = 0
    for n in reached([node]):
        if n.op.name == "contract":
            extents = [int(str(e)) for e in n.shape]
            extents += [int(str(n.args[0].shape[i])) for i in n.attributes["summed"][0]]
            total += int(np.prod(extents))
    return total


@pytest.mark.parametrize("seed", range(40))
def test_matrix_chains_take_the_cheaper_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    graph = Graph(OPS)
    count = int(random.integers(3, 6))
    extents = [int(e) for e in random.choice([1, 2, 9, 30], count + 1)]
    matrices = [
        graph.input(f"m{i}", Type(F64, (a, b)))
        for i, (a, b) in enumerate(itertools.pairwise(extents))
    ]
    pending = list(matrices)
    while len(pending) > 1:
        at = int(random.integers(len(pending) - 1))
        pair = graph.call("contract", pending[at], pending[at + 1], batch=((), ()),
                          summed=((1,), (0,)))  # fmt: skip
        pending[at : at + 2] = [pair]
    before = program_of(pending, matrices)
    after = optimize(before)
    check(after)
    arrays = [random.normal(size=n.shape) for n in matrices]
    np.testing.assert_allclose(
        evaluate(after, *arrays)[0], evaluate(before, *arrays)[0], rtol=1e-10, atol=1e-10
    )
    assert flops(after.outputs[0]) <= flops(before.outputs[0])
    if count == 3:
        p, q, r, s = extents
        assert flops(after.outputs[0]) <= min(p * q * r + p * r * s, q * r * s + p * q * s) / 0.9


def test_a_product_that_is_needed_elsewhere_stays_whole() -> None:
    graph = Graph(OPS)
    a, b = graph.input("a", Type(F64, (9, 9))), graph.input("b", Type(F64, (9, 9)))
    v = graph.input("v", Type(F64, (9,)))
    given = {"batch": ((), ()), "summed": ((1,), (0,))}
    ab = graph.call("contract", a, b, **given)
    after = optimize(program_of([ab, graph.call("contract", ab, v, **given)], [a, b, v]))
    assert sum(n.op.name == "contract" for n in after.nodes) == 2


@pytest.mark.parametrize("dtype", [F64, I64], ids=str)
@pytest.mark.parametrize("flip", [False, True], ids=["left", "right"])
@pytest.mark.parametrize("axes", list(itertools.product((0, 1), (0, 1, 2))), ids=str)
def test_identity_matrices_are_not_multiplied(
    axes: tuple[int, int], flip: bool, dtype: DType
) -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(dtype, (3, 3, 3)))
    counter = graph.call("iota", length=3, dtype=I64)
    rows, columns = (graph.broadcast(counter, (3, 3), (i,)) for i in (0, 1))
    eye = graph.call("cast", rows.equals(columns), dtype=dtype)
    operands, at = ((x, eye), axes[::-1]) if flip else ((eye, x), axes)
    y = graph.call("contract", *operands, batch=((), ()), summed=((at[0],), (at[1],)))
    before = program_of([y], [x])
    after = optimize(before)
    assert {n.op.name for n in after.nodes} <= {"input", "transpose"}
    assert any(n.op.name == "contract" for n in optimize(before, STRICT).nodes)
    array = np.arange(27).reshape(3, 3, 3).astype(dtype.numpy)
    np.testing.assert_array_equal(evaluate(after, array)[0], evaluate(before, array)[0])


def test_traces_and_diagonals_keep_their_identity() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3, 3)))
    counter = graph.call("iota", length=3, dtype=I64)
    rows, columns = (graph.broadcast(counter, (3, 3), (i,)) for i in (0, 1))
    eye = graph.call("cast", rows.equals(columns), dtype=F64)
    shifted = graph.call("cast", rows.equals(columns + 1), dtype=F64)
    outputs = [
        graph.call("contract", eye, x, batch=((), ()), summed=((0, 1), (0, 1))),
        graph.call("contract", eye, x, batch=((0,), (0,)), summed=((1,), (1,))),
        graph.call("contract", shifted, x, batch=((), ()), summed=((1,), (0,))),
    ]
    before = program_of(outputs, [x])
    array = np.arange(9.0).reshape(3, 3)
    for got, want in zip(evaluate(optimize(before), array), evaluate(before, array), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=3)), ids=str)
def test_casts_merge_only_where_nothing_is_lost(dtypes: tuple[DType, DType, DType]) -> None:
    first, between, last = dtypes
    graph = Graph(OPS)
    x = graph.input("x", Type(first, (6,)))
    y = graph.call("cast", graph.call("cast", x, dtype=between), dtype=last)
    given = np.array([0, 1, 2, 100, 126, 7])
    if first.kind in ("float", "int"):
        given = given * np.array([1, -1, 1, -1, 1, 1]) + (0.3 if first.is_float else 0)
    before = program_of([y], [x])
    after = optimize(before, STRICT)
    check(after)
    with np.errstate(all="ignore"):
        array = given.astype(first.numpy)
        np.testing.assert_array_equal(evaluate(after, array)[0], evaluate(before, array)[0])


def test_zeros_of_unlike_signs_are_not_confused() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3,)))
    kept = [x - 0.0, x + -0.0, -0.0 - x]
    changed = [x - -0.0, x + 0.0, 0.0 - x]
    program = program_of([*kept, *changed], [x])
    at = np.array([-0.0, 0.0, 1.0])
    after = optimize(program, STRICT)
    for got, want in zip(evaluate(after, at), evaluate(program, at), strict=True):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    assert after.outputs[0] is x
    assert after.outputs[4] is not x
