"""Chains of products in the order that multiplies least.

`A @ B @ v` reads as a product of matrices; `A @ (B @ v)` takes a fraction of the work.  So does
`u * (v @ B)` of the outer product `outer(u, v) @ B`, which is no contraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from chainrule.ir.dims import Extent, evaluate_extent, names_of
from chainrule.ir.graph import Node
from chainrule.ir.walk import reached, rebuild, users
from chainrule.optimize.contractions import Names, einsum, named_axes, peeled
from chainrule.optimize.ranges import may_move
from chainrule.optimize.views import unit_axes

__all__ = ["order_chains"]

TYPICAL: Final = 256
"What a named dim is taken for when costs are compared."
WORTH: Final = 0.9
"Another order must save a tenth to be taken."


def _number(extent: Extent) -> int:
    return evaluate_extent(extent, dict.fromkeys(names_of(extent), TYPICAL))


def order_chains(results: Sequence[Node]) -> list[Node]:
    """Return the results with every contraction of a product in the cheaper order.

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
        if node.op.name not in ("contract", "mul", "reshape"):
            return None
        new = graph.apply(node.op, args, node.attrs)
        better = (_ordered(new, alone) if new.op.name == "contract" else None) or new
        whole = node.op.name == "reshape" and new.args[0] not in alone
        if len(times_used[node]) == 1 and node not in kept and not whole:
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
        product = _product(inner) if inner in alone else None
        if product is None:
            continue
        (x, first), (y, second), extents = _renamed(product, names, sizes)
        now = _cost(first, second, extents) + _cost(names, third_names, extents)
        for near, far in (
            ((x, first), (y, second)),
            ((y, second), (x, first)),
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
                part = _contracted(near, (third, third_names), between, extents)
                best = _contracted((part, between), far, out, extents)
    return best


def _contracted(
    a: tuple[Node, Names], b: tuple[Node, Names], out: Names, sizes: dict[int, Extent]
) -> Node:
    used = {n: sizes[n] for n in (*a[1], *b[1], *out)}
    return einsum(*a, *b, out, used)


class _Product(NamedTuple):
    """Two operands with names for their axes, those of the result, and what extents they have."""

    a: tuple[Node, Names]
    b: tuple[Node, Names]
    out: Names
    sizes: dict[int, Extent]


def _product(node: Node) -> _Product | None:
    """Read a node as a contraction or as an outer product, if it is one."""
    if node.op.name == "contract":
        a_names, b_names, out, sizes = named_axes(node)
        return _Product((node.args[0], a_names), (node.args[1], b_names), out, sizes)
    if node.op.name == "reshape":
        return _without_unit_axes(node)
    if node.op.name != "mul" or not all(map(may_move, node.args)):
        return None
    out = tuple(range(node.type.rank))
    a, b = (peeled(x, out) for x in node.args)
    if len(a[1]) == len(out) or len(b[1]) == len(out):
        return None  # an operand is as large as the product
    return _Product(a, b, out, dict(zip(out, node.shape, strict=True)))


def _without_unit_axes(node: Node) -> _Product | None:
    """Read a reshape that only inserts and drops axes of extent 1 as the product below it."""
    (x,) = node.args
    inner, moved = _product(x), unit_axes(x.shape, node.shape)
    if inner is None or moved is None:
        return None
    fresh = max(inner.sizes) + 1
    out = list(range(fresh, fresh + node.type.rank))
    for name, to in zip(inner.out, moved, strict=True):
        if to is not None:
            out[to] = name
    sizes = {**dict(zip(out, node.shape, strict=True)), **inner.sizes}
    return _Product(inner.a, inner.b, tuple(out), sizes)


def _renamed(
    product: _Product, names: Names, sizes: dict[int, Extent]
) -> tuple[tuple[Node, Names], tuple[Node, Names], dict[int, Extent]]:
    """Name the axes of a product's operands as the contraction around it names its result."""
    fresh = max(sizes, default=0) + 1
    table = dict(zip(product.out, names, strict=True))
    for n in product.sizes:
        table.setdefault(n, fresh + n)
    extents = {**sizes, **{table[n]: e for n, e in product.sizes.items()}}
    a, b = ((x, tuple(table[n] for n in own)) for x, own in (product.a, product.b))
    return a, b, extents


def _cost(a: Names, b: Names, sizes: dict[int, Extent]) -> float:
    total = 1.0
    for n in {*a, *b}:
        total *= _number(sizes[n])
    return total
