"""Changing part of an array: `update`, whose cost is that of the part where memory allows it.

`update(x, v, *index)` is x with v written to, or added at, some places.  The first `batch` axes are
shared by all.  Each of the axes in `axes` is addressed by its own integer array, all of one shape
[B..., I...]; on every other axis, element j goes to start + j*step.  So v is [B..., I..., R...],
with the lengths of the parts on those other axes last.  Of equal places the last one counts, or all
add up; `distinct` says that there are none.

Indices from -N to N-1 are legal, as in NumPy; out of range, the nearest place is taken, as when
elements are picked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from chainrule.ir.dims import Extent, Shape, size_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Requirement, Special
from chainrule.ir.types import I64, Array, Type
from chainrule.ops._declare import declare
from chainrule.ops.structure import within

__all__ = [
    "axes_of_part",
    "numbers_written",
    "other_axes",
    "picked",
    "selected",
    "single",
    "update",
    "wrapped",
]


def other_axes(rank: int, axes: Sequence[int], batch: int) -> list[int]:
    """Return the axes that neither an index addresses nor the batch takes."""
    return [a for a in range(batch, rank) if a not in axes]


def _type(
    x: Type, v: Type, *index: Type, axes: tuple[int, ...], batch: int,
    starts: tuple[Extent, ...], steps: tuple[int, ...], how: str, distinct: bool,
) -> Type:  # fmt: skip
    rest = other_axes(x.rank, axes, batch)
    assert len(index) == len(axes), "an index for each axis"
    assert len(rest) == len(starts) == len(steps), "a start and a step for each other axis"
    assert how in ("set", "add"), how
    assert v.dtype is x.dtype, f"{v} is written into {x}"
    lead = index[0].shape if index else x.shape[:batch]
    assert all(i.shape == lead for i in index), f"indices differ: {index}"
    assert lead[:batch] == x.shape[:batch], f"{x} and {lead} share {batch} axes"
    assert v.rank == len(lead) + len(rest), f"{v} is not {lead} and {len(rest)} axes"
    assert v.shape[: len(lead)] == lead, f"{v} does not match the index {lead}"
    return x


def _places(
    x: Array, v: Array, index: Sequence[Array], axes: tuple[int, ...], batch: int,
    starts: Sequence[int], steps: Sequence[int],
) -> tuple[Array, ...]:  # fmt: skip
    """Return, for each axis of x, the place of every element of v."""
    rest = other_axes(x.ndim, axes, batch)
    lead = v.ndim - len(rest)

    def along(numbers: Array, axis: int) -> Array:
        return numbers.reshape([-1 if i == axis else 1 for i in range(v.ndim)])

    found: list[Array] = []
    for axis, extent in enumerate(x.shape):
        if axis < batch:
            found.append(along(np.arange(extent), axis))
        elif axis in axes:
            at = np.clip(index[axes.index(axis)], -extent, max(extent - 1, 0))
            found.append(at.reshape((*at.shape, *(1,) * len(rest))))
        else:
            k = rest.index(axis)
            found.append(along(starts[k] + steps[k] * np.arange(v.shape[lead + k]), lead + k))
    return tuple(found)


def _value(
    x: Array, v: Array, *index: Array, axes: tuple[int, ...], batch: int,
    starts: tuple[int, ...], steps: tuple[int, ...], how: str, distinct: bool,
) -> Array:  # fmt: skip
    y = np.array(x)
    if not v.size:
        return y
    if not x.ndim:
        return np.asarray(x + v if how == "add" else v)
    places = _places(x, v, index, axes, batch, starts, steps)
    if how == "add":
        np.add.at(y, places, v)
    else:
        y[places] = v
    return y


def numbers_written(node: Node, index: Sequence[Array]) -> Array:
    """Return the number of the element of x that each element of v goes to, given the indices.

    For extents that are numbers.
    """
    given = node.attributes
    x, v = (np.empty([int(e) for e in a.shape if isinstance(e, int)]) for a in node.args[:2])
    if not v.size:
        return np.zeros(v.shape, np.int64)
    where = (given["axes"], given["batch"], given["starts"], given["steps"])
    places = _places(x, v, index, *where)
    numbers = np.arange(x.size).reshape(x.shape)
    return np.broadcast_to(numbers[places] if places else numbers, v.shape)


def single(node: Node) -> bool:
    """Tell whether each index of an update names one place, apart from the batch."""
    batch = node.attributes["batch"]
    return all(e == 1 for i in node.args[2:3] for e in i.shape[batch:])


def axes_of_part(
    x: Shape, v: Shape, asked: Iterable[int], *, axes: tuple[int, ...], batch: int,
    starts: tuple[Extent, ...], steps: tuple[int, ...],
) -> tuple[int, ...] | None:  # fmt: skip
    """Return which axes of what an update writes are these axes of x; None if it lacks some.

    An axis of which only a part is written, or which an index addresses, is not there.
    """
    rest = other_axes(len(x), axes, batch)
    found: list[int] = []
    for a in asked:
        if a < batch:
            found.append(a)
            continue
        if a not in rest:
            return None
        k = rest.index(a)
        to = len(v) - len(rest) + k
        if (starts[k], steps[k], v[to]) != (0, 1, x[a]):
            return None
        found.append(to)
    return tuple(found)


def wrapped(index: Node, extent: Extent) -> Node:
    """Return an index counted from the front, as int64."""
    graph = index.graph
    wide = index if index.dtype is I64 else graph.call("cast", index, dtype=I64)
    return graph.select(wide < 0, wide + _spread(extent, wide), wide)


def _spread(extent: Extent, like: Node) -> Node:
    """Return an extent as a number in the shape of `like`."""
    graph = like.graph
    if isinstance(extent, int):
        return graph.full_like(like, extent)
    return graph.broadcast(graph.call("extent", extent=extent), like.shape, ())


def picked(
    x: Node, index: Sequence[Node], shape: Shape, *, axes: tuple[int, ...], batch: int,
    starts: tuple[Extent, ...], steps: tuple[int, ...],
) -> Node:  # fmt: skip
    """Return the elements of x at the places of an update whose v has this shape."""
    graph, rank = x.graph, x.type.rank
    rest = other_axes(rank, axes, batch)
    lengths = list(x.shape)
    firsts: list[Extent] = [0] * rank
    strides = [1] * rank
    for k, axis in enumerate(rest):
        lengths[axis] = shape[len(shape) - len(rest) + k]
        firsts[axis], strides[axis] = starts[k], steps[k]
    part = x
    if tuple(lengths) != x.shape or any(firsts) or any(s != 1 for s in strides):
        part = graph.call(
            "slice", x, starts=tuple(firsts), shape=tuple(lengths), steps=tuple(strides)
        )
    if not index:
        return part
    order = (*range(batch), *axes, *rest)
    if order != tuple(range(rank)):
        part = graph.call("transpose", part, axes=order)
    at = index[0]
    if len(axes) > 1:
        at = _merged(index, [x.shape[a] for a in axes])
        size = size_of(x.shape[a] for a in axes)
        part = graph.call(
            "reshape", part, shape=(*part.shape[:batch], size, *part.shape[batch + len(axes) :])
        )
    return graph.call("gather", part, at, batch=batch)


def _merged(index: Sequence[Node], extents: Sequence[Extent]) -> Node:
    """Return the index into several axes taken as one."""
    total = wrapped(index[0], extents[0])
    for one, extent in zip(index[1:], extents[1:], strict=True):
        total = total * _spread(extent, total) + wrapped(one, extent)
    return total


FEW: Final = 16
"Entries of an index that are compared in pairs: fewer than the places there usually are."


def _wins(x: Node, index: Sequence[Node], axes: tuple[int, ...], batch: int) -> Node:
    """Tell which entries of an index no later entry equals."""
    graph = x.graph
    at = _merged(index, [x.shape[a] for a in axes])
    count = size_of(at.shape[batch:])
    flat = graph.call("reshape", at, shape=(*at.shape[:batch], count))
    if isinstance(count, int) and count <= FEW:
        last = _equalled_by_no_later(flat, count, batch)
    else:
        last = _stays_written(flat, count, size_of(x.shape[a] for a in axes), batch)
    return graph.call("reshape", last, shape=at.shape)


def _equalled_by_no_later(flat: Node, count: int, batch: int) -> Node:
    """Compare all pairs of entries."""
    graph, shape, lead = flat.graph, (*flat.shape, count), tuple(range(batch))
    counter = graph.call("iota", length=count, dtype=I64)
    same = graph.broadcast(flat, shape, (*lead, batch)).equals(
        graph.broadcast(flat, shape, (*lead, batch + 1))
    )
    later = graph.broadcast(counter, shape, (batch + 1,)) > graph.broadcast(
        counter, shape, (batch,)
    )
    beaten = graph.call("cast", same & later, dtype=I64)
    return graph.call("sum", beaten, axes=(batch + 1,)).equals(0)


def _stays_written(flat: Node, count: Extent, size: Extent, batch: int) -> Node:
    """Write each entry's number at its place, and see whether it is there in the end."""
    graph, lead = flat.graph, flat.shape[:batch]
    counter = graph.call("iota", length=count, dtype=I64)
    counter = graph.broadcast(counter, flat.shape, (batch,))
    written = graph.call(
        "update", graph.full((*lead, size), 0, I64), counter, flat, axes=(batch,), batch=batch,
        starts=(), steps=(), how="set", distinct=False,
    )  # fmt: skip
    return graph.call("gather", written, flat, batch=batch).equals(counter)


