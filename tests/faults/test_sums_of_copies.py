"""Sums over what is the same along an axis: each copy counts, and none of an empty axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
import scipy.special

import chainrule as cr
import chainrule.numpy as cnp

MODES: Final = ("fast", "strict", "reproducible")
LENGTHS: Final = ((3, 2), (0, 2), (2, 0), (7, 5))


def _spread(xp: Any, x: Any) -> Any:
    return xp.broadcast_to(xp.cos(xp.sum(x, axis=1, keepdims=True)), x.shape)


# Of rows that are summed themselves, in one nest with them; of what is infinite.
TOTALS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "sum": lambda xp, x: xp.sum(xp.tanh(_spread(xp, x))),
    "product": lambda xp, x: xp.prod(1.5 + 0.1 * _spread(xp, x)),
    "maximum": lambda xp, x: xp.max(xp.tanh(_spread(xp, x)), initial=-2.0),
    "both": lambda xp, x: xp.sum(_spread(xp, x) ** 2) + xp.sum(xp.sin(x)),
    "columns": lambda xp, x: xp.sum(_spread(xp, x), axis=0),
    "of the infinite": lambda xp, x: xp.sum(
        xp.broadcast_to(xp.log(xp.sum(x * x, axis=1, keepdims=True)), x.shape), axis=1
    ),
    "over no rows": lambda xp, x: xp.sum(
        xp.broadcast_to(xp.log(xp.sum(x * x, axis=0)), x.shape), axis=0
    ),
    "products": lambda xp, x: xp.einsum("ij,kj->k", _spread(xp, x), xp.sqrt(_spread(xp, x) + 2)),
    "softmax": lambda xp, x: xp.sum(_softmax(xp, x), axis=0),
}


def _softmax(xp: Any, x: Any) -> Any:
    if xp is cnp:
        return cr.special.softmax(x, axis=0)
    return scipy.special.softmax(x, axis=0) if len(x) else x


@pytest.mark.share(2)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TOTALS)
def test_as_numpy(name: str, mode: str) -> None:
    function = TOTALS[name]
    named = cr.jit(lambda x: function(cnp, x), dims={"x": ("n", "m")}, numerics=mode)
    mapped = cr.jit(cr.vmap(lambda x: function(cnp, x)), numerics=mode)
    for n, m in LENGTHS:
        x = np.random.default_rng([n, m]).uniform(0.1, 1, (n, m))
        with np.errstate(divide="ignore"):
            wanted = function(np, x)
        np.testing.assert_allclose(named(x), wanted, rtol=1e-12)
        if n in (0, 3):
            static = cr.jit(lambda x: function(cnp, x), numerics=mode)
            np.testing.assert_allclose(static(x), wanted, rtol=1e-12)
            np.testing.assert_allclose(mapped(x[None])[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["sum", "product", "both", "products"])
def test_slopes(name: str, mode: str) -> None:
    function = TOTALS[name]

    def loss(x: Any) -> Any:
        return cnp.sum(function(cnp, x))

    x, h = np.random.default_rng(1).uniform(0.1, 1, (3, 2)), 1e-6
    named = cr.jit(cr.grad(loss), dims={"x": ("n", "m")}, numerics=mode)
    slopes = [
        (np.sum(function(np, x + h * e)) - np.sum(function(np, x - h * e))) / (2 * h)
        for e in np.eye(6).reshape(6, 3, 2)
    ]
    np.testing.assert_allclose(named(x).ravel(), slopes, rtol=1e-7)
    assert named(x[:0]).shape == (0, 2)
