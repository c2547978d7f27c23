"""What users hold while a function is traced: handles of nodes, and extents as numbers to come."""

from __future__ import annotations

from typing import Any, Final, NoReturn, Self

import numpy as np

from chainrule.errors import UnsupportedError, explain
from chainrule.frontend.dispatch import IMPLEMENTATIONS, InGraph, apply_ufunc
from chainrule.frontend.locate import user_line
from chainrule.ir.dims import Dim, Extent, Monomial, Shape
from chainrule.ir.graph import Graph, Node

__all__ = ["SymbolicExtent", "Value", "describe", "known_extent", "plain_extent", "plain_shape",
           "refuse", "symbolic"]  # fmt: skip


class Value(InGraph):
    """A node, and whether it stands for a Python number, which never widens an array."""

    __slots__ = ("node", "weak")

    def __init__(self, node: Node, weak: bool = False) -> None:
        self.node: Final = node
        self.weak: Final = weak

    def strong(self) -> Self:
        """Return the value as functions return it: NumPy's scalars do widen arrays."""
        return type(self)(self.node) if self.weak else self

    @property
    def graph(self) -> Graph:
        """The graph that owns the node."""
        return self.node.graph


def describe(node: Node) -> str:
    """Return a node's type for a message, and its path where it is an argument."""
    paths = [o.path for o in node.graph.origins.get(node, ()) if o.path]
    return f"{node.type}" + (f"  {paths[0]}" if paths else "")


def refuse(what: str, node: Node | None, hint: str, *facts: str) -> NoReturn:
    """Raise UnsupportedError about a traced value, with the user's line."""
    value = () if node is None else (f"value  {describe(node)}",)
    raise UnsupportedError(explain(what, *value, *facts, f"at  {user_line()}", hint=hint))


def plain_extent(extent: Any) -> Any:
    """Strip the graph from an extent; anything else passes."""
    return Dim(extent.terms) if isinstance(extent, SymbolicExtent) else extent


def known_extent(extent: Any) -> Any:
    """Strip the graph from an extent; anything else passes, but traced values are refused."""
    if isinstance(extent, Value):
        refuse(
            "a size, a place or a count would depend on a traced value",
            extent.node,
            "use an extent, as x.shape[0], or a Python integer; an argument that is a setting is "
            "named in static_argnames",
        )
    return plain_extent(extent)


def plain_shape(shape: Shape) -> Shape:
    """Strip the graph from extents."""
    return tuple([known_extent(e) for e in shape])


class SymbolicExtent(Dim, InGraph):
    """An extent known when the compiled function is called, as `x.shape` gives it.

    Sums and products of extents and integers are extents again.  With floats and arrays it takes
    part as an integer that never widens them: `x.sum() / x.shape[0]`.
    """

    __slots__ = ("graph",)

    def __init__(self, terms: tuple[tuple[Monomial, int], ...], graph: Graph) -> None:
        super().__init__(terms)
        self.graph: Final = graph

    def _make(self, terms: tuple[tuple[Monomial, int], ...]) -> SymbolicExtent:
        return SymbolicExtent(terms, self.graph)

    __hash__ = Dim.__hash__

    def __add__(self, other: Any) -> Any:
        return _with(np.add, self, other) if _is_float(other) else super().__add__(other)

    def __radd__(self, other: Any) -> Any:
        return _with(np.add, other, self) if _is_float(other) else super().__radd__(other)

    def __sub__(self, other: Any) -> Any:
        return _with(np.subtract, self, other) if _is_float(other) else super().__sub__(other)

    def __rsub__(self, other: Any) -> Any:
        return _with(np.subtract, other, self) if _is_float(other) else super().__rsub__(other)

    def __mul__(self, other: Any) -> Any:
        return _with(np.multiply, self, other) if _is_float(other) else super().__mul__(other)

    def __rmul__(self, other: Any) -> Any:
        return _with(np.multiply, other, self) if _is_float(other) else super().__rmul__(other)

    def __truediv__(self, other: Any) -> Any:
        return _with(np.true_divide, self, other) if _is_number(other) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return _with(np.true_divide, other, self) if _is_number(other) else NotImplemented

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0:
            total: Any = self
            for _ in range(other - 1):
                total = total * self
            return total
        return _with(np.power, self, other) if _is_number(other) else NotImplemented

    def __rpow__(self, other: Any) -> Any:
        return _with(np.power, other, self) if _is_number(other) else NotImplemented

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply_ufunc(ufunc, method, inputs, kwargs)

    def _unknown(self, what: str) -> NoReturn:
        refuse(
            f"{what} the extent {self}, which is known only when the compiled function is called",
            None,
            "compare arrays of it with cnp.where, or give the extent as a number in dims=",
        )

    def __float__(self) -> float:
        self._unknown("cannot make a Python float of")

    def __int__(self) -> int:
        self._unknown("cannot make a Python int of")

    def __index__(self) -> int:
        self._unknown("cannot use as a Python number")

    def __bool__(self) -> bool:
        self._unknown("cannot decide whether 0 is")

    def __lt__(self, other: object) -> bool:
        self._unknown("cannot compare")

    __le__ = __gt__ = __ge__ = __lt__


def _with(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    return IMPLEMENTATIONS[ufunc](a, b)


def _is_float(x: object) -> bool:
    return isinstance(x, float | np.floating)


def _is_number(x: object) -> bool:
    return isinstance(x, int | float | np.number | Dim)


def symbolic(extent: Extent, graph: Graph) -> Extent:
    """Return an extent as users get it from `.shape`."""
    return SymbolicExtent(extent.terms, graph) if isinstance(extent, Dim) else extent
