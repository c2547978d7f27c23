"""What users hold while a function is traced: handles of nodes."""

from __future__ import annotations

from typing import Final, NoReturn, Self

from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.locate import user_line
from chainrule.ir.graph import Graph, Node

__all__ = ["Value", "describe", "refuse"]


class Value(InGraph):
    """A node, and whether it stands for a Python number, which never widens an array."""

    __slots__ = ("node", "weak")

    def __init__(self, node: Node, weak: bool = False) -> None:
        self.node: Final = node
        self.weak: Final = weak

    def strong(self) -> Self:
        """Return the value as functions return it: NumPy's scalars do widen arrays."""
        return type(self)(self.node) if self.weak else self

    @property
    def graph(self) -> Graph:
        """The graph that owns the node."""
        return self.node.graph


def describe(node: Node) -> str:
    """Return a node's type for a message, and its path where it is an argument."""
    paths = [o.path for o in node.graph.origins.get(node, ()) if o.path]
    return f"{node.type}" + (f"  {paths[0]}" if paths else "")


def refuse(what: str, node: Node | None, hint: str, *facts: str) -> NoReturn:
    """Raise UnsupportedError about a traced value, with the user's line."""
    value = () if node is None else (f"value  {describe(node)}",)
    raise UnsupportedError(explain(what, *value, *facts, f"at  {user_line()}", hint=hint))
