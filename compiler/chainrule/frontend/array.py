"""`Array`: what stands for an array while a function is traced."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

import numpy as np

from chainrule.errors import StructureError, explain, ours
from chainrule.frontend.dispatch import IMPLEMENTATIONS, apply_ufunc, call_traced
from chainrule.frontend.extents import symbolic
from chainrule.frontend.locate import locate, user_line
from chainrule.frontend.methods import Methods
from chainrule.frontend.updates import Updates
from chainrule.frontend.value import describe, refuse
from chainrule.ir.dims import Dim, show_extent
from chainrule.ir.graph import Node

__all__ = ["Array"]

_OF_MATH = {"fabs": "abs", "fsum": "sum", "dist": "norm"}


def _instead(line: str) -> str:
    """Return what to use in place of a function of Python's `math`, if the line calls one."""
    called = re.search(r"\bmath\.(\w+)\(", line)
    place = ours(_OF_MATH.get(called[1], called[1])) if called else ""
    if called and place:
        return f"math.{called[1]} takes Python numbers; {place} takes traced values"
    return (
        "use it as an array: traced values take part in arithmetic as they are, "
        "and chainrule.numpy has the functions of math"
    )


_SETTING = (
    "if it depends on an argument that is a plain Python setting, "
    "name that argument in static_argnames"
)


def _operator(function: np.ufunc) -> Callable[[Any, Any], Any]:
    def apply(self: Array, other: Any) -> Any:
        locate(self.node.graph)
        return IMPLEMENTATIONS[function](self, other)

    return apply


def _reflected(function: np.ufunc) -> Callable[[Any, Any], Any]:
    def apply(self: Array, other: Any) -> Any:
        locate(self.node.graph)
        return IMPLEMENTATIONS[function](other, self)

    return apply


def _sign(function: np.ufunc) -> Callable[[Any], Any]:
    def apply(self: Array) -> Any:
        locate(self.node.graph)
        return IMPLEMENTATIONS[function](self)

    return apply


