"""Derivatives of loops.

The derivative of a loop is a loop.  Forward mode carries tangents along.  Reverse mode
(backpropagation through time) runs the steps in the opposite order, over values that the forward
loop stacks, and adds up the cotangents of what all steps share as it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from chainrule.differentiate.masks import summed
from chainrule.differentiate.residuals import residuals
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import reached, rebuild, topological
from chainrule.ops.control import COUNT, POSITION, Loop, results_of

__all__ = ["Batched", "Building", "PullBack", "PushForward", "pull_loop", "push_loop",
           "spread", "substitute_within"]  # fmt: skip

PullBack: TypeAlias = Callable[
    [Sequence[Node], Sequence[Node], Sequence[Node]], Sequence[Node | None]
]
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
    y: Node, cotangents: Mapping[int, Node], wanted: Sequence[bool], pull_back: PullBack
) -> list[Node | None]:
    """Return the cotangents of a loop's arguments, given those of some of its results.

    What the steps need of the forward pass is stacked by it or computed again, whichever is
    cheaper.  The cost is that of one loop of as many steps.
    """
    loop, graph = Loop.of(y), y.graph
    count = loop.count
    varied = _varied(loop, wanted)
    rows = [j for j in range(len(loop.stacked)) if count + j in cotangents]
    live = [k for k in varied if k in cotangents]
    while True:
        behind = _behind([*(loop.next[k] for k in live), *(loop.stacked[j] for j in rows)])
        more = [k for k in varied if k not in live and loop.carried[k] in behind]
        if not more:
            break
        live = sorted([*live, *more])
    of_carries = [graph.input("cotangent", loop.carried[k].type) for k in live]
    of_rows = [graph.input("cotangent", loop.stacked[j].type) for j in rows]
    inner = [*loop.elements, *loop.fixed]
    asked = [x for x, w in zip(inner, wanted[count:], strict=True) if w and x.dtype.is_float]
    outputs = [*(loop.next[k] for k in live), *(loop.stacked[j] for j in rows)]
    wrt = [*(loop.carried[k] for k in live), *asked]
    slopes = pull_back(outputs, [*of_carries, *of_rows], wrt)
    found = {
        x: graph.full_like(x, 0.0) if s is None and i < len(live) else s
        for i, (x, s) in enumerate(zip(wrt, slopes, strict=True))
    }

    targets = [s for s in found.values() if s is not None]
    given = (loop.position, *loop.elements, *loop.fixed)
    kept = residuals(targets, [*of_carries, *of_rows], given)
    back = Building(loop.position)
    known = _brought_along(back, loop, kept)
    for g, j in zip(of_rows, rows, strict=True):
        back.elements.append(g)
        back.xs.append(cotangents[count + j])
    targets = substitute_within(targets, known)
    slope_of = dict(zip([x for x, s in found.items() if s is not None], targets, strict=True))
    _share(back, loop, targets)

    for k, g in zip(live, of_carries, strict=True):
        x = loop.carried[k]
        back.carry(g, cotangents.get(k, graph.full_like(x, 0.0)), slope_of[x])
    fixed = [x for x in loop.fixed if x in slope_of]
    for x in fixed:
        total = graph.input("total", x.type)
        back.carry(total, graph.full_like(x, 0.0), summed(total, slope_of[x]))
    elements = [x for x in loop.elements if x in slope_of]
    back.stacked = [slope_of[x] for x in elements]
    counted = _count_steps(back, loop)
    results = back.close(loop.length, reverse=not y.attributes["reverse"], counted=counted)

    names: list[Node] = [*(loop.carried[k] for k in live), *fixed, *elements]
    pulled = dict(zip(names, results, strict=True))
    seen = [*loop.carried, *loop.elements, *loop.fixed]
    return [pulled.get(x) if w else None for x, w in zip(seen, wanted, strict=True)]


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
    # The number of steps, if it is among them, stays the last.
    both.fixed += loop.fixed
    both.constants += loop.constants
    after = push_forward(loop.body.outputs, moving)
    for k in varied:
        x, t, init = loop.carried[k], after[k], tangents[k]
        zero = graph.full_like(x, 0.0)
        both.carry(moving[x], zero if init is None else init, zero if t is None else t)
    rows = [j for j in range(len(loop.stacked)) if after[count + j] is not None]
    both.stacked = [t for t in after[count:] if t is not None]
    test = loop.test
    if test is not None:
        test = Body(both.inputs, test.outputs)
    given = y.attributes
    results = both.close(
        loop.length,
        reverse=given["reverse"],
        test=test,
        bound=given["bound"],
        counted=given["counted"],
    )
    first = count + len(varied)
    found = {k: results[count + i] for i, k in enumerate(varied)}
    return found | {count + j: results[first + i] for i, j in enumerate(rows)}


def spread(x: Node, size: Extent) -> Node:
    """Copy a value for each example of a batch."""
    return x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
