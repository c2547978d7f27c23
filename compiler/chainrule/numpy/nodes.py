"""Helpers of the array functions: axes, and moves of nodes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.assume import never_fewer
from chainrule.frontend.context import current_graph
from chainrule.frontend.dispatch import first_traced
from chainrule.frontend.extents import SymbolicExtent, plain_shape
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    Operand,
    as_operand,
    broadcast_to_shape,
    cast,
    graph_of,
    node_of,
    reshape,
)
from chainrule.frontend.value import Value, describe
from chainrule.ir.dims import Extent, Shape, show_extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, dtype_of

__all__ = [
    "Axis", "asked_shape", "axis_number", "checked_broadcast", "converted", "each_axis", "given",
    "graph_of_any", "joined",
    "kept", "mask_of", "masked", "normalized_axes", "part", "permuted", "shifted",
    "shown", "sliced", "to_node",
]  # fmt: skip


Axis = Any
"""An axis, a tuple of axes, or None for all of them."""


def normalized_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    """Return axes as sorted numbers from 0.

    Raises:
        ShapeError: An axis does not exist or is named twice.
        StructureError: One is no integer.
    """
    if axis is None:
        return tuple(range(rank))
    asked = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    axes = []
    for a in asked:
        number = axis_number(a)
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
        raise ShapeError(explain(f"an axis is named twice: {asked}", f"at  {user_line()}"))
    return tuple(sorted(axes))


def axis_number(axis: Any, option: str = "axis") -> int:
    """Return an axis as a number.

    Raises:
        StructureError: It is no integer.
    """
    if hasattr(axis, "__index__"):
        return operator.index(axis)
    raise StructureError(
        explain(
            f"{option} is no integer",
            f"{option}  {axis!r:.60}",
            f"at  {user_line()}",
            hint="axes are integers from 0, or from -1 backwards; a tuple of them names several",
        )
    )


def kept(node: Node, like: Node, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Return what was reduced over `axes`, with extents of 1 there if wished."""
    if keepdims:
        node = reshape(node, tuple([1 if i in axes else n for i, n in enumerate(like.shape)]))
    return Array(node)


def asked_shape(shape: Any, graph: Graph) -> Shape:
    """Return the shape that is asked for, of which no extent may be negative.

    Raises:
        ShapeError: One is, in the call under way or whatever the dims are.
    """
    found = plain_shape(tuple(shape) if isinstance(shape, Sequence) else (shape,))
    return tuple([
        never_fewer(graph, e, f"an extent is negative: {show_extent(e)}") for e in found
    ])  # fmt: skip


def to_node(x: Any, *others: Any) -> Node:
    """Return an operand as a node of the traced ones' graph; plain ones, of that traced into."""
    operand = as_operand(x)
    traced: list[Operand] = [v for v in (operand, *others) if isinstance(v, Value | SymbolicExtent)]
    graph = None if traced else current_graph()
    values: Any = traced or [operand]
    return node_of(operand, graph_of(values) if graph is None else graph)


def given(option: Any) -> bool:
    """Tell whether an optional argument of NumPy's was given."""
    return option is not None and option is not np._NoValue  # noqa: SLF001  (NumPy's own default)


def masked(node: Node, where: Any, instead: float) -> Node:
    """Put a number in place of elements that `where`, of a reduction, leaves out.

    Raises:
        DTypeError: `where` has no truth values.
        ShapeError: It does not broadcast to the array.
    """
    if not given(where) or where is True:
        return node
    return node.graph.select(mask_of(node, where), node, instead)


def mask_of(node: Node, where: Any) -> Node:
    """Return `where` of a reduction in the shape of what is reduced."""
    mask = node_of(as_operand(where), node.graph)
    if mask.dtype is not BOOL:
        raise DTypeError(
            explain(
                "where= takes truth values",
                f"where  {describe(mask)}",
                f"at  {user_line()}",
                hint="compare, as where=x > 0",
            )
        )
    return broadcast_to_shape(mask, checked_broadcast(mask, node.shape))


def permuted(node: Node, axes: Sequence[int]) -> Node:
    """Transpose; nothing where the order is right."""
    order = tuple(axes)
    return (
        node
        if order == tuple(range(len(order)))
        else node.graph.call("transpose", node, axes=order)
    )


def shifted(counter: Node, by: Any) -> Node:
    """Add a whole number or an extent to every element of an array of integers."""
    if isinstance(by, SymbolicExtent):
        return counter + counter.graph.broadcast(node_of(by, counter.graph), counter.shape, ())
    return counter + operator.index(by)


def sliced(
    node: Node, starts: Sequence[Extent], shape: Sequence[Extent], steps: Sequence[int]
) -> Node:
    """Take a slice; nothing where it is everything."""
    whole = all(s == 1 for s in steps) and all(s == 0 for s in starts)
    if whole and tuple(shape) == node.shape:
        return node
    return node.graph.call(
        "slice", node, starts=tuple(starts), shape=tuple(shape), steps=tuple(steps)
    )


def part(node: Node, axis: int, start: Extent, length: Extent, step: int = 1) -> Node:
    """Take a slice along one axis."""
    rank = node.type.rank
    return sliced(
        node,
        [start if i == axis else 0 for i in range(rank)],
        [length if i == axis else n for i, n in enumerate(node.shape)],
        [step if i == axis else 1 for i in range(rank)],
    )


def joined(nodes: Sequence[Node], axis: int) -> Node:
    """Concatenate nodes of one dtype; nothing where there is one."""
    kept = [n for n in nodes if n.shape[axis] != 0] or list(nodes[:1])
    return kept[0] if len(kept) == 1 else kept[0].graph.call("concatenate", *kept, axis=axis)


def shown(extents: Sequence[Extent]) -> str:
    """Return a shape for a message."""
    return "[" + ", ".join(map(show_extent, extents)) + "]"


def each_axis(axes: Any, rank: int) -> list[int]:
    """Return axes as numbers from 0, in the order given."""
    asked = axes if isinstance(axes, Sequence) else (axes,)
    return [normalized_axes(a, rank)[0] for a in asked]


def checked_broadcast(node: Node, shape: Shape) -> Shape:
    """Return `shape` if the node broadcasts to it."""
    own = node.shape
    ends = zip(own, shape[len(shape) - len(own) :], strict=False)
    if len(own) > len(shape) or any(m not in (1, n) for m, n in ends):
        raise ShapeError(
            explain(
                f"{node.type} does not broadcast to {shown(shape)}",
                f"operand  {describe(node)}",
                f"at  {user_line()}",
            )
        )
    return shape


def graph_of_any(values: Sequence[Any]) -> Graph:
    """Return the graph of a traced value among arguments."""
    found = first_traced(values)
    assert found is not None, "called for traced arguments"
    return found.graph


def converted(node: Node, dtype: Any) -> Node:
    """Convert to a NumPy dtype, unless it is None, as the user has written."""
    return node if dtype is None else cast(node, dtype_of(dtype), rounds=True)
