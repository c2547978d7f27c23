"""Helpers of the array functions: axes, and moves of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.context import current_graph
from chainrule.frontend.dispatch import InGraph, first_traced
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    cast,
    graph_of,
    node_of,
    reshape,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Extent, Shape, show_extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import dtype_of

__all__ = [
    "Axis", "checked_broadcast", "converted", "each_axis", "graph_of_any", "joined", "kept",
    "normalized_axes", "part", "permuted", "refuse_options", "shown", "sliced", "to_node",
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


def kept(node: Node, like: Node, axes: tuple[int, ...], keepdims: bool) -> Array:
    """Return what was reduced over `axes`, with extents of 1 there if wished."""
    if keepdims:
        node = reshape(node, tuple([1 if i in axes else n for i, n in enumerate(like.shape)]))
    return Array(node)


def refuse_options(name: str, out: Any, where: Any = None, initial: Any = None) -> None:
    """Raise UnsupportedError where an option is given that traced values do not take."""
    given = [n for n, v in (("out", out), ("where", where), ("initial", initial)) if v is not None]
    if given:
        raise UnsupportedError(
            explain(
                f"{name} of a traced value does not take {' and '.join(given)}",
                f"at  {user_line()}",
                hint="select with cnp.where before reducing",
            )
        )


def to_node(x: Any) -> Node:
    """Return an operand as a node of its own graph; a plain array, of the one being traced into."""
    operand = as_operand(x)
    graph = None if isinstance(operand, InGraph) else current_graph()
    return node_of(operand, graph_of([operand]) if graph is None else graph)


def permuted(node: Node, axes: Sequence[int]) -> Node:
    """Transpose; nothing where the order is right."""
    order = tuple(axes)
    return (
        node
        if order == tuple(range(len(order)))
        else node.graph.call("transpose", node, axes=order)
    )


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
    given = axes if isinstance(axes, Sequence) else (axes,)
    return [normalized_axes(a, rank)[0] for a in given]


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
