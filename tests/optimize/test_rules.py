"""Every rule, both sides, evaluated: bit for bit on special floats, or as reals with NaN kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program
from chainrule.ir.types import BOOL, F32, F64, I32, I64, U8, Array, DType, Type
from chainrule.ops import OPS
from chainrule.optimize.passes import RULES as BOTH
from chainrule.optimize.rewrite import build, match
from chainrule.optimize.rule import Keeps, Pattern, Rule
from chainrule.optimize.stable import ROOTS

RULES = (*BOTH, *ROOTS)

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324,
           2.3e-308, 1.7e308, -1.7e308, 1e16, 1e-9]  # fmt: skip
ORDINARY = [-2.5, -1.2, -0.6, -0.3, 0.4, 0.7, 1.3, 2.2]
CONSTANTS = [2.0, 0.5, 3.0, -1.5, 1.0, -1.0, math.pi, 1 / math.pi, 0.3]
SHAPE = (6, 4)


def parts(pattern: Pattern) -> Iterator[Pattern]:
    yield pattern
    for a in pattern.args:
        yield from parts(a)


def wildcards(rule: Rule) -> dict[str, Pattern]:
    return {p.name: p for p in parts(rule.before) if p.op in ("wild", "constant")}


def reduced_wildcards(rule: Rule) -> set[str]:
    """Names of wildcards that hold one number a row."""
    found = {p.args[0].name for p in parts(rule.before) if p.op == "along"}
    sums = [p for p in parts(rule.before) if any(a.op in ("sum", "logsumexp") for a in p.args)]
    beside = {a.name for p in sums if p.op != "along" for a in p.args if a.op == "wild"}
    return (found | beside) - {""}


def bindings(
    rule: Rule, graph: Graph, shape: tuple[int, ...], dtype: DType
) -> Iterator[tuple[dict[str, Any], dict[str, Node]]]:
    """Yield what the wildcards may stand for, and the inputs among it."""
    small = reduced_wildcards(rule)
    inputs: dict[str, Node] = {}
    choices: list[list[Any]] = []
    wilds = wildcards(rule)
    for name, pattern in wilds.items():
        own = shape[:1] if name in small else shape
        options: list[Any]
        if pattern.op == "constant":
            row = name in {a.name for p in parts(rule.before) for a in p.args
                           if p.args[0].op in ("sum", "logsumexp")}  # fmt: skip
            own = shape[:1] if row else shape
            values = [
                c
                for c in CONSTANTS
                if dtype.is_float or (float(c).is_integer() and (c > 0 or dtype is not U8))
            ]
            options = [graph.full(own, c, dtype) for c in values]
        else:
            inputs[name] = graph.input(name, Type(BOOL if pattern.boolean else dtype, own))
            options = [inputs[name]]
            if pattern.boolean and len(shape) == 2 and name not in small:
                # One element of each row, as the directions of a Jacobian.
                counters = [graph.call("iota", length=n, dtype=I64) for n in shape]
                rows, columns = (graph.broadcast(c, shape, (i,)) for i, c in enumerate(counters))
                options.append(rows.equals(columns))
            if name in small and dtype.is_float:
                options.append(graph.call("max", inputs.get("x", inputs[name]), axes=(1,))
                               if "x" in inputs and name != "x" else inputs[name])  # fmt: skip
                options.append(graph.full(own, 3.0, dtype))
            elif not pattern.boolean and len(shape) > 1:
                # Copies of one row.
                options.append(graph.call("broadcast", graph.call(
                    "slice", graph.call("reshape", inputs[name], shape=(shape[0] * shape[1],)),
                    starts=(0,), shape=shape[1:], steps=(1,)), shape=shape, axes=(1,)))  # fmt: skip
        choices.append(options)
    for chosen in itertools.product(*choices):
        bound = {**dict(zip(wilds, chosen, strict=True)), "A": (1,)}
        if rule.when is None or rule.when(bound):
            yield bound, inputs


def sides(rule: Rule, bound: dict[str, Any], inputs: dict[str, Node], like: Node) -> Program:
    before = build(rule.before, bound, like)
    after = build(rule.result, bound, before)
    assert after.type == before.type, f"{before} becomes {after}"
    names = tuple(inputs)
    return Program("rule", tuple(inputs.values()), (before, after), names, ("before", "after"))


def same_float(a: Array, b: Array) -> Array:
    equal = (a == b) & (np.signbit(a) == np.signbit(b)) if a.dtype.kind == "f" else a == b
    both: Array = equal | (np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else False)
    return both


BITS = [r for r in RULES if r.keeps is Keeps.BITS]
REALS = [r for r in RULES if r.keeps is Keeps.REALS]


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("rule", BITS, ids=repr)
def test_rule_keeps_every_bit_it_promises(rule: Rule, dtype: DType) -> None:
    wilds = [n for n, p in wildcards(rule).items() if p.op == "wild"]
    pools = [[False, True] if wildcards(rule)[n].boolean else SPECIAL for n in wilds]
    points = list(itertools.product(*pools)) or [()]
    graph = Graph(OPS)
    like = graph.input("like", Type(dtype, (len(points),)))
    tried = 0
    for bound, inputs in bindings(rule, graph, (len(points),), dtype):
        with np.errstate(over="ignore", under="ignore"):
            columns = [np.array([p[i] for p in points]).astype(inputs[n].dtype.numpy)
                       for i, n in enumerate(inputs)]  # fmt: skip
        before, after = evaluate(sides(rule, bound, inputs, like), *columns)
        wrong = np.flatnonzero(~same_float(before, after))
        assert not len(wrong), (
            f"{[c[wrong[0]] for c in columns]}: {before[wrong[0]]} became {after[wrong[0]]}"
        )
        tried += 1
    assert tried, "no sample satisfies the guard"


def masks(rule: Rule) -> bool:
    """A factor behind a mask that is off is dropped with its NaN: the documented exception."""
    return rule.before.op in ("mul", "div") and rule.result.op == "select"


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("rule", REALS, ids=repr)
def test_rule_keeps_the_real_number(rule: Rule, dtype: DType) -> None:
    random = np.random.default_rng(len(repr(rule)))
    graph = Graph(OPS)
    like = graph.input("like", Type(dtype, SHAPE))
    tried = finite = 0
    for bound, inputs in bindings(rule, graph, SHAPE, dtype):
        program = sides(rule, bound, inputs, like)
        assert match(rule.before, program.outputs[0], {}) is not None, "it never applies"
        arrays = [
            random.choice([False, True], n.shape) if n.dtype is BOOL
            else random.choice(ORDINARY, n.shape).astype(dtype.numpy) for n in inputs.values()
        ]  # fmt: skip
        before, after = evaluate(program, *arrays)
        tolerance = 1e-12 if dtype is F64 else 2e-5
        known = np.isfinite(before)
        finite += int(known.sum())
        np.testing.assert_allclose(after[known], before[known], rtol=tolerance, atol=tolerance)
        if not masks(rule):
            assert np.all(np.isnan(after) | ~np.isnan(before)), "a NaN was lost"
        for i, node in enumerate(inputs.values()):
            if node.dtype is BOOL:
                continue
            spoilt = [a.copy() for a in arrays]
            spoilt[i][(0,) * spoilt[i].ndim] = math.nan
            before, after = evaluate(program, *spoilt)
            if not masks(rule):
                assert np.all(np.isnan(after) | ~np.isnan(before)), "a NaN was lost"
        tried += 1
    assert tried, "no sample satisfies the guard"
    assert finite, "no sample has a value"


@pytest.mark.parametrize("dtype", [I32, U8], ids=str)
@pytest.mark.parametrize("rule", [r for r in RULES if r.integers], ids=repr)
def test_rule_is_exact_on_integers(rule: Rule, dtype: DType) -> None:
    if dtype is U8 and any(p.op == "number" and p.number < 0 for p in parts(rule.before)):
        return  # it has no such constant to match
    random = np.random.default_rng(7)
    graph = Graph(OPS)
    like = graph.input("like", Type(dtype, SHAPE))
    limits = np.iinfo(dtype.numpy)
    for bound, inputs in bindings(rule, graph, SHAPE, dtype):
        arrays = []
        for n in inputs.values():
            if n.dtype is BOOL:
                arrays.append(random.choice([False, True], n.shape))
                continue
            column = random.integers(limits.min, limits.max, n.shape, dtype.numpy, endpoint=True)
            column.flat[:4] = [limits.min, limits.max, 0, 1][: column.size]
            arrays.append(column)
        before, after = evaluate(sides(rule, bound, inputs, like), *arrays)
        np.testing.assert_array_equal(after, before)


def test_a_wrong_promise_is_found() -> None:
    from chainrule.optimize.rule import wild

    x = wild("x")
    with pytest.raises(AssertionError, match="became"):
        test_rule_keeps_every_bit_it_promises(Rule(x + 0, x), F64)
    with pytest.raises(AssertionError, match="NaN was lost"):
        test_rule_keeps_the_real_number(Rule(x - x, x.__class__("number"), Keeps.REALS), F64)
