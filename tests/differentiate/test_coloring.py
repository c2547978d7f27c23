"""Colourings against their definitions, by brute force, and against counts that are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from chainrule.differentiate.coloring import color_rows, fewest_colors, readable, star_color
from chainrule.differentiate.pattern import Pattern, from_pairs
from chainrule.ir.types import Array


def pattern_of(matrix: Array) -> Pattern:
    rows, columns = np.nonzero(matrix)
    return from_pairs(rows, columns, (len(matrix), matrix.shape[1]))


def random_matrix(seed: int, *, symmetric: bool) -> Array:
    random = np.random.default_rng(seed)
    rows, columns = random.integers(1, 14, 2)
    full = random.random((rows, rows if symmetric else columns)) < random.uniform(0.05, 0.6)
    return full | full.T if symmetric else full


def banded(n: int, half: int) -> Array:
    i = np.arange(n)
    return np.asarray(abs(i[:, None] - i) <= half)


def arrow(n: int) -> Array:
    full = np.eye(n, dtype=bool)
    full[0] = full[:, 0] = True
    return full


def blocks(count: int, n: int) -> Array:
    return np.asarray(np.kron(np.eye(count), np.ones((n, n))) > 0)


@pytest.mark.parametrize("seed", range(60))
def test_rows_of_one_color_have_no_column_in_common(seed: int) -> None:
    full = random_matrix(seed, symmetric=False)
    colors = color_rows(pattern_of(full))
    for color in range(colors.max(initial=-1) + 1):
        assert full[colors == color].sum(axis=0).max() <= 1
    assert np.array_equal(colors == -1, ~full.any(axis=1))
    assert colors.max(initial=-1) + 1 >= fewest_colors(pattern_of(full))


@pytest.mark.parametrize("seed", range(60))
def test_star_colorings(seed: int) -> None:
    full = random_matrix(seed, symmetric=True)
    colors = star_color(pattern_of(full))
    edges = full & ~np.eye(len(full), dtype=bool)
    near = [np.flatnonzero(row).tolist() for row in edges]
    for a, others in enumerate(near):
        assert all(colors[a] != colors[b] for b in others)
    for a, others in enumerate(near):
        for b in others:
            for c in near[b]:
                for d in near[c]:
                    if len({a, b, c, d}) == 4:
                        assert len({colors[v] for v in (a, b, c, d)}) >= 3


@pytest.mark.parametrize("color", [star_color, color_rows])
@pytest.mark.parametrize("seed", range(60))
def test_symmetric_matrices_are_read_back(seed: int, color: Callable[[Pattern], Array]) -> None:
    full = random_matrix(seed, symmetric=True)
    values = np.random.default_rng(seed).normal(size=full.shape) * full
    values += values.T
    pattern = pattern_of(full)
    colors = color(pattern)
    seeds = (colors[:, None] == np.arange(colors.max(initial=-1) + 1)).astype(float)
    products = values @ seeds
    rows, columns = pattern.row_of, pattern.indices
    own = readable(pattern, colors) if pattern.nnz else np.zeros(0, bool)
    found = np.where(
        own, products[rows, colors[columns]], products[columns, colors[rows]]
    ) if pattern.nnz else np.zeros(0)  # fmt: skip
    np.testing.assert_allclose(found, values[rows, columns], atol=1e-12)


@pytest.mark.parametrize(
    ("full", "rows", "star"),
    [
        (np.eye(9, dtype=bool), 1, 1),
        (banded(30, 1), 3, 3),
        (banded(40, 2), 5, 5),
        (arrow(20), 20, 2),
        (blocks(7, 4), 4, 4),
        (np.ones((6, 6), bool), 6, 6),
        (np.zeros((5, 5), bool), 0, 0),
    ],
)
def test_counts_are_those_known_to_be_fewest(full: Array, rows: int, star: int) -> None:
    assert color_rows(pattern_of(full)).max(initial=-1) + 1 == rows
    assert star_color(pattern_of(full)).max(initial=-1) + 1 == star


@pytest.mark.broad
def test_many_rows_take_seconds_at_most() -> None:
    # Linear, so that this many are no matter: 100,000 rows of 15 entries.
    rows = np.repeat(np.arange(100_000), 15)
    columns = np.random.default_rng(0).integers(0, 100_000, rows.size)
    pattern = from_pairs(rows, columns, (100_000, 100_000))
    colors = color_rows(pattern)
    keys = pattern.indices * (colors.max() + 1) + colors[pattern.row_of]
    assert len(np.unique(keys)) == pattern.nnz
