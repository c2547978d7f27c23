"""Gives a loaded native entry the addresses it needs, and owns what they point to.

An entry's machine code may come from a file, so no address of this process is part of it.  It has a
table of pointers instead, filled once through its `bind` function in the order of `slot_names`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np

from .abi import Signature, Tree, record_nodes, subtrees
from .bfloat16 import numpy_dtype
from .errors import raise_failure
from .layout import array_api, native_calls

__all__ = ["FUNCTIONS", "Binding", "Record", "dict_nodes", "slot_names"]

# Functions of the Python C API an entry may call.
FUNCTIONS: Final = (
    "PyDict_Copy", "PyDict_GetItemWithError", "PyDict_SetItem", "PyDict_Size", "PyErr_Clear",
    "PyErr_NoMemory", "PyEval_RestoreThread", "PyEval_SaveThread", "PyFloat_AsDouble",
    "PyList_GetItem", "PyList_New", "PyList_SetItem", "PyList_Size",
    "PyLong_AsLongLongAndOverflow", "PyLong_FromLongLong", "PyMem_RawFree", "PyMem_RawMalloc",
    "PyObject_CallNoArgs", "PyObject_CallOneArg", "PyObject_GenericSetAttr", "PyObject_GetAttr",
    "PyObject_RichCompareBool", "PyObject_Vectorcall", "PyTuple_GetItem", "PyTuple_New",
    "PyTuple_SetItem", "PyTuple_Size", "Py_DecRef", "Py_IncRef",
)  # fmt: skip
_OBJECTS: Final[dict[str, object]] = {
    "None": None, "ndarray": np.ndarray, "dict": dict, "list": list, "tuple": tuple,
    "float": float, "int": int,
    "out": sys.intern("out"), "_call_slowly": sys.intern("_call_slowly"),
}  # fmt: skip
_WORD: Final = 8


@dataclass(frozen=True, slots=True)
class Record:
    """What a node of a named tuple or a dataclass stands for in this process.

    Attributes:
        cls: The class; instances of subclasses are left to Python.
        build: Of a named tuple, makes an instance of a tuple of its children; of a dataclass, makes
            an instance without fields.
        static: Values of the static fields, in the order of the node's names.
    """

    cls: type
    build: Callable[..., Any]
    static: tuple[Any, ...] = ()


def dict_nodes(tree: Tree) -> list[tuple[Any, ...]]:
    """Return the dict nodes of a tree in the order of `subtrees`."""
    return [node for node in subtrees(tree) if not isinstance(node, int) and node[0] == "dict"]


def _keys(signature: Signature) -> list[Any]:
    """Return each dict key of the signature once; 1 and True differ as they do in a repr."""
    found: dict[str, Any] = {}
    for tree in (signature.input_tree, signature.output_tree):
        for node in dict_nodes(tree):
            for key in node[1]:
                found.setdefault(repr(key), sys.intern(key) if type(key) is str else key)
    return list(found.values())


def slot_names(signature: Signature) -> tuple[str, ...]:
    """Return what each pointer of an entry's table is; compiler and binding both follow it."""
    dtypes = sorted({leaf.dtype for leaf in (*signature.inputs, *signature.outputs)})
    return (
        "next", "arena", "kernel", "failed", "PyArray_NewFromDescr", *FUNCTIONS, *_OBJECTS,
        *(f"dtype {name}" for name in dtypes),
        *(f"key {key!r}" for key in _keys(signature)),
        *(f"template {i}" for i, _ in enumerate(dict_nodes(signature.output_tree))),
        *(f"attribute {name}" for name in _attributes(signature)),
        *_record_slots(signature),
    )  # fmt: skip


def _all_records(signature: Signature) -> list[tuple[Any, ...]]:
    return [*record_nodes(signature.input_tree), *record_nodes(signature.output_tree)]


def _attributes(signature: Signature) -> list[str]:
    """Return the name of each field of a dataclass once."""
    nodes = [node for node in _all_records(signature) if node[0] == "dataclass"]
    return list(dict.fromkeys(name for node in nodes for name in (*node[2], *node[3])))


