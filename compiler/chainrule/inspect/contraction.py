"""Contractions as people write them: matrix products, dot and outer products, else indices."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.inspect import algebra
from chainrule.inspect.notation import Indexed, MatrixProduct, Outer, Transposed, Tree
from chainrule.inspect.place import Placed, aligned, extent_tree, place, summed, transposed
from chainrule.ir.graph import Node
from chainrule.ops.contract import free_axes

__all__ = ["contracted"]

Letters = tuple[int, ...]


def contracted(node: Node, a: Placed, b: Placed) -> Placed:
    """Return the formula of a contraction of two placed trees."""
    batch, sums = node.attributes["batch"], node.attributes["summed"]
    first, second = node.args
    # What only one operand shows is summed there; what none shows is a number of equal terms.
    pairs = list(zip(*sums, strict=True))
    scale: Tree = algebra.ONE
    for i, j in pairs:
        if i not in a.axes and j not in b.axes:
            scale = algebra.multiply(scale, extent_tree(first.shape[i]))
    alone_a = tuple(i for i, j in pairs if i in a.axes and j not in b.axes)
    alone_b = tuple(j for i, j in pairs if j in b.axes and i not in a.axes)
    a, b = _summed(a, first, alone_a), _summed(b, second, alone_b)
    letters_a, letters_b = _result_axes(first, second, batch, sums)
    for k, (i, j) in enumerate(pairs):
        letters_a[i] = letters_b[j] = node.type.rank + k
    of_a, of_b = tuple(letters_a[i] for i in a.axes), tuple(letters_b[j] for j in b.axes)
    used = sorted({*of_a, *of_b})
    axes = tuple(u for u in used if u < node.type.rank)
    short = {u: i for i, u in enumerate(used)}
    la, lb = tuple(short[i] for i in of_a), tuple(short[i] for i in of_b)
    if not la or not lb:
        return place(algebra.multiply(scale, a.tree, b.tree), axes)
    count = algebra.multiply(*(extent_tree(first.shape[i]) for i in sums[0] if i in a.axes))
    tree = algebra.linear(lambda p, q: _product(p, q, la, lb, len(axes), count), a.tree, b.tree)
    return place(algebra.multiply(scale, tree), axes)


def _result_axes(
    first: Node, second: Node, batch: tuple[Letters, Letters], sums: tuple[Letters, Letters]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return which axis of the result each batch and free axis of the operands becomes."""
    free_a = free_axes(first.type.rank, batch[0], sums[0])
    free_b = free_axes(second.type.rank, batch[1], sums[1])
    lead = len(batch[0])
    of_a = {i: k for k, i in enumerate((*batch[0], *free_a))}
    of_b = {j: k for k, j in enumerate(batch[1])}
    of_b |= {j: lead + len(free_a) + k for k, j in enumerate(free_b)}
    return of_a, of_b


def _summed(value: Placed, node: Node, axes: Letters) -> Placed:
    """Sum some axes; the others keep the numbers that they have in the node."""
    if not axes:
        return value
    kept = [i for i in range(node.type.rank) if i not in axes]
    tree, left = summed("sum", value, node.shape, axes)
    return Placed(tree, tuple(kept[i] for i in left))


def _product(a: Tree, b: Tree, la: Letters, lb: Letters, rank: int, count: Tree) -> Tree:
    """Write the product of two trees whose axes carry letters; those from `rank` on are summed."""
    sums = sorted({*la, *lb} - set(range(rank)))
    if not sums:
        return _unsummed(a, b, la, lb, rank)
    if len(sums) == 1 and sums[0] in la and sums[0] in lb:
        found = _matrix(a, b, la, lb, rank, sums[0])
        if found is not None:
            return found
    if rank == 0:
        other = b if la == lb else transposed(b) if la == lb[::-1] and len(lb) == 2 else None
        if other is not None:
            return algebra.reduced("sum", algebra.multiply(a, other), tuple(range(len(la))), count)
    return Indexed(((a, la), (b, lb)), rank)


def _unsummed(a: Tree, b: Tree, la: Letters, lb: Letters, rank: int) -> Tree:
    if len(la) == len(lb) == 1 and la != lb:
        return Outer(a, b) if la < lb else Outer(b, a)
    if sorted(la) == list(la) and sorted(lb) == list(lb):
        axes = range(rank)
        return algebra.multiply(aligned(Placed(a, la), axes), aligned(Placed(b, lb), axes))
    return Indexed(((a, la), (b, lb)), rank)


def _matrix(a: Tree, b: Tree, la: Letters, lb: Letters, rank: int, s: int) -> Tree | None:
    """Write a sum over one letter as NumPy's `@` with transposes, if it is one."""
    if (len(la), len(lb)) == (1, 1):
        return MatrixProduct((Transposed(a), b), 0)
    lead = rank - (len(la) > 1) - (len(lb) > 1)
    shared = tuple(range(lead))
    if len(la) > 2 and len(lb) <= 2:
        # Rows of any number of leading axes times one matrix or vector.
        left_lead: Letters = tuple(range(len(la) - 2))
        right_lead: Letters = ()
    else:
        left_lead = right_lead = shared
    left = _oriented(a, la, left_lead, s, last=True)
    right = _oriented(b, lb, right_lead, s, last=False)
    if left is None or right is None:
        return None
    rest = [i for i in (*la, *lb) if i != s and i >= lead]
    if len(la) > 2 and len(lb) <= 2:
        rest = [i for i in (*la, *lb) if i != s]
    if rest != list(range(rank - len(rest), rank)):
        return None
    return MatrixProduct((*_chain(left, first=True), *_chain(right, first=False)), rank)


def _oriented(tree: Tree, letters: Letters, lead: Letters, s: int, *, last: bool) -> Tree | None:
    """Put the summed letter last (first, for a right operand) of the last two axes."""
    own = letters[len(lead) :]
    if letters[: len(lead)] != lead or len(own) > 2 or s not in own:
        return None
    if len(own) == 1:
        return tree if not lead else None
    return tree if own[1 if last else 0] == s else transposed(tree)


def _chain(tree: Tree, *, first: bool) -> Sequence[Tree]:
    """Open a product of matrices inside a longer one, where reading on gives the same."""
    if isinstance(tree, MatrixProduct):
        inner = tree.factors[-1] if first else tree.factors[0]
        if inner.rank == 2 and tree.rank <= 2:
            return tree.factors
    return (tree,)
