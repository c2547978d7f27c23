"""The family of exceptions, and how a message is laid out."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AliasError", "CacheError", "ChainruleError", "CompileError", "DTypeError", "ExportError",
    "NotDifferentiableError", "OutOfRangeError", "ShapeError", "StructureError",
    "UnsupportedError", "explain", "failure_message",
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


class OutOfRangeError(ChainruleError, IndexError, OverflowError):
    """An index lies outside of its axis, or a Python integer outside of the dtype it is taken in.

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


def failure_message(name: str, messages: Sequence[str], code: int) -> str:
    """Return the text for error code `code` of the function `name`, which `messages` explain."""
    meaning = messages[code - 1] if 0 < code <= len(messages) else f"error code {code}"
    return explain(f"{name}() failed while it ran", meaning)
