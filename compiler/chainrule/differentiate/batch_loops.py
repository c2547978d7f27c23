"""Loops over a new leading axis: all examples take their steps together.

Where a test differs between examples, the loop runs as long as one of them wants another step, and
the others keep what they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.differentiate.loops import Batched, Building, spread
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent, substitute_extent
from chainrule.ir.graph import Node
from chainrule.ir.types import I64, Type
from chainrule.ops.control import COUNT, POSITION, Loop, counted_name, fresh_length

__all__ = ["batch_loop"]


def batch_loop(
    y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent, lengths: dict[str, Extent],
    batched: Batched,
) -> dict[int, tuple[Node, bool]]:  # fmt: skip
    """Return a loop's results over a new leading axis of some arguments, and which have it.

    `lengths` remembers, for loops whose test differs between examples, the dims of the new lengths.
    """
    loop = Loop.of(y)
    steps = _Steps(loop, flags, size, batched)
    many = _Many(loop, steps, args, flags)
    found = many.results(lengths)
    count, extra = loop.count, int(many.taken is not None)
    items = {k: (found[k], k in steps.mapped) for k in range(count)}
    for j in range(len(loop.stacked)):
        row, has = found[count + extra + j], steps.has[count + j]
        items[count + j] = (_swapped(row) if has else row, has)
    if loop.test is not None:
        number = y.graph.call("item", found[0].args[0], index=COUNT, type=POSITION)
        items[COUNT] = (number, False) if many.taken is None else (found[count], True)
    return items


class _Steps:
    """One step for many examples.

    Attributes:
        mapped: The carries that differ between examples, after any number of steps.
        given: The body's inputs that do, over the new axis.
        outputs: The body's outputs.
        has: Which of them have the axis.
        going: Which examples the test lets go on; None if it is the same for all.
    """

    def __init__(self, loop: Loop, flags: Sequence[bool], size: Extent, batched: Batched) -> None:
        self.size = size
        count = loop.count
        # Examples that stop at different steps keep different values, whatever those began as.
        ragged = loop.node.attributes["counted"] and flags[-1]
        self.mapped = {k for k in range(count) if flags[k] or ragged}
        while True:
            own = [*(k in self.mapped for k in range(count)), *flags[count:]]
            self.given = {
                x: x.graph.input(str(x.attributes["name"]), Type(x.dtype, (size, *x.shape)))
                for x, f in zip(loop.body.inputs[1:], own, strict=True) if f
            }  # fmt: skip
            found = batched(loop.body.outputs, self.given, size)
            self.outputs, self.has = [n for n, _ in found], [f for _, f in found]
            self.going = self._going(loop, batched)
            more = {k for k in range(count) if self.has[k] or self.going is not None}
            if more <= self.mapped:
                return
            self.mapped |= more

    def _going(self, loop: Loop, batched: Batched) -> Node | None:
        if loop.test is None:
            return None
        ((going, differs),) = batched(loop.test.outputs, self.given, self.size)
        return going if differs else None


class _Many:
    """The loop for many examples, as it is put together."""

    def __init__(
        self, loop: Loop, steps: _Steps, args: Sequence[Node], flags: Sequence[bool]
    ) -> None:
        self.loop, self.steps = loop, steps
        self.taken: Node | None = None
        count, rows = loop.count, loop.count + len(loop.xs)
        given, size = steps.given, steps.size
        self.building = both = Building(loop.position)
        both.elements = [given.get(x, x) for x in loop.elements]
        both.xs = [
            _swapped(x) if f else x
            for x, f in zip(args[count:rows], flags[count:rows], strict=True)
        ]
        both.fixed = [given.get(x, x) for x in loop.fixed]
        both.constants = list(args[rows:])
        on = steps.going
        if loop.node.attributes["counted"] and flags[-1]:
            on = self._within_count()
        for k, x in enumerate(loop.carried):
            before, after, init = given.get(x, x), steps.outputs[k], args[k]
            if k in steps.mapped:
                init = init if flags[k] else spread(init, size)
                after = after if steps.has[k] else spread(after, size)
            both.carry(before, init, after if on is None else _where(on, after, before))
        both.stacked = steps.outputs[count:]
        if steps.going is not None:
            self._count_steps(steps.going)

    def _within_count(self) -> Node:
        """Return which examples still take steps, where each has a number of its own."""
        both, graph = self.building, self.loop.node.graph
        counts, size = both.fixed[-1], self.steps.size
        none = graph.full((1,), 0, I64)
        padded = graph.call("concatenate", both.constants[-1], none, axis=0)
        # The loop takes the most of them, which is the last constant again.
        both.fixed.append(graph.input("count", POSITION))
        both.constants.append(graph.call("max", padded, axes=(0,)))
        return graph.broadcast(self.loop.position, (size,), ()) < counts

    def _count_steps(self, going: Node) -> None:
        """Carry how many steps each example has taken."""
        graph, size = self.loop.node.graph, self.steps.size
        self.taken = graph.input("taken", Type(I64, (size,)))
        after = self.taken + graph.call("cast", going, dtype=I64)
        self.building.carry(self.taken, graph.full((size,), 0, I64), after)

    def results(self, lengths: dict[str, Extent]) -> list[Node]:
        """Make the loop."""
        loop, given, going = self.loop, self.loop.node.attributes, self.steps.going
        length = _renamed(loop.length, lengths) if loop.test is None else loop.length
        test = None if loop.test is None else loop.test.outputs
        if going is not None:
            # One dim for all loops that share the number of steps.
            length = lengths.setdefault(counted_name(loop.length), fresh_length())
            graph = going.graph
            test = (graph.call("sum", graph.call("cast", going, dtype=I64), axes=(0,)) > 0,)
        return self.building.close(
            length, reverse=given["reverse"], bound=given["bound"], counted=given["counted"],
            test=None if test is None else Body(self.building.inputs, test),
        )  # fmt: skip


def _renamed(length: Extent, lengths: Mapping[str, Extent]) -> Extent:
    return length if isinstance(length, int) else substitute_extent(length, lengths)


def _where(on: Node, a: Node, b: Node) -> Node:
    """Return `a` for the examples that go on and `b` for the others."""
    condition = on.graph.broadcast(on, a.shape, (0,))
    return on.graph.select(condition, a, b)


def _swapped(x: Node) -> Node:
    """Turn (examples, steps, ...) into (steps, examples, ...), or back."""
    return x.graph.call("transpose", x, axes=(1, 0, *range(2, x.type.rank)))
