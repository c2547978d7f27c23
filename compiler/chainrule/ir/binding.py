"""What named dims are in a call: read off the shapes of the inputs, or solved for.

A dim that an axis has alone (`n`) is that axis's length.  One that occurs in expressions only
(`2*n + 1`, `batch*time`) is solved for where they are linear in it: a step divides a combination of
lengths, less what is known, by what the dim is multiplied by.  Whether all extents then agree is
checked afterwards, so that a division which leaves a remainder is seen there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from chainrule.errors import ShapeError, explain
from chainrule.ir.dims import (
    Dim,
    Extent,
    Factor,
    Shape,
    evaluate_extent,
    named,
    names_of,
    show_extent,
)

__all__ = ["Solution", "bare_names", "bind", "solutions"]


class Solution(NamedTuple):
    """A dim found from lengths: `(sum of weight * length - rest) // divisor`.

    Attributes:
        name: The dim.
        weights: Input, axis and weight of each length.
        rest: An extent over dims known before.
        divisor: An extent over dims known before; it must be at least 1, or a negative number.
    """

    name: str
    weights: tuple[tuple[int, int, int], ...]
    rest: Extent
    divisor: Extent


class _Row(NamedTuple):
    """An equation: sum of coefficient * unknown + rest = sum of weight * length."""

    coefficients: dict[str, Extent]
    weights: dict[tuple[int, int], int]
    rest: Extent

    def times(self, factor: int) -> _Row:
        return _Row(
            {n: c * factor for n, c in self.coefficients.items()},
            {at: w * factor for at, w in self.weights.items()}, self.rest * factor,
        )  # fmt: skip

    def minus(self, other: _Row) -> _Row:
        coefficients, weights = dict(self.coefficients), dict(self.weights)
        for n, c in other.coefficients.items():
            coefficients[n] = coefficients.get(n, 0) - c
        for at, w in other.weights.items():
            weights[at] = weights.get(at, 0) - w
        return _Row(
            {n: c for n, c in coefficients.items() if c != 0},
            {at: w for at, w in weights.items() if w}, self.rest - other.rest,
        )  # fmt: skip


def bare_names(shapes: Sequence[Shape]) -> dict[str, tuple[int, int]]:
    """Return the dims that an axis has alone, and the first such input and axis of each."""
    found: dict[str, tuple[int, int]] = {}
    for i, shape in enumerate(shapes):
        for axis, extent in enumerate(shape):
            if isinstance(extent, Dim):
                name = next(iter(names_of(extent)))
                if extent == named(name):
                    found.setdefault(name, (i, axis))
    return found


def solutions(shapes: Sequence[Shape]) -> tuple[Solution, ...]:
    """Return how dims that no axis has alone are found, in an order in which they can be.

    Raises:
        ShapeError: A dim cannot be found from the lengths of the inputs.
    """
    dims = [e for shape in shapes for e in shape if isinstance(e, Dim)]
    bare = bare_names(shapes)
    unknown = {n: None for e in dims for n in sorted(names_of(e)) if n not in bare}
    found: list[Solution] = []
    while unknown:
        row = _single([*_rows(shapes, unknown)])
        if row is None:
            raise _not_found(list(unknown), dims)
        ((name, divisor),) = row.coefficients.items()
        weights = tuple([(*at, w) for at, w in row.weights.items()])
        found.append(Solution(name, weights, row.rest, divisor))
        del unknown[name]
    return tuple(found)


def bind(shapes: Sequence[Shape], lengths: Sequence[Shape]) -> dict[str, int]:
    """Return the numbers of the named dims of the inputs' shapes, given the arrays' shapes.

    Where no numbers fit, some that do not are returned.  A dim that depends on a length which is
    itself no number, of an argument without data, is left out.
    """
    dims: dict[str, int] = {}
    for name, (i, axis) in bare_names(shapes).items():
        length = lengths[i][axis]
        if isinstance(length, int):
            dims[name] = length
    for s in solutions(shapes):
        total: Extent = 0
        for i, axis, weight in s.weights:
            total = total + lengths[i][axis] * weight
        if isinstance(total, int) and dims.keys() >= names_of(s.rest) | names_of(s.divisor):
            divisor = evaluate_extent(s.divisor, dims) or 1
            dims[s.name] = (total - evaluate_extent(s.rest, dims)) // divisor
    return dims


def _rows(shapes: Sequence[Shape], unknown: Collection[str]) -> Iterator[_Row]:
    """Yield the extents that are linear in what is unknown."""
    for i, shape in enumerate(shapes):
        for axis, extent in enumerate(shape):
            if isinstance(extent, Dim) and not names_of(extent).isdisjoint(unknown):
                row = _linear(extent, unknown, (i, axis))
                if row is not None and row.coefficients:
                    yield row


def _linear(extent: Dim, unknown: Collection[str], at: tuple[int, int]) -> _Row | None:
    coefficients: dict[str, Extent] = {}
    rest: Extent = 0
    for monomial, number in extent.terms:
        hidden = [f for f in monomial if not _names(f).isdisjoint(unknown)]
        if not hidden:
            rest = rest + Dim(((monomial, number),)) if monomial else rest + number
            continue
        name = hidden[0]
        if len(hidden) > 1 or not isinstance(name, str):
            return None
        others = tuple([f for f in monomial if f != name])
        factor: Extent = Dim(((others, number),)) if others else number
        coefficients[name] = coefficients.get(name, 0) + factor
    return _Row(coefficients, {at: 1}, rest)


def _names(factor: Factor) -> set[str]:
    if isinstance(factor, str):
        return {factor}
    return names_of(factor.left) | names_of(factor.right)


def _single(rows: list[_Row]) -> _Row | None:
    """Return an equation with one unknown: one of those given, or a combination of them.

    Gaussian elimination; coefficients that are no numbers are not combined.
    """
    for row in rows:
        if len(row.coefficients) == 1:
            return row
    left = [r for r in rows if all(isinstance(c, int) for c in r.coefficients.values())]
    while left:
        pivot = left.pop(0)
        if len(pivot.coefficients) == 1:
            return pivot
        if pivot.coefficients:
            name, a = next(iter(pivot.coefficients.items()))
            left = [_without(name, r, pivot, a) for r in left]
    return None


def _without(name: str, row: _Row, pivot: _Row, a: Extent) -> _Row:
    b = row.coefficients.get(name, 0)
    assert isinstance(a, int), "coefficients that are combined are numbers"
    assert isinstance(b, int), "coefficients that are combined are numbers"
    return row.times(a).minus(pivot.times(b)) if b else row


def _not_found(unknown: Sequence[str], dims: Sequence[Dim]) -> ShapeError:
    where: Mapping[str, None] = {
        show_extent(e): None for e in dims if not names_of(e).isdisjoint(unknown)
    }
    names = ", ".join(unknown)
    return ShapeError(
        explain(
            f"dims: no argument tells what {names} is",
            f"only in  {', '.join(where)}",
            hint=f"give an argument an axis that is {unknown[0]} alone, or expressions that are "
            "linear in it",
        )
    )
