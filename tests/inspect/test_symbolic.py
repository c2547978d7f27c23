"""Conversion to SymPy and back, checked by numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import sympy
from tests.inspect.build import N, Net, gradient

from chainrule.errors import UnsupportedError
from chainrule.inspect.from_expression import from_sympy
from chainrule.inspect.symbolic import to_sympy
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Op
from chainrule.ir.program import Program
from chainrule.ir.types import F64, Type
from chainrule.ops import OPS

MEANT = [op for op in OPS.values() if op.kind is Kind.POINTWISE and op.sympy and op.slopes]


def _run(node: Node, inputs: list[Node], *arrays: object) -> np.ndarray:
    names = tuple(str(n.attributes["name"]) for n in inputs)
    program = Program("f", tuple(inputs), (node,), names, ("",))
    (value,) = evaluate(program, *map(np.asarray, arrays))
    return value


@pytest.mark.parametrize("op", MEANT, ids=lambda op: op.name)
def test_every_op_and_back(op: Op) -> None:
    graph = Graph(OPS)
    count = sum(c in sympy.sympify(op.sympy).free_symbols for c in sympy.symbols("x y z"))
    inputs = [graph.input(c, Type(F64, ())) for c in "xyz"[:count]]
    node = graph.call(op.name, *inputs, **dict.fromkeys(op.params, 0))
    low, high = op.domain
    point = [low + (high - low) * f for f in (0.55, 0.3, 0.7)][:count]
    expression = to_sympy(node)
    symbols = {str(s): s for s in expression.free_symbols}
    at = {symbols[c]: p for c, p in zip("xyz", point, strict=False) if c in symbols}
    expected = _run(node, inputs, *point)
    assert float(expression.subs(at)) == pytest.approx(float(expected), rel=1e-12)
    back = from_sympy(expression, dict(zip("xyz", inputs, strict=False)))
    assert float(_run(back, inputs, *point)) == pytest.approx(float(expected), rel=1e-12)


def test_derivatives_agree_with_sympy() -> None:
    x = Graph(OPS).input("x", Type(F64, ()))
    y = OPS["tanh"](x * x) * OPS["exp"](-x)
    ours = to_sympy(gradient(y, x))
    (symbol,) = ours.free_symbols
    assert sympy.simplify(ours - sympy.diff(to_sympy(y), symbol)) == 0


def test_matrix_expressions() -> None:
    net = Net()
    x, w, y = net.input("x", N, 3), net.input("w", 3), net.input("y", N)
    d = net.matmul(x, w) - y
    shown = to_sympy(gradient(net.sum(d * d), w))
    n = sympy.Symbol("n", integer=True, positive=True)
    xs, ws, ys = (
        sympy.MatrixSymbol("x", n, 3),
        sympy.MatrixSymbol("w", 3, 1),
        sympy.MatrixSymbol("y", n, 1),
    )
    numbers = np.random.default_rng(0)
    values = {xs: numbers.normal(size=(4, 3)), ws: numbers.normal(size=(3, 1)),
              ys: numbers.normal(size=(4, 1))}  # fmt: skip
    got = shown.subs({n: 4}).subs({sympy.MatrixSymbol(s.name, *v.shape): sympy.Matrix(v)
                                   for s, v in values.items()}).doit()  # fmt: skip
    expected = 2 * values[xs].T @ (values[xs] @ values[ws] - values[ys])
    np.testing.assert_allclose(np.array(got, dtype=float), expected, rtol=1e-12)


def test_matrix_expressions_come_back() -> None:
    net = Net()
    a, b = net.input("A", 3, 4), net.input("B", 4, 3)
    sa, sb = sympy.MatrixSymbol("A", 3, 4), sympy.MatrixSymbol("B", 4, 3)
    node = from_sympy(2 * sa * sb + (sa * sb).T, {"A": a, "B": b})
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    va, vb = values[0], values[1].T
    np.testing.assert_allclose(_run(node, [a, b], va, vb), 2 * va @ vb + (va @ vb).T, rtol=1e-12)


def test_piecewise_and_relations() -> None:
    x = Graph(OPS).input("x", Type(F64, (3,)))
    s = sympy.Symbol("x")
    expression = sympy.Piecewise((s**2, s > 1), (sympy.Integer(2), s < 0), (-s, True))
    node = from_sympy(expression, {s: x})
    assert _run(node, [x], [-1.0, 0.5, 3.0]).tolist() == [2.0, -0.5, 9.0]


def test_what_has_no_op_is_refused() -> None:
    x = Graph(OPS).input("x", Type(F64, (3,)))
    with pytest.raises(UnsupportedError) as error:
        from_sympy(sympy.besselj(0, sympy.Symbol("x")), {"x": x})
    assert str(error.value) == (
        "no op stands for besselj\n  in  besselj(0, x)\n"
        "hint: rewrite it with functions that chainrule.special has"
    )
    with pytest.raises(UnsupportedError) as error:
        from_sympy(sympy.Symbol("t") + 1, {"x": x})
    assert str(error.value) == "the symbol t is not given\n  x  f64[3]"
    with pytest.raises(UnsupportedError, match="cumsum has no matrix notation in SymPy"):
        to_sympy(OPS["cumsum"](x, axis=0, reverse=False))


def test_importing_does_not_import_sympy() -> None:
    code = "import chainrule.inspect, sys; sys.exit('sympy' in sys.modules)"
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": path})
    assert done.returncode == 0
