"""Where an element comes from: following views down to memory or to what must be computed.

Indices are extents over loop variables, so a chain of views becomes one polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.ir.dims import (
    Atom,
    Extent,
    Monomial,
    Shape,
    names_of,
    normal,
    size_of,
    substitute_extent,
)  # fmt: skip
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind

__all__ = ["Index", "coefficient", "flat_offset", "follow", "peel", "squeeze", "strides_of"]

Index = tuple[Extent, ...]


def squeeze(shape: Shape) -> Shape:
    """Drop the axes of extent 1."""
    return tuple(e for e in shape if e != 1)


def peel(node: Node) -> Node:
    """Follow reshapes that only add or drop axes of extent 1."""
    while node.op.name == "reshape" and squeeze(node.args[0].shape) == squeeze(node.shape):
        node = node.args[0]
    return node


def flat_offset(shape: Shape, index: Index) -> Extent:
    """Return the number of the element `index` in row-major order."""
    total: Extent = 0
    for extent, i in zip(shape, index, strict=True):
        total = total * extent + i
    return total


def follow(node: Node, index: Index, stored: Callable[[Node], bool]) -> tuple[Node, Index | Extent]:
    """Follow views from element `index` of `node`.

    Returns a node in memory and the element's offset there, or the node to compute (pointwise,
    gather, or a source) and the index at which it is wanted.
    """
    while True:
        if stored(node):
            return node, flat_offset(node.shape, index)
        if node.op.kind is not Kind.VIEW:
            return node, index
        source = node.args[0]
        match node.op.name:
            case "broadcast":
                _, axes = node.attrs
                index = tuple(index[a] for a in axes)
            case "transpose":
                (axes,) = node.attrs
                back: list[Extent] = [0] * len(axes)
                for i, a in zip(index, axes, strict=True):
                    back[a] = i
                index = tuple(back)
            case "slice":
                starts, _, steps = node.attrs
                index = tuple(a + i * s for a, i, s in zip(starts, index, steps, strict=True))
            case _:
                if stored(source):
                    return source, flat_offset(node.shape, index)
                index = _reindex(node.shape, source.shape, index)
        node = source


def _reindex(shape: Shape, to: Shape, index: Index) -> Index:
    """Return the index in shape `to` of the element at `index` of `shape`, in row-major order.

    Runs of axes with equal products are treated apart, so quotients appear only where axes
    really are merged or split unevenly.  Of an axis without elements there is no index: what is
    returned still depends on the index given, so that no access leaves the loop that never turns.
    """
    result: list[Extent] = []
    i = j = 0
    while j < len(to):
        if to[j] == 1:
            result.append(0)
            j += 1
            continue
        first_i, first_j = i, j
        here: Extent = 1
        there: Extent = to[j]
        j += 1
        while here != there and (i < len(shape) or j < len(to)):
            if i < len(shape) and (j == len(to) or _not_larger(here, there)):
                here = here * shape[i]
                i += 1
            else:
                there = there * to[j]
                j += 1
        flat = flat_offset(shape[first_i:i], index[first_i:i])
        group = to[first_j:j]
        for k, extent in enumerate(group):
            below = size_of(group[k + 1 :])
            part = flat // below if below not in (0, 1) else flat
            result.append(part % extent if k and extent != 0 else part)
    return tuple(result)


def _not_larger(a: Extent, b: Extent) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a <= b
    return isinstance(a, int) or (
        not isinstance(b, int) and len(a.terms[0][0]) <= len(b.terms[0][0])
    )


def coefficient(extent: Extent, variable: str) -> Extent | None:
    """Return c where `extent` is c * variable + (something without it), else None."""
    if isinstance(extent, int):
        return 0
    found: dict[Monomial, int] = {}
    for monomial, number in extent.terms:
        if any(isinstance(f, Atom) and variable in names_of(f) for f in monomial):
            return None
        if variable in monomial:
            rest = list(monomial)
            rest.remove(variable)
            if variable in rest:
                return None
            found[tuple(rest)] = number
    return normal(found)


def strides_of(offset: Extent, variables: Sequence[str]) -> tuple[list[Extent], Extent] | None:
    """Return strides and base if `offset` is linear in the variables, else None."""
    strides: list[Extent] = []
    for v in variables:
        c = coefficient(offset, v)
        if c is None:
            return None
        strides.append(c)
    return strides, substitute_extent(offset, dict.fromkeys(variables, 0))
