"""Trees and the axes of a node they show: how broadcasting disappears from formulas.

A node often is constant along some of its axes.  Its tree then shows only the others, and an
operation on several nodes shows only the axes that any of them shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from chainrule.inspect import algebra
from chainrule.inspect.notation import (
    Applied,
    Expanded,
    Literal,
    MatrixProduct,
    Name,
    Number,
    Power,
    Product,
    Sliced,
    Sum,
    Transposed,
    Tree,
)
from chainrule.ir.dims import Dim, Extent, show_extent

__all__ = ["Placed", "aligned", "extent_tree", "frame", "full", "place", "shape_text", "summed",
           "transposed", "without_axis"]  # fmt: skip


class Placed(NamedTuple):
    """A tree whose axis i is axis `axes[i]` of the node; along the others it is constant."""

    tree: Tree
    axes: tuple[int, ...]


def place(tree: Tree, axes: Sequence[int]) -> Placed:
    """Return the tree with the axes it really shows, where algebra may have removed some."""
    axes = tuple(axes)[len(axes) - tree.rank :]
    mask = _shown(tree)
    if all(mask):
        return Placed(tree, axes)
    return Placed(_without(tree, mask), tuple(a for a, m in zip(axes, mask, strict=True) if m))


def _shown(tree: Tree) -> tuple[bool, ...]:
    match tree:
        case Expanded(_, kept):
            return kept
        case Sum(terms):
            return _union(terms, tree.rank)
        case Product(_, factors, over):
            return _union((*factors, *over), tree.rank)
        case Power(base, exponent):
            return _union((base, exponent), tree.rank)
    return (True,) * tree.rank


def _union(trees: Sequence[Tree], rank: int) -> tuple[bool, ...]:
    masks = [(False,) * (rank - t.rank) + _shown(t) for t in trees]
    return tuple(any(column) for column in zip(*masks, strict=True))


def _without(tree: Tree, mask: tuple[bool, ...]) -> Tree:
    """Remove the axes where the mask is false, along which the tree is constant."""
    own = mask[len(mask) - tree.rank :]
    if all(own):
        return tree
    match tree:
        case Expanded(body, kept):
            left = tuple(k for k, m in zip(kept, own, strict=True) if m)
            return body if all(left) else Expanded(body, left)
        case Sum(terms):
            return Sum(tuple(_without(t, own) for t in terms))
        case Product(coefficient, factors, over):
            return Product(
                coefficient, tuple(_without(f, own) for f in factors),
                tuple(_without(o, own) for o in over),
            )  # fmt: skip
        case Power(base, exponent):
            return Power(_without(base, own), _without(exponent, own))
    return tree


def frame(values: Sequence[Placed]) -> tuple[int, ...]:
    """Return the axes that any of the values shows."""
    return tuple(sorted({a for v in values for a in v.axes}))


def aligned(value: Placed, axes: Sequence[int]) -> Tree:
    """Return the tree with new axes, so that it broadcasts against others that show `axes`."""
    kept = tuple(a in value.axes for a in axes)
    # Leading axes are new without being written.
    while kept and not kept[0]:
        kept = kept[1:]
    if all(kept):
        return value.tree
    return algebra.linear(lambda tree: Expanded(tree, kept), value.tree)


def full(value: Placed, shape: Sequence[Extent]) -> Tree:
    """Return a tree that shows every axis of a node of this shape."""
    if len(value.axes) == len(shape):
        return value.tree
    tree = aligned(value, range(len(shape)))
    return Applied("broadcast", (tree, Literal(shape_text(shape))), len(shape))


def shape_text(shape: Sequence[Extent]) -> str:
    """Print a shape as a Python tuple."""
    return "(" + ", ".join(map(show_extent, shape)) + ("," if len(shape) == 1 else "") + ")"


def extent_tree(extent: Extent) -> Tree:
    """Return an extent as a formula over its named dims."""
    if not isinstance(extent, Dim):
        return Number(Fraction(extent))
    terms = []
    for monomial, coefficient in extent.terms:
        factors: list[Tree] = [
            Name(f, 0, extent=True) if isinstance(f, str)
            else Applied(f.kind, (extent_tree(f.left), extent_tree(f.right)), 0)
            for f in monomial
        ]  # fmt: skip
        terms.append(algebra.multiply(algebra.number(coefficient), *factors))
    return algebra.add(*terms)


def summed(function: str, value: Placed, shape: Sequence[Extent], axes: Sequence[int]) -> Placed:
    """Reduce axes of a node; what is constant along one is not reduced but, in a sum, repeated."""
    hit = tuple(i for i, a in enumerate(value.axes) if a in axes)
    kept = [i for i in range(len(shape)) if i not in axes]
    left: tuple[int, ...] = tuple(kept.index(a) for a in value.axes if a not in axes)
    tree = value.tree
    if hit:
        count = algebra.multiply(*(extent_tree(shape[value.axes[i]]) for i in hit))
        tree = algebra.reduced(function, tree, hit, count)
    if function == "sum":
        missed = [extent_tree(shape[a]) for a in axes if a not in value.axes]
        tree = algebra.multiply(*missed, tree)
    return place(tree, left)


def transposed(tree: Tree) -> Tree:
    """Exchange the last two axes, in the form with fewer signs."""
    return algebra.linear(_transposed, tree)


def _transposed(tree: Tree) -> Tree:
    if isinstance(tree, Transposed):
        return tree.body
    if isinstance(tree, MatrixProduct) and all(f.rank == 2 for f in tree.factors):
        signs = sum(isinstance(f, Transposed) for f in tree.factors)
        if signs:
            return MatrixProduct(tuple(map(_transposed, reversed(tree.factors))), tree.rank)
    return Transposed(tree)


def without_axis(tree: Tree, axis: int) -> Tree:
    """Drop an axis of extent 1 that the tree shows."""
    if isinstance(tree, Sliced) and isinstance(tree.index, tuple):
        # A slice a:a+1 that is dropped is the index a.
        shown = [i for i, text in enumerate(tree.index) if ":" in text]
        index = list(tree.index)
        start = index[shown[axis]].split(":")[0]
        index[shown[axis]] = start or "0"
        return Sliced(tree.body, tuple(index), tree.rank - 1)
    index = [":"] * tree.rank
    index[axis] = "0"
    return algebra.linear(lambda t: Sliced(t, tuple(index), t.rank - 1), tree)
