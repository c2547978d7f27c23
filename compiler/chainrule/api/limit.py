"""What is said where Python's recursion limit ends a compilation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chainrule.errors import RecursionLimitError, explain
from chainrule.frontend.arguments import name_of
from chainrule.frontend.context import is_tracing

__all__ = ["within_recursion_limit"]


@contextmanager
def within_recursion_limit(fn: Callable[..., Any]) -> Iterator[None]:
    """Turn the end of Python's stack into an error that names the function to be compiled.

    Graphs are walked without recursion, so it is functions that call one another too deeply, or
    a limit too low for loading and running the compiler.
    """
    try:
        yield
    except RecursionError as error:
        # The outermost function speaks: it alone has room on the stack.
        if is_tracing() or isinstance(error, RecursionLimitError):
            raise
        raise RecursionLimitError(
            explain(f"compiling {name_of(fn)} takes more levels of calls than Python's limit",
                    f"limit  {sys.getrecursionlimit()}",
                    hint="write recursion as a loop (cr.scan, cr.fori_loop), nest fewer "
                    "transformations, or raise the limit with sys.setrecursionlimit")
        ) from None  # fmt: skip
