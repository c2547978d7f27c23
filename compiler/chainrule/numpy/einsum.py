"""`einsum`: sums of products written with one letter an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_strong,
    cast,
    common_dtype,
    graph_of,
    node_of,
    reshape,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Dim, Extent, show_extent
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I32
from chainrule.numpy.indexing import diagonal_node
from chainrule.numpy.linear import contract
from chainrule.numpy.nodes import permuted
from chainrule.optimize.contractions import unless_empty

__all__ = ["einsum", "einsum_path"]

LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TYPICAL: Final = 128
"What an extent that is not known counts as where orders of contraction are compared."


def _wrong(what: str, subscripts: str, *facts: str) -> StructureError:
    return StructureError(
        explain(
            f"einsum: {what}",
            f"subscripts  {subscripts}",
            *facts,
            f"at  {user_line()}",
            hint="for example 'ij,jk->ik': one letter an axis, one group an operand",
        )
    )


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, with ellipses written out.

    >>> parse("...ij,jk", [3, 2])
    (['aij', 'jk'], 'aik')
    >>> parse("ii->i", [2])
    (['ii'], 'i')
    """
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    groups = left.split(",")
    if len(groups) != len(ranks):
        raise _wrong(f"{len(groups)} groups of letters for {len(ranks)} operands", subscripts)
    free = iter(c for c in LETTERS if c not in text)
    hidden = [r - len(g) + 3 for g, r in zip(groups, ranks, strict=True) if "..." in g]
    width = max(hidden, default=0)
    dots = "".join(next(free) for _ in range(width))
    inputs = []
    for group, rank in zip(groups, ranks, strict=True):
        letters = group.replace("...", "")
        dotted = rank - len(letters)
        if not letters.isalpha() and letters:
            raise _wrong(f"{group!r} holds something that is no letter", subscripts)
        if dotted < 0 or (dotted > 0 and "..." not in group):
            raise _wrong(f"{group!r} stands for an operand of {rank} axes", subscripts)
        inputs.append(group.replace("...", dots[width - dotted :] if dotted else ""))
    if arrow:
        output = right.replace("...", dots)
    else:
        once = [
            c for c in sorted(set("".join(inputs)) - set(dots)) if "".join(inputs).count(c) == 1
        ]
        output = dots + "".join(once)
    unknown = [c for c in output if c not in "".join(inputs)]
    if unknown or len(set(output)) != len(output):
        what = (
            f"{unknown[0]!r} of the result is in no operand"
            if unknown
            else "a letter is twice in the result"
        )
        raise _wrong(what, subscripts)
    return inputs, output


class _Term:
    """An operand: a node, and a letter for each of its axes."""

    def __init__(self, node: Node, letters: str) -> None:
        self.node, self.letters = node, letters

    def summed(self, gone: set[str]) -> _Term:
        """Sum letters out that nothing else has."""
        axes = tuple(i for i, c in enumerate(self.letters) if c in gone)
        if not axes:
            return self
        left = "".join(c for c in self.letters if c not in gone)
        return _Term(self.node.graph.call("sum", self.node, axes=axes), left)

    def ordered(self, letters: str) -> Node:
        """Return the node with its axes in this order."""
        return permuted(self.node, [self.letters.index(c) for c in letters])


def _extents(terms: Sequence[_Term], subscripts: str) -> dict[str, Extent]:
    extents: dict[str, Extent] = {}
    for term in terms:
        for letter, extent in zip(term.letters, term.node.shape, strict=True):
            known = extents.get(letter, 1)
            if 1 not in (known, extent) and known != extent:
                raise ShapeError(
                    explain(
                        f"einsum: {letter} is {show_extent(known)} and {show_extent(extent)}",
                        f"subscripts  {subscripts}",
                        *(f"operand {i}  {describe(t.node)}" for i, t in enumerate(terms)),
                        f"at  {user_line()}",
                        hint="a letter stands for one extent",
                    )
                )
            extents[letter] = known if known != 1 else extent
    return extents


def _simplified(term: _Term, extents: dict[str, Extent]) -> _Term:
    """Take diagonals of letters that stand twice; drop axes of extent 1 that broadcast."""
    node, letters = term.node, term.letters
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            node = diagonal_node(node, i, j)
            letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
    kept = [i for i, c in enumerate(letters) if node.shape[i] != 1 or extents[c] == 1]
    if len(kept) < len(letters):
        node = reshape(node, tuple([node.shape[i] for i in kept]))
        letters = "".join(letters[i] for i in kept)
    return _Term(node, letters)


