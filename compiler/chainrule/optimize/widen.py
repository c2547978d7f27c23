"""Arrays of 16 bits widened: loads and stores of them, and arithmetic in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.ir.body import Body, bodies_of, with_bodies
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.halves import moves
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import F32, Type
from chainrule.ir.walk import rebuild
from chainrule.numerics import STRICT, Numerics
from chainrule.ops.control import COUNT, Loop, results_of
from chainrule.optimize.bodies import in_bodies
from chainrule.optimize.expand import keep_origins, rewired
from chainrule.optimize.loops import all_nodes

__all__ = ["widen"]

WHOLE: Final = frozenset({"broadcast", "reshape", "transpose"})
"Views of all elements: the view of a converted array, so that several share one conversion."


def widen(program: Program, numerics: Numerics = STRICT) -> Program:
    """Return the program with every op on float16 or bfloat16 written as casts around its f32 form.

    Afterwards only inputs, constants, casts, and ops that move elements have such types.  Every
    intermediate result is rounded to its type.  With excess precision a result that is used in the
    same program is used before it is rounded, also by the next step of a loop and across the ends
    of bodies; conversions that the program itself asks for always round.  Linear in the nodes; a
    program without such types is returned as it is.
    """
    if not any(node.dtype.is_half for node in all_nodes(program.results)):
        return program
    graph = program.graph
    if numerics.excess_precision:
        names: dict[Node, Node] = {}
        widening = _Widening(graph, excess=True, names=names)
        return rewired(program, rebuild(program.results, graph, widening.change)[0])

    def rewritten(outputs: Sequence[Node]) -> list[Node]:
        return rebuild(outputs, graph, _Widening(graph, excess=False, names={}).change)[0]

    return rewired(program, rewritten(in_bodies(program.results, rewritten)))


class _Widening:
    """The state of one pass: `wide` holds the float32 forms of nodes that have 16 bits.

    `names` are the float32 inputs of bodies that stand for inputs of 16 bits, in the whole program:
    bodies that share inputs still do.
    """

    def __init__(self, graph: Graph, *, excess: bool, names: dict[Node, Node]) -> None:
        self.graph, self.excess, self.names = graph, excess, names
        self.wide: dict[Node, Node] = {}
        self.unrounded: set[Node] = set()

    def change(self, node: Node, args: tuple[Node, ...]) -> Node | None:
        """Return what a node becomes; `args` is what its arguments became, of the same types."""
        if node.op.kind is Kind.ITEM:
            return self._item(node, args[0])
        if node.op.kind is Kind.CONTROL:
            return self._bundle(node, args) if self.excess else None
        if not node.dtype.is_half and not any(x.dtype.is_half for x in node.args):
            return None
        mark = len(self.graph)
        after = self._converted(node, args) if node.op.name == "cast" else self._made(node, args)
        keep_origins(after, node, mark)
        return after

    def widened(self, old: Node, new: Node) -> Node:
        """Return the float32 form of an argument; other types stay as they are."""
        if not old.dtype.is_half:
            return new
        known = self.wide.get(old)
        if known is None:
            known = self.wide[old] = self.graph.call("cast", new, dtype=F32)
        return known

    def _kept(self, node: Node, result: Node) -> Node:
        """Return a result rounded, and use it as it is where that is allowed."""
        if self.excess:
            single = result.dtype is F32
            self.wide[node] = result if single else self.graph.call("cast", result, dtype=F32)
            self.unrounded.add(node)
        return self.graph.call("cast", result, dtype=node.dtype)

    def _converted(self, node: Node, args: tuple[Node, ...]) -> Node:
        (old,), (new,) = node.args, args
        if old in self.unrounded:
            new = self.wide[old]
        if new.dtype is node.dtype:
            return new
        if node.dtype.is_half and not new.dtype.is_half and not node.attributes.get("rounds", True):
            return self._kept(node, new)
        return self.graph.call("cast", new, dtype=node.dtype)

    def _made(self, node: Node, args: tuple[Node, ...]) -> Node:
        pairs = list(zip(node.args, args, strict=True))
        # What is written into an array of 16 bits is rounded: the rest of it stays as it is.  One
        # that is float32 already, as a loop carries it, takes what is written as it is.
        into = node.op.kind is Kind.UPDATE and node.args[0] not in self.unrounded
        if moves(node) and (into or not any(old in self.unrounded for old in node.args)):
            self._move(node, pairs)
            return self.graph.apply(node.op, args, node.attrs)
        result = self.graph.apply(node.op, tuple(self.widened(*p) for p in pairs), node.attrs)
        return self._kept(node, result) if node.dtype.is_half else result

    def _move(self, node: Node, pairs: list[tuple[Node, Node]]) -> None:
        """Choose the float32 form of moved elements where it is not a conversion of the result."""
        if node.op.name == "constant":
            number = constant_value(node)
            assert number is not None, "a constant has a value"
            self.wide[node] = self.graph.constant(number, F32)
        elif node.op.kind is Kind.VIEW and node.op.name in WHOLE:
            wide = tuple(self.widened(*p) for p in pairs)
            self.wide[node] = self.graph.apply(node.op, wide, node.attrs)

    # Bodies

    def _item(self, node: Node, bundle: Node) -> Node | None:
        index: int = node.attrs[0]
        if not self.excess or not node.dtype.is_half or index == COUNT:
            return None
        result = results_of(bundle)[index]
        return None if result.type == node.type else self._kept(node, result)

    def _bundle(self, node: Node, args: tuple[Node, ...]) -> Node | None:
        """Let float32 values into bodies and out of them, where they are not rounded."""
        bodies = list(bodies_of(node))
        if not bodies:
            return None
        loop = Loop.of(node) if node.op.name == "loop" else None
        carries = 0 if loop is None else loop.count
        # A body sees the position of a loop first, and not the number of a branch.
        first = len(args) - len(bodies[0].inputs)
        given, opened = list(args), set()
        for i, (old, new) in enumerate(zip(node.args, args, strict=True)):
            if old.dtype.is_half and (old in self.unrounded or i < carries):
                given[i] = self.widened(old, new)
                opened.add(i - first)
        insides = [_Inside(self, body, opened) for body in bodies]
        branches = insides if loop is None or loop.test is None else insides[:1]
        for k in range(len(bodies[0].outputs)):
            if k < carries or any(inside.is_unrounded(k) for inside in branches):
                for inside in branches:
                    inside.open(k)
        changed = iter([inside.body(self.names) for inside in insides])
        attrs = with_bodies(node, lambda _body: next(changed))
        return self.graph.apply(node.op, tuple(given), attrs)

    def open(self, inputs: Sequence[Node]) -> dict[Node, Node]:
        """Take float32 inputs in the place of some of a body; return what stands for these."""
        known: dict[Node, Node] = {}
        for x in inputs:
            wide = self.names.get(x)
            if wide is None:
                wide = self.graph.input(x.attributes["name"], Type(F32, x.shape))
                self.names[x] = wide
            self.wide[x] = wide
            self.unrounded.add(x)
            known[x] = self.graph.call("cast", wide, dtype=x.dtype)
        return known


class _Inside:
    """A body that is being widened: what its outputs became."""

    def __init__(self, outside: _Widening, body: Body, opened: set[int]) -> None:
        self._old, self._opened = body, opened
        self._widening = _Widening(outside.graph, excess=True, names=outside.names)
        known = self._widening.open([body.inputs[i] for i in sorted(opened)])
        self._new = rebuild(body.outputs, outside.graph, self._widening.change, known)[0]

    def is_unrounded(self, k: int) -> bool:
        """Tell whether output k is computed, and not read with its 16 bits."""
        return self._old.outputs[k] in self._widening.unrounded

    def open(self, k: int) -> None:
        """Return output k in float32."""
        self._new[k] = self._widening.widened(self._old.outputs[k], self._new[k])

    def body(self, names: dict[Node, Node]) -> Body:
        """Return the body as it is now."""
        inputs = enumerate(self._old.inputs)
        return Body(
            tuple(names[x] if i in self._opened else x for i, x in inputs), tuple(self._new)
        )
