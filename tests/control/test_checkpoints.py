"""Loops that keep less: equal derivatives, memory as promised, schedules that are best."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.transform.revolve import ADVANCE, REVERSE, actions, advances, few_snapshots

ROWS, WIDTH = 4, 16


def loss(params: dict[str, Any], xs: Any, *, checkpoint: Any = None, reverse: bool = False) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = cnp.tanh(h @ params["W"] + x * params["b"])
        return h, cnp.sum(h * x)

    h, ys = cr.scan(step, cnp.zeros((ROWS, WIDTH)), xs, None, reverse, checkpoint=checkpoint)
    return cnp.sum(h * h) + cnp.sum(ys**2)


def arguments(length: int) -> tuple[dict[str, Any], Any]:
    random = np.random.default_rng(length)
    params = {"W": random.normal(size=(WIDTH, WIDTH)) * 0.1, "b": random.normal(size=WIDTH)}
    return params, random.normal(size=(length, ROWS, WIDTH))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "checkpoint", ["sqrt", 5, 23, 100, "binomial", ("binomial", 1), ("binomial", 4)]
)
def test_derivatives_are_those_without(checkpoint: Any, reverse: bool) -> None:
    args = arguments(23)
    plain = functools.partial(loss, reverse=reverse)
    kept = functools.partial(loss, reverse=reverse, checkpoint=checkpoint)
    want = cr.value_and_grad(plain, (0, 1))(*args)
    got = cr.value_and_grad(kept, (0, 1))(*args)
    for a, b in zip(cr.tree_leaves(got), cr.tree_leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("checkpoint", ["sqrt", ("binomial", 3)])
def test_second_derivatives_are_those_without(checkpoint: Any) -> None:
    params, xs = arguments(7)
    direction = np.random.default_rng(0).normal(size=xs.shape)
    kept = functools.partial(loss, checkpoint=checkpoint)
    want = cr.hvp(loss, 1)(params, xs, direction)
    np.testing.assert_allclose(cr.hvp(kept, 1)(params, xs, direction), want, rtol=1e-9, atol=1e-10)


def arena(length: int, checkpoint: Any) -> int:
    made = cr.jit(cr.value_and_grad(functools.partial(loss, checkpoint=checkpoint)))
    return made.lower(*arguments(length)).compile().memory.arena


def test_memory_grows_as_the_root_of_the_length() -> None:
    lengths = (64, 256, 1024, 4096)
    table = {n: [arena(n, c) for c in (None, "sqrt", "binomial")] for n in lengths}
    for n, row in table.items():
        print(f"{n:5}  all {row[0]:8}  sqrt {row[1]:7}  binomial {row[2]:6}  bytes")
    for short, long in itertools.pairwise(lengths):
        # Four times the length: the root doubles, and a constant is added.
        assert table[long][1] < 2.3 * table[short][1]
        assert table[long][0] > 3.5 * table[short][0]
        # Snapshots are changed in place, so there is hardly a constant; the root is rounded.
        assert table[long][2] < 2.6 * table[short][2]


@pytest.mark.parametrize("snapshots", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 31, 64])
def test_schedules_reverse_every_step_with_the_fewest_repeated(length: int, snapshots: int) -> None:
    table = list(actions(length, snapshots))
    assert [a.step for a in table if a.kind == REVERSE] == list(range(length))[::-1]
    assert (
        sum(a.kind == ADVANCE for a in table)
        == advances(length, snapshots)
        == best(length, snapshots)
    )
    assert max(a.slot for a in table) < snapshots


@functools.cache
def best(length: int, snapshots: int) -> int:
    """Try every place for the next snapshot."""
    if length == 1:
        return 0
    if snapshots == 1:
        return length * (length - 1) // 2
    return min(m + best(length - m, snapshots - 1) + best(m, snapshots) for m in range(1, length))


def test_the_default_number_of_snapshots_runs_no_step_more_than_thrice() -> None:
    for length in (2, 10, 100, 1000):
        assert advances(length, few_snapshots(length)) <= 3 * length


def test_a_binomial_schedule_needs_a_length() -> None:
    kept = functools.partial(loss, checkpoint="binomial")
    with pytest.raises(cr.UnsupportedError, match="binomial checkpoints of a loop whose length"):
        cr.jit(cr.grad(kept), dims={"xs": ("t", ROWS, WIDTH)})(*arguments(3))


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(cr.StructureError, match="is not known"):
        loss(*arguments(3), checkpoint="most")
