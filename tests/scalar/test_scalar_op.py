"""Ops declared by a formula, compared with SymPy's own value and derivatives to order 3."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy
from sympy import Abs, Heaviside, Max, Min, Piecewise, erf, exp, log, sin, sqrt, tanh

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import scalar
from chainrule.errors import (
    DTypeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from chainrule.frontend.trace import trace
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph
from chainrule.ir.program import Program, check
from chainrule.ir.types import F32, F64, Type
from chainrule.ops import OPS

x, y, z = sympy.symbols("x y z")
POINTS = (-1.7, -0.6, 0.35, 1.1, 2.3)


class Formula(NamedTuple):
    """A formula of one argument, and where it is smooth."""

    name: str
    expression: Any
    points: Sequence[float] = POINTS


FORMULAS = (
    Formula("ricker_", (1 - x**2) * exp(-(x**2) / 2)),
    Formula("mish_", x * tanh(log(1 + exp(x)))),
    Formula("planck_", x**3 / (exp(x) - 1)),
    Formula("gelu_", x * (1 + erf(x / sqrt(2))) / 2),
    Formula("runge_", 1 / (1 + 25 * x**2)),
    Formula("doppler_", sqrt(x * (1 - x)) * sin(2.1 * sympy.pi / (x + 0.05)), (0.2, 0.4, 0.77)),
    Formula("morse_", (1 - exp(-(x - sympy.Rational(6, 5)) / 3)) ** 2),
    Formula("power_", x**x + x ** sympy.Rational(1, 3) + 2**x, (0.3, 1.1, 2.5)),
    Formula("huber_", Piecewise((x**2 / 2, Abs(x) <= 1), (Abs(x) - sympy.S.Half, True))),
    Formula("hat_", Max(0, 1 - Abs(x)), (-1.7, -0.6, 0.35, 1.1)),
    Formula("between_", Min(Max(x**3, -1), 2) + Max(x, x**2, 2)),
    Formula("step_", Heaviside(x - 1) * (x - 1) ** 3),
    Formula("wave_", sympy.sinc(x) + sympy.sec(x / 3) + sympy.tanh(x) * sympy.cot(x)),
    Formula("saw_", x * sympy.floor(x) + sympy.ceiling(x) ** 2 + sympy.sign(x) * x**2),
    Formula("mod_", sympy.Mod(x, 2) * x + sympy.frac(x) ** 2),
    Formula("arcs_", sympy.asinh(x) * sympy.atan(x) + sympy.acosh(x + 3) + sympy.atan2(x, 2)),
    Formula("three_", Piecewise((exp(x), x < 0), (1 + x, x < 1), (2 * sqrt(x), True)),
            (-1.7, -0.6, 0.35, 1.7)),
    Formula("and_", Piecewise((x**2, (x > -1) & (x < 1)), (-x, (x < -1) | sympy.Eq(x, 5)),
                              (1, True))),
)  # fmt: skip


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a test declares is forgotten after it."""
    known, declared = dict(OPS), dict(scalar._DECLARED)
    yield
    for name in OPS.keys() - known.keys():
        del OPS[name]
    scalar._DECLARED.clear()
    scalar._DECLARED.update(declared)


def sympys(expression: Any, order: int, at: float) -> float:
    """Return SymPy's derivative at a point where no step is."""
    t = sympy.Symbol("t", real=True)
    found = sympy.diff(expression.subs(x, t), t, order) if order else expression.subs(x, t)
    # Away from jumps their derivatives are 0, which SymPy leaves unsaid.
    found = found.replace(sympy.DiracDelta, lambda *_: sympy.S.Zero)
    found = found.subs(t, sympy.Rational(str(at))).doit()
    return float(found.evalf(30))


def nested(function: Callable[..., Any], order: int) -> Callable[..., Any]:
    for _ in range(order):
        function = cr.grad(function)
    return function


SMOOTH = [f for f in FORMULAS if f.name not in ("saw_", "mod_")]


@pytest.mark.share(4)
@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("formula", SMOOTH, ids=lambda f: f.name)
def test_derivatives_are_those_of_sympy(formula: Formula, order: int) -> None:
    op = cr.scalar_op(formula.name, formula.expression)
    points = np.array(formula.points)
    expected = [sympys(formula.expression, order, p) for p in formula.points]
    got = cr.vmap(nested(op, order))(points)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    got32 = cr.vmap(nested(op, order))(points.astype(np.float32))
    assert got32.dtype == np.float32
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got32, expected, rtol=3e-4, atol=3e-5 * scale)
    plain = op(points)
    np.testing.assert_allclose(plain, [sympys(formula.expression, 0, p) for p in formula.points],
                               rtol=1e-12, atol=1e-13)  # fmt: skip


