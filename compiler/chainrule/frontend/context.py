"""Which graph is being traced into, if any."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, NamedTuple, TypeVar

from chainrule.errors import ChainruleError
from chainrule.ir.graph import Graph

__all__ = ["Tracing", "current_graph", "is_tracing", "stable_forms", "trace_into", "tracing"]

T = TypeVar("T")


class Tracing(NamedTuple):
    """A trace under way: its graph, and whether values may be computed in stable forms.

    Stable forms keep real numbers, not bits: where numerics keep bits, derivatives alone are taken
    of them.
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
    """Tell whether values, too, may be computed in stable forms."""
    now = _CURRENT.get()
    return now is None or now.stable


def trace_into(graph: Graph, body: Callable[[], T], *, stable: bool) -> T:
    """Run `body` as the outermost trace, into `graph`; transformations of plain values go there.

    A function and not a context manager: Python lets an interrupt in after each call, so also
    between what a context manager enters and the block that would leave it.  The trace would then
    seem to be under way for ever.
    """
    before = _CURRENT.get()
    try:
        _CURRENT.set(Tracing(graph, stable))
        return body()
    except ValueError as error:
        # What NumPy makes of a traced number that is stored in an array of its own.
        if isinstance(error.__cause__, ChainruleError):
            raise error.__cause__ from None
        raise
    finally:
        _CURRENT.set(before)


class tracing:  # noqa: N801  (used as a function)
    """Trace into `graph` inside, a part of the trace that is under way.

    Not a generator: one that an interrupt left behind would restore its `before` when it is freed,
    long after the outermost trace has ended.
    """

    __slots__ = ("_before", "_graph")

    def __init__(self, graph: Graph) -> None:
        self._graph, self._before = graph, _CURRENT.get()

    def __enter__(self) -> None:
        _CURRENT.set(Tracing(self._graph, stable_forms()))

    def __exit__(self, *_: object) -> None:
        _CURRENT.set(self._before)
        self._graph.set_origin(None)
