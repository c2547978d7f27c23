"""One table from NumPy's functions to what they mean on traced values.

`chainrule.numpy` fills it; operators and methods of `Array`, `__array_ufunc__` and
`__array_function__` look functions up in it.  So each function has one implementation, however it
is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final, ParamSpec

import numpy as np

from chainrule.errors import ChainruleError, UnsupportedError, explain, ours
from chainrule.frontend.locate import locate, user_line
from chainrule.frontend.options import name_of_function, reconciled, refuse_out
from chainrule.ir.graph import Graph

__all__ = ["IMPLEMENTATIONS", "InGraph", "apply_ufunc", "array_function", "call_traced",
           "first_traced", "newer"]  # fmt: skip

P = ParamSpec("P")

IMPLEMENTATIONS: Final[dict[Any, Callable[..., Any]]] = {}

# ufunc.reduce and ufunc.accumulate are functions under other names; their axis defaults to 0.
_REDUCE: Final[dict[np.ufunc, Any]] = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
    np.logical_and: np.all, np.logical_or: np.any,
}  # fmt: skip
_ACCUMULATE: Final[dict[np.ufunc, Any]] = {np.add: np.cumsum, np.multiply: np.cumprod}


class InGraph:
    """What belongs to a graph: traced arrays and extents."""

    __slots__ = ()

    def strong(self) -> Any:
        """Return what a function, unlike an operator, makes of it."""
        return self

    @property
    def graph(self) -> Graph:
        """The graph."""
        raise NotImplementedError


def first_traced(values: Iterable[Any]) -> InGraph | None:
    """Return a traced value among arguments, looking into lists and tuples, else None."""
    for value in values:
        if isinstance(value, InGraph):
            return value
        if type(value) in (list, tuple):
            found = first_traced(value)
            if found is not None:
                return found
    return None


def array_function(*numpy_functions: Any) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Declare what NumPy functions mean on traced values.

    The result computes with the first NumPy function where no argument is traced; inside a trace
    arrays it gives can be indexed by and updated with traced values (see `frontend.known`).
    """

    def declare(implementation: Callable[P, Any]) -> Callable[P, Any]:
        for function in numpy_functions:
            IMPLEMENTATIONS.setdefault(function, implementation)
        plain = numpy_functions[0]

        @wraps(implementation)
        def function_of_arrays(*args: P.args, **kwargs: P.kwargs) -> Any:
            traced = first_traced(args)
            if traced is None and kwargs:
                traced = first_traced(kwargs.values())
            if traced is None:
                return IMPLEMENTATIONS["known"](plain(*args, **kwargs))
            locate(traced.graph)
            return _applied(plain, implementation, args, kwargs)

        return function_of_arrays

    return declare


def newer(name: str) -> Callable[..., Any]:
    """Return a function that not every version of NumPy has, or one that says so."""

    def absent(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        raise UnsupportedError(
            explain(
                f"NumPy {np.__version__} has no {name}", hint="install another version of NumPy"
            )
        )

    found: Callable[..., Any] = getattr(np, name, absent)
    return found


def call_traced(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply a NumPy function to traced values.

    Raises:
        UnsupportedError: There is no implementation of the function.
    """
    implementation = IMPLEMENTATIONS.get(function)
    if implementation is None:
        name = name_of_function(function)
        place = ours(name)
        raise UnsupportedError(
            explain(
                f"{name} is not available for traced values",
                f"at  {user_line()}",
                hint=f"{place} takes traced values"
                if place
                else "write it with the functions of chainrule.numpy, "
                "or compute it outside the traced function",
            )
        )
    traced = first_traced((*args, *kwargs.values()))
    if traced is not None:
        locate(traced.graph)
    return _applied(function, implementation, args, kwargs)


def _applied(
    function: Any, implementation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if kwargs:
        refuse_out(function, kwargs.get("out"))
        if isinstance(function, np.ufunc) and kwargs.get("dtype") is not None:
            kwargs = dict(kwargs)
            args = IMPLEMENTATIONS["in dtype"](function, args, kwargs.pop("dtype"))
    try:
        result = implementation(*args, **kwargs)
    except TypeError as error:
        # Only what does not fit the parameters: nothing has run then.
        if isinstance(error, ChainruleError):
            raise
        given = reconciled(function, implementation, args, kwargs)
        if given is None:
            raise
        result = implementation(*given[0], **given[1])
    return result.strong() if isinstance(result, InGraph) else result


def apply_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Give `__array_ufunc__` its meaning on traced values."""
    refuse_out(ufunc, kwargs.pop("out", None))
    match method:
        case "__call__":
            return call_traced(ufunc, inputs, kwargs)
        case "reduce" if ufunc in _REDUCE:
            return call_traced(_REDUCE[ufunc], inputs, {"axis": 0, **kwargs})
        case "accumulate" if ufunc in _ACCUMULATE:
            return call_traced(_ACCUMULATE[ufunc], inputs, {"axis": 0, **kwargs})
        case _:
            raise UnsupportedError(
                explain(
                    f"{ufunc.__name__}.{method} is not available for traced values",
                    f"at  {user_line()}",
                    hint="write it with the functions of chainrule.numpy",
                )
            )
