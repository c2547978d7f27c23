"""Orthogonal factors of dense matrices, by Householder's reflections."""

from __future__ import annotations

from typing import Any

import chainrule.numpy as cnp
from chainrule.transform import fori_loop

__all__ = ["least_squares", "triangularised"]


def triangularised(a: Any, b: Any) -> tuple[Any, Any]:
    """Return (R, c): the triangular factor of a = Q R and the first n elements of Qᵀ b.

    Golub and Van Loan (2013), algorithm 5.2.1; a singular matrix leaves zeros on the diagonal.
    About 6 m n² operations.

    Args:
        a: A matrix, shape (m, n); rows of zeros stand in where m < n.
        b: A vector, shape (m,).
    """
    m, n = a.shape
    whole = cnp.concatenate([a, b[:, None]], axis=1)
    known = isinstance(m, int) and isinstance(n, int)
    if not known or m < n:
        whole = cnp.pad(whole, ((0, n - m if known else n), (0, 0)))
    rows, columns = cnp.arange(whole.shape[0]), cnp.arange(n + 1)

    def reflect(k: Any, w: Any) -> Any:
        column = cnp.where(rows >= k, w @ (columns == k).astype(a.dtype), 0.0)
        size = cnp.linalg.norm(column)
        first = cnp.sum(cnp.where(rows == k, column, 0.0))
        # Away from the first element, so that nothing cancels.
        v = column + (rows == k) * cnp.where(first < 0, -size, size)
        length = cnp.linalg.norm(v)
        v = v / cnp.where(length > 0, length, 1.0)
        return w - 2 * v[:, None] * (v @ w)

    whole = fori_loop(0, n, reflect, whole)
    return cnp.triu(whole[:n, :n]), whole[:n, n]


def least_squares(a: Any, b: Any, damping: Any) -> Any:
    """Return x that minimises ‖a x - b‖² + damping² ‖x‖², without forming aᵀ a.

    Args:
        a: A matrix, shape (m, n).
        b: A vector, shape (m,).
        damping: One number; a tiny one keeps a singular matrix from dividing by zero.
    """
    n = a.shape[1]
    r, c = triangularised(a, b)
    r, c = triangularised(
        cnp.concatenate([r, damping * cnp.eye(n, dtype=a.dtype)]), cnp.pad(c, (0, n))
    )
    return cnp.linalg.solve_triangular(r, c)
