"""Masks of cotangents across the edges of bodies.

A body sees a cotangent as an input, which hides what it is made of.  So masks go in beside their
cotangents, as inputs of their own, and come out beside those that are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from chainrule.differentiate.masks import Core, core_of, either, mask_of, masked, split
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL

__all__ = ["Entered", "Exits", "condition_of", "enter", "outside"]


def condition_of(cotangents: Iterable[Node]) -> Node | None:
    """Return a single condition outside of which all cotangents are zero, if there is one."""
    found: list[Node] = []
    for g in cotangents:
        single = [c.node for c in map(core_of, split(g)[0]) if not c.axes]
        if not single:
            return None
        found.append(reduce(lambda m, n: m & n, single))
    return either(found) if found else None


def outside(condition: Node, found: Sequence[Node | None]) -> list[Node | None]:
    """Make what was found zero where the condition does not hold."""
    return [None if x is None else masked([Core(condition, ()).over(x)], x) for x in found]


class Entered(NamedTuple):
    """Cotangents as a body sees them, and the masks that it takes along with them."""

    seen: dict[int, Node]
    inputs: list[Node]
    outer: list[Node]


def enter(cotangents: Mapping[int, Node], given: Mapping[int, Node]) -> Entered:
    """Let a body know of the masks of cotangents, of which it sees the nodes `given`."""
    entered = Entered({}, [], [])
    known: dict[Node, Node] = {}
    for i, g in cotangents.items():
        mask = mask_of(g)
        if mask is None:
            entered.seen[i] = given[i]
            continue
        core = core_of(mask)
        if core.node not in known:
            known[core.node] = g.graph.input("mask", core.node.type)
            entered.inputs.append(known[core.node])
            entered.outer.append(core.node)
        entered.seen[i] = masked([Core(known[core.node], core.axes).over(g)], given[i])
    return entered


class Exits:
    """Masks that leave bodies beside cotangents.

    Args:
        bodies: For each body, the cotangents that it finds; all find those of the same arguments.
        inner: Of which of them the cotangents are pulled back further.
    """

    def __init__(self, bodies: Sequence[Sequence[Node]], inner: Sequence[bool]) -> None:
        self.axes: dict[int, tuple[int, ...]] = {}
        found = [[mask_of(x) if i else None for x, i in zip(b, inner, strict=True)] for b in bodies]
        for at, masks in enumerate(zip(*found, strict=True)):
            some = [core_of(m) for m in masks if m is not None]
            if len(some) == len(bodies):
                self.axes[at] = tuple(sorted({a for c in some for a in c.axes}))
        self.masks = [[self._narrowed(at, masks) for at in self.axes] for masks in found]

    def _narrowed(self, at: int, masks: Sequence[Node | None]) -> Node:
        mask = masks[at]
        assert mask is not None, "all bodies have a mask here"
        core, axes = core_of(mask), self.axes[at]
        shape = tuple([mask.shape[a] for a in axes])
        like = mask.graph.full(shape, False, BOOL)
        return core.over(like, {a: axes.index(a) for a in core.axes})

    def applied(self, results: Sequence[Node]) -> list[Node]:
        """Mask what bodies return: the cotangents, and the masks behind them."""
        count = len(results) - len(self.axes)
        found = list(results[:count])
        for (at, axes), mask in zip(self.axes.items(), results[count:], strict=True):
            found[at] = masked([Core(mask, axes).over(found[at])], found[at])
        return found
