"""Native entries of named tuples, dataclasses and Python numbers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, make_dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pytest
from tests.emit.jit import native
from tests.emit.test_entry import Sub, copy_all, is_slow, leaf
from tests.emit.test_entry_lifetime import held_by

from chainrule.frontend.pytree import tree_flatten
from chainrule.frontend.records import records
from chainrule_runtime.abi import Leaf, Signature, has_custom
from chainrule_runtime.binding import Record

F32 = np.float32


class Pair(NamedTuple):
    a: Any
    b: Any


class SubPair(Pair):
    pass


class Refusing(Pair):
    """Refuses None, which a builder gives it."""

    def __new__(cls, a: Any, b: Any) -> Self:
        if b is None:
            raise LookupError("no b")
        return super().__new__(cls, a, b)


@dataclass
class Plain:
    W: Any
    b: Any = None
    size: Any = field(default=3, metadata={"static": True})

    def __post_init__(self) -> None:
        self.made_by_init = True


@dataclass(frozen=True)
class Frozen:
    W: Any
    b: Any = None
    size: Any = field(default=3, metadata={"static": True})


@dataclass(slots=True)
class Slotted:
    W: Any
    b: Any = None
    size: Any = field(default=3, metadata={"static": True})


@dataclass(frozen=True, slots=True)
class Both:
    W: Any
    b: Any = None
    size: Any = field(default=3, metadata={"static": True})


class SubPlain(Plain):
    pass


CLASSES = [Plain, Frozen, Slotted, Both]


def array(number: float = 0) -> np.ndarray:
    return np.full(2, number, F32)


def identity(value: Any, *, result: Any = None, release_gil: bool = False) -> Any:
    """Return a native function that adds one to every leaf of a value like this one."""
    leaves, tree = tree_flatten((value,))
    _, out = tree_flatten(value if result is None else result)
    same = tuple(leaf(f"x{i}", 2) for i in range(len(leaves)))
    signature = Signature("f", same, tree.to_runtime(), same, out.to_runtime())
    assert not has_custom(signature.input_tree)
    assert Signature.from_json(signature.to_json()) == signature
    return native(
        signature, copy_all, release_gil=release_gil, records=[*records(tree), *records(out)]
    )


@pytest.mark.parametrize("release_gil", [False, True])
def test_named_tuples_are_taken_apart_and_built(release_gil: bool) -> None:
    value = Pair(array(1), {"x": Pair(array(2), None), "y": [Pair(array(3), (array(4),))]})
    f = identity(value, release_gil=release_gil)
    assert not is_slow(f, value)
    result = f(value)
    assert type(result) is Pair
    assert type(result.b["x"]) is Pair
    assert result.b["x"].b is None
    inner = result.b["y"][0]
    got = [result.a, result.b["x"].a, inner.a, inner.b[0]]
    assert [x[0] for x in got] == [2, 3, 4, 5]
    assert f(value, out=result) is result
    assert result.b["y"][0].a[0] == 4
    for bad in (tuple(value), SubPair(*value), [*value], None, value._replace(a=array()[:1]),
                value._replace(b={"x": None, "y": value.b["y"]})):  # fmt: skip
        assert is_slow(f, bad)
        assert is_slow(f, value, out=bad)
    malformed = tuple.__new__(Pair, (array(),))
    assert is_slow(f, malformed)
    assert is_slow(f, value, out=malformed)


@pytest.mark.parametrize("cls", CLASSES)
def test_dataclasses_are_taken_apart_and_built(cls: Any) -> None:
    value = cls(array(1), cls([array(2), None], array(3), "inner"), "outer")
    f = identity(value)
    assert not is_slow(f, value)
    result = f(value)
    assert type(result) is cls
    assert not hasattr(result, "made_by_init")
    assert (result.size, result.b.size) == ("outer", "inner")
    assert [x[0] for x in (result.W, result.b.W[0], result.b.b)] == [2, 3, 4]
    assert f(value, out=result) is result
    inner = value.b
    for bad in (
        cls(value.W, inner, "other"), cls(value.W, inner, None), cls(value.W, inner, 1),
        cls(value.W, cls(inner.W, inner.b, "outer"), "outer"), cls(value.W, None, "outer"),
        cls(value.W, inner.W, "outer"), None, {"W": value.W, "b": inner}, SubPlain(value.W, inner),
        cls(value.W.view(Sub), inner, "outer"), cls,
    ):  # fmt: skip
        assert is_slow(f, bad)
        assert is_slow(f, value, out=bad)
    # Equal though not the same object.
    assert not is_slow(f, cls(value.W, inner, "-outer"[1:]))


def test_a_field_that_is_not_set_or_deleted_is_passed_on() -> None:
    value = Plain(array(), array())
    f = identity(value)
    bare = object.__new__(Slotted)
    assert is_slow(identity(Slotted(array(), array())), bare)
    del value.W
    assert is_slow(f, value)


class Odd:
    """Says that it equals nothing, or refuses to be compared."""

    def __init__(self, *, fail: bool) -> None:
        self.fail = fail

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        if self.fail:
            raise RuntimeError("not to be compared")
        return False


def test_static_fields_compare_as_python_compares_them() -> None:
    odd = Odd(fail=True)
    f = identity(Plain(array(), None, odd))
    assert not is_slow(f, Plain(array(), None, odd))
    assert is_slow(f, Plain(array(), None, Odd(fail=True)))
    assert is_slow(f, Plain(array(), None, Odd(fail=False)))
    assert is_slow(identity(Plain(array(), None, 1)), Plain(array(), None, True))
    assert is_slow(f, Plain(array(), None, np.zeros(2)))


class Watched:
    """A descriptor that counts and may raise or refuse to be set."""

    def __init__(self) -> None:
        self.reads, self.fail, self.frozen = 0, False, False

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            raise AttributeError
        self.reads += 1
        if self.fail:
            raise RuntimeError("cannot be read")
        return instance.__dict__["x"].copy()

    def __set__(self, instance: Any, value: Any) -> None:
        if self.frozen:
            raise LookupError("cannot be set")
        instance.__dict__["x"] = value


def test_properties_are_read_once_and_their_setters_may_raise() -> None:
    cls: Any = make_dataclass("Computed", [("x", Any)])
    watched = Watched()
    cls.x = watched
    f = identity([cls(array(1)), array(1)])
    value = [cls(array(1)), array(5)]
    watched.reads = 0
    result = f(value)
    assert watched.reads == 1
    assert result[0].x[0] == 2
    watched.fail = True
    assert is_slow(f, value)
    watched.fail, watched.frozen = False, True
    with pytest.raises(LookupError, match="cannot be set"):
        f(value)


def test_exceptions_of_builders_propagate_and_keep_nothing() -> None:
    f = identity(Pair(array(), array()), result=[Refusing(array(), array())])
    assert type(f(Pair(array(), array()))[0]) is Refusing
    refused = tuple.__new__(Refusing, (array(), None))
    g = identity(Pair(array(), array()), result={"k": array(), "r": (refused,)})
    value = Pair(array(), array())

    def fail() -> None:
        with pytest.raises(LookupError, match="no b"):
            g(value)

    fail()
    things = [value, *value, Refusing, Pair, tuple, np.dtype("float32")]
    assert held_by(fail, things, 500) == [0] * len(things)


def test_reference_counts_stay_balanced() -> None:
    value = Pair(array(), [Plain(array(), Both(array(), None, "s"), ("t",)), Slotted(array())])
    other = ("-t"[1:],)
    bad = [
        value._replace(a=0), value._replace(b=[value.b[0], value.b[0]]),
        value._replace(b=[Plain(value.a, value.b[0].b, other), None]),
        value._replace(b=[Plain(value.a, value.b[0].b, ("u",)), value.b[1]]), SubPair(*value),
    ]  # fmt: skip
    f = identity(value)
    f._call_slowly = lambda *_args, **_kwargs: None
    out = f(value)

    def everything() -> None:
        f(value)
        f(value, out=out)
        for one in bad:
            f(one)
            f(value, out=one)

    everything()
    things = [
        value, *value, *value.b, value.b[0].W, value.b[0].b, value.b[0].b.W, value.b[0].size, other,
        out, *out, *out.b, out.b[0].W, *bad, Pair, Plain, Both, Slotted, np.dtype("float32"), f,
        *(x for x in f.binding._kept.values() if x is not None and not isinstance(x, str | int)),
    ]  # fmt: skip
    grown = held_by(everything, things)
    assert [(n, t) for n, t in zip(grown, things, strict=True) if n] == []


def test_classes_may_share_a_name_but_not_an_entry() -> None:
    cls: Any = make_dataclass("Plain", ["W", "b"])
    value = [Plain(array(1)), cls(array(2), array(3))]
    f = identity(value)
    result = f(value)
    assert [type(one) for one in result] == [Plain, cls]
    assert is_slow(f, value[::-1])


def test_records_of_another_signature_are_refused() -> None:
    signature = Signature("f", (leaf("x", 2),), ("tuple", (("namedtuple", "P", (0,)),)),
                          (leaf("x", 2),), 0)  # fmt: skip
    with pytest.raises(ValueError, match="1 records"):
        native(signature, copy_all)
    with pytest.raises(ValueError, match="static"):
        native(signature, copy_all, records=[Record(Pair, Pair._make, (1,))])


@pytest.mark.parametrize(("dtype", "good", "bad"), [
    ("float64", 2.5, [2, True, np.float64(2.5), np.array(2.5), None, "2"]),
    ("int64", -7, [2.0, True, np.int64(2), np.array(2), 2**63, -(2**63) - 1, None]),
])  # fmt: skip
def test_numbers_are_taken_for_weak_leaves_alone(dtype: str, good: Any, bad: list[Any]) -> None:
    inputs = (leaf("x", 2, dtype=dtype), Leaf("n", dtype, (), weak=True))
    outputs = (leaf("y", 2, dtype=dtype),)
    signature = Signature("f", inputs, ("tuple", (0, ("list", (1,)))), outputs, 0)
    assert Signature.from_json(signature.to_json()) == signature

    def add(ins: list[Any], outs: list[Any]) -> None:
        outs[0][...] = ins[0] + ins[1]

    f = native(signature, add)
    x = np.ones(2, dtype)
    assert f(x, [good])[0] == 1 + good
    limits = [2**63 - 1, -(2**63)] if dtype == "int64" else [float("inf"), -0.0]
    assert all(not is_slow(f, x, [n]) for n in limits)
    assert all(is_slow(f, x, [n]) for n in bad)
    number = good * 1000
    before = sys.getrefcount(number)
    for _ in range(1000):
        f(x, [number])
    assert sys.getrefcount(number) == before
