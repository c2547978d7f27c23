"""Which elements depend on which: Boolean matrices in compressed rows, in NumPy alone.

No loop over elements: rows are taken, merged and united by sorting the keys `row * columns +
column`, in O(n log n) for n entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from chainrule.ir.lazy import lazy
from chainrule.ir.types import Array

__all__ = ["Merge", "Pattern", "Step", "Steps", "Take", "from_pairs", "identity", "through",
           "union"]  # fmt: skip

NONE: Final = -1
"Stands in a map for an element that comes from nowhere."


class Take(NamedTuple):
    """Row e of the result is row `rows[e]` of the argument, or empty at -1."""

    rows: Array


class Merge(NamedTuple):
    """Row e of the argument is united into row `rows[e]` of `size`, or dropped at -1."""

    rows: Array
    size: int


Step: TypeAlias = Take | Merge
Steps: TypeAlias = tuple[Step, ...]
"""How a result depends on an argument, step by step; none at all means: element by element."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """A Boolean matrix in compressed rows, columns ascending in each.

    Attributes:
        indptr: Where each row begins in `indices`, and the end: rows + 1 numbers.
        indices: The columns of the rows, one row after the other.
        columns: Number of columns.
    """

    indptr: Array
    indices: Array
    columns: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return len(self.indices)

    @lazy
    def lengths(self) -> Array:
        """Number of entries of each row."""
        return np.diff(self.indptr)

    @lazy
    def row_of(self) -> Array:
        """The row of each entry."""
        return np.repeat(np.arange(self.rows), self.lengths)

    @lazy
    def transposed(self) -> Pattern:
        """The same matrix by columns."""
        order = np.argsort(self.indices, kind="stable")
        counts = np.bincount(self.indices, minlength=self.columns)
        return Pattern(_pointers(counts), self.row_of[order], self.rows)

    def take(self, rows: Array) -> Pattern:
        """Return the given rows, empty ones for -1."""
        lengths = np.where(rows >= 0, self.lengths[rows] if self.rows else 0, 0)
        at = ranges(self.indptr[rows] if self.rows else np.zeros_like(rows), lengths)
        return Pattern(_pointers(lengths), self.indices[at], self.columns)

    def merge(self, groups: Array, count: int) -> Pattern:
        """Unite row e into row `groups[e]` of `count`; -1 drops it."""
        return from_pairs(np.repeat(groups, self.lengths), self.indices, (count, self.columns))

    def renamed(self, names: Array, columns: int) -> Pattern:
        """Give each column another number; columns of one number are united."""
        return from_pairs(self.row_of, names[self.indices], (self.rows, columns))

    def dense(self) -> Array:
        """Return the Boolean matrix itself."""
        full = np.zeros((self.rows, self.columns), bool)
        full[self.row_of, self.indices] = True
        return full


def ranges(starts: Array, lengths: Array) -> Array:
    """Return `starts[i] + arange(lengths[i])`, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    found: Array = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return found


def _pointers(lengths: Array) -> Array:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def from_pairs(rows: Array, columns: Array, shape: tuple[int, int]) -> Pattern:
    """Return the matrix with these entries; repeated ones and those of row -1 do not count.

    >>> from_pairs(np.array([1, 0, 1]), np.array([2, 0, 2]), (2, 3)).indices.tolist()
    [0, 2]
    """
    width = max(shape[1], 1)
    keys = rows.astype(np.int64) * width + columns
    if len(keys) and rows.min() < 0:
        keys = keys[rows >= 0]
    keys = distinct(keys)
    counts = np.bincount(keys // width, minlength=shape[0])
    return Pattern(_pointers(counts), keys % width, shape[1])


def distinct(keys: Array) -> Array:
    """Return the different keys, ascending."""
    if not np.all(keys[1:] > keys[:-1]):
        keys = np.sort(keys)
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    return keys


def identity(names: Array, columns: int) -> Pattern:
    """Return one row an element, with the column `names[e]` alone, or empty at -1."""
    there = names >= 0
    return Pattern(_pointers(there), names[there].astype(np.int64), columns)


def union(patterns: Sequence[Pattern]) -> Pattern:
    """Return the entries that are in any of some patterns of one shape."""
    first = patterns[0]
    if len(patterns) == 1:
        return first
    rows = np.concatenate([p.row_of for p in patterns])
    columns = np.concatenate([p.indices for p in patterns])
    return from_pairs(rows, columns, (first.rows, first.columns))


def through(pattern: Pattern, steps: Steps) -> Pattern:
    """Return what the result of an op depends on, given what its argument does."""
    for step in steps:
        match step:
            case Take(rows):
                pattern = pattern.take(rows)
            case Merge(rows, size):
                pattern = pattern.merge(rows, size)
    return pattern
