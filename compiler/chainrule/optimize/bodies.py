"""Passes inside bodies: what is done to a program is done to every loop's and branch's body too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from chainrule.ir.body import Body, bodies_of, with_bodies
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.walk import reached, rebuild

__all__ = ["Pass", "everywhere", "in_bodies"]

Pass: TypeAlias = Callable[[Sequence[Node]], list[Node]]
"""From the results of a program, or of a body, to better ones."""


def in_bodies(results: Sequence[Node], apply: Pass, *, ruled: bool = True) -> list[Node]:
    """Apply a pass to the bodies that results depend on, those inside others first.

    Depth is that of the nesting in the user's program; a body is treated once.  Unless `ruled`,
    calls whose derivatives are rules of their own stay as they are.
    """
    if not any(n.op.kind is Kind.CONTROL for n in reached(results)):
        return list(results)
    known: dict[Body, Body] = {}

    def changed(body: Body) -> Body:
        if body not in known:
            known[body] = Body(
                body.inputs, tuple(apply(in_bodies(body.outputs, apply, ruled=ruled)))
            )
        return known[body]

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        given = not ruled and node.attributes.get("custom") is not None
        if given or not any(True for _ in bodies_of(node)):
            return None
        return node.graph.apply(node.op, args, with_bodies(node, changed))

    return rebuild(results, results[0].graph, change)[0]


def everywhere(results: Sequence[Node], apply: Pass) -> list[Node]:
    """Apply a pass to a program and then to the bodies left in it, outermost first."""
    found = apply(results)

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if not any(True for _ in bodies_of(node)):
            return None
        attrs = with_bodies(
            node, lambda body: Body(body.inputs, tuple(everywhere(body.outputs, apply)))
        )
        return node.graph.apply(node.op, args, attrs)

    if not any(n.op.kind is Kind.CONTROL for n in reached(found)):
        return found
    return rebuild(found, found[0].graph, change)[0]
