"""Ctrl-C during compiled code: long loops stop and raise KeyboardInterrupt, nothing crashes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.emit.look import MOST_TURNS, WORK, turns_between

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

# Each would run for hours.
LOOPS = {
    "a scan": "cr.fori_loop(0, 10**10, lambda i, c: cnp.sin(c @ x), x)",
    "a scan of cheap steps": "cr.fori_loop(0, 10**13, lambda i, c: c * 0.999 + x[0, 0], x[0, 0])",
    "a scan in a scan": """cr.fori_loop(0, 10**9, lambda i, c: cr.fori_loop(
        0, 8, lambda j, d: d * 0.5 + x[0, 0], c), x[0, 0])""",
    "a scan in a branch": "cr.cond(x[0, 0] < 9.0, "
    "lambda: cr.fori_loop(0, 10**10, lambda i, c: cnp.sin(c @ x), x), lambda: x)",
    "a loop with a test": "cr.while_loop(lambda c: c > -1.0, lambda c: c * 0.9 + 1.0, x[0, 0])",
    "a loop that calls back": """cr.fori_loop(0, 10**10, lambda i, c: cr.callback(
        lambda y: y * 1.0, cr.spec(()), c), x[0, 0])""",
    "a long callback": """cr.fori_loop(0, 10**10, lambda i, c: cr.callback(
        lambda y: time.sleep(0.3) or y, cr.spec(()), c), x[0, 0])""",
}
PROGRAM = """
    import os, signal, sys, threading, time
    import numpy as np
    import chainrule as cr, chainrule.numpy as cnp

    if sys.argv[1] == "ctypes":
        import chainrule.api.variant
        chainrule.api.variant.native_calls = lambda: False

    x = np.full((40, 40), 0.01)
    y = np.arange(3.0)
    other = cr.jit(lambda v: cnp.sum(v * 2.0))
    other(y)

    def running(x):
        return LOOP

    threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGINT)).start()
    compiled = cr.jit(running, cache=False)
    for _ in range(2):
        try:
            print("finished", compiled(x))
        except KeyboardInterrupt:
            print("interrupted", float(other(y)), bool((x == 0.01).all()))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        time.sleep(5)  # the last of them
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.share(4)
@pytest.mark.parametrize("route", ["native", "ctypes"])
@pytest.mark.parametrize("name", LOOPS)
def test_an_interrupted_loop_raises_and_can_be_run_again(name: str, route: str) -> None:
    if route == "ctypes" and name not in ("a scan", "a loop with a test"):
        pytest.skip("the same code")
    done = run(PROGRAM.replace("LOOP", LOOPS[name]), route, 3.0, seconds=100.0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["interrupted 6.0 True"] * 2, done.stderr


def test_a_loop_over_strips_stops_and_a_donated_array_stays_an_array() -> None:
    done = run(
        """
        import os, signal, threading, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        def loss(w, x):
            for _ in range(6):
                x = cnp.tanh(x @ w)
            return cnp.mean(x ** 2)

        step = cr.jit(
            lambda w, x: w - 0.1 * cr.grad(loss)(w, x), dims={"x": ("n", 128)},
            donate_argnames=["w"],
        )
        w = np.eye(128, dtype=np.float32)
        row = np.ones((1, 128), np.float32)
        step(w, row)
        assert "for each strip" in step.lower(w, row).as_text("loops")
        x = np.ones((1_500_000, 128), np.float32)
        ended = threading.Event()

        def kill():
            # Until it has: a machine may be slow, or the call quick.
            while not ended.wait(0.4):
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=kill).start()
        try:
            for _ in range(100):
                step(w, x)
        except KeyboardInterrupt:
            ended.set()
            print("interrupted", w.shape, step(w, row) is w)
    """,
        seconds=100.0,
    )
    assert done.stdout.split() == ["interrupted", "(128,", "128)", "True"], done.stderr


def test_other_signals_run_their_handlers_and_the_loop_goes_on() -> None:
    done = run("""
        import signal, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        calls = []
        inner = cr.jit(lambda v: v * 2.0)
        running = cr.jit(lambda n, v: cr.while_loop(
            lambda c: c[0] < n, lambda c: (c[0] + 1, cnp.sin(c[1])), (0, v))[1])

        def handler(*_):
            # A call of the very function that is running, and of another.
            calls.append((float(running(10, 0.5)), float(inner(3.0))))

        inner(1.0)
        expected = float(running(10, 0.5))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        end = time.monotonic() + 2.0
        n = 1000
        while time.monotonic() < end and len(calls) < 3:
            before = len(calls)
            running(n, 0.5)
            n *= 2
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(calls) > 0, set(calls) == {(expected, 6.0)})
    """)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_thread_that_is_not_the_first_runs_on() -> None:
    done = run("""
        import os, signal, threading, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        running = cr.jit(lambda v: cr.fori_loop(0, 3_000_000, lambda i, c: cnp.sin(c) + v, v))
        expected = float(running(0.25))
        found = []
        thread = threading.Thread(target=lambda: found.append(float(running(0.25))))
        try:
            thread.start()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            thread.join()
            print(found == [expected])
    """)
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_by_another_thread_is_interrupted_too() -> None:
    done = run("""
        import os, signal, threading, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        running = cr.jit(lambda n, v: cr.fori_loop(0, n, lambda i, c: cnp.sin(c) + v, v))
        running(3, 0.5)

        def work():
            child = os.fork()
            if child == 0:
                signal.alarm(50)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.3)
                signal.signal(signal.SIGVTALRM, signal.default_int_handler)
                try:
                    running(10**13, 0.5)
                except KeyboardInterrupt:
                    os._exit(7)
                os._exit(8)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """)
    assert done.stdout.split() == ["7"], done.stderr


def test_looks_are_far_apart() -> None:
    assert turns_between(0) == turns_between(1) == MOST_TURNS
    assert turns_between(WORK) == turns_between(10**12) == 1
    for work in (10, 200, 5_000, 70_000):
        turns = turns_between(work)
        assert turns & (turns - 1) == 0
        assert turns == MOST_TURNS or WORK <= turns * work < 2 * WORK


def test_a_loop_that_looks_has_one_branch_more_a_turn() -> None:
    def body(c: Any, y: Any) -> Any:
        return cnp.sin(c) + y, c

    lowered = cr.jit(lambda x: cr.scan(body, 0.0, x)[0]).lower(np.ones(9)).lowered
    plain = lowered.module.text()
    assert "look" not in plain, "what is exported or shown alone asks nobody"
    compiled = cr.jit(lambda x: cr.scan(body, 0.0, x)[0], cache=False)
    compiled(np.ones(9))
    text = compiled.lower(np.ones(9)).as_text("llvm")
    assert text.count("call i64 %") == 1
    assert text.count("\n  br ") - plain.count("\n  br ") <= 7


def test_programs_without_loops_do_not_look() -> None:
    compiled = cr.jit(lambda x: cnp.sum(cnp.sin(x)), cache=False)
    compiled(np.ones(4))
    assert "look" not in compiled.lower(np.ones(4)).as_text("llvm")


@pytest.mark.share(8)
@pytest.mark.parametrize("seed", range(2))
def test_interrupts_at_any_moment_of_compilations_and_calls_do_no_harm(seed: int) -> None:
    done = run(f"""
        import random, signal, sys, time
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp

        random.seed({seed})
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        x = np.linspace(0.0, 1.0, 5)
        kept = cr.jit(cr.grad(lambda v: cnp.sum(cnp.sin(v) * 2.0)), cache=False)
        kept(x)
        sys.unraisablehook = lambda _: None  # one that arrives in a finalizer is printed there
        interrupted = whole = wrong = 0
        end = time.monotonic() + 6.0
        while time.monotonic() < end or not (interrupted and whole):
            c = random.random()
            new = None
            try:
                seconds = random.choice([0.001, 0.02, 0.1, 1.0]) * c + 1e-4
                signal.setitimer(signal.ITIMER_REAL, seconds)
                new = cr.jit(lambda v: cr.fori_loop(0, 20, lambda i, y: y * c + v, v), cache=False)
                found = new(x), kept(x)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
                if new is None:
                    continue
                found = new(x), kept(x)  # the same function, all the same
            else:
                whole += 1
            expected = x
            for _ in range(20):
                expected = expected * c + x
            wrong += not np.allclose(found[0], expected, rtol=1e-12)
            wrong += not np.allclose(found[1], 2.0 * np.cos(x), rtol=1e-12)
        print(wrong, interrupted > 0, whole > 0)
    """)
    assert done.stdout.split() == ["0", "True", "True"], (done.returncode, done.stderr[-4000:])
    assert done.returncode == 0


def test_an_interrupt_at_each_line_of_linking_leaves_llvm_whole() -> None:
    done = run("""
        import sys
        from chainrule.link.jit import object_code
        from chainrule.link.libraries import libraries, load
        from chainrule.link.target import host

        text = "".join(f"define i64 @f{i}() {{\\n  ret i64 {i}\\n}}\\n" for i in range(20))
        left = 0

        def watch(frame, event, _):
            global left
            if "llvmlite" in frame.f_code.co_filename or "link" in frame.f_code.co_filename:
                frame.f_trace_opcodes = True
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return watch

        def work():
            load(object_code(text, host(), level=0), ("f7",))

        sys.unraisablehook = lambda _: None  # one that arrives in a finalizer is printed there
        work()
        interrupted = at = 0
        while True:
            at += 1 + at // 50
            left = at
            sys.settrace(watch)
            try:
                work()
            except KeyboardInterrupt:
                interrupted += 1
            sys.settrace(None)
            if left > 0:
                break
            work()
        print(interrupted > 100, libraries()[0])
    """)
    assert done.stdout.split() == ["True", "0"], (done.returncode, done.stderr[-4000:])


def test_a_trace_that_is_interrupted_anywhere_is_over() -> None:
    done = run("""
        import sys
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp
        from chainrule.frontend.context import is_tracing

        left = 0

        def watch(frame, event, _):
            global left
            if "chainrule" in frame.f_code.co_filename:
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return watch

        def fn(x):
            _, ys = cr.scan(lambda c, y: (c + cr.grad(lambda v: v * v)(y), c), 0.0, x)
            return cr.cond(x[0] > 0.0, lambda v: v, lambda v: v * 2.0, ys)

        x = np.ones(3)
        from chainrule.frontend.trace import trace
        trace(fn, x)
        at = interrupted = wrong = 0
        while True:
            at += 1 + at // 20
            left = at
            sys.settrace(watch)
            try:
                trace(fn, x)
            except KeyboardInterrupt as kept:
                interrupted += 1
                wrong += is_tracing()
            sys.settrace(None)
            wrong += is_tracing()
            if left > 0:
                break
        print(interrupted > 50, wrong)
    """)
    assert done.stdout.split() == ["True", "0"], (done.returncode, done.stderr[-4000:])
