"""The engine: matching, building, and one walk that rewrites arguments before results.

Nothing recurses over the graph (only over a pattern, a few levels deep), and every node is
rewritten to a form that no rule changes, within a bound, so the work is linear in the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from chainrule.ir.graph import Graph, Node, Origin, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.types import BOOL
from chainrule.ir.walk import rebuild
from chainrule.optimize.ranges import keeps_range
from chainrule.optimize.rule import Binding, Keeps, Pattern, Rule

__all__ = ["Rewriter", "Step", "build", "match"]

BOUND: Final = 64
"Rules applied in the course of rewriting one node, at most."


class Step(NamedTuple):
    """A rewrite that a pattern cannot say, since it computes attributes.

    `apply` returns the better node or None.  It runs on nodes of the ops (or of the kind) named.
    """

    ops: tuple[str, ...]
    apply: Callable[[Node], Node | None]
    keeps: Keeps = Keeps.BITS


def same_number(a: float, b: float) -> bool:
    """Tell whether two constants are the same one: zeros of unlike signs are not."""
    return a == b and (a != 0 or str(float(a)) == str(float(b)))


def match(pattern: Pattern, node: Node, bound: Binding) -> Binding | None:
    """Return `bound` extended so that `pattern` reads as `node`, or None."""
    match pattern.op:
        case "wild":
            if pattern.boolean and node.dtype is not BOOL:
                return None
            return _bind(pattern.name, node, bound)
        case "constant":
            return _bind(pattern.name, node, bound) if constant_value(node) is not None else None
        case "number":
            number = constant_value(node)
            same = number is not None and same_number(number, pattern.number)
            return bound if same else None
        case "along":
            return _match_along(pattern, node, bound)
    if pattern.op != node.op.name:
        return None
    if any(node.attributes[k] != v for k, v in pattern.attributes):
        return None
    if pattern.axes:
        with_axes = _bind(pattern.axes, node.attributes["axes"], bound)
        if with_axes is None:
            return None
        bound = with_axes
    straight = _match_all(pattern.args, node.args, bound)
    if straight is None and node.op.commutative:
        return _match_all(pattern.args, node.args[::-1], bound)
    return straight


def _bind(name: str, value: Any, bound: Binding) -> Binding | None:
    if name in bound:
        # Nodes are interned: identity is equality.
        same = bound[name] is value if isinstance(value, Node) else bound[name] == value
        return bound if same else None
    return {**bound, name: value}


def _match_all(
    patterns: Sequence[Pattern], nodes: Sequence[Node], bound: Binding
) -> Binding | None:
    for pattern, node in zip(patterns, nodes, strict=True):
        found = match(pattern, node, bound)
        if found is None:
            return None
        bound = found
    return bound


def _match_along(pattern: Pattern, node: Node, bound: Binding) -> Binding | None:
    if node.op.name != "broadcast":
        return None
    kept = node.attributes["axes"]
    axes = tuple(i for i in range(node.type.rank) if i not in kept)
    found = _bind(pattern.axes, axes, bound)
    return None if found is None else match(pattern.args[0], node.args[0], found)


def build(pattern: Pattern, bound: Binding, like: Node) -> Node:
    """Return `pattern` with its wildcards replaced; a lone number has the type of `like`."""
    graph = like.graph
    match pattern.op:
        case "wild" | "constant":
            node: Node = bound[pattern.name]
            return node
        case "number":
            return graph.full_like(like, pattern.number)
        case "along":
            model = build(pattern.args[1], bound, like)
            axes: tuple[int, ...] = bound[pattern.axes]
            kept = tuple(i for i in range(model.type.rank) if i not in axes)
            inner = (
                graph.full(tuple(model.shape[i] for i in kept), pattern.args[0].number, model.dtype)
                if pattern.args[0].op == "number"
                else build(pattern.args[0], bound, like)
            )
            return graph.broadcast(inner, model.shape, kept)
    args: list[Node | None] = [
        None if a.op == "number" else build(a, bound, like) for a in pattern.args
    ]
    # A number takes the type of the operand beside it: for a selection that is not the condition.
    sibling = next((a for a in reversed(args) if a is not None), like)
    full = [
        graph.full_like(_model(pattern, sibling, like), p.number) if a is None else a
        for a, p in zip(args, pattern.args, strict=True)
    ]
    if pattern.axes:
        return graph.call(pattern.op, *full, axes=bound[pattern.axes])
    return graph.call(pattern.op, *full, **dict(pattern.attributes))


def _model(pattern: Pattern, sibling: Node, like: Node) -> Node:
    """Return the node whose type a number inside `pattern` takes."""
    return like if pattern.op == "select" and sibling.dtype is BOOL else sibling


class _Entry(NamedTuple):
    """A rule with what its left side asks of the arguments' ops."""

    heads: tuple[str, ...]
    rule: Rule
    integers: bool


