"""Loops and branches with as little in them as can be.

Differentiation makes each loop anew with more results: those that go through the same steps become
one.  What nobody takes is neither carried nor stacked; what does not change is not carried; views
of what all steps share are taken inside, where they cost nothing, and the rest of what does not
depend on the step is computed outside, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chainrule.ir.body import Body, bodies_of, with_bodies
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind
from chainrule.ir.types import I64, Type
from chainrule.ir.walk import all_nodes, depends_on, reached, rebuild, topological
from chainrule.ops.control import COUNT, Loop, item, results_of

__all__ = ["all_nodes", "inlined", "joined", "trimmed"]


# Inlining


def inlined(results: Sequence[Node]) -> list[Node]:
    """Replace calls by what is in their bodies, but those that are kept apart."""
    if not any(_is_plain_call(n) for n in all_nodes(results)):
        return list(results)
    inside: dict[Node, list[Node]] = {}

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is Kind.ITEM and node.args[0] in inside:
            index: int = node.attrs[0]
            return inside[node.args[0]][index]
        if _is_plain_call(node):
            body = node.attributes["body"]
            known = dict(zip(body.inputs, args, strict=True))
            inside[node] = rebuild(body.outputs, node.graph, change, known)[0]
        elif node.op.kind is Kind.CONTROL:
            attrs = with_bodies(node, lambda b: Body(b.inputs, tuple(inlined(b.outputs))))
            return node.graph.apply(node.op, args, attrs)
        return None

    return rebuild(results, results[0].graph, change)[0]


def _is_plain_call(node: Node) -> bool:
    return node.op.name == "call" and not node.attributes["apart"]


# Joining


def joined(results: Sequence[Node]) -> list[Node]:
    """Let loops that go through the same steps, and switches of the same branches, be one."""
    found = list(results)
    while any(n.op.kind is Kind.CONTROL for n in reached(found)):
        nodes = [n for n in topological(found) if n.op.kind is Kind.CONTROL]
        groups: dict[Any, list[Node]] = {}
        for n in nodes:
            groups.setdefault(_family(n), []).append(n)
        known = _pair(groups)
        if known is None:
            return found
        found, _ = rebuild(found, found[0].graph, lambda _n, _a: None, known)
    return found


def _family(node: Node) -> Any:
    """Return what two nodes must have in common to be one."""
    match node.op.name:
        case "loop":
            body, test, _, _, length, bound, reverse, counted = node.attrs
            ending = None if test is None else test.outputs
            return body.inputs[0], ending, length, bound, reverse, counted
        case "switch":
            (branches,) = node.attrs
            return node.args, tuple(b.inputs for b in branches)
        case _:
            return node


def _pair(groups: Mapping[Any, list[Node]]) -> dict[Node, Node] | None:
    """Join two nodes of a group; return what becomes of their items, or None if none are left."""
    for group in groups.values():
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                join = _joined_loops if a.op.name == "loop" else _joined_switches
                known = join(a, b)
                if known is not None:
                    return known
    return None


def _items(node: Node, to: Node, place: Mapping[int, int]) -> dict[Node, Node]:
    """Return the items of a node as those of another."""
    after = results_of(to)
    found = {item(node, index=i, type=after[k].type): after[k] for i, k in place.items()}
    if node.op.name == "loop" and node.attributes["test"] is not None:
        kind = {"index": COUNT, "type": Loop.of(node).position.type}
        found[item(node, **kind)] = item(to, **kind)
    return {a: b for a, b in found.items() if a is not b}


def _joined_switches(a: Node, b: Node) -> dict[Node, Node]:
    columns = list(zip(*(x.outputs for x in a.attributes["branches"]), strict=True))
    place_a = {i: i for i in range(len(columns))}
    place_b = {}
    for i, column in enumerate(zip(*(x.outputs for x in b.attributes["branches"]), strict=True)):
        if column not in columns:
            columns.append(column)
        place_b[i] = columns.index(column)
    branches = tuple(
        Body(x.inputs, tuple(c[k] for c in columns)) for k, x in enumerate(a.attributes["branches"])
    )
    both = a.graph.call("switch", *a.args, branches=branches)
    return _items(a, both, place_a) | _items(b, both, place_b)


def _bindings(loop: Loop) -> dict[Node, tuple[Any, ...]]:
    """Return what each input of a loop's body stands for."""
    found: dict[Node, tuple[Any, ...]] = {}
    for x, init, after in zip(loop.carried, loop.inits, loop.next, strict=True):
        found[x] = ("carry", init, after)
    for x, xs in zip(loop.elements, loop.xs, strict=True):
        found[x] = ("element", xs)
    for x, constant in zip(loop.fixed, loop.constants, strict=True):
        found[x] = ("fixed", constant)
    return found