def _pull(
    g: Node, y: Node, x: Node, v: Node, *index: Node, how: str, distinct: bool, **where: Any
) -> tuple[Node | None, ...]:
    # What is read of g comes first: then g itself can be changed in place.
    of_v = picked(g, index, v.shape, **where)
    if how == "add":
        return (g, of_v, *(None for _ in index))
    if not distinct:
        wins = _wins(x, index, where["axes"], where["batch"])
        of_v = g.graph.select(
            g.graph.broadcast(wins, v.shape, tuple(range(wins.type.rank))), of_v, 0
        )
    # Of a mask of a cotangent, too, which is a truth value.
    nothing = g.graph.full(v.shape, 0, g.dtype)
    rest = g.graph.apply(y.op, (g, nothing, *index), y.attrs)
    return (rest, of_v, *(None for _ in index))


def _push(
    tangents: tuple[Node | None, ...], y: Node, x: Node, v: Node, *index: Node, how: str,
    **_where: Any,
) -> Node | None:  # fmt: skip
    of_x, of_v = tangents[:2]
    if of_v is None and how == "add":
        return of_x
    graph = y.graph
    of_x = graph.full_like(x, 0.0) if of_x is None else of_x
    of_v = graph.full_like(v, 0.0) if of_v is None else of_v
    return graph.apply(y.op, (of_x, of_v, *index), y.attrs)


