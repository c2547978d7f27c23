"""What an expression's value is: an element type and a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.errors import DTypeError, explain
from chainrule.ir.dims import Extent, Shape, show_extent

__all__ = ["BOOL", "BUNDLE", "DTYPES", "F32", "F64", "I32", "I64", "U8", "U32", "Array", "DType",
           "Type", "dtype_of"]  # fmt: skip

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type: its short name, NumPy's dtype, and what arithmetic it has."""

    name: str
    numpy: np.dtype[Any]
    kind: Literal["float", "int", "uint", "bool", "bundle"]

    @property
    def nbytes(self) -> int:
        """Bytes an element takes in memory."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        """Tell whether derivatives make sense for it."""
        return self.kind == "float"

    def __repr__(self) -> str:
        return self.name


F32: Final = DType("f32", np.dtype(np.float32), "float")
F64: Final = DType("f64", np.dtype(np.float64), "float")
I32: Final = DType("i32", np.dtype(np.int32), "int")
I64: Final = DType("i64", np.dtype(np.int64), "int")
U8: Final = DType("u8", np.dtype(np.uint8), "uint")
U32: Final = DType("u32", np.dtype(np.uint32), "uint")
BOOL: Final = DType("bool", np.dtype(np.bool_), "bool")

BUNDLE: Final = DType("bundle", np.dtype(np.object_), "bundle")
"Of nodes that stand for several values at once; `item` takes one out.  No array has it."

DTYPES: Final = (F32, F64, I32, I64, U8, U32, BOOL)
_BY_NUMPY: Final = {d.numpy: d for d in DTYPES}


def dtype_of(dtype: npt.DTypeLike) -> DType:
    """Return our element type for a NumPy dtype in either byte order.

    Raises:
        DTypeError: chainrule has no such element type.
    """
    wanted = np.dtype(dtype)
    found = _BY_NUMPY.get(wanted.newbyteorder("="))
    if found is None:
        raise DTypeError(
            explain(
                f"arrays of dtype {wanted} are not supported",
                f"supported  {', '.join(str(d.numpy) for d in DTYPES)}",
                hint="convert with .astype(...) first",
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
