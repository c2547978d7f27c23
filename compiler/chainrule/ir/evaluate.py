"""The reference interpreter: every node by its NumPy meaning, the oracle of compiled code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.errors import OutOfRangeError
from chainrule.ir.dims import Dim, evaluate_extent
from chainrule.ir.graph import Node
from chainrule.ir.halves import widened
from chainrule.ir.program import Program
from chainrule.ir.types import Array
from chainrule.ir.walk import topological, users

__all__ = ["bind_dims", "evaluate"]


def bind_dims(program: Program, arrays: Sequence[Array]) -> dict[str, int]:
    """Return the number of every named dim, read off the inputs' shapes."""
    dims: dict[str, int] = {}
    for node, array in zip(program.inputs, arrays, strict=True):
        for extent, number in zip(node.shape, array.shape, strict=True):
            if isinstance(extent, Dim) and len(extent.terms) == 1:
                ((monomial, coefficient),) = extent.terms
                if len(monomial) == 1 and coefficient == 1 and isinstance(monomial[0], str):
                    dims.setdefault(monomial[0], number)
    return dims


def evaluate(program: Program, *arrays: Array) -> list[Array]:
    """Run a program in NumPy and return its outputs.

    Values are dropped after their last use.  Floating-point warnings are silenced: NaN and
    infinity are results here.

    Raises:
        OutOfRangeError: One of the program's checks failed.
    """
    dims = bind_dims(program, arrays)
    # What the checks need comes first: they speak before an operation meets a bad index.
    early = topological([c.failed for c in program.checks])
    known = set(early)
    nodes = [*early, *(n for n in program.nodes if n not in known)]
    failed = {c.failed: c.message for c in reversed(program.checks)}
    left = {node: len(found) for node, found in users(nodes).items()}
    for node in program.results:
        left[node] = left.get(node, 0) + 1
    values: dict[Node, Array] = {}
    with np.errstate(all="ignore"):
        for node, array in zip(program.inputs, arrays, strict=True):
            values[node] = np.asarray(array, dtype=node.dtype.numpy)
        for node in nodes:
            if node.op.name == "input":
                continue
            given = {k: _number(v, dims) for k, v in node.attributes.items()}
            given_values = widened(node, [values[a] for a in node.args])
            result = np.asarray(node.op.value(*given_values, **given))
            values[node] = result.astype(node.dtype.numpy, copy=False)
            if node in failed and bool(values[node]):
                raise OutOfRangeError(failed[node])
            for argument in dict.fromkeys(node.args):
                left[argument] -= 1
                if not left[argument]:
                    del values[argument]
    return [values[node] for node in program.outputs]


def _number(value: Any, dims: Mapping[str, int]) -> Any:
    """Replace extents inside an attribute by numbers."""
    if isinstance(value, Dim):
        return evaluate_extent(value, dims)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_number(v, dims) for v in value)
    return value
