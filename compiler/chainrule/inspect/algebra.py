"""Building notation trees with the algebra people do in their heads.

Every function here is exact for real numbers: signs and numbers move to the front, equal factors
become powers, like terms are collected, common factors taken out, sums over n divided by n become
means.  Nothing is cancelled that could be zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Final

from chainrule.inspect.notation import (
    Applied,
    Compared,
    Expanded,
    Indicator,
    MatrixProduct,
    Name,
    Number,
    Power,
    Reduced,
    Sum,
    Transposed,
    Tree,
    leaves,
)
from chainrule.inspect.parts import (
    ONE,
    ZERO,
    Parts,
    gather_powers,
    is_negative,
    join,
    number,
    power_of,
    split,
)
from chainrule.inspect.roots import merged_roots

__all__ = ["ONE", "ZERO", "add", "divide", "linear", "multiply", "number", "power", "reduced",
           "split", "subtract"]  # fmt: skip

MONOMIALS: Final = 16
"Expanding stops when a sum would have more terms than this."


def multiply(*trees: Tree, over: Sequence[Tree] = ()) -> Tree:
    """Return the product of `trees` divided by each of `over`.

    >>> x = Name("x")
    >>> multiply(number(2), x, x) == multiply(number(2), Power(x, number(2)))
    True
    """
    coefficient = Fraction(1)
    factors: list[Tree] = []
    below: list[Tree] = []
    for tree in trees:
        c, f, o = split(tree)
        coefficient *= c
        factors += f
        below += o
    for tree in over:
        c, f, o = split(tree)
        if c == 0:
            below.append(ZERO)
        else:
            coefficient /= c
        below += f
        factors += o
    # A named extent is positive, so it may cancel.
    extents: list[Tree] = [f for f in factors if isinstance(f, Name) and f.extent]
    common = Counter(extents) & Counter(below)
    for name in common.elements():
        factors.remove(name)
        below.remove(name)
    coefficient, factors, below = merged_roots(coefficient, factors, below)
    coefficient, factors, below = _means(coefficient, factors, below)
    factors = _without_masks(factors)
    if coefficient < 0:
        for i, factor in enumerate(factors):
            flipped = _flipped(factor)
            if flipped is not None:
                coefficient, factors[i] = -coefficient, flipped
                break
    return join(coefficient, gather_powers(factors), gather_powers(below))


def _without_masks(factors: list[Tree]) -> list[Tree]:
    """Drop [x != 0] beside a factor x, which is 0 there anyway."""
    return [
        f for f in factors
        if not (
            isinstance(f, Indicator) and isinstance(f.condition, Compared)
            and f.condition.sign == "!=" and f.condition.right == ZERO
            and f.condition.left in factors
        )
    ]  # fmt: skip


def divide(a: Tree, b: Tree) -> Tree:
    """Return a / b."""
    return multiply(a, over=(b,))


def _means(
    coefficient: Fraction, factors: list[Tree], over: list[Tree]
) -> tuple[Fraction, list[Tree], list[Tree]]:
    """Turn a sum of n elements divided by n into a mean."""
    for i, factor in enumerate(factors):
        if not isinstance(factor, Reduced) or factor.function != "sum":
            continue
        count = split(factor.count)
        if count.over or count == Parts(Fraction(1), (), ()):
            continue
        # The number in n = 10 batch must divide out, the names must stand below.
        smaller = coefficient * count.coefficient
        divides = count.coefficient == 1 or smaller.denominator < coefficient.denominator
        if Counter(count.factors) - Counter(over) or not divides:
            continue
        left = list((Counter(over) - Counter(count.factors)).elements())
        mean = Reduced("mean", factor.body, factor.axes, factor.count)
        return smaller, [*factors[:i], mean, *factors[i + 1 :]], left
    return coefficient, factors, over


def _flipped(tree: Tree) -> Tree | None:
    """Return -tree where that is at least as easy to read: -(a - b) is b - a."""
    match tree:
        case Sum(terms) if any(map(is_negative, terms)):
            return add(*(multiply(number(-1), t) for t in terms))
        case MatrixProduct(factors, rank):
            for i, factor in enumerate(factors):
                flipped = _flipped(factor)
                if flipped is not None and not is_negative(flipped):
                    return MatrixProduct((*factors[:i], flipped, *factors[i + 1 :]), rank)
        case Reduced(function, body, axes, count) if function in ("sum", "mean"):
            flipped = _flipped(body)
            if flipped is not None and not is_negative(flipped):
                return Reduced(function, flipped, axes, count)
    return None


def power(base: Tree, exponent: Tree) -> Tree:
    """Return base ** exponent; powers of powers and of products are left as they are."""
    if exponent == ONE:
        return base
    if isinstance(exponent, Number):
        if exponent.value == 0:
            return ONE
        whole = exponent.value.denominator == 1
        if isinstance(base, Number) and whole and (base.value != 0 or exponent.value > 0):
            return Number(base.value ** int(exponent.value))
        if exponent.value == -1:
            return divide(ONE, base)
        if exponent.value < 0 and exponent.value.denominator == 1:
            return divide(ONE, power(base, Number(-exponent.value)))
        inner, known = power_of(base)
        if known != 1 and exponent.value.denominator == 1 and exponent.value > 0:
            return Power(inner, Number(known * exponent.value))
    return Power(base, exponent)


def subtract(a: Tree, b: Tree) -> Tree:
    """Return a - b."""
    return add(a, multiply(number(-1), b))


def add(*trees: Tree) -> Tree:
    """Return the sum, like terms collected and common factors in front.

    >>> x, y, n = Name("x"), Name("y"), Name("n")
    >>> add(divide(x, n), divide(y, n)) == divide(Sum((x, y)), n)
    True
    """
    terms: list[Tree] = []
    for tree in trees:
        terms += tree.terms if isinstance(tree, Sum) else _distributed(tree)
    collected = _collect(terms)
    if len(collected) < 2:
        return join(*collected[0]) if collected else ZERO
    kept = _factored(collected)
    if any(isinstance(f, Sum) for p in collected for f in p.factors):
        short = _expanded(collected)
        if short is not None and leaves(short) < leaves(kept):
            return short
    return kept


def _distributed(tree: Tree) -> tuple[Tree, ...]:
    """Take -(a + b) or 2 (a + b) among the terms of a sum apart."""
    c, factors, over = split(tree)
    if len(factors) == 1 and not over and isinstance(factors[0], Sum):
        return tuple(multiply(Number(c), t) for t in factors[0].terms)
    return (tree,)


def _collect(terms: Iterable[Tree]) -> list[Parts]:
    found: dict[tuple[frozenset[tuple[Tree, int]], frozenset[tuple[Tree, int]]], Parts] = {}
    for term in terms:
        c, factors, over = split(term)
        key = frozenset(Counter(factors).items()), frozenset(Counter(over).items())
        if key in found:
            known = found[key]
            found[key] = known._replace(coefficient=known.coefficient + c)
        else:
            found[key] = Parts(c, factors, over)
    return [p for p in found.values() if p.coefficient != 0]


def _factored(parts: list[Parts]) -> Tree:
    """Take out what all terms share: factors, denominators, an equal number."""
    over = _shared([p.over for p in parts])
    factors = _shared([p.factors for p in parts])
    # x y + x stays: x (y + 1) is no clearer, unless x is long.
    bare = any(len(p.factors) == len(factors) for p in parts)
    if bare and sum(map(leaves, factors)) <= 2:
        factors = []
    sizes = {abs(p.coefficient) for p in parts}
    short = factors or over or all(len(p.factors) < 2 and not p.over for p in parts)
    # 2 (x - y), but 2 λ w + 2 x: long terms keep their numbers.
    common = sizes.pop() if len(sizes) == 1 and short else Fraction(1)
    if all(p.coefficient < 0 for p in parts):
        common = -common
    inner = [
        join(p.coefficient / common, _without(p.factors, factors), _without(p.over, over))
        for p in parts
    ]
    body = Sum(tuple(_ordered(inner)))
    if common == 1 and not factors and not over:
        return body
    return multiply(Number(common), *factors, body, over=over)


def _shared(groups: Sequence[Sequence[Tree]]) -> list[Tree]:
    common = Counter(groups[0])
    for group in groups[1:]:
        common &= Counter(group)
    return list(common.elements())


def _without(trees: Iterable[Tree], taken: Iterable[Tree]) -> list[Tree]:
    left = list(trees)
    for one in taken:
        left.remove(one)
    return left


def _ordered(terms: Sequence[Tree]) -> list[Tree]:
    """Put a positive term first, and what is only broadcast behind it: x W + b − y."""
    rank = max(t.rank for t in terms)
    late = [
        t for t in terms
        if isinstance(t, Name | Expanded) and t.rank < rank and not is_negative(t)
    ]  # fmt: skip
    positive = [t for t in terms if not is_negative(t) and t not in late]
    if late and positive:
        return [*positive, *late, *(t for t in terms if is_negative(t))]
    first = next((t for t in terms if not is_negative(t)), terms[0])
    return [first, *(t for t in terms if t is not first)]


def _expanded(parts: Sequence[Parts]) -> Tree | None:
    """Multiply sums out and collect; None where there are too many terms."""
    monomials: list[Parts] = []
    for c, factors, over in parts:
        rows = [Parts(c, (), over)]
        for factor in factors:
            base, exponent = power_of(factor)
            inner = base.terms if isinstance(base, Sum) and exponent == 1 else (factor,)
            rows = [_product(r, split(t)) for r in rows for t in inner]
            if len(rows) > MONOMIALS:
                return None
        monomials += rows
    if any(isinstance(f, Sum) for p in monomials for f in p.factors):
        return None
    collected = _collect(join(c, sorted(gather_powers(f), key=repr), o) for c, f, o in monomials)
    if not collected:
        return ZERO
    return join(*collected[0]) if len(collected) == 1 else _factored(collected)


def _product(a: Parts, b: Parts) -> Parts:
    return Parts(a.coefficient * b.coefficient, (*a.factors, *b.factors), (*a.over, *b.over))


def linear(build: Callable[..., Tree], *trees: Tree) -> Tree:
    """Apply a function that is linear in each tree, with numbers and scalars moved out of it."""
    outside: list[Tree] = []
    below: list[Tree] = []
    inside: list[Tree] = []
    for tree in trees:
        c, factors, over = split(tree)
        scalars = [f for f in factors if f.rank == 0]
        under = [o for o in over if o.rank == 0]
        if tree.rank == 0:
            inside.append(tree)
            continue
        if c == 0:
            return ZERO
        outside += [Number(c), *scalars]
        below += under
        inside.append(join(Fraction(1), _without(factors, scalars), _without(over, under)))
    return multiply(*outside, build(*inside), over=below)


def reduced(function: str, body: Tree, axes: tuple[int, ...], count: Tree) -> Tree:
    """Return a reduction; sums let constants out."""
    if function != "sum":
        return Reduced(function, body, axes, count)

    def build(inside: Tree) -> Tree:
        if isinstance(inside, Transposed) and len(axes) == 2 and inside.rank == 2:
            inside = inside.body
        # Each row of onehot holds a single 1.
        if _has_onehot(inside) and isinstance(inside, Applied) and axes == (inside.rank - 1,):
            return ONE
        return Reduced("sum", inside, axes, count)

    if (
        isinstance(body, Sum)
        and any(map(_has_onehot, body.terms))
        and all(t.rank == 0 or _solid(t, body.rank) for t in body.terms)
    ):
        return add(*(reduced("sum", t, axes, count) if t.rank else multiply(count, t)
                         for t in body.terms))  # fmt: skip
    return linear(build, body)


def _solid(tree: Tree, rank: int) -> bool:
    """Tell whether a factor shows all axes by itself, so that none is only broadcast."""
    return any(f.rank == rank and not isinstance(f, Expanded | Sum) for f in split(tree).factors)


def _has_onehot(tree: Tree) -> bool:
    return any(isinstance(f, Applied) and f.function == "onehot" for f in split(tree).factors)
