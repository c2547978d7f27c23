"""Square roots of constants: √2, √(2 π)."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from chainrule.inspect.notation import Applied, Name, Tree
from chainrule.inspect.parts import ONE, join, split

__all__ = ["PI", "merged_roots", "root"]

PI: Final = Name("π", 0, extent=True)
"Positive, as extents are, so it may cancel."


def root(radicand: Fraction, pi: int = 0) -> Tree:
    """Return √(radicand π**pi), squares taken out, in the form with the root above the line.

    >>> from chainrule.inspect.notation import Number, Product
    >>> two = Applied("sqrt", (Number(Fraction(2)),), 0)
    >>> root(Fraction(1, 2)) == Product(Fraction(1), (), (two,))
    True
    """
    top, p = _square(radicand.numerator)
    bottom, q = _square(radicand.denominator)
    circle = (PI,)
    above = join(Fraction(p), circle if pi > 0 else ())
    below = join(Fraction(q), circle if pi < 0 else ())
    factors: tuple[Tree, ...] = ()
    over: tuple[Tree, ...] = ()
    if ONE not in (above, below):
        inside = join(Fraction(p, q), circle if pi > 0 else (), circle if pi < 0 else ())
        factors = (Applied("sqrt", (inside,), 0),)
    elif above != ONE:
        factors = (Applied("sqrt", (above,), 0),)
    elif below != ONE:
        over = (Applied("sqrt", (below,), 0),)
    return join(Fraction(top, bottom), factors, over)


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
    if set(factors) | set(over) <= {PI} and len(factors) + len(over) < 2:
        return c, len(factors) - len(over)
    return None


def merged_roots(
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
    whole = [PI] * (abs(pi) // 2)
    c, more, under = split(root(inside, pi % 2 if pi > 0 else -(-pi % 2)))
    factors = [f for f, r in above if not r] + [*more, *(whole if pi > 0 else ())]
    over = [o for o, r in below if not r] + [*under, *(whole if pi < 0 else ())]
    return coefficient * c, factors, over
