"""Loops and branches under rough use: failing bodies, deep nests, large bodies, threads, caches."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.context import is_tracing
from chainrule.frontend.trace import trace

X = np.arange(1.0, 6.0)


class FailureError(Exception):
    pass


def failing(*_args: Any) -> Any:
    raise FailureError


FAILURES: dict[str, Any] = {
    "scan": lambda x: cr.scan(failing, 0.0, x),
    "fori_loop": lambda x: cr.fori_loop(0, 3, failing, x),
    "while_loop": lambda x: cr.while_loop(lambda v: v.sum() < 0, failing, x),
    "condition": lambda x: cr.while_loop(failing, lambda v: v, x),
    "cond": lambda x: cr.cond(x[0] > 0, lambda: x[cnp.argmax(x) + 9], failing),
    "switch": lambda x: cr.switch(x[0].astype(int), [lambda: x, failing]),
    "checkpoint": cr.checkpoint(failing),
    "after a check": lambda x: cr.scan(lambda c, v: (c + x[v.astype(int) + 9], failing()), 0.0, x),
    "deep": lambda x: cr.scan(lambda c, _: (cr.cond(c > 0, failing, lambda c: c, c), c), 0.0, x),
}


@pytest.mark.parametrize("verb", FAILURES.values(), ids=FAILURES)
def test_a_body_that_fails_leaves_nothing_behind(verb: Any) -> None:
    def fn(x: Any) -> Any:
        with pytest.raises(FailureError):
            verb(x)
        return cr.scan(lambda c, v: (c + v, c * v), 0.0, x)

    traced = trace(fn, X)
    assert not is_tracing()
    assert not traced.program.checks
    assert traced.run(X)[0] == cr.jit(fn)(X)[0] == 15.0
    with pytest.raises(FailureError):
        cr.jit(verb)(X)
    assert not is_tracing()


def nested(kind: str, depth: int) -> Any:
    def one(c: Any) -> Any:
        return cnp.sin(c) * 1.1

    fn = one
    for level in range(depth):
        way = ("scan", "while", "cond", "checkpoint")[level % 4] if kind == "mixed" else kind
        fn = wrapped(way, fn)
    return fn


def wrapped(kind: str, fn: Any) -> Any:
    match kind:
        case "scan":
            return lambda c: cr.scan(lambda c, _: (fn(c), None), c, None, 2)[0]
        case "while":
            return lambda c: cr.while_loop(
                lambda s: s[0] < 2, lambda s: (s[0] + 1, fn(s[1])), (0, c)
            )[1]
        case "cond":
            return lambda c: cr.cond(c[0] > -9, fn, lambda c: c * 2, c)
        case _:
            return cr.checkpoint(fn)


@pytest.mark.parametrize(
    ("kind", "turns"), [("scan", 1024), ("while", 1024), ("cond", 1), ("mixed", 64)]
)
def test_ten_deep(kind: str, turns: int) -> None:
    want, slope = X, np.ones(5)
    for _ in range(turns):
        want, slope = np.sin(want) * 1.1, np.cos(want) * 1.1 * slope
    fn = nested(kind, 10)
    np.testing.assert_allclose(cr.jit(fn)(X), want, 1e-10)
    if kind == "mixed":
        np.testing.assert_allclose(cr.jit(cr.grad(lambda x: fn(x).sum()))(X), slope, 1e-9)


def test_bodies_of_two_thousand_operations() -> None:
    def fn(x: Any) -> Any:
        def step(c: Any, v: Any) -> Any:
            for i in range(1000):
                c = c * (1.0 + i * 1e-6) + v
            return c, None

        return cr.scan(step, x[0], x)[0]

    want, scale = X[0], 1.0
    for v in X:
        for i in range(1000):
            want, scale = want * (1.0 + i * 1e-6) + v, scale * (1.0 + i * 1e-6)
    assert float(trace(fn, X).run(X)) == pytest.approx(want)
    assert float(cr.jit(fn)(X)) == pytest.approx(want)


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("columns", [0, 3])
def test_nothing_to_loop_over(rows: int, columns: int) -> None:
    def fn(x: Any) -> Any:
        return cr.scan(lambda c, v: (c * v.sum() + c, c * v), 1.0, x)

    x = np.full((rows, columns), 0.5)
    last, ys = cr.jit(fn)(x)
    assert (float(last), ys.shape) == ((1 + 0.5 * columns) ** rows, x.shape)
    assert cr.jit(cr.grad(lambda x: fn(x)[0]))(x).shape == x.shape


COUNTED: Any = cr.jit(lambda x, n: cr.fori_loop(0, n, lambda _i, v: cnp.sin(v) + x, x))
SLOPES: Any = cr.jit(
    cr.grad(lambda x, n: cr.fori_loop(0, n, lambda _i, v: 0.5 * cnp.sin(v) + x, x).sum())
)


def test_threads_share_a_compiled_loop() -> None:
    """Tapes grow while others call."""
    arrays = [np.random.default_rng(i).normal(size=300) for i in range(8)]
    counts = [37 * i for i in range(8)]
    want = [(COUNTED(x, n), SLOPES(x, n)) for x, n in zip(arrays, counts, strict=True)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            for fn, w in zip((COUNTED, SLOPES), want[i], strict=True):
                if not np.array_equal(fn(arrays[i], counts[i]), w):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def cumulated(x: Any) -> Any:
    return cr.scan(lambda c, v: (c + v, c * v), 0.0, x)


def test_pickled() -> None:
    for fn in (cr.jit(cumulated), cr.jit(cr.grad(paired_sum))):
        copy = pickle.loads(pickle.dumps(fn))  # noqa: S301 (our own bytes)
        for a, b in zip(cr.tree_leaves(copy(X)), cr.tree_leaves(fn(X)), strict=True):
            np.testing.assert_array_equal(a, b)


def paired_sum(x: Any) -> Any:
    return cumulated(x)[1].sum()


def test_donated_carries() -> None:
    def fn(s: Any, x: Any) -> Any:
        return cr.scan(lambda c, v: ((c[1], c[0] + v), None), s, x)[0]

    compiled = cr.jit(fn, donate_argnames=("s",))
    for n in (1, 4, 5):
        a, b = np.ones(3), np.full(3, 2.0)
        rows = np.arange(3.0 * n).reshape(n, 3)
        want = trace(fn, (a, b), rows).run((a, b), rows)
        got = compiled((a.copy(), b.copy()), rows)
        np.testing.assert_array_equal(got, want)


def test_donated_and_returned_elsewhere() -> None:
    def fn(s: Any, x: Any) -> Any:
        return cr.fori_loop(0, 3, lambda i, v: v.at[i].add(x[i]), s), s * 1.0, s[::-1]

    compiled = cr.jit(fn, donate_argnames=("s",))
    s, x = np.ones(3), np.arange(3.0)
    for got, want in zip(compiled(s.copy(), x), (s + x, s, s), strict=True):
        np.testing.assert_array_equal(got, want)


def test_inputs_are_left_alone() -> None:
    x, t = np.arange(4.0), np.ones(4)
    kept = x.copy(), t.copy()
    fn = cr.jit(lambda x, t: (cr.fori_loop(0, 4, lambda i, v: v.at[i].set(x[3 - i]), t), t, x))
    got = fn(x, t)
    for array, before in zip((x, t), kept, strict=True):
        np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(got[0], x[::-1])
    np.testing.assert_array_equal(got[1], t)
    assert not any(np.shares_memory(a, b) for a in got for b in (x, t))


def test_one_compilation_serves_every_length() -> None:
    fn = cr.jit(cr.value_and_grad(paired_sum), dims={"x": ("n",)})
    for n in (0, 1, 2, 5, 100):
        x = np.arange(float(n))
        value, slope = fn(x)
        assert float(value) == pytest.approx((x.sum() ** 2 - (x**2).sum()) / 2)
        np.testing.assert_allclose(slope, x.sum() - x, atol=1e-12)
    assert len(fn.compilations) == 1


def test_the_cache_keeps_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, again = (cr.jit(cr.value_and_grad(paired_sum)) for _ in range(2))
    assert float(first(X)[0]) == 85.0
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert kept
    assert float(again(X)[0]) == 85.0
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == set(kept), "compiled once"
