"""Operands of contractions: which of them are converted by the contraction itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.ir.dims import loop_variables, named
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import F32
from chainrule.schedule.access import follow, strides_of

__all__ = ["unconverted"]


def unconverted(node: Node, x: Node, users: Mapping[Node, Sequence[Node]]) -> Node | None:
    """Return the 16-bit array that operand `x` of a contraction is a conversion of.

    None where a converted copy is stored: it is wanted elsewhere too, its columns are not adjacent
    or are one, or the rows it meets are a named batch, whose strips would convert it again.
    """
    a, b = node.args
    batch, summed = node.attrs
    free = [i for i in range(x.type.rank) if i not in batch[1] + summed[1]]
    if x is not b or x is a or free != [x.type.rank - 1] or x.shape[-1] == 1:
        return None
    if not all(isinstance(n, int) for n in (*a.shape, *x.shape)):
        return None
    variables = loop_variables("x", x.type.rank)
    index = tuple(named(v) for v in variables)
    base, at = follow(x, index, lambda _: False)
    if base.op.name != "cast" or base.dtype is not F32 or not base.args[0].dtype.is_half:
        return None
    if not _alone(x, node, users):
        return None
    assert isinstance(at, tuple), "nothing is in memory"
    source, place = follow(base.args[0], at, lambda n: n.op.kind is Kind.SOURCE)
    if source.op.name not in ("input", "data") or isinstance(place, tuple):
        return None
    found = strides_of(place, variables)
    return source if found is not None and found[0][-1] == 1 else None


def _alone(x: Node, user: Node, users: Mapping[Node, Sequence[Node]]) -> bool:
    """Tell whether a conversion, seen through views, is made for this one use."""
    while list(users[x]) == [user]:
        if x.op.name == "cast":
            return True
        x, user = x.args[0], x
    return False
