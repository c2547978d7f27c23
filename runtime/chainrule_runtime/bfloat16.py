"""NumPy's bfloat16: registered by the package `ml_dtypes`, which is imported when it is needed."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from .errors import DTypeError, explain

__all__ = ["BFLOAT16", "bfloat16_dtype", "is_float", "numpy_dtype"]

BFLOAT16: Final = "bfloat16"


def bfloat16_dtype() -> np.dtype[Any]:
    """Return the dtype of bfloat16 arrays.

    Raises:
        DTypeError: Nothing installed gives NumPy such a dtype.
    """
    try:
        import ml_dtypes
    except ImportError:
        raise DTypeError(
            explain(
                "NumPy has no bfloat16 of its own, and ml_dtypes, which adds it, is not installed",
                hint="pip install 'chainrule[bf16]', or use float16",
            )
        ) from None
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of a leaf by its name; raise DTypeError where bfloat16 is not there."""
    return bfloat16_dtype() if name == BFLOAT16 else np.dtype(name)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Tell whether a dtype is one of floats; NumPy counts bfloat16 among raw bytes."""
    return dtype.kind == "f" or dtype.name == BFLOAT16
