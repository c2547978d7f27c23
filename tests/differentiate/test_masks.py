"""Where a branch was not taken, no sum, sign or copy lets its infinite slopes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.differentiate.masks import (
    added,
    core_of,
    either,
    mask_of,
    masked,
    product,
    split,
)
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, F64, Type
from chainrule.ops import OPS


def nested(function: Callable[..., Any], order: int) -> Callable[..., Any]:
    for _ in range(order):
        function = cr.grad(function)
    return function


def twice(x: Any) -> Any:
    return cnp.where(x > 0, cnp.sqrt(x), 0.0) + cnp.where(x > 1, 3 * cnp.sqrt(x), 0.0)


CASES: dict[str, tuple[Callable[[Any], Any], float]] = {
    "sign": (lambda x: cnp.where(x > 0, 1 - cnp.sqrt(x), 0.0), 0.0),
    "factor": (lambda x: cnp.where(x > 0, 3 * cnp.sqrt(x) * 2, 0.0), 0.0),
    "inner sign": (lambda x: cnp.where(x > 0, cnp.exp(-cnp.sqrt(x)), 0.0), 0.0),
    "two uses": (lambda x: cnp.where(x > 0, cnp.sqrt(x) + cnp.sqrt(x) ** 3, 0.0), 0.0),
    "two masks": (twice, 0.0),
    "mask in mask": (
        lambda x: cnp.where(x > -1, cnp.where(x > 0, cnp.log(x) * cnp.sqrt(x), 0.0), 0.0), 0.0
    ),
    "other branch": (lambda x: cnp.where(x <= 0, 0.0, cnp.sqrt(x) * cnp.log(x)), 0.0),
    "three rows": (
        lambda x: cnp.where(x < 0, cnp.exp(x), cnp.where(x < 1, 1 + x, 2 * cnp.sqrt(x))), -0.6
    ),
    "quotient": (lambda x: cnp.where(x != 0, cnp.sin(x) / x, 1 - x * x / 6), 0.0),
}  # fmt: skip
# The derivatives of the branch taken, from order 1.
TAKEN = {"three rows": np.exp(-0.6) * np.ones(4), "quotient": np.array([0, -1 / 3, 0, 0])}


@pytest.mark.share(3)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_what_was_taken(name: str, order: int) -> None:
    function, at = CASES[name]
    expected = TAKEN.get(name, np.zeros(4))[order - 1]
    for dtype in (np.float64, np.float32):
        x = np.full(3, at, dtype)
        for verb in (nested(function, order), cr.jacfwd(nested(function, order - 1))):
            np.testing.assert_allclose(cr.vmap(verb)(x), np.full(3, expected), rtol=1e-6)
    total = lambda x: cnp.sum(function(x))  # noqa: E731
    if order == 2:
        for outer, inner in ((cr.jacrev, cr.jacfwd), (cr.jacrev, cr.jacrev)):
            found = outer(inner(total))(np.full(3, at))
            np.testing.assert_allclose(found, np.diag(np.full(3, expected)), atol=1e-15)


def test_conversion() -> None:
    def rounded(x: Any) -> Any:
        return cnp.where(x > 0, (5 + cnp.sqrt(x)).astype(np.float32), 0.0)

    assert cr.grad(rounded)(0.0) == 0.0
    assert cr.grad(rounded)(4.0) == 0.25


def test_masks_are_those_needed() -> None:
    graph = Graph(OPS)
    a, b, slope = (graph.input(n, Type(F64, (3,))) for n in ("a", "b", "slope"))
    m, n = (graph.input(n, Type(BOOL, (3,))) for n in ("m", "n"))

    def masked(mask: Node, x: Node) -> Node:
        return graph.select(mask, x, 0.0)

    assert added(a, b) is a + b
    assert added(a, masked(m, b)) is a + masked(m, b)
    assert added(masked(m, a), masked(m, b)) is masked(m, a + b)
    assert added(masked(m, a), masked(n, b)) is masked(m | n, masked(m, a) + masked(n, b))
    assert added(masked(m, a), masked(~m, b)) is masked(m, a) + masked(~m, b)
    assert added(masked(m, masked(n, a)), masked(m, b)) is masked(m, masked(n, a) + b)
    assert product(masked(m, a), -1) is masked(m, -a)
    assert product(masked(m, a), slope) is masked(m, a * slope)
    assert product(a, masked(m, slope)) is masked(m, a * slope)
    assert product(masked(m, a), masked(m, slope)) is masked(m, a * slope)
    assert product(a, 1) is a
    assert product(a, None) is None


def test_networks_pay_nothing_for_the_masks_of_their_own_activations() -> None:
    def loss(layers: Any, x: Any) -> Any:
        for w, b in layers:
            x = cr.special.relu(x @ w + b)
        return cnp.sum(x * x)

    layers = [(np.ones((4, 4)), np.ones(4)) for _ in range(3)]
    for x in (np.ones(4), np.ones((8, 4))):
        text = cr.trace(cr.value_and_grad(loss), layers, x).lower().as_text("expr")
        # One for each layer: no product looks at the mask behind it.
        assert text.count(" select(") == 3, text
        text = cr.trace(lambda p, x: cr.hvp(loss)(p, x, p), layers, x).lower().as_text("expr")
        assert text.count(" select(") <= 8, text


def test_conditions_keep_to_the_axes_along_which_they_differ() -> None:
    graph = Graph(OPS)
    g = graph.input("g", Type(F64, (2, 3)))
    row, column = (graph.input(n, Type(BOOL, (e,))) for n, e in (("row", 2), ("column", 3)))
    single = graph.input("single", Type(BOOL, ()))
    rows, columns = graph.broadcast(row, g.shape, (0,)), graph.broadcast(column, g.shape, (1,))
    assert core_of(rows) == (row, (0,))
    joined = mask_of(masked([rows, graph.broadcast(single, g.shape, ())], g))
    assert joined is not None
    assert core_of(joined).axes == (0,)
    assert core_of(either([rows, columns])).axes == (0, 1)
    # What simplification has put into one condition is taken apart again.
    assert split(graph.select(rows & columns, g, 0.0)) == ([rows, columns], g)
    assert mask_of(g) is None
