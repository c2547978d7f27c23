"""What a kernel touches, for given dims: every access lies in its buffer.

Offsets are polynomials, so the least and the greatest follow term by term from those of the loop
variables.  Where that is too coarse, because a variable stands in several terms, the loops around
are run through instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from chainrule.ir.dims import Atom, Extent, evaluate_extent, named, names_of, show_extent
from chainrule.loops.ir import Assign, Buffer, For, Kernel, Load, Operand, Statement, Store, Tile

__all__ = ["check_bounds"]

Interval: TypeAlias = tuple[int, int]
"The least and the greatest of what an extent can be."
Loops: TypeAlias = tuple[tuple[str, Extent], ...]
"The loops around a statement, outermost first: variables, and how far they count."

_TURNS: Final = 4_096
"Turns of loops that are run through; beyond, what intervals cannot show is left open."


def check_bounds(kernel: Kernel, rooms: Mapping[Buffer, int], dims: Mapping[str, int]) -> None:
    """Raise AssertionError if a kernel reaches beyond a buffer of so many elements.

    Elements picked by values are not looked at: checks of the program see to those.
    """
    _check(kernel.body, rooms, dims, ())


def _check(
    body: tuple[Statement, ...], rooms: Mapping[Buffer, int], dims: Mapping[str, int], loops: Loops
) -> None:
    known = {*dims, *(variable for variable, _ in loops)}
    for s in body:
        match s:
            case For(variable, extent, _, inner):
                if names_of(extent) <= known:
                    _check(inner, rooms, dims, (*loops, (variable, extent)))
            case Assign(_, _, Load(buffer, offset)) | Store(buffer, offset):
                if names_of(offset) <= known:
                    _require(buffer, offset, rooms, dims, loops)
            case Tile():
                for operand, counts in ((s.out, (s.m, s.n)), (s.a, (s.m, s.k)), (s.b, (s.k, s.n))):
                    _require_operand(operand, counts, rooms, dims, loops)


def _require_operand(
    operand: Operand, counts: tuple[Extent, Extent], rooms: Mapping[Buffer, int],
    dims: Mapping[str, int], loops: Loops,
) -> None:  # fmt: skip
    """Look at a matrix as at two loops over it."""
    offset = operand.offset
    for i, (stride, count) in enumerate(zip(operand.strides, counts, strict=True)):
        offset = offset + named(f"tile.{i}") * stride
        loops = (*loops, (f"tile.{i}", count))
    _require(operand.buffer, offset, rooms, dims, loops)


def _require(
    buffer: Buffer, offset: Extent, rooms: Mapping[Buffer, int], dims: Mapping[str, int],
    loops: Loops,
) -> None:  # fmt: skip
    ranges: dict[str, Interval] = {name: (n, n) for name, n in dims.items()}
    turns = 1
    for variable, extent in loops:
        _, most = _interval(extent, ranges)
        ranges[variable] = (0, most - 1)
        turns *= max(most, 0)
    if not turns:
        return
    low, high = _interval(offset, ranges)
    if low < 0 or high >= rooms[buffer]:
        if turns > _TURNS:
            return
        found = [evaluate_extent(offset, turn) for turn in _turns(loops, dict(dims))]
        low, high = min(found, default=0), max(found, default=-1)
    shown = f"{buffer.name}[{show_extent(offset)}]"
    assert low >= 0, f"{shown} reaches {low}"
    assert high < rooms[buffer], f"{shown} reaches {high} of {rooms[buffer]} elements"


def _turns(loops: Loops, dims: dict[str, int]) -> Iterator[dict[str, int]]:
    """Yield what all variables are at each turn of nested loops."""
    if not loops:
        yield dims
        return
    (variable, extent), *inner = loops
    for i in range(evaluate_extent(extent, dims)):
        yield from _turns(tuple(inner), {**dims, variable: i})


def _interval(extent: Extent, ranges: Mapping[str, Interval]) -> Interval:
    if isinstance(extent, int):
        return extent, extent
    low = high = 0
    for factors, number in extent.terms:
        least = most = number
        for f in factors:
            a, b = ranges[f] if isinstance(f, str) else _atom(f, ranges)
            ends = (least * a, least * b, most * a, most * b)
            least, most = min(ends), max(ends)
        low, high = low + least, high + most
    return low, high


def _atom(atom: Atom, ranges: Mapping[str, Interval]) -> Interval:
    (a, b), (c, d) = _interval(atom.left, ranges), _interval(atom.right, ranges)
    match atom.kind:
        case "min":
            return min(a, c), min(b, d)
        case "max":
            return max(a, c), max(b, d)
        case "floordiv":
            ends = (a // c, a // d, b // c, b // d)
            return min(ends), max(ends)
        case _:
            inside = c == d and a // c == b // c
            return (a % c, b % c) if inside else (0, d - 1)
