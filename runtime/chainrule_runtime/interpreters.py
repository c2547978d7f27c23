"""Which of a process's interpreters this is: compiled code serves the main one alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import UnsupportedError, explain

__all__ = ["is_main", "require_main"]


def is_main() -> bool:
    """Tell whether this is the process's main interpreter."""
    # Not by ctypes: an interpreter with a GIL of its own may not be able to load it.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters: Any = import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


def require_main() -> None:
    """Refuse to work in another interpreter.

    Native code holds objects of the interpreter it was bound in, and asks for the main one's GIL.

    Raises:
        UnsupportedError: This is a sub-interpreter.
    """
    if not is_main():
        raise UnsupportedError(
            explain("chainrule works in the main interpreter of a process alone",
                    "this is  a sub-interpreter",
                    hint="use threads (calls release the GIL) or processes; under mod_wsgi, set "
                    "WSGIApplicationGroup %{GLOBAL}")
        )  # fmt: skip


require_main()
