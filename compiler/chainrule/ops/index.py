"""Picking elements by integers, and its adjoint: adding elements at such places.

`gather`: x is [B..., N, T...], index is [B..., I...], the result [B..., I..., T...]; `batch` is the
number of shared leading axes.  Indices from -N to N-1 are legal, as in NumPy; the front end adds a
check.  Out of range (in a branch that is computed though it is not taken, or before the check is
reported) the nearest place is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import I64, Array, Type
from chainrule.ops._declare import declare

__all__ = ["gather", "scatter_add"]


def _gather_type(x: Type, index: Type, *, batch: int) -> Type:
    assert x.shape[:batch] == index.shape[:batch], f"{x} and {index} share {batch} axes"
    return Type(x.dtype, (*index.shape, *x.shape[batch + 1 :]))


def _gather_value(x: Array, index: Array, *, batch: int) -> Array:
    lead = np.ix_(*map(np.arange, index.shape[:batch]))
    lined = [a.reshape(a.shape + (1,) * (index.ndim - batch)) for a in lead]
    if x.shape[batch] == 0:
        return np.zeros((*index.shape, *x.shape[batch + 1 :]), x.dtype)
    picked: Array = x[(*lined, _clamped(index, x.shape[batch]))]
    return picked


def _clamped(index: Array, size: int) -> Array:
    return np.clip(index, -size, size - 1)


def _gather_pull(g: Node, _y: Node, x: Node, index: Node, *, batch: int) -> tuple[Node, None]:
    return _scattered(g, index, x.shape[batch], batch), None


def _scattered(g: Node, index: Node, size: Extent, batch: int) -> Node:
    """Add g at `index`; where each row has a single place and no tail, select instead."""
    alone = index.shape[batch:] == (1,) and g.type.rank == batch + 1
    if not alone:
        return scatter_add(g, index, size=size, batch=batch)
    graph, shape = g.graph, (*g.shape[:batch], size)
    n = graph.broadcast(graph.call("extent", extent=size), index.shape, ())
    wide = graph.call("cast", index, dtype=I64)
    wrapped = graph.select(wide < 0, wide + n, wide)
    rows = tuple(range(batch))
    at = graph.broadcast(graph.call("reshape", wrapped, shape=g.shape[:batch]), shape, rows)
    value = graph.broadcast(graph.call("reshape", g, shape=g.shape[:batch]), shape, rows)
    counter = graph.broadcast(graph.call("iota", length=size, dtype=I64), shape, (batch,))
    return graph.select(counter.equals(at), value, 0.0)


def _align(args: Sequence[Node], flags: Sequence[bool], size: Extent) -> list[Node]:
    return [
        x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
        for x, f in zip(args, flags, strict=True)
    ]


def _gather_batch(args: Sequence[Node], flags: Sequence[bool], size: Extent, *, batch: int) -> Node:
    x, index = args
    if not flags[0] and batch == 0:
        # The new axis of the index is one more axis of places.
        return gather(x, index, batch=0)
    return gather(*_align(args, flags, size), batch=batch + 1)


def _picked_apart(
    y: Node, _x: Node, index: Node, *, batch: int
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    tails = range(index.type.rank, y.type.rank)
    lead = {i: i for i in range(batch)}
    return lead | {i: i - index.type.rank + batch + 1 for i in tails}, {}


gather: Final[Op] = declare(
    Op(
        "gather", Kind.GATHER, ("batch",), _gather_type, _gather_value, Special(),
        pull=_gather_pull,
        push=lambda tangents, y, x, index, *, batch: gather(tangents[0], index, batch=batch),
        batch=_gather_batch, flops=0, apart=_picked_apart,
        notation=Notation("{0}[{1}]", "{0}_{{{1}}}"),
    )
)  # fmt: skip


def _scatter_type(g: Type, index: Type, *, size: Extent, batch: int) -> Type:
    tail = g.shape[index.rank :]
    assert g.shape[: index.rank] == index.shape, f"{g} does not match the index {index}"
    return Type(g.dtype, (*g.shape[:batch], size, *tail))


def _scatter_value(g: Array, index: Array, *, size: int, batch: int) -> Array:
    tail = g.shape[index.ndim :]
    y = np.zeros((*g.shape[:batch], size, *tail), dtype=g.dtype)
    lead = np.ix_(*map(np.arange, index.shape[:batch]))
    lined = [a.reshape(a.shape + (1,) * (index.ndim - batch)) for a in lead]
    if size:
        np.add.at(y, (*lined, _clamped(index, size)), g)
    return y


def _scatter_batch(
    args: Sequence[Node], flags: Sequence[bool], lanes: Extent, *, size: Extent, batch: int
) -> Node:
    g, index = _align(args, flags, lanes)
    return scatter_add(g, index, size=size, batch=batch + 1)


def _added_apart(
    y: Node, g: Node, index: Node, *, size: Extent, batch: int
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    del size
    tails = range(index.type.rank, g.type.rank)
    lead = {i: i for i in range(batch)}
    return lead | {i - index.type.rank + batch + 1: i for i in tails}, {}


scatter_add: Final[Op] = declare(
    Op(
        "scatter_add", Kind.SCATTER, ("size", "batch"), _scatter_type, _scatter_value, Special(),
        pull=lambda g, y, x, index, *, size, batch: (gather(g, index, batch=batch), None),
        push=lambda tangents, y, x, index, *, size, batch: scatter_add(
            tangents[0], index, size=size, batch=batch
        ),
        batch=_scatter_batch, apart=_added_apart,
        notation=Notation("scatter({0}, {1})", r"\operatorname{{scatter}}({0}, {1})"),
    )
)  # fmt: skip
