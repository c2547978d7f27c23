"""Colouring: rows (or columns) of one colour are differentiated in one sweep.

Greedy, in the terms of A. H. Gebremedhin, F. Manne and A. Pothen, "What color is your Jacobian?
Graph coloring for computing derivatives", SIAM Review 47 (2005) 629-705.  Sets of colours are the
bits of Python's integers, so each colouring is linear in the entries of the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from chainrule.differentiate.pattern import Pattern
from chainrule.ir.types import Array

__all__ = ["SMALL", "clique", "color_rows", "fewest_colors", "readable", "star_color"]

SMALL: Final = 3_000_000
"Entries up to which a second order is tried where the first needed more colours than it must."

WIDE: Final = 256
"Neighbours among which a clique is looked for."


def fewest_colors(pattern: Pattern) -> int:
    """Return a bound below the colours that rows need: the entries of the fullest column."""
    return int(np.bincount(pattern.indices).max()) if pattern.nnz else 0


def color_rows(pattern: Pattern) -> Array:
    """Colour rows so that two of one colour have no column in common.

    Partial distance-2 colouring of the rows, in their own order and, where that is not provably
    best, fullest rows first; for columns give the transposed pattern.  Time is linear in the
    entries.

    Returns:
        The colour of each row, from 0; empty rows have -1.

    >>> from chainrule.differentiate.pattern import identity
    >>> color_rows(identity(np.array([0, 1, 0]), 2)).tolist()
    [0, 0, 1]
    """
    bound = fewest_colors(pattern)
    filled = np.flatnonzero(pattern.lengths)
    if bound == len(filled):
        # They all meet in one column.
        colors = np.full(pattern.rows, -1)
        colors[filled] = np.arange(bound)
        return colors
    best = _color_rows(pattern, filled)
    if best.max(initial=-1) + 1 > bound and pattern.nnz <= SMALL:
        conflicts = np.add.reduceat(
            np.bincount(pattern.indices)[pattern.indices], pattern.indptr[filled]
        )
        other = _color_rows(pattern, filled[np.argsort(-conflicts, kind="stable")])
        best = min(best, other, key=lambda c: int(c.max()))
    return best


def _color_rows(pattern: Pattern, order: Array) -> Array:
    used = [0] * pattern.columns
    colors = np.full(pattern.rows, -1)
    found = []
    columns = pattern.indices.tolist()
    starts, ends = pattern.indptr[order].tolist(), pattern.indptr[order + 1].tolist()
    for start, end in zip(starts, ends, strict=True):
        mine = columns[start:end]
        taken = 0
        for column in mine:
            taken |= used[column]
        free = _lowest_free(taken)
        found.append(free.bit_length() - 1)
        for column in mine:
            used[column] |= free
    colors[order] = found
    return colors


def _lowest_free(taken: int) -> int:
    """Return the lowest bit that is not set, as a number with that bit."""
    return ~taken & (taken + 1)


def clique(pattern: Pattern) -> Array:
    """Return vertices of a symmetric pattern all of which are neighbours: so many colours it needs.

    Found greedily from the fullest row, hence not always the largest.
    """
    if not pattern.nnz:
        return np.zeros(0, np.int64)
    fullest = int(np.argmax(pattern.lengths))
    found = [fullest]
    left = _neighbours(pattern, fullest)[:WIDE]
    while len(left):
        found.append(int(left[0]))
        left = np.intersect1d(left[1:], _neighbours(pattern, found[-1]))
    return np.array(found)


def _neighbours(pattern: Pattern, v: int) -> Array:
    columns: Array = pattern.indices[pattern.indptr[v] : pattern.indptr[v + 1]]
    found: Array = columns[columns != v]
    return found


def star_color(pattern: Pattern) -> Array:
    """Colour a symmetric pattern so that every entry can be read from products with the colours.

    Star colouring: neighbours differ, and every path of four vertices has three colours, so that
    of entry (i, j) one side stands alone in its row among the columns of its colour (section 4.3
    there).  Columns are taken in their own order; where that is not provably best, fullest first.
    Time is linear in the entries.

    Returns:
        The colour of each column, from 0; empty ones have -1.
    """
    columns = pattern.indices.tolist()
    bounds = pattern.indptr.tolist()
    neighbours = [[w for w in columns[a:b] if w != v] for v, (a, b) in enumerate(pairwise(bounds))]
    filled = np.flatnonzero(pattern.lengths)
    best = _star_color(neighbours, filled)
    if best.max(initial=-1) >= len(clique(pattern)) and pattern.nnz <= SMALL:
        by_size = filled[np.argsort(-pattern.lengths[filled], kind="stable")]
        best = min(best, _star_color(neighbours, by_size), key=lambda c: int(c.max()))
    return best


def _star_color(neighbours: Sequence[Sequence[int]], order: Array) -> Array:
    """Return colours; two neighbours of w may share one only if it is above that of w."""
    own = [0] * len(neighbours)
    near = [0] * len(neighbours)
    for v in order.tolist():
        taken = 0
        for w in neighbours[v]:
            mine = own[w]
            # Below the bit of w's own colour; all of them while w has none.
            taken |= mine | (near[w] & (mine - 1) if mine else near[w])
        free = _lowest_free(taken)
        own[v] = free
        for w in neighbours[v]:
            near[w] |= free
    return np.array([c.bit_length() - 1 for c in own], np.int64)


def readable(pattern: Pattern, colors: Array) -> Array:
    """Tell for each entry (i, j) whether row i has no other entry in a column of j's colour.

    Then the product of the matrix with the sum of the columns of that colour holds it in row i.
    """
    shades = int(colors.max(initial=0)) + 1
    key = pattern.row_of * shades + colors[pattern.indices]
    _, group, count = np.unique(key, return_inverse=True, return_counts=True)
    return np.asarray(count[group] == 1)
