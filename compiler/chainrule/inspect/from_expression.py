"""From SymPy to nodes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from chainrule.errors import UnsupportedError, explain
from chainrule.ir.graph import Node
from chainrule.ops import OPS

__all__ = ["from_sympy"]

Expr: TypeAlias = Any
"A SymPy expression; SymPy has no annotations."

Value: TypeAlias = "Node | float"

FOLDS: Final[dict[str, Callable[[float, float], float]]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "maximum": max, "minimum": min,
}  # fmt: skip


def from_sympy(expression: Expr, symbols: Mapping[Any, Node]) -> Node:
    """Build a node from a SymPy expression.

    Numbers take the type of the nodes they meet; matrix products become contractions.

    Args:
        expression: Made of numbers, the given symbols, arithmetic, elementary functions, Piecewise
            (NaN where no condition holds), Max, Min, Heaviside, relations; of matrix symbols also
            products, sums, transposes.
        symbols: The node that each symbol, or each symbol's name, stands for; of one shape, or
            broadcast beforehand.

    Raises:
        UnsupportedError: The expression holds a function that no op stands for.

    >>> import sympy
    >>> from chainrule.inspect.symbolic import to_sympy
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
    done: dict[Expr, Value] = {}
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


def _built(part: Expr, done: Mapping[Expr, Value], known: Mapping[str, Node]) -> Value | None:
    """Build one expression from its parts; None for what is no value, as a condition's pair."""
    import sympy

    if isinstance(part, sympy.Symbol | sympy.MatrixSymbol):
        if str(part) not in known:
            facts = [f"{name}  {node.type}" for name, node in known.items()]
            raise UnsupportedError(explain(f"the symbol {part} is not given", *facts))
        return known[str(part)]
    if part in (sympy.true, sympy.false):
        return bool(part)
    if type(part).__name__ in ("Str", "Tuple", "ExprCondPair"):
        return None
    if getattr(part, "is_number", False):
        return _number(part)
    if isinstance(part, sympy.Piecewise):
        return _piecewise(part, done)
    builder = _builders().get(type(part).__name__)
    if builder is None:
        raise UnsupportedError(
            explain(f"no op stands for {type(part).__name__}", f"in  {part}",
                    hint="rewrite it with functions that chainrule.special has")
        )  # fmt: skip
    return builder([done[a] for a in part.args])


def _number(part: Expr) -> float:
    """Return a number without symbols, as sqrt(2) or exp(3), to the last bit."""
    try:
        return float(part if part.is_Rational else part.evalf(25))
    except TypeError:
        raise UnsupportedError(explain(f"{part} is no real number")) from None


def _piecewise(part: Expr, done: Mapping[Expr, Value]) -> Value:
    # Where no condition holds there is no value; a last one that always holds overrides this.
    result: Value = math.nan
    for row in reversed(part.args):
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


def _call(name: str) -> Callable[[list[Value]], Value]:
    def build(args: list[Value]) -> Value:
        like = next((a for a in args if isinstance(a, Node)), None)
        if like is None:
            raise UnsupportedError(explain(f"{name} of numbers only", f"numbers  {args}"))
        nodes = [a if isinstance(a, Node) else like.graph.full_like(like, a) for a in args]
        return like.graph.call(name, *nodes)

    return build


def _fold(name: str) -> Callable[[list[Value]], Value]:
    """Apply a binary op from left to right."""

    def build(args: list[Value]) -> Value:
        # Numbers first, so that they are combined before they become arrays.
        numbers = [a for a in args if not isinstance(a, Node)]
        total: Value = numbers[0] if numbers else args[0]
        rest: list[Value] = [*numbers[1:], *[a for a in args if isinstance(a, Node)]]
        for one in rest if numbers else args[1:]:
            if isinstance(total, Node) or isinstance(one, Node):
                total = _call(name)([total, one])
            else:
                total = FOLDS[name](total, one)
        return total

    return build


