"""Sums with arrays that are zero nearly everywhere: only the part that is not is added.

What comes back from an element that was read is zeros with a cotangent added at its place, perhaps
moved by views.  Such an array is told apart here, as places and what lies there, so that adding it
to another array is an `update` of that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chainrule.ir.dims import Extent, Shape, size_of
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind
from chainrule.ops.update import other_axes, picked, wrapped

__all__ = ["Laid", "added_at", "added_up", "laid"]

DEEP: Final = 32
"Views and sums that are looked through, at most."


@dataclass(frozen=True, slots=True)
class Laid:
    """Zeros of a shape with `v` added at places, named as those of an update."""

    shape: Shape
    v: Node
    index: tuple[Node, ...]
    axes: tuple[int, ...]
    batch: int
    starts: tuple[Extent, ...]
    steps: tuple[int, ...]

    @property
    def lead(self) -> int:
        """Number of the axes of `v` that are not those of a part."""
        return self.v.type.rank - len(self.starts)

    @property
    def rest(self) -> list[int]:
        """The axes that no index addresses."""
        return other_axes(len(self.shape), self.axes, self.batch)

    @property
    def distinct(self) -> bool:
        """Whether no place is named twice for certain."""
        return size_of(self.v.shape[self.batch : self.lead]) == 1

    @property
    def where(self) -> dict[str, Any]:
        """The attributes that name the places."""
        return {
            "axes": self.axes, "batch": self.batch, "starts": self.starts, "steps": self.steps,
        }  # fmt: skip


def added_at(total: Node, term: Laid) -> Node | None:
    """Return the sum of an array and what is laid into zeros, as an update of the array.

    None for 16-bit floats at places that may be equal: each sum would be rounded.
    """
    graph, how, v = total.graph, "add", term.v
    if total.dtype.is_half:
        if not term.distinct:
            return None
        how, v = "set", picked(total, term.index, v.shape, **term.where) + v
    return graph.call(
        "update", total, v, *term.index, how=how, distinct=term.distinct, **term.where
    )


def added_up(total: Node, terms: Sequence[Laid]) -> Node | None:
    """Return the sum of an array and of several that are laid into zeros; None as `added_at`."""
    found: Node | None = total
    for term in terms:
        found = None if found is None else added_at(found, term)
    return found


def laid(node: Node) -> list[Laid]:
    """Return places and what is added there, if a node is an array of zeros but for these.

    Nothing if it is another array, or if they are too many.
    """
    above: list[Node] = []
    while node.op.kind is Kind.VIEW or node.op.name == "place" or _adds(node) or _masks(node):
        if len(above) == DEEP:
            return []
        above.append(node)
        node = node.args[1 if _masks(node) else 0]
    found: list[Laid] = []
    if node.op.kind is Kind.SCATTER:
        v, index = node.args
        size, batch = node.attributes["size"], node.attributes["batch"]
        tail = node.type.rank - batch - 1
        shape = (*node.shape[:batch], size, *node.shape[batch + 1 :])
        found = [Laid(shape, v, (index,), (batch,), batch, (0,) * tail, (1,) * tail)]
    else:
        while above and above[-1].op.name != "place":
            above.pop()
        if above:
            place = above.pop()
            starts, shape, steps = place.attrs
            found = [Laid(shape, place.args[0], (), (), 0, starts, steps)]
    for one in reversed(above):
        if _adds(one):
            found.append(_of_update(one))
            continue
        move = _masked if _masks(one) else _VIEWS.get(one.op.name)
        moved = [move(x, one) for x in found] if move is not None else []
        found = [x for x in moved if x is not None]
        if not found or len(found) < len(moved):
            return []
    return found


def _adds(node: Node) -> bool:
    return node.op.kind is Kind.UPDATE and node.attributes["how"] == "add"


def _masks(node: Node) -> bool:
    return node.op.name == "select" and constant_value(node.args[2]) == 0


def _masked(x: Laid, select: Node) -> Laid | None:
    """Let a mask be one of what is laid: constant along the axes where that is, or made of it."""
    mask = select.args[0]
    if _is_touched(mask, x):
        return x
    found = _part_of(mask, x)
    if found is None or (_masks(x.v) and x.v.args[0] is found):
        return None if found is None else x
    return replace(x, v=x.v.graph.select(found, x.v, 0))


def _part_of(mask: Node, x: Laid) -> Node | None:
    """Return a mask of the whole where something is laid; None unless it is there as a part."""
    # Which axis of v each axis of the mask is, and the part of it that v has.
    places: list[tuple[int, tuple[Extent, Extent, int]] | None] = []
    parts = iter(zip(x.starts, x.v.shape[x.lead :], x.steps, strict=True))
    to = x.lead
    for a, extent in enumerate(x.shape):
        if a < x.batch:
            places.append((a, (0, extent, 1)))
        elif a in x.axes:
            places.append(None)
        else:
            places.append((to, next(parts)))
            to += 1
    while True:
        if mask.op.name == "broadcast":
            places = [places[a] for a in mask.attributes["axes"]]
        elif mask.op.name == "place":
            starts, _, steps = mask.attrs
            inner = [(s, n, k) for s, n, k in zip(starts, mask.args[0].shape, steps, strict=True)]
            moved = list(places)
            for i, (place, whole) in enumerate(zip(places, mask.shape, strict=True)):
                if place is not None and place[1] == inner[i]:
                    moved[i] = (place[0], (0, inner[i][1], 1))
                elif inner[i] != (0, whole, 1):
                    return None
            places = moved
        else:
            break
        mask = mask.args[0]
    at = [p[0] for p, n in zip(places, mask.shape, strict=True) if p and p[1] == (0, n, 1)]
    if len(at) < len(places) or at != sorted(at):
        return None
    return mask.graph.broadcast(mask, x.v.shape, tuple(at))


def _is_touched(mask: Node, x: Laid) -> bool:
    """Tell whether a mask holds where something that is not masked itself has been laid."""
    views: list[Node] = []
    while mask.op.kind is Kind.VIEW and len(views) < DEEP:
        views.append(mask)
        mask = mask.args[0]
    if not _masks(x.v) or mask.op.name != "greater" or constant_value(mask.args[1]) != 0:
        return False
    counts = laid(mask.args[0])
    for view in reversed(views):
        move = _VIEWS.get(view.op.name)
        moved = [move(c, view) for c in counts] if move is not None else []
        counts = [c for c in moved if c is not None]
    if len(counts) != 1:
        return False
    (count,) = counts
    same = (count.index, count.where, count.shape) == (x.index, x.where, x.shape)
    return same and count.v.op.name == "cast" and count.v.args[0] is x.v.args[0]


def _of_update(node: Node) -> Laid:
    given = node.attributes
    return Laid(node.shape, node.args[1], node.args[2:], given["axes"], given["batch"],
                given["starts"], given["steps"])  # fmt: skip


def _transposed(x: Laid, view: Node) -> Laid | None:
    axes: tuple[int, ...] = view.attributes["axes"]
    if axes[: x.batch] != tuple(range(x.batch)):
        return None
    place = {a: i for i, a in enumerate(axes)}
    order = [x.rest.index(a) for a in axes if a in x.rest]
    v = x.v
    if order != sorted(order):
        lead = x.lead
        v = v.graph.call("transpose", v, axes=(*range(lead), *(lead + k for k in order)))
    return replace(
        x, shape=view.shape, v=v, axes=tuple([place[a] for a in x.axes]),
        starts=tuple([x.starts[k] for k in order]), steps=tuple([x.steps[k] for k in order]),
    )  # fmt: skip


def _placed(x: Laid, view: Node) -> Laid | None:
    starts, shape, steps = view.attrs
    if any((starts[a], steps[a], shape[a]) != (0, 1, x.shape[a]) for a in range(x.batch)):
        return None
    index = tuple([
        i if (starts[a], steps[a]) == (0, 1) and shape[a] == x.shape[a]
        else _moved(i, x.shape[a], starts[a], steps[a])
        for a, i in zip(x.axes, x.index, strict=True)
    ])  # fmt: skip
    pairs = list(zip(x.rest, x.starts, x.steps, strict=True))
    return replace(
        x, shape=shape, index=index,
        starts=tuple([starts[a] + steps[a] * s for a, s, _ in pairs]),
        steps=tuple([steps[a] * k for a, _, k in pairs]),
    )  # fmt: skip


def _moved(index: Node, extent: Extent, start: Extent, step: int) -> Node:
    at = wrapped(index, extent)
    graph = index.graph
    first = graph.broadcast(graph.call("extent", extent=start), at.shape, ())
    return first + (at if step == 1 else at * step)


def _reshaped(x: Laid, view: Node) -> Laid | None:
    """Let axes of extent 1 come and go, and axes that an index addresses be split."""
    shape = view.shape
    axes: list[int] = []
    index: list[Node] = []
    parts: list[tuple[Extent, Extent, int]] = []
    lengths = iter(zip(x.v.shape[x.lead :], x.starts, x.steps, strict=True))
    j = 0
    for a, extent in enumerate(x.shape):
        if a < x.batch:
            if j >= len(shape) or shape[j] != extent:
                return None
            j += 1
            continue
        addressed = a in x.axes
        length = None if addressed else next(lengths)
        if extent == 1 and length is not None and length[0] == 1:
            continue
        while j < len(shape) and shape[j] == 1 and extent != 1:
            parts.append((1, 0, 1))
            j += 1
        if not addressed:
            if j >= len(shape) or shape[j] != extent:
                return None
            assert length is not None, "the axis has a part"
            parts.append(length)
            j += 1
            continue
        first = j
        while j < len(shape) and (j == first or size_of(shape[first:j]) != extent):
            j += 1
        if first == j or size_of(shape[first:j]) != extent:
            return None
        axes += range(first, j)
        index += _split(x.index[x.axes.index(a)], extent, shape[first:j])
    if any(e != 1 for e in shape[j:]):
        return None
    parts += [(1, 0, 1)] * (len(shape) - j)
    lead = x.v.shape[: x.lead]
    v = x.v.graph.call("reshape", x.v, shape=(*lead, *(p[0] for p in parts)))
    return replace(
        x, shape=shape, v=v, axes=tuple(axes), index=tuple(index),
        starts=tuple([p[1] for p in parts]), steps=tuple([p[2] for p in parts]),
    )  # fmt: skip


def _split(index: Node, extent: Extent, shape: Shape) -> list[Node]:
    """Return the index into each of the axes that one is split into."""
    if len(shape) == 1:
        return [index]
    graph, at = index.graph, wrapped(index, extent)
    found: list[Node] = []
    for k, own in enumerate(shape):
        below = size_of(shape[k + 1 :])
        one = at
        if below != 1:
            size = graph.broadcast(graph.call("extent", extent=below), at.shape, ())
            one = graph.call("floor_divide", at, size)
        if k:
            own_size = graph.broadcast(graph.call("extent", extent=own), at.shape, ())
            one = graph.call("remainder", one, own_size)
        found.append(one)
    return found


_VIEWS = {"transpose": _transposed, "place": _placed, "reshape": _reshaped}
