"""Derivatives and batches of branches and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chainrule.differentiate.body_masks import Exits, enter
from chainrule.differentiate.loops import (
    Batched,
    PullBack,
    PushForward,
    spread,
    substitute_within,
)
from chainrule.differentiate.residuals import residuals
from chainrule.errors import NotDifferentiableError, explain
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.types import Type
from chainrule.ir.walk import reached
from chainrule.ops.control import POSITION, Custom, results_of

__all__ = ["batch_call", "batch_callback", "batch_switch", "pull_call", "pull_switch",
           "push_call", "push_switch"]  # fmt: skip


# Reverse mode


def _pulled(
    body: Body, cotangents: Mapping[int, Node], wanted: Sequence[bool], pull_back: PullBack
) -> list[Node]:
    """Return the cotangents of a body's wanted inputs; zeros where nothing depends on them."""
    outputs = [body.outputs[i] for i in cotangents]
    wrt = [x for x, w in zip(body.inputs, wanted, strict=True) if w]
    found = pull_back(outputs, list(cotangents.values()), wrt, inside=True)
    return [x.graph.full_like(x, 0.0) if s is None else s for x, s in zip(wrt, found, strict=True)]


def _asked(body: Body, wanted: Sequence[bool]) -> list[bool]:
    return [w and x.dtype.is_float for x, w in zip(body.inputs, wanted, strict=True)]


def _chosen(flags: Sequence[bool], asked: Sequence[bool]) -> list[bool]:
    return [f for f, a in zip(flags, asked, strict=True) if a]


def _spaced(found: Sequence[Node], asked: Sequence[bool]) -> list[Node | None]:
    """Put results where they were asked for."""
    left = iter(found)
    return [next(left) if a else None for a in asked]


def pull_switch(
    y: Node, cotangents: Mapping[int, Node], wanted: Sequence[bool], inner: Sequence[bool],
    pull_back: PullBack,
) -> list[Node | None]:  # fmt: skip
    """Return the cotangents of a switch's arguments: the pull-back of the branch that was taken.

    What it needs is kept by that branch (the others leave zeros there) or computed again.  An
    array of which it needs a few elements is not asked for again: these are kept.
    """
    graph, index, *operands = y.graph, *y.args
    branches: tuple[Body, ...] = y.attributes["branches"]
    asked = _asked(branches[0], wanted[1:])
    given = {i: graph.input("cotangent", g.type) for i, g in cotangents.items()}
    entered = enter(cotangents, given)
    pulled = [_pulled(b, entered.seen, asked, pull_back) for b in branches]
    exits = Exits(pulled, _chosen(inner[1:], asked))
    pulled = [[*p, *masks] for p, masks in zip(pulled, exits.masks, strict=True)]
    late = [*given.values(), *entered.inputs]
    kept = [
        [n for n in residuals(p, late, (), at_hand=b.inputs) if n not in b.inputs]
        for p, b in zip(pulled, branches, strict=True)
    ]
    # Branches may share what depends on no argument, an extent say: it is kept once.
    saved = list(dict.fromkeys(n for nodes in kept for n in nodes))
    forward = [
        Body(b.inputs, (*b.outputs, *(
            n if n in own else graph.full_like(n, 0) for n in saved
        )))
        for b, own in zip(branches, kept, strict=True)
    ]  # fmt: skip
    results = results_of(graph.call("switch", index, *operands, branches=tuple(forward)))
    known = {n: graph.input("saved", n.type) for n in saved}
    outputs = [tuple(substitute_within(p, known)) for p in pulled]
    read = reached([n for found in outputs for n in found])
    used = [i for i in range(len(operands)) if any(b.inputs[i] in read for b in branches)]
    backward = tuple(
        Body((*(b.inputs[i] for i in used), *known.values(), *late), found)
        for b, found in zip(branches, outputs, strict=True)
    )
    rest = results[len(branches[0].outputs) :]
    again = [operands[i] for i in used]
    gs = [*cotangents.values(), *entered.outer]
    node = graph.call("switch", index, *again, *rest, *gs, branches=backward)
    return [None, *_spaced(exits.applied(results_of(node)), asked)]


