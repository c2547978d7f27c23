"""Questions about arrays: dtypes, equality, polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function
from chainrule.frontend.operands import as_operand, common_dtype, graph_of, node_of
from chainrule.ir.types import BOOL
from chainrule.numpy.reductions import all as all_of
from chainrule.numpy.selecting import isclose

__all__ = ["allclose", "array_equal", "can_cast", "isreal", "isscalar", "polyval", "result_type"]


@array_function(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """Return the dtype that arrays, numbers and dtypes promote to, as `numpy.result_type`."""
    operands = [
        np.zeros(1, x) if isinstance(x, np.dtype | type | str) else as_operand(x)
        for x in arrays_and_dtypes
    ]
    return common_dtype(operands).numpy


@array_function(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Tell whether a dtype converts to another, as `numpy.can_cast`."""
    return np.can_cast(from_.dtype if isinstance(from_, Array) else from_, to, casting)


@array_function(np.isscalar)
def isscalar(element: Any) -> bool:
    """Tell whether it is a Python number or a NumPy scalar: a traced value is an array."""
    del element
    return False


@array_function(np.isreal)
def isreal(x: Any) -> Array:
    """Return True everywhere: there are no complex numbers."""
    node = node_of(as_operand(x), x.graph)
    return Array(node.graph.full(node.shape, True, BOOL))


@array_function(np.allclose)
def allclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Tell whether all elements are close, as `numpy.allclose`; a traced truth value."""
    return all_of(isclose(a, b, rtol, atol, equal_nan))


@array_function(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Tell whether shapes and elements are equal, as `numpy.array_equal`."""
    operands = [as_operand(a1), as_operand(a2)]
    graph = graph_of(operands)
    x, y = (Array(node_of(o, graph)) for o in operands)
    if x.node.shape != y.node.shape:
        return Array(graph.constant(False, BOOL))
    same = x == y
    if equal_nan:
        same = same | (np.isnan(x) & np.isnan(y))
    return all_of(same)


@array_function(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Evaluate a polynomial, highest power first, by Horner's rule, as `numpy.polyval`."""
    coefficients = p if isinstance(p, Array) else np.asarray(p)
    result: Any = np.zeros_like(x)
    for i in range(len(coefficients)):
        result = result * x + coefficients[i]
    return result
