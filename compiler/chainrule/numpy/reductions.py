"""Reductions: sums, products, extremes and their places, truth values, running sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    cast,
    node_of,
    reshape,
)
from chainrule.frontend.options import refuse_out
from chainrule.frontend.value import describe
from chainrule.ir.dims import size_of
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I64, DType, dtype_of
from chainrule.numpy.nodes import Axis, given, joined, kept, masked, normalized_axes, to_node
from chainrule.ops.reduce import cumulative_product

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "max", "min", "prod", "ptp", "sum",
]  # fmt: skip


def total_dtype(node: Node, dtype: Any) -> DType:
    """Return what sums are computed in: small integers and truth values widen, as in NumPy.

    Raises:
        DTypeError: They widen to uint64.
    """
    if dtype is not None:
        if dtype_of(dtype) is BOOL:
            raise DTypeError(
                explain(
                    "sums and products with dtype=bool are not available",
                    f"operand  {describe(node)}",
                    f"at  {user_line()}",
                    hint="any() and all() are what they mean",
                )
            )
        return dtype_of(dtype)
    if node.dtype.kind == "uint":
        raise DTypeError(
            explain(
                f"NumPy adds and multiplies elements of {node.dtype.numpy} in uint64, "
                "which is not supported",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
                hint="say what to compute in: dtype=np.int64, or dtype=np.uint32, which wraps",
            )
        )
    return I64 if node.dtype.kind in ("bool", "int") else node.dtype


@array_function(np.sum)
def sum(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None, initial: Any = None,
) -> Array:  # fmt: skip
    """Add up elements along axes, as `numpy.sum`; integers smaller than int64 widen to it."""
    refuse_out(np.sum, out)
    node, axes = _terms(a, axis, dtype, where, initial, neutral=0)
    total = node.graph.call("sum", node, axes=axes) if axes else node
    return kept(_begun("sum", "add", total, initial), node, axes, keepdims)


@array_function(np.prod)
def prod(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    *, where: Any = None, initial: Any = None,
) -> Array:  # fmt: skip
    """Multiply elements along axes, as `numpy.prod`; the derivative is right at zeros too."""
    refuse_out(np.prod, out)
    node, axes = _terms(a, axis, dtype, where, initial, neutral=1)
    total = node.graph.call("prod", node, axes=axes) if axes else node
    return kept(_begun("prod", "mul", total, initial), node, axes, keepdims)


def _terms(
    a: Any, axis: Axis, dtype: Any, where: Any, initial: Any, neutral: int
) -> tuple[Node, tuple[int, ...]]:
    """Return what is added or multiplied, and along which axes."""
    node = to_node(a, where, initial)
    node = masked(cast(node, total_dtype(node, dtype)), where, neutral)
    return node, normalized_axes(axis, node.type.rank)


def _begun(name: str, op: str, total: Node, initial: Any) -> Node:
    """Begin a sum or a product with `initial`, which is of the result's dtype."""
    if not given(initial):
        return total
    return total.graph.call(op, total, total.graph.broadcast(_first(name, total, initial),
                                                             total.shape, ()))  # fmt: skip


def _first(name: str, node: Node, initial: Any) -> Node:
    first = cast(node_of(as_operand(initial), node.graph), node.dtype)
    if first.type.rank:
        raise ShapeError(
            explain(
                f"{name}: initial is one number",
                f"initial  {describe(first)}",
                f"at  {user_line()}",
            )
        )
    return first


def _extreme(
    name: str, a: Any, axis: Axis, keepdims: bool, where: Any = None, initial: Any = None
) -> Array:
    node = to_node(a, where, initial)
    axes = normalized_axes(axis, node.type.rank)
    if given(where) and where is not True and not given(initial):
        raise StructureError(
            explain(
                f"{name} with where= needs initial=: what it is where nothing is chosen",
                f"at  {user_line()}",
                hint=f"say {name}(x, where=mask, initial={'-' if name == 'max' else ''}np.inf)",
            )
        )
    node = masked(node, where, neutral(name, node.dtype))
    like, reduced = node, axes
    if given(initial):
        # One more element along the axis, so that an axis without any has an extreme too.
        if len(axes) > 1:
            node, axes = _one_axis(node, axes)
        first = _first(name, node, initial)
        if not axes:
            first = node.graph.broadcast(first, node.shape, ())
            return Array(node.graph.call(f"{name}imum", node, first))
        extents = tuple([1 if i == axes[0] else n for i, n in enumerate(node.shape)])
        lead = node.graph.broadcast(first, extents, ())
        node = joined([lead, node], axes[0])
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
    return kept(node.graph.call(name, node, axes=axes), like, reduced, keepdims)


