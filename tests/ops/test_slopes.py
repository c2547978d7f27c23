"""Slopes of pointwise ops against SymPy, complex steps and one-sided differences."""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from tests.ops.samples import samples

from chainrule.differentiate.reverse import pull_back
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.op import Kind, Op
from chainrule.ir.program import Program
from chainrule.ir.types import F64, Array, Type
from chainrule.ir.walk import topological
from chainrule.ops import OPS

LETTERS = sympy.symbols("x y z", real=True)
KINKED = {"maximum", "minimum", "clip", "relu", "abs", "remainder", "fmod", "sign", "floor", "ceil",
          "trunc", "rint", "floor_divide"}  # fmt: skip
NOT_COMPLEX = {"hypot", "atan2", "logaddexp"}  # NumPy has them for real numbers only

POINTWISE = [
    op for op in OPS.values()
    if op.kind is Kind.POINTWISE and samples(op, F64, [()])
    and op.infer(*samples(op, F64, [()])[0].types, **samples(op, F64, [()])[0].attributes).dtype
    is F64 and op.name not in ("select", "cast", "stop_gradient")
]  # fmt: skip
SMOOTH = [op for op in POINTWISE if op.name not in KINKED]


def arity(op: Op) -> int:
    return len(samples(op, F64, [()])[0].types)


def attributes(op: Op) -> dict[str, Any]:
    return samples(op, F64, [()])[0].attributes


def points(op: Op, count: int = 7) -> Array:
    return np.random.default_rng(5).uniform(*op.domain, size=(arity(op), count))


@functools.cache
def derivatives(op: Op, order: int) -> tuple[list[Node], tuple[Node, ...]]:
    """Return the partial derivatives (of order 2: of the sum of the first ones), and the inputs."""
    graph = Graph(OPS)
    inputs = tuple(graph.input(f"x{i}", Type(F64, (7,))) for i in range(arity(op)))
    y = graph.call(op.name, *inputs, **attributes(op))
    for _ in range(order):
        found = pull_back([y], [graph.full_like(y, 1.0)], inputs)
        slopes = [graph.full_like(y, 0.0) if s is None else s for s in found]
        y = slopes[0]
        for s in slopes[1:]:
            y = y + s
    return slopes, inputs


def evaluated(nodes: list[Node], inputs: tuple[Node, ...], arrays: Array) -> list[Array]:
    names = tuple(str(i) for i in range(len(inputs)))
    results = tuple(str(i) for i in range(len(nodes)))
    return evaluate(Program("f", inputs, tuple(nodes), names, results), *arrays)


def expression(op: Op) -> Any:
    assert op.sympy is not None, f"{op.name}: name the SymPy function"
    return sympy.sympify(op.sympy, locals=dict(zip("xyz", LETTERS, strict=True)))


@pytest.mark.parametrize("op", POINTWISE, ids=repr)
def test_value_equals_the_sympy_expression(op: Op) -> None:
    if op.name in ("trunc", "fmod", "rint"):
        pytest.skip("SymPy's function is the same only on part of the domain")
    at = points(op)
    got = np.asarray(op.value(*at, **attributes(op)))
    with mpmath.workdps(30):
        f = sympy.lambdify(LETTERS[: arity(op)], expression(op), "mpmath")
        expected = [float(f(*map(mpmath.mpf, column))) for column in at.T]
    np.testing.assert_allclose(got, expected, rtol=4e-15, atol=1e-15)


