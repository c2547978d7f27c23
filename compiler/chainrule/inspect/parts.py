"""Trees as coefficient * factors / over, and back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final, NamedTuple

from chainrule.inspect.notation import Number, Power, Product, Tree

__all__ = ["ONE", "ZERO", "Parts", "gather_powers", "is_negative", "join", "number", "power_of",
           "split"]  # fmt: skip

ONE: Final = Number(Fraction(1))
ZERO: Final = Number(Fraction(0))


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


def join(coefficient: Fraction, factors: Iterable[Tree], over: Iterable[Tree] = ()) -> Tree:
    """Put parts together without further thought."""
    factors, over = tuple(factors), tuple(over)
    if coefficient == 0:
        return ZERO
    if not factors and not over:
        return Number(coefficient)
    if coefficient == 1 and len(factors) == 1 and not over:
        return factors[0]
    return Product(coefficient, factors, over)


def power_of(tree: Tree) -> tuple[Tree, Fraction]:
    """Return the base and the whole positive exponent of a power; 1 for anything else."""
    if isinstance(tree, Power) and isinstance(tree.exponent, Number):
        exponent = tree.exponent.value
        if exponent.denominator == 1 and exponent > 0:
            return tree.base, exponent
    return tree, Fraction(1)


def gather_powers(factors: Iterable[Tree]) -> list[Tree]:
    """Write equal factors as powers, in order of first appearance."""
    total: dict[Tree, Fraction] = {}
    for factor in factors:
        base, exponent = power_of(factor)
        total[base] = total.get(base, Fraction(0)) + exponent
    return [b if e == 1 else Power(b, Number(e)) for b, e in total.items()]


def is_negative(tree: Tree) -> bool:
    """Tell whether a minus sign stands before a tree."""
    return split(tree).coefficient < 0
