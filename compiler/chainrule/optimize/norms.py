"""Norms, however they are contracted, as roots of sums of squares."""

from __future__ import annotations

from typing import Final

from chainrule.ir.graph import Node
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["NORMS"]


def _norm_of_contraction(node: Node) -> Node | None:
    """Take sqrt(v @ v), however it is contracted, perhaps scaled, as that of a sum of squares."""
    (inner,) = node.args
    graph = node.graph
    if inner.op.name in ("mul", "div"):
        for at, part in enumerate(inner.args[: 2 if inner.op.name == "mul" else 1]):
            squares = _squares(part)
            if squares is not None:
                args = tuple([squares if i == at else a for i, a in enumerate(inner.args)])
                return graph.call("sqrt", graph.apply(inner.op, args, inner.attrs))
        return None
    squares = _squares(inner)
    return None if squares is None else graph.call("sqrt", squares)


def _squares(node: Node) -> Node | None:
    """Return a contraction of an array with itself as a sum of squares."""
    given = node
    while (
        node.type.size == 1 and node.op.name in ("reshape", "sum") and node.args[0].type.size == 1
    ):
        node = node.args[0]
    if node.op.name != "contract":
        return None
    x_ = _bare(node.args[0])
    if x_ is not _bare(node.args[1]):
        return None
    if node.type.size == 1 and _sums_in_order(node):
        total = node.graph.call("sum", x_ * x_, axes=tuple(range(x_.type.rank)))
        return node.graph.call("reshape", total, shape=given.shape)
    (first, second), (summed, same) = node.attributes["batch"], node.attributes["summed"]
    x_ = node.args[0]
    free = x_.type.rank - len(first) - len(summed)
    if x_ is not node.args[1] or free or first != second or summed != same:
        return None
    if list(first) != sorted(first) or given is not node:
        return None
    return node.graph.call("sum", x_ * x_, axes=tuple(sorted(summed)))


def _bare(x: Node) -> Node:
    """Look through what only adds axes of extent 1, or takes them away."""
    while x.op.name == "reshape" and _wide(x) == _wide(x.args[0]):
        x = x.args[0]
    return x


def _wide(x: Node) -> list[object]:
    return [n for n in x.shape if n != 1]


def _sums_in_order(node: Node) -> bool:
    """Tell whether all axes that are longer than 1 are summed, in one order in both operands."""
    found = []
    for x, axes in zip(node.args, node.attributes["summed"], strict=True):
        long = [i for i, n in enumerate(x.shape) if n != 1]
        found.append([long.index(i) for i in axes if i in long])
        if len(found[-1]) != len(long):
            return False
    return found[0] == found[1]


NORMS: Final = (Step(("sqrt",), _norm_of_contraction, Keeps.REALS),)
"Steps that bring sums of squares into the form that the stable forms' rules know."
