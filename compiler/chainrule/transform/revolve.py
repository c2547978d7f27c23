"""Binomial checkpointing: a loop run backwards with a few snapshots, and as few steps run again.

Griewank and Walther (2000), "Algorithm 799: revolve", ACM Trans. Math. Softw. 26, 19-45.  With `s`
snapshots and `r` repetitions, (s + r choose s) steps can be reversed.  The order of storing,
restoring, advancing and reversing is known before: it is a table, and the backward pass is a loop
over that table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb
from typing import Any, Final, NamedTuple

import numpy as np

from chainrule.differentiate.forward import push_forward
from chainrule.differentiate.loops import substitute_within
from chainrule.differentiate.reverse import pull_back
from chainrule.frontend.array import Array
from chainrule.frontend.context import tracing
from chainrule.ir.body import Body
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, I32, I64, DType
from chainrule.ir.walk import rebuild
from chainrule.ops.control import Custom, Loop, results_of

__all__ = ["Action", "actions", "few_snapshots", "recomputing"]

ADVANCE, STORE, RESTORE, DISCARD, REVERSE = range(5)
REPEATS: Final = 3
"How often a step is run again at most, where the number of snapshots is left to us."


class Action(NamedTuple):
    """One entry of the table: what to do, with which step, and with which slot."""

    kind: int
    step: int
    slot: int


def few_snapshots(length: int) -> int:
    """Return the snapshots with which no step is run again more than `REPEATS` times."""
    count = 1
    while comb(count + REPEATS, count) < length:
        count += 1
    return count


def advances(length: int, snapshots: int) -> int:
    """Return the fewest steps that must be run again to reverse `length` steps.

    Griewank (1992), "Achieving logarithmic growth of temporal and spatial complexity in reverse
    automatic differentiation", Optim. Methods Softw. 1, 35-54.
    """
    repeats = 0
    while comb(snapshots + repeats, snapshots) < length:
        repeats += 1
    less = comb(snapshots + repeats, snapshots + 1) if repeats else 0
    return repeats * length - less


def actions(length: int, snapshots: int) -> Iterator[Action]:
    """Yield what to do to reverse the steps from the last to the first.

    Slot 0 holds the state before step 0.  Each pass through a range runs ahead to where the next
    snapshot is worth most, reverses what lies beyond it, and comes back.
    """
    waiting: list[Action | tuple[int, int, int]] = [(0, length, 0)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Action):
            yield one
            continue
        first, end, slot = one
        if end <= first:
            continue
        free = snapshots - 1 - slot
        yield Action(RESTORE, first, slot)
        if end - first == 1:
            yield Action(REVERSE, first, 0)
        elif not free:
            yield from (Action(ADVANCE, i, 0) for i in range(first, end - 1))
            yield Action(REVERSE, end - 1, 0)
            waiting.append((first, end - 1, slot))
        else:
            middle = first + _ahead(end - first, free + 1)
            yield from (Action(ADVANCE, i, 0) for i in range(first, middle))
            yield Action(STORE, middle, slot + 1)
            waiting += [
                (first, middle, slot), Action(DISCARD, 0, slot + 1), (middle, end, slot + 1),
            ]  # fmt: skip


def _ahead(length: int, snapshots: int) -> int:
    """Return how far to run before the next snapshot is taken."""
    return min(
        range(1, length),
        key=lambda m: m + advances(length - m, snapshots - 1) + advances(m, snapshots),
    )


def recomputing(results: Sequence[Node], snapshots: int | None) -> list[Node]:
    """Return the results of a loop of known length, whose reverse mode keeps a few snapshots."""
    node = results[0].args[0]
    loop, graph = Loop.of(node), node.graph
    length = loop.length
    assert isinstance(length, int), "the table is as long as the loop"
    if not length:
        return list(results)
    inner = [graph.input("x", x.type) for x in node.args]
    plain = results_of(graph.apply(node.op, tuple(inner), node.attrs))
    count = min(snapshots or few_snapshots(length), length)

    def pull(args: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
        with tracing(graph):
            return _Backward(loop, args, cotangents, count).run()

    def push(args: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
        moving = {x: graph.input("tangent", t.type) for x, t in zip(inner, tangents, strict=True)}
        found = push_forward(plain, {x: t for x, t in moving.items() if x.dtype.is_float})
        known = dict(zip(inner, args, strict=True))
        known |= dict(zip(moving.values(), tangents, strict=True))
        return [
            None if t is None else substitute_within([t], known)[0]
            for t, y in zip(found, plain, strict=True)
            if y.dtype.is_float
        ]

    call = graph.call(
        "call", *node.args, body=Body(tuple(inner), tuple(plain)),
        custom=Custom("scan", pull=pull, push=push), apart=False,
    )  # fmt: skip
    return results_of(call)


class _Backward:
    """The loop over the table of actions."""

    def __init__(
        self, loop: Loop, args: Sequence[Node], cotangents: Sequence[Node], snapshots: int
    ) -> None:
        self.loop, self.snapshots = loop, snapshots
        self.graph: Graph = loop.node.graph
        count, many = loop.count, loop.count + len(loop.xs)
        self.inits, self.xs, self.constants = args[:count], args[count:many], args[many:]
        left = iter(cotangents)
        results = results_of(loop.node)
        given = [next(left) if y.dtype.is_float else None for y in results]
        self.last, self.rows = given[:count], given[count:]
        self._differentiate()

    def _differentiate(self) -> None:
        """Differentiate one step, once, as a function of what it sees and of its cotangents."""
        loop, graph = self.loop, self.graph
        floats = [k for k, x in enumerate(loop.carried) if x.dtype.is_float]
        self.floats = floats
        self.of_next = {k: graph.input("cotangent", loop.carried[k].type) for k in floats}
        self.of_rows = {
            j: graph.input("cotangent", y.type)
            for j, y in enumerate(loop.stacked) if y.dtype.is_float
        }  # fmt: skip
        outputs = [*(loop.next[k] for k in floats), *(loop.stacked[j] for j in self.of_rows)]
        self.shared = [x for x in loop.fixed if x.dtype.is_float]
        self.along = [x for x in loop.elements if x.dtype.is_float]
        wrt = [*(loop.carried[k] for k in floats), *self.shared, *self.along]
        found = pull_back(outputs, [*self.of_next.values(), *self.of_rows.values()], wrt)
        self.slopes = [
            graph.full_like(x, 0.0) if s is None else s for x, s in zip(wrt, found, strict=True)
        ]

    def run(self) -> list[Node | None]:
        """Return the cotangents of the loop's arguments."""
        from chainrule.transform.branches import switch
        from chainrule.transform.loops import scan

        loop, graph = self.loop, self.graph
        length = loop.length
        assert isinstance(length, int), "the table is as long as the loop"
        table = np.array(list(actions(length, self.snapshots)), np.int32).reshape(-1, 3)
        if loop.node.attributes["reverse"]:
            table[:, 1] = length - 1 - table[:, 1]
        branches = [self._advance, self._store, self._restore, self._discard, self._reverse]

        def turn(carry: Any, action: Any) -> tuple[Any, None]:
            step, slot = (Array(_cast(action[i].node, I64)) for i in (1, 2))
            return switch(action[0], branches, carry, step, slot), None

        slots = [self._slot(x) for x in self.inits]
        zero = graph.full_like
        start = {
            "state": [Array(x) for x in self.inits],
            "slots": [Array(x) for x in slots],
            "next": [Array(zero(loop.carried[k], 0.0)) if (g := self.last[k]) is None else Array(g)
                     for k in self.floats],
            "shared": [Array(zero(x, 0.0)) for x in self.shared],
            "along": [Array(graph.full((length, *x.shape), 0.0, x.dtype)) for x in self.along],
        }  # fmt: skip
        end, _ = scan(turn, start, Array(graph.array(table, I32)))
        found: dict[Node, Node] = {
            loop.carried[k]: x.node for k, x in zip(self.floats, end["next"], strict=True)
        }
        found |= {x: y.node for x, y in zip(self.shared, end["shared"], strict=True)}
        found |= {x: y.node for x, y in zip(self.along, end["along"], strict=True)}
        return [found.get(x) for x in (*loop.carried, *loop.elements, *loop.fixed)]

    # Snapshots are added to slots that are zero, and taken away exactly: nothing is copied.

    def _slot(self, x: Node) -> Node:
        """Return empty slots but for the first, which holds the state that the loop begins with."""
        graph, dtype = self.graph, _addable(x.dtype)
        empty = graph.full((self.snapshots, *x.shape), 0, dtype)
        return empty + self._at(_cast(x, dtype), graph.constant(0, I64))

    def _at(self, x: Node, slot: Node) -> Node:
        graph = self.graph
        row = graph.call("reshape", x, shape=(1, *x.shape))
        place = graph.call("reshape", slot, shape=(1,))
        return graph.call("scatter_add", row, place, size=self.snapshots, batch=0)

    def _held(self, slots: Array, slot: Array) -> Node:
        return self.graph.call("gather", slots.node, slot.node, batch=0)

    def _advance(self, carry: Any, step: Array, _slot: Array) -> Any:
        known = self._seen(carry, step)
        after = rebuild(self.loop.next, self.graph, lambda _n, _a: None, known)[0]
        return carry | {"state": [Array(n) for n in after]}

    def _store(self, carry: Any, _step: Array, slot: Array) -> Any:
        kept = [
            Array(s.node + self._at(_cast(x.node, s.node.dtype), slot.node))
            for s, x in zip(carry["slots"], carry["state"], strict=True)
        ]
        return carry | {"slots": kept}

    def _restore(self, carry: Any, _step: Array, slot: Array) -> Any:
        state = [
            Array(_cast(self._held(s, slot), x.node.dtype))
            for s, x in zip(carry["slots"], carry["state"], strict=True)
        ]
        return carry | {"state": state}

    def _discard(self, carry: Any, _step: Array, slot: Array) -> Any:
        left = [Array(s.node + self._at(-self._held(s, slot), slot.node)) for s in carry["slots"]]
        return carry | {"slots": left}

    def _reverse(self, carry: Any, step: Array, _slot: Array) -> Any:
        known = self._seen(carry, step)
        known |= {g: x.node for g, x in zip(self.of_next.values(), carry["next"], strict=True)}
        for j, g in self.of_rows.items():
            rows = self.rows[j]
            known[g] = (
                self.graph.full_like(g, 0.0) if rows is None
                else self.graph.call("gather", rows, step.node, batch=0)
            )  # fmt: skip
        found = rebuild(self.slopes, self.graph, lambda _n, _a: None, known)[0]
        split = len(self.floats)
        shared = found[split : split + len(self.shared)]
        along = found[split + len(self.shared) :]
        return carry | {
            "next": [Array(n) for n in found[:split]],
            "shared": [Array(t.node + n) for t, n in zip(carry["shared"], shared, strict=True)],
            "along": [
                Array(t.node + self._row(n, t.node, step.node))
                for t, n in zip(carry["along"], along, strict=True)
            ],
        }

    def _row(self, x: Node, rows: Node, step: Node) -> Node:
        graph = self.graph
        return graph.call(
            "scatter_add", graph.call("reshape", x, shape=(1, *x.shape)),
            graph.call("reshape", step, shape=(1,)), size=rows.shape[0], batch=0,
        )  # fmt: skip

    def _seen(self, carry: Any, step: Array) -> dict[Node, Node]:
        """Return what the inputs of the step are."""
        loop, graph = self.loop, self.graph
        known = {loop.position: step.node}
        known |= {x: y.node for x, y in zip(loop.carried, carry["state"], strict=True)}
        known |= {
            x: graph.call("gather", xs, step.node, batch=0)
            for x, xs in zip(loop.elements, self.xs, strict=True)
        }
        return known | dict(zip(loop.fixed, self.constants, strict=True))


def _addable(dtype: DType) -> DType:
    return I32 if dtype is BOOL else dtype


def _cast(x: Node, dtype: DType) -> Node:
    return x if x.dtype is dtype else x.graph.call("cast", x, dtype=dtype)
