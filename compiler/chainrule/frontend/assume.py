"""What tracing takes for granted about named dims; it is verified at every call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chainrule.errors import ShapeError, explain
from chainrule.frontend.locate import user_line
from chainrule.ir.body import bodies_of
from chainrule.ir.dims import Dim, Extent, names_of, show_extent
from chainrule.ir.graph import Graph, Guard, Node
from chainrule.ir.walk import reached

__all__ = ["at_least", "at_most", "divisible", "divisors"]


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


def divisors(graph: Graph, inputs: Sequence[Node], outputs: Sequence[Node]) -> None:
    """Assume that no extent of a program is divided by a dim that is 0.  Linear in the nodes.

    Python raises where it divides a number by 0; of dims it is known when the function is called.
    """
    dims = set[str]().union(*(names_of(e) for x in inputs for e in x.shape))
    seen: set[Dim] = set()
    for extent in _extents(outputs) if dims else ():
        if extent in seen:
            continue
        seen.add(extent)
        for by in _divisors(extent):
            if names_of(by) <= dims:
                at_least(graph, by, 1, f"a division by the extent {show_extent(by)}")


def _extents(outputs: Iterable[Node]) -> Iterator[Dim]:
    """Yield the extents in types and attributes that are no numbers, those of bodies too."""
    waiting = [outputs]
    while waiting:
        for node in reached(waiting.pop()):
            waiting += [body.outputs for body in bodies_of(node)]
            for value in (node.shape, *node.attrs):
                items: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)
                yield from (e for e in items if isinstance(e, Dim))


def _divisors(extent: Extent) -> Iterator[Dim]:
    for monomial, _ in extent.terms if isinstance(extent, Dim) else ():
        for atom in monomial:
            if not isinstance(atom, str):
                yield from _divisors(atom.left)
                yield from _divisors(atom.right)
                if atom.kind in ("floordiv", "mod") and isinstance(atom.right, Dim):
                    yield atom.right


def _assume(graph: Graph, guard: Guard) -> None:
    for extent in (guard.left, guard.right):
        assert isinstance(extent, int | Dim), "guards are about extents"
    graph.guards[guard] = None
