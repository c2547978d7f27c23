"""Sums of products by the names of their axes: transposes folded in, copies never multiplied.

An operand is a node and a name for each of its axes, as in `einsum`.  Peeling views off an operand
only changes its names; writing the contraction anew then is one function, `einsum`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.types import I64, DType
from chainrule.ops.contract import free_axes
from chainrule.optimize.ranges import may_move
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["CONTRACTIONS", "count", "einsum", "peeled", "repeated", "spread_to",
           "unless_empty", "without_identity"]  # fmt: skip

Names = tuple[int, ...]


def count(graph: Graph, extents: Sequence[Extent], dtype: DType) -> Node:
    """Return the product of extents as a number of the given type."""
    total: Extent = 1
    for extent in extents:
        total = total * extent
    if isinstance(total, int):
        return graph.constant(total, dtype)
    return graph.call("cast", graph.call("extent", extent=total), dtype=dtype)


def repeated(x: Node, extents: Sequence[Extent]) -> Node:
    """Return the sum of as many copies of `x` as there are elements: of none it is 0.

    Times 0 it would be NaN where `x` is infinite or NaN.
    """
    graph = x.graph
    if 0 in extents:
        return graph.full_like(x, 0)
    number = graph.broadcast(count(graph, extents, x.dtype), x.shape, ())
    known = constant_value(x)
    safe = not x.dtype.is_float or (known is not None and math.isfinite(known))
    if safe or all(never_negative(e - 1) for e in extents):
        return x * number
    return graph.select(number.equals(0), 0, x * number)


def unless_empty(total: Node, extents: Sequence[Extent], taken_out: Node) -> Node:
    """Return a sum that a factor was taken out of: 0 where nothing was summed, whatever that is."""
    graph = total.graph
    doubtful = [e for e in extents if not never_negative(e - 1)]
    if not doubtful or not total.dtype.is_float or _is_finite(taken_out):
        return total
    if 0 in extents:
        return graph.full_like(total, 0)
    empty = count(graph, doubtful, I64).equals(0)
    return graph.select(graph.broadcast(empty, total.shape, ()), 0, total)


def _is_finite(factor: Node) -> bool:
    """Tell whether a factor is a finite constant, or made of one and of extents.

    A mean over an empty axis is NaN as it is written: its 1/0 needs no guard.
    """
    stack, left = [factor], FEW
    while stack:
        x, left = stack.pop(), left - 1
        number = constant_value(x)
        if left < 0 or (number is not None and not math.isfinite(number)):
            return False
        if number is None and x.op.name in ("broadcast", "reshape", "cast", "mul", "div"):
            stack += x.args
        elif number is None and x.op.name != "extent":
            return False
    return True


FEW: Final = 16
"Nodes of a factor that are looked at."


def peeled(x: Node, names: Names) -> tuple[Node, Names]:
    """Look through broadcasts and transposes of an operand."""
    while True:
        match x.op.name:
            case "broadcast":
                names = tuple(names[a] for a in x.attributes["axes"])
            case "transpose":
                axes = x.attributes["axes"]
                names = tuple(names[axes.index(i)] for i in range(len(axes)))
            case _:
                return x, names
        x = x.args[0]


def spread_to(x: Node, names: Names, out: Names, sizes: Mapping[int, Extent]) -> Node:
    """Return `x` with its axes in the order of `out`, copied along those it lacks."""
    order = sorted(range(len(names)), key=lambda i: out.index(names[i]))
    if order != list(range(len(names))):
        x = x.graph.call("transpose", x, axes=tuple(order))
    axes = tuple(out.index(names[i]) for i in order)
    return x.graph.broadcast(x, tuple(sizes[n] for n in out), axes)


def _without(x: Node, names: Names, wanted: set[int]) -> tuple[Node, Names]:
    """Sum over the axes that nothing else has."""
    gone = tuple(i for i, n in enumerate(names) if n not in wanted)
    if not gone:
        return x, names
    kept = tuple(n for n in names if n in wanted)
    return x.graph.call("sum", x, axes=gone), kept


def einsum(
    a: Node, a_names: Names, b: Node, b_names: Names, out: Names, sizes: Mapping[int, Extent]
) -> Node:
    """Return the sum of a*b over the axes in `sizes` that `out` does not name.

    Over an axis that neither operand has, the sum is a product with its extent.
    """
    graph = a.graph
    both = {*a_names, *b_names}
    alone = [sizes[n] for n in sizes if n not in both and n not in out]
    gone = [[sizes[n] for n in own if n not in out and n not in others]
            for own, others in ((a_names, b_names), (b_names, a_names))]  # fmt: skip
    a, a_names = _without(a, a_names, {*out, *b_names})
    b, b_names = _without(b, b_names, {*out, *a_names})
    taken_out = (b, a)
    shared = [n for n in a_names if n in b_names]
    summed = [n for n in shared if n not in out]
    if not summed:
        product = spread_to(a, a_names, out, sizes) * spread_to(b, b_names, out, sizes)
    else:
        batch = sorted((n for n in shared if n in out), key=out.index)
        first = [n for n in a_names if n not in b_names]
        second = [n for n in b_names if n not in a_names]
        if [n for n in out if n in first or n in second] == second + first:
            # The free axes of b come first in the result: so does b.
            a, b, a_names, b_names, first, second = b, a, b_names, a_names, second, first
        product = graph.call(
            "contract", a, b,
            batch=(tuple(map(a_names.index, batch)), tuple(map(b_names.index, batch))),
            summed=(tuple(map(a_names.index, summed)), tuple(map(b_names.index, summed))),
        )  # fmt: skip
        product = spread_to(product, (*batch, *first, *second), out, sizes)
    for extents, factor in zip(gone, taken_out, strict=True):
        product = unless_empty(product, extents, factor)
    return repeated(product, alone) if alone else product


def named_axes(node: Node) -> tuple[Names, Names, Names, dict[int, Extent]]:
    """Name the axes of a contraction: of its operands, of its result, and their extents."""
    a, b = node.args
    batch, summed = node.attributes["batch"], node.attributes["summed"]
    a_names = tuple(range(a.type.rank))
    same = {j: i for pairs in (batch, summed) for i, j in zip(*pairs, strict=True)}
    b_names = tuple(same.get(j, a.type.rank + j) for j in range(b.type.rank))
    out = (
        *batch[0], *free_axes(a.type.rank, batch[0], summed[0]),
        *(b_names[j] for j in free_axes(b.type.rank, batch[1], summed[1])),
    )  # fmt: skip
    sizes = {**dict(zip(b_names, b.shape, strict=True)), **dict(zip(a_names, a.shape, strict=True))}
    return a_names, b_names, out, sizes


def _peel(node: Node) -> Node | None:
    """Fold the operands' transposes into the axes; multiply no copies."""
    a, b = node.args
    if a.op.name not in ("transpose", "broadcast") and b.op.name not in ("transpose", "broadcast"):
        return None
    if not may_move(a) or not may_move(b):
        return None
    a_names, b_names, out, sizes = named_axes(node)
    a, a_names = peeled(a, a_names)
    b, b_names = peeled(b, b_names)
    better = einsum(a, a_names, b, b_names, out, sizes)
    # Trading a transpose of an operand for one of the result gains nothing.
    copies = len(a_names) + len(b_names) < node.args[0].type.rank + node.args[1].type.rank
    return better if copies or better.op.name != "transpose" else None


