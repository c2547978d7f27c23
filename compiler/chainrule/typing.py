"""Names for annotations: what an array, a pytree, a shape may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "DType", "Key", "PyTree", "Shape"]

Array: TypeAlias = Any
"""A NumPy array, or the traced value that stands for one."""

Key: TypeAlias = Any
"""An array uint32[2] made by `chainrule.random.key` or `chainrule.random.split`."""

PyTree: TypeAlias = Any
"""Arrays nested in dicts, lists, tuples, named tuples and dataclasses; `None` holds nothing."""

Shape: TypeAlias = Sequence[Any]
"""Extents: integers, or named dims inside a trace."""

DType: TypeAlias = type[np.generic] | np.dtype[Any] | str
"""What NumPy takes for a dtype."""