@pytest.mark.parametrize("formula", [f for f in FORMULAS if f not in SMOOTH], ids=lambda f: f.name)
def test_steps_have_slope_zero(formula: Formula) -> None:
    # SymPy leaves derivatives of rounding unevaluated; between the steps a difference is exact
    # enough.
    op = cr.scalar_op(formula.name, formula.expression)
    h, points = 1e-5, np.array(formula.points)

    def value(at: np.ndarray) -> np.ndarray:
        return np.array([float(formula.expression.subs(x, q).evalf(30)) for q in at])

    np.testing.assert_allclose(op(points), value(points), rtol=1e-13)
    slope = (value(points + h) - value(points - h)) / (2 * h)
    np.testing.assert_allclose(cr.vmap(cr.grad(op))(points), slope, rtol=1e-7)


def test_several_arguments_and_their_order() -> None:
    expression = x * exp(-y) + z * sin(x * z)
    point = {x: 0.4, y: -0.7, z: 1.3}
    for args, order in ((None, (x, y, z)), ((z, x, y), (z, x, y)), (("y", "z", "x"), (y, z, x))):
        op = cr.scalar_op(f"mixed_{order[0]}", expression, args=args)
        given = [point[s] for s in order]
        assert op.args == tuple(map(str, order))
        assert float(op(*given)) == pytest.approx(float(expression.subs(point)), rel=1e-14)
        slopes = cr.grad(op, argnums=(0, 1, 2))(*given)
        expected = [float(expression.diff(s).subs(point)) for s in order]
        np.testing.assert_allclose(slopes, expected, rtol=1e-13)
        matrix = cr.hessian(op, argnums=(0, 1, 2))(*given)
        seconds = [[float(expression.diff(a, b).subs(point)) for b in order] for a in order]
        np.testing.assert_allclose(matrix, seconds, rtol=1e-12, atol=1e-14)


def test_an_argument_that_does_not_occur() -> None:
    op = cr.scalar_op("first_of_two", exp(x), args=(x, y))
    assert op(np.zeros((2, 1)), np.zeros(3)).shape == (2, 3)
    np.testing.assert_array_equal(cr.grad(op, argnums=(0, 1))(0.0, 2.0), [1.0, 0.0])
    assert cr.scalar_op("identity_", x)(2.5) == 2.5
    assert cr.grad(cr.scalar_op("identity_", x))(2.5) == 1.0
    constant = cr.scalar_op("constant_", sympy.pi, args=(x,))
    assert constant(np.ones(2)).tolist() == [np.pi, np.pi]
    assert cr.grad(constant)(2.5) == 0.0


def test_many_arguments() -> None:
    symbols = sympy.symbols("a b c d e")
    op = cr.scalar_op("five_", sum(s ** (i + 1) for i, s in enumerate(symbols)))
    assert op(1.0, 2.0, 3.0, 2.0, 1.0) == 1 + 4 + 27 + 16 + 1
    expression = op(*map(cr.symbol, "abcde")).to_sympy()
    assert str(expression) == "a + b**2 + c**3 + d**4 + e**5"


def test_a_function_of_symbols() -> None:
    def swing(q: Any, rate: Any) -> Any:
        return sympy.cos(q * rate) * sympy.exp(-q)

    op = cr.scalar_op("swing", swing)
    assert op.args == ("q", "rate")
    assert op(0.5, rate=2.0) == pytest.approx(np.cos(1.0) * np.exp(-0.5))
    assert cr.jit(lambda q: op(q, rate=2.0))(0.5) == pytest.approx(np.cos(1.0) * np.exp(-0.5))
    assert cr.scalar_op("halved", lambda t: t / 2)(3.0) == 1.5


def test_promotion_and_broadcasting() -> None:
    op = cr.scalar_op("promoted_", x * exp(y))
    one, two = np.float32(1), np.ones((2, 1), np.float32)
    for a, b, dtype in (
        (one, two, np.float32), (two, 2.0, np.float32), (2, two, np.float32),
        (two, np.ones(3), np.float64), (1, 2, np.float64), (np.arange(3), 1.0, np.float64),
        (two, np.ones(3, np.int64), np.float64), (True, 0.5, np.float64),
    ):  # fmt: skip
        plain, compiled = op(a, b), cr.jit(op)(a, b)
        assert plain.dtype == compiled.dtype == dtype
        assert np.shape(plain) == compiled.shape == np.broadcast_shapes(np.shape(a), np.shape(b))
        np.testing.assert_allclose(plain, compiled, rtol=1e-6)
    for run in (op, cr.jit(op)):
        with pytest.raises(ShapeError):
            run(np.ones(2), np.ones(3))
        with pytest.raises(DTypeError):
            run(np.ones(2, complex), 1.0)


