"""Logarithms moved below views, to meet what they simplify with."""

from __future__ import annotations

from typing import Final

from chainrule.ir.graph import Node
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["LIFTS"]

MOVES: Final = frozenset({"broadcast", "reshape", "transpose", "slice", "gather"})
MEETS: Final = frozenset({"softmax", "sigmoid", "exp"})
"Ops whose logarithm has a form of its own."
DEPTH: Final = 16
"Views that are looked through, at most."


def _log_of_view(node: Node) -> Node | None:
    """Take log(view(softmax(x))) as view(log(softmax(x))): one step, the rules do the rest."""
    (x,) = node.args
    inner = x
    for _ in range(DEPTH):
        if inner.op.name not in MOVES:
            break
        inner = inner.args[0]
    if inner is x or inner.op.name not in MEETS:
        return None
    below = node.graph.call("log", x.args[0])
    return node.graph.apply(x.op, (below, *x.args[1:]), x.attrs)


LIFTS: Final = (Step(("log",), _log_of_view, Keeps.REALS),)
