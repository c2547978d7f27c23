"""Counting for people: operations and bytes of a program, for given extents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.errors import StructureError, explain
from chainrule.frontend.operands import as_operand, graph_of, node_of
from chainrule.frontend.pytree import tree_flatten
from chainrule.frontend.value import Value
from chainrule.ir.dims import evaluate_extent
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import Type
from chainrule.ir.walk import topological
from chainrule.ops.cost import flops_of

__all__ = ["Counts", "count"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a program computes and moves, before anything is fused or stored.

    Attributes:
        flops: Floating-point operations; a transcendental function counts its polynomial.
        contraction_flops: Those of matrix products, 2 m n k each.
        nodes: Expressions in the program.
        input_bytes: Bytes of all inputs.
        output_bytes: Bytes of all outputs.
    """

    flops: int
    contraction_flops: int
    nodes: int
    input_bytes: int
    output_bytes: int

    def ratio(self, forward: Counts) -> float:
        """Return the flops as a multiple of those of the forward program."""
        return self.flops / forward.flops if forward.flops else float("inf")

    def __str__(self) -> str:
        share = self.contraction_flops / self.flops if self.flops else 0.0
        return (
            f"{self.flops:,} flops ({share:.0%} in matrix products) in {self.nodes:,} nodes, "
            f"{self.input_bytes:,} bytes in, {self.output_bytes:,} bytes out"
        )


def count(program: Any, dims: Mapping[str, int] | None = None) -> Counts:
    """Count a program's work; linear in its nodes.

    Args:
        program: A program, or expressions of symbols, nested at will; common subexpressions are
            nodes once and counted once.
        dims: A number for every named dim.

    Raises:
        KeyError: A named dim has no number.
        StructureError: It is neither a program nor made of expressions.

    >>> from chainrule.ir.graph import Graph
    >>> from chainrule.ir.types import F64, Type
    >>> from chainrule.ops import OPS
    >>> g = Graph(OPS)
    >>> a, b = g.input("a", Type(F64, (3, 4))), g.input("b", Type(F64, (4, 5)))
    >>> product = g.call("contract", a, b, batch=((), ()), summed=((1,), (0,)))
    >>> count(Program("f", (a, b), (product,), ("a", "b"), ("",))).flops
    120
    """
    program = program if isinstance(program, Program) else _program(program)
    numbers = dims or {}
    nodes = topological(program.outputs)
    work = [(n, evaluate_extent(flops_of(n), numbers)) for n in nodes]
    return Counts(
        flops=sum(f for _, f in work),
        contraction_flops=sum(f for n, f in work if n.op.kind is Kind.CONTRACT),
        nodes=len(nodes),
        input_bytes=_bytes([n.type for n in program.inputs], numbers),
        output_bytes=_bytes([n.type for n in program.outputs], numbers),
    )


def _program(expressions: Any) -> Program:
    """Return expressions as a program of the symbols in them."""
    leaves = tree_flatten(expressions)[0]
    if not leaves or not all(isinstance(x, Value) for x in leaves):
        raise StructureError(
            explain("what is counted is a program, or expressions of symbols",
                    f"got  {expressions!r:.60}",
                    hint="of a function: cr.jit(fn).lower(*args).compile().cost")
        )  # fmt: skip
    operands = [as_operand(x) for x in leaves]
    graph = graph_of(operands)
    nodes = tuple(node_of(x, graph) for x in operands)
    inputs = tuple(n for n in topological(nodes) if n.op.name == "input")
    paths = tuple(str(n.attributes["name"]) for n in inputs)
    return Program("expressions", inputs, nodes, paths, tuple(map(str, range(len(nodes)))))


def _bytes(types: Sequence[Type], dims: Mapping[str, int]) -> int:
    return sum(t.dtype.nbytes * evaluate_extent(t.size, dims) for t in types)
