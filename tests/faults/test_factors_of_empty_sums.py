"""A factor taken out of a sum over nothing: the sum is 0, whatever the factor is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

MODES = ("fast", "strict", "reproducible")
VECTORS: dict[str, Any] = {
    "by its sum": lambda m, x: m.sum(x / m.sum(x)),
    "by one over its sum": lambda m, x: m.sum(x * (1 / m.sum(x))),
    "by its norm": lambda m, x: m.sum(x / m.linalg.norm(x)),
    "by a logarithm of 0": lambda m, x: m.sum(x * m.log(m.sum(x))),
    "minus a logarithm": lambda m, x: m.sum(-(x * m.log(m.sum(x)))),
    "squares": lambda m, x: m.sum((x / m.sum(x)) ** 2),
    "inner": lambda m, x: (x / m.sum(x)) @ x,
    "copies": lambda m, x: m.sum(m.log(m.sum(x)) + 0 * x),
}
MATRICES: dict[str, Any] = {
    "rows": lambda m, a: m.sum(a / m.sum(a, axis=1, keepdims=True), axis=1),
    "rows twice": lambda m, a: m.sum(m.sum(a / m.sum(a, axis=1, keepdims=True), axis=1)),
    "columns": lambda m, a: m.sum(a / m.sum(a, axis=0), axis=0),
    "by all": lambda m, a: m.sum(a / m.sum(a), axis=1),
}


def same(f: Any, x: Any, dims: Any, numerics: str) -> None:
    with np.errstate(all="ignore"):
        expected = f(np, x)
    got = cr.jit(lambda x: f(cnp, x), numerics=numerics, dims=dims)(x)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str, named: bool, numerics: str) -> None:
    for n in (0, 1, 3):
        x = np.arange(1.0, n + 1)
        same(VECTORS[name], x, {"x": ("n",)} if named else None, numerics)


@pytest.mark.parametrize("numerics", MODES)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str, named: bool, numerics: str) -> None:
    for shape in ((3, 0), (0, 3), (0, 0), (1, 1), (2, 3)):
        x = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
        same(MATRICES[name], x, {"x": ("n", "m")} if named else None, numerics)


def test_a_factor_of_any_length() -> None:
    def f(x: Any, y: Any) -> Any:
        factor = y
        for _ in range(3_000):
            factor = factor * cnp.cos(y)
        return cnp.sum(x / factor)

    fn = cr.jit(f, dims={"x": ("n",)})
    for n in (0, 2):
        assert fn(np.ones(n), 1e-9) == np.sum(np.ones(n) / 1e-9)
