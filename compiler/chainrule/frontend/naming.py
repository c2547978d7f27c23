"""Extents of arguments get the names that `dims=` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import LeafType
from chainrule.ir.binding import bare_names, bind, solutions
from chainrule.ir.dims import Dim, Extent, Shape, evaluate_extent, named, names_of, show_extent
from chainrule.ir.graph import Guard
from chainrule.ir.types import Type
from chainrule.ir.written import ALLOWED, parse_extent

__all__ = ["Dims", "named_shapes", "solved_guards"]

Dims = Mapping[str, Sequence["str | int | Dim | None"]]


def named_shapes(
    paths: Sequence[str], types: Sequence[LeafType], dims: Dims | None
) -> list[tuple[Extent, ...]]:
    """Give leaves' extents the names of `dims`.

    An entry of `dims` is for the leaf of that path, or for every leaf below it.

    Raises:
        StructureError: `dims` names no argument.
        ShapeError: A rank or a number differs, one name stands for two numbers, or no argument
            tells what a name stands for.
    """
    used: set[str] = set()
    shapes = []
    for path, leaf in zip(paths, types, strict=True):
        key = next((k for k in _prefixes(path) if k in (dims or {})), None)
        if key is None:
            shapes.append(leaf.type.shape)
            continue
        used.add(key)
        shapes.append(_named(path, leaf.type.shape, (dims or {})[key], key))
    unused = [k for k in dims or {} if k not in used]
    if unused:
        raise StructureError(
            explain(
                f"dims: there is no argument {', '.join(unused)}",
                f"arguments  {', '.join(paths)}",
                hint="keys of dims are names of arguments or paths of leaves, as params/W1",
            )
        )
    _check_numbers(paths, [leaf.type for leaf in types], shapes)
    return shapes


def solved_guards(shapes: Sequence[Shape]) -> Iterator[Guard]:
    """Yield what must hold for dims that no axis has alone to be what is found for them."""
    for s in solutions(shapes):
        if isinstance(s.divisor, Dim):
            yield Guard("ge", s.divisor, 1, f"{s.name} cannot be told from an axis without length")
        elif s.rest == 0 and s.divisor > 0 and all(w > 0 for _, _, w in s.weights):
            continue
        yield Guard("ge", named(s.name), 0, f"{s.name} would be negative")


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(len(parts), 0, -1)]


def _named(path: str, shape: Sequence[Extent], wanted: Any, key: str) -> tuple[Extent, ...]:
    single = isinstance(wanted, str | int | Dim) or wanted is None
    entries = (wanted,) if single else tuple(wanted)
    if len(entries) != len(shape):
        raise ShapeError(
            explain(
                f"dims: {path} has {len(shape)} axes, not {len(entries)}",
                f"shape  {tuple(shape)}",
                f"dims  {entries}",
                hint=_hint(path, shape, key),
            )
        )
    result: list[Extent] = []
    for axis, (extent, entry) in enumerate(zip(shape, entries, strict=True)):
        if entry is None:
            result.append(extent)
            continue
        asked = _extent(entry, f"axis {axis} of {path}")
        if not isinstance(asked, Dim) and asked != extent:
            raise ShapeError(
                explain(
                    f"dims: axis {axis} of {path} is {extent}, not {asked}",
                    f"shape  {tuple(shape)}",
                )
            )
        result.append(asked)
    return tuple(result)


def _hint(path: str, shape: Sequence[Extent], key: str) -> str:
    """Say what to do where numbers in lists were given in place of an array."""
    below = path.removeprefix(f"{key}/").split("/")
    if shape or path == key or not all(map(str.isdigit, below)):
        return ""
    return f"{key} is a list of numbers, each of which is an argument: pass np.asarray({key})"


def _extent(entry: Any, where: str) -> Extent:
    if isinstance(entry, Dim):
        return entry
    if isinstance(entry, str):
        try:
            return parse_extent(entry)
        except ShapeError as error:
            raise ShapeError(f"dims: {where}: {error}") from None
    if hasattr(entry, "__index__") and not isinstance(entry, bool):
        return int(entry)
    raise ShapeError(explain(f"dims: {where}: {entry!r} is no extent", hint=f"{ALLOWED}, or None"))


def _check_numbers(paths: Sequence[str], types: Sequence[Type], shapes: Sequence[Shape]) -> None:
    """Check the numbers that are known already: those of arrays, not of specs.

    Raises:
        ShapeError: One name stands for two numbers, an expression is not what an axis is, or no
            argument tells what a name stands for.
    """
    known = bind(shapes, [t.shape for t in types])
    origin = {n: f"{paths[i]} axis {axis}" for n, (i, axis) in bare_names(shapes).items()}
    for s in solutions(shapes):
        origin[s.name] = ", ".join(f"{paths[i]} axis {axis}" for i, axis, _ in s.weights)
    for i, shape in enumerate(shapes):
        for axis, extent in enumerate(shape):
            number = types[i].shape[axis]
            if isinstance(extent, Dim) and isinstance(number, int):
                _check_number(extent, number, f"{paths[i]} axis {axis}", known, origin)


def _check_number(
    extent: Dim, number: int, place: str, known: Mapping[str, int], origin: Mapping[str, str]
) -> None:
    names = sorted(names_of(extent))
    if not known.keys() >= set(names):
        return
    try:
        expected = evaluate_extent(extent, known)
    except ZeroDivisionError:
        expected = -1
    if expected == number and all(known[n] >= 0 for n in names):
        return
    if extent == named(names[0]):
        raise ShapeError(
            explain(
                f"dims: {names[0]} stands for two numbers",
                f"{origin[names[0]]}  {expected}",
                f"{place}  {number}",
                hint="give extents that differ names that differ",
            )
        )
    raise ShapeError(
        explain(
            f"dims: {place} is {number}, which is not {show_extent(extent)}",
            *(f"{n}  {known[n]}, from {origin[n]}" for n in names),
        )
    )
