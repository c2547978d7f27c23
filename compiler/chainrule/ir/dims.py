"""Extents: whole numbers, or polynomials over named dims, in one normal form.

    extent    = int | Dim
    Dim       = sum of  coefficient * atom * atom * ...
    atom      = name | floordiv(extent, extent) | mod(..) | min(..) | max(..)

Equal polynomials compare equal, so `batch*2 - batch == batch`.  Named dims stand for run-time
numbers that are at least 0.  The loop IR uses the same polynomials for indices, with loop
variables among the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "Atom",
    "Dim",
    "Extent",
    "Monomial",
    "Shape",
    "ceil_div",
    "divisors",
    "evaluate_extent",
    "has_quotient",
    "larger",
    "loop_variables",
    "named",
    "names_of",
    "normal",
    "show_extent",
    "size_of",
    "smaller",
    "substitute_extent",
]  # fmt: skip


class Atom(NamedTuple):
    """A part that polynomial arithmetic does not look into."""

    kind: str
    left: Extent
    right: Extent


Factor: TypeAlias = "str | Atom"
Monomial: TypeAlias = tuple[Factor, ...]


class Dim:
    """A polynomial with integer coefficients that is not a plain number."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms: Final = terms
        self._hash: Final = hash(terms)

    @property
    def is_name(self) -> bool:
        """Tell whether this is one named dim and nothing else."""
        return self._is_factor and isinstance(self.terms[0][0][0], str)

    @property
    def _is_factor(self) -> bool:
        """Tell whether this needs no brackets in a product."""
        return len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __add__(self, other: object) -> Extent:
        if not isinstance(other, int | Dim):
            return NotImplemented
        if other == 0:
            return Dim(self.terms)
        total = dict(self.terms)
        for m, c in _terms(other):
            total[m] = total.get(m, 0) + c
        return normal(total)

    __radd__ = __add__

    def __mul__(self, other: object) -> Extent:
        if not isinstance(other, int | Dim):
            return NotImplemented
        if isinstance(other, int):
            return Dim(tuple([(m, c * other) for m, c in self.terms])) if other else 0
        total: dict[Monomial, int] = {}
        for m, c in self.terms:
            for n, d in _terms(other):
                key = m + n
                if m and n:
                    key = tuple(sorted(key, key=_text))
                total[key] = total.get(key, 0) + c * d
        return normal(total)

    __rmul__ = __mul__

    def __neg__(self) -> Extent:
        return self * -1

    def __sub__(self, other: object) -> Extent:
        return self + other * -1 if isinstance(other, int | Dim) else NotImplemented

    def __rsub__(self, other: object) -> Extent:
        return self * -1 + other if isinstance(other, int | Dim) else NotImplemented

    def __floordiv__(self, other: object) -> Extent:
        return _floordiv(self, other) if isinstance(other, int | Dim) else NotImplemented

    def __rfloordiv__(self, other: object) -> Extent:
        return _floordiv(other, self) if isinstance(other, int | Dim) else NotImplemented

    def __mod__(self, other: object) -> Extent:
        return _mod(self, other) if isinstance(other, int | Dim) else NotImplemented

    def __rmod__(self, other: object) -> Extent:
        return _mod(other, self) if isinstance(other, int | Dim) else NotImplemented

    def __index__(self) -> int:
        raise TypeError(
            f"the extent {self} is known only when the compiled function is called\n"
            "hint: use array functions instead of a Python loop over it, "
            "or give the extent as a number in dims="
        )

    def __repr__(self) -> str:
        return show_extent(self)


Extent: TypeAlias = "int | Dim"
Shape: TypeAlias = tuple[Extent, ...]


def named(name: str) -> Dim:
    """Return the dim called `name`."""
    return Dim((((name,), 1),))


def loop_variables(letter: str, count: int) -> list[str]:
    """Return names of loop variables: they hold a dot, which no name of a user's dim does."""
    return [f"{letter}.{k}" for k in range(count)]


