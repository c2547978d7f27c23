"""A process that forks while another thread compiles: the child compiles, or is told why not."""

from __future__ import annotations

import functools
import os
import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
from chainrule.errors import CompileError
from chainrule_runtime import forks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]

# Threads compile without a pause, one of them the same function as the children.
AT_RANDOM = """
    import faulthandler, os, random, sys, threading, time
    import numpy as np
    import chainrule as cr, chainrule.numpy as cnp

    seed, forks = int(sys.argv[1]), int(sys.argv[2])
    random.seed(seed)
    X = np.arange(6.0)
    many = cr.grad(lambda x: cnp.sum(cnp.exp(x) * 3.5))

    def work(k):
        i = 0
        while True:
            i += 1
            c = float(k * 1000 + i)
            cr.jit(lambda x: cnp.sum(cnp.sin(x) * c) + cnp.sum(x * x), cache=False)(X)
            many(np.ones((2,) * (i % 5)))

    for k in range(2):
        threading.Thread(target=work, args=(k,), daemon=True).start()
    # From the first moments on, when modules are still being loaded.
    time.sleep(random.random() * 0.6)
    for n in range(forks):
        time.sleep(random.random() * 0.03)
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(40, exit=True)
            good = np.allclose(many(X), 3.5 * np.exp(X))
            new = cr.jit(lambda x: x * float(n) + 1.0, cache=bool(n % 2))(X)
            pattern = cr.sparse_jacobian(lambda x: x * x)(X)
            os._exit(0 if good and np.allclose(new, X * n + 1) and pattern.shape == (6, 6) else 3)
        print(os.waitpid(child, 0)[1])
    os._exit(0)
"""


@pytest.mark.share(3)
@pytest.mark.parametrize("seed", range(3))
def test_a_child_forked_at_any_moment_of_a_compilation_compiles(seed: int) -> None:
    done = run(AT_RANDOM, seed, 6)
    assert done.stdout.split() == ["0"] * 6, done.stderr[-2000:]


LOADING = """
    import faulthandler, os, sys, threading, time
    import numpy as np
    import chainrule as cr

    X = np.arange(6.0)
    threading.Thread(target=cr.jit(lambda x: x * 2.0, cache=False), args=(X,), daemon=True).start()
    while sys.argv[1] not in sys.modules:
        time.sleep(0.0002)
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(40, exit=True)
        os._exit(0 if (cr.jit(lambda x: x * 3.0, cache=False)(X) == X * 3.0).all() else 3)
    print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize(
    "module", ["chainrule.api.shared", "chainrule.pipeline", "llvmlite.binding.ffi",
               "chainrule.link.libraries", "chainrule.link.interrupts", "chainrule.api.stages"],
)  # fmt: skip
def test_a_child_forked_while_the_compiler_is_being_loaded_compiles(module: str) -> None:
    done = run(LOADING, module)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(100, 160))
def test_forks_at_hundreds_of_moments(seed: int) -> None:
    done = run(AT_RANDOM, seed, 10, seconds=600.0)
    assert done.stdout.split() == ["0"] * 10, done.stderr[-2000:]


def in_child(work: Any) -> int:
    """Return 0 if `work()` returned True in a forked child."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def test_a_function_that_another_thread_is_compiling_compiles_anew_in_the_child() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(x: Any) -> Any:
        inside.set()
        go_on.wait(20)
        return x * 2.0

    fn = cr.jit(slow, cache=False)
    thread = threading.Thread(target=fn, args=(np.ones(3),))
    thread.start()
    inside.wait(20)

    def child() -> bool:
        go_on.set()
        return bool((fn(np.ones(3)) == 2.0).all())

    child_code = in_child(child)
    go_on.set()
    thread.join()
    assert child_code == 0