class Array(Methods):
    """An array to come: it has a shape and a dtype, and takes part in arithmetic.

    Operators, methods, NumPy's functions and those of `chainrule.numpy` make further arrays.  What
    needs the numbers themselves (`if`, `float`, a loop over an extent not known) raises.

    Attributes:
        node: The expression.
        weak: It stands for a Python number, which never widens an array.
    """

    __slots__ = ()
    # Arrays on the left leave the operation to us.
    __array_priority__ = 1000

    def __hash__(self) -> NoReturn:
        # Elementwise ==, hence no hash.
        raise StructureError(
            explain("a traced value cannot be a key of a dict or an element of a set",
                    f"value  {describe(self.node)}", f"at  {user_line()}",
                    hint="use a name or a number as key; values of dicts may be traced")
        )  # fmt: skip

    def __new__(cls, node: Node, weak: bool = False) -> Self:
        """Make the handle that the node's graph asks for."""
        del weak
        return object.__new__(node.graph.handle or cls)

    # What it is

    @property
    def shape(self) -> tuple[Any, ...]:
        """Extents: integers, or named dims whose numbers are known at a call."""
        graph = self.node.graph
        return tuple([symbolic(e, graph) for e in self.node.type.shape])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return self.node.type.dtype.numpy

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.node.type.shape)

    @property
    def size(self) -> Any:
        """The number of elements: an integer or an extent."""
        return symbolic(self.node.type.size, self.node.graph)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.node.type.dtype.nbytes

    @property
    def nbytes(self) -> Any:
        """Bytes of all elements."""
        return self.size * self.itemsize

    def __repr__(self) -> str:
        return f"Array({self.node.type}{', weak' if self.weak else ''})"

    # Arithmetic

    __add__, __radd__ = _operator(np.add), _reflected(np.add)
    __sub__, __rsub__ = _operator(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _operator(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _operator(np.true_divide), _reflected(np.true_divide)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _operator(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _operator(np.power), _reflected(np.power)
    __and__, __rand__ = _operator(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _operator(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _operator(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lshift__, __rlshift__ = _operator(np.left_shift), _reflected(np.left_shift)
    __rshift__, __rrshift__ = _operator(np.right_shift), _reflected(np.right_shift)
    __lt__, __le__ = _operator(np.less), _operator(np.less_equal)
    __gt__, __ge__ = _operator(np.greater), _operator(np.greater_equal)
    __eq__, __ne__ = _operator(np.equal), _operator(np.not_equal)
    __neg__, __pos__, __abs__ = _sign(np.negative), _sign(np.positive), _sign(np.absolute)
    __invert__ = _sign(np.invert)

    def __matmul__(self, other: Any) -> Any:
        return call_traced(np.matmul, (self, other), {})

    def __rmatmul__(self, other: Any) -> Any:
        return call_traced(np.matmul, (other, self), {})

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, ndigits: int = 0) -> Any:
        return self.round(ndigits)

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return apply_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        del types
        return call_traced(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        del dtype, copy
        refuse(
            "a traced value has no elements yet, so NumPy cannot make an array of it",
            self.node,
            "use the functions of chainrule.numpy on it: cnp.take(constant, index) picks elements "
            "of a plain array, cnp.stack([...]) joins values",
        )

    # Python's questions about the value

    def __bool__(self) -> bool:
        refuse(
            "the truth value of a traced array is known only when the compiled function is called",
            self.node,
            f"choose between arrays with cnp.where(condition, a, b); {_SETTING}",
        )

    def __float__(self) -> float:
        self._number("float", _instead(user_line()))

    def __complex__(self) -> complex:
        self._number(
            "complex", "complex numbers are not supported: work on real and imaginary parts"
        )

    def __int__(self) -> int:
        self._number("int", f"convert with .astype(int); {_SETTING}")

    def __index__(self) -> int:
        self._number(
            "integer", f"index plain arrays with cnp.asarray(x)[i] or cnp.take(x, i); {_SETTING}"
        )

    def __format__(self, spec: str) -> str:
        if spec:
            refuse(
                "a traced array cannot be written as a number: "
                "its value is known only when the compiled function is called",
                self.node,
                "return the value from the compiled function, then format it; "
                "without a format, as {x}, its type is written",
                f"format  {spec}",
            )
        return str(self)

    def item(self, *args: int) -> NoReturn:
        """Raise UnsupportedError: there is no number yet."""
        del args
        self._number("number", "return the value from the compiled function, then read it")

    def tolist(self) -> NoReturn:
        """Raise UnsupportedError: there are no numbers yet."""
        self._number("list", "return the value from the compiled function, then read it")

    def _number(self, kind: str, hint: str) -> NoReturn:
        refuse(
            f"a traced array cannot become a Python {kind}: "
            "its value is known only when the compiled function is called",
            self.node,
            hint,
        )

    def __len__(self) -> int:
        shape = self.node.type.shape
        if not shape:
            raise StructureError("len() of an array without axes")
        if isinstance(shape[0], Dim):
            refuse(
                f"len() of an axis of extent {show_extent(shape[0])}, "
                "which is known only when the compiled function is called",
                self.node,
                "use x.shape[0] in arithmetic, or give the extent as a number in dims=",
            )
        return shape[0]

    def __iter__(self) -> Iterator[Array]:
        shape = self.node.type.shape
        if not shape:
            raise StructureError(
                explain(
                    "an array without axes cannot be iterated over",
                    f"value  {describe(self.node)}",
                    f"at  {user_line()}",
                    hint="it is one number: use it as it is",
                )
            )
        if isinstance(shape[0], Dim):
            refuse(
                f"a Python loop over an axis of extent {show_extent(shape[0])}, "
                "which is known only when the compiled function is called",
                self.node,
                "work on the whole axis with array functions or cr.vmap, "
                "or give the extent as a number in dims=",
            )
        return (self[i] for i in range(shape[0]))

    def __contains__(self, x: Any) -> bool:
        return bool((self == x).any())

    # Indexing

    def __getitem__(self, key: Any) -> Array:
        locate(self.node.graph)
        found: Array = IMPLEMENTATIONS[operator.getitem](self, key)
        return found

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        del key, value
        refuse(
            "traced arrays cannot be changed in place",
            self.node,
            "write x = x.at[index].set(value), or .add(value)",
        )

    @property
    def at(self) -> Updates:
        """Updates out of place: `x.at[index].add(v)`, `.set(v)`, `.multiply`, `.max`, `.min`."""
        return Updates(self)