def _joined_loops(a: Node, b: Node) -> dict[Node, Node] | None:
    one, two = Loop.of(a), Loop.of(b)
    first, second = _bindings(one), _bindings(two)
    if any(second[x] != bound for x, bound in first.items() if x in second):
        return None
    if a in reached(b.args) or b in reached(a.args):
        return None
    counted = a.attributes["counted"]
    bindings = first | {x: bound for x, bound in second.items() if x not in first}
    if counted:
        # The number of steps stays last.
        last = one.fixed[-1]
        bindings[last] = bindings.pop(last)
        bindings.pop(two.fixed[-1], None) if two.fixed[-1] is not last else None
    carried = [x for x, bound in bindings.items() if bound[0] == "carry"]
    elements = [x for x, bound in bindings.items() if bound[0] == "element"]
    fixed = [x for x, bound in bindings.items() if bound[0] == "fixed"]
    stacked = list(dict.fromkeys([*one.stacked, *two.stacked]))
    inputs = (one.position, *carried, *elements, *fixed)
    body = Body(inputs, (*(bindings[x][2] for x in carried), *stacked))
    args = [bindings[x][1] for x in (*carried, *elements, *fixed)]
    test = None if one.test is None else Body(inputs, one.test.outputs)
    given = a.attributes | {
        "body": body, "test": test, "carries": len(carried), "mapped": len(elements)
    }  # fmt: skip
    both = a.graph.call("loop", *args, **given)
    known: dict[Node, Node] = {}
    for node, loop in ((a, one), (b, two)):
        place = {k: carried.index(x) for k, x in enumerate(loop.carried)}
        place |= {
            loop.count + j: len(carried) + stacked.index(n) for j, n in enumerate(loop.stacked)
        }
        known |= _items(node, both, place)
    return known


# What depends on what, item by item


def read_by(outputs: Iterable[Node]) -> set[Node]:
    """Return every node that `outputs` depend on, seeing which arguments an item really needs."""
    found: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        n = waiting.pop()
        if n in found:
            continue
        found.add(n)
        if n.op.kind is Kind.ITEM:
            bundle = n.args[0]
            known = bundle.graph.needed
            needed = known.get((bundle, n.attrs[0]))
            if needed is None:
                needed = known[bundle, n.attrs[0]] = _needed(bundle, n.attrs[0])
            waiting += [bundle.args[i] for i in needed]
        else:
            waiting.extend(n.args)
    return found


def _needed(bundle: Node, index: int) -> list[int]:
    """Return which arguments of a loop, switch or call one of its items depends on."""
    if bundle.op.name == "callback":
        return list(range(len(bundle.args)))
    if bundle.op.name != "loop":
        bodies = list(bodies_of(bundle))
        read = read_by(b.outputs[index] for b in bodies)
        first = len(bundle.args) - len(bodies[0].inputs)
        own = range(len(bodies[0].inputs))
        wanted = [first + i for i in own if any(b.inputs[i] in read for b in bodies)]
        return [*range(first), *wanted]
    loop = Loop.of(bundle)
    ends = list(loop.test.outputs) if loop.test is not None else []
    outputs = [*ends, *([loop.body.outputs[index]] if index != COUNT else [])]
    taken = {index} if 0 <= index < loop.count else set()
    while True:
        read = read_by([*outputs, *(loop.next[k] for k in taken)])
        more = {k for k, x in enumerate(loop.carried) if x in read} - taken
        if not more:
            break
        taken |= more
    seen = loop.body.inputs[1 + loop.count :]
    found = [*sorted(taken), *(loop.count + i for i, x in enumerate(seen) if x in read)]
    last = len(bundle.args) - 1
    counted = bundle.attributes["counted"] and last not in found
    return [*found, last] if counted else found


# Trimming


def trimmed(results: Sequence[Node]) -> list[Node]:
    """Drop what nobody takes of loops, branches and calls, and what need not be in them.

    Bodies are trimmed after the op they belong to.
    """
    used: dict[Node, set[int]] = {}
    for n in read_by(results):
        if n.op.kind is Kind.ITEM:
            used.setdefault(n.args[0], set()).add(n.attrs[0])
    if not used:
        return list(results)
    places: dict[Node, Mapping[int, Node]] = {}

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.kind is Kind.ITEM:
            return places[node.args[0]].get(node.attrs[0])
        if node.op.kind is not Kind.CONTROL:
            return None
        trim = TRIM[node.op.name]
        copy = node if args == node.args else node.graph.apply(node.op, args, node.attrs)
        smaller, places[node] = trim(copy, used.get(node, set()))
        return smaller

    return rebuild(results, results[0].graph, change)[0]


