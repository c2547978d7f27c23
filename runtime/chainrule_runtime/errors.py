"""The family of exceptions, and how a message is laid out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, NoReturn

__all__ = [
    "AliasError", "CacheError", "ChainruleError", "CompileError", "DTypeError", "ExportError",
    "NotDifferentiableError", "OutOfMemoryError", "OutOfRangeError", "RecursionLimitError",
    "ShapeError", "StructureError", "UnsupportedError", "explain", "keep_raised", "raise_failure",
    "take_raised",
]  # fmt: skip


class ChainruleError(Exception):
    """Whatever this package raises on purpose."""


class ShapeError(ChainruleError, ValueError):
    """Extents do not fit together."""


class DTypeError(ChainruleError, TypeError):
    """An element type is not the one expected, or cannot be handled at all."""


class StructureError(ChainruleError, TypeError):
    """Arguments are nested, counted or named otherwise than expected."""


class AliasError(ChainruleError, ValueError):
    """An array to be written is read-only, would be converted, or shares memory with another."""


class OutOfRangeError(ChainruleError, IndexError, OverflowError, ValueError):
    """An index lies outside of its axis, or an integer outside of the dtype it is taken in.

    So does an integer to a negative power, which no integer is, and a number that an option
    cannot be.

    Nothing has been written.
    """


class NotDifferentiableError(ChainruleError):
    """A derivative was asked for where there is none."""


class UnsupportedError(ChainruleError, NotImplementedError):
    """A legal program that this version cannot compile."""


class CompileError(ChainruleError):
    """Compilation failed."""


class ExportError(ChainruleError):
    """A package for another machine could not be written or read."""


class OutOfMemoryError(ChainruleError, MemoryError):
    """There was no memory for what a loop recorded as it ran."""


class RecursionLimitError(ChainruleError, RecursionError):
    """Functions call one another more levels deep than Python allows."""


class CacheError(ChainruleError):
    """The compile cache cannot be used."""


def explain(what: str, *facts: str, hint: str = "") -> str:
    """Lay a message out: what went wrong, the facts indented below, then what to try.

    >>> print(explain("operands do not broadcast", "operand 0  f64[3, 4]", hint="use expand_dims"))
    operands do not broadcast
      operand 0  f64[3, 4]
    hint: use expand_dims
    """
    lines = [what, *(f"  {fact}" for fact in facts)]
    if hint:
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


NO_MEMORY: Final = -1
"What a kernel returns if there was no memory for what a loop records."
RAISED: Final = -2
"What a kernel returns if a Python function that it called raised an exception."


OUT_OF_BOUNDS: Final = -3
"What a kernel returns if it was compiled to check every access and one was outside of its array."


def raise_failure(name: str, messages: Sequence[str], code: int) -> NoReturn:
    """Raise what error code `code` of the function `name` means; `messages` explain its checks.

    Raises:
        OutOfRangeError: A check of the program failed.
        OutOfMemoryError: There was no memory for what a loop recorded.
        Exception: What a Python function raised that the kernel called.
    """
    if code == NO_MEMORY:
        raise OutOfMemoryError(explain(f"{name}() found no memory for what a loop records",
                                       hint="give the loop a bound with max_steps"))  # fmt: skip
    if code == OUT_OF_BOUNDS:
        raise CompileError(f"{name}() has a kernel that reaches beyond an array; please report it")
    if code == RAISED:
        raise take_raised()
    meaning = messages[code - 1] if 0 < code <= len(messages) else f"error code {code}"
    raise OutOfRangeError(explain(f"{name}() failed while it ran", meaning))


class _Raised(threading.local):
    """What a Python function raised that was called by native code, for each thread."""

    exception: BaseException | None = None


_RAISED: Final = _Raised()


def keep_raised(exception: BaseException) -> None:
    """Remember an exception until the native code has returned."""
    _RAISED.exception = exception


def take_raised() -> BaseException:
    """Return the exception that was remembered."""
    found, _RAISED.exception = _RAISED.exception, None
    return found if found is not None else CompileError("a callback failed without an exception")