def _multiplied(args: list[Value]) -> Value:
    """Multiply; a factor -1 is a sign."""
    if -1.0 in args and len(args) > 1:
        rest = list(args)
        rest.remove(-1.0)
        inner = _fold("mul")(rest)
        return -inner
    return _fold("mul")(args)


def _powered(args: list[Value]) -> Value:
    base, exponent = args
    if not isinstance(base, Node) and not isinstance(exponent, Node):
        return float(base**exponent)
    if isinstance(base, Node) and not isinstance(exponent, Node):
        if exponent == 2:
            return base * base
        if exponent == -1:
            return 1 / base
        if exponent in (0.5, -0.5):
            root = base.graph.call("sqrt", base)
            return root if exponent > 0 else 1 / root
    return _call("pow")(args)


def _heaviside(args: list[Value]) -> Value:
    """Build the unit step, NaN for NaN; SymPy says what it is at 0."""
    x, at_zero = args
    if not isinstance(x, Node):
        return at_zero if x == 0 else 0.5 + math.copysign(0.5, x)
    step = 0.5 * x.graph.call("sign", x) + 0.5
    return step if at_zero == 0.5 else x.graph.select(x.equals(0), at_zero, step)


def _sinc(args: list[Value]) -> Value:
    """Build sin(x)/x of the op that is sin(pi x)/(pi x)."""
    (x,) = args
    assert isinstance(x, Node), "a number has been evaluated"
    return x.graph.call("sinc", x / math.pi, order=0)


def _inverse(name: str) -> Callable[[list[Value]], Value]:
    """Build 1/f(x)."""
    return lambda args: 1 / _call(name)(args)


def _product(args: list[Value]) -> Value:
    """Multiply matrices from left to right."""
    total: Value = args[0]
    for one in args[1:]:
        if isinstance(total, Node) and isinstance(one, Node) and total.type.rank and one.type.rank:
            summed = (total.type.rank - 1,), (max(one.type.rank - 2, 0),)
            total = total.graph.call("contract", total, one, batch=((), ()), summed=summed)
        else:
            total = _multiplied([total, one])
    return total


def _transposed(args: list[Value]) -> Value:
    (x,) = args
    if not isinstance(x, Node) or x.type.rank < 2:
        return x
    return x.graph.call("transpose", x, axes=(1, 0))


@lru_cache(maxsize=1)
def _builders() -> dict[str, Callable[[list[Value]], Value]]:
    return {
        **_of_one_name(),
        "Add": _fold("add"), "Mul": _multiplied, "Pow": _powered, "Max": _fold("maximum"),
        "Min": _fold("minimum"), "MatAdd": _fold("add"), "MatMul": _product,
        "HadamardProduct": _fold("mul"), "Transpose": _transposed, "Abs": _call("abs"),
        "Mod": _call("remainder"), "ceiling": _call("ceil"), "Equality": _call("equal"),
        "Unequality": _call("not_equal"), "StrictLessThan": _call("less"),
        "LessThan": _call("less_equal"), "StrictGreaterThan": _call("greater"),
        "GreaterThan": _call("greater_equal"), "And": _fold("bit_and"), "Or": _fold("bit_or"),
        "Not": _call("bit_not"), "Heaviside": _heaviside, "sinc": _sinc,
        "frac": lambda args: _call("remainder")([*args, 1.0]),
        "sec": _inverse("cos"), "csc": _inverse("sin"), "cot": _inverse("tan"),
        "sech": _inverse("cosh"), "csch": _inverse("sinh"), "coth": _inverse("tanh"),
        # SymPy's own names for them, in sympy.codegen.
        **{name: _call(name) for name in ("log1p", "expm1", "hypot", "logaddexp")},
    }  # fmt: skip


def _of_one_name() -> dict[str, Callable[[list[Value]], Value]]:
    """Return the ops that mean a function of SymPy's of the same arguments, as tanh(x)."""
    found: dict[str, Callable[[list[Value]], Value]] = {}
    for op in OPS.values():
        match = re.fullmatch(r"(\w+)\(x(, y(, z)?)?\)", op.sympy or "")
        if match:
            found.setdefault(match[1], _call(op.name))
    return found
