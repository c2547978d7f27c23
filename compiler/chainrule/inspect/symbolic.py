"""From nodes to SymPy.

Elementwise expressions become SymPy expressions over one symbol for each input; with matrix
products they become matrix expressions.  SymPy is imported when a function here is called, not
before.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from chainrule.errors import UnsupportedError, explain
from chainrule.inspect.names import input_names
from chainrule.inspect.tidy import tidied
from chainrule.ir.dims import Extent, show_extent
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind, Op
from chainrule.ir.walk import topological

__all__ = ["applied", "extent_symbol", "letters", "sympy_number", "to_sympy"]

Expr: TypeAlias = Any
"A SymPy expression; SymPy has no annotations."

RATIONAL: Final = 100_000
"A float that is p/q for a q up to this becomes that rational number."


def to_sympy(node: Node, *, names: Mapping[Node, str] | None = None) -> Expr:
    """Return a node as a SymPy expression.

    Without contractions the expression says what happens to each element, over real symbols, and
    broadcasting leaves no trace.  With them, matrices and vectors are matrix symbols (a vector is a
    column) and elementwise functions are applied to matrices.

    Raises:
        UnsupportedError: The node holds what SymPy has no notation for, or more than two axes.

    >>> from chainrule.ir.graph import Graph
    >>> from chainrule.ir.types import F64, Type
    >>> from chainrule.ops import OPS
    >>> x = Graph(OPS).input("x", Type(F64, (3,)))
    >>> to_sympy(OPS["tanh"](x) * x + 1)
    x*tanh(x) + 1
    """
    (root,), new = tidied([node])
    given = {new[n]: name for n, name in (names or {}).items() if n in new}
    nodes = topological([root])
    inputs = input_names(nodes, given)
    if all(_is_elementwise(n) for n in nodes):
        return _elementwise(nodes, inputs)[root]
    from chainrule.inspect.matrices import matrices

    return matrices(nodes, inputs)[root]


def _is_elementwise(node: Node) -> bool:
    return node.op.kind is Kind.POINTWISE or node.op.name in ("input", "constant", "broadcast")


def _elementwise(nodes: list[Node], inputs: Mapping[Node, str]) -> dict[Node, Expr]:
    import sympy

    found: dict[Node, Expr] = {}
    for node in nodes:
        if node in inputs:
            if node.dtype.kind == "bool":
                found[node] = sympy.Symbol(inputs[node])
            else:
                found[node] = sympy.Symbol(inputs[node], real=True)
        elif node.op.name == "constant":
            found[node] = sympy_number(node)
        elif node.op.name == "broadcast":
            found[node] = found[node.args[0]]
        else:
            found[node] = applied(node, [found[a] for a in node.args])
    return found


def sympy_number(node: Node) -> Expr:
    """Return a constant as a rational number where it is one, else as a float."""
    import sympy

    value = constant_value(node)
    assert value is not None, "a constant has a value"
    if isinstance(value, bool):
        return sympy.true if value else sympy.false
    if value in (float("inf"), float("-inf")):
        return sympy.oo if value > 0 else -sympy.oo
    if value != value:  # noqa: PLR0124  (NaN)
        return sympy.nan
    near = Fraction(value).limit_denominator(RATIONAL)
    if float(near) == value:
        return sympy.Rational(near.numerator, near.denominator)
    return sympy.Float(value)


def applied(node: Node, args: list[Expr]) -> Expr:
    """Apply a pointwise op to SymPy expressions.

    Raises:
        UnsupportedError: The op means nothing to SymPy.
    """
    import sympy

    name = node.op.name
    if name == "select":
        condition, a, b = args
        return sympy.Piecewise((a, condition), (b, True))
    if name in ("cast", "stop_gradient"):
        if name == "cast" and node.args[0].dtype.kind == "bool":
            return sympy.Piecewise((1, args[0]), (0, True))
        return args[0]
    logic = {
        "equal": sympy.Eq, "not_equal": sympy.Ne, "less": sympy.Lt, "less_equal": sympy.Le,
        "greater": sympy.Gt, "greater_equal": sympy.Ge, "bit_and": sympy.And, "bit_or": sympy.Or,
        "bit_not": sympy.Not,
    }  # fmt: skip
    if name in logic:
        return logic[name](*args)
    if name == "sinc" and node.attributes["order"]:
        dummy = sympy.Dummy("x")
        slope = sympy.diff(meaning(node.op).subs(sympy.Symbol("x"), dummy), dummy,
                           node.attributes["order"])  # fmt: skip
        return slope.subs(dummy, args[0])
    if node.op.sympy is None:
        raise UnsupportedError(explain(f"{name} has no SymPy expression", f"at  {node.type}"))
    plain = map(sympy.Symbol, letters(len(args)))
    return meaning(node.op).subs(dict(zip(plain, args, strict=True)), simultaneous=True)


@lru_cache(maxsize=512)
def meaning(op: Op) -> Expr:
    """Return what a pointwise op means, over the symbols x, y, z."""
    import sympy

    return sympy.sympify(op.sympy, locals={c: sympy.Symbol(c) for c in letters(3)})


def letters(count: int) -> list[str]:
    """Return what the arguments of an op are called in its SymPy expression.

    >>> letters(4)
    ['x', 'y', 'z', 'x3']
    """
    return ["x", "y", "z", *(f"x{i}" for i in range(3, count))][:count]


def extent_symbol(extent: Extent) -> Expr:
    """Return an extent as a positive integer expression."""
    import sympy

    if isinstance(extent, int):
        return sympy.Integer(extent)
    text = show_extent(extent)
    if text.isidentifier():
        return sympy.Symbol(text, integer=True, positive=True)
    raise UnsupportedError(explain("SymPy's matrices need plain extents", f"extent  {text}"))
