"""Functions that compiled code calls back: Python's, or native ones given by their address.

Such a function has the C type

    int64_t function(void** inputs, void** outputs, const int64_t* extents)

where the arrays are C-contiguous and `extents` holds their shapes one after the other, inputs
first.  It returns 0; anything else ends the run.
"""  # fmt: skip

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, ShapeError, explain, keep_raised

__all__ = ["NATIVE", "Callback"]

NATIVE: Final = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_int64),
)  # fmt: skip
"The type of functions that compiled code calls back."

# The base class of the types of functions, which ctypes does not name.
_FUNCTION_POINTER: Final[Any] = NATIVE.__mro__[1]

Array = npt.NDArray[Any]
Type = tuple[np.dtype[Any], int]
"A dtype and a number of axes."


class Callback:
    """A function with what native code needs to call it; it must live as long as that code.

    Attributes:
        name: What it is called in messages.
        address: Where native code finds it.
    """

    def __init__(
        self, function: Callable[..., Any], inputs: Sequence[Type], outputs: Sequence[Type]
    ) -> None:
        self.name: Final = str(getattr(function, "__name__", type(function).__name__))
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._python: Callable[..., Any] | None = None
        if isinstance(function, _FUNCTION_POINTER):
            self._native: Any = NATIVE(ctypes.cast(function, ctypes.c_void_p).value or 0)
            self._owner = function
        else:
            self._python = function
            self._native = NATIVE(self._called)
        self.address: Final = int(ctypes.cast(self._native, ctypes.c_void_p).value or 0)

    def __repr__(self) -> str:
        return self.name

    def __call__(self, arrays: Sequence[Array], shapes: Sequence[Sequence[int]]) -> list[Array]:
        """Return the results, of the given shapes."""
        results = [np.empty(s, d) for s, (d, _) in zip(shapes, self._outputs, strict=True)]
        if self._python is not None:
            self._run(self._python, arrays, results)
            return results
        given = [np.ascontiguousarray(a) for a in arrays]
        extents = [n for a in (*given, *results) for n in a.shape]
        code = self._native(
            _pointers(given), _pointers(results), (ctypes.c_int64 * len(extents))(*extents)
        )
        if code:
            raise RuntimeError(f"{self.name} returned {code}")
        return results

    def _called(self, inputs: Any, outputs: Any, extents: Any) -> int:
        """Take a call from native code; an exception is kept until that has returned."""
        try:
            at = 0
            arrays: list[Array] = []
            for places, types in ((inputs, self._inputs), (outputs, self._outputs)):
                for i, (dtype, rank) in enumerate(types):
                    shape = tuple(extents[at : at + rank])
                    at += rank
                    arrays.append(_view(places[i], dtype, shape))
            count = len(self._inputs)
            assert self._python is not None, "native functions are not called through Python"
            # Copies: a function may keep what it is given, and the memory is not its own.
            self._run(self._python, [a.copy() for a in arrays[:count]], arrays[count:])
        except BaseException as exception:  # noqa: BLE001 (raised again once native code is left)
            keep_raised(exception)
            return 1
        return 0

    def _run(
        self, function: Callable[..., Any], arrays: Sequence[Array], results: Sequence[Array]
    ) -> None:
        found = function(*arrays)
        given = [found] if len(results) == 1 and not isinstance(found, tuple | list) else found
        if len(given) != len(results):
            raise ShapeError(
                explain(f"the callback {self.name} returned {len(given)} arrays",
                        f"announced  {len(results)}")
            )  # fmt: skip
        for i, (one, out) in enumerate(zip(given, results, strict=True)):
            array = np.asarray(one)
            if array.shape != out.shape:
                raise ShapeError(
                    explain(f"the callback {self.name} returned another shape than it announced",
                            f"result {i}  {list(array.shape)}", f"announced  {list(out.shape)}")
                )  # fmt: skip
            if not np.can_cast(array.dtype, out.dtype, "same_kind"):
                raise DTypeError(
                    explain(f"the callback {self.name} returned another dtype than it announced",
                            f"result {i}  {array.dtype}", f"announced  {out.dtype}")
                )  # fmt: skip
            out[...] = array


def _view(address: int | None, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not nbytes or not address:
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * nbytes).from_address(address)
    return np.ndarray(shape, dtype, buffer=memoryview(memory))


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
