"""Native entries: every call they take gives the right result, every other one is passed on."""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.emit.jit import Native, Recorder, load, native, python_kernel, text_with_kernel_at

from chainrule.emit.builder import Module
from chainrule.emit.entry import emit_entry
from chainrule_runtime.abi import DTYPES, Extent, Guard, Leaf, Signature, Tree
from chainrule_runtime.binding import Binding
from chainrule_runtime.errors import ChainruleError
from chainrule_runtime.native_callable import attach, callable_type

F32 = np.float32
N: Extent = ("dim", 0)
M: Extent = ("dim", 1)


def leaf(path: str, *shape: Extent, dtype: str = "float32") -> Leaf:
    return Leaf(path, dtype, shape)


def add(inputs: list[Any], outputs: list[Any]) -> None:
    outputs[0][...] = inputs[0] + inputs[1]


def copy_all(inputs: list[Any], outputs: list[Any]) -> None:
    for source, target in zip(inputs, outputs, strict=True):
        target[...] = source + 1


ADD = Signature(
    "add", (leaf("a", N, 3), leaf("b", N, 3)), ("tuple", (0, 1)), (leaf("y", N, 3),), 0, ("n",)
)
PAIR = Signature(
    "pair", (leaf("a", 8), leaf("b", 8)), ("tuple", (0, 1)),
    (leaf("c", 8), leaf("d", 8)), ("tuple", (0, 1)),
)  # fmt: skip


@pytest.fixture(scope="module")
def plus() -> Any:
    return native(ADD, add)


def is_slow(f: Any, *args: Any, **kwargs: Any) -> bool:
    """Call; tell whether native code passed the call on, exactly as it came."""
    before, ran = len(f.slow), f.record.calls
    result = f(*args, **kwargs)
    if isinstance(result, str):
        assert result == "slow"
        assert len(f.slow) == before + 1
        assert f.record.calls == ran
        got_args, got_kwargs = f.slow[-1]
        assert all(x is y for x, y in zip(got_args, args, strict=True))
        assert got_kwargs.keys() == kwargs.keys()
        assert all(got_kwargs[key] is kwargs[key] for key in kwargs)
        return True
    assert len(f.slow) == before
    assert f.record.calls == ran + 1
    return False


def test_adds_and_allocates(plus: Any) -> None:
    for n in (1, 5, 0, 2):
        a, b = np.full((n, 3), 2, F32), np.ones((n, 3), F32)
        y = plus(a, b)
        assert type(y) is np.ndarray
        assert y.dtype is np.dtype(F32)
        assert y.shape == (n, 3)
        assert y.flags.owndata
        assert y.flags.writeable
        assert (y == 3).all()
        assert plus.record.dims == (n,)
        assert not np.shares_memory(y, a)


def test_writes_into_out_and_returns_it(plus: Any) -> None:
    a, out = np.ones((4, 3), F32), np.zeros((4, 3), F32)
    assert plus(a, a, out=out) is out
    assert (out == 2).all()


class Sub(np.ndarray):
    pass


GOOD = np.ones((4, 3), F32)


def misaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    return memory.view(array.dtype).reshape(array.shape)


