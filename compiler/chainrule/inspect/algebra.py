"""Building notation trees with the algebra people do in their heads.

Every function here is exact for real numbers: signs and numbers move to the front, equal factors
become powers, like terms are collected, common factors taken out, sums over n divided by n become
means.  Nothing is cancelled that could be zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from chainrule.inspect.notation import (
    Applied,
    Compared,
    Expanded,
    Indicator,
    MatrixProduct,
    Name,
    Number,
    Power,
    Product,
    Reduced,
    Sum,
    Transposed,
    Tree,
    leaves,
)

__all__ = ["ONE", "ZERO", "add", "divide", "expand", "linear", "multiply", "number", "power",
           "reduced", "root", "split", "subtract"]  # fmt: skip

ONE: Final = Number(Fraction(1))
ZERO: Final = Number(Fraction(0))
MONOMIALS: Final = 16
"Expanding stops when a sum would have more terms than this."


class Parts(NamedTuple):
    """A tree as coefficient * factors / over."""

    coefficient: Fraction
    factors: tuple[Tree, ...]
    over: tuple[Tree, ...]


def number(value: Fraction | int) -> Number:
    """Return the tree of a number."""
    return Number(Fraction(value))


def split(tree: Tree) -> Parts:
    """Take a tree apart; what is no product is a single factor."""
    match tree:
        case Number(value):
            return Parts(value, (), ())
        case Product(coefficient, factors, over):
            return Parts(coefficient, factors, over)
    return Parts(Fraction(1), (tree,), ())


def _join(coefficient: Fraction, factors: Iterable[Tree], over: Iterable[Tree] = ()) -> Tree:
    """Put parts together without further thought."""
    factors, over = tuple(factors), tuple(over)
    if coefficient == 0:
        return ZERO
    if not factors and not over:
        return Number(coefficient)
    if coefficient == 1 and len(factors) == 1 and not over:
        return factors[0]
    return Product(coefficient, factors, over)


def _power_of(tree: Tree) -> tuple[Tree, Fraction]:
    if isinstance(tree, Power) and isinstance(tree.exponent, Number):
        exponent = tree.exponent.value
        if exponent.denominator == 1 and exponent > 0:
            return tree.base, exponent
    return tree, Fraction(1)


def _gather_powers(factors: Iterable[Tree]) -> list[Tree]:
    """Write equal factors as powers, in order of first appearance."""
    total: dict[Tree, Fraction] = {}
    for factor in factors:
        base, exponent = _power_of(factor)
        total[base] = total.get(base, Fraction(0)) + exponent
    return [b if e == 1 else Power(b, Number(e)) for b, e in total.items()]


def multiply(*trees: Tree, over: Sequence[Tree] = ()) -> Tree:
    """Return the product of `trees` divided by each of `over`.

    >>> x = Name("x")
    >>> multiply(number(2), x, x) == Product(Fraction(2), (Power(x, number(2)),))
    True
    """
    coefficient, factors, below = Fraction(1), [], []
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
    common = Counter(f for f in factors if isinstance(f, Name) and f.extent) & Counter(below)
    for name in common.elements():
        factors.remove(name)
        below.remove(name)
    coefficient, factors, below = _roots(coefficient, factors, below)
    coefficient, factors, below = _means(coefficient, factors, below)
    factors = _without_masks(factors)
    if coefficient < 0:
        for i, factor in enumerate(factors):
            flipped = _flipped(factor)
            if flipped is not None:
                coefficient, factors[i] = -coefficient, flipped
                break
    return _join(coefficient, _gather_powers(factors), _gather_powers(below))


def root(radicand: Fraction, pi: int = 0) -> Tree:
    """Return √(radicand π**pi), squares taken out, in the form with the root above the line.

    >>> root(Fraction(1, 2)) == divide(ONE, Applied("sqrt", (number(2),), 0))
    True
    """
    top, p = _square(radicand.numerator)
    bottom, q = _square(radicand.denominator)
    circle = (Name("π", 0, extent=True),)
    above = _join(Fraction(p), circle if pi > 0 else ())
    below = _join(Fraction(q), circle if pi < 0 else ())
    factors: tuple[Tree, ...] = ()
    over: tuple[Tree, ...] = ()
    if above != ONE and below != ONE:
        inside = _join(Fraction(p, q), circle if pi > 0 else (), circle if pi < 0 else ())
        factors = (Applied("sqrt", (inside,), 0),)
    elif above != ONE:
        factors = (Applied("sqrt", (above,), 0),)
    elif below != ONE:
        over = (Applied("sqrt", (below,), 0),)
    return _join(Fraction(top, bottom), factors, over)


def _square(n: int) -> tuple[int, int]:
    """Split n into a square's root and the rest."""
    taken, k = 1, 2
    while k * k <= n:
        while n % (k * k) == 0:
            n //= k * k
            taken *= k
        k += 1
    return taken, n


def _radicand(tree: Tree) -> tuple[Fraction, int] | None:
    """Return r and k of a constant √(r π**k)."""
    if not isinstance(tree, Applied) or tree.function != "sqrt":
        return None
    c, factors, over = split(tree.arguments[0])
    circle = Name("π", 0, extent=True)
    if set(factors) | set(over) <= {circle} and len(factors) + len(over) < 2:
        return c, len(factors) - len(over)
    return None


