"""Loading of the compiler proper, when something is first compiled: importing stays quick."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any, Final

from chainrule_runtime.forks import hold_over_forks, require_intact

__all__ = ["load", "load_compiler"]

WHAT: Final = "the loading of the compiler"
# Python's own locks of modules do not survive a fork: a child waits for ever for a module that
# another thread was importing.
_LOCK: Final = hold_over_forks(0, WHAT, threading.RLock())


def load(module: str) -> Any:
    """Import a module of ours; a fork waits until that is done.

    Raises:
        CompileError: This process was forked while that went on.
    """
    require_intact(WHAT)
    with _LOCK:
        return import_module(module)


def load_compiler() -> None:
    """Import whatever a compilation needs; quick if that is done."""
    require_intact(WHAT)
    with _LOCK:
        from chainrule.api import shared, stages, variant  # noqa: F401
        from chainrule.link import cache  # noqa: F401
