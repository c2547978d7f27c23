"""Functions compiled and freed leave nothing behind: no library, no mapping, no object."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.link import libraries as linking
from chainrule.link.jit import object_code
from chainrule.link.libraries import UNLOADED, libraries, load
from chainrule.link.target import host

X = np.arange(5.0)


def settled() -> tuple[int, int]:
    gc.collect()
    return libraries()


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text(encoding="ascii").splitlines())


def tiny(number: int) -> bytes:
    return object_code(f"define i64 @f() {{\n  ret i64 {number}\n}}\n", host(), level=0)


KINDS: dict[str, Callable[[int], Any]] = {
    "other numbers": lambda i: cr.jit(lambda x: cnp.sin(x) * (i + 0.5), cache=False)(X),
    "other shapes": lambda i: cr.jit(lambda x: cnp.sin(x) * 2.0, cache=False)(np.ones(i % 50 + 1)),
    "the same function": lambda i: cr.jit(lambda x: cnp.sin(x) * 3.0, cache=False)(X),
    "two signatures": lambda i: [f := cr.jit(lambda x: x * (i + 1.0), cache=False), f(X), f(X[:2])],
    "dicts": lambda i: cr.jit(lambda d: {"s": cnp.sum(d["x"]) * i}, cache=False)({"x": X}),
    "loops": lambda i: cr.jit(
        lambda x: cr.scan(lambda c, y: (c + y * i, c), 0.0, x), cache=False
    )(X),
    "captured arrays": lambda i: cr.jit(lambda x: x + np.full(5, i + 0.5), cache=False)(X),
}  # fmt: skip


@pytest.mark.share(4)
@pytest.mark.parametrize("name", KINDS)
def test_functions_compiled_and_freed_leave_no_library(name: str) -> None:
    make = KINDS[name]
    for i in range(3):
        make(i)
    loaded, _ = settled()
    for i in range(12):
        make(i + 10)
    again, linkers = settled()
    assert again == loaded, "every library was unloaded"
    # Each linker but the last still has something loaded.
    assert linkers <= loaded + 1


def test_a_fresh_derivative_of_the_same_program_makes_nothing() -> None:
    def step(scale: float) -> Any:
        return cr.grad(lambda x: cnp.sum(cnp.sin(x)) * scale)(X)

    for _ in range(3):
        step(2.0)
    before, objects = settled(), len(gc.get_objects())
    maps = mappings() if os.path.exists("/proc/self/maps") else 0  # noqa: PTH110
    for _ in range(200):
        step(2.0)
    assert settled() == before
    assert len(gc.get_objects()) - objects < 50
    if maps:
        assert mappings() - maps < 20


def test_linkers_are_given_up_with_what_they_keep() -> None:
    code = tiny(1)
    _, linkers = settled()
    for _ in range(10 * UNLOADED):
        load(code, ("f",))
        # Those of other functions stay; here one is in use while another is given up.
        assert libraries()[1] <= linkers + 2
    # One library that stays keeps its linker and no other.
    kept = load(code, ("f",))
    _, linkers = settled()
    for _ in range(10 * UNLOADED):
        load(code, ("f",))
    assert libraries()[1] <= linkers + 1
    assert kept.addresses["f"]


def test_libraries_of_many_functions_share_linkers() -> None:
    codes = [tiny(i) for i in range(4)]
    _, linkers = settled()
    kept = [load(codes[i % 4], ("f",)) for i in range(100)]
    assert libraries()[1] <= linkers + 1
    del kept


@pytest.mark.broad
def test_equal_code_is_loaded_once() -> None:
    code = tiny(7)
    first = load(code, ("f",), shared=True)
    loaded, _ = settled()
    assert load(code, ("f",), shared=True) is first
    assert load(tiny(8), ("f",), shared=True) is not first
    assert load(code, ("f",)) is not first, "what keeps a state of its own is not shared"
    assert settled()[0] == loaded
    # Two functions of one program: two entries, one kernel.
    fs = [cr.jit(lambda x: x * 4.25 + 1.0, cache=False) for _ in range(2)]
    before, _ = settled()
    fs[0](X)
    one, _ = settled()
    fs[1](X)
    assert settled()[0] - one == one - before - 1


@pytest.mark.broad
def test_functions_freed_in_any_thread_and_in_cycles() -> None:
    def cycle(i: int) -> None:
        fn = cr.jit(lambda x: x * (i + 0.25), cache=False)
        fn(X)
        holder: dict[str, Any] = {"fn": fn}
        holder["self"] = holder

    def work() -> None:
        for i in range(6):
            cycle(i)
            gc.collect()

    cycle(0)
    before, _ = settled()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert settled()[0] == before


def test_dropping_a_function_does_not_wait_for_a_compilation() -> None:
    fn = cr.jit(lambda x: x * 9.5, cache=False)
    fn(X)
    before, _ = settled()
    held, release = threading.Event(), threading.Event()

    def compiling() -> None:
        with linking._LINKING, linking._CALLING:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=compiling)
    thread.start()
    held.wait(20)
    del fn
    gc.collect()  # would hang for as long as the other thread is in LLVM
    assert len(linking._garbage) > 0
    release.set()
    thread.join()
    assert settled()[0] < before


CYCLES = """
    import gc, sys
    import numpy as np, chainrule as cr, chainrule.numpy as cnp
    from chainrule.link.libraries import libraries

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * 4

    def cycle(i):
        cr.jit(lambda x: cnp.sin(x) * (i + 0.5), cache=False)(X)

    X, count = np.arange(5.0), int(sys.argv[1])
    for i in range(100):
        cycle(i)
    gc.collect()
    first, objects = resident(), len(gc.get_objects())
    for i in range(count):
        cycle(i + 1000)
    gc.collect()
    print((resident() - first) * 1024 / count, len(gc.get_objects()) - objects, *libraries())
