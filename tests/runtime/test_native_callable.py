"""The type whose instances are called natively, before anything native is attached."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from typing import Any

import pytest

from chainrule_runtime import layout, native_callable
from chainrule_runtime.native_callable import attach, attached, callable_type, detach


class Base:
    """A base."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call_slowly(*args, **kwargs)

    def _call_slowly(self, *args: Any, **kwargs: Any) -> Any:
        return (self.number, args, kwargs)

    def __reduce__(self) -> Any:
        return (restore, (self.number,))


def restore(number: int) -> Base:
    return Derived(number)


Derived = callable_type(Base)


def test_instances_behave_like_those_of_the_base() -> None:
    f = Derived(3)
    assert isinstance(f, Base)
    assert type(f).__name__ == "Base"
    assert type(f).__doc__ == "A base."
    assert f(1, a=2) == (3, (1,), {"a": 2})
    keywords = {"a": 2}
    assert f(*[1], **keywords) == (3, (1,), {"a": 2})
    assert functools.partial(f, 1)(2) == (3, (1, 2), {})
    assert list(map(f, [1])) == [(3, (1,), {})]
    f.anything = 1  # type: ignore[attr-defined]
    assert vars(f) == {"number": 3, "anything": 1}


def test_instances_copy_and_pickle_without_their_native_call() -> None:
    f = Derived(3)
    for other in (copy.copy(f), pickle.loads(pickle.dumps(f))):  # noqa: S301
        assert type(other) is Derived
        assert attached(other) is None
        assert other(1) == (3, (1,), {})


def test_exceptions_propagate() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        Derived(nonsense=1)  # type: ignore[call-arg]


def test_cycles_are_collected() -> None:
    for _ in range(100):
        f = Derived(1)
        f.me = f  # type: ignore[attr-defined]
        ref = weakref.ref(f)
        del f
    gc.collect()
    assert ref() is None


@pytest.mark.skipif(not layout.native_calls(), reason="no native calls here")
def test_owners_are_kept_and_released() -> None:
    class Owner:
        pass

    f, owners = Derived(1), [Owner(), Owner()]
    refs = [weakref.ref(owner) for owner in owners]
    for owner in owners:
        assert attach(f, 0, owner)
        assert attach(f, 0, owner)
    owners[0].f = f  # type: ignore[attr-defined]
    del owner, owners
    gc.collect()
    assert [ref() is None for ref in refs] == [False, False]
    detach(f)
    gc.collect()
    assert [ref() is None for ref in refs] == [False, False]
    del f
    gc.collect()
    assert [ref() is None for ref in refs] == [True, True]


@pytest.mark.skipif(not layout.native_calls(), reason="no native calls here")
def test_no_further_subclasses() -> None:
    with pytest.raises(TypeError, match="not an acceptable base"):
        type("Sub", (Derived,), {})


def test_everything_works_where_native_calls_are_impossible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native_callable, "native_calls", lambda: False)
    plain = callable_type(Base)(5)
    assert not attach(plain, 1, None)
    assert attached(plain) is None
    detach(plain)
    assert plain(1) == (5, (1,), {})