class _Selection:
    """The rules and steps that may fit a node, by its op and the heads of its arguments."""

    def __init__(self, rules: tuple[Rule, ...], steps: tuple[Step, ...], reals: bool) -> None:
        self.steps: Final[dict[str, tuple[Step, ...]]] = {}
        self._rules: Final[dict[str, list[_Entry]]] = {}
        self._fitting: Final[dict[tuple[str, tuple[str, ...]], tuple[_Entry, ...]]] = {}
        for rule in rules:
            integers = rule.integers
            # On integers a ring's rules are exact, so strict compilation runs those as well.
            if reals or rule.keeps is Keeps.BITS or integers:
                heads = tuple(map(_head, rule.before.args))
                self._rules.setdefault(rule.before.op, []).append(_Entry(heads, rule, integers))
        for step in steps:
            if reals or step.keeps is Keeps.BITS:
                for name in step.ops:
                    self.steps[name] = (*self.steps.get(name, ()), step)

    def fitting(self, node: Node) -> tuple[_Entry, ...]:
        """Return the rules that the heads of the arguments leave, which are few."""
        name = node.op.name
        if name not in self._rules:
            return ()
        heads = tuple(map(_node_head, node.args))
        found = self._fitting.get((name, heads))
        if found is None:
            found = tuple(e for e in self._rules[name] if _may_fit(e.heads, heads))
            self._fitting[name, heads] = found
        return found


# Every compilation asks for the same few sets of rules.
_selection: Final = lru_cache(16)(_Selection)


class Rewriter:
    """Applies rules and steps until none fits; keeps what it has found for every node.

    Attributes:
        attempts: How many rules and steps were tried: linear in the nodes.
    """

    def __init__(
        self, graph: Graph, rules: Iterable[Rule], steps: Iterable[Step] = (), *,
        reals: bool = True,
    ) -> None:  # fmt: skip
        self.graph: Final = graph
        self.attempts = 0
        self._reals: Final = reals
        self._normal: Final[dict[Node, Node]] = {}
        self._selection: Final = _selection(tuple(rules), tuple(steps), reals)

    def run(self, outputs: Sequence[Node]) -> list[Node]:
        """Return the outputs rewritten."""
        found, _ = rebuild(outputs, self.graph, self._change)
        return found

    def _change(self, node: Node, args: tuple[Node, ...]) -> Node:
        copy = node if args == node.args else self.graph.apply(node.op, args, node.attrs)
        return self.settle(copy, self.graph.origins.get(node))

    def settle(self, root: Node, origins: dict[Origin, None] | None = None) -> Node:
        """Return the form of `root` that no rule changes; new nodes get the `origins`."""
        normal, graph = self._normal, self.graph
        if root in normal:
            return normal[root]
        forward: dict[Node, Node] = {}
        waiting: set[Node] = set()
        stack, left = [root], BOUND
        while stack:
            node = stack[-1]
            if node in normal:
                stack.pop()
                continue
            target = forward.get(node)
            if target is None:
                pending = [a for a in node.args if a not in normal]
                if pending and waiting.isdisjoint(pending):
                    waiting.add(node)
                    stack.extend(pending)
                    continue
                args = tuple(normal.get(a, a) for a in node.args)
                target = node if args == node.args else graph.apply(node.op, args, node.attrs)
                if target is node:
                    mark = len(graph)
                    target = self._better(node) if left else None
                    if target is None:
                        normal[node] = node
                        continue
                    left -= 1
                    if origins:
                        _name(target, mark, origins)
                forward[node] = target
            waiting.add(node)
            if target in normal or target in waiting:
                # Meeting a node again means that two rules undo one another: stop there.
                normal[node] = normal.get(target, target)
                continue
            stack.append(target)
        return normal[root]

    def _better(self, node: Node) -> Node | None:
        # Steps come first: they fold constants and shrink shapes, which the rules need not repeat.
        steps = self._selection.steps
        kind = "pointwise" if node.op.kind is Kind.POINTWISE else ""
        for step in (*steps.get(node.op.name, ()), *steps.get(kind, ())):
            self.attempts += 1
            better: Node | None = step.apply(node)
            if better is not None and better is not node:
                assert better.type == node.type, f"{node} became {better}"
                return better
        for entry in self._selection.fitting(node):
            self.attempts += 1
            rule = entry.rule
            bound = match(rule.before, node, {}) if self._allowed(entry, node) else None
            if (
                bound is not None
                and (rule.when is None or rule.when(bound))
                and keeps_range(rule, bound)
            ):
                after = build(rule.result, bound, node)
                if after.type == node.type and after is not node:
                    return after
        return None

    def _allowed(self, entry: _Entry, node: Node) -> bool:
        dtype = node.args[-1].dtype
        if dtype.is_float or dtype is BOOL:
            return self._reals or entry.rule.keeps is Keeps.BITS
        return entry.integers


def _name(target: Node, mark: int, origins: dict[Origin, None]) -> None:
    """Give the nodes made since `mark` their origins; a template is a few nodes deep."""
    stack = [target]
    while stack:
        node = stack.pop()
        if node.id >= mark and node.op.kind is not Kind.SOURCE:
            node.graph.origins.setdefault(node, {}).update(origins)
            stack.extend(node.args)


def _head(pattern: Pattern) -> str:
    if pattern.is_constant:
        return "#"
    return {"wild": "", "along": "broadcast"}.get(pattern.op, pattern.op)


def _node_head(node: Node) -> str:
    return "#" if constant_value(node) is not None else node.op.name


def _may_fit(needed: tuple[str, ...], heads: tuple[str, ...]) -> bool:
    """Look one level down before matching: nearly all rules are ruled out here."""
    orders = (heads, heads[::-1]) if len(heads) == 2 else (heads,)
    return any(
        all(
            not n or n == h or (h == "#" and n == "broadcast")
            for n, h in zip(needed, order, strict=True)
        )
        for order in orders
    )