def _trimmed_branches(node: Node, used: set[int]) -> tuple[Node, dict[int, Node]]:
    """Keep the results that are taken, and the arguments that they need."""
    single = node.op.name == "call"
    branches: Sequence[Body] = [node.attributes["body"]] if single else node.attributes["branches"]
    if single and node.attributes["custom"] is not None:
        return node, dict(enumerate(results_of(node)))
    kept = sorted(used)
    bodies = [Body(b.inputs, tuple(trimmed([b.outputs[i] for i in kept]))) for b in branches]
    read = [read_by(b.outputs) for b in bodies]
    first = 0 if single else 1
    args = node.args[first:]
    at = [
        i
        for i in range(len(args))
        if any(b.inputs[i] in r for b, r in zip(bodies, read, strict=True))
    ]
    bodies = [Body(tuple(b.inputs[i] for i in at), b.outputs) for b in bodies]
    given = node.attributes | ({"body": bodies[0]} if single else {"branches": tuple(bodies)})
    smaller = node.graph.call(node.op.name, *node.args[:first], *(args[i] for i in at), **given)
    return smaller, dict(zip(kept, results_of(smaller), strict=True))


@dataclass
class _Parts:
    """A loop being trimmed: lists to choose from and to add to."""

    graph: Graph
    position: Node
    carried: list[Node] = field(default_factory=list)
    elements: dict[Node, Node] = field(default_factory=dict)
    fixed: dict[Node, Node] = field(default_factory=dict)
    known: dict[Node, Node] = field(default_factory=dict)

    def fix(self, constant: Node) -> Node:
        """Let the body see a value that all steps share."""
        for x, known in self.fixed.items():
            if known is constant:
                return x
        x = self.graph.input("fixed", constant.type)
        self.fixed[x] = constant
        return x


def _trimmed_loop(node: Node, used: set[int]) -> tuple[Node, dict[int, Node]]:
    loop, graph = Loop.of(node), node.graph
    given = node.attributes
    places: dict[int, Node] = {}
    rows = sorted(i - loop.count for i in used if i >= loop.count)
    outputs = [loop.stacked[j] for j in rows]
    ends = list(loop.test.outputs) if loop.test is not None else []
    # What does not change from step to step is not carried.
    same = {k for k in range(loop.count) if loop.next[k] is loop.carried[k]}
    needed = {i for i in used if 0 <= i < loop.count and i not in same}
    while True:
        read = read_by([*(loop.next[k] for k in needed), *outputs, *ends])
        more = {
            k for k in range(loop.count)
            if k not in same and k not in needed and loop.carried[k] in read
        }  # fmt: skip
        if not more:
            break
        needed |= more
    parts = _Parts(graph, loop.position)
    for k in sorted(same):
        places[k] = loop.inits[k]
        if loop.carried[k] in read:
            parts.known[loop.carried[k]] = _shared(parts, loop.carried[k], loop.inits[k])
    for x, xs in zip(loop.elements, loop.xs, strict=True):
        if x in read:
            _add_element(parts, x, xs)
    last = loop.constants[-1] if given["counted"] else None
    pairs = list(zip(loop.fixed, loop.constants, strict=True))
    for x, constant in pairs[:-1] if last is not None else pairs:
        if x in read:
            parts.known[x] = _shared(parts, x, constant)
    carried = sorted(needed)
    new = _renewed([*(loop.next[k] for k in carried), *outputs, *ends], parts)
    # Outside first: what the loop no longer needs, loops inside it need not make.
    new = _hoisted(trimmed(new), parts)
    left = reached(new)
    parts.elements = {x: xs for x, xs in parts.elements.items() if x in left}
    parts.fixed = {x: constant for x, constant in parts.fixed.items() if x in left}
    inputs = [loop.position, *(loop.carried[k] for k in carried), *parts.elements, *parts.fixed]
    constants = list(parts.fixed.values())
    if last is not None:
        inputs.append(loop.fixed[-1])
        constants.append(last)
    count = len(carried) + len(rows)
    test = Body(tuple(inputs), tuple(new[count:])) if ends else None
    given = given | {
        "body": Body(tuple(inputs), tuple(new[:count])), "test": test, "carries": len(carried),
        "mapped": len(parts.elements),
    }  # fmt: skip
    inits = [loop.inits[k] for k in carried]
    smaller = graph.call("loop", *inits, *parts.elements.values(), *constants, **given)
    results = results_of(smaller)
    places |= {k: results[i] for i, k in enumerate(carried)}
    places |= {loop.count + j: results[len(carried) + i] for i, j in enumerate(rows)}
    if COUNT in used:
        places[COUNT] = item(smaller, index=COUNT, type=loop.position.type)
    return smaller, places


