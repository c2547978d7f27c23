"""Object code to addresses in this process, and out of it again without a trace.

LLVM keeps about 8 kB of every library that it has ever linked, also of those unloaded, until the
linker itself is gone.  So linkers come and go: when one has unloaded as much as it holds, the next
library goes to a new one, and the old one is freed with the last of its libraries.  Memory is then
proportional to the code that is loaded, however much was before.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import sys
import threading
import weakref
from collections import deque
from typing import Any, Final

import llvmlite.binding as llvm

from chainrule.errors import CompileError, explain
from chainrule.link.target import host, target_machine
from chainrule_runtime.forks import hold_over_forks, require_intact

__all__ = ["LLVM", "Loaded", "libraries", "load"]

LLVM: Final = "LLVM"
"What forks wait for, and what cannot be used in a child where they could not."
UNLOADED: Final = 32
"Libraries that a linker has unloaded before it can be given up."

# Taken in this order.  The second is llvmlite's own, which it holds around every call of LLVM.
_LINKING: Final = hold_over_forks(1, LLVM, threading.RLock())
_CALLING: Final = hold_over_forks(2, LLVM, llvm.ffi.lib._lock._lock)  # noqa: SLF001
_SERIAL: Final = itertools.count()


class _Linker:
    """One of LLVM's linkers, and what it has loaded.

    Attributes:
        trackers: LLVM's handles of the libraries that are loaded, by number.
        unloaded: How many there were besides.
    """

    def __init__(self) -> None:
        # JITLink keeps the sections of an object together; the older linker may place them too far
        # apart for the small code model, and then aborts the process.
        machine = target_machine(host(), jit=True)
        self.handle: Final[Any] = llvm.create_lljit_compiler(machine, use_jit_link=True)
        self.trackers: Final[dict[int, Any]] = {}
        self.unloaded = 0

    def link(self, number: int, code: bytes, names: tuple[str, ...]) -> dict[str, int]:
        """Load a library under a number, which can never be used twice; return its addresses."""
        builder = llvm.JITLibraryBuilder().add_object_img(code)
        for name in names:
            builder = builder.export_symbol(name)
        tracker = builder.link(self.handle, f"chainrule.{number}")
        self.trackers[number] = tracker
        return {name: int(tracker[name]) for name in names}


# The linker in use comes last.  Held here, and not by what is loaded: of objects in a cycle the
# garbage collector might finalize a linker before its libraries.
_linkers: Final[list[_Linker]] = []
_garbage: Final[deque[tuple[_Linker, int]]] = deque()
_shared: Final[weakref.WeakValueDictionary[bytes, Loaded]] = weakref.WeakValueDictionary()
_leaving = threading.Event()
# Threads may run compiled code until the very end of the process, so nothing is unloaded then.
atexit.register(_leaving.set)


class Loaded:
    """Code in memory; it stays there as long as this record lives.

    Attributes:
        addresses: Where each exported function starts.
    """

    __slots__ = ("__weakref__", "_linker", "_number", "addresses")

    def __init__(self, linker: _Linker, number: int, addresses: dict[str, int]) -> None:
        self._linker, self._number, self.addresses = linker, number, addresses

    def __del__(self, finalizing: Any = sys.is_finalizing) -> None:
        if finalizing() or _leaving.is_set():
            return
        _garbage.append((self._linker, self._number))
        # Whoever drops a function is not made to wait for another thread that compiles: it, or
        # the next to load something, cleans up then.
        if _LINKING.acquire(blocking=False):
            try:
                if _CALLING.acquire(blocking=False):
                    try:
                        _clean_up()
                    finally:
                        _CALLING.release()
            finally:
                _LINKING.release()


def load(code: bytes, names: tuple[str, ...], *, shared: bool = False) -> Loaded:
    """Load object code into this process and find the functions `names`.

    With `shared`, code that is loaded already is not loaded again: code that keeps no state.

    Raises:
        CompileError: The code does not define them.
    """
    require_intact(LLVM)
    key = hashlib.sha256(repr(names).encode() + code).digest() if shared else b""
    with _LINKING:
        found = _shared.get(key) if shared else None
        if found is not None:
            return found
        _clean_up()
        linker = _current()
        # Made first: its finalizer unloads what an interrupt leaves behind.
        number = next(_SERIAL)
        loaded = Loaded(linker, number, {})
        try:
            loaded.addresses.update(linker.link(number, code, names))
        except RuntimeError as error:
            raise CompileError(explain("the compiled code cannot be loaded", str(error))) from None
        if shared:
            _shared[key] = loaded
        return loaded


def libraries() -> tuple[int, int]:
    """Return how many libraries are loaded, and how many of LLVM's linkers there are for them."""
    with _LINKING:
        _clean_up()
        return sum(len(linker.trackers) for linker in _linkers), len(_linkers)


def _current() -> _Linker:
    """Return the linker to use, a new one if the last has unloaded as much as it holds."""
    if _linkers and _linkers[-1].unloaded < max(UNLOADED, len(_linkers[-1].trackers)):
        return _linkers[-1]
    _linkers.append(_Linker())
    _give_up_empty()
    return _linkers[-1]


def _clean_up() -> None:
    """Unload what nobody refers to any more.

    Handles of LLVM's are dropped and never closed: an interrupt within `close` may come between
    the disposal and the note of it, and the finalizer would dispose of the object again.
    """
    while _garbage:
        # Finalizers may run in between and do the same; what is interrupted is done another time.
        try:
            linker, number = first = _garbage[0]
            if linker.trackers.pop(number, None) is not None:
                linker.unloaded += 1
            _garbage.remove(first)
        except (IndexError, ValueError):
            return
    _give_up_empty()


def _give_up_empty() -> None:
    for linker in _linkers[:-1]:
        # A finalizer that runs in between may have been here too.
        if not linker.trackers and linker in _linkers:
            _linkers.remove(linker)
