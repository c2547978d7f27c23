"""Arrays of 16 bits widened: loads and stores of them, and arithmetic in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.halves import moves
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import F32
from chainrule.ir.walk import rebuild
from chainrule.optimize.bodies import in_bodies
from chainrule.optimize.expand import keep_origins, rewired
from chainrule.optimize.loops import all_nodes

__all__ = ["widen"]

WHOLE: Final = frozenset({"broadcast", "reshape", "transpose"})
"Views of all elements: the view of a converted array, so that several share one conversion."


def widen(program: Program, *, numerics: str = "strict") -> Program:
    """Return the program with every op on float16 or bfloat16 written as casts around its f32 form.

    Afterwards only inputs, constants, casts, and ops that move elements have such types.  In
    `strict` and `reproducible` numerics every intermediate result is rounded to its type.  In
    `fast`, where results are real numbers up to rounding, a result that is used in the same program
    is used before it is rounded; conversions that the program itself asks for always round.
    Linear in the nodes; a program without such types is returned as it is.
    """
    if not any(node.dtype.is_half for node in all_nodes(program.results)):
        return program

    def widened(outputs: Sequence[Node]) -> list[Node]:
        widening = _Widening(program.graph, excess=numerics == "fast")
        return rebuild(outputs, program.graph, widening.change)[0]

    return rewired(program, widened(in_bodies(program.results, widened)))


class _Widening:
    """The state of one pass: `wide` holds the float32 forms of nodes that have 16 bits."""

    def __init__(self, graph: Graph, *, excess: bool) -> None:
        self.graph, self.excess = graph, excess
        self.wide: dict[Node, Node] = {}
        self.unrounded: set[Node] = set()

    def change(self, node: Node, args: tuple[Node, ...]) -> Node | None:
        """Return what a node becomes; `args` is what its arguments became, of the same types."""
        if node.op.kind in (Kind.CONTROL, Kind.ITEM):
            return None
        if not node.dtype.is_half and not any(x.dtype.is_half for x in node.args):
            return None
        mark = len(self.graph)
        after = self._converted(node, args) if node.op.name == "cast" else self._made(node, args)
        keep_origins(after, node, mark)
        return after

    def _wide(self, old: Node, new: Node) -> Node:
        """Return the float32 form of an argument; other types stay as they are."""
        if not old.dtype.is_half:
            return new
        known = self.wide.get(old)
        if known is None:
            known = self.wide[old] = self.graph.call("cast", new, dtype=F32)
        return known

    def _converted(self, node: Node, args: tuple[Node, ...]) -> Node:
        (old,), (new,) = node.args, args
        if old in self.unrounded:
            new = self.wide[old]
        if new.dtype is node.dtype:
            return new
        return self.graph.call("cast", new, dtype=node.dtype)

    def _made(self, node: Node, args: tuple[Node, ...]) -> Node:
        pairs = list(zip(node.args, args, strict=True))
        # What is written into an array is rounded to its type: the rest of it stays as it is.
        into = node.op.kind is Kind.UPDATE
        if moves(node) and (into or not any(old in self.unrounded for old in node.args)):
            self._move(node, pairs)
            return self.graph.apply(node.op, args, node.attrs)
        result = self.graph.apply(node.op, tuple(self._wide(*p) for p in pairs), node.attrs)
        if not node.dtype.is_half:
            return result
        rounded = self.graph.call("cast", result, dtype=node.dtype)
        if self.excess:
            self.wide[node] = result
            self.unrounded.add(node)
        return rounded

    def _move(self, node: Node, pairs: list[tuple[Node, Node]]) -> None:
        """Choose the float32 form of moved elements where it is not a conversion of the result."""
        if node.op.name == "constant":
            number = constant_value(node)
            assert number is not None, "a constant has a value"
            self.wide[node] = self.graph.constant(number, F32)
        elif node.op.kind is Kind.VIEW and node.op.name in WHOLE:
            wide = tuple(self._wide(*p) for p in pairs)
            self.wide[node] = self.graph.apply(node.op, wide, node.attrs)
