"""Neighbours: sums of shifted arrays, as derivatives of `x[1:]` and `x[:-1]` make them.

Each slice of an argument hands back zeros with its cotangent laid in.  Two such that together cover
everything are one array in parts: the first alone, the sum where they overlap, the second alone.
That fills no zeros, and no sum of whole arrays is taken.  So it is with several that lie side by
side, as the gates of a recurrent cell hand back.
"""

from __future__ import annotations

from typing import Final

from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["STENCILS"]


def _sum_of_places(node: Node) -> Node | None:
    """Take place(a) + place(b) that cover an axis together as a concatenation."""
    first, second = node.args
    one, other = _along(first), _along(second)
    if one is None or other is None or one[0] != other[0]:
        return None
    if one[1] > other[1]:
        first, second, one, other = second, first, other, one
    axis, start, end = one
    _, begin, stop = other
    # Neither holds the other, and nothing is left out.
    if start != 0 or not 0 < begin <= end < stop or stop != node.shape[axis]:
        return None
    a, b = first.args[0], second.args[0]
    parts = [
        _part(a, axis, 0, begin),
        *([_part(a, axis, begin, end) + _part(b, axis, 0, end - begin)] if begin < end else []),
        _part(b, axis, end - begin, stop - begin),
    ]
    return node.graph.call("concatenate", *parts, axis=axis)


def _along(node: Node) -> tuple[int, int, int] | None:
    """Return the one axis along which something is laid into zeros, and from where to where."""
    if node.op.name != "place":
        return None
    (x,), (starts, shape, steps) = node.args, node.attrs
    axes = [i for i, (e, n) in enumerate(zip(x.shape, shape, strict=True)) if e != n]
    if len(axes) != 1 or any(s != 1 for s in steps):
        return None
    (axis,) = axes
    start, extent = starts[axis], x.shape[axis]
    if not isinstance(start, int) or not isinstance(extent, int):
        return None
    return axis, start, start + extent


def _part(x: Node, axis: int, start: int, end: int) -> Node:
    if start == 0 and end == x.shape[axis]:
        return x
    shape = tuple(end - start if i == axis else e for i, e in enumerate(x.shape))
    starts = tuple(start if i == axis else 0 for i in range(x.type.rank))
    return x.graph.call("slice", x, starts=starts, shape=shape, steps=(1,) * x.type.rank)


# A sum with 0 turns -0 into 0, which a part alone keeps.
PARTS: Final = 16
"Terms of a sum that are looked at, to see whether they lie side by side."


def _side_by_side(node: Node) -> Node | None:
    """Take a sum of arrays placed side by side, which fill the whole, as their concatenation."""
    parts: list[Node] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.op.name == "add":
            waiting.extend(one.args)
        elif one.op.name == "place" and len(parts) < PARTS:
            parts.append(one)
        else:
            return None
    rank = node.type.rank
    if len(parts) < 2 or any(p.attrs[2] != (1,) * rank for p in parts):
        return None
    axes = {i for p in parts for i in range(rank) if p.args[0].shape[i] != node.shape[i]}
    if len(axes) != 1:
        return None
    (axis,) = axes
    by_start = {p.attrs[0][axis]: p.args[0] for p in parts}
    if len(by_start) != len(parts):
        return None
    found: list[Node] = []
    at: Extent = 0
    while at in by_start:
        x = by_start.pop(at)
        found.append(x)
        at = at + x.shape[axis]
        if x.shape[axis] == 0:
            return None
    if by_start or at != node.shape[axis]:
        return None
    return node.graph.call("concatenate", *found, axis=axis)


STENCILS: Final = (
    Step(("add",), _sum_of_places, Keeps.REALS),
    Step(("add",), _side_by_side, Keeps.REALS),
)