def pull_call(
    y: Node, cotangents: Mapping[int, Node], wanted: Sequence[bool], inner: Sequence[bool],
    pull_back: PullBack,
) -> list[Node | None]:  # fmt: skip
    """Return the cotangents of a call's arguments.

    A call whose derivative is given uses that one.  Any other is a checkpoint: its inside is
    computed again, in a call of its own that nothing is shared with.
    """
    graph = y.graph
    body: Body = y.attributes["body"]
    custom: Custom | None = y.attributes["custom"]
    if custom is not None:
        _check_closed(custom, y, wanted)
        full = [
            cotangents.get(i, graph.full_like(o, 0.0)) if o.dtype.is_float else None
            for i, o in enumerate(results_of(y))
        ]
        if custom.pull is not None:
            return list(custom.pull(y.args, [g for g in full if g is not None]))
        return _transposed(custom, y, [g for g in full if g is not None], wanted, pull_back)
    asked = _asked(body, wanted)
    given = {i: graph.input("cotangent", g.type) for i, g in cotangents.items()}
    entered = enter(cotangents, given)
    pulled = _pulled(body, entered.seen, asked, pull_back)
    exits = Exits([pulled], _chosen(inner, asked))
    back = Body((*body.inputs, *given.values(), *entered.inputs), (*pulled, *exits.masks[0]))
    gs = [*cotangents.values(), *entered.outer]
    node = graph.call("call", *y.args, *gs, body=back, custom=None, apart=True)
    return _spaced(exits.applied(results_of(node)), asked)


def _check_closed(custom: Custom, y: Node, wanted: Sequence[bool]) -> None:
    """Raise where a derivative is asked for by what a custom function closes over."""
    if not custom.closed:
        return
    pairs = list(zip(y.args, wanted, strict=True))[-custom.closed :]
    for x, w in pairs:
        if w and x.dtype.is_float and x.op.name != "stop_gradient":
            raise NotDifferentiableError(
                explain(
                    f"{custom.name} closes over a value that is differentiated",
                    f"value  {x.type}",
                    hint="its derivative rule says nothing of that value: pass it as an argument, "
                    "or close over stop_gradient of it",
                )
            )


def _transposed(
    custom: Custom, y: Node, cotangents: Sequence[Node], wanted: Sequence[bool],
    pull_back: PullBack,
) -> list[Node | None]:  # fmt: skip
    """Turn a given push-forward, which is linear in the tangents, into a pull-back."""
    assert custom.push is not None, "a custom derivative is a pull-back or a push-forward"
    graph = y.graph
    asked = [w and x.dtype.is_float for x, w in zip(y.args, wanted, strict=True)]
    tangents = [
        graph.input("tangent", x.type) if a else graph.full_like(x, 0)
        for x, a in zip(y.args, asked, strict=True)
    ]
    pushed = custom.push(y.args, tangents)
    outputs = [(t, g) for t, g in zip(pushed, cotangents, strict=True) if t is not None]
    wrt = [t for t, a in zip(tangents, asked, strict=True) if a]
    found = pull_back([t for t, _ in outputs], [g for _, g in outputs], wrt)
    zeros = {t: graph.full_like(t, 0.0) for t in wrt}
    slopes = [zeros[t] if s is None else s for t, s in zip(wrt, found, strict=True)]
    # What is linear in the tangents has a pull-back that does not depend on them.
    return _spaced(substitute_within(slopes, zeros), asked)


# Forward mode


def _transposed_pull(custom: Custom, y: Node, tangents: Sequence[Node | None]) -> list[Node | None]:
    """Turn a given pull-back, which is linear in the cotangents, into a push-forward.

    Raises:
        NotDifferentiableError: It is not linear in them.
    """
    # The walk back is what reads this module's rules.
    from chainrule.differentiate.reverse import pull_back

    assert custom.pull is not None, "a custom derivative is a pull-back or a push-forward"
    body: Body = y.attributes["body"]
    given = [y.graph.input("cotangent", o.type) for o in body.outputs if o.dtype.is_float]
    pulled = custom.pull(y.args, given)
    pairs = [
        (n, t) for n, t in zip(pulled, tangents, strict=True) if n is not None and t is not None
    ]
    found = list(pull_back([n for n, _ in pairs], [t for _, t in pairs], given))
    if not set(given).isdisjoint(reached([n for n in found if n is not None])):
        raise NotDifferentiableError(
            explain(
                f"{custom.name} has a pull-back that is not linear in the "
                "cotangent, so no derivative in forward mode",
                hint="give it one in forward mode with custom_jvp",
            )
        )
    return found


