"""Folding what no reader wants to see, before a graph becomes a formula.

Exact for real numbers: conditions on constants are decided, identity matrices are not multiplied,
exp(log_softmax(z)) is softmax(z), and sigmoid(-z) is 1 - sigmoid(z) where sigmoid(z) is there
anyway.  The graph given is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.types import BOOL
from chainrule.ir.walk import reached, rebuild
from chainrule.optimize.contractions import without_identity

__all__ = ["tidied"]

NEAR: Final = 64
"How many nodes a rule looks at below the one it is for."

_FOLDED: Final = frozenset({
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "bit_and", "bit_or",
    "bit_not", "add", "sub", "mul", "neg", "cast",
})  # fmt: skip


def tidied(outputs: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """Return the outputs in a fresh graph, folded, and what each node became."""
    graph = Graph(outputs[0].graph.ops)
    outputs, became = _as_written(outputs)
    # Known beforehand, since a rule asks whether its partner occurs anywhere.
    squashed = {n.args[0] for n in reached(outputs) if n.op.name == "sigmoid"}

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        rule = _RULES.get(node.op.name)
        found = rule(node, args, graph) if rule else None
        if found is None and node.op.name == "sigmoid" and node.args[0].op.name == "neg":
            inner = node.args[0].args[0]
            if inner in squashed:
                found = 1 - graph.call("sigmoid", args[0].args[0])
        if found is None and node.op.name in _FOLDED:
            found = _folded(node, args, graph)
        return found

    roots, new = rebuild(outputs, graph, change)
    return roots, {old: new[n] for old, n in became.items() if n in new}


def _as_written(outputs: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """Replace ops that are shown as other ops, which may be shown as others in turn.

    Returns the outputs and what each node became.
    """
    roots, became = list(outputs), {n: n for n in reached(outputs)}
    while any(n.op.written is not None for n in reached(roots)):
        roots, new = rebuild(
            roots, Graph(roots[0].graph.ops),
            lambda node, args: None if node.op.written is None else node.op.written(*args),
        )  # fmt: skip
        became = {old: new[n] for old, n in became.items()}
    return roots, became


def _folded(node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    """Compute an op on constants."""
    numbers = [constant_value(a) for a in args]
    if any(n is None for n in numbers):
        return None
    given = [np.asarray(n, dtype=a.dtype.numpy) for n, a in zip(numbers, args, strict=True)]
    with np.errstate(all="ignore"):
        value = node.op.value(*given, **node.attributes)
    return graph.full(node.shape, np.asarray(value).item(), node.dtype)


def _select(_node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    condition, a, b = args
    known = constant_value(condition)
    if known is not None:
        return a if known else b
    if a is b:
        return a
    return _inside_clip(condition, a, b, graph) if constant_value(b) == 0 else None


def _inside_clip(condition: Node, a: Node, b: Node, graph: Graph) -> Node | None:
    """Replace clip(u, low, high) by u in what is selected only where low <= u <= high."""
    if condition.op.name != "bit_and":
        return None
    below, above = condition.args
    if below.op.name != "less_equal" or above.op.name != "less_equal":
        return None
    if below.args[1] is not above.args[0]:
        below, above = above, below
    (low, u), (same, high) = below.args, above.args
    if u is not same:
        return None
    clip = _near(a, u, low, high)
    if clip is None:
        return None
    (inside,), _ = rebuild([a], graph, _changed, {clip: u})
    return graph.select(condition, inside, b)


def _near(node: Node, *args: Node) -> Node | None:
    """Look for a clip of these arguments among the next few nodes below."""
    waiting = [node]
    for one in waiting:
        if one.op.name == "clip" and one.args == args:
            return one
        if len(waiting) < NEAR:
            waiting += one.args
    return None


def _changed(node: Node, args: tuple[Node, ...]) -> Node | None:
    """Fold what a replacement made foldable: u - u."""
    if node.op.name == "sub" and args[0] is args[1]:
        return node.graph.full_like(node, 0)
    if node.op.name == "mul" and any(constant_value(a) == 0 for a in args):
        return node.graph.full_like(node, 0)
    return None


def _both(_node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    return _logic(args, graph, absorbing=False)


def _either(_node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    return _logic(args, graph, absorbing=True)


def _logic(args: tuple[Node, ...], graph: Graph, *, absorbing: bool) -> Node | None:
    if args[0].dtype is not BOOL:
        return None
    for this, other in (args, args[::-1]):
        known = constant_value(this)
        if known is not None:
            return graph.full_like(this, absorbing) if bool(known) is absorbing else other
    return None


def _power(_node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    exponent = constant_value(args[1])
    if exponent == 1:
        return args[0]
    return graph.full_like(args[0], 1) if exponent == 0 else None


def _exp(_node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    (x,) = args
    if x.op.name == "log_softmax":
        return graph.call("softmax", x.args[0], axes=x.attributes["axes"])
    if x.op.name != "sub" or x.args[1].op.name != "broadcast":
        return None
    logits, wide = x.args
    total, kept = wide.args[0], wide.attributes["axes"]
    if total.op.name != "logsumexp" or total.args[0] is not logits:
        return None
    axes = total.attributes["axes"]
    if kept != tuple(i for i in range(logits.type.rank) if i not in axes):
        return None
    return graph.call("softmax", logits, axes=axes)


def _counter(node: Node, _args: tuple[Node, ...], graph: Graph) -> Node | None:
    one = node.attributes["length"] == 1
    return graph.full(node.shape, 0, node.dtype) if one else None


def _view(node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    number = constant_value(args[0])
    return None if number is None else graph.full(node.shape, number, node.dtype)


def _contract(node: Node, args: tuple[Node, ...], graph: Graph) -> Node | None:
    return without_identity(graph.apply(node.op, args, node.attrs))


_RULES: Final[Mapping[str, Callable[[Node, tuple[Node, ...], Graph], Node | None]]] = {
    "select": _select, "bit_and": _both, "bit_or": _either, "pow": _power, "exp": _exp,
    "iota": _counter, "reshape": _view, "transpose": _view, "contract": _contract,
}  # fmt: skip
