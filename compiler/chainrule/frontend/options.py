"""What to do with NumPy's optional parameters that a function of traced values does not have.

A value that changes nothing there (`casting="same_kind"`, `order="F"`, `out=None`) is left out;
any other is refused by its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from chainrule.errors import StructureError, UnsupportedError, close, explain
from chainrule.frontend.locate import user_line

__all__ = ["name_of_function", "reconciled", "refuse_out"]

_UFUNC: Final = ("out", "where", "casting", "order", "dtype", "subok", "signature", "axes", "axis",
                 "keepdims")  # fmt: skip
# Values that change nothing of a result whose memory nobody sees; None stands for "any".
_HARMLESS: Final[Mapping[str, tuple[Any, ...] | None]] = {
    "casting": ("same_kind", "safe"), "device": (None, "cpu"), "like": (None,),
    "order": ("K", "A", "C", "F", None), "out": (None, (None,)), "subok": None, "where": (True,),
    "signature": (None,),
}  # fmt: skip
_HINTS: Final = {
    "out": "write a = f(x) instead of f(x, out=a)",
    "where": "choose between results with cnp.where(mask, result, otherwise)",
    "casting": "convert the operands with .astype(...)",
}

Given = tuple[tuple[Any, ...], dict[str, Any]]


def name_of_function(function: Any) -> str:
    """Return what users call a NumPy function."""
    return str(getattr(function, "__name__", function))


def reconciled(
    function: Any, implementation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Given | None:
    """Return arguments as the implementation takes them; None if it takes them as they are.

    Raises:
        UnsupportedError: NumPy's function has a parameter that this one has not.
        StructureError: NumPy's has none of the name either, or an argument is missing.
    """
    own = inspect.signature(implementation)
    if _binds(own, args, kwargs) is None:
        return None
    its = _parameters(function)
    known = list(own.parameters)
    places = [
        n for n, p in own.parameters.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    count = len(places)
    if any(p.kind is p.VAR_POSITIONAL for p in own.parameters.values()):
        count = len(args)
    beyond = dict(zip(_after(function, its, count), args[count:], strict=False))
    left = dict(kwargs)
    for name, value in (beyond | kwargs).items():
        if name in known and name not in beyond:
            continue
        if name not in its and name not in beyond:
            raise _unknown(function, name, its or known)
        if not _changes_nothing(its.get(name), name, value):
            raise _refused(function, name, value)
        left.pop(name, None)
    missing = _binds(own, args[:count], left)
    if missing is not None:
        raise StructureError(
            explain(f"{name_of_function(function)}: {missing}", f"at  {user_line()}",
                    hint=f"it is called as numpy.{name_of_function(function)}")
        )  # fmt: skip
    return args[:count], left


def refuse_out(function: Any, out: Any) -> None:
    """Raise UnsupportedError if an array is given for the result."""
    if out is not None and not (isinstance(out, tuple) and all(o is None for o in out)):
        raise UnsupportedError(
            explain(
                f"the result of {name_of_function(function)} is a traced value: "
                "no array can store it, out= is not available",
                f"at  {user_line()}",
                hint="write a = a + b instead of a += b or out=",
            )
        )


def _binds(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> TypeError | None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return error
    return None


@cache
def _parameters(function: Any) -> dict[str, Any]:
    """Return the names and defaults of a NumPy function's parameters."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        # Older versions of NumPy say nothing of what is written in C.
        return dict.fromkeys((*_UFUNC, "device", "like", "ndmax"), inspect.Parameter.empty)
    named = {p.name: p.default for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return dict.fromkeys(_UFUNC, inspect.Parameter.empty) | named if _open(found) else named


def _open(parameters: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _after(function: Any, parameters: Mapping[str, Any], count: int) -> list[str]:
    """Return the names of positional parameters from number `count` on."""
    if isinstance(function, np.ufunc):
        return [] if count < function.nin else ["out"] * function.nout
    return list(parameters)[count:]


def _changes_nothing(default: Any, name: str, value: Any) -> bool:
    if name in _HARMLESS:
        known = _HARMLESS[name]
        return known is None or any(type(value) is type(k) and value == k for k in known)
    return default is not inspect.Parameter.empty and value is default


def _refused(function: Any, name: str, value: Any) -> Exception:
    if name == "out":
        try:
            refuse_out(function, value)
        except UnsupportedError as error:
            return error
    return UnsupportedError(
        explain(
            f"{name_of_function(function)} of a traced value does not take {name}",
            f"{name}  {value!r:.60}",
            f"at  {user_line()}",
            hint=_HINTS.get(name, "leave it out, or write it with other functions"),
        )
    )


def _unknown(function: Any, name: str, known: Any) -> Exception:
    near = close(name, known)
    return StructureError(
        explain(
            f"{name_of_function(function)} has no parameter {name}",
            f"parameters  {', '.join(known)}",
            f"at  {user_line()}",
            hint=f"did you mean {near}?" if near else "",
        )
    )
