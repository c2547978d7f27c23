"""The bodies of loops, branches and calls as programs of their own."""

from __future__ import annotations

from chainrule.ir.body import Body, bodies_of
from chainrule.ir.graph import Node
from chainrule.ir.program import Program
from chainrule.ops.control import Loop

__all__ = ["body_programs", "copied_arguments"]


def copied_arguments(node: Node) -> range:
    """Return which arguments are copied, not read in place: a loop's first carries, an index."""
    match node.op.name:
        case "loop":
            return range(Loop.of(node).count)
        case "switch":
            return range(1)
        case _:
            return range(0)


def body_programs(node: Node) -> list[Program]:
    """Return the programs of a node's bodies; a loop's carries are updated in place."""
    donated: tuple[tuple[int, int], ...] = ()
    if node.op.name == "loop":
        donated = tuple((1 + k, k) for k in range(Loop.of(node).count))
    return [_program(body, donated if i == 0 else ()) for i, body in enumerate(bodies_of(node))]


def _program(body: Body, donated: tuple[tuple[int, int], ...]) -> Program:
    return Program(
        name="body", inputs=body.inputs, outputs=body.outputs,
        paths=tuple(str(n.attributes["name"]) for n in body.inputs),
        output_paths=("",) * len(body.outputs), donated=donated,
    )  # fmt: skip
