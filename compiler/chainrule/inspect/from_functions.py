"""SymPy's functions of numbers on traced values: what each of them is made of.

Arithmetic is that of `chainrule.numpy`: operands are promoted and broadcast as NumPy does with the
same Python expression, in which whole numbers are ints and all others floats.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np

from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import IMPLEMENTATIONS
from chainrule.frontend.operands import common_dtype
from chainrule.numpy.pointwise import aligned
from chainrule.ops import OPS

__all__ = ["Value", "multiplied", "piecewise", "promoted", "scalar_builders"]

Value: TypeAlias = "Array | float"
"A traced value or a Python number; a truth value is a number here."

FOLDS: Final[dict[str, Callable[[float, float], float]]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "maximum": max, "minimum": min,
    "logical_and": lambda a, b: a and b, "logical_or": lambda a, b: a or b,
}  # fmt: skip
UFUNCS: Final[dict[str, str]] = {
    "mul": "multiply", "div": "divide", "sub": "subtract", "neg": "negative", "pow": "power",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "atan2": "arctan2",
}  # fmt: skip
"NumPy's names of ops that it calls otherwise."


def promoted(name: str, *args: Value) -> Array:
    """Apply an op to operands promoted by NumPy's function of that name, else to floats."""
    function = IMPLEMENTATIONS.get(getattr(np, UFUNCS.get(name, name), None))
    if function is not None:
        result: Array = function(*args)
        return result
    nodes, weak, _ = aligned(args, np.sin if len(args) == 1 else np.arctan2)
    return Array(nodes[0].graph.call(name, *nodes), weak)


def piecewise(pairs: Sequence[tuple[Value, Value]]) -> Value:
    """Select by the first condition that holds."""
    # Where no condition holds there is no value; a last one that always holds overrides this.
    result: Value = math.nan
    for value, condition in reversed(pairs):
        if not isinstance(condition, Array):
            result = value if condition else result
            continue
        first = value
        if not isinstance(value, Array) and not isinstance(result, Array):
            first = _like_compared(condition, value, result)
        result = IMPLEMENTATIONS[np.where](condition, first, result)
    return result


def _like_compared(condition: Array, value: float, other: float) -> Value:
    """Return a number as an array of the floating-point type whose operands are compared.

    So a choice between numbers by an array of float32 is one of float32.
    """
    compared = condition.node
    while compared.dtype.kind == "bool" and compared.args:
        compared = compared.args[0]
    if not compared.dtype.is_float and isinstance(value, int) and isinstance(other, int):
        return value
    dtype = common_dtype([Array(compared), value, other])
    return Array(compared.graph.constant(value, dtype))


def _call(name: str) -> Callable[[list[Value]], Value]:
    def build(args: list[Value]) -> Value:
        if not any(isinstance(a, Array) for a in args):
            raise UnsupportedError(explain(f"{name} of numbers only", f"numbers  {args}"))
        return promoted(name, *args)

    return build


def _fold(name: str) -> Callable[[list[Value]], Value]:
    """Apply a binary op from left to right."""

    def build(args: list[Value]) -> Value:
        # Numbers first, so that they are combined before they become arrays.
        numbers = [a for a in args if not isinstance(a, Array)]
        total: Value = numbers[0] if numbers else args[0]
        rest: list[Value] = [*numbers[1:], *[a for a in args if isinstance(a, Array)]]
        for one in rest if numbers else args[1:]:
            if isinstance(total, Array) or isinstance(one, Array):
                total = promoted(name, total, one)
            else:
                total = FOLDS[name](total, one)
        return total

    return build


def _added(args: list[Value]) -> Value:
    """Add; a whole number below 0 is subtracted, since unsigned arrays hold none."""
    whole = [a for a in args if not isinstance(a, Array) and isinstance(a, int)]
    if len(whole) == 1 and whole[0] < 0 and len(args) > 1:
        rest = _fold("add")([a for a in args if a is not whole[0]])
        if isinstance(rest, Array) and not rest.node.dtype.is_float:
            return promoted("sub", rest, -whole[0])
    return _fold("add")(args)


def multiplied(args: list[Value]) -> Value:
    """Multiply; a factor -1 is a sign."""
    signs = [i for i, a in enumerate(args) if not isinstance(a, Array) and a == -1]
    if not signs or len(args) == 1:
        return _fold("mul")(args)
    inner = _fold("mul")([a for i, a in enumerate(args) if i != signs[0]])
    return promoted("neg", inner) if isinstance(inner, Array) else -inner


def _powered(args: list[Value]) -> Value:
    base, exponent = args
    if not isinstance(base, Array) and not isinstance(exponent, Array):
        return float(base**exponent)
    if isinstance(base, Array) and not isinstance(exponent, Array):
        if exponent == 2 and base.node.dtype.kind != "bool":
            return promoted("mul", base, base)
        if exponent == -1:
            return promoted("div", 1, base)
        if exponent in (0.5, -0.5):
            root = promoted("sqrt", base)
            return root if exponent > 0 else promoted("div", 1, root)
        if exponent < 0:
            exponent = float(exponent)  # the inverse of a whole number is none
    return promoted("pow", base, exponent)


def _heaviside(args: list[Value]) -> Value:
    """Build the unit step, NaN for NaN; SymPy says what it is at 0."""
    x, at_zero = args
    if not isinstance(x, Array):
        return at_zero if x == 0 else 0.5 + math.copysign(0.5, x)
    step = promoted("add", promoted("mul", 0.5, promoted("sign", x)), 0.5)
    if not isinstance(at_zero, Array) and at_zero == 0.5:
        return step
    chosen: Array = IMPLEMENTATIONS[np.where](promoted("equal", x, 0), at_zero, step)
    return chosen


def _sinc(args: list[Value]) -> Value:
    """Build sin(x)/x of the op that is sin(pi x)/(pi x)."""
    (x,) = args
    node = promoted("div", x, math.pi).node
    return Array(node.graph.call("sinc", node, order=0))


def _inverse(name: str) -> Callable[[list[Value]], Value]:
    """Build 1/f(x)."""
    return lambda args: promoted("div", 1, _call(name)(args))


@lru_cache(maxsize=1)
def scalar_builders() -> Mapping[str, Callable[[list[Value]], Value]]:
    """Return what builds each of SymPy's functions, by its name, from built arguments."""
    return {
        **_of_one_name(),
        "Add": _added, "Mul": multiplied, "Pow": _powered, "Max": _fold("maximum"),
        "Min": _fold("minimum"), "Abs": _call("abs"),
        "Mod": _call("remainder"), "ceiling": _call("ceil"), "Equality": _call("equal"),
        "Unequality": _call("not_equal"), "StrictLessThan": _call("less"),
        "LessThan": _call("less_equal"), "StrictGreaterThan": _call("greater"),
        "GreaterThan": _call("greater_equal"), "And": _fold("logical_and"),
        "Or": _fold("logical_or"), "Not": _call("logical_not"), "Heaviside": _heaviside,
        "sinc": _sinc, "frac": lambda args: promoted("remainder", args[0], 1),
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
