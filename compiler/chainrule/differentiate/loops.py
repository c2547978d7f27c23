"""Derivatives of loops.

The derivative of a loop is a loop.  Forward mode carries tangents along.  Reverse mode
(backpropagation through time) runs the steps in the opposite order, over values that the forward
loop stacks, and adds up the cotangents of what all steps share as it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from chainrule.differentiate.loop_masks import LoopMasks
from chainrule.differentiate.masks import Core, masked, summed
from chainrule.differentiate.residuals import residuals
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import reached, rebuild, topological
from chainrule.ops.control import COUNT, POSITION, Loop, results_of

__all__ = ["Batched", "Building", "PullBack", "PushForward", "pull_loop", "push_loop",
           "spread", "substitute_within"]  # fmt: skip

PullBack: TypeAlias = Callable[..., Sequence[Node | None]]
PushForward: TypeAlias = Callable[[Sequence[Node], Mapping[Node, Node]], Sequence[Node | None]]
Batched: TypeAlias = Callable[..., list[tuple[Node, bool]]]


# What depends on what


def _smooth(node: Node) -> bool:
    return node.dtype.is_float or node.dtype is BUNDLE


def _dependent(outputs: Sequence[Node], sources: Iterable[Node]) -> list[bool]:
    """Tell which outputs depend on one of the sources through floating-point values."""
    active = {n for n in sources if _smooth(n)}
    for n in topological(outputs):
        if _smooth(n) and not active.isdisjoint(n.args):
            active.add(n)
    return [n in active for n in outputs]


def _behind(outputs: Iterable[Node]) -> set[Node]:
    """Return what the outputs depend on through floating-point values."""
    found: set[Node] = set()
    waiting = [n for n in outputs if _smooth(n)]
    while waiting:
        n = waiting.pop()
        if n not in found:
            found.add(n)
            waiting.extend(x for x in n.args if _smooth(x))
    return found


def _varied(loop: Loop, wanted: Sequence[bool]) -> list[int]:
    """Return the carries that depend on arguments in `wanted`, after any number of steps."""
    count, many = loop.count, loop.count + len(loop.xs)
    outer = [x for x, w in zip(loop.elements, wanted[count:many], strict=True) if w]
    outer += [x for x, w in zip(loop.fixed, wanted[many:], strict=True) if w]
    varied = {k for k, c in enumerate(loop.carried) if wanted[k] and c.dtype.is_float}
    while True:
        flags = _dependent(loop.next, [*outer, *(loop.carried[k] for k in varied)])
        more = {k for k, f in enumerate(flags) if f and loop.carried[k].dtype.is_float} - varied
        if not more:
            return sorted(varied)
        varied |= more


# Reverse mode


@dataclass
class Building:
    """A loop as it is put together: what its body sees and gives, and what that stands for."""

    position: Node
    carried: list[Node] = field(default_factory=list)
    inits: list[Node] = field(default_factory=list)
    next: list[Node] = field(default_factory=list)
    elements: list[Node] = field(default_factory=list)
    xs: list[Node] = field(default_factory=list)
    stacked: list[Node] = field(default_factory=list)
    fixed: list[Node] = field(default_factory=list)
    constants: list[Node] = field(default_factory=list)

    def element(self, like: Node, xs: Node, name: str = "saved") -> Node:
        """Give the body rows of `xs`; return what it sees of them."""
        node = like.graph.input(name, like.type)
        self.elements.append(node)
        self.xs.append(xs)
        return node

    def carry(self, node: Node, init: Node, after: Node) -> None:
        """Carry a value along."""
        self.carried.append(node)
        self.inits.append(init)
        self.next.append(after)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What the body sees."""
        return (self.position, *self.carried, *self.elements, *self.fixed)

    def close(
        self, length: Extent, *, reverse: bool, test: Body | None = None,
        bound: Extent | None = None, counted: bool = False,
    ) -> list[Node]:  # fmt: skip
        """Return the loop's results."""
        body = Body(self.inputs, (*self.next, *self.stacked))
        node = self.position.graph.call(
            "loop", *self.inits, *self.xs, *self.constants, body=body, test=test,
            carries=len(self.carried), mapped=len(self.xs), length=length, bound=bound,
            reverse=reverse, counted=counted,
        )  # fmt: skip
        return results_of(node)


