"""What is certain of extents whatever the dims turn out to be.

Sizes are polynomials over named dims, so they can be negative at run time although no dim is.  Here
is the prover that settles most of them beforehand; it is sound and not complete: what it cannot
prove is guarded when the compiled function is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from chainrule.ir.dims import (
    Atom,
    Dim,
    Extent,
    Factor,
    Monomial,
    evaluate_extent,
    names_of,
)

__all__ = ["never_negative"]

_TRIED: Final = (0, 1, 7, 1 << 20)
"Numbers for all dims that show most of what is not certain, before a proof is looked for."
_DEPTH: Final = 3
"Case distinctions and facts that one proof may use: each can double the work."


def never_negative(extent: Extent, facts: Sequence[Extent] = ()) -> bool:
    """Tell whether an extent is certainly at least 0, given that dims and `facts` are.

    Exponential in the number of `min`, `max`, `//` and `%` up to a small depth; of plain
    polynomials without facts it is one look at the signs.
    """
    if isinstance(extent, int):
        return extent >= 0
    given = tuple(facts)
    return not _refuted(extent, given) and _proved(extent, given, _DEPTH)


def _refuted(extent: Dim, facts: Sequence[Extent]) -> bool:
    """Tell whether dims are at hand for which the facts hold and the extent is negative."""
    names = set[str]().union(*(names_of(e) for e in (extent, *facts)))
    for number in _TRIED:
        dims = dict.fromkeys(names, number)
        try:
            if evaluate_extent(extent, dims) < 0 and all(
                evaluate_extent(f, dims) >= 0 for f in facts
            ):
                return True
        except ZeroDivisionError:
            continue
    return False


def _proved(extent: Extent, facts: tuple[Extent, ...], depth: int) -> bool:
    if isinstance(extent, int):
        return extent >= 0
    if all(c > 0 and _factors_signed(m, facts, depth) for m, c in extent.terms):
        return True
    if any(isinstance(more := extent - f, int) and more >= 0 for f in facts):
        return True
    if depth == 0:
        return False
    atom = next((f for m, _ in extent.terms for f in m if isinstance(f, Atom)), None)
    if atom is not None and _by_atom(extent, atom, facts, depth - 1):
        return True
    return any(_proved(e, facts, depth - 1) for e in _eliminated(extent, facts))


def _factors_signed(factors: Monomial, facts: tuple[Extent, ...], depth: int) -> bool:
    return all(isinstance(f, str) or _atom_signed(f, facts, depth) for f in factors)


def _atom_signed(atom: Atom, facts: tuple[Extent, ...], depth: int) -> bool:
    """Tell whether an atom alone is never negative."""
    if depth == 0:
        return False
    left, right = (_proved(e, facts, depth - 1) for e in (atom.left, atom.right))
    if atom.kind == "mod":
        return right  # of the divisor's sign, as Python's
    return left or right if atom.kind == "max" else left and right


def _by_atom(extent: Dim, atom: Atom, facts: tuple[Extent, ...], depth: int) -> bool:
    """Prove an extent by what an atom in it can be."""
    a, b = atom.left, atom.right

    def with_(value: Extent, *more: Extent) -> bool:
        return _proved(_replaced(extent, atom, value), (*facts, *more), depth)

    match atom.kind:
        case "max":
            return with_(a, a - b) and with_(b, b - a)
        case "min":
            return with_(a, b - a) and with_(b, a - b)
        case "mod":
            # Somewhere between the ends, and every polynomial of degree 1 is least at one of them.
            return _is_linear(extent, atom) and with_(0) and with_(b - 1, b - 1)
    return _by_quotient(extent, atom, lambda e: _proved(e, facts, depth))


def _by_quotient(extent: Dim, atom: Atom, proved: Callable[[Extent], bool]) -> bool:
    """Prove an extent from (a - b + 1)/b <= a//b <= a/b, for a number b."""
    a, b = atom.left, atom.right
    if not _is_linear(extent, atom):
        return False
    rest = _replaced(extent, atom, 0)
    times = sum(c for m, c in extent.terms if atom in m)
    if not isinstance(b, int):
        # a//b >= 0 where a is: all that is known of a divisor is that it is positive.
        return times > 0 and proved(a) and proved(rest)
    if b <= 0:
        return False
    least = a - (b - 1) if times > 0 else a
    return proved(least * times + rest * b)


def _is_linear(extent: Dim, atom: Atom) -> bool:
    return all(m == (atom,) for m, _ in extent.terms if atom in m)


def _replaced(extent: Dim, atom: Atom, value: Extent) -> Extent:
    total: Extent = 0
    for m, c in extent.terms:
        product: Extent = c
        for f in m:
            product = product * (value if f == atom else Dim((((f,), 1),)))
        total = total + product
    return total


def _eliminated(extent: Dim, facts: tuple[Extent, ...]) -> list[Extent]:
    """Return what remains to be proved after a fact has cancelled a negative term."""
    found: list[Extent] = []
    for m, c in extent.terms:
        if c > 0:
            continue
        for fact in facts:
            for own, d in fact.terms if isinstance(fact, Dim) else ():
                left = _without(m, own)
                if d < 0 and left is not None:
                    cofactor: Extent = Dim(((left, 1),)) if left else 1
                    found.append(extent * -d + fact * cofactor * c)
        break  # every negative term has to go: begin with the first
    return found


def _without(factors: Monomial, part: Monomial) -> tuple[Factor, ...] | None:
    """Return a monomial divided by another, unless something of that would remain."""
    left = list(factors)
    for f in part:
        if f not in left:
            return None
        left.remove(f)
    return None if any(isinstance(f, Atom) for f in left) else tuple(left)
