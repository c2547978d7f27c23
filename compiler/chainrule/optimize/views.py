"""Views merged and dropped: index maps of index maps are one, and of constants are none."""

from __future__ import annotations

from typing import Final

from chainrule.ir.dims import Extent, Shape
from chainrule.ir.graph import Node, constant_value
from chainrule.optimize.rewrite import Step

__all__ = ["VIEWS", "unit_axes"]


def _of_constant(node: Node) -> Node | None:
    """Return a view of a constant as a constant."""
    number = constant_value(node.args[0])
    if number is None:
        return None
    if node.op.name == "broadcast" and node.args[0].op.name == "constant":
        return None
    return node.graph.full(node.shape, number, node.dtype)


def _broadcast(node: Node) -> Node | None:
    (x,) = node.args
    if x.shape == node.shape:
        return x
    if x.op.name == "broadcast":
        outer, inner = node.attributes["axes"], x.attributes["axes"]
        return node.graph.broadcast(x.args[0], node.shape, tuple(outer[i] for i in inner))
    return None


def _broadcast_of_reshape(node: Node) -> Node | None:
    """Drop a reshape that only inserts axes of extent 1: the broadcast makes them itself."""
    (x,) = node.args
    if x.op.name != "reshape" or 1 not in x.shape:
        return None
    axes = node.attributes["axes"]
    kept = tuple(i for i, e in enumerate(x.shape) if e != 1)
    if tuple(x.shape[i] for i in kept) != x.args[0].shape:
        return None
    return node.graph.broadcast(x.args[0], node.shape, tuple(axes[i] for i in kept))


def _reshape(node: Node) -> Node | None:
    (x,) = node.args
    if x.shape == node.shape:
        return x
    # Two extents may be equal by a guard only, which a direct reshape could not tell.
    if x.op.name == "reshape" and x.args[0].type.size == node.type.size:
        return node.graph.call("reshape", x.args[0], shape=node.shape)
    return _reshaped_broadcast(node, x) if x.op.name == "broadcast" else None


def _reshaped_broadcast(node: Node, x: Node) -> Node | None:
    """Turn a reshape that adds or drops axes of extent 1 into another broadcast."""
    moved = unit_axes(x.shape, node.shape)
    if moved is None:
        return None
    axes = x.attributes["axes"]
    gone = [i for i in axes if moved[i] is None]
    source = x.args[0]
    if gone:
        shape = tuple(e for e, i in zip(source.shape, axes, strict=True) if i not in gone)
        source = node.graph.call("reshape", source, shape=shape)
    kept = tuple(to for to in (moved[i] for i in axes) if to is not None)
    return node.graph.broadcast(source, node.shape, kept)


def unit_axes(old: Shape, new: Shape) -> list[int | None] | None:
    """Say where each axis goes if only axes of extent 1 come and go (None: it goes)."""
    moved: list[int | None] = []
    j = 0
    for extent in old:
        while j < len(new) and new[j] == 1 and extent != 1:
            j += 1
        if j < len(new) and new[j] == extent:
            moved.append(j)
            j += 1
        elif extent == 1:
            moved.append(None)
        else:
            return None
    return moved if all(e == 1 for e in new[j:]) else None


def _transpose(node: Node) -> Node | None:
    (x,) = node.args
    axes = node.attributes["axes"]
    if axes == tuple(range(len(axes))):
        return x
    if x.op.name == "transpose":
        inner = x.attributes["axes"]
        return node.graph.call("transpose", x.args[0], axes=tuple(inner[a] for a in axes))
    if x.op.name == "broadcast":
        at = [axes.index(a) for a in x.attributes["axes"]]
        source, order = x.args[0], sorted(range(len(at)), key=at.__getitem__)
        if order != list(range(len(at))):
            source = node.graph.call("transpose", source, axes=tuple(order))
        return node.graph.broadcast(source, node.shape, tuple(sorted(at)))
    longer = [i for i in axes if x.shape[i] != 1]
    if longer == sorted(longer):
        # Only axes of extent 1 change places: the elements stay where they are.
        return node.graph.call("reshape", x, shape=node.shape)
    return None


