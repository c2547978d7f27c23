"""Chains of contractions in the order that multiplies least.

`A @ B @ v` reads as a product of matrices; `A @ (B @ v)` takes a fraction of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.ir.dims import Extent, evaluate_extent, names_of
from chainrule.ir.graph import Node
from chainrule.ir.walk import reached, rebuild, users
from chainrule.optimize.contractions import Names, einsum, named_axes

__all__ = ["order_chains"]

TYPICAL: Final = 256
"What a named dim is taken for when costs are compared."
WORTH: Final = 0.9
"Another order must save a tenth to be taken."


def _number(extent: Extent) -> int:
    return evaluate_extent(extent, dict.fromkeys(names_of(extent), TYPICAL))


def order_chains(results: Sequence[Node]) -> list[Node]:
    """Return the results with every contraction of a contraction in the cheaper order.

    Only a product that nothing else needs is taken apart.  Linear in the nodes: each one is looked
    at once, with the operands its own operands have by then.
    """
    nodes = reached(results)
    if not any(n.op.name == "contract" for n in nodes):
        return list(results)
    graph = results[0].graph
    times_used = users(nodes)
    kept = set(results)
    alone: set[Node] = set()

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.name != "contract":
            return None
        new = graph.apply(node.op, args, node.attrs)
        better = _ordered(new, alone) or new
        if len(times_used[node]) == 1 and node not in kept:
            alone.add(better)
        return better

    return rebuild(results, graph, change)[0]


def _ordered(node: Node, alone: set[Node]) -> Node | None:
    """Return (a b) c as a (b c) or (a c) b if that costs less."""
    a_names, b_names, out, sizes = named_axes(node)
    best: Node | None = None
    for inner, names, third, third_names in (
        (node.args[0], a_names, node.args[1], b_names),
        (node.args[1], b_names, node.args[0], a_names),
    ):
        if inner.op.name != "contract" or inner not in alone:
            continue
        first, second, extents = _renamed(inner, names, sizes)
        now = _cost(first, second, extents) + _cost(names, third_names, extents)
        for near, far in (
            ((inner.args[0], first), (inner.args[1], second)),
            ((inner.args[1], second), (inner.args[0], first)),
        ):
            needed = {*out, *far[1]}
            both = {*near[1], *third_names}
            between = tuple(n for n in (*near[1], *third_names) if n in needed)
            between = tuple(dict.fromkeys(between))
            shared = [n for n in near[1] if n in third_names]
            if not any(n not in needed for n in shared) or both == set(between):
                continue  # it would be an outer product, larger than either operand
            cost = _cost(near[1], third_names, extents) + _cost(between, far[1], extents)
            if cost < WORTH * now:
                now = cost / WORTH
                product = _contracted(near, (third, third_names), between, extents)
                best = _contracted((product, between), far, out, extents)
    return best


def _contracted(
    a: tuple[Node, Names], b: tuple[Node, Names], out: Names, sizes: dict[int, Extent]
) -> Node:
    used = {n: sizes[n] for n in (*a[1], *b[1])}
    return einsum(*a, *b, out, used)


def _renamed(
    inner: Node, names: Names, sizes: dict[int, Extent]
) -> tuple[Names, Names, dict[int, Extent]]:
    """Name the axes of a contraction's operands as the contraction around it names its result."""
    first, second, out, own = named_axes(inner)
    fresh = max(sizes, default=0) + 1
    table = dict(zip(out, names, strict=True))
    for n in own:
        table.setdefault(n, fresh + n)
    extents = {**sizes, **{table[n]: e for n, e in own.items()}}
    return tuple(table[n] for n in first), tuple(table[n] for n in second), extents


def _cost(a: Names, b: Names, sizes: dict[int, Extent]) -> float:
    total = 1.0
    for n in {*a, *b}:
        total *= _number(sizes[n])
    return total
