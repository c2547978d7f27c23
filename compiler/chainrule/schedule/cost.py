"""Counting work: floating-point operations of a program, exactly, for given extents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chainrule.ir.dims import Extent, evaluate_extent, size_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind

__all__ = ["flops", "flops_of"]


def flops_of(node: Node) -> Extent:
    """Return the floating-point operations of one node; moves and integer work count nothing.

    A Cholesky factorization counts n**3 / 3, elimination twice that, a triangular system n**2 a
    column.
    A contraction counts two (a product and a sum) for each term, a reduction or scatter its op's
    for each element of its argument, the others for each element of theirs.
    """
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
        case Kind.SOURCE | Kind.VIEW | Kind.WRITE | Kind.GATHER:
            return 0
        case _:
            return node.op.flops * node.type.size


def flops(nodes: Iterable[Node], dims: Mapping[str, int]) -> int:
    """Return the operations of all `nodes`, each counted once."""
    return sum(evaluate_extent(flops_of(n), dims) for n in nodes)
