"""What the functions of `chainrule.random` are given, looked at before anything is drawn."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, OutOfRangeError, ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.extents import SymbolicExtent, plain_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import as_operand, shape_of
from chainrule.frontend.value import Value
from chainrule.ir.dims import Dim, show_extent
from chainrule.ir.types import DType as Element
from chainrule.ir.types import dtype_of
from chainrule.typing import Array, DType, Key, Shape

__all__ = [
    "any_type", "element_type", "integer_type", "require_key", "require_order", "require_within",
    "shape_asked", "spread", "whole",
]  # fmt: skip


def require_key(key: Key, verb: str) -> None:
    """Raise unless a key is uint32[2].

    Raises:
        StructureError: It is no array of that type.
        ShapeError: It holds several keys.
    """
    dtype = getattr(key, "dtype", None)
    words = dtype == np.uint32 or (dtype is not None and np.dtype(dtype).str == ">u4")
    if words and key.shape == (2,):
        return
    if words and len(key.shape) > 1:
        raise ShapeError(
            explain(f"{verb} takes one key, uint32[2]", f"shape  {tuple(key.shape)}",
                    hint="a row of what split returns is a key: keys[0]; vmap maps over keys")
        )  # fmt: skip
    given = type(key).__name__ if dtype is None else f"{dtype}{list(key.shape)}"
    seed = isinstance(key, int | np.integer)
    raise StructureError(
        explain(f"{verb} takes a key first, uint32[2]", f"given  {given}  {_shown(key)}",
                hint=f"make one of a number: chainrule.random.key({int(key)})" if seed
                else "make one with chainrule.random.key, or split one")
    )  # fmt: skip


def _shown(x: Any) -> str:
    return "" if isinstance(x, Value) else f"{x!r:.60}"


def shape_asked(shape: Shape | int, verb: str) -> tuple[Any, ...]:
    """Return the shape of a result: integers, or extents inside a trace.

    Raises:
        ShapeError: It holds something else, or a negative number.
    """
    single = not isinstance(shape, Sequence | np.ndarray) or isinstance(shape, str)
    entries = (shape,) if single else tuple(shape)  # type: ignore[arg-type]
    return tuple([_extent(n, shape, verb) for n in entries])


def _extent(n: Any, shape: Any, verb: str) -> Any:
    if isinstance(n, SymbolicExtent | Dim):
        return n
    if isinstance(n, Value | bool) or not hasattr(n, "__index__"):
        hint = "an extent, as x.shape[0], is known when the function is compiled"
        raise ShapeError(
            explain(f"{verb}: a shape holds integers", f"shape  {_shown(shape)}",
                    f"at  {user_line()}", hint=hint if isinstance(n, Value) else "")
        )  # fmt: skip
    if operator.index(n) < 0:
        raise ShapeError(explain(f"{verb}: an extent is negative", f"shape  {_shown(shape)}"))
    return operator.index(n)


def any_type(dtype: DType, verb: str) -> Element:
    """Return a dtype.

    Raises:
        DTypeError: There is no such dtype.
    """
    try:
        return dtype_of(dtype)
    except (TypeError, ValueError) as error:
        if isinstance(error, DTypeError):
            raise
        raise DTypeError(explain(f"{verb}: this is no dtype", f"dtype  {dtype!r:.60}")) from None


def element_type(dtype: DType, verb: str) -> Element:
    """Return a dtype of floats.

    Raises:
        DTypeError: It is another, or none.
    """
    found = any_type(dtype, verb)
    if not found.is_float:
        raise DTypeError(
            explain(f"the numbers of {verb} are floats, not {found.numpy}",
                    hint="randint draws integers")
        )  # fmt: skip
    return found


def integer_type(dtype: DType, verb: str) -> np.dtype[Any]:
    """Return a dtype of integers.

    Raises:
        DTypeError: It is another, or none.
    """
    found = any_type(dtype, verb)
    if found.kind not in ("int", "uint"):
        raise DTypeError(explain(f"the numbers of {verb} are integers, not {found.numpy}"))
    return found.numpy


def whole(x: Any, what: str) -> int:
    """Return an integer that is known before anything runs.

    Raises:
        StructureError: It is traced.
        DTypeError: It is no integer.
    """
    if isinstance(x, Value | SymbolicExtent | Dim):
        raise StructureError(
            explain(f"{what} is known only when the function runs",
                    hint="give a number, or name the argument in static_argnames")
        )  # fmt: skip
    plain = getattr(x, "shape", ()) == () and not isinstance(x, bool | np.bool_)
    if not (plain and hasattr(x, "__index__")):
        raise DTypeError(explain(f"{what} is no integer", f"given  {_shown(x)}"))
    try:
        return operator.index(x)
    except TypeError:  # an array without axes, of floats
        raise DTypeError(explain(f"{what} is no integer", f"given  {_shown(x)}")) from None


def spread(x: Any, shape: tuple[Any, ...], what: str) -> None:
    """Raise unless numbers broadcast to the shape of the result.

    Raises:
        DTypeError: They are no numbers.
        ShapeError: They do not; extents without numbers are left to the arithmetic.
    """
    dtype = getattr(x, "dtype", None)
    plain = dtype is None and isinstance(x, complex)
    if plain or not is_arraylike(x) or (dtype is not None and np.dtype(dtype).kind in "cSUOMm"):
        raise DTypeError(explain(f"{what} is no real number", f"given  {_shown(x)}"))
    own, wanted = shape_of(as_operand(x)), tuple(map(plain_extent, shape))
    if not all(isinstance(e, int) for e in (*own, *wanted)):
        return
    try:
        fits = np.broadcast_shapes(own, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        texts = [", ".join(map(show_extent, s)) for s in (own, wanted)]
        raise ShapeError(
            explain(f"{what} does not broadcast to the shape of the result",
                    f"it      [{texts[0]}]", f"result  [{texts[1]}]")
        )  # fmt: skip


def require_order(low: Any, high: Any, verb: str) -> None:
    """Raise OutOfRangeError where bounds are known, and not finite or not in order."""
    if isinstance(low, Value) or isinstance(high, Value):
        return
    a, b = np.asarray(low), np.asarray(high)
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.all(a <= b)):
        raise OutOfRangeError(
            explain(f"{verb}: the bounds are finite, and minval is at most maxval",
                    f"minval  {_shown(low)}", f"maxval  {_shown(high)}")
        )  # fmt: skip


def require_within(p: Array | float, verb: str) -> None:
    """Raise OutOfRangeError where probabilities are known, and outside of [0, 1]."""
    if isinstance(p, Value):
        return
    known = np.asarray(p)
    if not np.all((known >= 0) & (known <= 1)):
        raise OutOfRangeError(explain(f"{verb}: a probability is 0 to 1", f"p  {_shown(p)}"))
