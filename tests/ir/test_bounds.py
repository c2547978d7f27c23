"""The prover of extents: what it proves is true, and what it should prove it does."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Extent, ceil_div, evaluate_extent, larger, named, smaller

n, m = named("n"), named("m")


@pytest.mark.parametrize(
    "extent",
    [
        n, n * m + 3, larger(n - 10, 0), larger(n, m) - m, n - smaller(n, m), n - smaller(n, 1),
        (n + 1) // 2, n - n // 2, ceil_div(n, 2) * 2 - n, n * 3 - n // 3 * 3, 4 - n % 4 - 1,
        larger(n - 1, 0) - larger(n - 2, 0),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_certain_is_proved(extent: Extent) -> None:
    assert never_negative(extent)


def test_facts_are_used() -> None:
    assert not never_negative(n - 1)
    assert never_negative(n - 1, [n - 2])
    assert never_negative(n * m - m, [n - 1])
    assert never_negative(n - 5, [n - m, m - 5])
    assert not never_negative(n - 5, [m - 5])


def random_extent(rng: random.Random, depth: int) -> Any:
    if depth == 0:
        return rng.choice((n, m, rng.randint(-6, 6)))
    a, b = (random_extent(rng, depth - 1) for _ in range(2))
    k = rng.randint(1, 4)
    made: list[Any] = [
        a + b,
        a - b,
        a * rng.choice((n, 2)),
        larger(a, b),
        smaller(a, b),
        a // k,
        a % k,
    ]
    return rng.choice(made)


@pytest.mark.parametrize("seed", range(300))
def test_nothing_false_is_proved(seed: int) -> None:
    rng = random.Random(seed)
    extent = random_extent(rng, 3)
    facts = [random_extent(rng, 1) for _ in range(rng.randrange(3))]
    if not never_negative(extent, facts):
        return
    for a, b in itertools.product(range(12), repeat=2):
        dims = {"n": a, "m": b}
        if all(evaluate_extent(f, dims) >= 0 for f in facts):
            assert evaluate_extent(extent, dims) >= 0, f"{extent} at {dims}, given {facts}"
