"""Which graph is being traced into, if any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from chainrule.ir.graph import Graph

__all__ = ["Tracing", "current_graph", "is_tracing", "stable_forms", "tracing"]


class Tracing(NamedTuple):
    """A trace under way: its graph, and whether derivatives may be taken of stable forms.

    Stable forms keep real numbers, not bits, so strict programs go without.
    """

    graph: Graph
    stable: bool


_CURRENT: Final[ContextVar[Tracing | None]] = ContextVar("tracing", default=None)


def current_graph() -> Graph | None:
    """Return the graph of the innermost trace under way, if any."""
    now = _CURRENT.get()
    return now.graph if now is not None else None


def is_tracing() -> bool:
    """Tell whether a function is being traced."""
    return _CURRENT.get() is not None


def stable_forms() -> bool:
    """Tell whether derivatives may be taken of stable forms."""
    now = _CURRENT.get()
    return now is None or now.stable


@contextmanager
def tracing(graph: Graph, stable: bool | None = None) -> Iterator[None]:
    """Trace into `graph` inside; transformations of plain values go there too."""
    before = _CURRENT.set(Tracing(graph, stable_forms() if stable is None else stable))
    try:
        yield
    finally:
        graph.set_origin(None)
        _CURRENT.reset(before)
