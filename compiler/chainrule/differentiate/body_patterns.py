"""Index propagation through loops, branches and calls.

A loop of so many steps is walked step by step, so that what depends on the number of a step is
exact.  A long loop, or one with a test, is walked until what the carries depend on grows no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from chainrule.differentiate.dependence import Known, shape_of, size_of
from chainrule.differentiate.pattern import Merge, Pattern, Take, from_pairs, through, union
from chainrule.ir.body import Body
from chainrule.ir.graph import Node
from chainrule.ir.types import Array
from chainrule.ops.control import Custom, Loop, results_of

__all__ = ["Propagate", "propagate_inside"]

Propagate: TypeAlias = Callable[[Sequence[Node], Mapping[Node, Pattern], Known], Sequence[Pattern]]
Found: TypeAlias = Sequence[Pattern | None]
"""What each argument, or result, depends on; None: nothing."""

STEPS: Final = 1_000
"Steps that are walked one by one."


def propagate_inside(node: Node, given: Found, known: Known, propagate: Propagate) -> Found:
    """Return what each value in the bundle of `node` depends on, given it for the arguments."""
    match node.op.name:
        case "loop":
            return _loop(Loop.of(node), given, known, propagate)
        case "switch":
            return _switch(node, given, known, propagate)
        case "callback":
            return _unseen(node, given)
    custom: Custom | None = node.attributes["custom"]
    if custom is not None:
        return _custom(node, custom, given, known, propagate)
    body: Body = node.attributes["body"]
    inner = _inner(body, [known(x) for x in node.args])
    return _body(body, given, inner, propagate)


def _unseen(node: Node, given: Found) -> Found:
    """Follow what cannot be looked into: all depends on everything."""
    there = [p.merge(np.zeros(p.rows, np.int64), 1) for p in given if p is not None]
    every = union(there)
    return [
        every.take(np.zeros(size_of(y), np.int64)) if y.dtype.is_float else None
        for y in results_of(node)
    ]


def _inner(body: Body, values: Sequence[Array | None]) -> Known:
    """Return what is known inside of a body, given values of its inputs."""
    pairs = zip(body.inputs, values, strict=True)
    return Known({x: v for x, v in pairs if v is not None}, hidden=body.inputs)


def _body(body: Body, given: Found, known: Known, propagate: Propagate) -> list[Pattern | None]:
    """Return what the outputs of a body depend on."""
    pairs = zip(body.inputs, given, strict=True)
    there = {x: p for x, p in pairs if p is not None}
    if not there:
        return [None] * len(body.outputs)
    at = [i for i, y in enumerate(body.outputs) if y.dtype.is_float]
    found: list[Pattern | None] = [None] * len(body.outputs)
    for i, p in zip(at, propagate([body.outputs[i] for i in at], there, known), strict=True):
        found[i] = p
    return found


def _union(*patterns: Pattern | None) -> Pattern | None:
    there = [p for p in patterns if p is not None]
    return union(there) if there else None


# Branches and calls


def _switch(node: Node, given: Found, known: Known, propagate: Propagate) -> Found:
    """Follow the branch that is known to be taken, or all of them."""
    branches: tuple[Body, ...] = node.attributes["branches"]
    index = known(node.args[0])
    if index is not None:
        branches = (branches[min(max(int(index), 0), len(branches) - 1)],)
    values = [known(x) for x in node.args[1:]]
    found = [_body(b, given[1:], _inner(b, values), propagate) for b in branches]
    return [_union(*results) for results in zip(*found, strict=True)]


def _custom(node: Node, custom: Custom, given: Found, known: Known, propagate: Propagate) -> Found:
    """Follow a derivative that the user gave, which is linear in tangents or cotangents."""
    graph, body = node.graph, node.attributes["body"]
    at = [i for i, y in enumerate(body.outputs) if y.dtype.is_float]
    found: list[Pattern | None] = [None] * len(body.outputs)
    if custom.push is not None:
        tangents = [graph.input("tangent", x.type) for x in node.args]
        pushed = custom.push(node.args, tangents)
        there = {t: p for t, p in zip(tangents, given, strict=True) if p is not None}
        for i, t in zip(at, pushed, strict=True):
            if t is not None and there:
                (found[i],) = propagate([t], there, known)
        return found
    assert custom.pull is not None, "a custom derivative is a pull-back or a push-forward"
    cotangents = [graph.input("cotangent", body.outputs[i].type) for i in at]
    for x, g in zip(given, custom.pull(node.args, cotangents), strict=True):
        if x is None or g is None:
            continue
        for i, cotangent in zip(at, cotangents, strict=True):
            count = size_of(cotangent)
            names = np.arange(count)
            (back,) = propagate([g], {cotangent: from_pairs(names, names, (count, count))}, known)
            moved = through(x, (Take(back.row_of), Merge(back.indices, count)))
            found[i] = _union(found[i], moved)
    return found


# Loops


def _loop(parts: Loop, given: Found, known: Known, propagate: Propagate) -> Found:
    length = parts.length
    if parts.test is None and isinstance(length, int) and length <= STEPS:
        return _stepped(parts, length, given, known, propagate)
    return _settled(parts, given, known, propagate)


def _stepped(parts: Loop, length: int, given: Found, known: Known, propagate: Propagate) -> Found:
    """Walk a loop step by step, following the integers among its carries too."""
    count, mapped = parts.count, len(parts.xs)
    values = [known(x) for x in parts.node.args]
    carry, held = list(given[:count]), values[:count]
    rows: list[list[Pattern | None]] = [[None] * length for _ in parts.stacked]
    reverse = bool(parts.node.attributes["reverse"])
    for i in range(length):
        at = length - 1 - i if reverse else i
        elements = [_row(x, p, at) for x, p in zip(parts.xs, given[count:], strict=False)]
        numbers = [None if v is None else v[at] for v in values[count : count + mapped]]
        fixed = given[count + mapped :]
        inner = _inner(parts.body, [np.asarray(at), *held, *numbers, *values[count + mapped :]])
        found = _body(parts.body, [None, *carry, *elements, *fixed], inner, propagate)
        carry = found[:count]
        held = [None if y.dtype.is_float else inner(y) for y in parts.next]
        for stack, p in zip(rows, found[count:], strict=True):
            stack[at] = p
    columns = next((p.columns for p in given if p is not None), 0)
    stacked = [_stack(s, y, columns) for s, y in zip(rows, parts.stacked, strict=True)]
    return [*carry, *stacked]


def _row(x: Node, pattern: Pattern | None, at: int) -> Pattern | None:
    """Return what row `at` of an array depends on."""
    if pattern is None:
        return None
    size = size_of(x) // shape_of(x)[0]
    return pattern.take(np.arange(size) + at * size)


def _stack(rows: Sequence[Pattern | None], y: Node, columns: int) -> Pattern | None:
    """Lay what the steps gave one after the other."""
    size = size_of(y)
    there = [
        p.merge(np.arange(size) + i * size, len(rows) * size)
        for i, p in enumerate(rows) if p is not None
    ]  # fmt: skip
    return union(there) if there else from_pairs(NONE, NONE, (len(rows) * size, columns))


NONE: Final = np.zeros(0, np.int64)


def _settled(parts: Loop, given: Found, known: Known, propagate: Propagate) -> Found:
    """Walk a loop until what its carries depend on does not grow, each step seeing all rows."""
    count, mapped = parts.count, len(parts.xs)
    values = [known(x) for x in parts.node.args[count + mapped :]]
    inner = _inner(parts.body, [None] * (1 + count + mapped) + values)
    elements = [
        None if p is None else _all_rows(x, p)
        for x, p in zip(parts.xs, given[count:], strict=False)
    ]
    carry = list(given[:count])
    while True:
        found = _body(
            parts.body, [None, *carry, *elements, *given[count + mapped :]], inner, propagate
        )
        grown = [_union(a, b) for a, b in zip(carry, found[:count], strict=True)]
        if [_entries(p) for p in grown] == [_entries(p) for p in carry]:
            break
        carry = grown
    stacked: list[Pattern | None] = []
    for y, p in zip(parts.stacked, found[count:], strict=True):
        every = None
        if p is not None and isinstance(parts.length, int):
            every = p.take(np.tile(np.arange(size_of(y)), parts.length))
        stacked.append(every)
    return [*carry, *stacked]


def _entries(pattern: Pattern | None) -> int:
    return 0 if pattern is None else pattern.nnz


def _all_rows(x: Node, pattern: Pattern) -> Pattern:
    size = size_of(x) // max(shape_of(x)[0], 1)
    return pattern.merge(np.arange(pattern.rows) % max(size, 1), size)