def _static_names(node: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(node[3]) if node[0] == "dataclass" else ()


def _record_slots(signature: Signature) -> list[str]:
    """Return the slots of every record, those of the arguments first."""
    return [
        f"{what} {i}"
        for i, node in enumerate(_all_records(signature))
        for what in ("class", "build", *(f"static {name}" for name in _static_names(node)))
    ]


class Binding:
    """A loaded entry, bound and ready to be attached to a callable.

    Attributes:
        signature: What the entry was emitted for.
        entry: Its address, for `attach`.
    """

    def __init__(
        self,
        signature: Signature,
        entry: int,
        bind: int,
        *,
        messages: Sequence[str] = (),
        code: object = None,
        kernel: int | None = None,
        records: Sequence[Record] = (),
    ) -> None:
        """Fill the table of the entry at `entry` through the function at `bind`.

        `messages[i]` says what the kernel's error code i + 1 means.  `code` is kept referenced as
        long as the binding: the JIT's resource tracker, or the loaded library.  `kernel` is the
        kernel's address where the entry was emitted without its name.  `records` are the named
        tuples and dataclasses of `record_nodes`, those of the arguments first.  Bind an entry once.

        Raises:
            ValueError: The records are not those of the signature.
        """  # fmt: skip
        assert native_calls(), "ask layout.native_calls() before binding"
        self.signature = signature
        self.entry = entry
        self._code = code
        self._kernel = kernel
        self._messages = tuple(messages)
        self._after: Binding | None = None
        self._next = ctypes.c_void_p()
        self._arena = ctypes.c_void_p()
        self._failed = _Failure(signature.name, self._messages)
        self._kept = self._objects()
        self._kept.update(_record_objects(signature, records))
        names = slot_names(signature)
        table = (ctypes.c_void_p * len(names))(*(self._address(name) for name in names))
        ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(bind)(ctypes.addressof(table))

    def chain(self, after: Binding | None) -> None:
        """Try `after` with the arguments that do not fit this entry (None: the slow path).

        The chain must not form a ring.  May be changed at any time; `after` is kept referenced.
        """
        step = after
        while step is not None:
            assert step is not self, "a chain of entries must end"
            step = step.after
        # A thread may be on its way into the entry chained before, so that one is kept too.
        self._kept[f"chained {id(self._after)}"] = self._after
        self._after = after
        self._next.value = after.entry if after is not None else None

    @property
    def after(self) -> Binding | None:
        """The binding tried next."""
        return self._after

    def _objects(self) -> dict[str, object]:
        """Return the Python objects this table points to."""
        kept = dict(_OBJECTS)
        for leaf in (*self.signature.inputs, *self.signature.outputs):
            kept[f"dtype {leaf.dtype}"] = numpy_dtype(leaf.dtype)
        kept.update((f"key {key!r}", key) for key in _keys(self.signature))
        for i, node in enumerate(dict_nodes(self.signature.output_tree)):
            # Copying a dict of the right keys costs less than growing one.
            kept[f"template {i}"] = {kept[f"key {key!r}"]: None for key in node[1]}
        kept.update((f"attribute {name}", sys.intern(name)) for name in _attributes(self.signature))
        kept["failed"] = self._failed
        return kept

    def _address(self, name: str) -> int | None:
        if name == "next":
            return ctypes.addressof(self._next)
        if name == "arena":
            return ctypes.addressof(self._arena)
        if name == "kernel":
            return self._kernel
        if name == "PyArray_NewFromDescr":
            return array_api()
        if name in self._kept:
            return id(self._kept[name])
        return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value

    def __del__(self, finalizing: Any = sys.is_finalizing) -> None:
        if finalizing():  # the process's memory goes with it, and ctypes may be gone already
            return
        arena = getattr(self, "_arena", None)
        if arena is not None and arena.value:
            # The word below an arena is the address of the block it lies in.
            block = ctypes.c_void_p.from_address(arena.value - _WORD).value
            arena.value = None
            free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
            free(("PyMem_RawFree", ctypes.pythonapi))(block)


def _record_objects(signature: Signature, records: Sequence[Record]) -> dict[str, object]:
    nodes = _all_records(signature)
    names = [_static_names(node) for node in nodes]
    if [len(one.static) for one in records] != [len(static) for static in names]:
        raise ValueError(f"{signature.name}() has {len(nodes)} records, each with static values")
    kept: dict[str, object] = {}
    for i, (one, static) in enumerate(zip(records, names, strict=True)):
        kept[f"class {i}"], kept[f"build {i}"] = one.cls, one.build
        for name, value in zip(static, one.static, strict=True):
            kept[f"static {name} {i}"] = value
    return kept


class _Failure:
    """Raises what a kernel's error code means; native code calls it."""

    def __init__(self, name: str, messages: Sequence[str]) -> None:
        self._name = name
        self._messages = messages

    def __call__(self, code: int) -> NoReturn:
        raise_failure(self._name, self._messages, code)