BAD: dict[str, Any] = {
    "float64": GOOD.astype(np.float64),
    "int32": GOOD.astype(np.int32),
    "big endian": GOOD.astype(">f4"),
    "rank 1": np.ones(3, F32),
    "rank 3": np.ones((4, 3, 1), F32),
    "rank 0": np.float32(1) * np.ones((), F32),
    "columns": np.ones((4, 2), F32),
    "rows": np.ones((5, 3), F32),
    "transposed": np.ones((3, 4), F32).T,
    "strided": np.ones((8, 3), F32)[::2],
    "reversed": np.ones((4, 3), F32)[::-1],
    "misaligned": misaligned(GOOD),
    "broadcast": np.broadcast_to(np.ones(3, F32), (4, 3)),
    "subclass": GOOD.view(Sub),
    "masked": np.ma.masked_array(GOOD),
    "matrix": GOOD.view(np.matrix),
    "None": None,
    "int": 1,
    "float": 1.0,
    "scalar": np.float32(1),
    "list": GOOD.tolist(),
    "text": "array",
    "dict": {},
    "type": np.ndarray,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_any_other_argument_is_passed_on(plus: Any, bad: Any) -> None:
    assert not is_slow(plus, GOOD, GOOD)
    assert is_slow(plus, GOOD, bad)
    assert is_slow(plus, bad, GOOD)
    assert is_slow(plus, GOOD, GOOD, out=bad)


def test_count_and_keywords_are_checked(plus: Any) -> None:
    out = np.zeros((4, 3), F32)
    assert is_slow(plus)
    assert is_slow(plus, GOOD)
    assert is_slow(plus, GOOD, GOOD, GOOD)
    assert is_slow(plus, GOOD, b=GOOD)
    assert is_slow(plus, GOOD, GOOD, outt=out)
    assert is_slow(plus, GOOD, GOOD, out=out, more=1)
    assert is_slow(plus, GOOD, out=out)
    keywords = {"out": out}
    assert not is_slow(plus, *[GOOD, GOOD], **keywords)


def test_read_only_inputs_are_read_and_read_only_out_is_not_written(plus: Any) -> None:
    locked = GOOD.copy()
    locked.flags.writeable = False
    assert not is_slow(plus, locked, GOOD)
    assert is_slow(plus, GOOD, GOOD, out=locked)


def test_arrays_whose_writing_is_deprecated_are_not_written(plus: Any) -> None:
    lent = np.broadcast_arrays(GOOD.copy(), np.ones((4, 3), F32))[0]
    assert is_slow(plus, GOOD, GOOD, out=lent) or lent.flags.writeable


@pytest.mark.parametrize("shift", range(-13, 14))
def test_out_may_touch_but_not_overlap_an_input(plus: Any, shift: int) -> None:
    memory = np.zeros(40, F32)
    a, out = memory[13:25].reshape(4, 3), memory[13 + shift : 25 + shift].reshape(4, 3)
    assert is_slow(plus, a, GOOD, out=out) == (abs(shift) < 12)
    assert is_slow(plus, GOOD, a, out=out) == (abs(shift) < 12)


def test_all_overlap_patterns_of_two_inputs_and_two_results() -> None:
    f = native(PAIR, copy_all)
    for places in itertools.product(range(4), repeat=4):
        memory = np.zeros(64, F32)
        a, b, c, d = (memory[12 * p : 12 * p + 8] for p in places)
        apart = places[2] != places[3] and not set(places[:2]) & set(places[2:])
        assert is_slow(f, a, b, out=(c, d)) != apart
    memory = np.zeros(64, F32)
    a, c = memory[:8], memory[16:24]
    assert is_slow(f, a, a, out=(c, memory[23:31]))
    assert not is_slow(f, a, a, out=(c, memory[24:32]))


def test_overlap_of_many_results_is_found_in_the_loop() -> None:
    count = 12
    leaves = tuple(leaf(f"x{i}", 4) for i in range(count))
    tree: Tree = ("tuple", tuple(range(count)))
    f = native(Signature("many", leaves, tree, leaves, tree), copy_all)
    memory = np.zeros(4 * 2 * count + 4, F32)
    views = [memory[4 * i : 4 * i + 4] for i in range(2 * count)]
    ins, outs = views[:count], views[count:]
    assert not is_slow(f, *ins, out=tuple(outs))
    assert (memory[4 * count : -4] == 1).all()
    for i, j in itertools.product(range(count), range(2 * count)):
        if j != count + i:
            bad = list(outs)
            bad[i] = views[j]
            assert is_slow(f, *ins, out=tuple(bad))
    bad = [*outs[:-1], memory[4 * 2 * count - 5 : 4 * 2 * count - 1]]
    assert is_slow(f, *ins, out=tuple(bad))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_only_takes_itself(dtype: str) -> None:
    signature = Signature("id", (leaf("x", 3, dtype=dtype),), ("tuple", (0,)),
                          (leaf("y", 3, dtype=dtype),), 0)  # fmt: skip

    def copy(inputs: list[Any], outputs: list[Any]) -> None:
        outputs[0][...] = inputs[0]

    f = native(signature, copy)
    for other in (*DTYPES, "int8", "int16", "complex64"):
        x = np.array([0, 1, 1]).astype(other)
        assert is_slow(f, x) == (other != dtype)
    x = np.array([1, 0, 1]).astype(dtype)
    y = f(x)
    assert y.dtype is np.dtype(dtype)
    assert (y == x).all()


NESTED: Tree = ("tuple", (0, ("dict", ("W", "b"), (1, ("list", (2, ("none",))))),
                          ("tuple", ()), ("dict", (), ())))  # fmt: skip
RESULT: Tree = ("dict", ("W", "b", "none", "empty"),
                (1, ("list", (2, ("tuple", (0,)))), ("none",), ("tuple", ())))  # fmt: skip
DEEP = Signature(
    "deep", (leaf("x", 2), leaf("p['W']", 2), leaf("p['b'][0]", 2)), NESTED,
    (leaf("x", 2), leaf("W", 2), leaf("b", 2)), RESULT,
)  # fmt: skip


@pytest.fixture(scope="module", params=[False, True], ids=["gil", "nogil"])
def deep(request: pytest.FixtureRequest) -> Any:
    return native(DEEP, copy_all, release_gil=request.param)


def test_structures_are_taken_apart_and_built(deep: Any) -> None:
    x, w, b = (np.full(2, i, F32) for i in range(3))
    assert not is_slow(deep, x, {"W": w, "b": [b, None]}, (), {})
    result = deep(x, {"b": [b, None], "W": w}, (), {})  # the order of keys does not matter
    assert type(result) is dict
    assert list(result) == ["W", "b", "none", "empty"]
    assert type(result["b"]) is list
    assert type(result["b"][1]) is tuple
    assert result["none"] is None
    assert result["empty"] == ()
    assert [result["W"][0], result["b"][0][0], result["b"][1][0][0]] == [2, 3, 1]
    assert not gc_sees_a_shared_template(deep, result, (x, {"W": w, "b": [b, None]}, (), {}))


def gc_sees_a_shared_template(f: Any, result: dict[str, Any], args: Any) -> bool:
    """Tell whether changing one result changes the next."""
    result.clear()
    return list(f(*args)) != ["W", "b", "none", "empty"]


class MyDict(dict[str, Any]):
    pass


class MyList(list[Any]):
    pass


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {"W": p["W"]},
        lambda p: {**p, "c": p["W"]},
        lambda p: {"W": p["W"], "c": p["b"]},
        MyDict,
        lambda p: list(p.items()),
        lambda p: {**p, "b": [*p["b"], None]},
        lambda p: {**p, "b": p["b"][:1]},
        lambda p: {**p, "b": tuple(p["b"])},
        lambda p: {**p, "b": MyList(p["b"])},
        lambda p: {**p, "b": [p["b"][0], 0]},
        lambda p: {**p, "b": [None, None]},
        lambda p: {**p, "b": [p["b"][0].astype(np.float64), None]},
        lambda _p: None,
    ],
    ids=["missing", "extra", "renamed", "dict subclass", "not a dict", "longer", "shorter",
         "tuple for list", "list subclass", "not None", "None for array", "dtype", "None"],
)  # fmt: skip
def test_other_structures_are_passed_on(deep: Any, change: Callable[[Any], Any]) -> None:
    x = np.zeros(2, F32)
    params = {"W": x, "b": [x.copy(), None]}
    counts = [sys.getrefcount(x), sys.getrefcount(params["b"])]
    assert is_slow(deep, x, change(params), (), {})
    deep.slow.clear()
    assert [sys.getrefcount(x), sys.getrefcount(params["b"])] == counts
    assert is_slow(deep, x, params, (1,), {})
    assert is_slow(deep, x, params, (), {"a": 1})