def _terms(extent: Extent) -> Iterable[tuple[Monomial, int]]:
    if isinstance(extent, Dim):
        return extent.terms
    return (((), extent),) if extent else ()


def normal(terms: Mapping[Monomial, int]) -> Extent:
    """Return the sum of terms in normal form."""
    left = {m: c for m, c in terms.items() if c}
    if not left:
        return 0
    if len(left) == 1 and () in left:
        return left[()]
    if len(left) == 1:
        return Dim(tuple(left.items()))
    return Dim(tuple(sorted(left.items(), key=lambda t: (len(t[0]), _text(t[0])))))


@lru_cache(1 << 14)
def _text(part: Factor | Monomial) -> str:
    """Return what factors and monomials are ordered by: sums are normalised all the time."""
    return str(part)


def _floordiv(a: Extent, b: Extent) -> Extent:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 0:
        raise ZeroDivisionError(f"{show_extent(a)} // 0")
    quotient = _exact_quotient(a, b)
    if quotient is not None:
        return quotient
    if isinstance(b, int) and b < 0:
        # What is emitted takes divisors to be positive.
        return _floordiv(a * -1, -b)
    if isinstance(b, int) and b > 0:
        # Terms that b divides come out: (4*n + 3)//4 = n + 3//4.
        whole = {m: c // b for m, c in _terms(a) if c % b == 0}
        rest = {m: c for m, c in _terms(a) if c % b}
        left = normal(rest)
        if isinstance(left, int):
            return normal(whole) + left // b
        if whole:
            return normal(whole) + normal({(Atom("floordiv", left, b),): 1})
    return normal({(Atom("floordiv", a, b),): 1})


def _mod(a: Extent, b: Extent) -> Extent:
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 0:
        raise ZeroDivisionError(f"{show_extent(a)} % 0")
    if _exact_quotient(a, b) is not None:
        return 0
    if isinstance(b, int) and b < 0:
        return _mod(a * -1, -b) * -1
    if isinstance(b, int) and b > 0:
        left = normal({m: c % b for m, c in _terms(a) if c % b})
        return left % b if isinstance(left, int) else normal({(Atom("mod", left, b),): 1})
    return normal({(Atom("mod", a, b),): 1})


def _exact_quotient(a: Extent, b: Extent) -> Extent | None:
    """Return a/b where b is one term that divides every term of a."""
    divisor = list(_terms(b))
    if len(divisor) != 1:
        return 1 if a == b else None
    (factors, number), quotient = divisor[0], {}
    for m, c in _terms(a):
        left = list(m)
        for f in factors:
            if f not in left:
                return None
            left.remove(f)
        if c % number:
            return None
        quotient[tuple(left)] = c // number
    return normal(quotient)


def smaller(a: Extent, b: Extent) -> Extent:
    """Return min(a, b)."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else Dim((((Atom("min", a, b),), 1),))


def larger(a: Extent, b: Extent) -> Extent:
    """Return max(a, b)."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    if a == 0 or b == 0:
        other = b if a == 0 else a
        if _has_no_minus(other):
            return other
    return a if a == b else Dim((((Atom("max", a, b),), 1),))


def _has_no_minus(extent: Extent) -> bool:
    """Tell whether an extent is at least 0 since nothing in it is negative."""
    if isinstance(extent, int):
        return extent >= 0
    return all(
        c > 0 and all(isinstance(f, str) or all(map(_has_no_minus, f[1:])) for f in m)
        for m, c in extent.terms
    )


def ceil_div(a: Extent, b: int) -> Extent:
    """Return a / b rounded up."""
    return (a + (b - 1)) // b


def has_quotient(extent: Extent) -> bool:
    """Tell whether a guard, not arithmetic, has to say that an extent equals another."""
    terms = extent.terms if isinstance(extent, Dim) else ()
    return any(isinstance(f, Atom) for m, _ in terms for f in m)


def divisors(extent: Extent) -> Iterator[Dim]:
    """Yield what an extent is divided by, where that is no number."""
    for monomial, _ in extent.terms if isinstance(extent, Dim) else ():
        for f in monomial:
            if isinstance(f, Atom):
                yield from divisors(f.left)
                yield from divisors(f.right)
                if f.kind in ("floordiv", "mod") and isinstance(f.right, Dim):
                    yield f.right


def size_of(shape: Iterable[Extent]) -> Extent:
    """Return the number of elements of `shape`."""
    total: Extent = 1
    for extent in shape:
        total = total * extent
    return total


_OPERATIONS: Final[Mapping[str, Callable[[int, int], int]]] = {
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max,
}  # fmt: skip


def evaluate_extent(extent: Extent, dims: Mapping[str, int]) -> int:
    """Return the number an extent stands for, given a number for every name."""
    if isinstance(extent, int):
        return extent
    total = 0
    for monomial, coefficient in extent.terms:
        product = coefficient
        for f in monomial:
            if isinstance(f, str):
                product *= dims[f]
            else:
                left, right = evaluate_extent(f.left, dims), evaluate_extent(f.right, dims)
                product *= _OPERATIONS[f.kind](left, right)
        total += product
    return total


def substitute_extent(extent: Extent, values: Mapping[str, Extent]) -> Extent:
    """Replace names by extents."""
    if isinstance(extent, int):
        return extent
    if not any(f in values or isinstance(f, Atom) for m, _ in extent.terms for f in m):
        return extent
    total: Extent = 0
    for monomial, coefficient in extent.terms:
        product: Extent = coefficient
        for f in monomial:
            if isinstance(f, str):
                product = product * (values[f] if f in values else named(f))
                continue
            left, right = substitute_extent(f.left, values), substitute_extent(f.right, values)
            match f.kind:
                case "floordiv":
                    product = product * (left // right)
                case "mod":
                    product = product * (left % right)
                case "min":
                    product = product * smaller(left, right)
                case _:
                    product = product * larger(left, right)
        total = total + product
    return total


def names_of(extent: Extent | Atom) -> set[str]:
    """Return the names an extent, or a part of one, mentions."""
    if isinstance(extent, int):
        return set()
    if isinstance(extent, Atom):
        return names_of(extent.left) | names_of(extent.right)
    found: set[str] = set()
    for monomial, _ in extent.terms:
        for f in monomial:
            found |= {f} if isinstance(f, str) else names_of(f)
    return found


_SIGNS: Final = {"floordiv": "//", "mod": "%"}


def show_extent(extent: Extent) -> str:
    """Print an extent as Python would read it."""
    return str(extent) if isinstance(extent, int) else _show(extent.terms)


@lru_cache(1 << 14)
def _show(terms: tuple[tuple[Monomial, int], ...]) -> str:
    parts: list[str] = []
    for monomial, coefficient in sorted(terms, key=lambda t: (-len(t[0]), _text(t[0]))):
        alone = coefficient == 1 and len(monomial) == 1
        factors = [f if isinstance(f, str) else _show_atom(f, alone) for f in monomial]
        number = abs(coefficient)
        text = "*".join(([str(number)] if number != 1 or not factors else []) + factors)
        if parts:
            parts.append(f" {'-' if coefficient < 0 else '+'} {text}")
        else:
            parts.append(f"-{text}" if coefficient < 0 else text)
    return "".join(parts)


def _show_atom(atom: Atom, alone: bool) -> str:
    if atom.kind not in _SIGNS:
        return f"{atom.kind}({show_extent(atom.left)}, {show_extent(atom.right)})"
    left, right = (
        f"({show_extent(e)})" if isinstance(e, Dim) and not e._is_factor else show_extent(e)  # noqa: SLF001
        for e in (atom.left, atom.right)
    )
    if atom.kind == "mod":
        return f"({left} % {right})"
    return f"{left}//{right}" if alone else f"({left}//{right})"