def _slice(node: Node) -> Node | None:
    (x,) = node.args
    starts, shape, steps = node.attrs
    if shape == x.shape and all(_whole(*one) for one in zip(starts, shape, steps, strict=True)):
        return x
    match x.op.name:
        case "slice":
            # Element j is element start + j*step of the inner slice.
            inner_starts, _, inner_steps = x.attrs
            at = tuple(a + s * b for a, s, b in zip(inner_starts, inner_steps, starts, strict=True))
            step = tuple(s * t for s, t in zip(inner_steps, steps, strict=True))
            return node.graph.call("slice", x.args[0], starts=at, shape=shape, steps=step)
        case "broadcast":
            axes = x.attributes["axes"]
            at = tuple(starts[i] for i in axes)
            small = tuple(shape[i] for i in axes)
            step = tuple(steps[i] for i in axes)
            source = node.graph.call("slice", x.args[0], starts=at, shape=small, steps=step)
            return node.graph.broadcast(source, shape, axes)
        case "place" if x.attrs[0] == starts and x.attrs[2] == steps and x.args[0].shape == shape:
            return x.args[0]
        case "concatenate":
            return _slice_of_parts(node, x)
    return None


def _whole(start: Extent, extent: Extent, step: int) -> bool:
    return start == 0 and (step == 1 or extent == 1)


def _slice_of_parts(node: Node, x: Node) -> Node | None:
    """Return the one part of a concatenation that a slice selects."""
    starts, shape, steps = node.attrs
    axis, at = x.attributes["axis"], 0
    for part in x.args:
        first, extent, end = starts[axis], shape[axis], at + part.shape[axis]
        if first == at and extent == part.shape[axis] and steps[axis] == 1:
            inside = tuple(0 if i == axis else s for i, s in enumerate(starts))
            return node.graph.call("slice", part, starts=inside, shape=shape, steps=steps)
        numbers = (at, first, extent, end)
        if all(isinstance(n, int) for n in numbers) and steps[axis] > 0:
            last = first + (extent - 1) * steps[axis]
            if at <= first and last < end and extent > 0:
                inside = tuple(s - at if i == axis else s for i, s in enumerate(starts))
                return node.graph.call("slice", part, starts=inside, shape=shape, steps=steps)
        at = end
    return None


def _place(node: Node) -> Node | None:
    (x,) = node.args
    starts, shape, steps = node.attrs
    if shape == x.shape and all(_whole(*one) for one in zip(starts, shape, steps, strict=True)):
        return x
    number = constant_value(x)
    if number == 0 and str(float(number)) == "0.0":
        return node.graph.full(shape, number, node.dtype)
    if x.op.name == "place":
        inner_starts, _, inner_steps = x.attrs
        at = tuple(a + s * b for a, s, b in zip(starts, steps, inner_starts, strict=True))
        step = tuple(s * t for s, t in zip(steps, inner_steps, strict=True))
        return node.graph.call("place", x.args[0], starts=at, shape=shape, steps=step)
    return None


def _concatenate(node: Node) -> Node | None:
    axis = node.attributes["axis"]
    if len(node.args) == 1:
        return node.args[0]
    if any(a.shape[axis] == 0 for a in node.args):
        left = [a for a in node.args if a.shape[axis] != 0] or list(node.args[:1])
        return node.graph.call("concatenate", *left, axis=axis)
    numbers = [constant_value(a) for a in node.args]
    first = node.args[0]
    source = first.args[0] if first.op.name == "broadcast" else first
    if numbers[0] is not None and all(_source(a) is source for a in node.args):
        return node.graph.full(node.shape, numbers[0], node.dtype)
    if any(a.op.name == "concatenate" and a.attributes["axis"] == axis for a in node.args):
        flat = [
            part for a in node.args
            for part in (a.args if a.op.name == "concatenate"
                         and a.attributes["axis"] == axis else (a,))
        ]  # fmt: skip
        return node.graph.call("concatenate", *flat, axis=axis)
    return None


def _source(node: Node) -> Node:
    return node.args[0] if node.op.name == "broadcast" else node


VIEWS: Final = (
    Step(("broadcast", "reshape", "transpose", "slice"), _of_constant),
    Step(("broadcast",), _broadcast),
    Step(("broadcast",), _broadcast_of_reshape),
    Step(("reshape",), _reshape),
    Step(("transpose",), _transpose),
    Step(("slice",), _slice),
    Step(("place",), _place),
    Step(("concatenate",), _concatenate),
)