def _only_moves(node: Node) -> Node | None:
    """Fold transposes alone, which keeps every sum and its order."""
    if any(x.op.name == "broadcast" for x in node.args):
        return None
    a_names, b_names, out, sizes = named_axes(node)
    a, b = node.args
    if a.op.name == "transpose":
        (a_inner,), axes = a.args, a.attributes["axes"]
        a, a_names = a_inner, tuple(a_names[axes.index(i)] for i in range(len(axes)))
    if b.op.name == "transpose":
        (b_inner,), axes = b.args, b.attributes["axes"]
        b, b_names = b_inner, tuple(b_names[axes.index(i)] for i in range(len(axes)))
    if a is node.args[0] and b is node.args[1]:
        return None
    if not node.attributes["summed"][0]:
        return None
    better = einsum(a, a_names, b, b_names, out, sizes)
    return better if better.op.name == "contract" else None


def _transposed(node: Node) -> Node | None:
    """Swap the operands where the transpose of a contraction is one."""
    (x,) = node.args
    if x.op.name != "contract" or not x.attributes["summed"][0]:
        return None
    a_names, b_names, out, sizes = named_axes(x)
    order = tuple(out[a] for a in node.attributes["axes"])
    better = einsum(x.args[0], a_names, x.args[1], b_names, order, sizes)
    return better if better.op.name == "contract" else None


