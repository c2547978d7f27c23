"""Where a program only moves elements: between its inputs and its arithmetic, and at its end.

A model written for arrays picks (`camera[index]`, `x[1:]`), computes, and lays together (`stack`).
What is picked is treated as variables of its own, an element each time it is copied: then elements
that are handled alike do not meet, and few sweeps give all of their derivatives.  A derivative with
respect to a copy is one with respect to what was copied, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from chainrule.differentiate.dependence import Known, dependence, size_of
from chainrule.differentiate.pattern import Merge, Steps, Take, ranges
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import Array
from chainrule.ir.walk import depends_on, topological, users

__all__ = ["Root", "copies_of", "cuts_of", "roots_of"]

MOVES: Final = frozenset({Kind.VIEW, Kind.WRITE, Kind.GATHER, Kind.UPDATE})


def _moves(node: Node, active: set[Node], known: Known) -> list[tuple[Node, Steps]] | None:
    """Return from which active arguments a node copies derivatives, or None if it computes them."""
    sources = [
        (x, steps) for x, steps in zip(node.args, dependence(node, known), strict=True)
        if steps is not None and x in active
    ]  # fmt: skip
    if node.op.kind in MOVES or node.op.name == "select":
        disjoint = node.op.name != "select" or known(node.args[0]) is not None
        taken = all(isinstance(s, Take) for _, steps in sources for s in steps)
        return sources if disjoint and taken else None
    return sources if _adds_a_constant(node, sources) else None


def _adds_a_constant(node: Node, sources: Sequence[tuple[Node, Steps]]) -> bool:
    """Tell whether the derivative with respect to the one active argument is 1."""
    if len(sources) != 1 or sources[0][1] or node.op.name not in ("add", "sub"):
        return False
    return node.op.name == "add" or node.args[0] is sources[0][0]


def _taken(steps: Steps, columns: Array) -> Array:
    """Carry the numbers of an argument's elements to those of the result; -1 is none."""
    for step in steps:
        columns = np.where(step.rows >= 0, columns[step.rows], -1)
    return columns


def copies_of(
    outputs: Sequence[Node], columns: Mapping[Node, Array], known: Known
) -> dict[Node, Array]:
    """Return the nodes whose elements are copies of given ones, and which: -1 is none.

    `columns` numbers the elements of the nodes to begin with, row-major.
    """
    nodes = topological(outputs)
    active = depends_on(nodes, columns)
    found = {n: c for n, c in columns.items() if n in set(nodes)}
    for node in nodes:
        if node in found or node not in active or not node.dtype.is_float:
            continue
        if not any(x in found for x in node.args):
            continue
        sources = _moves(node, active, known)
        if sources is None or any(x not in found for x, _ in sources):
            continue
        own = np.full(size_of(node), -1)
        for x, steps in sources:
            there = _taken(steps, found[x])
            own = np.where(there >= 0, there, own)
        found[node] = own
    return found


def cuts_of(
    outputs: Sequence[Node], copies: Mapping[Node, Array], *, apart: bool = True
) -> list[Node]:
    """Return the copies that arithmetic reads, or that are results.

    Unless `apart`, copies of other cuts are left to the program: fewer variables, which may meet.
    """
    nodes = topological(outputs)
    readers = users(nodes)
    results = set(outputs)
    cuts = [
        n for n in nodes
        if n in copies and (n in results or any(u not in copies for u in readers[n]))
    ]  # fmt: skip
    if apart:
        return cuts
    below: set[Node] = set()
    for n in nodes:
        if n in copies and any(x in below or x in cuts for x in n.args):
            below.add(n)
    return [n for n in cuts if n not in below]


class Root(NamedTuple):
    """A node whose elements the results consist of.

    Attributes:
        node: Where arithmetic ends.
        rows: Places in the results, all of them one after the other.
        elements: The element of the node that is copied (or added) to each of these places.
    """

    node: Node
    rows: Array
    elements: Array


def roots_of(
    outputs: Sequence[Node], wrt: Sequence[Node], stops: set[Node], known: Known
) -> list[Root]:
    """Take moves off the end of a program: say which elements of which nodes the results are.

    Elements that are added at given places stay apart too, since derivatives add up as values do.
    """
    active = depends_on(topological(outputs), wrt)
    waiting: list[Root] = []
    offset = 0
    for y in outputs:
        numbers = np.arange(size_of(y))
        waiting.append(Root(y, numbers + offset, numbers))
        offset += numbers.size
    found: dict[Node, list[Root]] = {}
    while waiting:
        root = waiting.pop()
        node = root.node
        if node not in active or not node.dtype.is_float:
            continue
        sources = None if node in stops else _laid(node, active, known)
        if sources is None:
            found.setdefault(node, []).append(root)
            continue
        for x, steps in sources:
            waiting.append(_behind(root, x, steps))
    return [_joined(parts) for _, parts in sorted(found.items(), key=lambda item: item[0].id)]


def _laid(node: Node, active: set[Node], known: Known) -> list[tuple[Node, Steps]] | None:
    """Return the arguments whose derivatives a node moves or adds at places, or None."""
    if node.op.kind is Kind.SCATTER:
        steps = dependence(node, known)[0]
        alone = steps is not None and len(steps) == 1
        return [(node.args[0], steps)] if alone and steps is not None else None
    if node.op.kind is Kind.UPDATE and node.attributes["how"] == "add":
        of_x, of_v, *_ = dependence(node, known)
        pairs = zip(node.args[:2], (of_x, of_v), strict=True)
        found = [(x, steps) for x, steps in pairs if steps is not None and x in active]
        return found if all(len(steps) < 2 for _, steps in found) else None
    if node.op.name == "add" and any(_is_laid(x) for x in node.args):
        return [(x, ()) for x in node.args if x in active]
    return _moves(node, active, known)


def _is_laid(node: Node) -> bool:
    return node.op.kind is Kind.SCATTER or node.op.name == "place"


def _behind(root: Root, x: Node, steps: Steps) -> Root:
    """Follow elements of a node back to those of its argument."""
    rows, elements = root.rows, root.elements
    for step in steps:
        if isinstance(step, Merge):
            # Every element of the argument that is added there.
            order = np.argsort(step.rows, kind="stable")
            bounds = np.searchsorted(step.rows[order], np.arange(step.size + 1))
            counts = np.diff(bounds)[elements]
            at = ranges(bounds[elements], counts)
            rows, elements = np.repeat(rows, counts), order[at]
        else:
            moved = step.rows[elements]
            rows, elements = rows[moved >= 0], moved[moved >= 0]
    return Root(x, rows, elements)


def _joined(parts: Sequence[Root]) -> Root:
    rows = np.concatenate([p.rows for p in parts])
    elements = np.concatenate([p.elements for p in parts])
    return Root(parts[0].node, rows, elements)
