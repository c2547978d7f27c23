"""Indices out of range in bodies: reported in the user's words, and only where the body runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace

X = np.arange(5.0)
FAR = 10**13
"An index that no memory is behind."


def in_scan(x: Any, i: Any) -> Any:
    return cr.scan(lambda c, k: (c + x[i * k], None), 0.0, np.arange(2))[0]


def in_loop(x: Any, i: Any) -> Any:
    return cr.fori_loop(0, 3, lambda k, s: s + x[i * k // 2], 0.0)


def closed_over(x: Any, i: Any) -> Any:
    return cr.fori_loop(0, 3, lambda _k, s: s + x[i], 0.0)


def in_while(x: Any, i: Any) -> Any:
    return cr.while_loop(lambda s: s[0] < i + 1, lambda s: (s[0] + 1, s[1] + x[s[0]]), (0, 0.0))[1]


def in_update(x: Any, i: Any) -> Any:
    return cr.fori_loop(0, 1, lambda k, v: v.at[i + k].set(1.0), x).sum()


def in_branch(x: Any, i: Any) -> Any:
    return cr.cond(x[0] == 0, lambda j: x[j], lambda _j: 0.0, i)


def in_closing_branch(x: Any, i: Any) -> Any:
    return cr.cond(x[0] == 0, lambda: x[i], lambda: 0.0)


def in_nest(x: Any, i: Any) -> Any:
    def step(c: Any, k: Any) -> Any:
        return cr.cond(k > 0, lambda: c + cr.fori_loop(0, 1, lambda n, s: s + x[n + i], 0.0),
                       lambda: c), None  # fmt: skip

    return cr.scan(step, 0.0, np.arange(2))[0]


def in_checkpoint(x: Any, i: Any) -> Any:
    return cr.checkpoint(lambda x: x[i] * 2)(x)


def in_gradient(x: Any, i: Any) -> Any:
    return cr.grad(lambda x: cr.fori_loop(0, 2, lambda k, s: s * x[i + 0 * k], 1.0))(x)[0]


def in_batch(x: Any, i: Any) -> Any:
    return cr.vmap(lambda j: cr.fori_loop(0, 2, lambda k, s: s + x[j], 0.0))(cnp.stack([0, i]))[1]


REPORTED = [in_scan, in_loop, closed_over, in_while, in_update, in_branch, in_closing_branch,
            in_nest, in_checkpoint, in_gradient, in_batch]  # fmt: skip


@pytest.mark.parametrize("fn", REPORTED, ids=lambda f: f.__name__)
def test_out_of_range(fn: Any) -> None:
    line = r"out of range for axis 0 of extent 5, at .*test_checks\.py:\d+"
    compiled = cr.jit(fn)
    far = 5 if fn is in_while else FAR
    for bad in (5, far) if fn is in_while else (5, far, -6, -FAR):
        with pytest.raises(IndexError, match=line):
            compiled(X, bad)
        with pytest.raises(IndexError, match=line):
            trace(fn, X, bad).run(X, bad)
    for good in (0, 4):
        assert float(compiled(X, good)) == pytest.approx(float(trace(fn, X, good).run(X, good)))


def not_taken(x: Any, i: Any) -> Any:
    return cr.cond(i < 5, lambda j: x[j], lambda _j: -1.0, i)


def not_taken_closing(x: Any, i: Any) -> Any:
    return cr.cond(i < 5, lambda: x[i], lambda: -1.0)


def two_deep(x: Any, i: Any) -> Any:
    return cr.cond(i < 5, lambda: cr.cond(i < 7, lambda: x[i], lambda: 1.0), lambda: -1.0)


def loop_in_branch(x: Any, i: Any) -> Any:
    return cr.cond(i < 5, lambda: cr.fori_loop(0, 2, lambda k, s: s + x[i] / 2, 0.0), lambda: -1.0)


def checkpoint_in_branch(x: Any, i: Any) -> Any:
    return cr.cond(i < 5, cr.checkpoint(lambda: x[i]), lambda: -1.0)


def no_steps(x: Any, i: Any) -> Any:
    return cr.fori_loop(0, cnp.where(i < 5, 1, 0), lambda k, s: x[i], -1.0)


def branch_in_scan(x: Any, i: Any) -> Any:
    return cr.scan(lambda c, _: (cr.cond(i < 5, lambda: x[i], lambda: c), None), -1.0, None, 2)[0]


def in_mapped_branch(x: Any, i: Any) -> Any:
    each = cr.vmap(lambda j: cr.cond(j < 5, lambda: x[j], lambda: -1.0))
    return each(cnp.stack([0, i]))[1]


QUIET = [not_taken, not_taken_closing, two_deep, loop_in_branch, checkpoint_in_branch, no_steps,
         branch_in_scan, in_mapped_branch]  # fmt: skip


@pytest.mark.parametrize("fn", QUIET, ids=lambda f: f.__name__)
def test_what_does_not_run_is_not_checked(fn: Any) -> None:
    compiled, slope = cr.jit(fn), cr.jit(cr.grad(fn))
    for i in (0, 4, 5, FAR):
        want = X[i] if i < 5 else -1.0
        assert float(compiled(X, i)) == want
        assert float(trace(fn, X, i).run(X, i)) == want
        np.testing.assert_array_equal(slope(X, i), 1.0 * (np.arange(5) == i))


def test_a_condition_may_pick_by_an_index_from_outside() -> None:
    def fn(x: Any, i: Any) -> Any:
        return cr.while_loop(lambda s: s < x[i] + x.sum(), lambda s: s + 3.0, 0.0)

    compiled = cr.jit(fn)
    assert compiled(X, 4) == 15.0
    with pytest.raises(IndexError, match="out of range"):
        compiled(X, 5)


def test_a_loop_over_nothing_checks_nothing() -> None:
    def fn(x: Any, i: Any) -> Any:
        return cr.scan(lambda s, _: (s + x[i], None), 0.0, None, 0)[0]

    assert cr.jit(fn)(X, FAR) == 0.0
    assert trace(fn, X, FAR).run(X, FAR) == 0.0
