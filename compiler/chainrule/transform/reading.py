"""Laying the values that sweeps give into compressed sparse rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from chainrule.differentiate.dependence import shape_of, size_of
from chainrule.differentiate.pattern import Pattern, from_pairs
from chainrule.frontend.operands import cast, reshape
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import Array, DType
from chainrule.transform.compressed import Pieces, Store

__all__ = ["Entries", "laid", "placed"]

WIDE: Final = 256
"Values that each step of a regular layout may have."


class Entries(NamedTuple):
    """Every nonzero of every sweep that counts, in any order.

    Attributes:
        rows: Row of the matrix.
        columns: Column of the matrix.
        colors: The sweep that holds it.
        parts: Which of the sweep's arrays.
        elements: Which element of that.
    """

    rows: Array
    columns: Array
    colors: Array
    parts: Array
    elements: Array


class Places(NamedTuple):
    """Which entries the values of a matrix are.

    Attributes:
        pattern: The matrix.
        first: For each value, an entry.
        more: Further entries,
        into: and the values that they are added to.
    """

    pattern: Pattern
    first: Array
    more: Array
    into: Array


def placed(entries: Entries, shape: tuple[int, int]) -> Places:
    """Sort entries by their places; those of one place are added up."""
    pattern = from_pairs(entries.rows, entries.columns, shape)
    keys = entries.rows * max(shape[1], 1) + entries.columns
    order = (
        np.arange(len(keys)) if np.all(keys[1:] > keys[:-1]) else np.argsort(keys, kind="stable")
    )
    begins = np.concatenate([[True], keys[order][1:] != keys[order][:-1]])[: len(keys)]
    number = np.cumsum(begins) - 1
    return Places(pattern, order[begins], order[~begins], number[~begins])


def laid(
    graph: Graph, pieces: Pieces, entries: Entries, places: Places, dtype: DType, store: Store
) -> Node:
    """Return the values of the matrix, row by row."""
    count = places.pattern.nnz
    if not count:
        return graph.full((0,), 0.0, dtype)
    where = _Where(graph, pieces, entries, dtype)
    regular = where.blocks(places.first)
    data = where.picked(places.first, "places", store) if regular is None else regular
    if len(places.more):
        extra = where.picked(places.more, "more", store)
        into = store("into", places.into)
        data = data + graph.call("scatter_add", extra, into, size=count, batch=0)
    return data


class _Where:
    """Where entries are: arrays of the sweeps as vectors, and places in them."""

    def __init__(self, graph: Graph, pieces: Pieces, entries: Entries, dtype: DType) -> None:
        self.graph = graph
        number, element = entries.parts, entries.elements
        if pieces.batched:
            # One array holds all sweeps, one after the other.
            sizes = np.array(
                [0 if n is None else size_of(n) // shape_of(n)[0] for n in pieces.nodes]
            )
            element = element + entries.colors * sizes[number]
        else:
            number = number + entries.colors * pieces.parts
        used, self.number = np.unique(number, return_inverse=True)
        self.element = element
        nodes = [n for n in (pieces.nodes[i] for i in used) if n is not None]
        assert len(nodes) == len(used), "an entry is where a sweep leads"
        self.vectors = [reshape(cast(n, dtype), (size_of(n),)) for n in nodes]
        self.heads = {shape_of(n)[0] for n in nodes if n.shape}

    def picked(self, at: Array, name: str, store: Store) -> Node:
        """Return entries by an array of places."""
        sizes = np.array([size_of(v) for v in self.vectors])
        places = (np.cumsum(sizes) - sizes)[self.number[at]] + self.element[at]
        whole = self._joined(self.vectors, 0)
        if len(places) == sizes.sum() and np.array_equal(places, np.arange(len(places))):
            return whole
        return self.graph.call("gather", whole, store(name, places), batch=0)

    def blocks(self, at: Array) -> Node | None:
        """Return entries as equal steps through the arrays, moved without an index, or None.

        Value i*m + k of a regular layout is element a_k + i*s_k of one array: what mapped programs
        have, whose rows repeat.
        """
        for steps in sorted(self.heads, reverse=True):
            if steps < 2 or len(at) % steps or len(at) // steps > WIDE:
                continue
            number = self.number[at].reshape(steps, -1)
            element = self.element[at].reshape(steps, -1)
            stride = element[1] - element[0]
            regular = element[0] + np.arange(steps)[:, None] * stride
            if np.all(number == number[0]) and np.array_equal(element, regular):
                return self._stacked(number[0], element[0], stride, steps)
        return None

    def _stacked(self, number: Array, start: Array, stride: Array, steps: int) -> Node:
        """Lay columns side by side; neighbours in an array's rows go together."""
        ends = np.flatnonzero(
            (np.diff(number) != 0) | (np.diff(start) != 1) | (np.diff(stride) != 0)
        )
        columns = []
        for group in np.split(np.arange(len(number)), ends + 1):
            first, width = int(group[0]), len(group)
            columns += self._columns(
                self.vectors[number[first]], int(start[first]), int(stride[first]), steps, width
            )
        return reshape(self._joined(columns, 1), (steps * len(number),))

    def _columns(self, x: Node, start: int, stride: int, steps: int, width: int) -> list[Node]:
        graph, length = self.graph, size_of(x)
        if stride > 0 and length == stride * steps and start + width <= stride:
            rows = reshape(x, (steps, stride))
            return [
                graph.call("slice", rows, starts=(0, start), shape=(steps, width), steps=(1, 1))
            ]
        if stride == 0:
            one = graph.call("slice", x, starts=(start,), shape=(width,), steps=(1,))
            return [graph.broadcast(one, (steps, width), (1,))]
        return [
            reshape(
                graph.call("slice", x, starts=(start + j,), shape=(steps,), steps=(stride,)),
                (steps, 1),
            )
            for j in range(width)
        ]

    def _joined(self, parts: Sequence[Node], axis: int) -> Node:
        return parts[0] if len(parts) == 1 else self.graph.call("concatenate", *parts, axis=axis)
