"""`x.at[key]`: arrays with a part changed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np

import chainrule.frontend.known  # noqa: F401  (gives arrays known in a trace `.at`, too)
from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import IMPLEMENTATIONS
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    cast,
    node_of,
    reshape,
    stored,
)
from chainrule.frontend.value import describe
from chainrule.ir.dims import Shape, size_of
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.types import BOOL, F32, I32
from chainrule.numpy.indexing import checked, getitem, known_index
from chainrule.numpy.keys import Picked, parse
from chainrule.numpy.nodes import checked_broadcast, permuted

__all__ = ["updated"]

# Updates that read the part, change it and write it back.
_CHANGES: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "max": np.maximum,
    "min": np.minimum,
}


def updated(x: Array, key: Any, how: str, value: Any) -> Array:
    """Return `x` with the part `key` changed.

    Negative and positive indices may name one element twice: added values add up, of values set the
    last one counts.

    Raises:
        IndexError: An index is out of range.
        ShapeError: A mask does not have the leading axes of `x`.
        UnsupportedError: A product, quotient, power or extreme at indices that may be equal, or
            values of the elements' own at those of a mask.
    """
    node = x.node
    if isinstance(key, Array) and key.node.dtype is BOOL and key.node.type.rank:
        return _where_held(x, key, how, value)
    picked = parse(key, node)
    old = getitem(x, key)
    if how in _CHANGES:
        _refuse_repeats(picked, how)
        how, value = "set", _CHANGES[how](old, value)
    new = stored(as_operand(value), node.graph, node.dtype)
    new = broadcast_to_shape(new, checked_broadcast(new, old.node.shape))
    if picked.region.covers(node.shape) and not picked.arrays:
        value = reshape(new, node.shape)
        return Array(value if how == "set" else _sum(node, value))
    return Array(_written(node, picked, new, how, old.node))


IMPLEMENTATIONS["at"] = updated


def _where_held(x: Array, mask: Array, how: str, value: Any) -> Array:
    """Change the elements (or rows) that a mask over the leading axes holds for, all to one value.

    NumPy also takes a value for each of them: how many there are is not known here.
    """
    node, rank = x.node, mask.node.type.rank
    leading, rest = node.shape[:rank], node.shape[rank:]
    facts = (
        f"mask   {describe(mask.node)}", f"array  {describe(node)}", f"at     {user_line()}",
    )  # fmt: skip
    if mask.node.shape != leading:
        raise ShapeError(explain("a mask as an index has the leading axes of the array", *facts))
    if node_of(as_operand(value), node.graph).type.rank > len(rest):
        raise UnsupportedError(
            explain(
                f".at[mask].{how} takes one value for all elements of the mask", *facts,
                hint="for a value of each element's own, cnp.where(mask, value, x)",
            )
        )  # fmt: skip
    changed = value if how == "set" else _CHANGES.get(how, operator.add)(x, value)
    new = broadcast_to_shape(stored(as_operand(changed), node.graph, node.dtype), node.shape)
    held = node.graph.broadcast(mask.node, node.shape, tuple(range(rank)))
    return Array(node.graph.select(held, new, node))


def _refuse_repeats(picked: Picked, how: str) -> None:
    for _, index in picked.arrays:
        known = index if isinstance(index, np.ndarray) else None
        distinct = known is not None and len(np.unique(known)) == known.size
        if not distinct and np.ndim(index):
            raise UnsupportedError(
                explain(
                    f".at[...].{how} at indices that may be equal",
                    f"at  {user_line()}",
                    hint="use .add, or one index at a time",
                )
            )


def _sum(x: Node, value: Node) -> Node:
    return x | value if x.dtype is BOOL else x + value


def _written(node: Node, picked: Picked, new: Node, how: str, old: Node) -> Node:
    """Write or add at the places of an index; `old` is what is there."""
    graph, region = node.graph, picked.region
    axes = [a for a, _ in picked.arrays]
    rest = [a for a in range(node.type.rank) if a not in axes]
    found = [checked(i, node.shape[a], graph, a) for a, i in picked.arrays]
    common = broadcast_shape([i.shape for i in found]) if found else ()
    distinct = _all_distinct(picked, node, common)
    whole = all(region.shape[a] == node.shape[a] and region.steps[a] == 1 for a in rest)
    if how == "add" and len(axes) == 1 and whole and _is_zero(node):
        # Nothing but what is added: its derivative needs none of the zeros.
        return _scattered(node, found[0], axes[0], _arranged(node, picked, new, common))
    narrow = node.dtype is BOOL or node.dtype.is_half
    if how == "add" and narrow:
        if not distinct:
            return _added_wide(node, picked, new, old)
        how, new = "set", _sum(old, new)
    return graph.call(
        "update", node, _arranged(node, picked, new, common),
        *[broadcast_to_shape(i, common) for i in found], axes=tuple(axes), batch=0,
        starts=tuple([region.starts[a] for a in rest]),
        steps=tuple([region.steps[a] for a in rest]), how=how, distinct=distinct,
    )  # fmt: skip


def _added_wide(node: Node, picked: Picked, new: Node, old: Node) -> Node:
    """Add truth values and 16-bit numbers, at places that may be equal, as wider ones."""
    wide = I32 if node.dtype is BOOL else F32
    total = _written(cast(node, wide), picked, cast(new, wide), "add", cast(old, wide))
    return total > 0 if node.dtype is BOOL else cast(total, node.dtype)


def _is_zero(node: Node) -> bool:
    number = constant_value(node)
    return node.dtype.is_float and number == 0 and not str(number).startswith("-")


def _scattered(node: Node, index: Node, axis: int, rows: Node) -> Node:
    """Add rows at an index along one axis of zeros."""
    rank = node.type.rank
    total = node.graph.call("scatter_add", rows, index, size=node.shape[axis], batch=0)
    return permuted(total, [*range(1, axis + 1), 0, *range(axis + 1, rank)])


def _arranged(node: Node, picked: Picked, new: Node, common: Shape) -> Node:
    """Bring the axes of what `x[key]` is into the order index, other axes of x."""
    order: dict[int, int] = {}
    lead: list[int] = []
    at = 0
    for entry in picked.entries:
        if isinstance(entry, str):
            lead = list(range(at, at + len(common)))
            at += len(common)
        else:
            if entry is not None:
                order[entry] = at
            at += 1
    new_axes = [i for i, e in enumerate(_entry_axes(picked, common)) if e is None]
    value = permuted(new, [*lead, *(order[a] for a in sorted(order)), *new_axes])
    axes = [a for a, _ in picked.arrays]
    rest = [picked.region.shape[a] for a in range(node.type.rank) if a not in axes]
    return reshape(value, (*common, *rest))


def _entry_axes(picked: Picked, common: Shape) -> list[int | str | None]:
    """Return what each axis of `x[key]` is; the index's entry stands for all of its axes."""
    found: list[int | str | None] = []
    for entry in picked.entries:
        found += [entry] * len(common) if isinstance(entry, str) else [entry]
    return found


def _all_distinct(picked: Picked, node: Node, common: Shape) -> bool:
    """Tell whether no place is named twice, as far as that is known here."""
    if size_of(common) == 1 or not picked.arrays:
        return True
    known = [known_index(i) for _, i in picked.arrays]
    extents = [node.shape[a] for a, _ in picked.arrays]
    if any(i is None for i in known) or not all(isinstance(e, int) for e in extents):
        return False
    rows = [np.ravel(i % e) for i, e in zip(np.broadcast_arrays(*known), extents, strict=True)]
    return len(np.unique(np.stack(rows), axis=1).T) == rows[0].size
