"""The one contraction: sums of products over shared axes.

`matmul`, `dot`, `tensordot` and `einsum` are all written with it.  The result's axes are: the batch
axes, the free axes of the first operand, the free axes of the second, each in their own order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chainrule.errors import DTypeError, ShapeError, explain
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import Array, Type
from chainrule.ops._declare import declare

__all__ = ["contract", "free_axes"]

Pairs = tuple[tuple[int, ...], tuple[int, ...]]


def free_axes(rank: int, *taken: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that are in none of `taken`."""
    return tuple(i for i in range(rank) if not any(i in t for t in taken))


def _type(a: Type, b: Type, *, batch: Pairs, summed: Pairs) -> Type:
    if a.dtype is not b.dtype:
        raise DTypeError(explain("matmul: dtypes differ", f"{a}", f"{b}"))
    if a.dtype.kind == "bool":
        raise DTypeError(
            explain("matmul is not defined for bool", f"{a}", f"{b}", hint="cast to a number first")
        )
    for i, j in (*zip(*batch, strict=True), *zip(*summed, strict=True)):
        if a.shape[i] != b.shape[j]:
            raise ShapeError(
                explain(
                    f"matmul: axis {i} of the first operand is {a.shape[i]}, "
                    f"axis {j} of the second is {b.shape[j]}",
                    f"first   {a}", f"second  {b}",
                )
            )  # fmt: skip
    return Type(
        a.dtype,
        (
            *(a.shape[i] for i in batch[0]),
            *(a.shape[i] for i in free_axes(a.rank, batch[0], summed[0])),
            *(b.shape[i] for i in free_axes(b.rank, batch[1], summed[1])),
        ),
    )


def _letters(a_rank: int, b_rank: int, batch: Pairs, summed: Pairs) -> tuple[str, str, str]:
    names = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    first = [next(names) for _ in range(a_rank)]
    second = [""] * b_rank
    for i, j in (*zip(*batch, strict=True), *zip(*summed, strict=True)):
        second[j] = first[i]
    second = [s or next(names) for s in second]
    out = [first[i] for i in batch[0]]
    out += [first[i] for i in free_axes(a_rank, batch[0], summed[0])]
    out += [second[i] for i in free_axes(b_rank, batch[1], summed[1])]
    return "".join(first), "".join(second), "".join(out)


def _value(a: Array, b: Array, *, batch: Pairs, summed: Pairs) -> Array:
    x, y, z = _letters(a.ndim, b.ndim, batch, summed)
    result: Array = np.einsum(f"{x},{y}->{z}", a, b)
    return result


def _pull_first(g: Node, a: Node, b: Node, batch: Pairs, summed: Pairs) -> Node:
    """Contract the cotangent with b over b's free axes, then put the axes in a's order."""
    free_a = free_axes(a.type.rank, batch[0], summed[0])
    free_b = free_axes(b.type.rank, batch[1], summed[1])
    lead = len(batch[0])
    of_g = tuple(range(lead + len(free_a), lead + len(free_a) + len(free_b)))
    result = contract(g, b, batch=(tuple(range(lead)), batch[1]), summed=(of_g, free_b))
    # Axes of the result: batch, free of g (= free of a), free of b (= summed, in b's order).
    by_b = dict(zip(summed[1], summed[0], strict=True))
    order = (*batch[0], *free_a, *(by_b[j] for j in sorted(summed[1])))
    return _transposed(result, order)


def _pull_second(g: Node, a: Node, b: Node, batch: Pairs, summed: Pairs) -> Node:
    free_a = free_axes(a.type.rank, batch[0], summed[0])
    free_b = free_axes(b.type.rank, batch[1], summed[1])
    lead = len(batch[0])
    of_g = tuple(range(lead, lead + len(free_a)))
    result = contract(a, g, batch=(batch[0], tuple(range(lead))), summed=(free_a, of_g))
    # Axes of the result: batch, free of a (= summed, in a's order), free of g (= free of b).
    by_a = dict(zip(summed[0], summed[1], strict=True))
    order = (*batch[1], *(by_a[i] for i in sorted(summed[0])), *free_b)
    return _transposed(result, order)


def _transposed(x: Node, order: Sequence[int]) -> Node:
    """Send axis i of x to axis order[i]."""
    axes = tuple(int(i) for i in np.argsort(order))
    return x if axes == tuple(range(len(axes))) else x.graph.call("transpose", x, axes=axes)


def _pull(g: Node, _y: Node, a: Node, b: Node, *, batch: Pairs, summed: Pairs) -> tuple[Node, Node]:
    return _pull_first(g, a, b, batch, summed), _pull_second(g, a, b, batch, summed)


def _push(
    tangents: tuple[Node | None, Node | None], _y: Node, a: Node, b: Node, *, batch: Pairs,
    summed: Pairs,
) -> Node:  # fmt: skip
    ta, tb = tangents
    parts = []
    if ta is not None:
        parts.append(contract(ta, b, batch=batch, summed=summed))
    if tb is not None:
        parts.append(contract(a, tb, batch=batch, summed=summed))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _batch(
    args: Sequence[Node], flags: Sequence[bool], _size: Extent, *, batch: Pairs, summed: Pairs
) -> Node:
    a, b = args
    up = [tuple(i + int(f) for i in axes) for f, axes in zip(flags, batch, strict=True)]
    sums = [tuple(i + int(f) for i in axes) for f, axes in zip(flags, summed, strict=True)]
    if all(flags):
        return contract(a, b, batch=((0, *up[0]), (0, *up[1])), summed=(sums[0], sums[1]))
    result = contract(a, b, batch=(up[0], up[1]), summed=(sums[0], sums[1]))
    # The new axis is a free one: the first of a's, or the first of b's.
    at = len(up[0])
    if flags[1]:
        at += len(free_axes(a.type.rank, up[0], sums[0]))
    order = (at, *(i for i in range(result.type.rank) if i != at))
    return result if at == 0 else result.graph.call("transpose", result, axes=order)


def _apart(
    _y: Node, a: Node, b: Node, *, batch: Pairs, summed: Pairs
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    own, others = (free_axes(x.type.rank, batch[i], summed[i]) for i, x in enumerate((a, b)))
    lead = len(batch[0])
    after = range(lead + len(own), lead + len(own) + len(others))
    return (
        dict(enumerate((*batch[0], *own))),
        dict(enumerate(batch[1])) | dict(zip(after, others, strict=True)),
    )


contract: Final[Op] = declare(
    Op(
        "contract", Kind.CONTRACT, ("batch", "summed"), _type, _value, Special(), pull=_pull,
        push=_push, batch=_batch, flops=2, apart=_apart,
        notation=Notation("{0} {1}", "{0} {1}", 2),
    )
)  # fmt: skip