def test_out_has_the_structure_of_the_results(deep: Any) -> None:
    x = np.zeros(2, F32)
    args: Any = (x, {"W": x, "b": [x, None]}, (), {})

    def out() -> Any:
        w, b, o = (np.zeros(2, F32) for _ in range(3))
        return {"W": w, "b": [b, (o,)], "none": None, "empty": ()}

    good = out()
    assert deep(*args, out=good) is good
    assert good["W"][0] == good["b"][0][0] == good["b"][1][0][0] == 1
    for key, value in [("W", None), ("b", (1, 2)), ("none", 1), ("empty", (1,)), ("more", 1)]:
        assert is_slow(deep, *args, out={**out(), key: value})
    shared = out()
    shared["W"] = shared["b"][0]
    assert is_slow(deep, *args, out=shared)
    assert is_slow(deep, *args, out=(1, 2, 3))


class Hostile:
    """A key that equals "b" and empties the dict when asked."""

    def __init__(self, target: dict[Any, Any], *, fail: bool) -> None:
        self.target, self.fail = target, fail

    def __hash__(self) -> int:
        return hash("b")

    def __eq__(self, other: object) -> bool:
        if self.fail:
            raise RuntimeError("no")
        self.target.clear()
        return True


@pytest.mark.parametrize("fail", [False, True])
def test_keys_that_run_code_do_no_harm(deep: Any, fail: bool) -> None:
    x = np.zeros(2, F32)
    for _ in range(100):
        params: dict[Any, Any] = {"W": np.zeros(2, F32)}
        params[Hostile(params, fail=fail)] = [np.zeros(2, F32), None]
        deep(x, params, (), {})
    deep.slow.clear()


