"""Python objects that CPython calls straight through a native function pointer.

`callable_type(base)` derives from an ordinary Python class a type with two more fields: a pointer
that CPython's vectorcall protocol (PEP 590) calls, and the object that keeps the code behind the
pointer loaded.  While the pointer is null CPython calls `__call__`, as for any object, so before
anything is compiled, after unpickling and where native calls are impossible the base class alone
decides what a call does.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final, TypeVar, cast

from .layout import native_calls

__all__ = ["attach", "attached", "callable_type", "detach"]

T = TypeVar("T")

_MEMBERS_SLOT: Final = 72  # Py_tp_members
_SSIZE_MEMBER: Final = 19  # Py_T_PYSSIZET
_OBJECT_MEMBER: Final = 16  # Py_T_OBJECT_EX: visited and released with the instance
_READ_ONLY: Final = 1
_HAVE_VECTORCALL: Final = 1 << 11
_WORD: Final = 8
_OFFSET: Final = "_native_entry_offset"
_OWNERS: Final = "_native_owners"


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint), ("slots", ctypes.POINTER(_Slot)),
    )  # fmt: skip


# CPython keeps pointers into the records a type was made from.
_records: Final[list[object]] = []


def callable_type(base: type[T]) -> type[T]:
    """Return a subclass of `base` whose instances can be called natively once `attach`ed.

    `base` defines `__call__` and `_call_slowly(*args, **kwargs)`; the latter is what native code
    calls with arguments it does not handle.  The result takes no further subclasses: CPython drops
    the native call from types made by a class statement.  It adds a field that `pickle` cannot see,
    so `base` should define `__reduce__`.
    """
    if not native_calls() or type(base) is not type or base.__itemsize__:
        metaclass: Any = type(base)
        return cast("type[T]", metaclass(base.__name__, (base,), {"__module__": base.__module__}))
    entry_at = -(-base.__basicsize__ // _WORD) * _WORD
    members = (_Member * 3)(
        _Member(b"__vectorcalloffset__", _SSIZE_MEMBER, entry_at, _READ_ONLY, None),
        _Member(_OWNERS.encode(), _OBJECT_MEMBER, entry_at + _WORD, 0, None),
    )
    slots = (_Slot * 2)(_Slot(_MEMBERS_SLOT, ctypes.addressof(members)))
    name = f"{base.__module__}.{base.__name__}".encode()
    # No tp_call of its own: the inherited one looks `__call__` up.  No GC flag either: the type
    # then inherits it together with the functions that visit and clear Python instances.
    spec = _Spec(name, entry_at + 2 * _WORD, 0, _HAVE_VECTORCALL, slots)
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object)
    make = prototype(("PyType_FromSpecWithBases", ctypes.pythonapi))
    made: Any = make(ctypes.addressof(spec), (base,))
    _records.append((members, slots, spec))
    made.__doc__ = base.__doc__
    setattr(made, _OFFSET, entry_at)
    return cast("type[T]", made)


def attach(instance: object, entry: int, owner: object) -> bool:
    """Let calls of `instance` go to the native function at address `entry`.

    `owner` must keep the code, and all code it chains to, loaded.  It stays referenced for the life
    of the instance, also after another `attach`: a thread may still be inside.  Returns False,
    changing nothing, where native calls are impossible.
    """
    offset: int | None = getattr(type(instance), _OFFSET, None)
    if offset is None:
        return False
    owners: list[object] = getattr(instance, _OWNERS, None) or []
    if not any(kept is owner for kept in owners):
        setattr(instance, _OWNERS, [*owners, owner])
    ctypes.c_void_p.from_address(id(instance) + offset).value = entry
    return True


def detach(instance: object) -> None:
    """Let calls of `instance` go to `__call__` again; its owners stay referenced."""
    offset = getattr(type(instance), _OFFSET, None)
    if offset is not None:
        ctypes.c_void_p.from_address(id(instance) + offset).value = None


def attached(instance: object) -> int | None:
    """Return the address of the native function that calls of `instance` reach, if any."""
    offset = getattr(type(instance), _OFFSET, None)
    if offset is None:
        return None
    return ctypes.c_void_p.from_address(id(instance) + offset).value
