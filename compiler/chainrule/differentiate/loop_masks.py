"""Masks of cotangents through the steps of a loop that runs backwards.

A mask of a stacked result goes to the step it belongs to; that of a carry is carried along, as
small as it is: a single truth value, or one for each example.  What a step's pull-back makes of the
masks decides which carries have one, and along which axes it may differ: found by trying, from no
axes up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

from chainrule.differentiate.body_masks import condition_of
from chainrule.differentiate.masks import Core, core_of, mask_of, masked, split
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.types import BOOL, Type
from chainrule.ir.walk import depends_on, topological
from chainrule.ops.control import Loop

__all__ = ["LoopMasks"]


@dataclass
class LoopMasks:
    """What a backward loop knows of masks.

    Attributes:
        rows: By stacked result: its mask as a step sees it.
        arrays: What these are taken from: for each input, the mask outside, and whether that has
            an element for each step.
        carries: By carry: its mask as a step sees it.
        first: By carry: its mask before the first step, along the same axes.
    """

    rows: dict[int, Core] = field(default_factory=dict)
    arrays: dict[Node, tuple[Node, bool]] = field(default_factory=dict)
    carries: dict[int, Core] = field(default_factory=dict)
    first: dict[int, Node] = field(default_factory=dict)

    @classmethod
    def of(
        cls, loop: Loop, cotangents: Mapping[int, Node], live: Iterable[int], rows: Iterable[int]
    ) -> LoopMasks:
        """Return the masks that come in; where all depend on one condition, those beside it."""
        single = condition_of(cotangents.values()) is not None
        found = {i: _mask(g, single=single) for i, g in cotangents.items()}
        masks = cls()
        if all(m is None for m in found.values()):
            return masks
        for j in rows:
            mask = found[loop.count + j]
            if mask is not None:
                masks._enter_row(j, core_of(mask))
        for k in live:
            mask = found.get(k)
            if k not in cotangents:
                masks._carry(k, (), loop.carried[k], mask)
            elif mask is not None:
                masks._carry(k, core_of(mask).axes, loop.carried[k], mask)
        return masks

    @classmethod
    def into(cls, loop: Loop, tangents: Sequence[Node | None], varied: Iterable[int]) -> LoopMasks:
        """Return the masks of tangents of a loop's arguments; `rows` are arguments here."""
        masks, count, many = cls(), loop.count, loop.count + len(loop.xs)
        found = [None if t is None else mask_of(t) for t in tangents]
        if all(m is None for m in found):
            return masks
        for i, mask in enumerate(found[count:], count):
            if mask is not None:
                masks._enter_row(i, core_of(mask), steps=i < many)
        for k in varied:
            if tangents[k] is None or found[k] is not None:
                mask = found[k]
                axes = () if mask is None else core_of(mask).axes
                masks._carry(k, axes, loop.carried[k], mask)
        return masks

    def _enter_row(self, j: int, core: Core, *, steps: bool = True) -> None:
        stacked = steps and 0 in core.axes
        shape = core.node.shape[1:] if stacked else core.node.shape
        known = [x for x, taken in self.arrays.items() if taken == (core.node, stacked)]
        seen = known[0] if known else core.node.graph.input("mask", Type(BOOL, shape))
        self.arrays[seen] = (core.node, stacked)
        axes = tuple([a - 1 for a in core.axes if a > 0]) if steps else core.axes
        self.rows[j] = Core(seen, axes)

    def _carry(self, k: int, axes: tuple[int, ...], like: Node, mask: Node | None) -> None:
        """Carry a mask along some axes; before the first step, it holds nowhere unless given."""
        shape = tuple([like.shape[a] for a in axes])
        nowhere = like.graph.full(shape, False, BOOL)
        self.carries[k] = Core(like.graph.input("mask", nowhere.type), axes)
        self.first[k] = nowhere if mask is None else _along(core_of(mask), axes, like)

    @property
    def inputs(self) -> list[Node]:
        """The masks as a step sees them."""
        return [*self.arrays, *(c.node for c in self.carries.values())]

    def seen(self, carried: Mapping[int, Node], rows: Mapping[int, Node]) -> list[Node]:
        """Return the cotangents as a step sees them: zero outside of their masks."""
        pairs = [(self.carries.get(k), g) for k, g in carried.items()]
        pairs += [(self.rows.get(j), g) for j, g in rows.items()]
        return [g if c is None else masked([c.over(g)], g) for c, g in pairs]

    def grow(self, loop: Loop, slopes: Mapping[int, Node | None]) -> bool:
        """Follow what a step makes of the masks; tell whether that is more than was known.

        A carry whose cotangent loses its mask is let go.
        """
        grown = False
        for k, slope in slopes.items():
            if k not in self.carries or slope is None or constant_value(slope) == 0:
                continue
            own, like = self.carries[k].axes, loop.carried[k]
            new = [c.axes for c in self.related(slope)]
            if not new:
                del self.carries[k], self.first[k]
                grown = True
            elif not set(own).issuperset(*new):
                before = Core(self.first[k], own).over(like)
                self._carry(k, tuple(sorted(set(own).union(*new))), like, before)
                grown = True
        return grown

    def related(self, slope: Node) -> list[Core]:
        """Return the masks of a cotangent that follow from those known to the loop."""
        cores = [core_of(m) for m in split(slope)[0]]
        known = depends_on(topological([c.node for c in cores]), self.inputs)
        return [c for c in cores if c.node in known]

    def leaving(self, slopes: Mapping[Node, Node]) -> dict[Node, Core]:
        """Return the masks of what a step finds for arguments, if they follow from known ones."""
        found: dict[Node, Core] = {}
        for x, slope in slopes.items():
            cores = self.related(slope)
            if cores:
                axes = tuple(sorted({a for c in cores for a in c.axes}))
                found[x] = Core(_all(cores, axes, x), axes)
        return found

    def after(self, loop: Loop, slopes: Mapping[Node, Node]) -> dict[Node, Core]:
        """Return the masks of carries after a step; where the cotangent is zero, nowhere."""
        found: dict[Node, Core] = {}
        for k, (_, axes) in self.carries.items():
            x = loop.carried[k]
            cores = [core_of(m) for m in split(slopes[x])[0]]
            cores = [c for c in cores if set(c.axes) <= set(axes)]
            shape = tuple([x.shape[a] for a in axes])
            nowhere = x.graph.full(shape, False, BOOL)
            found[x] = Core(_all(cores, axes, x) if cores else nowhere, axes)
        return found


def _all(cores: Sequence[Core], axes: tuple[int, ...], like: Node) -> Node:
    return reduce(lambda m, n: m & n, [_along(c, axes, like) for c in cores])


def _mask(g: Node, *, single: bool) -> Node | None:
    masks, inside = split(g)
    return mask_of(masked([m for m in masks if not single or core_of(m).axes], inside))


def _along(core: Core, axes: tuple[int, ...], like: Node) -> Node:
    """Return a mask along given axes of `like`, which include its own."""
    shape = tuple([like.shape[a] for a in axes])
    narrow = like.graph.full(shape, False, BOOL)
    return core.over(narrow, {a: axes.index(a) for a in core.axes})
