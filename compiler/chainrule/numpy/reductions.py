"""Reductions: sums, means, extremes, their places, truth values, running sums and products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import as_operand, cast, graph_of, node_of, reshape
from chainrule.frontend.value import describe
from chainrule.ir.dims import Extent, size_of
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, F64, I64, DType, dtype_of
from chainrule.ops.reduce import cumulative_product

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cumprod",
    "cumsum", "cumulative_prod", "cumulative_sum", "max", "mean", "min", "nanmax", "nanmean",
    "nanmin", "nansum", "prod", "ptp", "std", "sum", "trapezoid", "var",
]  # fmt: skip

Axis = Any
"""An axis, a tuple of axes, or None for all of them."""


def normalized_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    """Return axes as sorted numbers from 0.

    Raises:
        ShapeError: An axis does not exist or is named twice.
    """
    if axis is None:
        return tuple(range(rank))
    given = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    axes = []
    for a in given:
        number = a.__index__()
        if not -rank <= number < rank:
            raise ShapeError(
                explain(
                    f"axis {number} does not exist: the array has {rank} axes",
                    f"at  {user_line()}",
                    hint="axes count from 0, or from -1 backwards",
                )
            )
        axes.append(number % rank)
    if len(set(axes)) != len(axes):
        raise ShapeError(explain(f"an axis is named twice: {given}", f"at  {user_line()}"))
    return tuple(sorted(axes))


def _node(x: Any) -> Node:
    operand = as_operand(x)
    return node_of(operand, graph_of([operand]))


def _keep(node: Node, like: Node, axes: tuple[int, ...], keepdims: bool) -> Array:
    if keepdims:
        node = reshape(node, tuple([1 if i in axes else n for i, n in enumerate(like.shape)]))
    return Array(node)


def _nothing_else(name: str, out: Any, where: Any = None, initial: Any = None) -> None:
    given = [n for n, v in (("out", out), ("where", where), ("initial", initial)) if v is not None]
    if given:
        raise UnsupportedError(
            explain(
                f"{name} of a traced value does not take {' and '.join(given)}",
                f"at  {user_line()}",
                hint="select with cnp.where before reducing",
            )
        )


def _count(node: Node, axes: tuple[int, ...]) -> Extent:
    return size_of(node.shape[a] for a in axes)


def _as_number(extent: Extent, node: Node) -> Any:
    """Return a count as something to divide an array of the node's dtype by."""
    if isinstance(extent, int):
        return float(extent)
    return cast(node.graph.call("extent", extent=extent), node.dtype)


def _divided(node: Node, by: Any) -> Node:
    if isinstance(by, Node):
        return node / node.graph.broadcast(by, node.shape, ())
    return node / by


def _total_dtype(node: Node, dtype: Any) -> DType:
    """Return what sums are computed in: small integers and truth values widen, as in NumPy."""
    if dtype is not None:
        return dtype_of(dtype)
    if node.dtype.kind in ("bool", "int", "uint"):
        return dtype_of(np.sum(np.zeros(0, node.dtype.numpy)).dtype)
    return node.dtype


@array_function(np.sum)
def sum(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None, initial: Any = None,
) -> Array:  # fmt: skip
    """Add up elements along axes, as `numpy.sum`; integers smaller than int64 widen to it."""
    _nothing_else("sum", out, where, initial)
    node = _node(a)
    node = cast(node, _total_dtype(node, dtype))
    axes = normalized_axes(axis, node.type.rank)
    return _keep(node.graph.call("sum", node, axes=axes) if axes else node, node, axes, keepdims)


@array_function(np.prod)
def prod(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None, initial: Any = None,
) -> Array:  # fmt: skip
    """Multiply elements along axes, as `numpy.prod`; the derivative is right at zeros too."""
    _nothing_else("prod", out, where, initial)
    node = _node(a)
    node = cast(node, _total_dtype(node, dtype))
    axes = normalized_axes(axis, node.type.rank)
    return _keep(node.graph.call("prod", node, axes=axes) if axes else node, node, axes, keepdims)


def _to_float(node: Node, dtype: Any) -> Node:
    wanted = dtype_of(dtype) if dtype is not None else node.dtype if node.dtype.is_float else F64
    return cast(node, wanted)


def _mean(node: Node, axes: tuple[int, ...]) -> Node:
    if not axes:
        return node
    total = node.graph.call("sum", node, axes=axes)
    return _divided(total, _as_number(_count(node, axes), node))


@array_function(np.mean)
def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None,
) -> Array:  # fmt: skip
    """Average along axes, as `numpy.mean`; of integers in float64."""
    _nothing_else("mean", out, where)
    node = _to_float(_node(a), dtype)
    axes = normalized_axes(axis, node.type.rank)
    return _keep(_mean(node, axes), node, axes, keepdims)


