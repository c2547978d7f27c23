"""Roots of what vanishes together with its slope: their slope there is 0, not 0 times infinity.

`sqrt(w @ (v * v))` is a length: at v = 0 its slopes along v and -v cancel, and the subgradient of
least norm is 0.  The chain rule sees an infinite slope of the root and a slope 0 of what is under
it.  So the root is taken as a constant where *all squares under it* are 0, which its structure
tells; where it does not, as in `sqrt(x)`, the infinity stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.types import I64
from chainrule.ir.walk import base_of, rebuild

__all__ = ["flat_cusps"]

LENGTHS: Final = frozenset({"abs", "hypot", "norm"})
"Ops that are no smoother than |x| where they are 0."
STEEP: Final = frozenset({"log1p", "expm1", "sinh", "tanh", "asinh", "atanh", "sin", "tan", "asin",
                          "atan", "erf"})  # fmt: skip
"Functions that are 0 at 0, with a finite slope."
LINEAR: Final = frozenset({"contract", "neg", "mul"})
"Ops that are linear in each of their operands."
NEAR: Final = 8
"Nodes that may stand between a vector and its image."
DEEP: Final = 24
"Nodes under a root that are looked at."


def flat_cusps(outputs: Sequence[Node]) -> list[Node]:
    """Take roots as constants where what is under them vanishes with its slope.

    Run it when powers have been merged: sign(x) times such a root has an infinite slope.
    """

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if not _is_root(node):
            return None
        base, graph = args[0], node.graph
        flat = base.equals(0) if base.op.name in LENGTHS else _Search().flat(base)
        if flat is None:
            return None
        # Where another factor is infinite it is NaN, and stays so.
        zero = base.equals(0) & flat
        kept = graph.select(zero, graph.full_like(base, 1), base)
        return graph.select(zero, 0.0, graph.apply(node.op, (kept, *args[1:]), node.attrs))

    return rebuild(outputs, outputs[0].graph, change)[0] if outputs else []


def _is_root(node: Node) -> bool:
    if node.op.name != "pow":
        return node.op.name in ("sqrt", "cbrt")
    exponent = constant_value(node.args[1])
    return exponent is not None and 0 < exponent < 1


class _Search:
    """Where a node is 0 and so are its slopes, as a condition of its shape; None if unknown."""

    def __init__(self) -> None:
        self._left = DEEP

    def flat(self, node: Node) -> Node | None:
        """Return where `node` vanishes with its slope."""
        self._left -= 1
        if self._left < 0 or not node.dtype.is_float:
            return None
        name = node.op.name
        if name in ("add", "sub"):
            return _half_angle(node) if name == "sub" else self._both(node)
        if name == "mul":
            return self._product(node)
        if name == "pow":
            exponent = constant_value(node.args[1])
            power = exponent is not None and 1 < exponent < math.inf
            return node.args[0].equals(0) if power else None
        if name in {"div", "neg"} or name in STEEP:
            return self.flat(node.args[0])
        if name == "sum":
            inner = self.flat(node.args[0])
            return None if inner is None else _everywhere(inner, node.attributes["axes"])
        if name == "contract":
            return self._contraction(node)
        if node.op.kind is Kind.VIEW:
            inner = self.flat(node.args[0]) if len(node.args) == 1 else None
            return None if inner is None else node.graph.apply(node.op, (inner,), node.attrs)
        return None

    def _both(self, node: Node) -> Node | None:
        found = [self.flat(a) for a in node.args]
        return None if found[0] is None or found[1] is None else found[0] & found[1]

    def _product(self, node: Node) -> Node | None:
        a, b = node.args
        if _leads(a, b) or _leads(b, a):
            return a.equals(0) & b.equals(0)
        found = [f for x in (a, b) if (f := self.flat(x)) is not None]
        return found[0] | found[1] if len(found) == 2 else found[0] if found else None

    def _contraction(self, node: Node) -> Node | None:
        """Of x·Ax: where x and Ax are 0.  Of weights and squares: where the squares are."""
        a, b = node.args
        if _leads(a, b) or _leads(b, a):
            zeros = [_along(node, at, x.equals(0)) for at, x in enumerate(node.args)]
            return zeros[0] & zeros[1]
        for at, x in enumerate(node.args):
            found = self.flat(x)
            if found is not None:
                return _along(node, at, found)
        return None


def _along(contraction: Node, at: int, condition: Node) -> Node:
    """Return where a condition on operand `at` holds for all that is summed into an element."""
    graph, shape = contraction.graph, contraction.shape
    batch, summed = (contraction.attributes[k][at] for k in ("batch", "summed"))
    if len(batch) == len(shape) and list(batch) == sorted(batch):
        return _everywhere(condition, summed)
    # With free axes: where it holds for the whole operand.
    whole = _everywhere(condition, range(condition.type.rank))
    return graph.broadcast(whole, shape, ())


def _half_angle(node: Node) -> Node | None:
    """Of c - c cos(x): where x is 0."""
    number, rest = constant_value(node.args[0]), node.args[1]
    if number is None or number == 0:
        return None
    if rest.op.name == "mul" and constant_value(rest.args[1]) == number:
        rest = rest.args[0]
    elif number != 1:
        return None
    return rest.args[0].equals(0) if rest.op.name == "cos" else None


def _everywhere(condition: Node, axes: Sequence[int]) -> Node:
    """Return where a condition holds for all elements along axes; for none, it does."""
    graph = condition.graph
    broken = graph.call("cast", ~condition, dtype=I64)
    return graph.call("sum", broken, axes=tuple(sorted(axes))).equals(0)


def _leads(x: Node, image: Node) -> bool:
    """Tell whether `image` is A x, of whatever A is made."""
    x, stack, left = base_of(x), [image], NEAR
    while stack and left:
        y, left = base_of(stack.pop()), left - 1
        if y is x:
            return True
        if y.op.name in LINEAR:
            stack += y.args
    return False
