"""Products: matmul in all its forms, dot, tensordot and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_strong,
    broadcast_to_shape,
    cast,
    graph_of,
    node_of,
    reshape,
    resolve,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Extent, show_extent
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I32
from chainrule.numpy.nodes import axis_number, normalized_axes, permuted
from chainrule.numpy.shape import moveaxis

__all__ = ["dot", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "vdot", "vecdot",
           "vecmat"]  # fmt: skip


def pair(a: Any, b: Any) -> tuple[Node, Node]:
    """Return two factors in one graph and the dtype of their product."""
    operands = [as_strong(a), as_strong(b)]
    dtype = resolve(np.multiply, operands)[-1]
    graph = graph_of(operands)
    return node_of(operands[0], graph, dtype), node_of(operands[1], graph, dtype)


def contract(
    a: Node, b: Node, batch: Sequence[tuple[int, int]], summed: Sequence[tuple[int, int]]
) -> Node:
    """Sum products over pairs of axes: batch axes come first, then free ones of `a`, then of `b`.

    Truth values count as in NumPy: the sum is whether one product is true.
    """
    if a.dtype is BOOL:
        wide = contract(cast(a, I32), cast(b, I32), batch, summed)
        return cast(wide, BOOL)
    by_batch = (tuple([i for i, _ in batch]), tuple([j for _, j in batch]))
    by_sum = (tuple([i for i, _ in summed]), tuple([j for _, j in summed]))
    return a.graph.call("contract", a, b, batch=by_batch, summed=by_sum)


def _mismatch(name: str, a: Node, b: Node, i: int, j: int) -> str:
    return explain(
        f"{name}: axis {i} of the first operand is {show_extent(a.shape[i])}, "
        f"axis {j} of the second is {show_extent(b.shape[j])}",
        f"operand 0  {describe(a)}",
        f"operand 1  {describe(b)}",
        f"at  {user_line()}",
        hint="the extents that are summed over must be equal",
    )


def _agree(name: str, a: Node, b: Node, i: int, j: int) -> None:
    if a.shape[i] != b.shape[j]:
        raise ShapeError(_mismatch(name, a, b, i % a.type.rank, j % b.type.rank))


def batched_contract(
    name: str, a: Node, b: Node, a_core: int, b_core: int, summed: Sequence[tuple[int, int]]
) -> Node:
    """Contract the last axes of two arrays, broadcasting the others against each other.

    `summed` counts axes within the last `a_core` and `b_core`.  An axis that only one operand has
    stays a free axis of it: nothing is copied.
    """
    lead_a, lead_b = a.type.rank - a_core, b.type.rank - b_core
    lead = max(lead_a, lead_b)
    result: list[Extent] = []
    kinds: list[str] = []
    for i in range(lead):
        m = a.shape[i - lead + lead_a] if i - lead + lead_a >= 0 else 1
        n = b.shape[i - lead + lead_b] if i - lead + lead_b >= 0 else 1
        if 1 not in (m, n) and m != n:
            raise ShapeError(
                explain(
                    f"{name}: batch axes do not broadcast: {show_extent(m)} vs {show_extent(n)}",
                    f"operand 0  {describe(a)}",
                    f"operand 1  {describe(b)}",
                    f"at  {user_line()}",
                    hint="batch extents must be equal, or 1",
                )
            )
        kinds.append(
            "both" if 1 not in (m, n) else "first" if m != 1 else "second" if n != 1 else ""
        )
        result.append(m if m != 1 else n)
    a = _without_ones(a, [k in ("both", "first") for k in kinds][lead - lead_a :])
    b = _without_ones(b, [k in ("both", "second") for k in kinds][lead - lead_b :])
    in_a = [i for i, k in enumerate(kinds) if k in ("both", "first")]
    in_b = [i for i, k in enumerate(kinds) if k in ("both", "second")]
    batch = [(in_a.index(i), in_b.index(i)) for i, k in enumerate(kinds) if k == "both"]
    sums = [(len(in_a) + i, len(in_b) + j) for i, j in summed]
    product = contract(a, b, batch, sums)
    # Axes now: shared batch, batch of a alone, core of a, batch of b alone, core of b.
    both, first, second = (
        [i for i, k in enumerate(kinds) if k == w] for w in ("both", "first", "second")
    )
    core_a, core_b = a_core - len(summed), b_core - len(summed)
    at = {i: place for place, i in enumerate((*both, *first))}
    start = len(both) + len(first)
    cores = list(range(start, start + core_a))
    at |= {i: place for place, i in enumerate(second, start + core_a)}
    cores += range(start + core_a + len(second), start + core_a + len(second) + core_b)
    order = [at[i] for i in range(lead) if kinds[i]] + cores
    ordered = permuted(product, order)
    return reshape(ordered, (*result, *ordered.shape[len(order) - len(cores) :]))


def _without_ones(node: Node, kept: Sequence[bool]) -> Node:
    lead = [n for n, keep in zip(node.shape, kept, strict=False) if keep]
    return reshape(node, (*lead, *node.shape[len(kept) :]))


@array_function(np.matmul)
def matmul(a: Any, b: Any, /, *, dtype: Any = None) -> Array:
    """Multiply matrices, or stacks of them that broadcast, as `numpy.matmul`.

    Args:
        a: Shape (..., m, k), or (k,).
        b: Shape (..., k, n), or (k,).
        dtype: Of the result.

    Returns:
        Shape (..., m, n), without m or n where that operand has one axis.

    Raises:
        ShapeError: The extents k differ, or an operand has no axes.
    """
    x, y = pair(a, b)
    for node, which in ((x, "first"), (y, "second")):
        if not node.type.rank:
            raise ShapeError(
                explain(
                    f"matmul: the {which} operand has no axes",
                    f"operand 0  {describe(x)}",
                    f"operand 1  {describe(y)}",
                    f"at  {user_line()}",
                    hint="multiply by numbers with *",
                )
            )
    core_x, core_y = min(x.type.rank, 2), min(y.type.rank, 2)
    _agree("matmul", x, y, -1, -core_y)
    result = batched_contract("matmul", x, y, core_x, core_y, [(core_x - 1, 0)])
    return Array(result) if dtype is None else Array(result).astype(dtype)


@array_function(np.vecdot)
def vecdot(a: Any, b: Any, /, *, axis: int = -1) -> Array:
    """Return sums of products along one axis, as `numpy.vecdot`."""
    x, y = pair(a, b)
    if axis != -1:
        x, y = (moveaxis(Array(n), axis, -1).node for n in (x, y))
    _agree("vecdot", x, y, -1, -1)
    return Array(batched_contract("vecdot", x, y, 1, 1, [(0, 0)]))


@array_function(newer("matvec"))
def matvec(a: Any, b: Any, /) -> Array:
    """Multiply matrices (..., m, k) with vectors (..., k), as `numpy.matvec`."""
    x, y = pair(a, b)
    _agree("matvec", x, y, -1, -1)
    return Array(batched_contract("matvec", x, y, 2, 1, [(1, 0)]))


@array_function(newer("vecmat"))
def vecmat(a: Any, b: Any, /) -> Array:
    """Multiply vectors (..., k) with matrices (..., k, n), as `numpy.vecmat`."""
    x, y = pair(a, b)
    _agree("vecmat", x, y, -1, -2)
    return Array(batched_contract("vecmat", x, y, 1, 2, [(0, 0)]))


@array_function(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Array:
    """Sum products over the last axis of `a` and the last but one of `b`, as `numpy.dot`."""
    del out
    x, y = pair(a, b)
    if not x.type.rank or not y.type.rank:
        result: Array = Array(x) * Array(y)
        return result
    at = max(y.type.rank - 2, 0)
    _agree("dot", x, y, -1, at)
    return Array(contract(x, y, [], [(x.type.rank - 1, at)]))


@array_function(np.inner)
def inner(a: Any, b: Any, /) -> Array:
    """Sum products over the last axes, as `numpy.inner`."""
    x, y = pair(a, b)
    if not x.type.rank or not y.type.rank:
        result: Array = Array(x) * Array(y)
        return result
    _agree("inner", x, y, -1, -1)
    return Array(contract(x, y, [], [(x.type.rank - 1, y.type.rank - 1)]))


@array_function(np.vdot)
def vdot(a: Any, b: Any, /) -> Array:
    """Sum products of all elements, as `numpy.vdot`."""
    x, y = (reshape(n, (n.type.size,)) for n in pair(a, b))
    _agree("vdot", x, y, 0, 0)
    return Array(contract(x, y, [], [(0, 0)]))


@array_function(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Array:
    """Return all products of two elements, shape (a.size, b.size), as `numpy.outer`."""
    del out
    x, y = (reshape(n, (n.type.size,)) for n in pair(a, b))
    shape = (*x.shape, *y.shape)
    graph = x.graph
    result: Array = Array(graph.broadcast(x, shape, (0,))) * Array(graph.broadcast(y, shape, (1,)))
    return result


@array_function(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Array:
    """Sum products over pairs of axes, as `numpy.tensordot`.

    Args:
        a: An array.
        b: An array.
        axes: How many last axes of `a` pair with as many first ones of `b`; or two sequences.

    Raises:
        StructureError: `axes` is neither.
        ShapeError: Paired extents differ.
    """
    x, y = pair(a, b)
    first: Sequence[int]
    second: Sequence[int]
    if isinstance(axes, Sequence | np.ndarray) and not isinstance(axes, str):
        if len(axes) != 2:
            raise StructureError(
                explain("tensordot: axes are a number, or two sequences of axes",
                        f"axes  {axes!r:.60}", f"at  {user_line()}")
            )  # fmt: skip
        first, second = (list(s) if isinstance(s, Sequence | np.ndarray) else [s] for s in axes)
    else:
        count = axis_number(axes, "tensordot: axes")
        first, second = range(x.type.rank - count, x.type.rank), range(count)
    if len(first) != len(second):
        raise ShapeError(explain("tensordot: axes pair up", f"axes  {axes}", f"at  {user_line()}"))
    pairs = [
        (normalized_axes(i, x.type.rank)[0], normalized_axes(j, y.type.rank)[0])
        for i, j in zip(first, second, strict=True)
    ]
    for i, j in pairs:
        _agree("tensordot", x, y, i, j)
    return Array(contract(x, y, [], pairs))


@array_function(np.kron)
def kron(a: Any, b: Any) -> Array:
    """Return the Kronecker product, as `numpy.kron`."""
    x, y = pair(a, b)
    rank = max(x.type.rank, y.type.rank)
    first = (1,) * (rank - x.type.rank) + x.shape
    second = (1,) * (rank - y.type.rank) + y.shape
    wide = tuple([e for m, n in zip(first, second, strict=True) for e in (m, n)])
    rows = reshape(x, tuple([e for m in first for e in (m, 1)]))
    columns = reshape(y, tuple([e for n in second for e in (1, n)]))
    product: Array = Array(broadcast_to_shape(rows, wide)) * Array(
        broadcast_to_shape(columns, wide)
    )
    return Array(reshape(product.node, tuple([m * n for m, n in zip(first, second, strict=True)])))