def _no_sum(node: Node) -> Node | None:
    """Write a contraction without a summed axis as a product."""
    if node.attributes["summed"][0]:
        return None
    a_names, b_names, out, sizes = named_axes(node)
    return einsum(node.args[0], a_names, node.args[1], b_names, out, sizes)


def _one_term(node: Node) -> Node | None:
    """Drop summed axes of extent 1: a product of rank one is no sum, however it is written."""
    batch, summed = node.attributes["batch"], node.attributes["summed"]
    a, b = node.args
    short = [k for k, i in enumerate(summed[0]) if a.shape[i] == 1]
    if not short:
        return None
    operands, places = [], []
    for x, shared, own in zip((a, b), batch, summed, strict=True):
        gone = {own[k] for k in short}
        left = [i for i in range(x.type.rank) if i not in gone]
        operands.append(node.graph.call("reshape", x, shape=tuple([x.shape[i] for i in left])))
        places.append((tuple([left.index(i) for i in shared]),
                       tuple([left.index(i) for i in own if i not in gone])))  # fmt: skip
    (shared_a, own_a), (shared_b, own_b) = places
    return node.graph.call("contract", *operands, batch=(shared_a, shared_b), summed=(own_a, own_b))


def _is_identity(x: Node) -> bool:
    """Tell whether a node is the identity matrix: 1 where a row's number is its column's."""
    held = x.op.name == "select" and [constant_value(a) for a in x.args[1:]] == [1, 0]
    if not (held or x.op.name == "cast") or x.args[0].op.name != "equal" or x.type.rank != 2:
        return False
    (a, a_names), (b, b_names) = (peeled(side, (0, 1)) for side in x.args[0].args)
    return a is b and a.op.name == "iota" and {a_names, b_names} == {(0,), (1,)}


def without_identity(node: Node) -> Node | None:
    """Drop an identity matrix from a contraction along one of its axes."""
    a, b = node.args
    a_names, b_names, out, sizes = named_axes(node)
    for eye, names, x, x_names in ((a, a_names, b, b_names), (b, b_names, a, a_names)):
        gone = [n for n in names if n not in out]
        kept = [n for n in names if n not in x_names]
        if len(gone) == len(kept) == 1 and _is_identity(eye):
            renamed = tuple(kept[0] if n == gone[0] else n for n in x_names)
            return spread_to(x, renamed, out, sizes)
    return None


def _sign(node: Node) -> Node | None:
    """Move signs outwards."""
    a, b = node.args
    if a.op.name == "neg":
        return -node.graph.apply(node.op, (a.args[0], b), node.attrs)
    if b.op.name == "neg":
        return -node.graph.apply(node.op, (a, b.args[0]), node.attrs)
    return None


CONTRACTIONS: Final = (
    Step(("contract",), without_identity, Keeps.REALS),
    Step(("contract",), _only_moves),
    Step(("contract",), _peel, Keeps.REALS),
    # A sum of one product begins with 0, which a product of -0 shows.
    Step(("contract",), _one_term, Keeps.REALS),
    Step(("contract",), _no_sum),
    Step(("contract",), _sign, Keeps.REALS),
    Step(("transpose",), _transposed),
)
