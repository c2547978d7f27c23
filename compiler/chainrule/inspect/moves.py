"""Ops that move elements, as notation: mostly nothing, else NumPy's own brackets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from chainrule.inspect import algebra
from chainrule.inspect.notation import Applied, Literal, Sliced, Tree
from chainrule.inspect.place import Placed, full, place, shape_text, transposed, without_axis
from chainrule.ir.dims import Extent, show_extent, size_of
from chainrule.ir.graph import Node

__all__ = ["MOVES", "dropped"]

Builder: TypeAlias = Callable[[Node, Sequence[Placed]], Placed]


def _broadcast(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), axes = args, node.attributes["axes"]
    return Placed(x.tree, tuple(axes[a] for a in x.axes))


def dropped(value: Placed, axis: int) -> Placed:
    """Remove an axis of extent 1 from a node."""
    axes = tuple(a - (a > axis) for a in value.axes if a != axis)
    if axis not in value.axes:
        return Placed(value.tree, axes)
    return place(without_axis(value.tree, value.axes.index(axis)), axes)


def _reshape(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), before, after = args, node.args[0].shape, node.shape
    long = [i for i, e in enumerate(before) if e != 1]
    new = [i for i, e in enumerate(after) if e != 1]
    if [before[i] for i in long] != [after[i] for i in new]:
        tree = Applied("reshape", (full(x, before), Literal(shape_text(after))), len(after))
        return Placed(tree, tuple(range(len(after))))
    for axis in reversed([i for i, e in enumerate(before) if e == 1]):
        x = dropped(x, axis)
    return Placed(x.tree, tuple(new[a] for a in x.axes))


def _transpose(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), axes = args, node.attributes["axes"]
    at = [axes.index(a) for a in x.axes]
    order = sorted(range(len(at)), key=lambda i: at[i])
    if order == list(range(len(at))):
        return Placed(x.tree, tuple(at))
    swapped = [*range(len(at) - 2), len(at) - 1, len(at) - 2]
    if order == swapped:
        return place(transposed(x.tree), sorted(at))
    text = Literal(str(tuple(order)))
    tree = algebra.linear(lambda t: Applied("transpose", (t, text), t.rank), x.tree)
    return Placed(tree, tuple(sorted(at)))


def slice_text(start: Extent, extent: Extent, step: int, whole: Extent | None = None) -> str:
    """Print the elements start, start + step, ... as NumPy's brackets have them.

    >>> slice_text(1, 3, 1), slice_text(0, 4, 1, whole=4), slice_text(3, 4, -1)
    ('1:4', ':', '3::-1')
    """
    if start == 0 and step == 1 and whole is not None and extent == whole:
        return ":"
    if step == 1:
        return f"{show_extent(start)}:{show_extent(start + extent)}"
    stop = start + (extent - 1) * step + (1 if step > 0 else -1)
    # A negative stop would count from the end.
    last = "" if step < 0 and stop == -1 else show_extent(stop)
    return f"{show_extent(start)}:{last}:{step}"


def _slice(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), given, whole = args, node.attributes, node.args[0].shape
    index = tuple(
        slice_text(given["starts"][a], node.shape[a], given["steps"][a], whole[a]) for a in x.axes
    )
    if all(text == ":" for text in index):
        return x
    tree = algebra.linear(lambda t: Sliced(t, index, t.rank), x.tree)
    return place(tree, x.axes)


def _place(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), given = args, node.attributes
    inner = node.args[0].shape
    index = ", ".join(
        slice_text(start, extent, step, whole)
        for start, extent, step, whole in zip(
            given["starts"], inner, given["steps"], node.shape, strict=True
        )
    )
    extra = Literal(f"[{index}]"), Literal(shape_text(node.shape))
    rank = node.type.rank
    tree = algebra.linear(lambda t: Applied("place", (t, *extra), rank), full(x, inner))
    return Placed(tree, tuple(range(rank))) if tree.rank == rank else place(tree, ())


def _concatenate(node: Node, args: Sequence[Placed]) -> Placed:
    trees: list[Tree] = [full(a, x.shape) for a, x in zip(args, node.args, strict=True)]
    axis, rank = node.attributes["axis"], node.type.rank
    return Placed(Applied("concatenate", tuple(trees), rank, (axis,)), tuple(range(rank)))


def _overlay(node: Node, args: Sequence[Placed]) -> Placed:
    """Print the parts as a sum of places, along one axis, in the shape of the whole."""
    given, rank = node.attributes, node.type.rank
    lead = node.args[0].type.rank - 1
    flat = (*node.shape[:lead], size_of(node.shape[lead:]))
    trees: list[Tree] = []
    for a, x, start, step in zip(args, node.args, given["starts"], given["steps"], strict=True):
        own = [slice_text(0, e, 1, e) for e in flat[:lead]]
        index = ", ".join([*own, slice_text(start, x.shape[-1], step, flat[-1])])
        extra = Literal(f"[{index}]"), Literal(shape_text(flat))
        trees.append(Applied("place", (full(a, x.shape), *extra), lead + 1))
    whole = Applied("reshape", (algebra.add(*trees), Literal(shape_text(node.shape))), rank)
    return Placed(whole, tuple(range(rank)))


def _update(node: Node, args: Sequence[Placed]) -> Placed:
    """Print the array, what is written, and where: brackets, in which indices stand by name."""
    given, rank = node.attributes, node.type.rank
    x, v = (full(a, n.shape) for a, n in zip(args[:2], node.args[:2], strict=True))
    index = [full(a, n.shape) for a, n in zip(args[2:], node.args[2:], strict=True)]
    rest = iter(zip(given["starts"], node.args[1].shape[-len(given["starts"]) or rank :],
                    given["steps"], strict=True))  # fmt: skip
    texts = [
        ":" if a < given["batch"] else f"index {given['axes'].index(a)}" if a in given["axes"]
        else slice_text(*next(rest), node.shape[a])
        for a in range(rank)
    ]  # fmt: skip
    extra = Literal(f"[{', '.join(texts)}]")
    name = "set" if given["how"] == "set" else "add_at"
    return Placed(Applied(name, (x, v, extra, *index), rank), tuple(range(rank)))


MOVES: Final[Mapping[str, Builder]] = {
    "broadcast": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "place": _place,
    "concatenate": _concatenate,
    "overlay": _overlay,
    "update": _update,
}