def _centred(node: Node, axes: tuple[int, ...]) -> Node:
    from_mean = tuple(i for i in range(node.type.rank) if i not in axes)
    return node - node.graph.broadcast(_mean(node, axes), node.shape, from_mean)


def _freedom(node: Node, axes: tuple[int, ...], ddof: float) -> Any:
    count = _count(node, axes)
    if isinstance(count, int):
        return max_of_numbers(count - ddof)
    return _as_number(count, node) - float(ddof)


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
    _nothing_else("var", out, where, mean)
    node = _to_float(_node(a), dtype)
    axes = normalized_axes(axis, node.type.rank)
    if not axes:
        return Array(node * 0.0)
    off = _centred(node, axes)
    degrees = _freedom(node, axes, ddof if correction is None else correction)
    result = _divided(node.graph.call("sum", off * off, axes=axes), degrees)
    return _keep(result, node, axes, keepdims)


@array_function(np.std)
def std(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: bool = False, *, where: Any = None, mean: Any = None,
    correction: float | None = None,
) -> Array:  # fmt: skip
    """Return the root of the variance along axes, as `numpy.std`.

    Computed as a norm, so that its derivative is 0 where all elements are equal.
    """
    _nothing_else("std", out, where, mean)
    node = _to_float(_node(a), dtype)
    axes = normalized_axes(axis, node.type.rank)
    if not axes:
        return Array(node * 0.0)
    length = node.graph.call("norm", _centred(node, axes), axes=axes)
    degrees = _freedom(node, axes, ddof if correction is None else correction)
    root = node.graph.call("sqrt", degrees) if isinstance(degrees, Node) else math.sqrt(degrees)
    return _keep(_divided(length, root), node, axes, keepdims)


def _extreme(name: str, a: Any, axis: Axis, keepdims: bool) -> Array:
    node = _node(a)
    axes = normalized_axes(axis, node.type.rank)
    if not axes:
        return Array(node)
    for i in axes:
        if node.shape[i] == 0:
            raise ShapeError(
                explain(
                    f"{name} of no elements",
                    f"operand  {describe(node)}",
                    f"at  {user_line()}",
                    hint="the extreme of an empty axis is not defined",
                )
            )
        at_least(node.graph, node.shape[i], 1, f"{name} needs at least one element")
    return _keep(node.graph.call(name, node, axes=axes), node, axes, keepdims)


@array_function(np.max, np.amax)
def max(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, initial: Any = None,
    where: Any = None,
) -> Array:  # fmt: skip
    """Return the largest elements along axes, as `numpy.max`; equal ones share the derivative."""
    _nothing_else("max", out, where, initial)
    return _extreme("max", a, axis, keepdims)


@array_function(np.min, np.amin)
def min(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, initial: Any = None,
    where: Any = None,
) -> Array:  # fmt: skip
    """Return the smallest elements along axes, as `numpy.min`; equal ones share the derivative."""
    _nothing_else("min", out, where, initial)
    return _extreme("min", a, axis, keepdims)


amax, amin = max, min


@array_function(np.ptp)
def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False) -> Array:
    """Return the largest minus the smallest along axes, as `numpy.ptp`."""
    _nothing_else("ptp", out)
    result: Array = _extreme("max", a, axis, keepdims) - _extreme("min", a, axis, keepdims)
    return result


def _arg(name: str, a: Any, axis: int | None, keepdims: bool) -> Array:
    node = _node(a)
    rank = node.type.rank
    flat = axis is None
    if axis is None:
        node, at = reshape(node, (node.type.size,)), 0
    else:
        (at,) = normalized_axes(axis, rank)
    at_least(node.graph, node.shape[at], 1, f"{name} needs at least one element")
    result = node.graph.call(name, node, axis=at)
    if keepdims:
        shape = (1,) * rank if flat else (*node.shape[:at], 1, *node.shape[at + 1 :])
        result = reshape(result, shape)
    return Array(result)


