"""Counting work: floating-point operations of a program, exactly, for given extents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chainrule.ir.body import bodies_of
from chainrule.ir.dims import Dim, Extent, Monomial, evaluate_extent, names_of, size_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.walk import topological
from chainrule.ops.control import counted_names

__all__ = ["NOMINAL", "flops", "flops_of", "total_flops", "typical", "unbounded"]

NOMINAL: Final = 64
"What a named extent counts as where its number is not known."


def flops_of(node: Node) -> Extent:
    """Return the floating-point operations of one node; moves and integer work count nothing.

    A Cholesky factorization counts n**3 / 3, elimination twice that, a triangular system n**2 a
    column.
    A contraction counts two (a product and a sum) for each term, a reduction or scatter its op's
    for each element of its argument, the others for each element of theirs.  A loop counts its body
    as many times as it has steps, a switch its most expensive branch.
    """
    if node.op.kind is Kind.CONTROL:
        return _flops_inside(node)
    if not any(t.dtype.is_float for t in (node.type, *(a.type for a in node.args))):
        return 0
    match node.op.kind:
        case Kind.CONTRACT:
            _, summed = node.attrs
            terms = size_of(node.args[0].shape[i] for i in summed[0])
            return 2 * node.type.size * terms
        case Kind.REDUCE | Kind.SCATTER:
            return node.op.flops * node.args[0].type.size
        case Kind.FACTOR:
            # The last argument's elements, each combined with up to n others; flops counts thirds.
            return node.op.flops * node.args[-1].type.size * node.args[0].shape[-1] // 3
        case Kind.UPDATE:
            return node.args[1].type.size if node.attributes["how"] == "add" else 0
        case Kind.SOURCE | Kind.VIEW | Kind.WRITE | Kind.GATHER:
            return 0
        case _:
            return node.op.flops * node.type.size


def _flops_inside(node: Node) -> Extent:
    totals: list[Extent] = []
    for body in bodies_of(node):
        total: Extent = 0
        for n in topological(body.outputs):
            total = total + flops_of(n)
        totals.append(total)
    if node.op.name == "loop":
        steps: Extent = node.attributes["length"]
        return sum((t * steps for t in totals), 0)
    return max(totals, key=typical, default=0)


def typical(extent: Extent) -> int:
    """Return what an extent is where named ones are of a common size."""
    return evaluate_extent(extent, dict.fromkeys(names_of(extent), NOMINAL))


def flops(nodes: Iterable[Node], dims: Mapping[str, int]) -> int:
    """Return the operations of all `nodes`, each counted once; of a loop with a test, one step."""
    found = [flops_of(n) for n in nodes]
    loose = {n for e in found for n in counted_names(e)} - set(dims)
    known = {**dims, **dict.fromkeys(loose, 1)}
    return sum(evaluate_extent(e, known) for e in found)


def total_flops(nodes: Iterable[Node]) -> Extent:
    """Return the operations of all `nodes` in terms of the named dims; linear."""
    total: dict[Monomial, int] = {}
    for node in nodes:
        work = flops_of(node)
        for monomial, count in (((), work),) if isinstance(work, int) else work.terms:
            total[monomial] = total.get(monomial, 0) + count
    constant = total.pop((), 0)
    if not total:
        return constant
    terms = sorted(total.items(), key=lambda term: (len(term[0]), str(term[0])))
    return Dim(tuple(terms)) + constant


def unbounded(nodes: Iterable[Node]) -> bool:
    """Tell whether one of the nodes is a loop that runs until its test ends it."""
    return any(n.op.name == "loop" and counted_names(n.attributes["length"]) for n in nodes)