"""
ON_LINUX = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")  # noqa: PTH110


@ON_LINUX
@pytest.mark.parametrize(
    ("count", "most"),
    [
        pytest.param(100, 8192, marks=pytest.mark.broad),
        pytest.param(20_000, 64, marks=pytest.mark.exhaustive),
    ],
)
def test_memory_is_flat_over_cycles_of_compiling_and_freeing(count: int, most: int) -> None:
    done = run(CYCLES, count, seconds=7200.0)
    nbytes, objects, loaded, linkers = map(float, done.stdout.split())
    assert nbytes < most, f"{nbytes} bytes stay of each function; 25,000 when each left its library"
    assert objects < 50
    assert (loaded, linkers) == (0, 1)


@ON_LINUX
def test_captured_arrays_do_not_stay_in_llvm() -> None:
    # A megabyte each: LLVM keeps constants in the context of their module.
    done = run("""
        import ctypes, gc
        import numpy as np, chainrule as cr

        def resident():
            ctypes.CDLL(None).malloc_trim(0)  # what is free already does not count
            return int(open("/proc/self/statm").read().split()[1]) * 4

        def cycle(i):
            table = np.arange(131_072.0) + i
            cr.jit(lambda x: x + table, cache=False)(table)

        for i in range(4):
            cycle(i)
        gc.collect()
        first = resident()
        for i in range(24):
            cycle(i + 10)
        gc.collect()
        print(resident() - first)
    """)
    assert float(done.stdout) < 12 * 1024, "kB; 24 MB when each table stayed"


def test_a_function_at_the_end_of_the_process_says_nothing() -> None:
    done = run("""
        import numpy as np
        import chainrule as cr
        kept = cr.jit(lambda x: cr.scan(lambda c, y: (c + y, c * y), 0.0, x))
        print(kept(np.ones(3))[0])
    """)
    assert (done.stdout, done.stderr, done.returncode) == ("3.0\n", "", 0)
