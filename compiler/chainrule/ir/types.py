"""What an expression's value is: an element type and a shape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.errors import DTypeError, explain
from chainrule.ir.dims import Extent, Shape, show_extent
from chainrule_runtime.bfloat16 import BFLOAT16, bfloat16_dtype

__all__ = ["BF16", "BOOL", "BUNDLE", "DTYPES", "F16", "F32", "F64", "HALVES", "I32", "I64", "U8",
           "U32", "Array", "DType", "Type", "dtype_of"]  # fmt: skip

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type: its short name, NumPy's name, what arithmetic it has, and its bytes."""

    name: str
    numpy_name: str
    kind: Literal["float", "int", "uint", "bool", "bundle"]
    nbytes: int

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's dtype; that of bfloat16 is looked for when it is first asked for."""
        return _numpy_dtype(self.numpy_name)

    @property
    def is_float(self) -> bool:
        """Tell whether derivatives make sense for it."""
        return self.kind == "float"

    @property
    def is_half(self) -> bool:
        """Tell whether it is a float of 16 bits: stored so, computed with in 32."""
        return self.kind == "float" and self.nbytes == 2

    @property
    def largest(self) -> float:
        """The largest finite number of a float type."""
        if self.name == "bf16":  # NumPy's finfo does not know it
            return float(2.0**128 - 2.0**120)
        return float(np.finfo(self.numpy).max)

    def rounded(self, number: float) -> float:
        """Return the nearest number of a float type; infinity where there is none."""
        with np.errstate(over="ignore"):
            return float(self.numpy.type(number))

    def __repr__(self) -> str:
        return self.name


@cache
def _numpy_dtype(name: str) -> np.dtype[Any]:
    return bfloat16_dtype() if name == BFLOAT16 else np.dtype(name)


F16: Final = DType("f16", "float16", "float", 2)
BF16: Final = DType("bf16", BFLOAT16, "float", 2)
F32: Final = DType("f32", "float32", "float", 4)
F64: Final = DType("f64", "float64", "float", 8)
I32: Final = DType("i32", "int32", "int", 4)
I64: Final = DType("i64", "int64", "int", 8)
U8: Final = DType("u8", "uint8", "uint", 1)
U32: Final = DType("u32", "uint32", "uint", 4)
BOOL: Final = DType("bool", "bool", "bool", 1)
BUNDLE: Final = DType("bundle", "object", "bundle", 8)
"Of nodes that stand for several values at once; `item` takes one out.  No array has it."

HALVES: Final = (F16, BF16)
"Floats of 16 bits."
DTYPES: Final = (F32, F64, I32, I64, U8, U32, BOOL)
"Element types that arithmetic is done in."
_BY_NAME: Final = {d.numpy_name: d for d in (*DTYPES, *HALVES)}


def dtype_of(dtype: npt.DTypeLike) -> DType:
    """Return our element type for a NumPy dtype in either byte order.

    Raises:
        DTypeError: chainrule has no such element type, or NumPy has none of that name.
    """
    if isinstance(dtype, str) and dtype == BFLOAT16:
        # NumPy knows the name only once the package that registers it is imported.
        dtype = bfloat16_dtype()
    return _found(np.dtype(dtype))


@cache
def _found(wanted: np.dtype[Any]) -> DType:
    found = _BY_NAME.get(wanted.name)
    if found is None:
        raise DTypeError(
            explain(
                f"arrays of dtype {wanted} are not supported",
                f"supported  {', '.join(_BY_NAME)}",
                hint="work on the real and the imaginary parts as two arrays, x.real and x.imag"
                if wanted.kind == "c"
                else "convert with .astype(...) first",
            )
        )
    return found


class Type(NamedTuple):
    """An element type and a shape."""

    dtype: DType
    shape: Shape

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Extent:
        """Number of elements."""
        total: Extent = 1
        for extent in self.shape:
            total = total * extent
        return total

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(show_extent, self.shape))}]"
