"""Dense second derivatives that are mostly zeros: few sweeps, laid into a matrix of zeros.

A sum of terms of few neighbours has a Hessian of a few diagonals.  Its pattern is found while
tracing, a handful of Hessian-vector products holds every entry, and what is left of the work is to
fill a matrix and to write along its diagonals.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from chainrule.differentiate.dependence import Known, size_of
from chainrule.differentiate.pattern import identity
from chainrule.differentiate.sparsity import propagate
from chainrule.errors import NotDifferentiableError, UnsupportedError
from chainrule.frontend.array import Array
from chainrule.frontend.context import stable_forms
from chainrule.frontend.operands import cast, reshape
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind
from chainrule.ir.types import Array as Numbers
from chainrule.ir.types import dtype_of
from chainrule.ir.walk import depends_on, topological
from chainrule.transform.choice import Chosen
from chainrule.transform.inline import inline
from chainrule.transform.reading import numbered
from chainrule.transform.strategy import Symmetric, symmetric

__all__ = ["filled_hessian"]

SMALLEST: Final = 16
LARGEST: Final = 1024
"Sizes between which a pattern is looked for: below, nothing is gained; above, tracing would slow."
SPARSE: Final = 4
"Elements of the argument that there must be for each sweep."
NODES: Final = 500
"Nodes of a program whose pattern is looked for."
WIDE: Final = 8
"Elements that any node may have for each of the argument."
PARTS: Final = 32
"Strided parts up to which a matrix is laid out by them."
RUN: Final = 4
"Entries that must follow one another in steps to be a part of their own."

FOLLOWED: Final = frozenset({
    Kind.SOURCE, Kind.POINTWISE, Kind.VIEW, Kind.WRITE, Kind.GATHER, Kind.SCATTER, Kind.UPDATE,
    Kind.REDUCE, Kind.COMPOSITE,
})  # fmt: skip
"Kinds of ops that derivatives pass without filling the pattern."


def filled_hessian(chosen: Chosen, leaves: Sequence[Array], graph: Graph) -> Node | None:
    """Return the second derivatives of a number by one array as a matrix of zeros and few parts.

    None where that cannot be said cheaply, or would not be cheaper: several arrays, named extents,
    dense or irregular patterns, integers from the data, numerics that keep bits (sums differ).
    """
    if len(leaves) != 1 or not stable_forms() or not _fits(leaves[0].node):
        return None
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph)
    graph.set_origin(None)
    (output,), (x,) = made.stable, made.placeholders
    if not output.dtype.is_float or not _is_plain(output, x):
        return None
    try:
        found = symmetric(output, [x], Known({}))
    except (NotDifferentiableError, UnsupportedError):
        return None
    node = _laid(found, output, x) if found.sweeps * SPARSE <= size_of(x) else None
    return None if node is None else made.placed([node])[0]


def _fits(x: Node) -> bool:
    size = x.type.size
    return isinstance(size, int) and SMALLEST <= size <= LARGEST and x.dtype.is_float


def _is_plain(output: Node, x: Node) -> bool:
    """Tell whether a program is small, of numbered extents, and likely to have a sparse pattern."""
    nodes = topological([output])
    if len(nodes) > NODES:
        return False
    most = WIDE * size_of(x)
    active = depends_on(nodes, [x])
    for node in active:
        size = node.type.size
        dot = node.op.kind is Kind.CONTRACT and size == 1
        if not isinstance(size, int) or size > most or not (dot or node.op.kind in FOLLOWED):
            return False
    return _meet_few([n for n in nodes if n in active and _bends(n, active)], x)


def _bends(node: Node, active: set[Node]) -> bool:
    """Tell whether a node may have second derivatives by what its elements depend on."""
    moving = [a in active for a in node.args]
    match node.op.name:
        case "add" | "sub" | "neg" | "cast" | "select" | "sum" | "contract":
            return False
        case "mul":
            return all(moving)
        case "div":
            return moving[1]
        case _:
            return node.op.kind in (Kind.POINTWISE, Kind.REDUCE, Kind.COMPOSITE)


def _meet_few(nodes: Sequence[Node], x: Node) -> bool:
    """Tell whether no element depends on too many: so many as bend together need a sweep each.

    This is found from the function itself, long before the pattern of its second derivatives.
    """
    size = size_of(x)
    floats = [n for n in nodes if n.dtype.is_float]
    if not floats:
        return True
    try:
        patterns = propagate(floats, {x: identity(np.arange(size), size)}, Known({}))
    except UnsupportedError:
        return False
    return all(int(p.lengths.max(initial=0)) * SPARSE <= size for p in patterns)


def _laid(found: Symmetric, like: Node, x: Node) -> Node | None:
    """Take the sweeps and write them into zeros, or return None if their places are irregular."""
    graph, shape, size = like.graph, (*x.shape, *x.shape), size_of(x)

    def store(_name: str, array: Numbers) -> Node:
        return graph.array(array, dtype_of(array.dtype))

    if not found.places.pattern.nnz:
        return graph.full(shape, 0.0, x.dtype)
    pieces = found.swept(store)
    values = _values(found, *numbered(pieces, found.entries))
    values = [v._replace(terms=t) for v in values
              if (t := tuple([t for t in v.terms if pieces.nodes[t[0]] is not None]))]  # fmt: skip
    runs = _runs(values, size)
    if len(runs) > PARTS:
        return None
    if not runs:
        return graph.full(shape, 0.0, x.dtype)
    vectors = {
        i: reshape(cast(node, x.dtype), (size_of(node),))
        for i, node in enumerate(pieces.nodes) if node is not None
    }  # fmt: skip
    whole = graph.call(
        "overlay", *[_part(vectors, run) for run in runs], shape=shape,
        starts=tuple([r[0].at for r in runs]),
        steps=tuple([r[1].at - r[0].at if len(r) > 1 else 1 for r in runs]),
    )  # fmt: skip
    return found.uncut(whole)


# Entries that lie in steps


class _Value(NamedTuple):
    """An entry: its place in the matrix, row by row, and the array and element of each summand."""

    at: int
    terms: tuple[tuple[int, int], ...]


def _values(found: Symmetric, number: Numbers, element: Numbers) -> list[_Value]:
    """Return the entries of the matrix by their places."""
    places = found.places
    pattern = places.pattern
    spots = (pattern.row_of * pattern.columns + pattern.indices).tolist()
    terms = [[t] for t in zip(number[places.first].tolist(), element[places.first].tolist(),
                              strict=True)]  # fmt: skip
    more = zip(number[places.more].tolist(), element[places.more].tolist(), strict=True)
    for into, term in zip(places.into.tolist(), more, strict=True):
        terms[into].append(term)
    return [_Value(at, tuple(sorted(t))) for at, t in zip(spots, terms, strict=True)]


def _runs(values: Sequence[_Value], columns: int) -> list[list[_Value]]:
    """Group entries that follow one another in steps: along diagonals, else rows, else columns."""
    lines: tuple[Callable[[int], int], ...] = (
        lambda at: at % columns - at // columns,
        lambda at: at // columns,
        lambda at: at % columns,
    )
    runs: list[list[_Value]] = []
    for line in lines:
        groups: dict[tuple[int, tuple[int, ...]], list[_Value]] = {}
        for v in values:
            key = line(v.at), tuple([array for array, _ in v.terms])
            groups.setdefault(key, []).append(v)
        left: list[_Value] = []
        for group in groups.values():
            for run in _steady(group):
                if len(run) >= RUN:
                    runs.append(run)
                else:
                    left += run
        values = sorted(left)
    return [*runs, *[[v] for v in values]]


def _steady(group: Sequence[_Value]) -> Iterator[list[_Value]]:
    """Cut a group where steps change."""
    run: list[_Value] = []
    for v in group:
        if len(run) > 1 and _step(run[0], run[1]) != _step(run[-1], v):
            # Of two the second may begin what follows.
            yield run[:1] if len(run) == 2 else run
            run = run[1:] if len(run) == 2 else []
        run.append(v)
    if run:
        yield run


def _step(first: _Value, second: _Value) -> tuple[int, ...]:
    pairs = zip(first.terms, second.terms, strict=True)
    return (second.at - first.at, *[b - a for (_, a), (_, b) in pairs])


def _part(vectors: Mapping[int, Node], run: Sequence[_Value]) -> Node:
    """Return the values of a run: sums of slices of the sweeps' arrays."""
    first, second = run[0], run[1] if len(run) > 1 else run[0]
    parts = []
    for (number, start), (_, after) in zip(first.terms, second.terms, strict=True):
        x, step = vectors[number], after - start
        one = len(run) == 1 or step == 0
        part = x.graph.call(
            "slice", x, starts=(start,), shape=(1 if one else len(run),), steps=(step or 1,)
        )
        parts.append(x.graph.broadcast(reshape(part, ()), (len(run),), ()) if one else part)
    return functools.reduce(operator.add, parts)
