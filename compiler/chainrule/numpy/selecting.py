"""Choices between elements, and the questions they hang on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    common_dtype,
    graph_of,
    node_of,
    shape_of,
)
from chainrule.frontend.value import refuse
from chainrule.ir.types import BOOL, dtype_of
from chainrule.numpy.elementary import has_minus, one
from chainrule.numpy.pointwise import aligned, named_like, pointwise

__all__ = [
    "clip", "copysign", "fmax", "fmin", "heaviside", "isclose", "isfinite", "isinf", "isnan",
    "isneginf", "isposinf", "nan_to_num", "signbit", "where",
]  # fmt: skip


@array_function(np.isnan)
def isnan(x: Any, /) -> Array:
    """Tell where NaN is, as `numpy.isnan`."""
    node, _ = one(x, np.isnan)
    return Array(node.graph.call("not_equal", node, node))


@array_function(np.isinf)
def isinf(x: Any, /) -> Array:
    """Tell where an infinity is, as `numpy.isinf`."""
    node, _ = one(x, np.isinf)
    if not node.dtype.is_float:
        return Array(node.graph.full(node.shape, False, BOOL))
    return Array(node.graph.call("abs", node).equals(math.inf))


@array_function(np.isfinite)
def isfinite(x: Any, /) -> Array:
    """Tell where neither NaN nor an infinity is, as `numpy.isfinite`."""
    node, _ = one(x, np.isfinite)
    if not node.dtype.is_float:
        return Array(node.graph.full(node.shape, True, BOOL))
    return Array(node.graph.call("abs", node) < math.inf)


@array_function(np.isposinf)
def isposinf(x: Any, /) -> Array:
    """Tell where plus infinity is, as `numpy.isposinf`."""
    result: Array = x == math.inf
    return result


@array_function(np.isneginf)
def isneginf(x: Any, /) -> Array:
    """Tell where minus infinity is, as `numpy.isneginf`."""
    result: Array = x == -math.inf
    return result


@array_function(np.signbit)
def signbit(x: Any, /) -> Array:
    """Tell where the sign is minus, that of -0.0 included, as `numpy.signbit`; not of NaN."""
    node, _ = one(x, np.signbit)
    if not node.dtype.is_float:
        return Array(node < 0)
    return Array(has_minus(node))


@array_function(np.copysign)
def copysign(a: Any, b: Any, /) -> Array:
    """Return the size of a with the sign of b, as `numpy.copysign`; NaN counts as positive."""
    (x, y), weak, _ = aligned((a, b), np.copysign)
    size = x.graph.call("abs", x)
    return Array(x.graph.select(has_minus(y), -size, size), weak)


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
    graph, largest = node.graph, node.dtype.largest
    high = largest if posinf is None else posinf
    low = -largest if neginf is None else neginf
    finite = graph.select(
        node.equals(-math.inf), low, graph.select(node.equals(math.inf), high, node)
    )
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