def test_every_transformation() -> None:
    op = cr.scalar_op("everywhere_", x * exp(-(x**2)) * y)

    def slope(a: Any, b: Any) -> Any:
        return (1 - 2 * a * a) * np.exp(-a * a) * b

    a, b = np.linspace(-1, 1, 5), np.linspace(2, 3, 5)
    np.testing.assert_allclose(cr.jvp(op, (a, b), (np.ones(5), np.zeros(5)))[1], slope(a, b))
    np.testing.assert_allclose(cr.vjp(op, a, b)[1](np.ones(5))[0], slope(a, b))
    np.testing.assert_allclose(cr.jacfwd(op)(a, b), np.diag(slope(a, b)))
    np.testing.assert_allclose(cr.jacrev(op)(a, b), np.diag(slope(a, b)))
    np.testing.assert_allclose(cr.vmap(cr.grad(op), in_axes=(0, None))(a, 2.0), slope(a, 2.0))
    np.testing.assert_allclose(cr.linearize(lambda t: op(t, b), a)[1](np.ones(5)), slope(a, b))
    second = cr.hvp(lambda t: cnp.sum(op(t, b)))(a, np.ones(5))
    np.testing.assert_allclose(second, (4 * a**3 - 6 * a) * np.exp(-a * a) * b, atol=1e-14)
    assert cr.jit(op, numerics="strict")(a, b).tolist() == op(a, b).tolist()
    named = cr.jit(cr.grad(lambda t: cnp.sum(op(t, 1.0))), dims={"t": ("n",)})
    for n in (1, 3, 17):
        np.testing.assert_allclose(named(np.ones(n)), slope(1.0, 1.0) * np.ones(n))


def test_symbols_print_the_name() -> None:
    op = cr.scalar_op("ricker_p", (1 - x**2) * exp(-(x**2) / 2))
    named = cr.scalar_op("marked", exp(-x), latex=r"\mathcal{M}")
    a = cr.symbol("a", ("n",))
    assert str(op(2 * a)) == "ricker_p(2 a)"
    assert op(a).latex() == r"\operatorname{ricker\_p}\left(a\right)"
    assert named(a).latex() == r"\mathcal{M}\left(a\right)"
    assert "marked" in named(a).mathml()
    assert op(a).to_sympy() == ((1 - x**2) * exp(-(x**2) / 2)).subs(x, sympy.Symbol("a", real=True))
    # The derivative is written out; where it holds the op's own value, by name.
    assert str(cr.gradient(named(a).sum(), a)) == "−marked(a)"
    loss = lambda w, v: cnp.sum(op(v @ w))  # noqa: E731
    said = cr.explain(loss, wrt="w", args=(np.ones(2), np.ones((3, 2))))
    assert "sum(ricker_p(v w))" in str(said)


