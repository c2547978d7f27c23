"""Elementwise functions: arithmetic, comparisons, logic, elementary functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import IMPLEMENTATIONS, array_function
from chainrule.frontend.extents import SymbolicExtent
from chainrule.frontend.operands import (
    Operand,
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    graph_of,
    kind_of,
    node_of,
    resolve,
    shape_of,
)
from chainrule.frontend.value import Value
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I64, DType, dtype_of

__all__ = [
    "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "cos",
    "cosh", "divide", "equal", "exp", "expm1", "floor_divide", "fmod", "greater", "greater_equal",
    "hypot", "invert", "left_shift", "less", "less_equal", "log", "log1p", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod",
    "multiply", "negative", "not_equal", "remainder", "right_shift",
    "sign", "sin", "sinh", "sqrt", "subtract", "tan", "tanh", "true_divide",
]  # fmt: skip

_COMPARISONS: Final = frozenset(
    {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
)


def aligned(args: tuple[Any, ...], ufunc: np.ufunc) -> tuple[list[Node], bool, tuple[DType, ...]]:
    """Bring operands into one graph, the dtypes of `ufunc` and one shape.

    Returns:
        The nodes, whether all operands are weak, and the dtypes of the operands and the result.
    """
    operands = [x if isinstance(x, Array) else as_operand(x) for x in args]
    dtypes = resolve(ufunc, operands)
    graph = graph_of(operands)
    shape = broadcast_shape([shape_of(x) for x in operands], operands)
    nodes = [
        broadcast_to_shape(node_of(x, graph, d), shape)
        for x, d in zip(operands, dtypes, strict=False)
    ]
    return nodes, all(map(_is_weak, operands)), dtypes


def _in_dtype(ufunc: np.ufunc, args: tuple[Any, ...], dtype: Any) -> tuple[Array, ...]:
    """Convert operands to what `ufunc` takes where its result is asked for in a dtype."""
    operands = [as_operand(x) for x in args]
    graph = graph_of(operands)
    dtypes = resolve(ufunc, operands, dtype_of(dtype))
    return tuple([Array(node_of(x, graph, d)) for x, d in zip(operands, dtypes, strict=False)])


IMPLEMENTATIONS["in dtype"] = _in_dtype


def _is_weak(x: Operand) -> bool:
    return x.weak if isinstance(x, Value) else not isinstance(x, np.ndarray)


def pointwise(name: str, ufunc: np.ufunc, *args: Any) -> Array:
    """Apply the op `name` to operands promoted as those of `ufunc` are."""
    if name in _COMPARISONS:
        if any(x is None for x in args) and name in {"equal", "not_equal"}:
            return _unlike_none(name, args)
        args = tuple(_comparable(x, args) for x in args)
    nodes, weak, _ = aligned(args, ufunc)
    return Array(nodes[0].graph.call(name, *nodes), weak)


def _unlike_none(name: str, args: tuple[Any, ...]) -> Array:
    """Compare with None, which no element is equal to."""
    operand = as_operand(next(x for x in args if x is not None))
    graph = graph_of([operand])
    return Array(graph.full(shape_of(operand), name == "not_equal", BOOL))


def _comparable(x: Any, args: tuple[Any, ...]) -> Any:
    """Compare integers by their values, whether or not the dtype of one can hold the other.

    A Python number that the other's dtype cannot hold becomes an infinity.  One that is yet to come
    may be any int64, so what it is compared with becomes int64.
    """
    if type(x) is int:
        dtypes = [kind_of(a) for a in map(as_operand, args) if kind_of(a) not in (int, float)]
        if not dtypes or dtypes[0].kind not in "iu":
            return x
        bounds = np.iinfo(dtypes[0])
        return x if bounds.min <= x <= bounds.max else math.copysign(math.inf, x)
    if any(map(_is_integer_to_come, args)):
        kind = kind_of(as_operand(x))
        if (
            kind is not int
            and kind is not float
            and kind.kind in "iu"
            and kind.itemsize < I64.nbytes
        ):
            return Array(cast(x.node, I64)) if isinstance(x, Array) else np.asarray(x, np.int64)
    return x


def _is_integer_to_come(x: Any) -> bool:
    if isinstance(x, Array):
        return x.weak and x.node.dtype is I64
    return isinstance(x, SymbolicExtent)


def _function(name: str, *ufuncs: np.ufunc) -> Callable[..., Any]:
    """Declare an op as the meaning of a ufunc (under several names)."""
    ufunc = ufuncs[0]
    if ufunc.nin == 1:

        def unary(x: Any, /) -> Any:
            return pointwise(name, ufunc, x)

        made: Callable[..., Any] = unary
    else:

        def binary(a: Any, b: Any, /) -> Any:
            return pointwise(name, ufunc, a, b)

        made = binary
    return named_like(array_function(*ufuncs)(made), ufunc)


def named_like(function: Callable[..., Any], ufunc: np.ufunc) -> Callable[..., Any]:
    """Give a function its NumPy name and the first line of what NumPy says of it."""
    function.__name__ = function.__qualname__ = ufunc.__name__
    lines = (ufunc.__doc__ or "").split("\n\n")
    summary = " ".join(lines[1].split()) if len(lines) > 1 else ""
    function.__doc__ = f"{summary}\n\nElementwise, as `numpy.{ufunc.__name__}`."
    return function


def _logical(name: str, numeric: np.ufunc, bool_op: str) -> Callable[..., Any]:
    """Declare arithmetic that is logic on truth values."""

    def binary(a: Any, b: Any, /) -> Any:
        nodes, weak, dtypes = aligned((a, b), numeric)
        op = bool_op if dtypes[-1] is BOOL else name
        return Array(nodes[0].graph.call(op, *nodes), weak)

    return named_like(array_function(numeric)(binary), numeric)


add = _logical("add", np.add, "bit_or")
multiply = _logical("mul", np.multiply, "bit_and")
subtract = _function("sub", np.subtract)
divide = true_divide = _function("div", np.divide, np.true_divide)
negative = _function("neg", np.negative)
floor_divide = _function("floor_divide", np.floor_divide)
remainder = mod = _function("remainder", np.remainder)
fmod = _function("fmod", np.fmod)
maximum = _function("maximum", np.maximum)
minimum = _function("minimum", np.minimum)
hypot = _function("hypot", np.hypot)
arctan2 = atan2 = _function("atan2", np.arctan2)
logaddexp = _function("logaddexp", np.logaddexp)

sign = _function("sign", np.sign)
sqrt = _function("sqrt", np.sqrt)
exp = _function("exp", np.exp)
expm1 = _function("expm1", np.expm1)
log = _function("log", np.log)
log1p = _function("log1p", np.log1p)
sin = _function("sin", np.sin)
cos = _function("cos", np.cos)
tan = _function("tan", np.tan)
arcsin = asin = _function("asin", np.arcsin)
arccos = acos = _function("acos", np.arccos)
arctan = atan = _function("atan", np.arctan)
sinh = _function("sinh", np.sinh)
cosh = _function("cosh", np.cosh)
tanh = _function("tanh", np.tanh)
arcsinh = asinh = _function("asinh", np.arcsinh)
arccosh = acosh = _function("acosh", np.arccosh)
arctanh = atanh = _function("atanh", np.arctanh)

equal = _function("equal", np.equal)
not_equal = _function("not_equal", np.not_equal)
less = _function("less", np.less)
less_equal = _function("less_equal", np.less_equal)
greater = _function("greater", np.greater)
greater_equal = _function("greater_equal", np.greater_equal)
bitwise_and = _function("bit_and", np.bitwise_and)
bitwise_or = _function("bit_or", np.bitwise_or)
bitwise_xor = _function("bit_xor", np.bitwise_xor)
bitwise_not = bitwise_invert = invert = _function("bit_not", np.invert)
left_shift = bitwise_left_shift = _function("shift_left", np.left_shift)
right_shift = bitwise_right_shift = _function("shift_right", np.right_shift)


def _truth(name: str, ufunc: np.ufunc) -> Callable[..., Any]:
    """Declare logic: what is not 0 is true, NaN too."""

    def logic(*args: Any) -> Array:
        nodes, _, _ = aligned(args, ufunc)
        return Array(nodes[0].graph.call(name, *(cast(n, BOOL) for n in nodes)))

    def unary(x: Any, /) -> Array:
        return logic(x)

    def binary(a: Any, b: Any, /) -> Array:
        return logic(a, b)

    return named_like(array_function(ufunc)(unary if ufunc.nin == 1 else binary), ufunc)


logical_and = _truth("bit_and", np.logical_and)
logical_or = _truth("bit_or", np.logical_or)
logical_not = _truth("bit_not", np.logical_not)
logical_xor = _truth("bit_xor", np.logical_xor)
