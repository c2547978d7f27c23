"""Settings told apart: which Python values code may be shared for.

Python's own equality is too coarse: 1, True and 1.0 are equal, and so are 0.0 and -0.0, though a
function may do something else for each of them; and NaN is not equal to itself.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Final, cast

import numpy as np

__all__ = ["is_told", "matcher", "setting_key"]

_ALONE: Final = frozenset({
    str, bytes, type(None), type(Ellipsis), type, types.FunctionType, types.BuiltinFunctionType,
    types.MethodType,
})  # fmt: skip
"Types whose values are equal to values of the same type only, and then are the same."
_KEYS: Final = _ALONE | {int}
"Types whose values are keys as they are: what else an int is equal to has a key with its type."


def setting_key(value: Any) -> Hashable:
    """Return what equals the key of another setting where both are of one type and one value.

    So it is at any depth of tuples, frozensets, slices, complex numbers, NumPy's scalars and
    dataclasses: numbers of different types differ, 0.0 and -0.0 differ, NaN is itself.  Objects of
    other classes are compared as they are, by their `==` and type.  What has no hash has none here.

    >>> setting_key((1, "a")) == setting_key((True, "a")), setting_key(0.0) == setting_key(-0.0)
    (False, False)
    >>> setting_key((float("nan"),)) == setting_key((float("nan"),))
    True
    """
    cls: Any = type(value)
    if cls in _KEYS:
        return cast("Hashable", value)
    if cls is tuple and _KEYS.issuperset(map(type, value)):
        return cast("Hashable", value)
    make = _maker(cls)
    return (cls, value) if make is None else make(value)


@lru_cache(maxsize=4096)
def _maker(cls: Any) -> Callable[[Any], Hashable] | None:
    """Return what makes keys, which begin with the class, or None for what is compared as it is."""
    if issubclass(cls, float | np.floating):
        return lambda x: (cls, *_signed(x))
    if issubclass(cls, complex | np.complexfloating):
        return lambda x: (cls, *_signed(x.real), *_signed(x.imag))
    if _is_tuple(cls):
        return lambda xs: (cls, tuple([setting_key(x) for x in xs]))
    if cls is frozenset:
        return lambda xs: (cls, frozenset([setting_key(x) for x in xs]))
    if cls is slice:
        return lambda x: (cls, setting_key((x.start, x.stop, x.step)))
    names = _compared_fields(cls)
    if names is not None:
        return lambda x: (cls, tuple([setting_key(getattr(x, n)) for n in names]))
    return None


def _signed(number: Any) -> tuple[Any, float]:
    """Return a float such that equal means the same."""
    if number != number:  # noqa: PLR0124  (NaN)
        return "nan", 0.0
    return number, math.copysign(1.0, number)


def _is_tuple(cls: Any) -> bool:
    return issubclass(cls, tuple) and cls.__eq__ is tuple.__eq__ and cls.__hash__ is tuple.__hash__


@lru_cache(maxsize=4096)
def _compared_fields(cls: Any) -> tuple[str, ...] | None:
    """Return the fields that the generated `==` and hash of a dataclass are made of, else None."""
    if not dataclasses.is_dataclass(cls):
        return None
    for method in (cls.__eq__, cls.__hash__):
        code = getattr(method, "__code__", None)
        # Methods that the decorator writes come from no file.
        if code is None or code.co_filename != "<string>":
            return None
    return tuple([f.name for f in dataclasses.fields(cls) if f.compare])


def is_told(value: Any) -> bool:
    """Tell whether native code, which compares types and then values, tells a setting apart.

    Some it tells by what `matcher` makes of their parts.
    """
    cls: Any = type(value)
    if cls is float:
        return bool(value != 0)
    if cls in _KEYS or cls is bool or _maker(cls) is None:
        return True
    return _is_tuple(cls) or _compared_fields(cls) is not None


def matcher(value: Any) -> Any:
    """Return what a setting that `is_told` is to be compared with, of the same type.

    >>> matcher((1, "a")) == (1, "a"), matcher((1, "a")) == (True, "a")
    (True, False)
    """
    cls: Any = type(value)
    if _is_tuple(cls):
        if _ALONE.issuperset(map(type, value)):
            return value
        return tuple.__new__(cls, map(_part, value))
    names = _compared_fields(cls)
    if names is None:
        return value
    made = object.__new__(cls)
    for name in names:
        object.__setattr__(made, name, _part(getattr(value, name)))
    return made


def _part(value: Any) -> Any:
    return value if type(value) in _ALONE else _Only(value)


class _Only:
    """Equal to values of one key; other types, NumPy's too, leave the comparison to it."""

    __slots__ = ("key",)
    __array_ufunc__ = None

    def __init__(self, value: Any) -> None:
        self.key: Final = setting_key(value)

    def __eq__(self, other: object) -> bool:
        return self.key == setting_key(other)

    def __hash__(self) -> int:
        return hash(self.key)
