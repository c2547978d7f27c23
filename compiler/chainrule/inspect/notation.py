"""The notation tree: a formula as a person writes it, before it is text, LaTeX or MathML.

    tree = Number | Name | Sum of trees | Product of trees over trees | Power | MatrixProduct
         | Outer | Transposed | Reduced | Indexed (index notation) | Applied (functions)
         | Expanded (x[:, None]) | Sliced | Picked | Compared | Logic | Indicator | Cases | Literal
         | Bracketed

A tree stands for an array that broadcasts as NumPy's do; `rank` is the number of axes it shows.
Trees are values: equal formulas compare equal, which is what collecting like terms needs.  They are
small, because large or shared parts are given names, so walks over them may recurse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final, TypeAlias

__all__ = ["Applied", "Bracketed", "Cases", "Compared", "Expanded", "Indexed", "Indicator",
           "Literal", "Logic", "MatrixProduct", "Name", "Number", "Outer", "Picked", "Power",
           "Product", "Reduced", "Sliced", "Sum", "Transposed", "Tree", "children", "leaves",
           "names_in"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number, the decimal that a float prints as."""

    value: Fraction

    @property
    def rank(self) -> int:
        """Numbers have no axes."""
        return 0


@dataclass(frozen=True, slots=True)
class Name:
    """An input, a defined part, or (`extent`) a named dim."""

    text: str
    rank: int = 0
    extent: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that is an argument and no formula: a shape, an axis."""

    text: str
    rank: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """Terms added up; a negative coefficient makes a term subtracted.

    Sums and products in another order are equal.
    """

    terms: tuple[Tree, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and Counter(self.terms) == Counter(other.terms)

    def __hash__(self) -> int:
        return hash(frozenset(self.terms))

    @property
    def rank(self) -> int:
        """The rank the terms broadcast to."""
        return max(t.rank for t in self.terms)


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """coefficient * factors / over, elementwise with broadcasting."""

    coefficient: Fraction
    factors: tuple[Tree, ...]
    over: tuple[Tree, ...] = ()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Product)
            and self.coefficient == other.coefficient
            and Counter(self.factors) == Counter(other.factors)
            and Counter(self.over) == Counter(other.over)
        )

    def __hash__(self) -> int:
        return hash((self.coefficient, frozenset(self.factors), frozenset(self.over)))

    @property
    def rank(self) -> int:
        """The rank the factors broadcast to."""
        return max((t.rank for t in (*self.factors, *self.over)), default=0)


@dataclass(frozen=True, slots=True)
class Power:
    """base ** exponent, elementwise."""

    base: Tree
    exponent: Tree

    @property
    def rank(self) -> int:
        """The rank the two broadcast to."""
        return max(self.base.rank, self.exponent.rank)


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """Factors multiplied as NumPy's `@` does, from left to right."""

    factors: tuple[Tree, ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Outer:
    """The outer product of two vectors."""

    left: Tree
    right: Tree

    @property
    def rank(self) -> int:
        """An outer product is a matrix."""
        return 2


@dataclass(frozen=True, slots=True)
class Transposed:
    """The last two axes exchanged; on a vector only a sign that a dot product follows."""

    body: Tree

    @property
    def rank(self) -> int:
        """The rank of the body."""
        return self.body.rank


@dataclass(frozen=True, slots=True)
class Reduced:
    """Axes of the body combined away by a sum, mean, max, ...; `count` elements each."""

    function: str
    body: Tree
    axes: tuple[int, ...]
    count: Tree

    @property
    def rank(self) -> int:
        """What is left of the body's axes."""
        return self.body.rank - len(self.axes)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A sum of products in index notation; indices 0, 1, .. are the result's axes in order.

    Indices from `rank` on are summed over.
    """

    factors: tuple[tuple[Tree, tuple[int, ...]], ...]
    rank: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A function of trees, elementwise unless it names axes."""

    function: str
    arguments: tuple[Tree, ...]
    rank: int
    axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Expanded:
    """The body with new axes where `kept` is false: `x[:, None]`."""

    body: Tree
    kept: tuple[bool, ...]

    @property
    def rank(self) -> int:
        """The body's axes and the new ones."""
        return len(self.kept)


@dataclass(frozen=True, slots=True)
class Sliced:
    """The body indexed by NumPy's slices, already text; or by a tree along the first axis."""

    body: Tree
    index: tuple[str, ...] | Tree
    rank: int


@dataclass(frozen=True, slots=True)
class Picked:
    """One element of each row: body[i, index[i]]."""

    body: Tree
    index: Tree

    @property
    def rank(self) -> int:
        """One axis, the rows."""
        return 1


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison: one of = != < <= > >=."""

    sign: str
    left: Tree
    right: Tree

    @property
    def rank(self) -> int:
        """The rank the sides broadcast to."""
        return max(self.left.rank, self.right.rank)


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions joined by `and`, `or`, or one turned round by `not`."""

    function: str
    arguments: tuple[Tree, ...]

    @property
    def rank(self) -> int:
        """The rank the arguments broadcast to."""
        return max(a.rank for a in self.arguments)


@dataclass(frozen=True, slots=True)
class Indicator:
    """1 where the condition holds and 0 elsewhere: Iverson's bracket."""

    condition: Tree

    @property
    def rank(self) -> int:
        """The rank of the condition."""
        return self.condition.rank


@dataclass(frozen=True, slots=True)
class Cases:
    """One tree where a condition holds, another elsewhere."""

    condition: Tree
    then: Tree
    otherwise: Tree

    @property
    def rank(self) -> int:
        """The rank the three broadcast to."""
        return max(self.condition.rank, self.then.rank, self.otherwise.rank)


@dataclass(frozen=True, slots=True)
class Bracketed:
    """The body in round brackets."""

    body: Tree

    @property
    def rank(self) -> int:
        """The rank of the body."""
        return self.body.rank


Tree: TypeAlias = (
    Number | Name | Literal | Sum | Product | Power | MatrixProduct | Outer | Transposed | Reduced
    | Indexed | Applied | Expanded | Sliced | Picked | Compared | Logic | Indicator | Cases
    | Bracketed
)  # fmt: skip

_TREES = (
    Number, Name, Literal, Sum, Product, Power, MatrixProduct, Outer, Transposed, Reduced,
    Indexed, Applied, Expanded, Sliced, Picked, Compared, Logic, Indicator, Cases, Bracketed,
)  # fmt: skip


# A count is only remembered for recognising means; it is not printed.
_FIELDS: Final = {t: tuple(f.name for f in fields(t) if f.name != "count") for t in _TREES}


def children(tree: Tree) -> Iterator[Tree]:
    """Yield the trees a tree is made of."""
    if isinstance(tree, Indexed):
        yield from (f for f, _ in tree.factors)
        return
    for name in _FIELDS[type(tree)]:
        value = getattr(tree, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, _TREES):
                yield one


def leaves(tree: Tree) -> int:
    """Return how much there is to read: names, numbers and functions.

    >>> leaves(Sum((Name("x"), Number(Fraction(1)))))
    2
    """
    own = isinstance(tree, Number | Name | Literal | Applied | Reduced | Cases)
    if isinstance(tree, Product) and tree.coefficient not in (1, -1):
        own = True
    return int(own) + sum(map(leaves, children(tree)))


def names_in(tree: Tree) -> Iterator[str]:
    """Yield every name in a tree, as often as it occurs."""
    if isinstance(tree, Name):
        yield tree.text
    for child in children(tree):
        yield from names_in(child)
