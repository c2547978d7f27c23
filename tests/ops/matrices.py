"""Matrices to test with, and every function of `cnp.linalg` beside what computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.ir.program import Program
from chainrule.ir.types import Array

__all__ = ["MATRICES", "SYSTEMS", "WAYS", "Function", "close", "definite", "general", "program_of",
           "triangular_or"]  # fmt: skip

Function = Callable[..., Any]
solve_triangular: Final = cnp.linalg.solve_triangular


def definite(random: np.random.Generator, *shape: int) -> Array:
    x = random.normal(size=shape)
    return x @ x.mT / max(shape[-1], 1) + np.eye(shape[-1])


def general(random: np.random.Generator, *shape: int) -> Array:
    """Well-conditioned, and of no use without row exchanges: the diagonal is small."""
    n = shape[-1]
    return random.normal(size=shape) / max(n, 1) + np.roll(np.eye(n), 1, axis=-1)


def program_of(fn: Function, *given: Any) -> Program:
    return trace(fn, *given).program


def by_scipy(a: Array, b: Array, **given: Any) -> Array:
    linalg = pytest.importorskip("scipy.linalg")
    if a.shape[-1] == 0 or b.shape[-1] == 0:
        return np.zeros_like(b)
    found = [
        linalg.solve_triangular(a[i], b[i], **given, check_finite=False)
        for i in np.ndindex(a.shape[:-2])
    ]
    return np.reshape(found, b.shape)


WAYS: Final = [
    {"trans": t, "lower": lower, "unit_diagonal": unit}
    for t in (0, 1) for lower in (False, True) for unit in (False, True)
]  # fmt: skip
SYSTEMS: Final[dict[str, tuple[Function, Function]]] = {
    "solve": (cnp.linalg.solve, np.linalg.solve),
    **{
        " ".join(f"{k}={int(v)}" for k, v in way.items()): (
            lambda a, b, way=way: solve_triangular(a, b, **way),
            lambda a, b, way=way: by_scipy(a, b, **way),
        )
        for way in WAYS
    },
}
MATRICES: Final[dict[str, tuple[Function, Function]]] = {
    "cholesky": (lambda a: cnp.linalg.cholesky(a @ a.mT + a.mT @ a),
                 lambda a: np.linalg.cholesky(a @ a.mT + a.mT @ a)),
    "upper": (lambda a: cnp.linalg.cholesky(a @ a.mT + a.mT @ a, upper=True),
              lambda a: np.linalg.cholesky(a @ a.mT + a.mT @ a, upper=True)),
    "inv": (cnp.linalg.inv, np.linalg.inv),
    "det": (cnp.linalg.det, np.linalg.det),
    "sign": (lambda a: cnp.linalg.slogdet(a).sign, lambda a: np.linalg.slogdet(a).sign),
    "logabsdet": (lambda a: cnp.linalg.slogdet(a).logabsdet,
                  lambda a: np.linalg.slogdet(a).logabsdet),
    "power": (lambda a: np.linalg.matrix_power(a, -2), lambda a: np.linalg.matrix_power(a, -2)),
}  # fmt: skip


def close(got: Array, expected: Array, dtype: str, what: str) -> None:
    loose = 1e-11 if dtype == "float64" else 2e-4
    scale = max(float(np.max(np.abs(expected), initial=0)), 1.0)
    assert got.shape == expected.shape, what
    np.testing.assert_allclose(got, expected, loose, loose * scale, err_msg=what)


def triangular_or(name: str, a: Array) -> Array:
    return a if name == "solve" else a + 2 * np.eye(a.shape[-1])
