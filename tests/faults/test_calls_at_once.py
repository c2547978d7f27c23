"""Compiled functions while other things go on: other threads, garbage collection, the end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
import chainrule.numpy as cnp


def at_once(work: Callable[[int], None], count: int = 6) -> list[BaseException]:
    """Run `work(k)` in threads that start together; return what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(count)

    def guarded(k: int) -> None:
        start.wait()
        try:
            work(k)
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return raised


def loss(w: Any, x: Any) -> Any:
    return cnp.sum(cnp.tanh(x @ w) ** 2)


def expected(w: Any, x: Any) -> Any:
    h = np.tanh(x @ w)
    return x.T @ (2 * h * (1 - h**2))


def test_threads_call_one_function_with_other_extents_each() -> None:
    # Below and above the size from which the GIL is released; the scratch memory must fit each.
    fn = cr.jit(cr.grad(loss), dims={"x": ("n", 6)})
    w = np.random.default_rng(0).normal(size=(6, 5))

    def work(k: int) -> None:
        draw = np.random.default_rng(k)
        for n in (0, 1, 3, 40, 900, 7, 20_000, 2):
            x = draw.normal(size=(n, 6))
            np.testing.assert_allclose(fn(w, x), expected(w, x), rtol=1e-9, atol=1e-12)

    assert at_once(work) == []


def test_threads_compile_one_function_at_once_and_only_once_for_each_kind() -> None:
    runs: list[int] = []

    def counted(x: Any) -> Any:
        runs.append(1)
        return x * 2.0

    fn = cr.jit(counted, cache=False)

    def work(k: int) -> None:
        for dtype in (np.float64, np.float32):
            for shape in ((4,), (2, 3)):
                found = fn(np.full(shape, k, dtype))
                assert found.dtype == dtype
                assert (found == 2 * k).all()

    assert at_once(work) == []
    assert len(runs) == len(fn.compilations) == 4


def test_threads_write_into_arrays_of_their_own() -> None:
    fn = cr.jit(lambda x: (x + 1.0, cnp.cumsum(x)), cache=False)
    step = cr.jit(lambda x: x * 0.5 + 1.0, donate_argnames=["x"], cache=False)

    def work(k: int) -> None:
        x, out = np.full(500, float(k)), (np.empty(500), np.empty(500))
        state = np.full(500, float(k))
        for _ in range(50):
            assert fn(x, out=out) is out
            assert (out[0] == k + 1.0).all()
            assert out[1][-1] == 500.0 * k
            assert step(state) is state
        np.testing.assert_allclose(state, 2.0)

    assert at_once(work) == []


def test_a_function_dropped_while_another_thread_is_in_it() -> None:
    source = np.linspace(0.0, 1.0, 50)
    for i in range(3):
        holder = [cr.jit(
            lambda x, i=i: cr.fori_loop(0, 200_000, lambda _, c: cnp.sin(c) + x, x * i),
            cache=False,
        )]  # fmt: skip
        reference = holder[0](source)
        found: list[Any] = []
        entered = threading.Event()

        def work(holder: Any = holder, found: Any = found, entered: Any = entered) -> None:
            entered.set()
            found.append(holder[0](source))

        thread = threading.Thread(target=work)
        thread.start()
        entered.wait(20)
        while thread.is_alive() and sys.getrefcount(holder[0]) < 3:
            pass  # until the call is under way
        holder[0] = None  # type: ignore[call-overload]
        for k in range(4):
            cr.jit(lambda x, k=k: x + k, cache=False)(source)  # code comes and goes meanwhile
        thread.join()
        np.testing.assert_array_equal(found[0], reference)


def test_the_gil_is_released_when_extents_make_a_call_long() -> None:
    fn = cr.jit(cr.grad(loss), dims={"x": ("n", 6)}, cache=False)
    w = np.ones((6, 5))
    for n in (1, 4):
        fn(w, np.ones((n, 6)))

    def first(x: Any) -> str:
        """Say who goes on first: the thread that calls, or one that waits for the GIL."""
        order: list[str] = []
        go = threading.Event()
        thread = threading.Thread(target=lambda: order.append("other") if go.wait() else None)
        thread.start()
        go.set()
        fn(w, x)
        order.append("caller")
        thread.join()
        return order[0]

    before = sys.getswitchinterval()
    # Threads change only where somebody lets go of the GIL.
    sys.setswitchinterval(30.0)
    try:
        assert all(first(np.ones((4, 6))) == "caller" for _ in range(5))
        x = np.ones((1_500_000, 6))
        assert any(first(x) == "other" for _ in range(20))
    finally:
        sys.setswitchinterval(before)


