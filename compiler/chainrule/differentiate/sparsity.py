"""Index propagation: which elements of a result depend on which elements of given nodes.

The nonzeros of a Jacobian are found by walking the program once with sets of indices instead of
numbers (Griewank and Walther, *Evaluating Derivatives*, 2nd ed., section 7.1).  Sets of a whole
array are one Boolean matrix in compressed rows, so a step is a few NumPy calls whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chainrule.differentiate.body_patterns import propagate_inside
from chainrule.differentiate.dependence import Known, dependence, size_of
from chainrule.differentiate.pattern import Merge, Pattern, Steps, from_pairs, through, union
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.walk import depends_on, rebuild, topological, users

__all__ = ["propagate", "written_out"]

_NOTHING: Final = (np.zeros(0, np.int64), np.zeros(0, np.int64))

PARTS: Final = 16
"A pattern is kept as the union of up to so many parts, so that pointwise ops cost nothing."


def written_out(outputs: Sequence[Node]) -> list[Node]:
    """Return the outputs with composites replaced by their definitions, which have rules."""
    results = list(outputs)

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is not Kind.COMPOSITE or node.op.expand is None:
            return None
        return node.op.expand(*args, **node.attributes)

    while any(n.op.kind is Kind.COMPOSITE and n.op.expand for n in topological(results)):
        results, _ = rebuild(results, results[0].graph, change)
    return results


def propagate(
    outputs: Sequence[Node], given: Mapping[Node, Pattern], known: Known
) -> list[Pattern]:
    """Return for each output which columns its elements depend on, row-major.

    `given` says it of the nodes to begin with, over one set of columns; whatever does not depend on
    them has empty rows.  Exact but for cancellations: an entry may be a zero by arithmetic, never a
    derivative missed.  Time and memory are those of the patterns on the way.
    """
    columns = next(iter(given.values())).columns
    results = written_out(outputs)
    nodes = topological(results)
    active = depends_on(nodes, given)
    left = {node: len(found) for node, found in users(nodes).items()}
    for node in results:
        left[node] += 1
    found: dict[Node, frozenset[Pattern]] = {n: frozenset([p]) for n, p in given.items()}
    bundles: dict[Node, Sequence[Pattern | None]] = {}
    for node in nodes:
        if node in active and node not in given:
            if node.op.kind is Kind.CONTROL:
                args = [union(list(found[x])) if found.get(x) else None for x in node.args]
                bundles[node] = propagate_inside(node, args, known, propagate)
            elif node.op.kind is Kind.ITEM:
                found[node] = _taken_out(node, bundles)
            else:
                found[node] = _collected(node, found, known)
        for x in dict.fromkeys(node.args):
            left[x] -= 1
            if not left[x]:
                found.pop(x, None)
    return [
        union(list(found[y])) if found.get(y) else from_pairs(*_NOTHING, (size_of(y), columns))
        for y in results
    ]


def _taken_out(node: Node, bundles: Mapping[Node, Sequence[Pattern | None]]) -> frozenset[Pattern]:
    """Return what one value of a bundle depends on; the number of steps of a loop, on nothing."""
    index: int = node.attributes["index"]
    pattern = bundles[node.args[0]][index] if index >= 0 else None
    return frozenset() if pattern is None else frozenset([pattern])


def _collected(
    node: Node, found: Mapping[Node, frozenset[Pattern]], known: Known
) -> frozenset[Pattern]:
    """Unite what a node depends on through each of its arguments."""
    parts: set[Pattern] = set()
    for x, steps in zip(node.args, dependence(node, known), strict=True):
        if steps is not None and found.get(x):
            parts |= _through(found[x], steps)
    if len(parts) > PARTS:
        parts = {union(list(parts))}
    return frozenset(parts)


def _through(parts: frozenset[Pattern], steps: Steps) -> set[Pattern]:
    if not steps:
        return set(parts)
    if any(isinstance(s, Merge) for s in steps):
        # Sorted once for all parts.
        parts = frozenset([union(list(parts))])
    moved = [through(p, steps) for p in parts]
    return {p for p in moved if p.nnz}