def _roots(
    coefficient: Fraction, factors: list[Tree], over: list[Tree]
) -> tuple[Fraction, list[Tree], list[Tree]]:
    """Multiply constant roots with one another."""
    above = [(f, _radicand(f)) for f in factors]
    below = [(o, _radicand(o)) for o in over]
    constants = [(r, 1) for _, r in above if r] + [(r, -1) for _, r in below if r]
    if len(constants) < 2:
        return coefficient, factors, over
    inside, pi = Fraction(1), 0
    for (r, k), sign in constants:
        inside *= r if sign > 0 else 1 / r
        pi += sign * k
    circle = Name("π", 0, extent=True)
    whole = [circle] * (abs(pi) // 2)
    c, more, under = split(root(inside, pi % 2 if pi > 0 else -(-pi % 2)))
    factors = [f for f, r in above if not r] + [*more, *(whole if pi > 0 else ())]
    over = [o for o, r in below if not r] + [*under, *(whole if pi < 0 else ())]
    return coefficient * c, factors, over


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
        if count.over or count.factors == () and count.coefficient == 1:
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


def _negative(tree: Tree) -> bool:
    return split(tree).coefficient < 0


def _flipped(tree: Tree) -> Tree | None:
    """Return -tree where that is at least as easy to read: -(a - b) is b - a."""
    match tree:
        case Sum(terms) if any(map(_negative, terms)):
            return add(*(multiply(number(-1), t) for t in terms))
        case MatrixProduct(factors, rank):
            for i, factor in enumerate(factors):
                flipped = _flipped(factor)
                if flipped is not None and not _negative(flipped):
                    return MatrixProduct((*factors[:i], flipped, *factors[i + 1 :]), rank)
        case Reduced(function, body, axes, count) if function in ("sum", "mean"):
            flipped = _flipped(body)
            if flipped is not None and not _negative(flipped):
                return Reduced(function, flipped, axes, count)
    return None


def power(base: Tree, exponent: Tree) -> Tree:
    """Return base ** exponent; powers of powers and of products are left as they are."""
    if exponent == ONE:
        return base
    if isinstance(exponent, Number):
        if exponent.value == 0:
            return ONE
        if isinstance(base, Number) and exponent.value.denominator == 1:
            if base.value != 0 or exponent.value > 0:
                return Number(base.value ** int(exponent.value))
        if exponent.value == -1:
            return divide(ONE, base)
        if exponent.value < 0 and exponent.value.denominator == 1:
            return divide(ONE, power(base, Number(-exponent.value)))
        inner, known = _power_of(base)
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
        return _join(*collected[0]) if collected else ZERO
    kept = _factored(collected)
    if any(isinstance(f, Sum) for p in collected for f in p.factors):
        short = expand(collected)
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
        _join(p.coefficient / common, _without(p.factors, factors), _without(p.over, over))
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
        if isinstance(t, Name | Expanded) and t.rank < rank and not _negative(t)
    ]  # fmt: skip
    positive = [t for t in terms if not _negative(t) and t not in late]
    if late and positive:
        return [*positive, *late, *(t for t in terms if _negative(t))]
    first = next((t for t in terms if not _negative(t)), terms[0])
    return [first, *(t for t in terms if t is not first)]


def expand(parts: Sequence[Parts]) -> Tree | None:
    """Multiply sums out and collect; None where there are too many terms."""
    monomials: list[Parts] = []
    for c, factors, over in parts:
        rows = [Parts(c, (), over)]
        for factor in factors:
            base, exponent = _power_of(factor)
            inner = base.terms if isinstance(base, Sum) and exponent == 1 else (factor,)
            rows = [_product(r, split(t)) for r in rows for t in inner]
            if len(rows) > MONOMIALS:
                return None
        monomials += rows
    if any(isinstance(f, Sum) for p in monomials for f in p.factors):
        return None
    collected = _collect(_join(c, sorted(_gather_powers(f), key=repr), o) for c, f, o in monomials)
    if not collected:
        return ZERO
    return _join(*collected[0]) if len(collected) == 1 else _factored(collected)


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
        inside.append(_join(Fraction(1), _without(factors, scalars), _without(over, under)))
    return multiply(*outside, build(*inside), over=below)


def reduced(function: str, body: Tree, axes: tuple[int, ...], count: Tree) -> Tree:
    """Return a reduction; sums let constants out."""
    if function != "sum":
        return Reduced(function, body, axes, count)

    def build(inside: Tree) -> Tree:
        if isinstance(inside, Transposed) and len(axes) == 2 and inside.rank == 2:
            inside = inside.body
        if isinstance(inside, Applied) and inside.function == "onehot":
            # Each row holds a single 1.
            if axes == (inside.rank - 1,):
                return ONE
        return Reduced("sum", inside, axes, count)

    if isinstance(body, Sum) and any(map(_has_onehot, body.terms)):
        if all(t.rank == 0 or _solid(t, body.rank) for t in body.terms):
            return add(*(reduced("sum", t, axes, count) if t.rank else multiply(count, t)
                         for t in body.terms))  # fmt: skip
    return linear(build, body)


def _solid(tree: Tree, rank: int) -> bool:
    """Tell whether a factor shows all axes by itself, so that none is only broadcast."""
    return any(f.rank == rank and not isinstance(f, Expanded | Sum) for f in split(tree).factors)


def _has_onehot(tree: Tree) -> bool:
    return any(isinstance(f, Applied) and f.function == "onehot" for f in split(tree).factors)
