"""What is certain of extents whatever the dims turn out to be.

Sizes are polynomials over named dims, so they can be negative at run time although no dim is.  Here
is the prover that settles most of them beforehand; it is sound and not complete: what it cannot
prove is guarded when the compiled function is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from chainrule.ir.dims import (
    Atom,
    Dim,
    Extent,
    Factor,
    Monomial,
    evaluate_extent,
    names_of,
)

__all__ = ["Interval", "Sizes", "interval_of", "never_negative"]

Sizes: TypeAlias = Mapping[Monomial, int]
"Products of dims, and the largest number that each can be."

_TRIED: Final = (0, 1, 7, 1 << 20)
"Numbers for all dims that show most of what is not certain, before a proof is looked for."
_DEPTH: Final = 3
"Case distinctions and facts that one proof may use: each can double the work."


def never_negative(extent: Extent, facts: Sequence[Extent] = ()) -> bool:
    """Tell whether an extent is certainly at least 0, given that dims and `facts` are.

    Exponential in the number of `min`, `max`, `//` and `%` up to a small depth; of plain
    polynomials without facts it is one look at the signs.
    """
    # Users hold extents of a class that has no hash.
    return _certain(*(Dim(e.terms) if isinstance(e, Dim) else e for e in (extent, *facts)))


@lru_cache(1 << 14)
def _certain(extent: Extent, *facts: Extent) -> bool:
    if isinstance(extent, int):
        return extent >= 0
    return not _refuted(extent, facts) and _proved(extent, facts, _DEPTH)


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


# Intervals


class Interval(NamedTuple):
    """Numbers between two ends; an end that is None is not known."""

    low: int | None
    high: int | None


def interval_of(extent: Extent, largest: Sizes) -> Interval:
    """Return ends that an extent never passes, given bounds on products of dims.

    Interval arithmetic, linear in the terms; divisors are positive.
    """
    if isinstance(extent, int):
        return Interval(extent, extent)
    lows: list[int | None] = []
    highs: list[int | None] = []
    for factors, number in extent.terms:
        ends = _of_product(factors, largest)
        low, high = ends if number > 0 else ends[::-1]
        lows.append(None if low is None else number * low)
        highs.append(None if high is None else number * high)
    return Interval(_total(lows), _total(highs))


def _total(ends: Sequence[int | None]) -> int | None:
    known = [e for e in ends if e is not None]
    return sum(known) if len(known) == len(ends) else None


def _of_product(factors: Monomial, largest: Sizes) -> Interval:
    low: int | None = 1
    high: int | None = 1
    for f in factors:
        one = _of_atom(f, largest) if isinstance(f, Atom) else Interval(0, largest.get((f,)))
        if len(factors) > 1 and (one.low is None or one.low < 0):
            # Of products with a factor of either sign nothing is said but what is known of all.
            low = high = None
            break
        low = None if one.low is None or low is None else low * one.low
        high = None if one.high is None or high is None else high * one.high
    known = largest.get(factors)
    return Interval(low, min((e for e in (high, known) if e is not None), default=None))


def _of_atom(atom: Atom, largest: Sizes) -> Interval:
    left, right = interval_of(atom.left, largest), interval_of(atom.right, largest)
    lows = [e for e in (left.low, right.low) if e is not None]
    highs = [e for e in (left.high, right.high) if e is not None]
    match atom.kind:
        case "min":
            return Interval(min(lows) if len(lows) == 2 else None, min(highs, default=None))
        case "max":
            return Interval(max(lows, default=None), max(highs) if len(highs) == 2 else None)
        case "mod":
            return Interval(0, None if right.high is None else right.high - 1)
    if isinstance(atom.right, int):
        by = atom.right
        return Interval(*(None if e is None else e // by for e in left))
    # A quotient by 1 or more lies between its dividend and 0, or -1.
    return Interval(
        None if left.low is None else min(left.low, 0),
        None if left.high is None else max(left.high, -1),
    )