def _batch(
    args: Sequence[Node], flags: Sequence[bool], size: Extent, *, axes: tuple[int, ...],
    batch: int, starts: tuple[Extent, ...], steps: tuple[int, ...], how: str, distinct: bool,
) -> Node:  # fmt: skip
    graph = args[0].graph
    full = [
        x if f else graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
        for x, f in zip(args, flags, strict=True)
    ]
    if not axes:
        starts, steps = (0, *starts), (1, *steps)
    return graph.call(
        "update", *full, axes=tuple([a + 1 for a in axes]), batch=batch + 1 if axes else 0,
        starts=starts, steps=steps, how=how, distinct=distinct,
    )  # fmt: skip


def selected(
    x: Node, v: Node, *index: Node, axes: tuple[int, ...], batch: int,
    starts: tuple[Extent, ...], steps: tuple[int, ...], how: str, distinct: bool,
) -> Node:  # fmt: skip
    """Return a single update as a selection by counters, which fuses with what reads it.

    It passes over all of x.
    """
    graph, rank = x.graph, x.type.rank
    rest = other_axes(rank, axes, batch)
    lead = v.type.rank - len(rest)
    lengths = list(x.shape)
    inside: Node | None = None
    for k, axis in enumerate(rest):
        lengths[axis] = v.shape[lead + k]
        if (starts[k], lengths[axis], steps[k]) != (0, x.shape[axis], 1):
            one = _within(x, axis, starts[k], lengths[axis], steps[k])
            inside = one if inside is None else inside & one
    for axis, at in zip(axes, index, strict=True):
        lengths[axis] = 1
        one = _at(x, axis, at, batch)
        inside = one if inside is None else inside & one
    laid = _laid(
        x, graph.call("reshape", v, shape=_ordered(v, x, axes, batch)), rest, starts, steps
    )
    if how == "add":
        laid = x + laid if x.dtype.kind != "bool" else x | laid
    return laid if inside is None else graph.select(inside, laid, x)