def test_a_loop_of_unknown_length_lets_others_run() -> None:
    done = run("""
        import threading, time
        import chainrule as cr, chainrule.numpy as cnp

        fn = cr.jit(lambda n, v: cr.while_loop(
            lambda c: c[0] < n, lambda c: (c[0] + 1, cnp.sin(c[1])), (0, v))[1])
        fn(3, 0.5)
        threading.Thread(target=fn, args=(10**15, 0.5), daemon=True).start()
        time.sleep(0.5)
        print("alive", flush=True)
    """)
    assert done.stdout == "alive\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_interpreter_ends_while_threads_run_and_compile(seed: int) -> None:
    done = run(f"""
        import threading, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        x = np.ones((64, 64))
        long = cr.jit(lambda n, v: cr.fori_loop(0, n, lambda i, c: cnp.sin(c) + v, v))
        steps = cr.jit(lambda x: cr.fori_loop(0, 2000, lambda i, c: cnp.sin(c @ x), x))
        long(3, 0.5), steps(x)

        def again(call):
            while True:
                call()

        count = iter(range(10**9))
        for call in (
            lambda: long(10**15, 0.5), lambda: steps(x),
            lambda: cr.jit(lambda v: v * float(next(count)), cache=False)(x),
        ):
            threading.Thread(target=again, args=(call,), daemon=True).start()
        time.sleep(0.3 + 0.2 * {seed})
        print("leaving", flush=True)
    """)
    assert done.stdout == "leaving\n"
    assert done.returncode == 0, done.stderr


def test_functions_called_and_dropped_by_what_runs_at_the_end() -> None:
    done = run("""
        import atexit, weakref
        import numpy as np, chainrule as cr

        f = cr.jit(lambda x: x * 2.0)
        g = cr.jit(lambda x: x * 3.0)
        f(1.0)
        atexit.register(lambda: print(float(f(2.0)), float(g(2.0))))

        class Holder:
            def __init__(self): self.f = cr.jit(lambda x: x * 4.0); self.f(1.0)
            def __del__(self): print("end", float(self.f(2.0)))

        kept = Holder()
        kept.me = kept
    """)
    assert done.stdout.splitlines()[0] == "4.0 6.0", done.stderr
    assert done.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_child_forked_while_threads_are_in_compiled_code_calls_the_same_functions() -> None:
    done = run("""
        import os, random, threading, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        def loss(w, x):
            return cnp.sum(cnp.tanh(x @ w) ** 2)

        fn = cr.jit(cr.grad(loss), dims={"x": ("n", 6)})
        w, x = np.ones((6, 5)), np.full((9000, 6), 0.1)
        reference = fn(w, x).copy()
        fn(w, x[:3])

        def work():
            while True:
                fn(w, x), fn(w, x[:3])

        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        codes = []
        for i in range(25):
            time.sleep(random.random() * 0.01)
            child = os.fork()
            if child == 0:
                good = all(np.array_equal(fn(w, x), reference) for _ in range(3))
                os._exit(0 if good else 1)
            codes.append(os.waitpid(child, 0)[1])
        print(codes == [0] * 25, flush=True)
        os._exit(0)
    """)
    assert done.stdout == "True\n", done.stderr


INTERPRETER = """
    import sys
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    lines = [
        "import sys", f"sys.path[:0] = {sys.path!r}", "try:", "    import chainrule",
        "except Exception as error:",
        "    print(type(error).__name__, '|', str(error).splitlines()[0])",
    ]
    program = chr(10).join(lines)
    made = interpreters.create()
    interpreters.run_string(made, program)
    interpreters.destroy(made)
    import chainrule as cr
    print(float(cr.jit(lambda x: x * 2.0)(1.5)))
"""


def test_a_sub_interpreter_is_refused_clearly() -> None:
    done = run(INTERPRETER)
    if "No module named" in done.stderr:
        pytest.skip("no sub-interpreters here")
    lines = done.stdout.splitlines()
    assert lines == [
        "UnsupportedError | chainrule works in the main interpreter of a process alone", "3.0",
    ], done.stderr  # fmt: skip
