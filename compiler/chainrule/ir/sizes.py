"""Sizes that can be wrong at run time, and the one place where they are dealt with.

A named dim is never negative, but what is computed from dims can be (`n - 10`), and a product of
extents can pass 2^63.  So every size, start and count that a node uses is a *requirement*: an
extent that must not be negative where the node runs.  Requirements on numbers are verified as the
node is made.  Of the others, those that are not certain become guards, which the compiled function
verifies when it is entered, before anything is allocated, read or written.

Bounds that NumPy clamps are clamped before, by the array functions (`frontend.assume`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from chainrule.errors import OutOfMemoryError, ShapeError, explain
from chainrule.ir.bounds import Sizes, interval_of, never_negative
from chainrule.ir.dims import (
    Dim,
    Extent,
    Monomial,
    divisors,
    evaluate_extent,
    names_of,
    show_extent,
)
from chainrule.ir.op import Requirement
from chainrule.ir.types import Type

if TYPE_CHECKING:
    from chainrule.ir.graph import Node

__all__ = ["LARGEST", "Guard", "facts_of", "not_negative", "require_numbers", "requirements",
           "size_guards"]  # fmt: skip

LARGEST: Final = (1 << 63) - 1
"Bytes of the largest array, and the largest extent: addresses are signed."
ADDRESSABLE: Final = 1 << 56
"Bytes that no array in memory exceeds: what processors translate of an address."

GUARDED: Final = 1 << 62
"Bytes that guards allow an array: half of the most, so that a few rows more fit without another."


class Guard(NamedTuple):
    """What the code relies on about extents; verified when the compiled function is entered.

    `eq`: left == right; `ne`: left != right; `ge`: left >= right; `divides`: left divides right.
    """

    kind: Literal["eq", "ne", "ge", "divides"]
    left: Extent
    right: Extent
    text: str

    def holds(self, dims: Mapping[str, int]) -> bool:
        """Tell whether it is true for these numbers; where something is divided by 0, it is not."""
        try:
            left, right = evaluate_extent(self.left, dims), evaluate_extent(self.right, dims)
        except ZeroDivisionError:
            return False
        match self.kind:
            case "eq":
                return left == right
            case "ne":
                return left != right
            case "ge":
                return left >= right
            case "divides":
                return left > 0 and right % left == 0

    @property
    def names(self) -> set[str]:
        """The dims it is about."""
        return names_of(self.left) | names_of(self.right)


def not_negative(extent: Extent, text: str) -> Guard:
    """Return the guard that an extent is at least 0; numbers stand on the right: n >= 2."""
    number = dict(extent.terms).get((), 0) if isinstance(extent, Dim) else 0
    return Guard("ge", extent - number, -number, text)


def facts_of(guards: Iterable[Guard]) -> tuple[Extent, ...]:
    """Return extents that are at least 0 where guards hold."""
    found: list[Extent] = []
    for g in guards:
        if g.kind in ("eq", "ge") and g.left != GUARDED:
            found.append(g.left - g.right)
        if g.kind == "eq":
            found.append(g.right - g.left)
    return tuple(found)


def require_numbers(type_: Type, needed: Iterable[Requirement], line: str) -> None:
    """Raise where a node of this type, with what its op needs, is wrong whatever the dims are.

    Raises:
        ShapeError: An extent is a negative number, or what is needed is negative.
        OutOfMemoryError: No array is that large.
    """
    nbytes = type_.dtype.nbytes
    for n in type_.shape:
        if isinstance(n, int):
            if n < 0:
                raise ShapeError(
                    explain(f"an extent is negative: {n}", f"array  {type_}", *_at(line))
                )
            nbytes *= n or 1  # NumPy, too, refuses an empty array of such extents
    if nbytes > LARGEST:
        raise OutOfMemoryError(explain("no array is that large", f"array  {type_}", *_at(line)))
    for extent, what in needed:
        if isinstance(extent, int) and extent < 0:
            raise ShapeError(explain(what, f"array  {type_}", *_at(line)))


def _at(line: str) -> tuple[str, ...]:
    return (f"at  {line}",) if line else ()


def requirements(node: Node) -> Iterator[Requirement]:
    """Yield what must not be negative for a node to run.

    That are its own extents, what its op needs, and divisors less 1: no number is divided by 0.
    """
    for value in (node.type.shape, *node.attrs):
        for e in value if isinstance(value, tuple) else (value,):
            if isinstance(e, Dim):
                for by in divisors(e):
                    yield Requirement(by - 1, f"a division by the extent {show_extent(by)}")
    taken = {e for x in node.args for e in x.type.shape}
    for e in node.type.shape:
        if isinstance(e, Dim) and e not in taken:
            yield Requirement(e, f"an extent of {node.type} is negative")
    if node.op.needs is not None:
        yield from node.op.needs(*(x.type for x in node.args), **node.attributes)


def size_guards(
    nodes: Iterable[Node], inputs: Sequence[Type], known: Sequence[Guard] = ()
) -> list[Guard]:
    """Return guards for all that `nodes` require and neither arithmetic nor `known` proves.

    What dims a loop binds are in is left out: nothing is known of them at entry, and whoever makes
    such a loop sees to it.
    """
    bound = {name for t in inputs for e in t.shape for name in names_of(e)}
    facts, largest = facts_of(known), _largest(inputs, known)
    limits = [g.left - g.right for g in known if g.left == GUARDED]
    found: dict[Extent, Guard] = {}
    certain: set[Extent] = set()
    sizes: dict[Type, Node] = {}
    for node in nodes:
        for extent, what in requirements(node):
            if extent in found or extent in certain:
                continue
            if names_of(extent) - bound or never_negative(extent, facts):
                certain.add(extent)
            else:
                found[extent] = not_negative(extent, _placed(what, node))
        if any(isinstance(e, Dim) for e in node.type.shape):
            sizes.setdefault(node.type, node)
    guards = list(found.values())
    for type_, node in _dominant(sizes):
        nbytes = type_.size * type_.dtype.nbytes
        if names_of(nbytes) - bound or _fits(nbytes, largest):
            continue
        if not never_negative(LARGEST - nbytes, limits):
            guards.append(Guard("ge", GUARDED, nbytes, _placed(f"{type_} is too large", node)))
    return guards


def _placed(what: str, node: Node) -> str:
    lines = [o.line for o in node.graph.origins.get(node, ()) if o.line]
    return f"{what}, at {lines[0]}" if lines else what


def _largest(inputs: Iterable[Type], known: Iterable[Guard]) -> dict[Monomial, int]:
    """Return bounds on products of dims: of what is guarded, and of inputs, which lie in memory."""
    found: dict[Monomial, int] = {}
    for g in known:
        terms = g.right.terms if g.left == GUARDED and isinstance(g.right, Dim) else ()
        if all(c > 0 and never_negative(Dim(((m, 1),))) for m, c in terms if m):
            for factors, number in terms:
                if factors:
                    found[factors] = min(GUARDED // number, found.get(factors, GUARDED))
    for t in inputs:
        size = t.size
        if isinstance(size, Dim) and len(size.terms) == 1 and size.terms[0][1] > 0:
            ((factors, number),) = size.terms
            bound = ADDRESSABLE // (number * t.dtype.nbytes)
            found[factors] = min(bound, found.get(factors, bound))
    return found


def _fits(nbytes: Extent, largest: Sizes) -> bool:
    """Tell whether a size is certainly at most the largest there is."""
    most = interval_of(nbytes, largest).high
    return most is not None and most <= LARGEST


def _dominant(sizes: Mapping[Type, Node]) -> list[tuple[Type, Node]]:
    """Of types whose sizes are multiples of one product, keep the largest."""
    kept: dict[object, tuple[int, Type, Node]] = {}
    for type_, node in sizes.items():
        size = type_.size
        terms = size.terms if isinstance(size, Dim) else ()
        number = type_.dtype.nbytes * (terms[0][1] if len(terms) == 1 else 1)
        key = (terms[0][0], number > 0) if len(terms) == 1 else size
        if key not in kept or abs(kept[key][0]) < abs(number):
            kept[key] = (number, type_, node)
    return [(type_, node) for _, type_, node in kept.values()]
