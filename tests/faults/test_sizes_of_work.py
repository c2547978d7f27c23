"""Costs that grow wrongly: products of rank one, and memory for a batch that is short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
from tests.faults.turns import lowered_of, turns, turns_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.dims import evaluate_extent

RANK_ONE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "outer": lambda a, b: cnp.outer(a[0], b[0]),
    "matmul": lambda a, b: a.T @ b,
    "dot": lambda a, b: cnp.dot(a.T, b),
    "einsum": lambda a, b: cnp.einsum("ki,kj->ij", a, b),
    "tensordot": lambda a, b: cnp.tensordot(a, b, ((0,), (0,))),
    "broadcast": lambda a, b: a.T * b,
    "a batch of one": lambda a, b: cnp.sum(a[:, :, None] * b[:, None, :], axis=0),
    "in a batch": lambda a, b: (a[:, :, None] @ b[:, None, :])[0],
}


CHAINS: Final[Mapping[str, Callable[[Any, Any, Any], Any]]] = {
    "on the left": lambda p, a, b: p @ b,
    "on the right": lambda p, a, b: a @ p,
    "in the middle": lambda p, a, b: a @ p @ b,
    "scaled": lambda p, a, b: (2.0 * p) @ b,
    "transposed": lambda p, a, b: p.T @ b,
    "a vector": lambda p, a, b: p @ b[0],
}


@pytest.mark.share(4)
@pytest.mark.parametrize("named", [False, True], ids=["static", "named"])
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", RANK_ONE)
def test_c4_products_of_rank_one_are_multiplied_by_their_vectors(
    kind: str, chain: str, named: bool
) -> None:
    n = 60
    rng = np.random.default_rng(len(kind))
    u, v, a, b = (rng.normal(size=s) for s in ((1, n), (1, n), (n, n), (n, n)))

    def fn(u: Any, v: Any, a: Any, b: Any) -> Any:
        return CHAINS[chain](RANK_ONE[kind](u, v), a, b)

    dims: Any = {"u": (1, "n"), "v": (1, "n"), "a": ("n", "n"), "b": ("n", "n")} if named else None
    expected = CHAINS[chain](np.outer(u[0], v[0]), a, b)
    np.testing.assert_allclose(cr.jit(fn, dims=dims)(u, v, a, b), expected, rtol=1e-10, atol=1e-10)
    lowered = lowered_of(fn, u, v, a, b, dims=dims)
    if (kind, chain) != ("a batch of one", "scaled"):  # the reshape keeps the factors apart
        assert turns(lowered.runs, {"n": n}) < 6 * n * n


def _accumulated(product: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def run(h: Any, z: Any) -> Any:
        total = cnp.zeros((h.shape[-1], z.shape[-1]))
        return cr.scan(lambda c, x: (c + product(*x), None), total, (h, z))[0]

    return run


@pytest.mark.parametrize("kind", RANK_ONE)
def test_c4_products_of_rank_one_cost_what_outer_costs(kind: str) -> None:
    h, z = np.ones((5, 1, 24)), np.ones((5, 1, 100))
    h *= np.arange(1.0, 25.0)
    fn = _accumulated(RANK_ONE[kind])
    lowered = lowered_of(fn, h, z)
    assert "tile" not in repr(lowered.runs).lower()
    assert turns_of(fn, h, z) == turns_of(_accumulated(RANK_ONE["outer"]), h, z)
    np.testing.assert_allclose(cr.jit(fn)(h, z), np.einsum("ski,skj->ij", h, z))


def test_c4_the_gradient_of_a_layer_for_one_example_is_such_a_product() -> None:
    x, w = np.linspace(-1.0, 1.0, 24)[None], np.cos(np.arange(24.0 * 30)).reshape(24, 30)
    fn = cr.grad(lambda w, x: cnp.sum(cnp.tanh(x @ w) ** 2), argnums=0)
    y = np.tanh(x @ w)
    np.testing.assert_allclose(cr.jit(fn)(w, x), x.T @ (2 * y * (1 - y * y)), atol=1e-14)


def _network(p: Any, x: Any, y: Any) -> Any:
    return cnp.mean((cnp.tanh(x @ p[0]) @ p[1] - y) ** 2)


def test_c7_memory_for_a_named_batch_is_sized_by_it() -> None:
    p = (np.cos(np.arange(64.0)).reshape(4, 16), np.sin(np.arange(16.0)).reshape(16, 1))
    made = cr.value_and_grad(_network)
    dims = {"x": ("n", 4), "y": ("n", 1)}
    named = lowered_of(made, p, np.ones((3, 4)), np.ones((3, 1)), dims=dims).arena
    sizes = {n: evaluate_extent(named, {"n": n}) for n in (0, 1, 8, 1000, 100_000)}
    fixed = lowered_of(made, p, np.ones((1, 4)), np.ones((1, 1))).arena
    assert isinstance(fixed, int)
    assert sizes[1] <= 2 * fixed
    assert sizes[0] <= sizes[1] < sizes[8] < sizes[1000] == sizes[100_000]


@pytest.mark.parametrize("n", [1, 2, 31, 255, 256, 257, 700])
def test_c7_strips_of_short_batches_are_right(n: int) -> None:
    random = np.random.default_rng(n)
    p = (random.normal(size=(4, 16)), random.normal(size=(16, 1)))
    x, y = random.normal(size=(n, 4)), random.normal(size=(n, 1))
    fn = cr.jit(cr.value_and_grad(_network), dims={"x": ("n", 4), "y": ("n", 1)})
    value, (d0, d1) = fn(p, x, y)
    h = np.tanh(x @ p[0])
    e = 2 * (h @ p[1] - y) / n
    assert value == pytest.approx(np.mean((h @ p[1] - y) ** 2), rel=1e-12)
    np.testing.assert_allclose(d1, h.T @ e, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(d0, x.T @ (e @ p[1].T * (1 - h * h)), rtol=1e-11, atol=1e-13)
