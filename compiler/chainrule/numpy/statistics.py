"""Means, variances, and reductions that pass over NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_to_shape,
    cast,
    node_of,
)
from chainrule.frontend.options import refuse_out
from chainrule.frontend.value import describe
from chainrule.ir.dims import Extent, size_of
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, F32, F64, dtype_of
from chainrule.numpy.nodes import (
    Axis,
    checked_broadcast,
    given,
    kept,
    mask_of,
    masked,
    normalized_axes,
    to_node,
)
from chainrule.numpy.reductions import any, count_nonzero, max, min, sum

__all__ = [
    "average", "mean", "nanmax", "nanmean", "nanmin", "nansum", "std", "trapezoid", "var",
]  # fmt: skip


def _count(node: Node, axes: tuple[int, ...]) -> Extent:
    return size_of(node.shape[a] for a in axes)


def _as_number(extent: Extent, node: Node) -> Node | float:
    """Return a count as something to divide an array of the node's dtype by."""
    if isinstance(extent, int):
        return float(extent)
    return cast(node.graph.call("extent", extent=extent), node.dtype)


def _divided(node: Node, by: Node | float) -> Node:
    return node / (node.graph.broadcast(by, node.shape, ()) if isinstance(by, Node) else by)


def _to_float(node: Node, dtype: Any) -> Node:
    wanted = dtype_of(dtype) if dtype is not None else node.dtype if node.dtype.is_float else F64
    if not wanted.is_float:
        raise DTypeError(
            explain(
                f"averages with dtype={wanted.numpy} are not available",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
                hint="take them in a float dtype, then convert with .astype",
            )
        )
    return cast(node, wanted)


def _mean(node: Node, axes: tuple[int, ...]) -> Node:
    if not axes:
        return node
    wide = _widened(node)
    total = node.graph.call("sum", wide, axes=axes)
    return cast(_divided(total, _as_number(_count(node, axes), wide)), node.dtype)


def _widened(node: Node) -> Node:
    """Return what averages are computed in: sums and counts overflow 16 bits."""
    return cast(node, F32) if node.dtype.is_half else node


@array_function(np.mean)
def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None,
) -> Array:  # fmt: skip
    """Average along axes, as `numpy.mean`; of integers in float64."""
    refuse_out(np.mean, out)
    node = _to_float(to_node(a, where), dtype)
    axes = normalized_axes(axis, node.type.rank)
    if given(where) and where is not True:
        return kept(_mean_where(node, axes, mask_of(node, where)), node, axes, keepdims)
    return kept(_mean(node, axes), node, axes, keepdims)


def _mean_where(node: Node, axes: tuple[int, ...], mask: Node) -> Node:
    """Average what is chosen; NaN where nothing is."""
    wide = _widened(node)
    total = _summed(node.graph.select(mask, wide, 0), axes)
    return cast(total / _summed(cast(mask, wide.dtype), axes), node.dtype)


def _summed(node: Node, axes: tuple[int, ...]) -> Node:
    return node.graph.call("sum", node, axes=axes) if axes else node


def _centred(node: Node, axes: tuple[int, ...]) -> Node:
    from_mean = tuple(i for i in range(node.type.rank) if i not in axes)
    return node - node.graph.broadcast(_mean(node, axes), node.shape, from_mean)


def _spread(
    node: Node, axes: tuple[int, ...], where: Any, mean: Any, ddof: float
) -> tuple[Node, Node]:
    """Return distances from a mean, 0 where nothing is chosen, and the degrees of freedom."""
    wide = _widened(node)
    chosen = given(where) and where is not True
    mask = mask_of(node, where) if chosen else node.graph.full(node.shape, True, BOOL)
    if given(mean):
        middle = cast(node_of(as_operand(mean), node.graph), wide.dtype)
        middle = broadcast_to_shape(middle, checked_broadcast(middle, node.shape))
    else:
        own = tuple([i for i in range(node.type.rank) if i not in axes])
        middle = node.graph.broadcast(_mean_where(wide, axes, mask), node.shape, own)
    off = node.graph.select(mask, wide - middle, 0)
    degrees = _summed(cast(mask, wide.dtype), axes) - float(ddof)
    return off, node.graph.select(degrees > 0, degrees, 0)


def _freedom(node: Node, axes: tuple[int, ...], ddof: float) -> Node | float:
    count = _count(node, axes)
    if isinstance(count, int):
        return max_of_numbers(count - ddof)
    degrees = _as_number(count, node) - float(ddof)
    assert isinstance(degrees, Node), "the count is not a number"
    return node.graph.call("maximum", degrees, degrees * 0)


def max_of_numbers(degrees: float) -> float:
    """Return degrees of freedom as NumPy uses them: never negative."""
    return float(degrees) if degrees > 0 else 0.0


@array_function(np.var)
def var(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: bool = False, *, where: Any = None, mean: Any = None,
    correction: float | None = None,
) -> Array:  # fmt: skip
    """Return the mean squared distance from the mean along axes, as `numpy.var`."""
    refuse_out(np.var, out)
    node = _to_float(to_node(a, where, mean), dtype)
    axes = normalized_axes(axis, node.type.rank)
    if given(mean) or (given(where) and where is not True):
        freedom = ddof if correction is None else correction
        away, chosen = _spread(node, axes, where, mean, freedom)
        squares = _summed(away * away, axes)
        return kept(cast(squares / chosen, node.dtype), node, axes, keepdims)
    if not axes:
        return Array(node * 0.0)
    wide = _widened(node)
    off = _centred(wide, axes)
    left = _freedom(wide, axes, ddof if correction is None else correction)
    result = _divided(node.graph.call("sum", off * off, axes=axes), left)
    return kept(cast(result, node.dtype), node, axes, keepdims)


