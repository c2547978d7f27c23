"""Numbers, names, LaTeX read by SymPy, MathML well formed, counts."""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.inspect.build import N, Net, gradient

from chainrule.inspect import count
from chainrule.inspect.boxes import decimal
from chainrule.inspect.formulas import formula
from chainrule.inspect.numbers import number_tree
from chainrule.inspect.text import text
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Op
from chainrule.ir.program import Program
from chainrule.ir.types import F32, F64, Type
from chainrule.ops import OPS

PRINTED = [op for op in OPS.values() if op.kind is Kind.POINTWISE and op.sympy and op.slopes
           and op.notation]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.0, "3"), (-2.0, "−2"), (0.5, "1 / 2"), (0.1, "0.1"), (1 / 3, "1 / 3"), (1e-8, "1e-8"),
        (1 / 1797, "1 / 1797"), (0.044715, "0.044715"), (2**0.5, "sqrt(2)"), (np.pi, "π"),
        (2 / np.pi**0.5, "2 / sqrt(π)"), ((2 / np.pi) ** 0.5, "sqrt(2 / π)"), (1e300, "1e300"),
        (0.5**0.5, "1 / sqrt(2)"), (float("inf"), "∞"), (float("-inf"), "−∞"),
        (1.2345e-7, "1.2345e-7"),
    ],
)  # fmt: skip
def test_numbers(value: float, shown: str) -> None:
    assert text(number_tree(value, F64)) == shown
    if abs(value) < 1e38 or np.isinf(value):
        assert text(number_tree(float(np.float32(value)), F32)) == shown


def test_any_float_means_itself() -> None:
    random = np.random.default_rng(0)
    for value in random.normal(size=300) * 10.0 ** random.integers(-12, 12, 300):
        shown = text(number_tree(float(value), F64)).replace("−", "-")
        assert float(shown) == value


def test_decimals_and_fractions() -> None:
    assert decimal(Fraction(3, 4)) == ("3", "4")
    assert decimal(Fraction(2, 5)) == ("0.4", "")
    assert decimal(Fraction(10**20)) == ("1e20", "")


def test_names_come_from_paths() -> None:
    graph = Graph(OPS)
    total: Node | None = None
    for path in ("params/W1", "layers/0/W", "layers/1/W", "encoder/b", "decoder/b", "theta"):
        node = graph.input(path, Type(F64, (3,)), path)
        total = node if total is None else total + node
    assert total is not None
    assert formula(total).text() == "params_W₁ + W₀ + layers_W₁ + encoder_b + decoder_b + θ"


def test_given_names_win() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (3,)))
    y = OPS["exp"](x + 1) + x
    assert formula(y, names={x: "signal"}).text() == "signal + exp(signal + 1)"


@pytest.mark.share(3)
@pytest.mark.parametrize("op", PRINTED, ids=lambda op: op.name)
def test_sympy_reads_the_latex(op: Op) -> None:
    pytest.importorskip("lark")
    import sympy
    from sympy.parsing.latex import parse_latex

    graph = Graph(OPS)
    symbols = [s for s in sympy.symbols("x y z") if s in sympy.sympify(op.sympy).free_symbols]
    node = graph.call(
        op.name, *[graph.input(str(s), Type(F64, ())) for s in symbols],
        **dict.fromkeys(op.params, 0),
    )  # fmt: skip
    latex = formula(node * 2 + 1).latex()
    unread = (r"\operatorname", r"\sigma", r"\Phi", r"\pi ", r"\begin", r"\max", r"\min")
    if any(sign in latex for sign in unread):
        pytest.skip("SymPy's grammar has no such function, or not pi in a product")
    parsed = parse_latex(latex, backend="lark")
    # The grammar is ambiguous about cosh: c, o, s, h may be letters.
    readings = parsed.children if hasattr(parsed, "children") else [parsed]
    low, high = op.domain
    point = {s: low + (high - low) * f for s, f in zip(symbols, (0.6, 0.8), strict=False)}
    meant = float((2 * sympy.sympify(op.sympy) + 1).subs(point))
    values = [r.subs(point) for r in readings if hasattr(r, "subs")]
    assert any(v.is_number and complex(v) == pytest.approx(meant) for v in values), latex


@pytest.mark.parametrize("op", [o for o in OPS.values() if o.notation], ids=lambda op: op.name)
def test_every_notation_has_all_three_forms(op: Op) -> None:
    if op.kind is not Kind.POINTWISE or op.name == "cast":
        pytest.skip("covered with its attributes in test_read_back")
    graph = Graph(OPS)
    assert op.notation is not None
    kind = F64 if op.name not in ("bit_and", "bit_or", "bit_not") else OPS_BITS
    args = [graph.input(c, Type(kind, (3,))) for c in "abc"[: op.notation.text.count("{")]]
    if op.name == "select":
        args[0] = args[0] > 0
    found = formula(graph.call(op.name, *args, **dict.fromkeys(op.params, 0)))
    ET.fromstring(found.mathml())  # noqa: S314  (our own text)
    latex = found.latex()
    assert latex.count("{") == latex.count("}")
    assert latex.isascii()


OPS_BITS = Graph(OPS).constant(1, F64).equals(1.0).dtype


def test_counts_of_a_network() -> None:
    net = Net()
    x, y = net.input("x", N, 64), net.input("y", N, 10)
    w1, w2 = net.input("W1", 64, 32), net.input("W2", 32, 10)
    d = net.matmul(net.unary("tanh", net.matmul(x, w1)), w2) - y
    loss = net.mean(d * d)
    inputs, paths = (x, y, w1, w2), ("x", "y", "W1", "W2")
    forward = count(Program("f", inputs, (loss,), paths, ("",)), {"n": 100})
    both = Program(
        "g", inputs, (loss, gradient(loss, w1), gradient(loss, w2)), paths, ("", "W1", "W2")
    )
    joint = count(both, {"n": 100})
    products = 2 * 100 * (64 * 32 + 32 * 10)
    assert forward.contraction_flops == products
    # Nobody asked for the derivative by x: one product fewer than twice as many.
    assert joint.contraction_flops == 3 * products - 2 * 100 * 64 * 32
    assert forward.input_bytes == 8 * (6400 + 1000 + 64 * 32 + 320)
    assert joint.output_bytes == 8 * (1 + 64 * 32 + 320)
    assert 2 < joint.ratio(forward) < 3
    assert "in matrix products" in str(joint)


def test_new_axes_and_slices_are_code_in_latex() -> None:
    net = Net()
    x, v = net.input("x", N, 4), net.input("v", N)
    assert formula(x * net.columns(v, x)).latex() == r"x \odot v\left[\texttt{:, None}\right]"
    part = net.graph.call("slice", x, starts=(1, 0), shape=(2, 4), steps=(1, 1))
    assert formula(part).latex() == r"x\left[\texttt{1:3, :}\right]"
