"""SymPy's functions of numbers as nodes: what each of them is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from chainrule.errors import UnsupportedError, explain
from chainrule.ir.graph import Node
from chainrule.ops import OPS

__all__ = ["Value", "multiplied", "piecewise", "scalar_builders"]

Value: TypeAlias = "Node | float"
"A truth value is a number here."

FOLDS: Final[dict[str, Callable[[float, float], float]]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "maximum": max, "minimum": min,
}  # fmt: skip


def piecewise(pairs: Sequence[tuple[Value, Value]]) -> Value:
    """Select by the first condition that holds."""
    # Where no condition holds there is no value; a last one that always holds overrides this.
    result: Value = math.nan
    for value, condition in reversed(pairs):
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


def multiplied(args: list[Value]) -> Value:
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


@lru_cache(maxsize=1)
def scalar_builders() -> Mapping[str, Callable[[list[Value]], Value]]:
    """Return what builds each of SymPy's functions, by its name, from built arguments."""
    return {
        **_of_one_name(),
        "Add": _fold("add"), "Mul": multiplied, "Pow": _powered, "Max": _fold("maximum"),
        "Min": _fold("minimum"), "Abs": _call("abs"),
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