def test_corners_obey_the_rules_of_the_table() -> None:
    corner = cr.scalar_op("corner_", Max(x, y) + Abs(x))
    np.testing.assert_array_equal(cr.grad(corner, argnums=(0, 1))(0.0, 0.0), [0.5, 0.5])
    length = cr.scalar_op("length_", sqrt(x**2 + y**2))
    np.testing.assert_array_equal(cr.grad(length, argnums=(0, 1))(0.0, 0.0), [0.0, 0.0])
    ratio = cr.scalar_op("ratio_", Piecewise((sin(x) / x, sympy.Ne(x, 0)), (1 - x**2 / 6, True)))
    for order, expected in enumerate((1.0, 0.0, -1 / 3)):
        for dtype in (np.float64, np.float32):
            assert nested(ratio, order)(dtype(0)) == pytest.approx(expected)
    step = cr.scalar_op("step_at", Heaviside(x, 1))
    assert [float(step(v)) for v in (-1.0, 0.0, 2.0)] == [0, 1, 1]
    assert np.isnan(step(np.nan))
    gap = cr.scalar_op("gap_", Piecewise((1, x < 0), (2, x > 1)))
    np.testing.assert_array_equal(gap(np.array([-1.0, 0.5, 2.0])), [1, np.nan, 2])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_selection_keeps_singular_points_out(dtype: Any) -> None:
    op = cr.scalar_op("singular_", x * log(x) + 1 / x + sqrt(x))

    def safe(t: Any) -> Any:
        return cnp.sum(cnp.where(t > 0, op(t), 2 * t))

    at = np.array([-1.0, 0.0, 1.0], dtype)
    np.testing.assert_allclose(cr.grad(safe)(at), [2, 2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(np.diag(cr.hessian(safe)(at)), [0, 0, 2.75], rtol=1e-6)
    pushed = cr.jvp(safe, (at,), (np.ones(3, dtype),))[1]
    np.testing.assert_allclose(pushed, 4.5, rtol=1e-6)


def test_stable_forms_are_found_at_the_declaration() -> None:
    for numerics in ("fast", "strict"):
        soft = cr.scalar_op("softened", log(1 + exp(x)))
        run = cr.jit(cr.value_and_grad(soft), numerics=numerics)
        assert [float(v) for v in run(1000.0)] == [1000.0, 1.0]
        np.testing.assert_allclose(run(-50.0), [np.exp(-50.0)] * 2, rtol=1e-13)


def test_programs_with_it_are_legal_and_evaluate_natively_to_the_same() -> None:
    op = cr.scalar_op("legal_", tanh(x) * y + x**2)
    made = trace(lambda a, b: op(a, b) * op(b, a), np.ones((3, 1)), np.ones(2))
    check(made.program)
    assert "legal_(" in cr.trace(op, 1.0, 2.0).show()
    a, b = np.linspace(0, 1, 3)[:, None], np.array([0.5, -2.0])
    np.testing.assert_allclose(cr.jit(lambda a, b: op(a, b) * op(b, a))(a, b), made.run(a, b),
                               rtol=1e-14)  # fmt: skip
    for dtype in (F64, F32):
        graph = Graph(OPS)
        node = graph.input("a", Type(dtype, (2,)))
        called = graph.call("legal_", node, node)
        assert called is graph.apply(op.op, (node, node), ()) is op.op(node, node)
        (value,) = evaluate(Program("f", (node,), (called,), ("a",), ("y",)), np.ones(2))
        np.testing.assert_allclose(value, np.tanh(1.0) + 1, rtol=1e-6)


def test_it_is_pickled_by_its_definition() -> None:
    op = cr.scalar_op("pickled_", x * exp(-2.1 * y), args=(y, x), latex="p")
    assert pickle.loads(pickle.dumps(op)) is op is copy.deepcopy(op)  # noqa: S301
    compiled = pickle.loads(pickle.dumps(cr.grad(op)))  # noqa: S301
    stored = pickle.dumps(cr.jit(op))
    del OPS["pickled_"], scalar._DECLARED["pickled_"]
    again = pickle.loads(stored)  # noqa: S301
    assert again(0.5, 2.0) == pytest.approx(2 * np.exp(-1.05), rel=1e-15)
    assert compiled(0.5, 2.0) == pytest.approx(-4.2 * np.exp(-1.05), rel=1e-14)


def test_declared_twice() -> None:
    op = cr.scalar_op("twice_", x**2 + 1)
    t = sympy.Symbol("t", positive=True)
    assert cr.scalar_op("twice_", t**2 + 1) is op
    assert cr.scalar_op("twice_", lambda u: u * u + 1) is op
    del OPS["twice_"]
    assert cr.scalar_op("twice_", x**2 + 1) is op
    assert OPS["twice_"] is op.op
    for second in (x**2 + 2, x**2 + 1 + 0 * y + y):
        with pytest.raises(StructureError, match="there is an op twice_ already"):
            cr.scalar_op("twice_", second)
    with pytest.raises(StructureError, match="known  tanh"):
        cr.scalar_op("tanh", tanh(x))


@pytest.mark.parametrize(
    ("declare", "error", "message"),
    [
        (lambda: cr.scalar_op("bad", x * sympy.gamma(x)), UnsupportedError,
         r"no op stands for gamma\n  in  gamma\(x\)"),
        (lambda: cr.scalar_op("bad", sympy.Function("speed")(x)), UnsupportedError, "for speed"),
        (lambda: cr.scalar_op("bad", x > 0), UnsupportedError, "sympy.Piecewise"),
        (lambda: cr.scalar_op("bad", "x + 1"), UnsupportedError, "sympy.sympify"),
        (lambda: cr.scalar_op("bad", sympy.I * x), UnsupportedError, "I is no real number"),
        (lambda: cr.scalar_op("bad", np.exp, args=(x,)), UnsupportedError, "SymPy's functions"),
        (lambda: cr.scalar_op("bad", lambda t: t if t > 0 else -t), UnsupportedError, "Piecewise"),
        (lambda: cr.scalar_op("bad", x + y, args=(x,)), StructureError, "not given   y"),
        (lambda: cr.scalar_op("bad", x, args=(x, x)), StructureError, "args="),
        (lambda: cr.scalar_op("bad", sympy.S(2)), StructureError, "arguments   none"),
        (lambda: cr.scalar_op("not a name", x), StructureError, "Python name"),
        (lambda: cr.scalar_op("two", x + y)(1.0), StructureError, "missing.*'y'"),
        (lambda: cr.scalar_op("two", x + y)(1.0, 2.0, z=3.0), StructureError, "arguments  x, y"),
    ],
)  # fmt: skip
def test_messages(declare: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        declare()
    assert "bad" not in OPS
