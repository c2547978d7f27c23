"""Walks over graphs: never recursive, always in the order of the nodes' numbers.

A node is made after its arguments, so its number is larger than theirs: sorting the nodes reached
by number is a topological order, and the same one each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from chainrule.ir.body import Body, bodies_of, with_bodies
from chainrule.ir.graph import Check, Graph, Node, Origin
from chainrule.ir.op import Kind

__all__ = [
    "all_nodes",
    "base_of",
    "by_need",
    "depends_on",
    "reached",
    "rebuild",
    "substitute",
    "topological",
    "users",
]


def reached(outputs: Iterable[Node]) -> set[Node]:
    """Return every node that `outputs` depend on, themselves included."""
    found: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.args)
    return found


def base_of(x: Node) -> Node:
    """Return what a node is a reshaped, copied or transposed view of."""
    while x.op.name in ("reshape", "broadcast", "transpose"):
        x = x.args[0]
    return x


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Return every node that `outputs` depend on, arguments first."""
    return sorted(reached(outputs), key=lambda node: node.id)


def by_need(
    outputs: Iterable[Node], before: Mapping[Node, Sequence[Node]] | None = None
) -> list[Node]:
    """Return every node that `outputs` depend on, each as late as its first user allows.

    Arguments come first; of a node's arguments, the one behind the longest chain.  What is cheap
    to reach is then made where it is used, not kept from where it could be made.  `before` names
    further nodes that come before some, in an order that has no cycle; those that no output needs
    are left out.
    """
    results = list(dict.fromkeys(outputs))
    depth: dict[Node, int] = {}
    for node in topological(results):
        depth[node] = 1 + max((depth[x] for x in node.args), default=0)
    earlier = before or {}
    done: dict[Node, None] = {}
    for root in results:
        waiting = [(root, False)]
        while waiting:
            node, ready = waiting.pop()
            if node in done:
                continue
            if ready:
                done[node] = None
                continue
            waiting.append((node, True))
            # The last one pushed is visited first.
            args = sorted(dict.fromkeys(node.args), key=lambda x: (depth[x], -x.id))
            args += [x for x in earlier.get(node, ()) if x in depth]
            waiting += [(x, False) for x in args if x not in done]
    return list(done)


def all_nodes(results: Sequence[Node]) -> Iterator[Node]:
    """Yield what results depend on, the insides of bodies included."""
    waiting = [tuple(results)]
    while waiting:
        for n in reached(waiting.pop()):
            yield n
            waiting.extend(b.outputs for b in bodies_of(n))


def users(nodes: Iterable[Node]) -> dict[Node, list[Node]]:
    """Return, for each node, which of `nodes` take it as an argument (once each)."""
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        found.setdefault(node, [])
        for argument in dict.fromkeys(node.args):
            found.setdefault(argument, []).append(node)
    return found


def depends_on(nodes: Sequence[Node], sources: Iterable[Node]) -> set[Node]:
    """Return which of `nodes` (arguments first) depend on one of `sources`."""
    active = set(sources)
    for node in nodes:
        if node not in active and not active.isdisjoint(node.args):
            active.add(node)
    return active


def rebuild(
    outputs: Sequence[Node],
    graph: Graph,
    change: Callable[[Node, tuple[Node, ...]], Node | None],
    known: Mapping[Node, Node] | None = None,
    *,
    from_id: int = 0,
) -> tuple[list[Node], dict[Node, Node]]:
    """Copy a program into `graph`, letting `change(node, new arguments)` replace nodes.

    `change` returns the replacement or None to copy the node as it is.  Nodes numbered below
    `from_id` are kept.  Origins follow, with the numbers of forward nodes translated; where several
    nodes become one, theirs are merged.  Returns the new outputs and the map of what was visited.
    """  # fmt: skip
    new: dict[Node, Node] = dict(known or {})
    waiting = set()
    stack = [o for o in outputs if o not in new and o.id >= from_id]
    while stack:
        node = stack.pop()
        if node not in waiting and node not in new:
            waiting.add(node)
            stack.extend(a for a in node.args if a not in new and a.id >= from_id)
    numbers = {old.id: node.id for old, node in new.items()}
    for node in sorted(waiting, key=lambda n: n.id):
        args = tuple([new.get(a, a) for a in node.args])
        replacement = change(node, args)
        if replacement is None:
            if node.graph is graph and args == node.args:
                replacement = node
            else:
                if node.op.name == "data":
                    _carry_data(node, graph)
                attrs = node.attrs
                if node.graph is not graph and node.op.kind is Kind.CONTROL:
                    attrs = with_bodies(node, lambda body: _copied(body, graph))
                replacement = graph.apply(node.op, args, attrs)
        new[node] = replacement
        numbers[node.id] = replacement.id
    # Once all are copied: what reverse mode made of a node may come before the node.
    for node in sorted(waiting, key=lambda n: n.id):
        origins, replacement = node.graph.origins.get(node), new[node]
        if origins and replacement is not node:
            into = graph.origins.setdefault(replacement, {})
            for origin in origins:
                if origin.forward is not None:
                    origin = replace(origin, forward=numbers.get(origin.forward, origin.forward))  # noqa: PLW2901
                into[origin] = None
    return [new.get(o, o) for o in outputs], new


def substitute(outputs: Sequence[Node], graph: Graph, values: Mapping[Node, Node]) -> list[Node]:
    """Copy a program into `graph` with some nodes replaced; its checks and guards come along.

    From another graph come the guards that were asked for on the lines which made the nodes.

    Within one graph only what is younger than the replaced nodes is visited, and checks of the
    replaced nodes give way to those of the values.
    """
    source = outputs[0].graph if outputs else graph
    inside = source is graph
    if not outputs or (inside and not values):
        return list(outputs)
    first = min(n.id for n in values) if inside else 0
    found, new = rebuild(outputs, graph, lambda _n, _a: None, values, from_id=first)
    for check in [c for c in source.checks if c.failed.id >= first]:
        (failed,), _ = rebuild([check.failed], graph, lambda _n, _a: None, new, from_id=first)
        if failed is not check.failed:
            graph.checks[Check(failed, check.message)] = None
            if inside:
                del graph.checks[check]
    if not inside:
        lines, others = _lines(new, source), _lines(source.origins, source)
        for guard, asked in source.guards.items():
            # A line that made no node gave back one that was there: whoever has it may rely on it.
            if not (others - lines).issuperset(asked):
                graph.rely(guard)
    return found


def _lines(nodes: Iterable[Node], source: Graph) -> set[Origin | None]:
    """Return the lines that made nodes; constants are those of each line with that number."""
    return {o for n in nodes if n.args for o in source.origins.get(n, ())}


def _copied(body: Body, graph: Graph) -> Body:
    """Copy a body into another graph; its inputs stay the inputs they are, by their serials."""
    found, _ = rebuild((*body.inputs, *body.outputs), graph, lambda _n, _a: None)
    count = len(body.inputs)
    return Body(tuple(found[:count]), tuple(found[count:]))


def _carry_data(node: Node, graph: Graph) -> None:
    dtype, shape, bits = node.attrs
    key = (dtype.name, shape, bits)
    graph.data[key] = node.graph.data[key]
