"""Running combinations along one axis.

One primitive is enough: the linear recurrence r_j = a_j r_{j-1} + b_j.  Cumulative sums and
products are recurrences, and its adjoint is a recurrence run the other way, so derivatives of any
order are exact, zeros included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from chainrule.ir.dims import Extent, larger
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import Array
from chainrule.ops._declare import declare, same_type

__all__ = ["cumsum", "recurrence", "shifted"]


def _spread_over(args: Sequence[Node], flags: Sequence[bool], size: Extent) -> list[Node]:
    return [
        x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
        for x, f in zip(args, flags, strict=True)
    ]


def _others(_y: Node, *args: Node, axis: int, reverse: bool) -> list[Mapping[int, int]]:
    del reverse
    return [{i: i for i in range(x.type.rank) if i != axis} for x in args]


def _cumsum_value(x: Array, *, axis: int, reverse: bool) -> Array:
    if reverse:
        return np.flip(np.cumsum(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)
    return np.cumsum(x, axis=axis, dtype=x.dtype)


cumsum: Final[Op] = declare(
    Op(
        "cumsum", Kind.CUMULATE, ("axis", "reverse"),
        same_type("cumsum", "number"), _cumsum_value, Special(),
        pull=lambda g, y, x, *, axis, reverse: (cumsum(g, axis=axis, reverse=not reverse),),
        push=lambda tangents, y, x, *, axis, reverse: cumsum(
            tangents[0], axis=axis, reverse=reverse
        ),
        batch=lambda args, flags, size, *, axis, reverse: cumsum(
            args[0], axis=axis + 1, reverse=reverse
        ),
        linear=True, apart=_others,
        notation=Notation("cumsum({0})", r"\operatorname{{cumsum}}({0})"),
    )
)  # fmt: skip


def _recurrence_value(a: Array, b: Array, *, axis: int, reverse: bool) -> Array:
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    r = np.empty_like(b, dtype=np.result_type(a, b))
    order = range(len(b) - 1, -1, -1) if reverse else range(len(b))
    before: Any = None
    for j in order:
        # The first step has nothing before it: whatever a holds there, it is not used.
        r[j] = b[j] if before is None else a[j] * before + b[j]
        before = r[j]
    return np.moveaxis(r, 0, axis)


def shifted(x: Node, axis: int, *, forward: bool) -> Node:
    """Move elements one place along `axis`; the freed place is 0."""
    graph = x.graph
    rank = x.type.rank
    # Of no elements, none move: without a bound there would be -1 of them.
    moved = larger(x.shape[axis] - 1, 0)
    short = tuple(moved if i == axis else e for i, e in enumerate(x.shape))
    one = tuple(int(i == axis) for i in range(rank))
    none = (0,) * rank
    steps = (1,) * rank
    inner = graph.call("slice", x, starts=none if forward else one, shape=short, steps=steps)
    return graph.call("place", inner, starts=one if forward else none, shape=x.shape, steps=steps)


def _recurrence_pull(
    g: Node, y: Node, a: Node, _b: Node, *, axis: int, reverse: bool
) -> tuple[Node, Node]:
    # s_j = g_j + a_{j+1} s_{j+1} is the cotangent of b_j, and s_j r_{j-1} that of a_j.
    s = recurrence(shifted(a, axis, forward=reverse), g, axis=axis, reverse=not reverse)
    return s * shifted(y, axis, forward=not reverse), s


def _recurrence_push(
    tangents: tuple[Node | None, Node | None], y: Node, a: Node, b: Node, *, axis: int,
    reverse: bool,
) -> Node:  # fmt: skip
    ta, tb = tangents
    drive = tb if tb is not None else y.graph.full_like(b, 0.0)
    if ta is not None:
        drive = drive + ta * shifted(y, axis, forward=not reverse)
    return recurrence(a, drive, axis=axis, reverse=reverse)


recurrence: Final[Op] = declare(
    Op(
        "recurrence", Kind.CUMULATE, ("axis", "reverse"),
        same_type("recurrence", "number"),
        _recurrence_value, Special(), pull=_recurrence_pull, push=_recurrence_push,
        batch=lambda args, flags, size, *, axis, reverse: recurrence(
            *_spread_over(args, flags, size), axis=axis + 1, reverse=reverse
        ),
        flops=2, apart=_others,
        notation=Notation("recurrence({0}, {1})", r"\operatorname{{rec}}({0}, {1})"),
    )
)  # fmt: skip
