"""The same numbers inside a compiled function as outside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule import random
from chainrule.typing import Array, Key

EXACT: dict[str, Callable[[Key], Array]] = {
    "bits": lambda key: random.bits(key, (5, 7)),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 17),
    "uniform": lambda key: random.uniform(key, (5, 7)),
    "uniform float64": lambda key: random.uniform(key, (5, 7), np.float64),
    "randint": lambda key: random.randint(key, (100,), -7, 1000),
    "randint of nearly all": lambda key: random.randint(key, (100,), 0, 2**32 - 1, np.int64),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (100,)),
}


@pytest.mark.parametrize("name", EXACT)
def test_same_bits(name: str) -> None:
    draw = EXACT[name]
    for seed in (0, 1, 2**63 + 5):
        inside, outside = cr.jit(draw)(random.key(seed)), draw(random.key(seed))
        assert inside.dtype == outside.dtype
        assert np.array_equal(inside, outside)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_normal_up_to_the_last_places(dtype: type[np.generic], tolerance: float) -> None:
    def draw(key: Key) -> Array:
        return random.normal(key, (50, 20), dtype)

    inside = cr.jit(draw)(random.key(3))

    assert inside.dtype == dtype
    np.testing.assert_allclose(inside, draw(random.key(3)), rtol=tolerance, atol=tolerance)


def test_a_step_count_known_only_at_run_time() -> None:
    @cr.jit
    def noise(key: Key, step: Array) -> Array:
        return random.uniform(random.fold_in(key, step), (4,))

    key = random.key(0)
    draws = [noise(key, np.array(step, np.int32)) for step in range(3)]

    assert len(np.unique(draws)) == 12
    for step, draw in enumerate(draws):
        assert np.array_equal(draw, random.uniform(random.fold_in(key, step), (4,)))
