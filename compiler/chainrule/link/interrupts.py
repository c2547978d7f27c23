"""The function that running loops ask for interrupts: made once in a process, told to each."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from functools import cache
from typing import Any, Final

from chainrule.emit.builder import Module
from chainrule.emit.look import LOOK, LOOK_SLOTS, LOOK_TABLE, emit_look
from chainrule.link.cache import Cache
from chainrule.link.jit import cached_code
from chainrule.link.libraries import Loaded, load
from chainrule.link.target import host
from chainrule_runtime.errors import keep_raised

__all__ = ["possible", "tell"]

_WORD: Final = 8
_made: Final[list[Loaded]] = []


@cache
def possible() -> bool:
    """Tell whether loops can look: it takes a clock of POSIX."""
    return hasattr(time, "CLOCK_MONOTONIC") and hasattr(ctypes.CDLL(None), "clock_gettime")


def tell(cell: int, cache: Cache | None) -> None:
    """Write the function's address into the cell of loaded code, making it if need be."""
    if not _made:
        module = Module()
        emit_look(module)
        code = cached_code(module.text(), host(), cache, level=0)
        made = load(code, (LOOK, LOOK_TABLE))
        _fill(made.addresses[LOOK_TABLE])
        # Never unloaded.  Of two threads that come here at once, both have a good one.
        _made.append(made)
    ctypes.c_void_p.from_address(cell).value = _made[0].addresses[LOOK]


def _fill(table: int) -> None:
    def address(function: Any) -> int:
        return int(ctypes.cast(function, ctypes.c_void_p).value or 0)

    words = {
        "thread": threading.main_thread().ident or 0, "last": 0, "clock": time.CLOCK_MONOTONIC,
        "keep": id(keep_raised), "clock_gettime": address(ctypes.CDLL(None).clock_gettime),
    }  # fmt: skip
    for i, slot in enumerate(LOOK_SLOTS):
        word = words[slot] if slot in words else address(getattr(ctypes.pythonapi, slot))
        ctypes.c_uint64.from_address(table + _WORD * i).value = word


def _follow() -> None:
    """In a child of a fork, the thread that forked handles the signals."""
    for made in _made:
        at = made.addresses[LOOK_TABLE] + _WORD * LOOK_SLOTS.index("thread")
        ctypes.c_uint64.from_address(at).value = threading.get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_follow)