def pull_loop(
    y: Node, cotangents: Mapping[int, Node], wanted: Sequence[bool], inner: Sequence[bool],
    pull_back: PullBack,
) -> list[Node | None]:  # fmt: skip
    """Return the cotangents of a loop's arguments, given those of some of its results.

    What the steps need of the forward pass is stacked by it or computed again, whichever is
    cheaper.  The cost is that of one loop of as many steps.
    """
    loop, graph, count = Loop.of(y), y.graph, Loop.of(y).count
    rows = [j for j in range(len(loop.stacked)) if count + j in cotangents]
    live = _live(loop, _varied(loop, wanted), cotangents, rows)
    of_carries = {k: graph.input("cotangent", loop.carried[k].type) for k in live}
    of_rows = {j: graph.input("cotangent", loop.stacked[j].type) for j in rows}
    own = zip([*loop.elements, *loop.fixed], wanted[count:], inner[count:], strict=True)
    asked = {x: further for x, w, further in own if w and x.dtype.is_float}
    masks = LoopMasks.of(loop, cotangents, live, rows)
    slopes = _step_back(loop, masks, of_carries, of_rows, list(asked), pull_back)
    bounds = masks.after(loop, slopes) | masks.leaving({x: s for x, s in slopes.items()
                                                        if asked.get(x)})  # fmt: skip

    targets = [*slopes.values(), *(c.node for c in bounds.values())]
    given = (loop.position, *loop.elements, *loop.fixed)
    late = [*of_carries.values(), *of_rows.values(), *masks.inputs]
    back = Building(loop.position)
    known = _brought_along(back, loop, residuals(targets, late, given))
    for j, g in of_rows.items():
        back.elements.append(g)
        back.xs.append(cotangents[count + j])
    targets = substitute_within(targets, known)
    _share(back, loop, targets)
    _take_masks(back, masks)
    slopes = dict(zip(slopes, targets, strict=False))
    narrow = dict(zip(bounds, targets[len(slopes) :], strict=True))

    fixed = [x for x in loop.fixed if x in slopes]
    elements = [x for x in loop.elements if x in slopes]
    for k, g in of_carries.items():
        x = loop.carried[k]
        back.carry(g, cotangents.get(k, graph.full_like(x, 0.0)), slopes[x])
    for x in fixed:
        total = graph.input("total", x.type)
        back.carry(total, graph.full_like(x, 0.0), summed(total, slopes[x]))
    for k, core in masks.carries.items():
        back.carry(core.node, masks.first[k], narrow[loop.carried[k]])
    for x in [x for x in fixed if x in narrow]:
        some = graph.input("mask", narrow[x].type)
        back.carry(some, graph.full_like(some, False), some | narrow[x])
    back.stacked = [slopes[x] for x in elements] + [narrow[x] for x in elements if x in narrow]
    counted = _count_steps(back, loop)
    results = iter(back.close(loop.length, reverse=not y.attributes["reverse"], counted=counted))

    held: dict[Node, Node] = {}
    pulled = {x: next(results) for x in [*(loop.carried[k] for k in live), *fixed]}
    held |= {x: next(results) for x in [loop.carried[k] for k in masks.carries]}
    held |= {x: next(results) for x in fixed if x in narrow}
    pulled |= {x: next(results) for x in elements}
    held |= {x: next(results) for x in elements if x in narrow}
    for x, mask in held.items():
        axes = bounds[x].axes
        axes = (0, *(a + 1 for a in axes)) if x in elements else axes
        pulled[x] = masked([Core(mask, axes).over(pulled[x])], pulled[x])
    seen = [*loop.carried, *loop.elements, *loop.fixed]
    return [pulled.get(x) if w else None for x, w in zip(seen, wanted, strict=True)]


def _live(
    loop: Loop, varied: Sequence[int], cotangents: Mapping[int, Node], rows: Sequence[int]
) -> list[int]:
    """Return the carries that cotangents reach, after any number of steps back."""
    live = [k for k in varied if k in cotangents]
    while True:
        behind = _behind([*(loop.next[k] for k in live), *(loop.stacked[j] for j in rows)])
        more = [k for k in varied if k not in live and loop.carried[k] in behind]
        if not more:
            return live
        live = sorted([*live, *more])


def _step_back(
    loop: Loop, masks: LoopMasks, of_carries: Mapping[int, Node], of_rows: Mapping[int, Node],
    asked: Sequence[Node], pull_back: PullBack,
) -> dict[Node, Node]:  # fmt: skip
    """Return the cotangents of what one step sees; carries that nothing depends on have zeros."""
    outputs = [*(loop.next[k] for k in of_carries), *(loop.stacked[j] for j in of_rows)]
    carried = [loop.carried[k] for k in of_carries]
    while True:
        seen = masks.seen(of_carries, of_rows)
        found = pull_back(outputs, seen, [*carried, *asked], inside=True)
        if not masks.grow(loop, dict(zip(of_carries, found, strict=False))):
            break
    slopes = {x: x.graph.full_like(x, 0.0) if s is None else s
              for x, s in zip(carried, found, strict=False)}  # fmt: skip
    later = zip(asked, found[len(carried) :], strict=True)
    return slopes | {x: s for x, s in later if s is not None}


def substitute_within(nodes: Sequence[Node], known: Mapping[Node, Node]) -> list[Node]:
    """Replace nodes of a body; checks outside are left alone."""
    if not nodes or not known:
        return list(nodes)
    return rebuild(nodes, nodes[0].graph, lambda _n, _a: None, known)[0]


def _brought_along(back: Building, loop: Loop, kept: Sequence[Node]) -> dict[Node, Node]:
    """Let the forward loop stack what is kept; return what the backward body sees instead."""
    new = [n for n in kept if n not in loop.stacked]
    body = Body(loop.body.inputs, (*loop.body.outputs, *new))
    attributes = loop.node.attributes | {"body": body}
    forward = loop.node.graph.call("loop", *loop.node.args, **attributes)
    results = results_of(forward)
    places = [*loop.stacked, *new]
    return {n: back.element(n, results[loop.count + places.index(n)]) for n in kept}