def _product(a: _Term, b: _Term, needed: set[str]) -> _Term:
    """Multiply two operands and sum out what nothing else needs."""
    a = a.summed(set(a.letters) - needed - set(b.letters))
    b = b.summed(set(b.letters) - needed - set(a.letters))
    shared = [c for c in a.letters if c in b.letters]
    batch, gone = [c for c in shared if c in needed], [c for c in shared if c not in needed]
    free_a = [c for c in a.letters if c not in shared]
    free_b = [c for c in b.letters if c not in shared]
    letters = "".join((*batch, *free_a, *free_b))
    if not gone and not (free_a and free_b):
        # Nothing is summed: a product elementwise, which fuses with its neighbours.
        wide, narrow = (a, b) if free_a or not free_b else (b, a)
        order = "".join(c for c in wide.letters if c in narrow.letters)
        axes = tuple(i for i, c in enumerate(wide.letters) if c in narrow.letters)
        spread = wide.node.graph.broadcast(narrow.ordered(order), wide.node.shape, axes)
        return _Term(_times(wide.node, spread), wide.letters)
    at = [(a.letters.index(c), b.letters.index(c)) for c in batch]
    over = [(a.letters.index(c), b.letters.index(c)) for c in gone]
    return _Term(contract(a.node, b.node, at, over), letters)


def _times(a: Node, b: Node) -> Node:
    return a & b if a.dtype is BOOL else a * b


def _order(
    terms: Sequence[_Term], output: str, extents: dict[str, Extent]
) -> list[tuple[int, ...]]:
    """Return which operands to multiply one after another."""
    if len(terms) == 2:
        return [(0, 1)]
    sizes = {c: TYPICAL if isinstance(n, Dim) else n for c, n in extents.items()}
    shapes = [np.broadcast_to(np.float32(0), [sizes[c] for c in t.letters]) for t in terms]
    subscripts = ",".join(t.letters for t in terms) + "->" + output
    how = "optimal" if len(terms) <= 6 else "greedy"
    return list(np.einsum_path(subscripts, *shapes, optimize=how)[0][1:])


@array_function(np.einsum)
def einsum(subscripts: Any, /, *operands: Any, optimize: Any = True) -> Array:
    """Sum products of operands over axes named by letters, as `numpy.einsum`.

    Args:
        subscripts: One group of letters an operand, then `->` and those of the result.  Without
            `->` the result has the letters that occur once, in alphabetical order.  `...` stands
            for axes that broadcast; a letter twice in one group is a diagonal.
        operands: Arrays.
        optimize: Ignored: the order of contraction is always chosen by cost.

    Raises:
        StructureError: The subscripts do not fit the operands.
        ShapeError: One letter stands for two extents.
    """
    del optimize
    if not isinstance(subscripts, str):
        raise _wrong("subscripts are a string", str(subscripts))
    values = [as_strong(x) for x in operands]
    graph, dtype = graph_of(values), common_dtype(values)
    nodes = [node_of(x, graph, dtype) for x in values]
    groups, output = parse(subscripts, [n.type.rank for n in nodes])
    terms = [_Term(n, g) for n, g in zip(nodes, groups, strict=True)]
    extents = _extents(terms, subscripts)
    terms = [_simplified(t, extents) for t in terms]
    everywhere = set(terms[0].letters).intersection(*(t.letters for t in terms))
    if len(terms) > 1:
        for chosen in _order(terms, output, extents):
            picked = [terms.pop(i) for i in sorted(chosen, reverse=True)][::-1]
            while len(picked) > 1:
                first, second = picked.pop(0), picked.pop(0)
                needed = set(output).union(*(t.letters for t in (*terms, *picked)))
                picked.insert(0, _product(first, second, needed))
            terms += picked
    (term,) = terms
    if dtype is BOOL:
        # The sum of truth values is whether one of them is true.
        counted = _Term(cast(term.node, I32), term.letters)
        counted = counted.summed(set(term.letters) - set(output))
        term = _Term(cast(counted.node, BOOL), counted.letters)
    term = term.summed(set(term.letters) - set(output))
    result = term.ordered("".join(c for c in output if c in term.letters))
    # What lacks a letter was taken out of the sum over it: of nothing, the sum is 0.
    apart = [extents[c] for c in extents if c not in output and c not in everywhere]
    if len(nodes) > 1 and apart:
        result = unless_empty(result, apart, result)
    return Array(reshape(result, tuple([extents[c] for c in output])))


@array_function(np.einsum_path)
def einsum_path(subscripts: str, *operands: Any, optimize: Any = "greedy") -> Any:
    """Return the order of contraction NumPy proposes, as `numpy.einsum_path`."""
    shapes = [tuple(TYPICAL if isinstance(n, Dim) else n for n in np.shape(x)) for x in operands]
    dummies = [np.broadcast_to(np.float32(0), s) for s in shapes]
    return np.einsum_path(subscripts, *dummies, optimize=optimize)
