"""The prover of extents: what it proves is true, and what it should prove it does."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from chainrule.ir.bounds import interval_of, never_negative
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
    positive = larger(b, 0) + 1
    made: list[Any] = [
        a + b,
        a - b,
        a * rng.choice((n, 2)),
        larger(a, b),
        smaller(a, b),
        a // k,
        -(-a // k),
        a % k,
        a * b,
        a // positive,
        a % positive,
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


@pytest.mark.share(5)
@pytest.mark.parametrize("seed", range(300))
def test_intervals_hold_what_extents_are(seed: int) -> None:
    rng = random.Random(seed)
    extents = [random_extent(rng, rng.randrange(1, 4)) for _ in range(20)]
    most = 12
    largest: Any = {("n",): most, ("m",): most} if seed % 2 else {}
    for extent in extents:
        low, high = interval_of(extent, largest)
        for a, b in itertools.product(range(most + 1), repeat=2):
            number = evaluate_extent(extent, {"n": a, "m": b})
            assert low is None or low <= number, f"{extent} at {a}, {b}"
            assert high is None or number <= high, f"{extent} at {a}, {b}"


def test_intervals_are_known_where_they_can_be() -> None:
    largest: Any = {("n",): 10}
    assert interval_of(3 * n + 2, largest) == (2, 32)
    assert interval_of(5 - n, largest) == (-5, 5)
    assert interval_of(ceil_div(n, 2) * -1, largest) == (-5, 0)
    assert interval_of(n // m, largest) == (0, 10)
    assert interval_of(n * m, largest) == (0, None)
    assert interval_of(smaller(m, 7), largest) == (0, 7)


@pytest.mark.share(5)
@pytest.mark.parametrize("seed", range(300))
def test_extents_are_the_numbers_that_they_are_made_of(seed: int) -> None:
    rng = random.Random(seed)

    def made(depth: int) -> Any:
        if depth == 0:
            k = rng.randint(-6, 6)
            return rng.choice([(n, lambda d: d["n"]), (m, lambda d: d["m"]), (k, lambda _: k)])
        (a, f), (b, g) = made(depth - 1), made(depth - 1)
        by = rng.choice([-3, -1, 2, 4])
        return rng.choice([
            (a + b, lambda d: f(d) + g(d)), (a - b, lambda d: f(d) - g(d)),
            (a * b, lambda d: f(d) * g(d)), (a // by, lambda d: f(d) // by),
            (a % by, lambda d: f(d) % by), (larger(a, b), lambda d: max(f(d), g(d))),
            (smaller(a, b), lambda d: min(f(d), g(d))), (larger(a, 0), lambda d: max(f(d), 0)),
            (larger(0, b), lambda d: max(g(d), 0)),
        ])  # fmt: skip

    for _ in range(20):
        extent, number = made(3)
        for dims in ({"n": a, "m": b} for a, b in itertools.product((0, 1, 2, 5, 9), repeat=2)):
            assert evaluate_extent(extent, dims) == number(dims), f"{extent} at {dims}"
