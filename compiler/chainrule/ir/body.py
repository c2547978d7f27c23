"""Bodies: functions inside a program, which loops repeat and branches choose from.

A body is closed: all it depends on are its own inputs, which are input nodes of the same graph that
nothing outside uses.  The node that has a body as an attribute says what the inputs stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind

__all__ = ["Body", "bodies_of", "with_bodies"]


@dataclass(frozen=True, slots=True)
class Body:
    """Outputs as functions of inputs.

    Nodes compare by identity, so bodies are equal if they are the same nodes.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]

    def __repr__(self) -> str:
        return f"({len(self.inputs)} -> {len(self.outputs)})"


def bodies_of(node: Node) -> Iterator[Body]:
    """Yield the bodies among a node's attributes."""
    if node.op.kind is Kind.CONTROL:
        for value in node.attrs:
            if isinstance(value, Body):
                yield value
            elif isinstance(value, tuple):
                yield from (v for v in value if isinstance(v, Body))


def with_bodies(node: Node, change: Callable[[Body], Body]) -> tuple[Any, ...]:
    """Return the attributes of a node with each body changed."""

    def changed(value: Any) -> Any:
        if isinstance(value, Body):
            return change(value)
        if isinstance(value, tuple) and any(isinstance(v, Body) for v in value):
            return tuple(changed(v) for v in value)
        return value

    return tuple(changed(v) for v in node.attrs)