SQUARE = Signature(
    "square", (leaf("a", N, M), leaf("b", M), leaf("c", ("add", N, ("mul", 2, M)))),
    ("tuple", (0, 1, 2)), (leaf("y", ("sub", N, M), ("floordiv", N, 2)), leaf("z")),
    ("list", (0, 1)), ("n", "m"),
    (Guard("ge", N, M, "n >= m"), Guard("divides", 2, N, "n is even"),
     Guard("eq", ("mod", M, 3), ("min", 1, ("max", 1, 0)), "m % 3 == 1")),
    arena=("mul", 8, N),
)  # fmt: skip


def test_dims_are_bound_and_checked_and_guards_hold() -> None:
    f = native(SQUARE, lambda _inputs, outputs: [o.fill(7) for o in outputs] and None)

    def slow(n: int, m: int, *, b: int = 0, c: int = 0) -> bool:
        arrays = [np.ones(s, F32) for s in ((n, m), (m + b,), (n + 2 * m + c,))]
        return is_slow(f, *arrays)

    for n, m in itertools.product(range(9), range(9)):
        assert slow(n, m) == (not (n >= m and n % 2 == 0 and m % 3 == 1))
    assert f.record.dims == (8, 7)
    assert slow(8, 4, b=1)
    assert slow(8, 4, c=-1)
    y, z = f(np.ones((8, 4), F32), np.ones(4, F32), np.ones(16, F32))
    assert y.shape == (4, 4)
    assert z.shape == ()
    assert type(z) is np.ndarray
    assert f.record.arena % 64 == 0


@pytest.mark.parametrize(
    ("extent", "huge"),
    [(("mul", N, N), 2**33), (("mul", 4, N), 2**62), (("add", N, N), 2**62), (("sub", 3, N), 4)],
    ids=["square", "times", "sum", "negative"],
)
def test_extents_that_fit_no_array_are_passed_on(extent: Extent, huge: int) -> None:
    signature = Signature("huge", (leaf("x", N, 0, dtype="uint8"),), ("tuple", (0,)),
                          (leaf("y", extent),), 0, ("n",))  # fmt: skip
    f = native(signature, lambda _i, _o: None)
    assert is_slow(f, np.empty((huge, 0), np.uint8))
    assert f(np.empty((0, 0), np.uint8)).shape in {(0,), (3,)}


def test_results_too_big_for_memory_raise() -> None:
    signature = Signature("big", (leaf("x", N, 0),), ("tuple", (0,)),
                          (leaf("w", 2), leaf("y", N)), ("tuple", (0, 1)), ("n",))  # fmt: skip
    f = native(signature, lambda _i, _o: None)
    for n in (2**46, 2**60, 2**62):
        with pytest.raises((MemoryError, ValueError)):
            f(np.empty((n, 0), F32))
    assert f.record.calls == 0


