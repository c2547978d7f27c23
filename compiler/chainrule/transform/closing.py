"""Tracing the bodies of loops, branches and calls: functions that close over what is outside.

What a body reads from outside becomes an argument of the op that has the body.  What is made inside
stays inside, so that a branch that is not taken costs nothing; the checks made inside (of indices)
become results, since they can only be known as the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.frontend.array import Array
from chainrule.frontend.context import tracing
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.trace import result_nodes
from chainrule.frontend.value import Value
from chainrule.ir.dims import Dim
from chainrule.ir.graph import Check, Graph, Node
from chainrule.ir.op import Kind
from chainrule.ir.types import BOOL, Type
from chainrule.ir.walk import rebuild

__all__ = ["Leaf", "Opened", "close", "conditions", "is_static", "leaves_of", "never", "open_body",
           "report"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value given to a body: its node outside, and whether it stands for a Python number."""

    node: Node
    weak: bool

    @property
    def handle(self) -> Array:
        """What users hold of it."""
        return Array(self.node, self.weak)


def leaves_of(tree: Any, graph: Graph) -> tuple[list[Leaf], TreeDef]:
    """Return the leaves of a tree as nodes of the graph, and how they nest."""
    leaves, structure = tree_flatten(tree)
    nodes = result_nodes(graph, leaves, structure.paths())
    weak = [x.weak if isinstance(x, Value) else type(x) in (int, float, bool) for x in leaves]
    return [Leaf(n, w) for n, w in zip(nodes, weak, strict=True)], structure


@dataclass
class Opened:
    """A body that was traced and not closed yet.

    Attributes:
        mark: The number of the first node made for it.
        inputs: Its placeholders.
        outputs: Its results.
        tree: How they nest.
        weak: Which of them stand for Python numbers.
        checks: The conditions that were checked in it.
    """

    graph: Graph
    mark: int
    inputs: list[Node]
    outputs: list[Node]
    tree: TreeDef
    weak: list[bool]
    checks: list[Check] = field(default_factory=list)


def open_body(
    graph: Graph, fn: Callable[..., Any], types: Sequence[Type], weak: Sequence[bool],
    names: Sequence[str],
) -> Opened:  # fmt: skip
    """Trace `fn`, a function of leaves, on placeholders of these types."""
    mark = len(graph)
    before = set(graph.checks)
    inputs = [graph.input(n, t) for n, t in zip(names, types, strict=True)]
    handles = [Array(n, w) for n, w in zip(inputs, weak, strict=True)]
    with tracing(graph):
        result = fn(*handles)
        leaves, tree = tree_flatten(result)
        outputs = result_nodes(graph, leaves, tree.paths())
        graph.set_origin(None)
    # Also those of values from outside only: a body that does not run fails no check.
    checks = [c for c in graph.checks if c not in before]
    for check in checks:
        del graph.checks[check]
    graph.enclose(mark)
    flags = [x.weak if isinstance(x, Value) else type(x) in (int, float, bool) for x in leaves]
    return Opened(graph, mark, inputs, outputs, tree, flags, checks)


def close(
    graph: Graph, parts: Sequence[tuple[Sequence[Node], int]]
) -> tuple[list[Node], list[list[Node]], list[list[Node]]]:
    """Close bodies that share their arguments.

    Args:
        graph: Where all is.
        parts: The outputs of each body, and the number of the first node made for it.

    Returns:
        The nodes outside that any of them reads; for each body the inputs that stand for these; and
        for each body its outputs, which depend on nothing outside any more.
    """
    outer: dict[Node, None] = {}
    for outputs, mark in parts:
        outer.update(dict.fromkeys(_read_outside(outputs, mark)))
    inputs, closed = [], []
    for outputs, _ in parts:
        own = [graph.input("fixed", n.type) for n in outer]
        known = dict(zip(outer, own, strict=True))
        found, _ = rebuild(list(outputs), graph, lambda _n, _a: None, known)
        inputs.append(own)
        closed.append(found)
    for _, mark in parts[:1]:
        graph.enclose(mark)
    return list(outer), inputs, closed


def _read_outside(outputs: Sequence[Node], mark: int) -> list[Node]:
    """Return the nodes made before a body that it reads; constants are its own."""
    found: set[Node] = set()
    seen: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        n = waiting.pop()
        if n in seen:
            continue
        seen.add(n)
        outside = not n.graph.made_inside(n) and not _is_constant(n)
        if n.id < mark and (outside or n.op.name == "input"):
            found.add(n)
        else:
            waiting.extend(n.args)
    return sorted(found, key=lambda n: n.id)


def _is_constant(node: Node) -> bool:
    """Tell whether a node is a source or a view of one: it costs nothing to have it inside."""
    while node.op.kind is Kind.VIEW:
        node = node.args[0]
    return node.op.kind is Kind.SOURCE and node.op.name != "input"


def conditions(opened: Opened) -> list[Node]:
    """Return the conditions of the checks made in a body."""
    return [c.failed for c in opened.checks]


def report(graph: Graph, opened: Sequence[Opened], flags: Sequence[Node]) -> None:
    """Check the conditions that came out of bodies."""
    messages = [c.message for o in opened for c in o.checks]
    for failed, message in zip(flags, messages, strict=True):
        graph.check(failed, message)


def never(graph: Graph) -> Node:
    """Return what a check is that does not fail: before the first step, in another branch."""
    return graph.constant(False, BOOL)


def is_static(x: Any) -> bool:
    """Tell whether an integer is known while tracing, at least as an extent."""
    return isinstance(x, int | np.integer | Dim) and not isinstance(x, bool)
