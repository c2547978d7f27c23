"""Extents as users meet them while a function is traced: whole numbers to come."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeGuard

import numpy as np

from chainrule.frontend.assume import decide, decide_equal
from chainrule.frontend.context import current_graph
from chainrule.frontend.dispatch import IMPLEMENTATIONS, InGraph, apply_ufunc
from chainrule.frontend.locate import user_line
from chainrule.frontend.value import Value, refuse
from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Dim, Extent, Monomial, Shape, show_extent
from chainrule.ir.graph import Graph

__all__ = ["SymbolicExtent", "known_extent", "plain_extent", "plain_shape", "symbolic"]


def plain_extent(extent: Any) -> Any:
    """Strip the graph from an extent, and NumPy's type from an integer; anything else passes."""
    if isinstance(extent, SymbolicExtent):
        return Dim(extent.terms)
    return int(extent) if isinstance(extent, np.integer) else extent


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


def symbolic(extent: Extent, graph: Graph) -> Extent:
    """Return an extent as users get it from `.shape`."""
    return SymbolicExtent(extent.terms, graph) if isinstance(extent, Dim) else extent


def _operators(
    whole: Callable[[Any, Any], Any] | None, ufunc: np.ufunc
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """Return an operator and the reflected one; `whole` is it on extents, if it gives an extent."""

    def apply(graph: Graph, a: Any, b: Any) -> Any:
        if whole is not None and _is_whole(a) and _is_whole(b):
            return symbolic(whole(plain_extent(a), plain_extent(b)), graph)
        return _with(ufunc, a, b) if _is_number(a) and _is_number(b) else NotImplemented

    return (
        lambda self, other: apply(self.graph, self, other),
        lambda self, other: apply(self.graph, other, self),
    )


# Each comparison is whether an extent reaches a number or does not: its ufunc, how a float is
# rounded, what is added, and which of the two it is.
_COMPARISONS: Final[dict[str, tuple[Any, Callable[[float], int], int, bool]]] = {
    "<": (np.less, math.ceil, 0, False), "<=": (np.less_equal, math.floor, 1, False),
    ">": (np.greater, math.floor, 1, True), ">=": (np.greater_equal, math.ceil, 0, True),
}  # fmt: skip


class SymbolicExtent(Dim, InGraph):
    """An extent known when the compiled function is called, as `x.shape` gives it.

    It computes with integers and other extents as Python's integers do.  Comparisons are decided
    for the call under way, and a call that would decide otherwise compiles again.  With floats and
    arrays it takes part as an integer that never widens them: `x.sum() / x.shape[0]`.
    """

    __slots__ = ("graph",)

    def __init__(self, terms: tuple[tuple[Monomial, int], ...], graph: Graph) -> None:
        super().__init__(terms)
        self.graph: Final = graph

    # Arithmetic

    __add__, __radd__ = _operators(operator.add, np.add)
    __sub__, __rsub__ = _operators(operator.sub, np.subtract)
    __mul__, __rmul__ = _operators(operator.mul, np.multiply)
    __floordiv__, __rfloordiv__ = _operators(operator.floordiv, np.floor_divide)
    __mod__, __rmod__ = _operators(operator.mod, np.remainder)
    __truediv__, __rtruediv__ = _operators(None, np.true_divide)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Any:
        return self * -1

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0:
            total: Any = self
            for _ in range(other - 1):
                total = total * self
            return total
        return _with(np.power, self, other) if _is_number(other) else NotImplemented

    def __rpow__(self, other: Any) -> Any:
        return _with(np.power, other, self) if _is_number(other) else NotImplemented

    def __lshift__(self, places: Any) -> Any:
        return self * 2**places if _is_count(places) else NotImplemented

    def __rshift__(self, places: Any) -> Any:
        return self // 2**places if _is_count(places) else NotImplemented

    def __and__(self, mask: Any) -> Any:
        # Of the bits, only the lowest ones are a remainder.
        low = _is_count(mask) and mask & (mask + 1) == 0
        return self % (mask + 1) if low else NotImplemented

    __rand__ = __and__

    def __pos__(self) -> Extent:
        return self

    def __invert__(self) -> Any:
        return -self - 1

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __trunc__(self) -> Any:
        return self

    __floor__ = __ceil__ = __trunc__

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None and digits < 0:
            self._unknown("cannot round to tens")
        return self

    # Comparisons

    def __hash__(self) -> int:
        # Of a set or a dict's keys only some are compared, and which would be forgotten.
        self._unknown("cannot hash", "compare it with ==, or look it up in a tuple")

    def __eq__(self, other: object) -> Any:
        if isinstance(other, Value | np.ndarray):
            return _with(np.equal, self, other)
        number: Any = int(other) if _is_float(other) and other.is_integer() else other
        if not _is_whole(number):
            return False
        a, b = plain_extent(self), plain_extent(number)
        self._require_a_call("==", a - b - 1, b - a - 1)
        return decide_equal(self.graph, a, b, self._asked("==", b))

    def __ne__(self, other: object) -> Any:
        if isinstance(other, Value | np.ndarray):
            return _with(np.not_equal, self, other)
        return not self == other

    def __lt__(self, other: object) -> Any:
        return self._compare("<", other)

    def __le__(self, other: object) -> Any:
        return self._compare("<=", other)

    def __gt__(self, other: object) -> Any:
        return self._compare(">", other)

    def __ge__(self, other: object) -> Any:
        return self._compare(">=", other)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def _compare(self, sign: str, other: Any) -> Any:
        ufunc, rounded, beyond, reaching = _COMPARISONS[sign]
        if isinstance(other, Value | np.ndarray):
            return _with(ufunc, self, other)
        if _is_float(other) and not math.isfinite(other):
            return bool(ufunc(0.0, other))
        if not _is_float(other) and not _is_whole(other):
            return NotImplemented
        number = rounded(other) if _is_float(other) else plain_extent(other)
        own = plain_extent(self)
        reached = own - number - beyond
        self._require_a_call(sign, reached, reached * -1 - 1)
        why = self._asked(sign, plain_extent(other))
        return decide(self.graph, own, number + beyond, why) is reaching

    def _require_a_call(self, sign: str, *answers: Extent) -> None:
        """Refuse what is not certain of symbols: which call a comparison is for is not known.

        An answer is certain if its extent is never negative, or a number.
        """
        settled = any(isinstance(e, int) or never_negative(e) for e in answers)
        if not settled and current_graph() is not self.graph:
            self._unknown(f"cannot decide {sign} of")

    def _asked(self, sign: str, other: Extent | float) -> str:
        shown = show_extent(other) if isinstance(other, int | Dim) else other
        return f"the code depends on whether {show_extent(self)} {sign} {shown}: {user_line()}"

    # What takes a number

    def __float__(self) -> float:
        self._unknown("cannot make a Python float of")

    def __int__(self) -> int:
        self._unknown("cannot make a Python int of")

    def __index__(self) -> int:
        self._unknown("cannot use as a Python number")

    def __format__(self, spec: str) -> str:
        return format(str(self), spec.rstrip("dn"))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply_ufunc(ufunc, method, inputs, kwargs)

    def _unknown(
        self, what: str, hint: str = "compute with the extent itself; functions of "
        "chainrule.numpy take it, cr.fori_loop and cr.scan loop over it; or give the extent as a "
        "number in dims=",
    ) -> NoReturn:  # fmt: skip
        known = "which is known only when the compiled function is called"
        refuse(f"{what} the extent {self}, {known}", None, hint)


def _with(ufunc: np.ufunc, a: Any, b: Any) -> Any:
    return IMPLEMENTATIONS[ufunc](a, b)


def _is_float(x: object) -> TypeGuard[float]:
    return isinstance(x, float | np.floating)


def _is_number(x: object) -> bool:
    return isinstance(x, int | float | np.number | Dim)


def _is_whole(x: object) -> bool:
    """Tell whether arithmetic with it gives an extent."""
    return isinstance(x, int | np.integer | Dim)


def _is_count(x: object) -> bool:
    return isinstance(x, int | np.integer) and bool(x >= 0)