def push_switch(
    y: Node, tangents: Sequence[Node | None], push_forward: PushForward
) -> dict[int, Node]:
    """Return the tangents of a switch's results: those of the branch that is taken."""
    graph, index, *operands = y.graph, *y.args
    branches: tuple[Body, ...] = y.attributes["branches"]
    given = [t for t in tangents[1:] if t is not None]
    moving = [graph.input("tangent", t.type) for t in given]
    at = [i for i, t in enumerate(tangents[1:]) if t is not None]
    entered = enter(dict(zip(at, given, strict=True)), dict(zip(at, moving, strict=True)))
    after = [
        push_forward(b.outputs, {b.inputs[i]: t for i, t in entered.seen.items()}) for b in branches
    ]
    moves = [i for i in range(len(after[0])) if any(ts[i] is not None for ts in after)]
    if not moves:
        return {}
    pushed = [
        [graph.full_like(b.outputs[i], 0.0) if (t := ts[i]) is None else t for i in moves]
        for b, ts in zip(branches, after, strict=True)
    ]
    exits = Exits(pushed, [True for _ in moves])
    bodies = tuple(
        Body((*b.inputs, *moving, *entered.inputs), (*ts, *masks))
        for b, ts, masks in zip(branches, pushed, exits.masks, strict=True)
    )
    args = [*operands, *given, *entered.outer]
    results = results_of(graph.call("switch", index, *args, branches=bodies))
    return dict(zip(moves, exits.applied(results), strict=True))


def push_call(
    y: Node, tangents: Sequence[Node | None], push_forward: PushForward
) -> dict[int, Node]:
    """Return the tangents of a call's results.

    Raises:
        NotDifferentiableError: Only a pull-back was given, which is not linear in the cotangents.
    """
    graph = y.graph
    body: Body = y.attributes["body"]
    custom: Custom | None = y.attributes["custom"]
    if custom is not None:
        _check_closed(custom, y, [t is not None for t in tangents])
        if custom.push is not None:
            full = [
                graph.full_like(x, 0) if t is None else t
                for x, t in zip(y.args, tangents, strict=True)
            ]
            pushed = custom.push(y.args, full)
        else:
            pushed = _transposed_pull(custom, y, tangents)
        at = [i for i, o in enumerate(body.outputs) if o.dtype.is_float]
        return {i: t for i, t in zip(at, pushed, strict=True) if t is not None}
    moving = {
        x: graph.input("tangent", x.type)
        for x, t in zip(body.inputs, tangents, strict=True) if t is not None
    }  # fmt: skip
    given = {i: t for i, t in enumerate(tangents) if t is not None}
    entered = enter(given, {i: moving[body.inputs[i]] for i in given})
    after = push_forward(body.outputs, {body.inputs[i]: t for i, t in entered.seen.items()})
    moves = [i for i, t in enumerate(after) if t is not None]
    if not moves:
        return {}
    results = [t for t in after if t is not None]
    exits = Exits([results], [True for _ in moves])
    inner = Body((*body.inputs, *moving.values(), *entered.inputs), (*results, *exits.masks[0]))
    args = [*y.args, *given.values(), *entered.outer]
    node = graph.call("call", *args, body=inner, custom=None, apart=y.attributes["apart"])
    return dict(zip(moves, exits.applied(results_of(node)), strict=True))


# Batches


def _many(body: Body, flags: Sequence[bool], size: Extent) -> dict[Node, Node]:
    return {
        x: x.graph.input(str(x.attributes["name"]), Type(x.dtype, (size, *x.shape)))
        for x, f in zip(body.inputs, flags, strict=True)
        if f
    }


def batch_switch(
    y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent, batched: Batched
) -> dict[int, tuple[Node, bool]]:
    """Return a switch's results over a new leading axis of some arguments, and which have it.

    Where examples take different branches, all branches run for all of them.
    """
    branches: tuple[Body, ...] = y.attributes["branches"]
    if flags[0]:
        return _every_branch(branches, args, flags, size, batched)
    given = [_many(b, flags[1:], size) for b in branches]
    found = [batched(b.outputs, g, size) for b, g in zip(branches, given, strict=True)]
    has = [any(f for _, f in column) for column in zip(*found, strict=True)]
    bodies = tuple(
        Body(
            tuple(g.get(x, x) for x in b.inputs),
            tuple(
                spread(n, size) if h and not f else n
                for (n, f), h in zip(outputs, has, strict=True)
            ),
        )
        for b, g, outputs in zip(branches, given, found, strict=True)
    )
    results = results_of(y.graph.call("switch", *args, branches=bodies))
    return dict(enumerate(zip(results, has, strict=True)))


