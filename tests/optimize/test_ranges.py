"""Rules with constants at the ends of the range: what the written order reaches is reached."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.optimize.test_rules import wildcards

from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph
from chainrule.ir.program import Program
from chainrule.ir.types import F32, F64, DType, Type
from chainrule.ops import OPS
from chainrule.optimize import optimize
from chainrule.optimize.algebra import CONSTANTS, POWERS, PRODUCTS, SELECTIONS
from chainrule.optimize.ranges import DIGITS, keeps_range, light, sum_is_kept
from chainrule.optimize.rewrite import Rewriter, build
from chainrule.optimize.rule import Rule

RULES = [
    r
    for r in (*CONSTANTS, *POWERS, *PRODUCTS, *SELECTIONS)
    if not any(p.boolean for p in wildcards(r).values()) and r.before.op not in ("log", "log1p")
]
SMALLEST = {F32: 2.0**-126, F64: 2.0**-1022}


def scales(dtype: DType, *, margin: int = 0) -> list[float]:
    """Return magnitudes over the whole range but for `margin` binades at either end."""
    first, last = (-126, 127) if dtype is F32 else (-1022, 1023)
    exponents = np.linspace(first + margin, last - margin, 15).astype(int)
    return [math.ldexp(1.5 if e < last else 1.0, int(e)) for e in exponents]


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_what_the_written_order_reaches_is_reached(rule: Rule, dtype: DType) -> None:
    """Values may come near the ends of the range as far as one light factor; constants anywhere."""
    largest, smallest = float(np.finfo(dtype.numpy).max), SMALLEST[dtype]
    margin = 2.0 ** DIGITS[dtype]
    wilds = wildcards(rule)
    names = [n for n, p in wilds.items() if p.op == "wild"]
    numbers = [n for n, p in wilds.items() if p.op == "constant"]
    points = list(itertools.product(scales(dtype), repeat=len(names)))
    columns = [np.array([p[i] for p in points], dtype.numpy) for i in range(len(names))]
    for chosen in itertools.product([*scales(dtype), -0.75, 1.0], repeat=len(numbers)):
        graph = Graph(OPS)
        type_ = Type(dtype, (len(points),))
        bound: dict[str, Any] = {n: graph.input(n, type_) for n in names}
        inputs = tuple(bound[n] for n in names)
        constants = {
            n: graph.full((len(points),), v, dtype) for n, v in zip(numbers, chosen, strict=True)
        }
        bound |= constants
        if (rule.when is not None and not rule.when(bound)) or not keeps_range(rule, bound):
            continue
        like = graph.input("like", type_)
        before = build(rule.before, bound, like)
        after = build(rule.result, bound, before)
        every = Program("rule", inputs, (before,), tuple(names), ("before",)).nodes
        steps = [n for n in every if n not in inputs and n.dtype is dtype]
        program = Program(
            "rule", inputs, (after, before, *steps), tuple(names),
            ("after", "before", *(f"step{i}" for i in range(len(steps)))),
        )  # fmt: skip
        with np.errstate(all="ignore"):
            found, expected, *values = evaluate(program, *columns)
        inside = np.ones(len(points), bool)
        for node, value in zip(steps, values, strict=True):
            held = node in constants.values() or node.op.name in ("constant", "broadcast")
            size = np.abs(value.astype(np.float64))
            # Of a constant only that it is a number; of computed values that they are well inside.
            ends = (smallest, largest) if held else (smallest * margin, largest / margin)
            inside &= (size >= ends[0]) & (size <= ends[1])
        for column in columns:
            size = np.abs(column.astype(np.float64))
            inside &= (size >= smallest * margin) & (size <= largest / margin)
        np.testing.assert_allclose(
            found[inside], expected[inside], rtol=64 * 2.0 ** -DIGITS[dtype],
            err_msg=f"{rule} with {dict(zip(numbers, chosen, strict=True))}",
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("seed", range(20))
def test_random_chains_stay_where_the_written_order_stays(seed: int, dtype: DType) -> None:
    """Chains of products and quotients whose constants span the range, their values the middle."""
    random = np.random.default_rng(seed)
    reach = 100 if dtype is F32 else 900
    graph = Graph(OPS)
    x, y = (graph.input(n, Type(dtype, (1,))) for n in "xy")
    at = {"x": math.ldexp(1.25, int(random.integers(-60, 60))), "y": 1.5}
    chain, exact = x, Fraction(at["x"])
    for _ in range(60):
        # A factor that takes the value to some other place in the range.
        target = math.ldexp(1 + float(random.random()), int(random.integers(-reach, reach)))
        size = math.frexp(float(exact))[1]
        power = math.frexp(target)[1] - size
        fits = abs(power) < (125 if dtype is F32 else 1020)
        c = dtype.rounded(math.ldexp(math.frexp(target)[0], power)) if fits else 0.75
        match int(random.integers(4)):
            case 0:
                chain, exact = chain * c, exact * Fraction(c)
            case 1:
                c = dtype.rounded(1 / c)
                chain, exact = chain / c, exact / Fraction(c)
            case 2:
                chain, exact = chain * y, exact * Fraction(at["y"])
            case _:
                chain, exact = y / chain, Fraction(at["y"]) / exact
        size = math.frexp(float(exact))[1]
        if abs(size) > reach:
            back = math.ldexp(1.0, -size // 2)
            chain, exact = chain * back, exact * Fraction(back)
    program = Program("chain", (x, y), (chain,), ("x", "y"), ("result",))
    columns = [np.array([v], dtype.numpy) for v in at.values()]
    (written,) = evaluate(program, *columns)
    (found,) = evaluate(optimize(program), *columns)
    tolerance = 200 * 2.0 ** -DIGITS[dtype]
    assert float(written[0]) == pytest.approx(float(exact), rel=tolerance)
    assert float(found[0]) == pytest.approx(float(exact), rel=tolerance)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_inverse_squares_reach_the_subnormal_numbers(dtype: DType) -> None:
    exponent = 70 if dtype is F32 else 520
    graph = Graph(OPS)
    x = graph.input("x", Type(dtype, (1,)))
    (result,) = Rewriter(graph, PRODUCTS).run([x**-2])
    at = np.array([math.ldexp(1.0, exponent)], dtype.numpy)
    (found,) = evaluate(Program("inverse", (x,), (result,), ("x",), ("y",)), at)
    assert found == math.ldexp(1.0, -2 * exponent) != 0


@pytest.mark.parametrize(
    ("a", "b", "kept"),
    [(1.0, 2.0, True), (0.1, 0.2, True), (1.0, 1e-3, False), (1e16, 1.0, False), (5.0, -5.0, True),
     (1e300, 1e308, False), (0.0, 3.0, True), (1.7e308, 1.7e308, False),
     (math.inf, 1.0, False)],
)  # fmt: skip
def test_sums_of_constants_keep_both(a: float, b: float, kept: bool) -> None:
    assert sum_is_kept(a, b, F64) is kept


def test_light_factors_are_those_of_means_and_rates() -> None:
    assert all(light(n, F32) for n in (1e-6, 3e-4, 1 / 1e7, 1e7, -0.5))
    assert not any(light(n, F32) for n in (0.0, 1e-8, 1e8, 1e30, math.inf, math.nan))
    assert light(1e-15, F64)
    assert not light(1e-200, F64)