def _one_axis(node: Node, axes: tuple[int, ...]) -> tuple[Node, tuple[int]]:
    """Lay several axes out as one, the last."""
    left = [i for i in range(node.type.rank) if i not in axes]
    moved = node.graph.call("transpose", node, axes=(*left, *axes))
    size = size_of(node.shape[i] for i in axes)
    return reshape(moved, (*(node.shape[i] for i in left), size)), (len(left),)


@array_function(np.max, np.amax)
def max(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, initial: Any = None,
    where: Any = None,
) -> Array:  # fmt: skip
    """Return the largest elements along axes, as `numpy.max`; equal ones share the derivative."""
    refuse_out(np.max, out)
    return _extreme("max", a, axis, keepdims, where, initial)


@array_function(np.min, np.amin)
def min(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, initial: Any = None,
    where: Any = None,
) -> Array:  # fmt: skip
    """Return the smallest elements along axes, as `numpy.min`; equal ones share the derivative."""
    refuse_out(np.min, out)
    return _extreme("min", a, axis, keepdims, where, initial)


amax, amin = max, min


@array_function(np.ptp)
def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False) -> Array:
    """Return the largest minus the smallest along axes, as `numpy.ptp`."""
    refuse_out(np.ptp, out)
    result: Array = _extreme("max", a, axis, keepdims) - _extreme("min", a, axis, keepdims)
    return result


def _arg(name: str, a: Any, axis: int | None, keepdims: bool) -> Array:
    node = to_node(a)
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
    refuse_out(np.argmax, out)
    return _arg("argmax", a, axis, keepdims)


@array_function(np.argmin)
def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> Array:
    """Return where the smallest element is first found, as `numpy.argmin`: int64."""
    refuse_out(np.argmin, out)
    return _arg("argmin", a, axis, keepdims)


@array_function(np.count_nonzero)
def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Count what is not 0 along axes, as `numpy.count_nonzero`: int64."""
    node = cast(cast(to_node(a), BOOL), I64)
    axes = normalized_axes(axis, node.type.rank)
    return kept(node.graph.call("sum", node, axes=axes) if axes else node, node, axes, keepdims)


@array_function(np.any)
def any(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Tell whether something is not 0 along axes, as `numpy.any`; False for no elements."""
    refuse_out(np.any, out)
    chosen = masked(cast(to_node(a, where), BOOL), where, False)
    result: Array = count_nonzero(Array(chosen), axis, keepdims=keepdims) > 0
    return result


@array_function(np.all)
def all(
    a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> Array:
    """Tell whether nothing is 0 along axes, as `numpy.all`; True for no elements."""
    refuse_out(np.all, out)
    zeros = ~masked(cast(to_node(a, where), BOOL), where, True)
    result: Array = count_nonzero(Array(zeros), axis, keepdims=keepdims) == 0
    return result


def neutral(name: str, dtype: DType) -> float:
    """Return what no element of a dtype is beyond: the extreme of nothing."""
    low = name == "max"
    if dtype.is_float:
        return -math.inf if low else math.inf
    if dtype is BOOL:
        return not low
    bounds = np.iinfo(dtype.numpy)
    return int(bounds.min if low else bounds.max)


def _running_axis(node: Node, axis: int | None) -> tuple[Node, int]:
    if axis is None:
        return reshape(node, (node.type.size,)), 0
    return node, normalized_axes(axis, node.type.rank)[0]


@array_function(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Array:
    """Return running sums along an axis, as `numpy.cumsum`; of all elements where it is None."""
    refuse_out(np.cumsum, out)
    node = to_node(a)
    node, at = _running_axis(cast(node, total_dtype(node, dtype)), axis)
    return Array(node.graph.call("cumsum", node, axis=at, reverse=False))


@array_function(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Array:
    """Return running products along an axis, as `numpy.cumprod`; zeros have right derivatives."""
    refuse_out(np.cumprod, out)
    node = to_node(a)
    node, at = _running_axis(cast(node, total_dtype(node, dtype)), axis)
    return Array(cumulative_product(node, axis=at, reverse=False))


def _cumulative(
    function: Any, first: float, x: Any, axis: int | None, dtype: Any, start: bool
) -> Array:
    node = to_node(x)
    running: Array = function(x, axis, dtype)
    if not start:
        return running
    at = 0 if axis is None else normalized_axes(axis, node.type.rank)[0]
    made = running.node
    shape = (*made.shape[:at], 1, *made.shape[at + 1 :])
    lead = made.graph.full(shape, first, made.dtype)
    return Array(made.graph.call("concatenate", lead, made, axis=at))


@array_function(newer("cumulative_sum"))
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Return running sums, beginning with 0 if wished, as `numpy.cumulative_sum`."""
    return _cumulative(cumsum, 0, x, axis, dtype, include_initial)


@array_function(newer("cumulative_prod"))
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Return running products, beginning with 1 if wished, as `numpy.cumulative_prod`."""
    return _cumulative(cumprod, 1, x, axis, dtype, include_initial)