def _every_branch(
    branches: Sequence[Body], args: Sequence[Node], flags: Sequence[bool], size: Extent,
    batched: Batched,
) -> dict[int, tuple[Node, bool]]:  # fmt: skip
    index, *operands = args
    rows = []
    for b in branches:
        given = {x: a for x, a, f in zip(b.inputs, operands, flags[1:], strict=True) if f}
        whole = {x: a for x, a, f in zip(b.inputs, operands, flags[1:], strict=True) if not f}
        outputs = batched(b.outputs, given, size) if given else [(o, False) for o in b.outputs]
        nodes = substitute_within([n for n, _ in outputs], whole)
        rows.append([n if f else spread(n, size) for n, (_, f) in zip(nodes, outputs, strict=True)])
    last = len(branches) - 1
    found = rows[last]
    for i in range(last - 1, -1, -1):
        chosen = index <= i
        found = [
            a.graph.select(a.graph.broadcast(chosen, a.shape, (0,)), a, b)
            for a, b in zip(rows[i], found, strict=True)
        ]
    return {i: (n, True) for i, n in enumerate(found)}


def batch_call(
    y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent, batched: Batched
) -> dict[int, tuple[Node, bool]]:
    """Return a call's results over a new leading axis of some arguments, and which have it."""
    body: Body = y.attributes["body"]
    custom: Custom | None = y.attributes["custom"]
    given = _many(body, flags, size)
    found = batched(body.outputs, given, size)
    if custom is not None:
        # Derivatives are of all results, so all have the axis.
        found = [(n if f else spread(n, size), True) for n, f in found]
        custom = _batched_custom(custom, flags, size, batched)
    inner = Body(tuple(given.get(x, x) for x in body.inputs), tuple(n for n, _ in found))
    node = y.graph.call("call", *args, body=inner, custom=custom, apart=y.attributes["apart"])
    return {i: (r, f) for i, (r, (_, f)) in enumerate(zip(results_of(node), found, strict=True))}


def batch_callback(
    y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent
) -> dict[int, tuple[Node, bool]]:
    """Return the results of a callback that is called for one example after the other."""
    graph = y.graph
    position = graph.input("position", POSITION)
    rows = [x for x, f in zip(args, flags, strict=True) if f]
    elements = [graph.input("x", Type(x.dtype, x.shape[1:])) for x in rows]
    whole = [x for x, f in zip(args, flags, strict=True) if not f]
    fixed = [graph.input("fixed", x.type) for x in whole]
    seen, shared = iter(elements), iter(fixed)
    given = tuple(next(seen) if f else next(shared) for f in flags)
    one = results_of(graph.apply(y.op, given, y.attrs))
    node = graph.call(
        "loop", *rows, *whole, body=Body((position, *elements, *fixed), tuple(one)), test=None,
        carries=0, mapped=len(rows), length=size, bound=None, reverse=False, counted=False,
    )  # fmt: skip
    return {i: (r, True) for i, r in enumerate(results_of(node))}


def _batched_custom(
    custom: Custom, flags: Sequence[bool], size: Extent, batched: Batched
) -> Custom:
    """Return the derivatives for many examples, from those for one."""

    def one(x: Node) -> Node:
        return x.graph.input("example", Type(x.dtype, x.shape[1:]))

    def pull(args: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
        assert custom.pull is not None, "asked only where there is one"
        single = [one(x) if f else x for x, f in zip(args, flags, strict=True)]
        gs = [one(g) for g in cotangents]
        found = custom.pull(single, gs)
        given = dict(zip([*single, *gs], [*args, *cotangents], strict=True))
        given = {a: b for a, b in given.items() if a is not b}
        some = [n for n in found if n is not None]
        many = iter(batched(some, given, size))
        return [
            None if n is None else _for_argument(*next(many), mapped=f, size=size)
            for n, f in zip(found, flags, strict=True)
        ]

    def push(args: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
        assert custom.push is not None, "asked only where there is one"
        single = [one(x) if f else x for x, f in zip(args, flags, strict=True)]
        ts = [one(t) if f else t for t, f in zip(tangents, flags, strict=True)]
        found = custom.push(single, ts)
        given = dict(zip([*single, *ts], [*args, *tangents], strict=True))
        given = {a: b for a, b in given.items() if a is not b}
        some = [n for n in found if n is not None]
        many = iter(m if f else spread(m, size) for m, f in batched(some, given, size))
        return [None if n is None else next(many) for n in found]

    return replace(custom, pull=pull if custom.pull else None, push=push if custom.push else None)


def _for_argument(n: Node, has: bool, *, mapped: bool, size: Extent) -> Node:
    """Give a cotangent the axis of examples where the argument has it; else add examples up."""
    if mapped:
        return n if has else spread(n, size)
    if has:
        return n.graph.call("sum", n, axes=(0,))
    extent = n.graph.call("extent", extent=size)
    count = n.graph.call("cast", extent, dtype=n.dtype, rounds=not n.dtype.is_half)
    return n * n.graph.broadcast(count, n.shape, ())
