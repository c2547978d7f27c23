"""The bodies of loops, branches and calls as programs of their own."""

from __future__ import annotations

from collections.abc import Mapping

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


def body_programs(
    node: Node, items: Mapping[int, Node], handed: Mapping[Node, int]
) -> list[Program]:
    """Return the programs of a node's bodies.

    A loop's carries are updated in place; so are arguments of a branch that its results take over.
    """
    if node.op.name == "loop":
        donated = tuple((1 + k, k) for k in range(Loop.of(node).count))
    else:
        first = len(copied_arguments(node))
        donated = tuple((handed[n] - first, k) for k, n in items.items() if n in handed)
    # A loop's test only looks at the carries.
    tests = 1 if node.op.name == "loop" else len(list(bodies_of(node)))
    return [_program(body, donated if i < tests else ()) for i, body in enumerate(bodies_of(node))]


def _program(body: Body, donated: tuple[tuple[int, int], ...]) -> Program:
    return Program(
        name="body", inputs=body.inputs, outputs=body.outputs,
        paths=tuple(str(n.attributes["name"]) for n in body.inputs),
        output_paths=("",) * len(body.outputs), donated=donated,
    )  # fmt: skip
