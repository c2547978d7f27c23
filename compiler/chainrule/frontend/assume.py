"""What tracing takes for granted about named dims; it is verified at every call."""

from __future__ import annotations

from chainrule.errors import ShapeError, explain
from chainrule.frontend.locate import user_line
from chainrule.ir.dims import Dim, Extent, show_extent
from chainrule.ir.graph import Graph, Guard

__all__ = ["at_least", "at_most", "divisible"]


def at_least(graph: Graph, extent: Extent, number: Extent, why: str) -> None:
    """Assume that `extent` is at least `number`.

    Raises:
        ShapeError: It is known not to be.
    """
    rest = extent - number
    if isinstance(rest, int):
        known = rest >= 0
    elif all(c >= 0 for _, c in rest.terms):
        return  # dims are never negative
    else:
        # Numbers stand on the right: n >= 2, not n - 2 >= 0.
        own = dict(extent.terms).get((), 0) if isinstance(extent, Dim) else 0
        _assume(graph, Guard("ge", extent - own, number - own, why))
        return
    if not known:
        raise ShapeError(explain(why, f"extent  {show_extent(extent)}", f"at  {user_line()}"))


def at_most(graph: Graph, extent: Dim, number: int, why: str) -> None:
    """Assume that `extent` is at most `number`."""
    _assume(graph, Guard("ge", number, extent, f"{why}: {show_extent(extent)}"))


def divisible(graph: Graph, extent: Extent, by: Extent, why: str) -> Extent:
    """Return `extent / by`, assuming that nothing remains.

    Raises:
        ShapeError: Something remains for certain.
    """
    remainder = extent % by if by != 0 else extent
    if remainder == 0 and by != 0:
        return extent // by
    if isinstance(remainder, int):
        raise ShapeError(
            explain(
                why,
                f"{show_extent(extent)} is not a multiple of {show_extent(by)}",
                f"at  {user_line()}",
            )
        )
    _assume(graph, Guard("divides", by, extent, why))
    return extent // by


def _assume(graph: Graph, guard: Guard) -> None:
    for extent in (guard.left, guard.right):
        assert isinstance(extent, int | Dim), "guards are about extents"
    graph.guards[guard] = None
