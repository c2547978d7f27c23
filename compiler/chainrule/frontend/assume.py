"""What tracing takes for granted about named dims; it is verified at every call.

A size that NumPy would clamp or wrap depends on which of two extents is larger.  Where that is not
certain, the call under way decides, and a guard says so: a later call for which the guard does not
hold is traced again, and decided otherwise.  So the usual program stays free of minima and maxima,
and lengths near the ends get code of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chainrule.errors import ChainruleError, ShapeError, explain
from chainrule.frontend.locate import user_line
from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import (
    Extent,
    divisors,
    evaluate_extent,
    has_quotient,
    names_of,
    show_extent,
)
from chainrule.ir.graph import Graph, Guard
from chainrule.ir.sizes import facts_of, not_negative

__all__ = [
    "at_least", "at_most", "clamped", "counted", "decide", "decide_equal", "divisible", "equal",
    "never_fewer",
]  # fmt: skip

_LARGE: Final = 1 << 20
"What every dim is taken to be where no call says: programs without numbers are for long arrays."


def decide(graph: Graph, extent: Extent, number: Extent, why: str) -> bool:
    """Tell whether `extent` is at least `number`: for certain, or in the call under way.

    `why` is what a caller is told for whom it is otherwise, where the code cannot be made anew.
    """
    rest = extent - number
    if isinstance(rest, int):
        return rest >= 0
    numbers = graph.numbers
    if names_of(rest) - numbers.keys():
        numbers = dict.fromkeys(names_of(rest), _LARGE)
    holds = _evaluated(rest, numbers) >= 0
    sure = rest if holds else -rest - 1
    if not never_negative(sure, facts_of(graph.guards)):
        graph.rely(not_negative(sure, why))
    return holds


def decide_equal(graph: Graph, a: Extent, b: Extent, why: str) -> bool:
    """Tell whether two extents are equal: for certain, or in the call under way.

    Without a call, names stand for lengths in general, which are equal to nothing in particular.
    """
    rest = a - b
    if isinstance(rest, int):
        return rest == 0
    numbers = graph.numbers
    holds = names_of(rest) <= numbers.keys() and _evaluated(rest, numbers) == 0
    facts = facts_of(graph.guards)
    if holds or not any(never_negative(sign * rest - 1, facts) for sign in (1, -1)):
        graph.rely(Guard("eq" if holds else "ne", a, b, why))
    return holds


def clamped(graph: Graph, extent: Extent, low: Extent, high: Extent, why: str) -> Extent:
    """Return `extent`, or the end that it lies beyond."""
    if not decide(graph, extent, low, why):
        return low
    return extent if decide(graph, high, extent, why) else high


def counted(graph: Graph, extent: Extent, why: str, of: Extent = 0) -> Extent:
    """Return how many there are of what an extent counts: none where it is negative.

    None, too, of what can be no more, such as -n: not `-n` in the call in which n is 0.  `of` is
    what they are a part of.
    """
    if never_negative(extent * -1, (of,)):
        return 0
    return extent if decide(graph, extent, 0, why) else 0


def at_least(
    graph: Graph, extent: Extent, number: Extent, why: str,
    error: type[ChainruleError] = ShapeError,
) -> None:  # fmt: skip
    """Require that `extent` is at least `number`.

    Raises:
        ShapeError: It is not, in the call under way or whatever the dims are (or another `error`).
    """
    rest = extent - number
    if never_negative(rest, facts_of(graph.guards)):
        return
    known = names_of(rest) <= graph.numbers.keys()
    if known and _evaluated(rest, graph.numbers) < 0:
        facts = () if isinstance(extent, int) else (f"extent  {show_extent(extent)}",)
        raise error(explain(why, *facts, *_numbers(graph, rest), f"at  {user_line()}"))
    graph.rely(not_negative(rest, why))


def never_fewer(graph: Graph, extent: Extent, why: str) -> Extent:
    """Require that what is counted is not negative; return how many there are.

    As of `counted`, that is 0 where there can be no more, such as in -n.

    Raises:
        ShapeError: It is negative, in the call under way or whatever the dims are.
    """
    at_least(graph, extent, 0, why)
    return 0 if never_negative(extent * -1) else extent


def at_most(graph: Graph, extent: Extent, number: int, why: str) -> None:
    """Require that `extent` is at most `number`."""
    at_least(graph, number, extent, f"{why}: {show_extent(extent)}")


def equal(graph: Graph, a: Extent, b: Extent, why: str) -> None:
    """Require that two extents are equal, which a division leaves open.

    Raises:
        ShapeError: They differ, in the call under way or whatever the dims are.
    """
    guard = Guard("eq", a, b, why)
    known = guard.names <= graph.numbers.keys()
    if not (guard.holds(graph.numbers) if known else has_quotient(a) or has_quotient(b)):
        facts = (f"{show_extent(a)} is not {show_extent(b)}", *_numbers(graph, a, b))
        raise ShapeError(explain(why, *facts, f"at  {user_line()}"))
    graph.rely(guard)


def divisible(graph: Graph, extent: Extent, by: Extent, why: str) -> Extent:
    """Return `extent / by`, which must leave no remainder.

    Raises:
        ShapeError: Something remains, in the call under way or for certain.
    """
    remainder = extent % by if by != 0 else extent
    if remainder == 0 and by != 0:
        return extent // by
    guard = Guard("divides", by, extent, why)
    known = guard.names <= graph.numbers.keys()
    if known and not guard.holds(graph.numbers):
        facts = (f"{show_extent(extent)} is not a multiple of {show_extent(by)}",)
        raise ShapeError(explain(why, *facts, *_numbers(graph, extent, by), f"at  {user_line()}"))
    graph.rely(guard)
    return extent // by


def _evaluated(extent: Extent, numbers: Mapping[str, int]) -> int:
    """Return what an extent is in the call under way.

    Raises:
        ShapeError: It is divided by a dim that is 0 there.
    """
    for by in divisors(extent):
        if evaluate_extent(by, numbers) == 0:
            what = f"a division by the extent {show_extent(by)}, which is 0"
            raise ShapeError(explain(what, f"extent  {show_extent(extent)}", f"at  {user_line()}"))
    return evaluate_extent(extent, numbers)


def _numbers(graph: Graph, *extents: Extent) -> list[str]:
    """Return what the dims in extents are in the call under way."""
    names = sorted({name for e in extents for name in names_of(e)})
    return [f"{name}  {graph.numbers[name]}" for name in names if name in graph.numbers]
