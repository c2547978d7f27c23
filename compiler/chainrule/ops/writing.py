"""Writing several parts at once: `overlay`, parts laid into zeros as diagonals are.

Element j of part k, counted along its last axis, goes to place `starts[k] + j * steps[k]` of the
axes of the result behind the shared leading ones, taken as one axis.  No two elements share a
place, so the zeros are filled in once and nothing is added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from chainrule.ir.dims import Extent, Shape
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import Array, Type
from chainrule.ops._declare import declare

__all__ = ["overlay"]


def _type(*parts: Type, starts: tuple[int, ...], steps: tuple[int, ...], shape: Shape) -> Type:
    assert len(parts) == len(starts) == len(steps), "a start and a step for each part"
    for part in parts:
        assert part.shape[:-1] == shape[: part.rank - 1], f"{part} does not match {shape}"
    return Type(parts[0].dtype, shape)


def _value(
    *parts: Array, starts: tuple[int, ...], steps: tuple[int, ...], shape: tuple[int, ...]
) -> Array:
    lead = shape[: parts[0].ndim - 1]
    flat = np.zeros((*lead, int(np.prod(shape[len(lead) :]))), parts[0].dtype)
    for x, start, step in zip(parts, starts, steps, strict=True):
        flat[..., start + step * np.arange(x.shape[-1])] = x
    return flat.reshape(shape)


def _pull(
    g: Node, _y: Node, *parts: Node, starts: tuple[int, ...], steps: tuple[int, ...], shape: Shape
) -> tuple[Node, ...]:
    graph, lead = g.graph, parts[0].type.rank - 1
    total: Extent = 1
    for extent in shape[lead:]:
        total = total * extent
    flat = graph.call("reshape", g, shape=(*shape[:lead], total))
    return tuple([
        graph.call(
            "slice", flat, starts=(0,) * lead + (start,), shape=x.shape, steps=(1,) * lead + (step,)
        )
        for x, start, step in zip(parts, starts, steps, strict=True)
    ])  # fmt: skip


def _apart(_y: Node, *parts: Node, **_attributes: Any) -> list[Mapping[int, int]]:
    return [{i: i for i in range(x.type.rank - 1)} for x in parts]


def _push(
    tangents: tuple[Node | None, ...], y: Node, *parts: Node, starts: tuple[int, ...],
    steps: tuple[int, ...], shape: Shape,
) -> Node:  # fmt: skip
    # What has no tangent leaves the zeros as they are.
    there = [i for i, t in enumerate(tangents) if t is not None]
    return y.graph.call(
        "overlay", *[t for t in tangents if t is not None], shape=shape,
        starts=tuple([starts[i] for i in there]), steps=tuple([steps[i] for i in there]),
    )  # fmt: skip


def _batch(
    args: Sequence[Node], flags: Sequence[bool], size: Extent, *, starts: tuple[int, ...],
    steps: tuple[int, ...], shape: Shape,
) -> Node:  # fmt: skip
    full = [
        x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
        for x, f in zip(args, flags, strict=True)
    ]
    return full[0].graph.call("overlay", *full, starts=starts, steps=steps, shape=(size, *shape))


overlay: Final[Op] = declare(
    Op(
        "overlay", Kind.WRITE, ("starts", "steps", "shape"), _type, _value, Special(), pull=_pull,
        push=_push, batch=_batch, linear=True, flops=0, apart=_apart,
        notation=Notation("overlay({*})", r"\operatorname{{overlay}}({*})"),
    )
)  # fmt: skip
