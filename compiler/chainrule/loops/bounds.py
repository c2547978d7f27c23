"""What a kernel touches, for given dims: every access lies in its buffer.

Offsets are polynomials, so the least and the greatest follow term by term from those of the loop
variables.  Where that is too coarse, because a variable stands in several terms, the loops around
are run through instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, TypeAlias

from chainrule.ir.dims import Atom, Dim, Extent, evaluate_extent, names_of, show_extent
from chainrule.loops.ir import Assign, Buffer, For, Kernel, Load, Operand, Statement, Store, Tile

__all__ = ["check_bounds"]

Interval: TypeAlias = tuple[int, int]
"The least and the greatest of what an extent can be."

_TURNS: Final = 4_096
"Turns of loops that are run through; beyond, what intervals cannot show is left open."


def check_bounds(kernel: Kernel, rooms: Mapping[Buffer, int], dims: Mapping[str, int]) -> None:
    """Raise AssertionError if a kernel reaches beyond a buffer of so many elements.

    Elements picked by values are not looked at: checks of the program see to those.
    """
    _check(kernel.body, rooms, {name: (n, n) for name, n in dims.items()})


def _check(
    body: tuple[Statement, ...], rooms: Mapping[Buffer, int], ranges: dict[str, Interval]
) -> None:
    for s in body:
        match s:
            case For(variable, extent, _, inner):
                if names_of(extent) <= ranges.keys():
                    _, most = _interval(extent, ranges)
                    if most > 0:
                        _check(inner, rooms, {**ranges, variable: (0, most - 1)})
            case Assign(_, _, Load(buffer, offset)) | Store(buffer, offset):
                _require(buffer, offset, rooms, ranges)
            case Tile():
                for operand, rows, columns in (
                    (s.out, s.m, s.n), (s.a, s.m, s.k), (s.b, s.k, s.n)
                ):  # fmt: skip
                    _require_operand(operand, (rows, columns), rooms, ranges)


def _require_operand(
    operand: Operand, counts: tuple[Extent, Extent], rooms: Mapping[Buffer, int],
    ranges: dict[str, Interval],
) -> None:  # fmt: skip
    """Look at a matrix as at two loops over it."""
    offset, inner = operand.offset, dict(ranges)
    for i, (stride, count) in enumerate(zip(operand.strides, counts, strict=True)):
        if not names_of(count) <= ranges.keys():
            return
        _, most = _interval(count, ranges)
        if most <= 0:
            return
        inner[f"tile.{i}"] = (0, most - 1)
        offset = offset + stride * Dim((((f"tile.{i}",), 1),))
    _require(operand.buffer, offset, rooms, inner)


def _require(
    buffer: Buffer, offset: Extent, rooms: Mapping[Buffer, int], ranges: dict[str, Interval]
) -> None:
    names = names_of(offset)
    if not names <= ranges.keys():
        return
    low, high = _interval(offset, ranges)
    if low < 0 or high >= rooms[buffer]:
        around = {n: ranges[n] for n in sorted(names)}
        turns = [range(a, b + 1) for a, b in around.values()]
        count = 1
        for t in turns:
            count *= len(t)
        if count > _TURNS:
            return
        found = [
            evaluate_extent(offset, dict(zip(around, turn, strict=True)))
            for turn in itertools.product(*turns)
        ]
        low, high = min(found), max(found)
    assert low >= 0, f"{buffer.name}[{show_extent(offset)}] reaches {low}"
    assert high < rooms[buffer], (
        f"{buffer.name}[{show_extent(offset)}] reaches {high} of {rooms[buffer]} elements"
    )


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