@array_function(np.std)
def std(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: bool = False, *, where: Any = None, mean: Any = None,
    correction: float | None = None,
) -> Array:  # fmt: skip
    """Return the root of the variance along axes, as `numpy.std`.

    Computed as a norm, so that its derivative is 0 where all elements are equal.
    """
    refuse_out(np.std, out)
    node = _to_float(to_node(a, where, mean), dtype)
    axes = normalized_axes(axis, node.type.rank)
    if given(mean) or (given(where) and where is not True):
        freedom = ddof if correction is None else correction
        away, chosen = _spread(node, axes, where, mean, freedom)
        far = node.graph.call("norm", away, axes=axes) if axes else node.graph.call("abs", away)
        return kept(cast(far / node.graph.call("sqrt", chosen), node.dtype), node, axes, keepdims)
    if not axes:
        return Array(node * 0.0)
    wide = _widened(node)
    length = node.graph.call("norm", _centred(wide, axes), axes=axes)
    left = _freedom(wide, axes, ddof if correction is None else correction)
    some = node.graph.call("sqrt", left) if isinstance(left, Node) else math.sqrt(left)
    return kept(cast(_divided(length, some), node.dtype), node, axes, keepdims)


@array_function(np.average)
def average(
    a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *,
    keepdims: bool = False,
) -> Any:  # fmt: skip
    """Return the weighted mean, as `numpy.average`; weights have the shape of `a`, or one axis."""
    node = to_node(a) if not isinstance(a, Array) else a.node
    values = Array(node)
    axes = normalized_axes(axis, node.type.rank)
    if weights is None:
        result = mean(values, axis, keepdims=keepdims)
        total = result * 0 + Array(_whole(node, axes))
        return (result, total) if returned else result
    w = Array(node_of(as_operand(weights), node.graph))
    if w.ndim != node.type.rank:
        w = w.reshape([-1 if i == axes[0] else 1 for i in range(node.type.rank)])
        w = w + values * 0
    total = sum(w, axis, keepdims=keepdims)
    result = sum(values * w, axis, keepdims=keepdims) / total
    return (result, total) if returned else result


def _whole(node: Node, axes: tuple[int, ...]) -> Node:
    return node.graph.call("extent", extent=_count(node, axes))


def _without_nan(a: Any, instead: float, *others: Any) -> Array:
    node = to_node(a, *others)
    if not node.dtype.is_float:
        return Array(node)
    return Array(node.graph.select(node.equals(node), node, instead))


def _nan_of_nothing(a: Any, found: Array, axis: Axis, keepdims: bool) -> Array:
    """Put NaN where every element is NaN."""
    node = to_node(a, found)
    if not node.dtype.is_float:
        return found
    there = any(Array(node.equals(node)), axis, keepdims=keepdims)
    return Array(node.graph.select(there.node, found.node, math.nan))


@array_function(np.nansum)
def nansum(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    initial: Any = None, where: Any = None,
) -> Any:  # fmt: skip
    """Add up what is not NaN, as `numpy.nansum`."""
    clean = _without_nan(a, 0.0, where, initial)
    return sum(clean, axis, dtype, out, keepdims=keepdims, where=where, initial=initial)


@array_function(np.nanmean)
def nanmean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *,
    where: Any = None,
) -> Array:  # fmt: skip
    """Average what is not NaN, as `numpy.nanmean`; NaN where there is nothing."""
    refuse_out(np.nanmean, out)
    node = _to_float(to_node(a, where), dtype)
    wide = _widened(node)
    there = masked(node.equals(node), where, False)
    number = count_nonzero(Array(there), axis, keepdims=keepdims)
    total = nansum(Array(wide), axis, keepdims=keepdims, where=where)
    result: Array = (total / number.astype(wide.dtype.numpy)).astype(node.dtype.numpy)
    return result


@array_function(np.nanmax)
def nanmax(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None,
    where: Any = None,
) -> Any:  # fmt: skip
    """Return the largest that is not NaN, as `numpy.nanmax`; NaN where there is nothing."""
    clean = _without_nan(a, -math.inf, where, initial)
    found = max(clean, axis, out, keepdims, initial=initial, where=where)
    return found if given(initial) else _nan_of_nothing(a, found, axis, keepdims)


@array_function(np.nanmin)
def nanmin(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None,
    where: Any = None,
) -> Any:  # fmt: skip
    """Return the smallest that is not NaN, as `numpy.nanmin`; NaN where there is nothing."""
    clean = _without_nan(a, math.inf, where, initial)
    found = min(clean, axis, out, keepdims, initial=initial, where=where)
    return found if given(initial) else _nan_of_nothing(a, found, axis, keepdims)


@array_function(newer("trapezoid"))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """Integrate along an axis by the trapezoidal rule, as `numpy.trapezoid`."""
    values: Any = Array(_to_float(to_node(y), None)) if isinstance(y, Array) else y
    moved = np.moveaxis(values, axis, -1)
    heights = (moved[..., 1:] + moved[..., :-1]) * 0.5
    if x is None:
        return sum(heights * dx, -1)
    widths = x[..., 1:] - x[..., :-1]
    if np.ndim(x) > 1:
        widths = np.moveaxis(x, axis, -1)[..., 1:] - np.moveaxis(x, axis, -1)[..., :-1]
    return sum(heights * widths, -1)
