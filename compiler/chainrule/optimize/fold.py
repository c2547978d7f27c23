"""Constant folding, and what is known of broadcast values.

Constants fold in the node's own element type with the op's own NumPy meaning, which differs from
what compiled code would compute by no more than the op's error budget.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from chainrule.ir.graph import Node, Number, constant_value
from chainrule.ir.halves import moves, widened
from chainrule.ir.op import VectorMath
from chainrule.ir.types import BOOL, F32, DType
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["FOLDING", "UNROUNDED", "sink_broadcast"]


def _evaluated(node: Node, numbers: list[Number]) -> Number:
    arrays = [np.asarray(n, dtype=a.dtype.numpy) for n, a in zip(numbers, node.args, strict=True)]
    with np.errstate(all="ignore"):
        result = np.asarray(node.op.value(*widened(node, arrays), **node.attributes))
        result = result.astype(node.dtype.numpy)
    number: Number = result.item()
    return number


def _fold(node: Node) -> Node | None:
    """Compute a pointwise op of constants."""
    if any(a.op.name not in ("constant", "broadcast") for a in node.args):
        return None
    numbers = [constant_value(a) for a in node.args]
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers) or node.op.name == "stop_gradient":
        return None
    return node.graph.full(node.shape, _evaluated(node, known), node.dtype)


def _fold_exact(node: Node) -> Node | None:
    return None if isinstance(node.op.native, VectorMath) else _fold(node)


def _fold_unrounded(node: Node) -> Node | None:
    """Compute a pointwise op of constants unless 16 bits are too few for the result."""
    if not node.dtype.is_half or moves(node):
        rounds = node.op.name != "cast" or node.attributes.get("rounds", True)
        return _fold(node) if rounds else None
    folded = _fold(node)
    if folded is None:
        return None
    numbers = [constant_value(a) for a in node.args]
    wide = [F32 if a.dtype.is_half else a.dtype for a in node.args]
    with np.errstate(all="ignore"):
        result = node.op.value(
            *(np.asarray(n, d.numpy) for n, d in zip(numbers, wide, strict=True)),
            **node.attributes,
        )
    return folded if float(result) == constant_value(folded) else None


def _fold_unrounded_exact(node: Node) -> Node | None:
    return None if isinstance(node.op.native, VectorMath) else _fold_unrounded(node)


def _fold_extent(node: Node) -> Node | None:
    """Make a run-time extent that is a number after all a constant."""
    extent = node.attributes["extent"]
    return node.graph.constant(extent, node.dtype) if isinstance(extent, int) else None


def _fold_counter(node: Node) -> Node | None:
    """Make a counter of one element, which is 0, a constant."""
    one = node.attributes["length"] == 1
    return node.graph.full(node.shape, 0, node.dtype) if one else None


def sink_broadcast(node: Node) -> Node | None:
    """Compute before broadcasting: a pointwise op of copies is a copy of the op.

    Where every operand is a copy along some axis, the op runs on the smaller shape.
    """
    if not node.args or not all(a.op.name in ("broadcast", "constant") for a in node.args):
        return None
    axes: set[int] = set()
    for a in node.args:
        if a.op.name == "broadcast":
            axes.update(a.attributes["axes"])
    rank = node.type.rank
    if len(axes) == rank or node.op.name == "stop_gradient":
        return None
    kept = tuple(sorted(axes))
    small = tuple(node.shape[i] for i in kept)
    graph = node.graph
    lowered = []
    for a in node.args:
        inner = a.args[0] if a.op.name == "broadcast" else a
        own = a.attributes["axes"] if a.op.name == "broadcast" else ()
        lowered.append(graph.broadcast(inner, small, tuple(kept.index(i) for i in own)))
    return graph.broadcast(graph.apply(node.op, tuple(lowered), node.attrs), node.shape, kept)


def _holds(wide: DType, narrow: DType) -> bool:
    """Tell whether every value of `narrow` is one of `wide`."""
    return wide is narrow or narrow is BOOL or bool(np.can_cast(narrow.numpy, wide.numpy, "safe"))


def _merge_casts(node: Node) -> Node | None:
    (x,) = node.args
    dtype = node.dtype
    if x.dtype is dtype:
        return x
    if x.op.name != "cast":
        return None
    source = x.args[0]
    rounds = node.attributes.get("rounds", True)
    # What is to be rounded may not have been: `widen` sees to it.
    if not _holds(x.dtype, source.dtype) or (
        rounds and node.dtype.is_half and source.dtype.is_half
    ):
        return None
    if source.dtype is dtype:
        return source
    return node.graph.call("cast", source, dtype=dtype, rounds=rounds)


def _select_constant(node: Node) -> Node | None:
    condition, a, b = node.args
    known = constant_value(condition)
    return None if known is None else a if known else b


_OTHERS: Final = (
    Step(("extent",), _fold_extent),
    Step(("iota",), _fold_counter),
    Step(("select",), _select_constant),
    Step(("cast",), _merge_casts),
    Step(("pointwise",), sink_broadcast),
)

FOLDING: Final = (
    Step(("pointwise",), _fold_exact), Step(("pointwise",), _fold, Keeps.REALS), *_OTHERS,
)  # fmt: skip

UNROUNDED: Final = (
    Step(("pointwise",), _fold_unrounded_exact), Step(("pointwise",), _fold_unrounded, Keeps.REALS),
    *_OTHERS,
)  # fmt: skip
"""Folding before it is decided which results are rounded to 16 bits: none is by folding."""