def _ordered(v: Node, x: Node, axes: tuple[int, ...], batch: int) -> Shape:
    """Return the shape of v with an axis of extent 1 where an index addresses one."""
    lengths = iter(v.shape[v.type.rank - (x.type.rank - batch - len(axes)) :])
    return tuple([
        x.shape[a] if a < batch else 1 if a in axes else next(lengths)
        for a in range(x.type.rank)
    ])  # fmt: skip


def _laid(
    x: Node, v: Node, rest: Sequence[int], starts: Sequence[Extent], steps: Sequence[int]
) -> Node:
    """Spread v over x: copied along axes where it has one element, laid into zeros elsewhere."""
    graph = x.graph
    first: list[Extent] = [0] * x.type.rank
    step = [1] * x.type.rank
    shape = list(v.shape)
    for k, axis in enumerate(rest):
        if v.shape[axis] != 1 and v.shape[axis] != x.shape[axis]:
            first[axis], step[axis], shape[axis] = starts[k], steps[k], x.shape[axis]
        elif v.shape[axis] == x.shape[axis] and steps[k] != 1:
            first[axis], step[axis] = starts[k], steps[k]
    if tuple(shape) != v.shape or any(s != 1 for s in step):
        v = graph.call("place", v, starts=tuple(first), shape=tuple(shape), steps=tuple(step))
    kept = tuple([a for a in range(x.type.rank) if v.shape[a] == x.shape[a]])
    small = graph.call("reshape", v, shape=tuple([v.shape[a] for a in kept]))
    return graph.broadcast(small, x.shape, kept)


def _at(x: Node, axis: int, index: Node, batch: int) -> Node:
    """Tell which positions of an axis an index of one place (an example of the batch) names."""
    graph, extent = x.graph, x.shape[axis]
    at = wrapped(index, extent)
    at = graph.call("clip", at, graph.full_like(at, 0), _spread(extent - 1, at))
    lined = graph.call("reshape", at, shape=at.shape[:batch])
    counter = graph.broadcast(graph.call("iota", length=extent, dtype=I64), x.shape, (axis,))
    return counter.equals(graph.broadcast(lined, x.shape, tuple(range(batch))))


def _within(x: Node, axis: int, start: Extent, length: Extent, step: int) -> Node:
    """Tell which positions of an axis a slice takes."""
    graph, extent = x.graph, x.shape[axis]
    counter = graph.call("iota", length=extent, dtype=I64)
    if step < 0:
        start, step = start + (length - 1) * step, -step
    first, last = _spread(start, counter), _spread(start + (length - 1) * step, counter)
    inside = (counter >= first) & (counter <= last)
    if step > 1:
        apart = graph.call("remainder", counter - first, graph.full_like(counter, step))
        inside = inside & apart.equals(0)
    return graph.broadcast(inside, x.shape, (axis,))


def _needs(
    x: Type, v: Type, *_index: Type, axes: tuple[int, ...], batch: int,
    starts: tuple[Extent, ...], steps: tuple[int, ...], how: str, distinct: bool,
) -> Iterator[Requirement]:  # fmt: skip
    rest = other_axes(x.rank, axes, batch)
    counts = v.shape[v.rank - len(rest) :]
    return within(starts, counts, steps, tuple([x.shape[a] for a in rest]))


def _apart(_y: Node, *args: Node, batch: int, **_attributes: Any) -> list[dict[int, int]]:
    """Pair the axes that all share; along others a written part is anywhere in the result."""
    shared = {a: a for a in range(batch)}
    # Indices have no derivative.
    return [shared, shared, *({} for _ in args[2:])]


update: Final[Op] = declare(
    Op(
        "update", Kind.UPDATE, ("axes", "batch", "starts", "steps", "how", "distinct"), _type,
        _value, Special(), pull=_pull, push=_push, batch=_batch, needs=_needs,
        apart=_apart,
        notation=Notation("update({*})", r"\operatorname{{update}}({*})"),
    )
)  # fmt: skip