@array_function(np.argmax)
def argmax(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Array:
    """Return where the largest element is first found, as `numpy.argmax`: int64."""
    _nothing_else("argmax", out)
    return _arg("argmax", a, axis, keepdims)


@array_function(np.argmin)
def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Array:
    """Return where the smallest element is first found, as `numpy.argmin`: int64."""
    _nothing_else("argmin", out)
    return _arg("argmin", a, axis, keepdims)


@array_function(np.count_nonzero)
def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Count what is not 0 along axes, as `numpy.count_nonzero`: int64."""
    node = cast(cast(_node(a), BOOL), I64)
    axes = normalized_axes(axis, node.type.rank)
    return _keep(node.graph.call("sum", node, axes=axes) if axes else node, node, axes, keepdims)


@array_function(np.any)
def any(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Tell whether something is not 0 along axes, as `numpy.any`; False for no elements."""
    _nothing_else("any", out, where)
    result: Array = count_nonzero(a, axis, keepdims=keepdims) > 0
    return result


@array_function(np.all)
def all(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Tell whether nothing is 0 along axes, as `numpy.all`; True for no elements."""
    _nothing_else("all", out, where)
    zeros = Array(cast(_node(a), BOOL)) == False  # noqa: E712  (elementwise)
    result: Array = count_nonzero(zeros, axis, keepdims=keepdims) == 0
    return result


@array_function(np.average)
def average(
    a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *,
    keepdims: bool = False,
) -> Any:  # fmt: skip
    """Return the weighted mean, as `numpy.average`; weights have the shape of `a`, or one axis."""
    node = _node(a) if not isinstance(a, Array) else a.node
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


def _running_axis(node: Node, axis: int | None) -> tuple[Node, int]:
    if axis is None:
        return reshape(node, (node.type.size,)), 0
    return node, normalized_axes(axis, node.type.rank)[0]


@array_function(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Array:
    """Return running sums along an axis, as `numpy.cumsum`; of all elements where it is None."""
    _nothing_else("cumsum", out)
    node = _node(a)
    node, at = _running_axis(cast(node, _total_dtype(node, dtype)), axis)
    return Array(node.graph.call("cumsum", node, axis=at, reverse=False))


@array_function(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Array:
    """Return running products along an axis, as `numpy.cumprod`; zeros have right derivatives."""
    _nothing_else("cumprod", out)
    node = _node(a)
    node, at = _running_axis(cast(node, _total_dtype(node, dtype)), axis)
    return Array(cumulative_product(node, axis=at, reverse=False))


def _cumulative(function: Any, first: float, x: Any, axis: int | None, dtype: Any, start: bool) -> Array:
    node = _node(x)
    running: Array = function(x, axis, dtype)
    if not start:
        return running
    at = 0 if axis is None else normalized_axes(axis, node.type.rank)[0]
    made = running.node
    shape = (*made.shape[:at], 1, *made.shape[at + 1 :])
    lead = made.graph.full(shape, first, made.dtype)
    return Array(made.graph.call("concatenate", lead, made, axis=at))


@array_function(getattr(np, "cumulative_sum", np.cumsum))
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Return running sums, beginning with 0 if wished, as `numpy.cumulative_sum`."""
    return _cumulative(cumsum, 0, x, axis, dtype, include_initial)


@array_function(getattr(np, "cumulative_prod", np.cumprod))
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Return running products, beginning with 1 if wished, as `numpy.cumulative_prod`."""
    return _cumulative(cumprod, 1, x, axis, dtype, include_initial)


def _without_nan(a: Any, instead: float) -> Array:
    node = _node(a)
    if not node.dtype.is_float:
        return Array(node)
    return Array(node.graph.select(node.equals(node), node, instead))


@array_function(np.nansum)
def nansum(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False) -> Array:
    """Add up what is not NaN, as `numpy.nansum`."""
    return sum(_without_nan(a, 0.0), axis, dtype, keepdims=keepdims)


@array_function(np.nanmean)
def nanmean(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Average what is not NaN, as `numpy.nanmean`; NaN where there is nothing."""
    node = _to_float(_node(a), None)
    number = count_nonzero(Array(node.equals(node)), axis, keepdims=keepdims)
    result: Array = nansum(Array(node), axis, keepdims=keepdims) / number.astype(node.dtype.numpy)
    return result


@array_function(np.nanmax)
def nanmax(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Return the largest that is not NaN, as `numpy.nanmax`; -inf where there is nothing."""
    return max(_without_nan(a, -math.inf), axis, keepdims=keepdims)


@array_function(np.nanmin)
def nanmin(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Return the smallest that is not NaN, as `numpy.nanmin`; inf where there is nothing."""
    return min(_without_nan(a, math.inf), axis, keepdims=keepdims)


@array_function(getattr(np, "trapezoid", np.sum))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """Integrate along an axis by the trapezoidal rule, as `numpy.trapezoid`."""
    values = Array(_to_float(_node(y), None)) if isinstance(y, Array) else y
    moved = np.moveaxis(values, axis, -1)
    heights = (moved[..., 1:] + moved[..., :-1]) * 0.5
    if x is None:
        return sum(heights * dx, -1)
    widths = x[..., 1:] - x[..., :-1]
    if np.ndim(x) > 1:
        widths = np.moveaxis(x, axis, -1)[..., 1:] - np.moveaxis(x, axis, -1)[..., :-1]
    return sum(heights * widths, -1)