def _renewed(nodes: Sequence[Node], parts: _Parts) -> list[Node]:
    if not parts.known:
        return list(nodes)
    return rebuild(nodes, parts.graph, lambda _n, _a: None, parts.known)[0]


def _shared(parts: _Parts, x: Node, constant: Node) -> Node:
    """Return what a body sees of a value that all steps share: views of it are taken inside."""
    views = []
    base = constant
    while base.op.kind is Kind.VIEW:
        views.append(base)
        base = base.args[0]
    if base.op.kind is Kind.SOURCE and base.op.name != "input":
        return constant
    if not views:
        parts.fixed[x] = constant
        return x
    inside = parts.fix(base)
    for view in reversed(views):
        inside = parts.graph.apply(view.op, (inside,), view.attrs)
    return inside


def _add_element(parts: _Parts, x: Node, xs: Node) -> None:
    """Give the body rows of an array; rows that are all the same are shared instead."""
    graph = parts.graph
    if xs.op.name == "iota":
        at = parts.position
        parts.known[x] = at if x.dtype is I64 else graph.call("cast", at, dtype=x.dtype)
        return
    if xs.op.name == "broadcast" and 0 not in xs.attrs[1]:
        shape, axes = xs.attrs
        row = graph.broadcast(xs.args[0], shape[1:], tuple(a - 1 for a in axes))
        parts.known[x] = _shared(parts, graph.input("fixed", row.type), row)
        return
    rows = _rows(parts, xs)
    if rows is None:
        parts.elements[x] = xs
    else:
        parts.known[x] = parts.graph.apply(xs.op, tuple(rows), xs.attrs)


CHEAP: Final = 6
"Operations an element up to which an array is not made for a loop, but row by row inside."


def _rows(parts: _Parts, xs: Node) -> list[Node] | None:
    """Return what the body sees of the arguments of a cheap elementwise array; None: it is made."""
    if xs.op.kind is not Kind.POINTWISE or xs.op.flops > CHEAP:
        return None
    there = [a.op.kind is Kind.ITEM or a.op.name == "input" for a in xs.args]
    same = [a.op.name == "broadcast" and 0 not in a.attrs[1] for a in xs.args]
    if not any(there) or not all(t or s for t, s in zip(there, same, strict=True)):
        return None
    found = []
    for a, is_array in zip(xs.args, there, strict=True):
        known = next((x for x, one in parts.elements.items() if one is a), None)
        x = known or parts.graph.input("x", Type(a.dtype, a.shape[1:]))
        if known is None:
            _add_element(parts, x, a)
        found.append(x if is_array else parts.known[x])
    return found


def _hoisted(nodes: Sequence[Node], parts: _Parts) -> list[Node]:
    """Compute outside what depends on nothing but what all steps share; views stay inside."""
    order = topological(nodes)
    moving = depends_on(order, [parts.position, *_carries(order, parts), *parts.elements])
    still = [
        n for n in order
        if n not in moving and n.op.kind not in (Kind.SOURCE, Kind.VIEW, Kind.ITEM)
        and n.op.kind is not Kind.CONTROL and not parts.fixed.keys().isdisjoint(reached([n]))
    ]  # fmt: skip
    if not still:
        return list(nodes)
    inner = set(still)
    wanted = {
        n for n in still
        if n in nodes or any(n in user.args for user in order if user not in inner)
    }  # fmt: skip
    outside = dict(parts.fixed)
    tops = [n for n in still if n in wanted]
    computed, _ = rebuild(tops, parts.graph, lambda _n, _a: None, outside)
    known = {n: parts.fix(c) for n, c in zip(tops, computed, strict=True)}
    new, _ = rebuild(nodes, parts.graph, lambda _n, _a: None, known)
    read = reached(new)
    for x in [x for x in parts.fixed if x not in read]:
        del parts.fixed[x]
    return new


def _carries(order: Sequence[Node], parts: _Parts) -> list[Node]:
    """Return the inputs that are neither elements nor shared."""
    own = {parts.position, *parts.elements, *parts.fixed}
    return [n for n in order if n.op.name == "input" and n not in own]


TRIM: Mapping[str, Callable[[Node, set[int]], tuple[Node, dict[int, Node]]]] = {
    "loop": _trimmed_loop,
    "switch": _trimmed_branches,
    "call": _trimmed_branches,
    "callback": lambda node, _used: (node, dict(enumerate(results_of(node)))),
}
