"""Matrix products that convert weights of 16 bits as they read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, launches, program_of, targets

from chainrule.ir.dims import named
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BF16, F16, F32, F64, HALVES, DType, Type
from chainrule.loops.ir import Tile, statements
from chainrule.ops import OPS

pytest.importorskip("ml_dtypes")

SHAPES = [
    (1, 1, 2), (1, 7, 3), (1, 600, 130), (1, 1030, 128), (2, 5, 17), (3, 64, 16), (5, 513, 33),
    (8, 9, 1030), (64, 40, 15), (70, 520, 700), (1, 3, 1), (4, 8, 1), (1, 4, 127),
]  # fmt: skip


def dot(a: Node, b: Node) -> Node:
    return a.graph.call("contract", a, b, batch=((), ()), summed=((a.type.rank - 1,), (0,)))


def wide(x: Node) -> Node:
    return x.graph.call("cast", x, dtype=F32)


def tiles(compiled: Compiled) -> list[Tile]:
    return [
        s for launch in launches(compiled.lowered) for s in statements(launch.kernel.body)
        if isinstance(s, Tile)
    ]  # fmt: skip


def numbers(shape: tuple[int, ...], dtype: DType, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype.numpy)


@pytest.mark.share(4)
@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("half", HALVES, ids=repr)
def test_products_with_weights_of_16_bits(half: DType, target: str, numerics: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    for m, k, n in SHAPES:
        graph = Graph(OPS)
        x, w = graph.input("x", Type(F32, (m, k))), graph.input("w", Type(half, (k, n)))
        compiled = Compiled(program_of([x, w], [dot(x, wide(w))]), target=target, numerics=numerics)
        kinds = {t.b.buffer.dtype for t in tiles(compiled)}
        assert kinds <= {half if n > 1 else F32}, f"{(m, k, n)}"
        a, b = numbers((m, k), F32, 0), numbers((k, n), half, 1)
        (found,) = compiled(a, b)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        bound = np.abs(a).astype(np.float64) @ np.abs(b.astype(np.float64))
        assert (np.abs(found - exact) <= 3e-6 * bound).all(), f"{(m, k, n)}"


@pytest.mark.parametrize("numerics", ["strict", "reproducible"])
def test_the_bits_are_those_of_a_stored_copy(numerics: str) -> None:
    """A second use of the converted weights has them stored."""
    for m, k, n in SHAPES:
        graph = Graph(OPS)
        x, w = graph.input("x", Type(F32, (m, k))), graph.input("w", Type(BF16, (k, n)))
        a, b = numbers((m, k), F32, 0), numbers((k, n), BF16, 1)
        alone = Compiled(program_of([x, w], [dot(x, wide(w))]), numerics=numerics)
        both = Compiled(program_of([x, w], [dot(x, wide(w)), dot(-x, wide(w))]), numerics=numerics)
        assert {t.b.buffer.dtype for t in tiles(both)} <= {F32}
        np.testing.assert_array_equal(alone(a, b)[0], both(a, b)[0])


def part(w: Node, start: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> Node:
    return w.graph.call("slice", w, starts=(start,) * len(shape), shape=shape, steps=steps)


def test_parts_of_weights() -> None:
    """Rows may lie apart and begin anywhere; where columns do, a copy is stored."""
    for steps, native in (((1, 1), True), ((3, 1), True), ((-1, 1), True), ((1, 2), False)):
        graph = Graph(OPS)
        x, w = graph.input("x", Type(F32, (4, 5))), graph.input("w", Type(F16, (40, 50)))
        start = 20
        compiled = Compiled(program_of([x, w], [dot(x, wide(part(w, start, (5, 9), steps)))]))
        assert [t.b.buffer.dtype is F16 for t in tiles(compiled)] == [native]
        a, b = numbers((4, 5), F32, 0), numbers((40, 50), F16, 1)
        where = np.ix_(*(start + s * np.arange(n) for s, n in zip(steps, (5, 9), strict=True)))
        expected = a.astype(np.float64) @ b[where].astype(np.float64)
        np.testing.assert_allclose(compiled(a, b)[0], expected, rtol=1e-4, atol=1e-5)


def test_batches_of_products() -> None:
    graph = Graph(OPS)
    x, w = graph.input("x", Type(F32, (3, 4, 5))), graph.input("w", Type(BF16, (3, 5, 20)))
    product = graph.call("contract", x, wide(w), batch=((0,), (0,)), summed=((2,), (1,)))
    compiled = Compiled(program_of([x, w], [product]))
    assert {t.b.buffer.dtype for t in tiles(compiled)} == {BF16}
    a, b = numbers((3, 4, 5), F32, 0), numbers((3, 5, 20), BF16, 1)
    np.testing.assert_allclose(compiled(a, b)[0], a @ b.astype(np.float32), rtol=1e-4, atol=1e-5)


def transposed(x: Node) -> Node:
    return x.graph.call("transpose", x, axes=(1, 0))


def test_what_has_a_copy_stored() -> None:
    """Weights on the left, transposed, converted to float64, or under a named batch."""
    graph, n = Graph(OPS), named("n")
    w, x = graph.input("w", Type(F16, (5, 6))), graph.input("x", Type(F32, (4, 6)))
    rows, y = graph.input("r", Type(F32, (n, 5))), graph.input("y", Type(F64, (4, 5)))
    double = graph.call("cast", w, dtype=F64)
    cases = {
        "left": ([w, x], dot(wide(w), transposed(x))),
        "transposed": ([w, x], dot(x, transposed(wide(w)))),
        "double": ([w, y], dot(y, double)),
        "named": ([w, rows], dot(rows, wide(w))),
        "itself": ([w], dot(transposed(wide(w)), wide(w))),
    }
    for name, (inputs, output) in cases.items():
        compiled = Compiled(program_of(inputs, [output]))
        assert all(
            not o.buffer.dtype.is_half for t in tiles(compiled) for o in (t.a, t.b)
        ), name  # fmt: skip
        arrays = [numbers(tuple(int(e) if isinstance(e, int) else 3 for e in i.shape), i.dtype, 0)
                  for i in inputs]  # fmt: skip
        values = dict(zip(inputs, (a.astype(np.float64) for a in arrays), strict=True))
        expected = {
            "left": lambda v: v[w] @ v[x].T, "transposed": lambda v: v[x] @ v[w].T,
            "double": lambda v: v[y] @ v[w], "named": lambda v: v[rows] @ v[w],
            "itself": lambda v: v[w].T @ v[w],
        }[name](values)  # fmt: skip
        np.testing.assert_allclose(compiled(*arrays)[0], expected, rtol=1e-4, atol=1e-5)


def test_sums_that_are_added_to() -> None:
    """One of several summed axes runs in the tile; the others add to what is there."""
    graph = Graph(OPS)
    x, w = graph.input("x", Type(F32, (2, 3, 700))), graph.input("w", Type(F16, (3, 700, 40)))
    product = graph.call(
        "contract", part(x, 0, (2, 3, 600), (1, 1, 1)), wide(part(w, 0, (3, 600, 40), (1, 1, 1))),
        batch=((), ()), summed=((1, 2), (0, 1)),
    )  # fmt: skip
    compiled = Compiled(program_of([x, w], [product]))
    a, b = numbers((2, 3, 700), F32, 0), numbers((3, 700, 40), F16, 1)
    expected = np.einsum("ijk,jkn->in", a[..., :600].astype(float), b[:, :600].astype(float))
    np.testing.assert_allclose(compiled(a, b)[0], expected, rtol=1e-4, atol=1e-4)
