"""Floats of 16 bits: how they are stored, never how they are computed with.

Every op on them computes in float32 and rounds once, at its result; what only moves elements moves
their bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import F32, Array

__all__ = ["moves", "widened"]

_MOVES: Final = frozenset({Kind.SOURCE, Kind.VIEW, Kind.WRITE, Kind.GATHER})


def moves(node: Node) -> bool:
    """Tell whether a node's elements are its arguments' (or converted ones), none computed."""
    if node.op.kind is Kind.UPDATE:
        return bool(node.attributes["how"] == "set")
    return node.op.kind in _MOVES or node.op.name in ("cast", "stop_gradient")


def widened(node: Node, values: Sequence[Array]) -> list[Array]:
    """Return a node's arguments as the evaluator computes with them."""
    if moves(node):
        return list(values)
    return [
        value.astype(F32.numpy) if argument.dtype.is_half else value
        for argument, value in zip(node.args, values, strict=True)
    ]