def test_scratch_too_big_for_memory_raises() -> None:
    signature = Signature("big", (leaf("x", N, 0, dtype="uint8"),), ("tuple", (0,)),
                          (leaf("y", 2),), 0, ("n",), arena=("mul", 2, N))  # fmt: skip
    f = native(signature, lambda _i, _o: None)
    for n in (2**46, 2**60, 2**61):
        with pytest.raises(MemoryError):
            f(np.empty((n, 0), np.uint8))
    assert is_slow(f, np.empty((2**62, 0), np.uint8))
    assert f.record.calls == 0
    for n in (10, 1000, 10, 100_000, 0):
        f(np.empty((n, 0), np.uint8))
        assert f.record.arena % 64 == 0
    assert f.record.calls == 5


DONATING = Signature(
    "update", (leaf("p", 4), leaf("g", 4), leaf("q", 4)),
    ("tuple", (("dict", ("p", "q"), (0, 2)), 1)),
    (leaf("q", 4), leaf("y", 4), leaf("p", 4)), ("tuple", (("list", (0,)), 1, 2)),
    donated=((0, 2), (2, 0)),
)  # fmt: skip


def update(inputs: list[Any], outputs: list[Any]) -> None:
    p, g, q = (x.copy() for x in inputs)
    outputs[2][...] = p + g
    outputs[0][...] = q - g
    outputs[1][...] = p + q


def test_donated_arrays_come_back_updated() -> None:
    f = native(DONATING, update)
    p, g, q = (np.full(4, i, F32) for i in (1, 10, 5))
    (new_q,), y, new_p = f({"p": p, "q": q}, g)
    assert new_p is p
    assert new_q is q
    assert (p[0], q[0], y[0]) == (11, -5, 6)
    out = ([q], np.zeros(4, F32), p)
    assert f({"p": p, "q": q}, g, out=out) is out
    assert (p[0], q[0], out[1][0]) == (21, -15, 6)
    assert is_slow(f, {"p": p, "q": q}, g, out=([q.copy()], y, p))
    assert is_slow(f, {"p": p, "q": q}, g, out=([p], y, q))
    assert is_slow(f, {"p": p, "q": q}, g, out=([q], p, p))
    assert is_slow(f, {"p": p, "q": q}, g, out=([q], g, p))


def test_donated_arrays_must_be_writeable_and_alone() -> None:
    f = native(DONATING, update)
    memory = np.zeros(24, F32)
    p, q, g = memory[:4], memory[4:8], memory[8:12]
    locked = np.zeros(4, F32)
    locked.flags.writeable = False
    assert not is_slow(f, {"p": p, "q": q}, g)
    assert not is_slow(f, {"p": p, "q": q}, locked)
    assert is_slow(f, {"p": locked, "q": q}, g)
    assert is_slow(f, {"p": p, "q": locked}, g)
    assert is_slow(f, {"p": p, "q": p}, g)
    assert is_slow(f, {"p": p, "q": q}, p)
    assert is_slow(f, {"p": p, "q": memory[3:7]}, g)
    assert is_slow(f, {"p": p, "q": q}, memory[7:11])
    assert is_slow(f, {"p": memory[:8:2], "q": q}, g)


@pytest.mark.parametrize("release_gil", [False, True])
def test_error_codes_raise_their_message(release_gil: bool) -> None:
    f = native(ADD, lambda _i, _o: 2, release_gil=release_gil, messages=("one", "two is bad"))
    out = np.zeros((4, 3), F32)
    with pytest.raises(ChainruleError, match=r"add\(\) failed while it ran\n  two is bad"):
        f(GOOD, GOOD)
    with pytest.raises(ChainruleError, match="two is bad"):
        f(GOOD, GOOD, out=out)
    g = native(ADD, lambda _i, _o: 9)
    with pytest.raises(ChainruleError, match="error code 9"):
        g(GOOD, GOOD)


class Refusing(Recorder):
    def _call_slowly(self, *_args: Any, **_kwargs: Any) -> Any:
        raise LookupError("from the slow path")


def test_exceptions_of_the_slow_path_propagate() -> None:
    f = native(ADD, add, cls=callable_type(Refusing))
    with pytest.raises(LookupError, match="from the slow path"):
        f(GOOD)
    assert f(GOOD, GOOD)[0, 0] == 2


