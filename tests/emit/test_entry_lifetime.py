"""Native entries over time: references, memory, threads, garbage collection, fork."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.emit.jit import Native, bound, native

from chainrule.emit.builder import F32, I64, PTR, Builder, Module, Value
from chainrule.emit.entry import emit_entry
from chainrule_runtime.abi import Extent, Leaf, Signature, Tree
from chainrule_runtime.errors import ChainruleError
from chainrule_runtime.native_callable import attach, attached, detach

N: Extent = ("dim", 0)
TREE: Tree = ("dict", ("W", "b"), (0, ("list", (1, ("none",), ("tuple", (2,))))))


def signature(arena: Extent = 0) -> Signature:
    leaves = tuple(Leaf(name, "float32", (N,)) for name in "Wbc")
    return Signature("f", leaves, ("tuple", (TREE,)), leaves, TREE, ("n",), arena=arena)


def through_scratch(*, release_gil: bool, arena: Extent = ("mul", 4, N)) -> Any:
    """Return a native function that adds one to every array, by way of its scratch memory."""
    module = Module()
    b, (inputs, outputs, scratch, dims) = module.function(
        "kernel", I64, [(PTR, "inputs"), (PTR, "outputs"), (PTR, "arena"), (PTR, "dims")]
    )
    n = b.load(I64, dims)
    for i in range(3):
        source, target = (b.load(PTR, b.offset(table, 8 * i)) for table in (inputs, outputs))
        _add(b, n, source, scratch, 0.5)
        _add(b, n, scratch, target, 0.5)
    b.ret(b.const(I64, 0))
    b.close()
    emit_entry(module, signature(arena), "kernel", "entry", release_gil)
    binding = bound(signature(arena), module.text())
    made = Native()
    made.binding = binding
    assert attach(made, binding.entry, binding)
    return made


def _add(b: Builder, n: Value, source: Value, target: Value, number: float) -> None:
    def body(i: Value, _carried: list[Value]) -> None:
        at = b.mul(i, 4)
        total = b.fadd(b.load(F32, b.offset(source, at)), b.const(F32, number))
        b.store(total, b.offset(target, at))

    b.loop(0, n, body=body)


def params(n: int, start: float = 0) -> Any:
    w, b, c = (np.full(n, start + i, np.float32) for i in range(3))
    return {"W": w, "b": [b, None, (c,)]}


def arrays_of(tree: Any) -> list[Any]:
    return [tree["W"], tree["b"][0], tree["b"][2][0]]


def held_by(function: Any, things: list[Any], calls: int = 10_000) -> list[int]:
    """Return by how much the reference counts of things grow in many calls."""
    before = [sys.getrefcount(thing) for thing in things]
    for _ in range(calls):
        function()
    after = [sys.getrefcount(thing) for thing in things]
    return [new - old for new, old in zip(after, before, strict=True)]


@pytest.mark.parametrize("release_gil", [False, True])
def test_reference_counts_stay_balanced(release_gil: bool) -> None:
    f = through_scratch(release_gil=release_gil)
    f._call_slowly = lambda *_args, **_kwargs: None
    p, out = params(4), params(4)
    bad_values = [
        {"W": p["W"]}, {"W": p["W"], "b": [p["b"][0], None, (p["W"].astype("f8"),)]},
        {"W": p["W"], "b": [p["b"][0], None, 0]}, {"W": p["W"], "b": 0},
    ]  # fmt: skip
    bad_outs = [{"W": out["W"], "b": [out["b"][0], None, 1]}, {**out, "W": out["b"][0]}, params(3)]

    def everything() -> None:
        f(p)
        f(p, out=out)
        f()
        for bad in bad_values:
            f(bad)
        for bad in bad_outs:
            f(p, out=bad)

    everything()
    things = [
        *arrays_of(p), *arrays_of(out), p, out, p["b"], out["b"], p["b"][2], out["b"][2], f,
        np.dtype("float32"), np.ndarray, dict, list, tuple, bad_values, bad_values[1]["b"],
        f.binding._failed, *f.binding._kept.values(),
    ]  # fmt: skip
    things = [t for t in things if t is not None and not isinstance(t, str)]
    assert held_by(everything, things) == [0] * len(things)


def test_failing_calls_keep_nothing() -> None:
    f = native(signature(), lambda _i, _o: 1)
    p, out = params(4), params(4)

    def fail() -> None:
        for kwargs in ({}, {"out": out}):
            try:
                f(p, **kwargs)
            except ChainruleError as error:
                error.__traceback__ = None

    fail()
    things = [*arrays_of(p), *arrays_of(out), p, out, p["b"], out["b"], np.dtype("float32")]
    assert held_by(fail, things, 500) == [0] * len(things)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_calls_do_not_leak_memory() -> None:
    f = through_scratch(release_gil=True)
    p, out = params(50), params(50)
    for _ in range(2_000):
        f(p), f(p, out=out), f(1)
        f.slow.clear()
    gc.collect()
    before = resident()
    for _ in range(20_000):
        f(p), f(p, out=out), f(1)
        f.slow.clear()
    gc.collect()
    assert resident() - before < 1 << 20


def test_the_arena_is_freed_with_its_binding() -> None:
    tracemalloc.start()
    try:
        f = through_scratch(release_gil=True)
        p = params(100_000)
        f(params(1000)), f(p), f(params(10))
        with_arena = tracemalloc.get_traced_memory()[0]
        del f
        gc.collect()
        assert with_arena - tracemalloc.get_traced_memory()[0] > 400_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("release_gil", [False, True])
def test_sixteen_threads_at_once(release_gil: bool) -> None:
    f = through_scratch(release_gil=release_gil)
    wrong: list[float] = []
    barrier = threading.Barrier(16)

    def work(seed: int) -> None:
        p = params(200 + 100 * seed, seed)
        out = params(200 + 100 * seed)
        barrier.wait()
        for i in range(150):
            result = f(p, out=out) if i % 2 else f(p)
            wrong.extend(
                seed for x, y in zip(arrays_of(p), arrays_of(result), strict=True)
                if not (y == x + 1).all()
            )  # fmt: skip

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not f.slow


def test_arguments_survive_being_dropped_by_another_thread() -> None:
    inside, emptied = threading.Event(), threading.Event()

    def kernel(inputs: list[Any], outputs: list[Any]) -> None:
        inside.set()
        assert emptied.wait(5)
        junk = [np.full(1000, 9, np.float32) for _ in range(50)]  # would reuse freed memory
        for source, target in zip(inputs, outputs, strict=True):
            target[...] = source + 1
        del junk

    f = native(signature(), kernel, release_gil=True)
    p, out = params(1000), params(1000)

    def empty() -> None:
        assert inside.wait(5)
        for tree in (p, out):
            tree["b"].clear()
            tree.clear()
        emptied.set()

    thread = threading.Thread(target=empty)
    thread.start()
    assert f(p, out=out) is out
    thread.join()


def test_results_never_alias_inputs_or_each_other() -> None:
    f = through_scratch(release_gil=False)
    p = params(64)
    results = [arrays_of(f(p)) for _ in range(20)]
    everything = [*arrays_of(p), *(a for arrays in results for a in arrays)]
    for i, a in enumerate(everything):
        for b in everything[i + 1 :]:
            assert not np.may_share_memory(a, b)


def test_the_callable_is_collected_and_keeps_its_code_until_then() -> None:
    f = through_scratch(release_gil=False)
    f.me = f
    binding, ref = weakref.ref(f.binding), weakref.ref(f)
    del f.binding
    gc.collect()
    p = params(3)
    assert f(p)["W"][0] == 1
    assert binding() is not None
    del f
    gc.collect()
    assert ref() is None
    assert binding() is None


def test_an_owner_that_refers_back_is_collected() -> None:
    f = through_scratch(release_gil=False)
    ref = weakref.ref(f)
    f.binding._kept["back"] = f
    del f
    gc.collect()
    assert ref() is None


def test_detached_and_attached_again() -> None:
    f = through_scratch(release_gil=False)
    p = params(3)
    assert attached(f) == f.binding.entry
    detach(f)
    assert attached(f) is None
    assert f(p) == "slow"
    attach(f, f.binding.entry, f.binding)
    assert f(p)["W"][0] == 1


def test_a_result_outlives_its_function() -> None:
    f = through_scratch(release_gil=False)
    result = f(params(5))
    del f
    gc.collect()
    assert (result["W"] == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_calls_work_after_fork() -> None:
    f = through_scratch(release_gil=True)
    p = params(100)
    f(p)
    child = os.fork()
    if not child:
        good = all((y == x + 1).all() for x, y in zip(arrays_of(p), arrays_of(f(p)), strict=True))
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert f(p)["W"][0] == 1


def test_the_rounding_and_flush_modes_are_left_alone() -> None:
    tiny = ctypes.c_float(1e-40).value
    through_scratch(release_gil=False)(params(3))
    assert np.float32(tiny) * np.float32(1) != 0
