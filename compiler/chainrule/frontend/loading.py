"""Loading of the compiler proper, when something is first compiled: importing stays quick."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chainrule_runtime.forks import hold_over_forks, require_intact

__all__ = ["loading"]

WHAT: Final = "the loading of the compiler"
# Python's own locks of modules do not survive a fork: a child waits for ever for a module that
# another thread was importing.
_LOCK: Final = hold_over_forks(0, WHAT, threading.RLock())


@contextmanager
def loading() -> Iterator[None]:
    """Import modules of ours in here; a fork waits until that is done.

    Raises:
        CompileError: This process was forked while that went on.
    """
    require_intact(WHAT)
    with _LOCK:
        yield