def test_variants_are_tried_one_after_the_other() -> None:
    f = native(ADD, add)
    wide = Signature("wide", (leaf("x", N, dtype="float64"),), ("tuple", (0,)),
                     (leaf("y", N, dtype="float64"),), 0, ("n",))  # fmt: skip
    text = Signature("ints", (leaf("x", N, dtype="int64"),), ("tuple", (0,)),
                     (leaf("y", N, dtype="int64"),), 0, ("n",))  # fmt: skip
    second, third = native(wide, copy_all), native(text, copy_all)
    assert f(np.ones(3)) == "slow"
    f.binding.chain(second.binding)
    second.binding.chain(third.binding)
    assert f(GOOD, GOOD)[0, 0] == 2
    assert f(np.ones(3))[0] == 2.0
    assert f(np.ones(3, np.int64)).dtype == np.int64
    assert f(np.ones(3, np.int32)) == "slow"
    assert f.slow[-1][0][0].dtype == np.int32
    assert not second.slow
    with pytest.raises(AssertionError):
        third.binding.chain(f.binding)
    f.binding.chain(None)
    assert f(np.ones(3)) == "slow"


def test_the_kernel_may_be_bound_by_address() -> None:
    record = Recorder()
    kernel = python_kernel(ADD, add, record)
    module = Module()
    emit_entry(module, ADD, None, "entry", release_gil=True)
    assert "inttoptr" not in module.text()
    addresses, tracker = load(module.text(), ["entry", "entry_bind"])
    binding = Binding(
        ADD, addresses["entry"], addresses["entry_bind"], code=(tracker, kernel),
        kernel=ctypes.cast(kernel, ctypes.c_void_p).value,
    )  # fmt: skip
    f = Native()
    attach(f, binding.entry, binding)
    assert f(GOOD, GOOD)[3, 2] == 2
    assert record.dims == (4,)


def test_no_arguments_and_no_results() -> None:
    nothing = native(Signature("f", (), ("tuple", ()), (), ("none",)), lambda _i, _o: None)
    assert nothing() is None
    assert nothing(1) == "slow"
    signature = Signature("f", (), ("tuple", ()), (leaf("y"),), 0)
    constant = native(signature, lambda _i, o: o[0].fill(3))
    assert constant() == 3
    out = np.zeros((), F32)
    assert constant(out=out) is out
    assert out == 3


def test_keys_need_not_be_text() -> None:
    tree: Tree = ("dict", (1, "1", -2), (0, 1, 2))
    leaves = tuple(leaf(f"x{i}", 2) for i in range(3))
    f = native(Signature("f", leaves, ("tuple", (tree,)), leaves, tree), copy_all)
    result = f({-2: np.full(2, 3, F32), 1: np.full(2, 1, F32), "1": np.full(2, 2, F32)})
    assert {key: value[0] for key, value in result.items()} == {1: 2, "1": 3, -2: 4}


@pytest.mark.broad
def test_deep_nesting_needs_no_recursion() -> None:
    tree: Tree = 0
    value: Any = np.zeros(2, F32)
    for _ in range(2000):
        tree, value = ("tuple", (tree,)), (value,)
    signature = Signature("f", (leaf("x", 2),), ("tuple", (tree,)), (leaf("y", 2),), tree)
    result = native(signature, copy_all)(value)
    for _ in range(2000):
        (result,) = result
    assert result[0] == 1


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (Signature("f", (leaf("x", 2),), ("tuple", (("custom", 0),)), (), ("none",)), "flat"),
        (Signature("f", (leaf("x", 2),), ("tuple", (0, 0)), (), ("none",)), "once"),
        (Signature("f", (), ("tuple", ()), (leaf("y", 2),), ("none",)), "once"),
        (Signature("f", (leaf("x", ("mul", 2, N)),), ("tuple", (0,)), (), 0, ("n",)), "once"),
        (
            Signature("f", (leaf("x", ("mul", 2, N)),), ("tuple", (0,)), (), ("none",), ("n",)),
            "nothing tells",
        ),
    ],
)
def test_signatures_that_cannot_be_emitted_are_refused(signature: Signature, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        emit_entry(Module(), signature, "kernel", "entry", release_gil=False)


def test_the_text_names_no_address_and_does_not_change() -> None:
    text = text_with_kernel_at(DEEP, 0)
    assert text == text_with_kernel_at(DEEP, 0)
    assert text.count("inttoptr") == 1  # the test's own kernel
    assert Native.__name__ == "Recorder"
