"""Masks of cotangents: a zero that stands for "this branch was not taken" keeps out infinities.

The cotangent of a branch is `select(condition, g, 0)`.  Where the branch was not taken, its slopes
may be infinite, and 0 times infinity is NaN.  So products select after multiplying, by the masks
of both factors; and sums, signs and moves of masked cotangents are masked themselves, so that the
next product still sees the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.ops.laying import added_up, laid

__all__ = ["added", "moved", "product", "summed"]

MOVES: Final = frozenset({
    "sum", "reshape", "transpose", "slice", "place", "concatenate", "update",
})  # fmt: skip
"Ops whose pull-back moves elements without adding them up, so that a mask may move along."

ALONG: Final = frozenset({"softmax", "log_softmax"})
"Ops that keep the shape and combine elements along axes."


def product(g: Node, slope: Node | float | None) -> Node | None:
    """Multiply a cotangent (or tangent) by a slope, selecting after multiplying."""
    if slope is None:
        return None
    number = constant_value(slope) if isinstance(slope, Node) else slope
    if number == 1:
        return g
    masks, inside = _split(g)
    if number is not None:
        return _masked(masks, -inside if number == -1 else inside * slope)
    assert isinstance(slope, Node), "what is no node is a number"
    others, rest = _split(slope)
    return _masked([*masks, *(m for m in others if m not in masks)], inside * rest)


def added(a: Node, b: Node) -> Node:
    """Add cotangents; where both are zero outside masks, so is their sum, outside of both.

    Masks that both have move outwards: (k and m) or (n and m) is m and (k or n).
    """
    masks, inside = _split(a)
    others, rest = _split(b)
    common = [m for m in masks if m in others]
    own = [m for m in masks if m not in common]
    foreign = [m for m in others if m not in common]
    total = summed(_masked(own, inside), _masked(foreign, rest))
    if own and foreign:
        one, other = (reduce(lambda m, n: _logic("bit_and", m, n), c) for c in (own, foreign))
        if _logic("bit_not", one) is not other and _logic("bit_not", other) is not one:
            total = _masked([_logic("bit_or", one, other)], total)
    return _masked(common, total)


def summed(a: Node, b: Node) -> Node:
    """Add cotangents; of one that is zero but where an index points, only that is added."""
    for total, term in ((a, b), (b, a)):
        terms = laid(term)
        if terms and all(t.index for t in terms) and constant_value(total) != 0:
            found = added_up(total, terms)
            if found is not None:
                return found
    return a + b


def moved(y: Node, g: Node) -> list[Node | None] | None:
    """Pull a masked cotangent back through an op that moves elements; None for other ops.

    A mask that was copied along the axes of a broadcast, as `vmap` copies conditions, holds for the
    sum over them; one that is constant along the axes of a softmax, for all that sums along them.
    """
    name, pull = y.op.name, y.op.pull
    if name not in MOVES and name not in {"cast", "broadcast", *ALONG}:
        return None
    masks, inside = _split(g)
    if not masks:
        return None
    assert pull is not None, f"{name} has a pull-back"

    def back(x: Node) -> list[Node | None]:
        return list(pull(x, y, *y.args, **y.attributes))

    if name == "broadcast":
        copied = [m for m in masks if m.op is y.op and m.attrs == y.attrs]
        (total,) = back(_masked([m for m in masks if m not in copied], inside))
        return [None if total is None else _masked([m.args[0] for m in copied], total)]
    if name in ALONG:
        constant = [m for m in masks if _varies(m).isdisjoint(y.attributes["axes"])]
        (total,) = back(_masked([m for m in masks if m not in constant], inside))
        return [None if total is None else _masked(constant, total)]
    places = [[m] if name == "cast" else back(m) for m in masks]
    found: list[Node | None] = []
    for i, x in enumerate(back(inside)):
        own = [p[i] for p in places]
        found.append(None if x is None else _masked([m for m in own if m is not None], x))
    return found


def _split(g: Node) -> tuple[list[Node], Node]:
    """Return the masks that a cotangent is zero outside of, outermost first, and the rest."""
    masks: list[Node] = []
    while g.op.name == "select":
        condition, a, b = g.args
        if constant_value(b) == 0:
            mask, g = condition, a
        elif constant_value(a) == 0:
            mask, g = _logic("bit_not", condition), b
        else:
            break
        if mask not in masks:
            masks.append(mask)
    return masks, g


def _varies(mask: Node) -> set[int]:
    """Return the axes along which a mask may differ."""
    axes = tuple(range(mask.type.rank))
    while mask.op.name == "broadcast":
        axes = tuple([axes[i] for i in mask.attributes["axes"]])
        mask = mask.args[0]
    return set(axes)


def _masked(masks: Sequence[Node], g: Node) -> Node:
    for mask in reversed(masks):
        g = g.graph.select(mask, g, 0.0)
    return g


def _logic(name: str, *conditions: Node) -> Node:
    """Combine conditions, below the broadcast that all are behind."""
    first = conditions[0]
    if first.op.name == "broadcast" and all(
        c.op is first.op and c.attrs == first.attrs for c in conditions
    ):
        inner = first.graph.call(name, *[c.args[0] for c in conditions])
        return first.graph.apply(first.op, (inner,), first.attrs)
    return first.graph.call(name, *conditions)
