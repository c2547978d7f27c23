"""Elimination with the greatest pivot of all that is left: factors that exist for every matrix.

Rows and columns of a, in an order of their own, are the product L D U of triangles with 1 on their
diagonals and of a diagonal, which is 0 from the rank on.  So L and U have inverses whatever a is,
and what a polynomial of a needs can be had without a division by a pivot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from chainrule.ir.body import Body
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import BOOL, I64, Array, Type
from chainrule.ops._declare import declare
from chainrule.ops._matrices import each_matrix, matrices_apart, square
from chainrule.ops.control import POSITION, loop, results_of
from chainrule.ops.linalg import by_matrix

__all__ = ["Eliminated", "along", "eliminated", "pivoted"]


class Eliminated(NamedTuple):
    """Factors of a matrix.

    Attributes:
        lower: L.
        upper: U.
        pivots: The diagonal of D, as vectors.
        rows: Which row of the matrix each row of L is.
        columns: Which column of the matrix each column of U is.
    """

    lower: Node
    upper: Node
    pivots: Node
    rows: Node
    columns: Node


def eliminated(a: Node) -> Eliminated:
    """Return the factors of each matrix of numbers; equal matrices are factored once."""
    graph, n, depth = a.graph, a.shape[-1], a.type.rank - 1
    y = graph.call("pivoted", a)
    ones = (1,) * (depth + 1)

    def cut(start: Extent, width: Extent) -> Node:
        starts, shape = (0,) * depth + (start,), (*a.shape[:-1], width)
        return graph.call("slice", y, starts=starts, shape=shape, steps=ones)

    def vector(start: Extent) -> Node:
        return graph.call("reshape", cut(start, 1), shape=a.shape[:-1])

    rows, columns = (graph.call("cast", vector(2 * n + i), dtype=I64) for i in (1, 2))
    return Eliminated(cut(0, n), cut(n, n), vector(2 * n), rows, columns)


def along(x: Node, like: Node, axis: int) -> Node:
    """Copy a vector for each matrix: as a column (axis 0) or as a row (axis 1)."""
    lead = like.type.rank - 2
    return x.graph.broadcast(x, like.shape, (*range(lead), lead + axis))


def _expand(a: Node) -> Node:
    graph, depth = a.graph, a.type.rank - 2
    none, places = graph.full_like(a, 0.0), graph.full(a.shape[:-1], 0, I64)
    free, vector = graph.full(a.shape[:-1], 0, BOOL), graph.full(a.shape[:-1], 0.0, a.dtype)
    inits = (a, none, none, vector, places, places, free, free)
    bundle = loop(
        *inits, body=_step(graph, [x.type for x in inits]), test=None, carries=len(inits),
        mapped=0, length=a.shape[-1], bound=None, reverse=False, counted=False,
    )  # fmt: skip
    _, lower, upper, pivots, rows, columns, *_ = results_of(bundle)
    turned = (*range(depth), depth + 1, depth)
    lower = graph.call("gather", lower, rows, batch=depth)
    upper = graph.call("gather", graph.call("transpose", upper, axes=turned), columns, batch=depth)
    vectors = [pivots, *(graph.call("cast", x, dtype=a.dtype) for x in (rows, columns))]
    wide = [graph.call("reshape", x, shape=(*x.shape, 1)) for x in vectors]
    upper = graph.call("transpose", upper, axes=turned)
    return graph.call("concatenate", lower, upper, *wide, axis=depth + 1)


def _step(graph: Graph, types: list[Type]) -> Body:
    """Return one step: take the greatest element out with its row and its column."""
    names = ("left", "lower", "upper", "pivots", "rows", "columns", "row_taken", "column_taken")
    inputs = [graph.input(n, t) for n, t in zip(("k", *names), (POSITION, *types), strict=True)]
    k, left, lower, upper, pivots, rows, columns, row_taken, column_taken = inputs
    depth = left.type.rank - 2
    lead, n = tuple(range(depth)), left.shape[-1]
    counter = graph.broadcast(graph.call("iota", length=n, dtype=I64), row_taken.shape, (depth,))
    last = graph.broadcast(graph.call("extent", extent=n - 1), row_taken.shape, ())

    def each(x: Node, like: Node) -> Node:
        return graph.broadcast(x, like.shape, lead)

    def where(condition: Node) -> tuple[Node, Node]:
        """Return the first place at which it holds, as a number and as a mask."""
        first = graph.call("min", graph.select(condition, counter, last), axes=(depth,))
        return first, counter.equals(each(first, counter))

    size = graph.call("abs", left)
    size = graph.select(along(row_taken, left, 0) | along(column_taken, left, 1), -1.0, size)
    of_rows = graph.call("max", size, axes=(depth + 1,))
    greatest = each(graph.call("max", of_rows, axes=(depth,)), of_rows)
    row, in_row = where(of_rows.equals(greatest))
    across = graph.call("sum", graph.select(along(in_row, left, 0), left, 0.0), axes=(depth,))
    size = graph.select(column_taken, -1.0, graph.call("abs", across))
    column, in_column = where(size.equals(greatest))
    down = graph.call("sum", graph.select(along(in_column, left, 1), left, 0.0), axes=(depth + 1,))
    pivot = graph.call("sum", graph.select(in_column, across, 0.0), axes=(depth,))
    divisor = each(graph.select(pivot.equals(0), 1.0, pivot), down)
    ratios = graph.select(in_row, 1.0, down / divisor)
    shares = graph.select(in_column, 1.0, across / divisor)
    rest = left - along(ratios, left, 0) * along(across, left, 1)
    rest = graph.select(along(in_row, left, 0) | along(in_column, left, 1), 0.0, rest)
    here = counter.equals(graph.broadcast(k, counter.shape, ()))
    outputs = (
        rest,
        graph.select(along(here, left, 1), along(ratios, left, 0), lower),
        graph.select(along(here, left, 0), along(shares, left, 1), upper),
        graph.select(here, each(pivot, pivots), pivots),
        graph.select(here, each(row, rows), rows),
        graph.select(here, each(column, columns), columns),
        row_taken | in_row, column_taken | in_column,
    )  # fmt: skip
    return Body(tuple(inputs), outputs)


def _one(a: Array) -> Array:
    n = a.shape[0]
    left, pivots = a.copy(), np.zeros(n, a.dtype)
    lower, upper = np.zeros_like(a), np.zeros_like(a)
    rows, columns = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for k in range(n):
        size = np.abs(left)
        size[rows[:k]] = size[:, columns[:k]] = -1
        p, q = divmod(int(np.argmax(size)), n)
        pivot, across = left[p, q], left[p].copy()
        lower[:, k], upper[k] = left[:, q] / (pivot or 1), across / (pivot or 1)
        lower[p, k] = upper[k, q] = 1
        left = left - np.outer(lower[:, k], across)
        left[p] = left[:, q] = 0
        pivots[k], rows[k], columns[k] = pivot, p, q
    return np.column_stack([lower[rows], upper[:, columns], pivots, rows, columns])


def _type(a: Type) -> Type:
    square("pivoted")(a)
    return Type(a.dtype, (*a.shape[:-1], 2 * a.shape[-1] + 3))


def _value(a: Array) -> Array:
    n = a.shape[-1]
    return by_matrix(a, _one, (n, 2 * n + 3))


pivoted: Final[Op] = declare(
    Op(
        "pivoted", Kind.COMPOSITE, (), _type, _value, Special(), batch=each_matrix("pivoted"),
        expand=_expand, apart=matrices_apart,
        notation=Notation("pivoted({0})", r"\operatorname{{pivoted}}({0})"),
    )
)  # fmt: skip
