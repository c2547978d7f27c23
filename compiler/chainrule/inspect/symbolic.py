"""To SymPy and back.

Elementwise expressions become SymPy expressions over one symbol for each input; with matrix products
they become matrix expressions.  SymPy is imported when a function here is called, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

__all__ = ["from_sympy", "to_sympy"]

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
    letters = sympy.symbols("x y z")[: len(args)]
    return meaning(node.op).subs(dict(zip(letters, args, strict=True)), simultaneous=True)


@lru_cache(maxsize=512)
def meaning(op: Op) -> Expr:
    """Return what a pointwise op means, over the symbols x, y, z."""
    import sympy

    return sympy.sympify(op.sympy, locals={c: sympy.Symbol(c) for c in "xyz"})


def extent_symbol(extent: Extent) -> Expr:
    """Return an extent as a positive integer expression."""
    import sympy

    if isinstance(extent, int):
        return sympy.Integer(extent)
    text = show_extent(extent)
    if text.isidentifier():
        return sympy.Symbol(text, integer=True, positive=True)
    raise UnsupportedError(explain("SymPy's matrices need plain extents", f"extent  {text}"))


def from_sympy(expression: Expr, symbols: Mapping[Any, Node]) -> Node:
    """Build a node from a SymPy expression.

    Numbers take the type of the nodes they meet; matrix products become contractions.

    Args:
        expression: Made of numbers, the given symbols, arithmetic, elementary functions, Piecewise,
            Max, Min, relations; of matrix symbols also products, sums, transposes.
        symbols: The node that each symbol, or each symbol's name, stands for; of one shape, or
            broadcast beforehand.

    Raises:
        UnsupportedError: The expression holds a function that no op stands for.

    >>> import sympy
    >>> from chainrule.ir.graph import Graph
    >>> from chainrule.ir.types import F64, Type
    >>> from chainrule.ops import OPS
    >>> x = Graph(OPS).input("x", Type(F64, (3,)))
    >>> to_sympy(from_sympy(sympy.sympify("x**2 * exp(-x)"), {"x": x}))
    x**2*exp(-x)
    """
    import sympy

    known = {str(name): node for name, node in symbols.items()}
    assert known, "the graph is that of the symbols"
    done: dict[Expr, Node | float] = {}
    for part in sympy.postorder_traversal(expression):
        if part not in done:
            found = _built(part, done, known)
            if found is not None:
                done[part] = found
    result = done.get(expression)
    if result is None:
        raise UnsupportedError(explain(f"no op for {expression}"))
    like = next(iter(known.values()))
    return result if isinstance(result, Node) else like.graph.full_like(like, result)


def _built(part: Expr, done: Mapping[Expr, Node | float], known: Mapping[str, Node]) -> Node | float | None:  # noqa: E501
    """Build one expression from its parts; None for what is no value, as a condition's pair."""
    import sympy

    if isinstance(part, sympy.Symbol | sympy.MatrixSymbol):
        if str(part) not in known:
            facts = [f"{name}  {node.type}" for name, node in known.items()]
            raise UnsupportedError(explain(f"the symbol {part} is not given", *facts))
        return known[str(part)]
    if part.is_Number or part.is_NumberSymbol or part in (sympy.oo, -sympy.oo):
        return float(part)
    if part in (sympy.true, sympy.false):
        return bool(part)
    if type(part).__name__ in ("Str", "Tuple", "ExprCondPair"):
        return None
    if isinstance(part, sympy.Piecewise):
        return _piecewise(part, done)
    builder = _builders().get(type(part).__name__)
    if builder is None:
        raise UnsupportedError(
            explain(f"no op stands for {type(part).__name__}", f"in  {part}",
                    hint="declare it with chainrule.scalar_op")
        )  # fmt: skip
    return builder([done[a] for a in part.args])


def _piecewise(part: Expr, done: Mapping[Expr, Node | float]) -> Node | float:
    *rows, last = part.args
    result = done[last.args[0]]
    for row in reversed(rows):
        value, condition = done[row.args[0]], done[row.args[1]]
        if not isinstance(condition, Node):
            result = value if condition else result
            continue
        like = next((v for v in (value, result) if isinstance(v, Node)), None)
        a, b = (
            v if isinstance(v, Node)
            else condition.graph.full(condition.shape, v, (like or _float(condition)).dtype)
            for v in (value, result)
        )  # fmt: skip
        result = condition.graph.select(condition, a, b)
    return result