@pytest.mark.parametrize("op", SMOOTH, ids=repr)
def test_slope_equals_the_derivative_of_sympy(op: Op) -> None:
    slopes, inputs = derivatives(op, 1)
    at = points(op)
    got = evaluated(slopes, inputs, at)
    for i in range(arity(op)):
        derivative = sympy.diff(expression(op), LETTERS[i])
        with mpmath.workdps(30):
            f = sympy.lambdify(LETTERS[: arity(op)], derivative, "mpmath")
            expected = [float(f(*map(mpmath.mpf, column))) for column in at.T]
        np.testing.assert_allclose(got[i], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("op", [o for o in SMOOTH if o.name not in NOT_COMPLEX], ids=repr)
def test_slope_equals_a_complex_step(op: Op) -> None:
    # A complex step has no subtraction, hence no cancellation: as small as we like.
    step = 1e-30
    slopes, inputs = derivatives(op, 1)
    at = points(op)
    got = evaluated(slopes, inputs, at)
    for i in range(arity(op)):
        nudged = at + step * 1j * (np.arange(arity(op)) == i)[:, None]
        expected = np.imag(op.value(*nudged, **attributes(op))) / step
        np.testing.assert_allclose(got[i], expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("op", [o for o in POINTWISE if o.name in KINKED], ids=repr)
def test_slope_of_a_kinked_op_equals_one_sided_differences(op: Op) -> None:
    # Linear between kinks, and the step is a power of two: the differences are nearly exact.
    step = 2.0**-30
    slopes, inputs = derivatives(op, 1)
    at = points(op)
    if op.name == "clip":
        at = np.array([[-1, 0.2, 0.5, 3, 2, -2, 0.4], [0] * 7, [1] * 7], dtype=float)
    got = evaluated(slopes, inputs, at)
    for i in range(arity(op)):
        for sign in (1, -1):
            moved = at + sign * step * (np.arange(arity(op)) == i)[:, None]
            if op.name == "clip" and i > 0:
                continue  # its ends meet x nowhere here: covered by the two-sided test below
            expected = (op.value(*moved) - op.value(*at)) / (sign * step)
            np.testing.assert_allclose(got[i], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", SMOOTH, ids=repr)
def test_second_derivative_equals_that_of_sympy(op: Op) -> None:
    second, inputs = derivatives(op, 2)
    at = points(op)
    got = evaluated(second, inputs, at)
    letters = LETTERS[: arity(op)]
    total = sum(sympy.diff(expression(op), a) for a in letters)
    for i, letter in enumerate(letters):
        with mpmath.workdps(30):
            f = sympy.lambdify(letters, sympy.diff(total, letter), "mpmath")
            expected = np.array([float(f(*map(mpmath.mpf, column))) for column in at.T])
        np.testing.assert_allclose(got[i], expected, rtol=1e-11, atol=1e-13)


def as_sympy(node: Node) -> Any:
    """Write a slope in SymPy, each op as it says; None where one has no such name."""
    done: dict[Node, Any] = {}
    for n in topological([node]):
        number = constant_value(n)
        if number is not None:
            done[n] = sympy.nsimplify(number, rational=True)
        elif n.op.name == "input":
            done[n] = LETTERS[int(n.attributes["name"][1:])]
        elif n.op.sympy is None or n.op.name in ("sinc", "floor", *KINKED):
            return None
        else:
            done[n] = expression(n.op).subs(
                dict(zip(LETTERS, (done[a] for a in n.args), strict=False)), simultaneous=True
            )
    return done[node]


# Their slopes hold 1/log(2), pi, sqrt(2/pi), ... as floats.
SKIPPED = {"log2", "log10", "sin_pi", "cos_pi", "gelu_tanh_weight"}


@pytest.mark.parametrize("op", [o for o in SMOOTH if o.name not in SKIPPED], ids=repr)
def test_slope_is_symbolically_the_derivative(op: Op) -> None:
    slopes, _ = derivatives(op, 1)
    letters = LETTERS[: arity(op)]
    for letter, slope in zip(letters, slopes, strict=True):
        ours = as_sympy(slope)
        if ours is None:
            continue  # it holds a selection: compared by numbers above
        positive = {a: sympy.Symbol(a.name, positive=True) for a in LETTERS}
        difference = (ours - sympy.diff(expression(op), letter)).subs(positive)
        assert sympy.simplify(difference.rewrite(sympy.exp)) == 0
