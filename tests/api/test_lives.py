"""Compiled functions outlive what made them: pickled, copied, shared by threads, forked."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

X = np.random.default_rng(0).normal(size=(40, 6))
W = np.random.default_rng(1).normal(size=(6, 5))


def loss(w: Any, x: Any) -> Any:
    return cnp.sum(cnp.tanh(x @ w) ** 2)


def expected(w: Any, x: Any) -> Any:
    h = np.tanh(x @ w)
    return x.T @ (2 * h * (1 - h**2))


MAKERS: dict[str, Any] = {
    "jit": lambda: cr.jit(cr.grad(loss), dims={"x": ("batch", 6)}),
    "grad": lambda: cr.grad(loss, argnums=0),
    "jacobian": lambda: cr.jacobian(loss),
    "jacrev": lambda: cr.jacrev(loss),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_pickled_function_computes_the_same(name: str) -> None:
    fn = MAKERS[name]()
    again = pickle.loads(pickle.dumps(fn))  # noqa: S301
    np.testing.assert_allclose(again(W, X), expected(W, X), rtol=1e-12)
    np.testing.assert_array_equal(again(W, X), fn(W, X))
    np.testing.assert_array_equal(copy.copy(fn)(W, X), fn(W, X))


def test_many_threads_share_one_function() -> None:
    fn = cr.grad(loss)
    reference = fn(W, X)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(1 for _ in range(100) if not np.array_equal(fn(W, X), reference))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_many_threads_compile_at_once() -> None:
    results: dict[int, Any] = {}

    def work(k: int) -> None:
        results[k] = cr.jit(lambda x: x * k + 1.0, cache=False)(X)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, found in results.items():
        np.testing.assert_array_equal(found, X * k + 1.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_forked_child_calls_and_compiles() -> None:
    fn = cr.grad(loss)
    reference = fn(W, X)
    child = os.fork()
    if child == 0:
        same = np.array_equal(fn(W, X), reference)
        new = np.array_equal(cr.jit(lambda a: a * 3.0)(X), X * 3.0)
        os._exit(0 if same and new else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_function_is_collected_with_its_code() -> None:
    fn = cr.jit(lambda x: x * 2.0)
    fn(X)
    alive = weakref.ref(fn)
    del fn
    gc.collect()
    assert alive() is None