def _float(condition: Node) -> Node:
    """Return an operand of a comparison, whose type a selection between numbers takes."""
    while condition.dtype.kind == "bool" and condition.args:
        condition = condition.args[0]
    return condition


def _call(name: str) -> Callable[[list[Node | float]], Node | float]:
    def build(args: list[Node | float]) -> Node | float:
        like = next((a for a in args if isinstance(a, Node)), None)
        if like is None:
            raise UnsupportedError(explain(f"{name} of numbers only", f"numbers  {args}"))
        nodes = [a if isinstance(a, Node) else like.graph.full_like(like, a) for a in args]
        return like.graph.call(name, *nodes)

    return build


def _fold(name: str) -> Callable[[list[Node | float]], Node | float]:
    """Apply a binary op from left to right."""

    def build(args: list[Node | float]) -> Node | float:
        # Numbers first, so that they are combined before they become arrays.
        numbers = [a for a in args if not isinstance(a, Node)]
        total: Node | float = numbers[0] if numbers else args[0]
        rest = [*numbers[1:], *(a for a in args if isinstance(a, Node))]
        for one in rest if numbers else args[1:]:
            if isinstance(total, Node) or isinstance(one, Node):
                total = _call(name)([total, one])
            else:
                total = {"add": total + one, "mul": total * one,
                         "maximum": max(total, one), "minimum": min(total, one)}[name]  # fmt: skip
        return total

    return build


def _multiplied(args: list[Node | float]) -> Node | float:
    """Multiply; a factor -1 is a sign and a factor x**-1 stays a product."""
    if -1.0 in args and len(args) > 1:
        rest = list(args)
        rest.remove(-1.0)
        inner = _fold("mul")(rest)
        return -inner
    return _fold("mul")(args)


def _powered(args: list[Node | float]) -> Node | float:
    base, exponent = args
    if not isinstance(base, Node) and not isinstance(exponent, Node):
        return float(base) ** float(exponent)
    if isinstance(base, Node) and not isinstance(exponent, Node):
        if exponent == 2:
            return base * base
        if exponent == -1:
            return 1 / base
        if exponent in (0.5, -0.5):
            root = base.graph.call("sqrt", base)
            return root if exponent > 0 else 1 / root
    return _call("pow")(args)


def _product(args: list[Node | float]) -> Node | float:
    """Multiply matrices from left to right."""
    total: Node | float = args[0]
    for one in args[1:]:
        if isinstance(total, Node) and isinstance(one, Node) and total.type.rank and one.type.rank:
            summed = (total.type.rank - 1,), (max(one.type.rank - 2, 0),)
            total = total.graph.call("contract", total, one, batch=((), ()), summed=summed)
        else:
            total = _multiplied([total, one])
    return total


def _transposed(args: list[Node | float]) -> Node | float:
    (x,) = args
    if not isinstance(x, Node) or x.type.rank < 2:
        return x
    return x.graph.call("transpose", x, axes=(1, 0))


@lru_cache(maxsize=1)
def _builders() -> dict[str, Callable[[list[Node | float]], Node | float]]:
    return {
        "Add": _fold("add"), "Mul": _multiplied, "Pow": _powered, "Max": _fold("maximum"),
        "Min": _fold("minimum"), "MatAdd": _fold("add"), "MatMul": _product,
        "HadamardProduct": _fold("mul"), "Transpose": _transposed, "Abs": _call("abs"),
        "Mod": _call("remainder"), "ceiling": _call("ceil"), "Equality": _call("equal"),
        "Unequality": _call("not_equal"), "StrictLessThan": _call("less"),
        "LessThan": _call("less_equal"), "StrictGreaterThan": _call("greater"),
        "GreaterThan": _call("greater_equal"), "And": _fold("bit_and"), "Or": _fold("bit_or"),
        "Not": _call("bit_not"),
        **{name: _call(name) for name in (
            "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
            "asinh", "acosh", "atanh", "erf", "erfc", "sign", "floor", "atan2", "sinc",
        ) if name != "sinc"},
    }  # fmt: skip
