"""Kind of fault: what is documented to work inside a trace was refused there."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import random
from chainrule.frontend.trace import trace

KEY = random.key(11)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 600])
def test_a_permutation_is_that_of_plain_keys(n: int) -> None:
    expected = random.permutation(KEY, n)
    got = cr.jit(lambda key: random.permutation(key, n))(KEY)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        trace(lambda key: random.permutation(key, n), KEY).run(KEY), expected
    )


def test_rows_of_named_extents_are_shuffled() -> None:
    shuffle = cr.jit(random.permutation, dims={"x": ("n", 2)})
    order = cr.jit(lambda key, x: random.permutation(key, x.shape[0]), dims={"x": ("n", 2)})
    for n in (5, 0, 1, 12):
        x = np.random.default_rng(n).normal(size=(n, 2))
        np.testing.assert_array_equal(shuffle(KEY, x), random.permutation(KEY, x))
        np.testing.assert_array_equal(shuffle(KEY, x), x[random.permutation(KEY, n)])
        np.testing.assert_array_equal(order(KEY, x), random.permutation(KEY, n))


def test_permutations_under_vmap_in_scans_and_derivatives() -> None:
    keys = random.split(KEY, 6)
    expected = [random.permutation(key, 9) for key in keys]
    np.testing.assert_array_equal(cr.vmap(lambda k: random.permutation(k, 9))(keys), expected)
    steps = cr.scan(lambda c, k: (c, random.permutation(k, 9)), 0.0, keys)[1]
    np.testing.assert_array_equal(steps, expected)
    weights = np.arange(9.0)

    def fn(x: Any, key: Any) -> Any:
        return (random.permutation(key, x) * weights).sum()

    # Element j of the permutation comes from order[j], so that is where its weight goes.
    slope = np.zeros(9)
    slope[expected[2]] = weights
    np.testing.assert_array_equal(cr.jit(cr.grad(fn))(np.ones(9), keys[2]), slope)
    np.testing.assert_array_equal(cr.grad(fn)(np.ones(9), keys[2]), slope)


def test_traced_permutations_are_equally_likely() -> None:
    draw = cr.jit(cr.vmap(lambda k: random.permutation(k, 3)))
    seen = [tuple(row) for row in draw(random.split(KEY, 3000)).tolist()]
    for order in itertools.permutations(range(3)):
        assert abs(seen.count(order) / 3000 - 1 / 6) < 0.04


def test_minibatches_drawn_in_a_compiled_step() -> None:
    x = np.arange(12.0)

    def epoch(key: Any, x: Any) -> Any:
        rows = cnp.reshape(random.permutation(key, x), (3, 4))
        return cr.scan(lambda total, batch: (total + batch.sum(), batch.mean()), 0.0, rows)

    total, means = cr.jit(epoch)(KEY, x)
    assert total == x.sum()
    np.testing.assert_allclose(means, random.permutation(KEY, x).reshape(3, 4).mean(1))
