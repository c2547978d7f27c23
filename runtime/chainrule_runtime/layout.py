"""Where the fields of an ndarray lie in memory, verified before anyone relies on it.

Native entries read arrays by these offsets.  They have been the same in every NumPy since 1.7 on
CPython, but nothing promises it, so they are compared with what Python says of a few known arrays;
if anything differs, every call takes the Python path.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from .abi import DTYPES

__all__ = ["ALIGNED", "CONTIGUOUS", "STANDARD", "WARNS", "WRITEABLE", "ArrayLayout", "array_api",
           "native_calls", "probe"]  # fmt: skip

CONTIGUOUS: Final = 0x1
ALIGNED: Final = 0x100
WRITEABLE: Final = 0x400
# Writing is deprecated, as in what `np.broadcast_arrays` returns.
WARNS: Final = 1 << 31

_LOWEST_ADDRESS: Final = 1 << 16  # no system maps memory below
_TYPE_SLOT: Final = 2
_NEW_FROM_DESCR_SLOT: Final = 94


class ArrayLayout(NamedTuple):
    """Byte offsets of an ndarray's fields; `nd` and `flags` are 32 bits wide, others 64."""

    type: int = 8
    data: int = 16
    nd: int = 24
    dims: int = 32
    strides: int = 40
    descr: int = 56
    flags: int = 64


STANDARD: Final = ArrayLayout()


@cache
def probe() -> ArrayLayout | None:
    """Return the layout of arrays in this process, or None where it cannot be relied on."""
    if (
        sys.implementation.name != "cpython"
        or sysconfig.get_config_var("Py_GIL_DISABLED")
        or hasattr(sys, "gettotalrefcount")  # a debug build checks types more strictly
        or ctypes.sizeof(ctypes.c_void_p) != 8
        or np.ndarray.__basicsize__ < STANDARD.flags + 4
    ):
        return None
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    locked = np.zeros((5, 7))
    locked.flags.writeable = False
    samples: list[np.ndarray[Any, Any]] = [whole, whole[:, ::2], whole.T, locked]
    samples += [np.zeros(()), np.zeros((0, 3), np.uint8)]
    samples += [np.zeros(3, dtype) for dtype in DTYPES]
    samples.append(np.frombuffer(bytearray(17), np.uint8)[1:].view(np.float64))
    return STANDARD if all(_agrees(array) for array in samples) else None


def native_calls() -> bool:
    """Tell whether native entries may be used in this process."""
    return probe() is not None and array_api() is not None


@cache
def array_api() -> int | None:
    """Return the address of NumPy's `PyArray_NewFromDescr`, tried out once, or None."""
    try:
        core: Any = getattr(np, "_core", None) or np.core
        prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
        pointer_of = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))
        table = pointer_of(core.multiarray._ARRAY_API, None)  # noqa: SLF001 - its documented name
    except (AttributeError, ValueError):
        return None
    slots = (ctypes.c_void_p * (_NEW_FROM_DESCR_SLOT + 1)).from_address(table)
    address = slots[_NEW_FROM_DESCR_SLOT]
    if slots[_TYPE_SLOT] != id(np.ndarray) or address is None:
        return None
    make = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int, ctypes.c_void_p,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p,
    )(address)  # fmt: skip
    descr = np.dtype("float32")
    # The call takes over a reference to the descr.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(descr))
    array = make(np.ndarray, descr, 2, (ctypes.c_int64 * 2)(2, 3), None, None, 0, None)
    good = type(array) is np.ndarray and array.shape == (2, 3) and array.dtype is descr
    return address if good else None


def _agrees(array: np.ndarray[Any, Any]) -> bool:
    """Compare the standard offsets with what Python says of one array."""
    at, interface = id(array), array.__array_interface__

    def word(offset: int) -> int:
        return ctypes.c_uint64.from_address(at + offset).value

    def half(offset: int) -> int:
        return ctypes.c_uint32.from_address(at + offset).value

    if word(STANDARD.type) != id(np.ndarray) or half(STANDARD.nd) != array.ndim:
        return False
    told = [
        (array.flags.c_contiguous, CONTIGUOUS),
        (array.flags.aligned, ALIGNED),
        (array.flags.writeable, WRITEABLE),
    ]
    return (
        word(STANDARD.data) == interface["data"][0]
        and word(STANDARD.descr) == id(array.dtype)
        and array.dtype is np.dtype(array.dtype.name)
        and all(bool(half(STANDARD.flags) & bit) == bool(flag) for flag, bit in told)
        and _extents_agree(array, word(STANDARD.dims), word(STANDARD.strides))
    )


def _extents_agree(array: np.ndarray[Any, Any], dims: int, strides: int) -> bool:
    """Compare what is taken for the addresses of shape and strides with both."""
    rank = array.ndim
    if rank == 0:
        return True
    # The two lie in one block.  Unless it looks like that, do not touch memory there at all.
    if dims < _LOWEST_ADDRESS or dims % 8 or strides != dims + 8 * rank:
        return False
    extents = ctypes.c_int64 * rank
    return (
        tuple(extents.from_address(dims)) == array.shape
        and tuple(extents.from_address(strides)) == array.strides
    )
