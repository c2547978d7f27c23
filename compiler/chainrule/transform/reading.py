"""Laying the values that sweeps give into compressed sparse rows."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from chainrule.differentiate.dependence import shape_of, size_of
from chainrule.differentiate.pattern import Pattern, from_pairs
from chainrule.frontend.operands import cast, reshape
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import Array, DType
from chainrule.transform.compressed import Pieces, Store

__all__ = ["Entries", "Places", "laid", "placed", "regular"]

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


class _Term(NamedTuple):
    """A column of a regular layout: element `start + i * stride` of one array, for each step i."""

    number: int
    start: int
    stride: int


class Blocks(NamedTuple):
    """A regular layout: every step through the arrays gives values of the same kind.

    What mapped programs have, whose rows repeat.

    Attributes:
        steps: How many steps.
        columns: For each value of a step, what is added up.
    """

    steps: int
    columns: tuple[tuple[_Term, ...], ...]


def regular(places: Places, number: Array, element: Array, heads: Iterable[int]) -> Blocks | None:
    """Recognise a regular layout of entries, given array and element of each, or return None.

    `heads` are the numbers of steps that come into question.
    """
    count = places.pattern.nnz
    for steps in sorted(set(heads), reverse=True):
        width = count // max(steps, 1)
        if steps < 2 or count % steps or len(places.more) % steps or width > WIDE:
            continue
        first = _terms(number[places.first], element[places.first], steps)
        more = _terms(number[places.more], element[places.more], steps)
        into = _terms(np.zeros_like(places.into), places.into, steps)
        if first is None or more is None or into is None:
            continue
        columns = [[term] for term in first]
        if any(at.stride != width or at.start >= width for at in into):
            continue
        for term, at in zip(more, into, strict=True):
            columns[at.start].append(term)
        return Blocks(steps, tuple(map(tuple, columns)))
    return None


def _terms(number: Array, element: Array, steps: int) -> list[_Term] | None:
    """Return the columns of entries that repeat from step to step, or None if they do not."""
    number, element = number.reshape(steps, -1), element.reshape(steps, -1)
    stride = element[1] - element[0]
    expected = element[0] + np.arange(steps)[:, None] * stride
    if np.any(number != number[0]) or not np.array_equal(element, expected):
        return None
    return [_Term(*t) for t in zip(number[0].tolist(), element[0].tolist(), stride.tolist())]  # noqa: B905


def numbered(pieces: Pieces, entries: Entries) -> tuple[Array, Array]:
    """Return which of the arrays holds each entry, and which element of it."""
    if not pieces.batched:
        return entries.parts + entries.colors * pieces.parts, entries.elements
    # One array holds all sweeps, one after the other.
    sizes = [0 if n is None else size_of(n) // shape_of(n)[0] for n in pieces.nodes]
    return entries.parts, entries.elements + entries.colors * np.array(sizes)[entries.parts]


def laid(
    graph: Graph, pieces: Pieces, entries: Entries, places: Places, dtype: DType, store: Store
) -> Node:
    """Return the values of the matrix, row by row."""
    count = places.pattern.nnz
    if not count:
        return graph.full((0,), 0.0, dtype)
    number, element = numbered(pieces, entries)
    vectors = {
        i: reshape(cast(node, dtype), (size_of(node),))
        for i in np.unique(number).tolist() if (node := pieces.nodes[i]) is not None
    }  # fmt: skip
    heads = [shape_of(node)[0] for node in pieces.nodes if node is not None and node.shape]
    blocks = regular(places, number, element, heads)
    if blocks is not None:
        return _stacked(vectors, blocks)
    sizes = [size_of(vectors[i]) if i in vectors else 0 for i in range(len(pieces.nodes))]
    at = (np.cumsum(sizes) - sizes)[number] + element
    whole = _joined(list(vectors.values()), 0)
    data = _picked(whole, at[places.first], "places", store)
    if len(places.more):
        extra = _picked(whole, at[places.more], "more", store)
        into = store("into", places.into)
        data = data + graph.call("scatter_add", extra, into, size=count, batch=0)
    return data


def _picked(x: Node, at: Array, name: str, store: Store) -> Node:
    if len(at) == size_of(x) and np.array_equal(at, np.arange(len(at))):
        return x
    return x.graph.call("gather", x, store(name, at), batch=0)


def _stacked(vectors: Mapping[int, Node], blocks: Blocks) -> Node:
    """Lay columns side by side; neighbours in the rows of arrays go together."""
    steps, columns = blocks
    parts: list[Node] = []
    begin = 0
    for end in range(1, len(columns) + 1):
        if end < len(columns) and _follows(columns[end - 1], columns[end]):
            continue
        terms = [_side_by_side(vectors[t.number], t, steps, end - begin) for t in columns[begin]]
        parts.append(functools.reduce(operator.add, terms))
        begin = end
    return reshape(_joined(parts, 1), (steps * len(columns),))


def _follows(left: Sequence[_Term], right: Sequence[_Term]) -> bool:
    return tuple(right) == tuple(t._replace(start=t.start + 1) for t in left)


def _side_by_side(x: Node, term: _Term, steps: int, width: int) -> Node:
    """Return `width` columns of which the first is `term` and the others its neighbours."""
    graph, (_, start, stride) = x.graph, term
    if stride > 0 and size_of(x) == stride * steps and start + width <= stride:
        rows = reshape(x, (steps, stride))
        return graph.call("slice", rows, starts=(0, start), shape=(steps, width), steps=(1, 1))
    if stride == 0:
        one = graph.call("slice", x, starts=(start,), shape=(width,), steps=(1,))
        return graph.broadcast(one, (steps, width), (1,))
    columns = [
        graph.call("slice", x, starts=(start + j,), shape=(steps,), steps=(stride,))
        for j in range(width)
    ]
    return _joined([reshape(c, (steps, 1)) for c in columns], 1)


def _joined(parts: Sequence[Node], axis: int) -> Node:
    return parts[0] if len(parts) == 1 else parts[0].graph.call("concatenate", *parts, axis=axis)