def test_a_fork_inside_of_a_trace_leaves_both_processes_working() -> None:
    children: list[int] = []

    def forking(x: Any) -> Any:
        children.append(os.fork())
        return x + 1.0

    fn = cr.jit(forking, cache=False)
    good = bool((fn(np.zeros(2)) == 1.0).all())
    if children[0] == 0:
        again = bool((cr.jit(lambda x: x + 2.0, cache=False)(np.zeros(2)) == 2.0).all())
        os._exit(0 if good and again else 1)
    assert good
    assert os.waitpid(children[0], 0)[1] == 0


def test_forks_of_several_threads_at_once() -> None:
    codes: list[int] = []

    def work(k: int) -> None:
        for _ in range(3):
            compiled = cr.jit(lambda x: x * (k + 0.5), cache=False)
            codes.append(in_child(lambda: bool((compiled(np.ones(2)) == k + 0.5).all())))  # noqa: B023

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [0] * 9


def test_a_fork_that_cannot_wait_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.05)
    compiled = cr.jit(lambda x: x * 1.5, cache=False)
    compiled(np.ones(2))
    lock = next(one.lock for one in forks._short if one.rank == 2)
    ready, held, release = threading.Event(), threading.Event(), threading.Event()

    def idle() -> None:
        # What a thread that has compiled leaves behind in the child must wait for no lock.
        cr.jit(lambda x: x * 3.5, cache=False)(np.ones(2))
        ready.set()
        release.wait(20)

    another = threading.Thread(target=idle)
    another.start()
    assert ready.wait(20)

    def hold() -> None:
        with lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)

    def child() -> bool:
        # What is compiled runs and can be dropped; what is not is refused.
        good = bool((compiled(np.ones(2)) == 1.5).all())
        other = cr.jit(lambda x: x * 2.5, cache=False)
        with pytest.raises(CompileError, match="forked while another thread was busy with LLVM"):
            other(np.ones(2))
        return good

    code = in_child(child)
    release.set()
    thread.join()
    another.join()
    assert code == 0
    # The parent is as it was.
    assert (cr.jit(lambda x: x * 2.5, cache=False)(np.ones(2)) == 2.5).all()


def test_the_locks_are_those_in_use() -> None:
    import llvmlite.binding as llvm

    assert [one.rank for one in forks._short] == sorted(one.rank for one in forks._short)
    # llvmlite's own: a version of it without would leave a child hanging.
    (lock,) = [one.lock for one in forks._short if one.rank == 2]
    assert lock is llvm.ffi.lib._lock._lock


def test_properties_computed_once_hold_no_lock() -> None:
    # `functools.cached_property` of Python 3.11 has one lock for all instances of a class.
    from chainrule.differentiate.pattern import identity

    pattern = identity(np.arange(3), 3)
    assert not isinstance(type(pattern).__dict__["lengths"], functools.cached_property)
    assert pattern.lengths is pattern.lengths
    assert pattern.transposed.dense().tolist() == np.eye(3, dtype=bool).tolist()


def test_masked_arrays_are_told_without_loading_them() -> None:
    done = run("""
        import sys
        import numpy as np, chainrule as cr
        f = cr.jit(lambda x: x * 2.0, cache=False)
        f(np.ones(3)), f(np.ones(3)[::-1]), f(1.0)
        assert "numpy.ma" not in sys.modules, "another thread may be loading it when this one forks"
        try:
            f(np.ma.masked_array([1.0, 2.0, 3.0], mask=[0, 1, 0]))
        except TypeError as error:
            print("masked" in str(error))
    """)
    assert done.stdout.split() == ["True"], done.stderr


def test_a_process_started_by_subprocess_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # It runs no Python between fork and exec, and so no handler of ours.
    monkeypatch.setattr(forks, "PATIENCE", 600.0)
    began = time.monotonic()
    lock = next(one.lock for one in forks._short if one.rank == 1)
    with lock:
        assert run("print(1)").stdout == "1\n"
    assert time.monotonic() - began < 600
