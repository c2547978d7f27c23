"""Elementwise functions that are written with a few ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    common_dtype,
    graph_of,
    node_of,
    resolve,
    shape_of,
)
from chainrule.frontend.value import refuse
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, dtype_of
from chainrule.numpy.pointwise import aligned, named_like, pointwise

__all__ = [
    "abs", "absolute", "cbrt", "ceil", "clip", "conj", "conjugate", "copysign", "deg2rad",
    "degrees", "divmod", "exp2", "fabs", "fix", "float_power", "floor", "fmax", "fmin",
    "heaviside", "imag", "isclose", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "log10",
    "log2", "logaddexp2", "modf", "nan_to_num", "positive", "pow", "power", "rad2deg", "radians",
    "real", "reciprocal", "rint", "round", "signbit", "sinc", "square", "trunc", "where",
]  # fmt: skip


def _one(x: Any, ufunc: np.ufunc) -> tuple[Node, bool]:
    """Return the operand in the dtype the ufunc computes in."""
    nodes, weak, _ = aligned((x,), ufunc)
    return nodes[0], weak


def _absolute(x: Any, /) -> Array:
    node, weak = _one(x, np.absolute)
    if node.dtype.kind in ("bool", "uint"):
        return Array(node, weak)
    return Array(node.graph.call("abs", node), weak)


abs = absolute = named_like(array_function(np.absolute)(_absolute), np.absolute)


def _positive(x: Any, /) -> Array:
    return Array(*_one(x, np.positive))


positive = named_like(array_function(np.positive)(_positive), np.positive)


def _rounding(name: str, ufunc: np.ufunc) -> Any:
    def rounded(x: Any, /) -> Array:
        node, weak = _one(x, ufunc)
        return Array(node.graph.call(name, node) if node.dtype.is_float else node, weak)

    return named_like(array_function(ufunc)(rounded), ufunc)


floor = _rounding("floor", np.floor)
ceil = _rounding("ceil", np.ceil)
trunc = _rounding("trunc", np.trunc)
rint = _rounding("rint", np.rint)


@array_function(np.fix)
def fix(x: Any) -> Array:
    """Round towards 0, as `numpy.fix`."""
    return _through(trunc, x)


def _through(function: Any, *args: Any) -> Array:
    result: Array = function(*args)
    return result


@array_function(np.round, np.around)
def round(x: Any, decimals: int = 0) -> Array:
    """Round to a number of decimals, halves to even, as `numpy.round`."""
    operand = as_operand(x)
    node = node_of(operand, graph_of([operand]))
    if not node.dtype.is_float:
        if decimals < 0:
            return _through(rint, Array(node) / 10**-decimals).astype(node.dtype.numpy) * 10**-decimals
        return Array(node)
    scaled = Array(node) * 10.0**decimals if decimals else Array(node)
    nearest = Array(node.graph.call("rint", scaled.node))
    return nearest / 10.0**decimals if decimals else nearest


@array_function(np.power, np.pow if hasattr(np, "pow") else np.power)
def power(a: Any, b: Any, /) -> Array:
    """Return a**b elementwise, as `numpy.power`; 0**0 is 1.

    Raises:
        DTypeError: An integer to a negative integer power, which is not an integer.
    """
    if isinstance(b, int) and b < 0:
        operands = [as_operand(a), b]
        if not resolve(np.power, operands)[-1].is_float:
            raise DTypeError(
                explain(
                    "integers to a negative integer power are not integers",
                    f"exponent  {b}",
                    f"at  {user_line()}",
                    hint="use a float exponent or x.astype(float)",
                )
            )
    return pointwise("pow", np.power, a, b)


pow = power


@array_function(np.float_power)
def float_power(a: Any, b: Any, /) -> Array:
    """Return a**b computed in float64, as `numpy.float_power`."""
    return pointwise("pow", np.float_power, a, b)


@array_function(np.square)
def square(x: Any, /) -> Array:
    """Return x * x, as `numpy.square`."""
    node, weak = _one(x, np.square)
    return Array(node * node, weak)


@array_function(np.reciprocal)
def reciprocal(x: Any, /) -> Array:
    """Return 1 / x of floats, as `numpy.reciprocal`."""
    node, weak = _one(x, np.reciprocal)
    if not node.dtype.is_float:
        one = node.graph.full_like(node, 1)
        return Array(node.graph.call("floor_divide", one, node), weak)
    return Array(1 / node, weak)


@array_function(np.exp2)
def exp2(x: Any, /) -> Array:
    """Return 2**x, as `numpy.exp2`."""
    node, weak = _one(x, np.exp2)
    return Array(node.graph.call("pow", node.graph.full_like(node, 2.0), node), weak)


@array_function(np.log2)
def log2(x: Any, /) -> Array:
    """Return the logarithm to base 2, as `numpy.log2`, within 2 units in the last place."""
    node, weak = _one(x, np.log2)
    return Array(node.graph.call("log", node) * (1 / math.log(2)), weak)


@array_function(np.log10)
def log10(x: Any, /) -> Array:
    """Return the logarithm to base 10, as `numpy.log10`, within 2 units in the last place."""
    node, weak = _one(x, np.log10)
    return Array(node.graph.call("log", node) * (1 / math.log(10)), weak)


@array_function(np.logaddexp2)
def logaddexp2(a: Any, b: Any, /) -> Array:
    """Return log2(2**a + 2**b), as `numpy.logaddexp2`."""
    nodes, weak, _ = aligned((a, b), np.logaddexp2)
    two = math.log(2)
    return Array(nodes[0].graph.call("logaddexp", *(n * two for n in nodes)) * (1 / two), weak)


@array_function(np.cbrt)
def cbrt(x: Any, /) -> Array:
    """Return the real cube root, as `numpy.cbrt`."""
    node, weak = _one(x, np.cbrt)
    graph = node.graph
    size = graph.call("pow", graph.call("abs", node), graph.full_like(node, 1 / 3))
    return Array(graph.select(node < 0, -size, size), weak)


@array_function(np.deg2rad, np.radians)
def deg2rad(x: Any, /) -> Array:
    """Convert degrees to radians, as `numpy.deg2rad`."""
    node, weak = _one(x, np.deg2rad)
    return Array(node * (math.pi / 180), weak)


@array_function(np.rad2deg, np.degrees)
def rad2deg(x: Any, /) -> Array:
    """Convert radians to degrees, as `numpy.rad2deg`."""
    node, weak = _one(x, np.rad2deg)
    return Array(node * (180 / math.pi), weak)


radians, degrees = deg2rad, rad2deg


@array_function(np.fabs)
def fabs(x: Any, /) -> Array:
    """Return the absolute value as a float, as `numpy.fabs`."""
    node, weak = _one(x, np.fabs)
    return Array(node.graph.call("abs", node), weak)


@array_function(np.isnan)
def isnan(x: Any, /) -> Array:
    """Tell where NaN is, as `numpy.isnan`."""
    node, _ = _one(x, np.isnan)
    return Array(node.graph.call("not_equal", node, node))


@array_function(np.isinf)
def isinf(x: Any, /) -> Array:
    """Tell where an infinity is, as `numpy.isinf`."""
    node, _ = _one(x, np.isinf)
    if not node.dtype.is_float:
        return Array(node.graph.full(node.shape, False, BOOL))
    return Array(node.graph.call("abs", node).equals(math.inf))


@array_function(np.isfinite)
def isfinite(x: Any, /) -> Array:
    """Tell where neither NaN nor an infinity is, as `numpy.isfinite`."""
    node, _ = _one(x, np.isfinite)
    if not node.dtype.is_float:
        return Array(node.graph.full(node.shape, True, BOOL))
    return Array(node.graph.call("abs", node) < math.inf)


@array_function(np.isposinf)
def isposinf(x: Any, /) -> Array:
    """Tell where plus infinity is, as `numpy.isposinf`."""
    return _through(lambda a: a == math.inf, x)


@array_function(np.isneginf)
def isneginf(x: Any, /) -> Array:
    """Tell where minus infinity is, as `numpy.isneginf`."""
    return _through(lambda a: a == -math.inf, x)


@array_function(np.signbit)
def signbit(x: Any, /) -> Array:
    """Tell where the sign is minus, that of -0.0 included, as `numpy.signbit`; not of NaN."""
    node, _ = _one(x, np.signbit)
    if not node.dtype.is_float:
        return Array(node < 0)
    return Array((node < 0) | (node.equals(0) & (1 / node < 0)))


@array_function(np.copysign)
def copysign(a: Any, b: Any, /) -> Array:
    """Return the size of a with the sign of b, as `numpy.copysign`; NaN counts as positive."""
    (x, y), weak, _ = aligned((a, b), np.copysign)
    size = x.graph.call("abs", x)
    minus = (y < 0) | (y.equals(0) & (1 / y < 0))
    return Array(x.graph.select(minus, -size, size), weak)


def _ignoring_nan(name: str, ufunc: np.ufunc) -> Any:
    def chosen(a: Any, b: Any, /) -> Array:
        (x, y), weak, _ = aligned((a, b), ufunc)
        both = x.graph.call(name, x, y)
        if not x.dtype.is_float:
            return Array(both, weak)
        graph = x.graph
        here, there = graph.call("not_equal", x, x), graph.call("not_equal", y, y)
        return Array(graph.select(here, y, graph.select(there, x, both)), weak)

    return named_like(array_function(ufunc)(chosen), ufunc)


fmax = _ignoring_nan("maximum", np.fmax)
fmin = _ignoring_nan("minimum", np.fmin)


@array_function(np.heaviside)
def heaviside(x: Any, middle: Any, /) -> Array:
    """Return 0, `middle` or 1 by the sign of x, as `numpy.heaviside`."""
    (a, b), weak, _ = aligned((x, middle), np.heaviside)
    graph = a.graph
    step = graph.select(a > 0, graph.full_like(a, 1.0), 0.0)
    chosen = graph.select(a.equals(0), b, step)
    return Array(graph.select(a.equals(a), chosen, math.nan), weak)


@array_function(np.divmod)
def divmod(a: Any, b: Any, /) -> tuple[Array, Array]:
    """Return the quotient rounded down and the remainder, as `numpy.divmod`."""
    return (
        pointwise("floor_divide", np.floor_divide, a, b),
        pointwise("remainder", np.remainder, a, b),
    )


@array_function(np.modf)
def modf(x: Any, /) -> tuple[Array, Array]:
    """Return the part after the point and the part before it, as `numpy.modf`."""
    node, _ = _one(x, np.modf)
    whole = node.graph.call("trunc", node)
    endless = node.graph.call("abs", node).equals(math.inf)
    return Array(node.graph.select(endless, 0.0, node - whole)), Array(whole)


@array_function(np.real)
def real(x: Any) -> Any:
    """Return x: there are no complex numbers."""
    return x


@array_function(np.conjugate, np.conj)
def conjugate(x: Any, /) -> Any:
    """Return x: there are no complex numbers."""
    return x


conj = conjugate


@array_function(np.imag)
def imag(x: Any) -> Array:
    """Return zeros: there are no complex numbers."""
    return Array(x.node.graph.full_like(x.node, 0))


@array_function(np.sinc)
def sinc(x: Any) -> Array:
    """Return sin(πx)/(πx), 1 at 0, as `numpy.sinc`; every derivative is right at and near 0."""
    operand = as_operand(x)
    node = node_of(operand, graph_of([operand]), resolve(np.sin, [operand])[-1])
    return Array(node.graph.call("sinc", node, order=0))


@array_function(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Array:
    """Return `x` where the condition holds and `y` elsewhere, as `numpy.where`.

    The derivative of what is not chosen never counts, even where it is infinite or NaN.

    Raises:
        UnsupportedError: Only the condition is given: how many elements it holds is not known.
    """
    if x is None or y is None:
        from_mask("where with the condition alone")
    operands = [as_operand(x), as_operand(y)]
    dtype = common_dtype(operands)
    chosen = as_operand(condition)
    graph = graph_of([chosen, *operands])
    shape = broadcast_shape([shape_of(o) for o in (chosen, *operands)], [chosen, *operands])
    nodes = [broadcast_to_shape(node_of(o, graph, dtype), shape) for o in operands]
    picked = broadcast_to_shape(node_of(chosen, graph, BOOL), shape)
    return Array(graph.select(picked, *nodes))


def from_mask(what: str) -> None:
    """Raise UnsupportedError: the shape of the result depends on values."""
    refuse(
        f"{what} has a result whose shape depends on values",
        None,
        "choose with cnp.where(condition, a, b), which keeps the shape",
    )


@array_function(np.clip)
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None
) -> Array:
    """Limit to [a_min, a_max]; None means no limit, as `numpy.clip`.  At a limit the slope is 1."""
    low = min if a_min is None else a_min
    high = max if a_max is None else a_max
    if low is None and high is None:
        return Array(node_of(a, a.graph))
    if low is None:
        return pointwise("minimum", np.minimum, a, high)
    if high is None:
        return pointwise("maximum", np.maximum, a, low)
    operands = [as_operand(x) for x in (a, low, high)]
    dtype = common_dtype(operands)
    graph = graph_of(operands)
    shape = broadcast_shape([shape_of(x) for x in operands], operands)
    nodes = [broadcast_to_shape(node_of(x, graph, dtype), shape) for x in operands]
    return Array(graph.call("clip", *nodes))


@array_function(np.nan_to_num)
def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None,
    neginf: float | None = None,
) -> Array:  # fmt: skip
    """Replace NaN and infinities by numbers, as `numpy.nan_to_num`."""
    del copy
    node = node_of(x, x.graph)
    if not node.dtype.is_float:
        return Array(node)
    graph, bounds = node.graph, np.finfo(node.dtype.numpy)
    high = float(bounds.max) if posinf is None else posinf
    low = float(bounds.min) if neginf is None else neginf
    finite = graph.select(node.equals(-math.inf), low, graph.select(node.equals(math.inf), high, node))
    return Array(graph.select(node.equals(node), finite, nan))


@array_function(np.isclose)
def isclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """Tell where |a - b| <= atol + rtol |b|, as `numpy.isclose`."""
    (x, y), _, _ = aligned((a, b), np.subtract)
    graph = x.graph
    if not x.dtype.is_float:
        x, y = cast(x, dtype_of(float)), cast(y, dtype_of(float))
    near = graph.call("abs", x - y) <= graph.call("abs", y) * rtol + atol
    near = (near & (graph.call("abs", y) < math.inf)) | x.equals(y)
    if equal_nan:
        near = near | (graph.call("not_equal", x, x) & graph.call("not_equal", y, y))
    return Array(near)