def _count_steps(back: Building, loop: Loop) -> bool:
    """Tell the backward loop how many steps there were, if only the forward one knows."""
    given = loop.node.attributes
    if loop.test is not None:
        number = loop.node.graph.call("item", loop.node, index=COUNT, type=POSITION)
    elif given["counted"]:
        number = loop.constants[-1]
    else:
        return False
    back.fixed.append(loop.node.graph.input("count", POSITION))
    back.constants.append(number)
    return True


def _share(back: Building, loop: Loop, targets: Sequence[Node]) -> None:
    """Give the backward body those elements and constants of the forward one that it reads."""
    read = reached(targets)
    for x, xs in zip(loop.elements, loop.xs, strict=True):
        if x in read:
            back.elements.append(x)
            back.xs.append(xs)
    for x, constant in zip(loop.fixed, loop.constants, strict=True):
        if x in read:
            back.fixed.append(x)
            back.constants.append(constant)


# Forward mode


def push_loop(
    y: Node, tangents: Sequence[Node | None], push_forward: PushForward
) -> dict[int, Node]:
    """Return the tangents of a loop's results: one loop computes values and tangents together."""
    loop, graph = Loop.of(y), y.graph
    count, many = loop.count, loop.count + len(loop.xs)
    varied = _varied(loop, [t is not None for t in tangents])
    moving = {loop.carried[k]: graph.input("tangent", loop.carried[k].type) for k in varied}
    both = Building(loop.position, list(loop.carried), list(loop.inits), list(loop.next))
    both.elements, both.xs = list(loop.elements), list(loop.xs)
    for x, t in zip(loop.elements, tangents[count:many], strict=True):
        if t is not None:
            moving[x] = both.element(x, t, "tangent")
    for x, t in zip(loop.fixed, tangents[many:], strict=True):
        if t is not None:
            moving[x] = graph.input("tangent", x.type)
            both.fixed.append(moving[x])
            both.constants.append(t)
    masks = LoopMasks.into(loop, tangents, varied)
    _take_masks(both, masks)
    # The number of steps, if it is among them, stays the last.
    both.fixed += loop.fixed
    both.constants += loop.constants
    after = _step_forward(loop, masks, moving, push_forward)
    for k in varied:
        x, t, init = loop.carried[k], after[k], tangents[k]
        zero = graph.full_like(x, 0.0)
        both.carry(moving[x], zero if init is None else init, zero if t is None else t)
    ends = {loop.carried[k]: t for k in varied if (t := after[k]) is not None}
    bounds = masks.after(loop, {loop.carried[k]: graph.full_like(loop.carried[k], 0.0)
                                for k in varied} | ends)  # fmt: skip
    for k, core in masks.carries.items():
        both.carry(core.node, masks.first[k], bounds[loop.carried[k]].node)
    rows = {j: t for j, t in enumerate(after[count:]) if t is not None}
    held = masks.leaving({loop.stacked[j]: t for j, t in rows.items()})
    both.stacked = [*rows.values(), *(core.node for core in held.values())]
    test = loop.test
    if test is not None:
        test = Body(both.inputs, test.outputs)
    given = y.attributes
    results = iter(both.close(
        loop.length, reverse=given["reverse"], test=test, bound=given["bound"],
        counted=given["counted"],
    )[count:])  # fmt: skip
    found = {k: next(results) for k in varied}
    for k, core in masks.carries.items():
        found[k] = masked([Core(next(results), core.axes).over(found[k])], found[k])
    found |= {count + j: next(results) for j in rows}
    for x, core in held.items():
        axes, mask = (0, *(a + 1 for a in core.axes)), next(results)
        for j in [j for j in rows if loop.stacked[j] is x]:
            found[count + j] = masked([Core(mask, axes).over(found[count + j])], found[count + j])
    return found


def _take_masks(into: Building, masks: LoopMasks) -> None:
    """Let a loop's body see the masks that do not change, or change with the step."""
    for x, (outer, stacked) in masks.arrays.items():
        (into.elements if stacked else into.fixed).append(x)
        (into.xs if stacked else into.constants).append(outer)


def _step_forward(
    loop: Loop, masks: LoopMasks, moving: Mapping[Node, Node], push_forward: PushForward
) -> Sequence[Node | None]:
    """Return the tangents of what one step makes."""
    arguments = [*loop.carried, *loop.elements, *loop.fixed]
    given = {i: moving[x] for i, x in enumerate(arguments) if x in moving}
    while True:
        rows = {i: t for i, t in given.items() if i >= loop.count}
        seen = masks.seen({i: t for i, t in given.items() if i < loop.count}, rows)
        tangents = dict(zip((arguments[i] for i in given), seen, strict=True))
        after = push_forward(loop.body.outputs, tangents)
        if not masks.grow(loop, {k: after[k] for k in given if k < loop.count}):
            return after


def spread(x: Node, size: Extent) -> Node:
    """Copy a value for each example of a batch."""
    return x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
