"""Views of views and contractions of views: random chains, compared element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.random_programs import Maker

from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program, check, guarded
from chainrule.ir.show import show
from chainrule.ir.types import F64, Type
from chainrule.numerics import numerics_called
from chainrule.ops import OPS
from chainrule.optimize import optimize

MODES = ("fast", "strict")


def grown(maker: Maker, x: Node, count: int, kinds: tuple[str, ...]) -> Node:
    """Apply `count` views, each to the result of the one before."""
    while count:
        maker.pool = [x]
        node: Node | None = getattr(maker, maker.pick(kinds))()
        if node is not None and node is not x and maker.evaluated(node).size:
            x = node
            count -= 1
    return x


VIEWS = ("make_view", "make_view", "make_slice", "make_place", "make_concatenate")


def assert_equal(outputs: list[Node], maker: Maker, *, exact: bool) -> None:
    names = tuple(n.attributes["name"] for n in maker.inputs)
    results = tuple(str(i) for i in range(len(outputs)))
    before = guarded(Program("views", tuple(maker.inputs), tuple(outputs), names, results))
    arrays = [maker.values[n] for n in maker.inputs]
    expected = evaluate(before, *arrays)
    for mode in MODES:
        after = optimize(before, numerics_called(mode))
        check(after)
        for got, want in zip(evaluate(after, *arrays), expected, strict=True):
            if exact:
                np.testing.assert_array_equal(got, want, err_msg=show(before))
            else:
                np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=show(before))


@pytest.mark.share(3)
@pytest.mark.parametrize("dims", [False, True], ids=["static", "named"])
@pytest.mark.parametrize("seed", range(80))
def test_chains_of_views(seed: int, dims: bool) -> None:
    maker = Maker(seed, F64, dims=dims, smooth=True)
    x = maker.new_input((3, 4, 5) if not dims else tuple(maker.pick([*maker.extents[4:], 2, 5])
                                                        for _ in range(3)))  # fmt: skip
    maker.extents = [*maker.extents, 5, 6]
    y = grown(maker, x, 5, VIEWS)
    rank = y.type.rank
    outputs: list[Node] = [y]
    if rank:
        axes = tuple(sorted({int(a) for a in maker.random.integers(0, rank, 2)}))
        outputs += [y.graph.call("max", y, axes=axes)]
    assert_equal(outputs, maker, exact=True)
    sums = [y.graph.call("sum", y, axes=(i,)) for i in range(rank)]
    assert_equal([*sums, y.graph.call("sum", y, axes=tuple(range(rank)))], maker, exact=False)


@pytest.mark.parametrize("seed", range(100))
def test_contractions_of_views(seed: int) -> None:
    maker = Maker(seed, F64, dims=False, smooth=True)
    maker.extents = [2, 3, 4]
    operands = []
    for _ in range(3):
        shape = tuple(int(e) for e in maker.random.permutation([2, 3, 4]))
        x = maker.new_input(shape[: int(maker.random.integers(2, 4))])
        operands.append(grown(maker, x, 2, ("make_view", "make_turn")))
    y: Any = None
    while y is None:
        maker.pool = operands
        y = maker.make_contract()
    maker.pool = [y]
    turned = maker.make_turn()
    maker.pool = [y, *operands]
    product = maker.make_contract()
    outputs = [y, turned, *([product] if product is not None else [])]
    if y.type.rank:
        outputs += [y.graph.call("sum", y, axes=(int(maker.random.integers(y.type.rank)),))]
    assert_equal(outputs, maker, exact=False)


def test_steps_of_slices_multiply() -> None:
    graph = Graph(OPS)
    x = graph.input("x", Type(F64, (20,)))
    inner = graph.call("slice", x, starts=(18,), shape=(9,), steps=(-2,))
    outer = graph.call("slice", inner, starts=(1,), shape=(3,), steps=(3,))
    (got,) = optimize(Program("f", (x,), (outer,), ("x",), ("y",))).outputs
    assert got.attributes == {"starts": (16,), "shape": (3,), "steps": (-6,)}
    assert got.args == (x,)
