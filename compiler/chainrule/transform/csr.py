"""Compressed sparse rows: what sparse derivatives are returned as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.frontend.pytree import register_pytree_node

__all__ = ["CSR"]


@dataclass(frozen=True, eq=False)
class CSR:
    """A matrix in compressed sparse rows; columns ascend in each row.

    A pytree of its three arrays, so that it may be returned from compiled functions.

    Attributes:
        data: The values, one row after the other.
        indices: The column of each value.
        indptr: Where each row begins in `data` and `indices`, and the end.
        shape: Rows and columns.

    >>> matrix = CSR(np.array([2.0, 3.0]), np.array([1, 0]), np.array([0, 1, 2]), (2, 2))
    >>> matrix.todense().tolist()
    [[0.0, 2.0], [3.0, 0.0]]
    """

    data: Any
    indices: Any
    indptr: Any
    shape: tuple[int, int]

    @property
    def nnz(self) -> int:
        """Number of values stored."""
        return len(self.indices)

    def todense(self) -> Any:
        """Return the matrix as a NumPy array."""
        full = np.zeros(self.shape, np.asarray(self.data).dtype)
        full[np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices] = self.data
        return full

    def tocsr(self) -> Any:
        """Return the matrix as `scipy.sparse.csr_matrix`, sharing the arrays.

        Raises:
            ImportError: SciPy is not installed.
        """
        from scipy.sparse import csr_matrix

        return csr_matrix((self.data, self.indices, self.indptr), shape=self.shape)

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"CSR({rows} x {columns}, {self.nnz} values)"


register_pytree_node(
    CSR,
    lambda m: ((m.data, m.indices, m.indptr), m.shape),
    lambda shape, parts: CSR(parts[0], parts[1], parts[2], shape),
)
