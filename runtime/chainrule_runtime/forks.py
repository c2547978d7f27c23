"""Locks that a forked child can use, whatever other threads were doing at the moment of the fork.

`os.fork` copies one thread and the state of every lock; what another thread held stays held for
ever.  Two kinds of lock live with that:

* A *short* lock (`hold_over_forks`) guards code that runs nothing of the user's, such as LLVM or
  the loading of modules.  A fork waits until it is free, so the child finds what it guards whole.
  All are taken in the order of their ranks, and whoever holds one takes only those after it.
* A *long* lock (`LongLock`) may be held while a user's function runs, which may itself wait for
  the thread that forks.  The child gets a new one: what the lost thread had begun is begun anew.

A short lock that does not become free within `PATIENCE` is given up: the child is told
(`require_intact`) instead of hanging.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from .errors import CompileError, explain

__all__ = ["LongLock", "hold_over_forks", "intact", "require_intact"]

PATIENCE: Final = 30.0
"Seconds a fork waits for short locks: LLVM needs some for the largest of programs."


class _Short(NamedTuple):
    rank: int
    name: str
    lock: Any


class _Forking(threading.local):
    """What this thread took for the fork it is in."""

    def __init__(self) -> None:
        self.taken: list[_Short] = []


_FORKING: Final = _Forking()
_short: list[_Short] = []
_long: Final[weakref.WeakSet[LongLock]] = weakref.WeakSet()
_lost: Final[set[str]] = set()


def hold_over_forks(rank: int, name: str, lock: Any) -> Any:
    """Have forks wait for a reentrant lock, after those of lower rank; return the lock.

    `name` says in messages what the lock guards.
    """
    _short.append(_Short(rank, name, lock))
    _short.sort(key=lambda one: one.rank)
    return lock


class LongLock:
    """A reentrant lock that is free in a child of a fork, whoever held it."""

    __slots__ = ("__weakref__", "_inner")

    def __init__(self) -> None:
        self._inner = threading.RLock()
        _long.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for a while."""
        # What was taken is given back, even if this thread forks in between.
        with self._inner:
            yield

    def renew(self) -> None:
        """Forget who holds it."""
        self._inner = threading.RLock()


def intact(name: str) -> bool:
    """Tell whether what a short lock guards was whole when this process began."""
    return name not in _lost


def require_intact(name: str) -> None:
    """Refuse to use what was in the middle of something when this process was forked.

    Raises:
        CompileError: The fork could not wait for it.
    """
    if name in _lost:
        raise CompileError(
            explain(
                f"this process was forked while another thread was busy with {name}",
                f"waited  {PATIENCE:g} s",
                hint="what was compiled before can be called; to compile, start processes by "
                "'spawn' or 'forkserver', or fork while no other thread compiles",
            )
        )


def _before() -> None:
    taken = _FORKING.taken = []
    end, tried = time.monotonic() + PATIENCE, list[_Short]()
    # There may be more of them after each: modules bring theirs as they are loaded.
    while (one := next((o for o in _short if o not in tried), None)) is not None:
        tried.append(one)
        if one.lock.acquire(timeout=max(0.0, end - time.monotonic())):
            taken.append(one)


def _release() -> None:
    while _FORKING.taken:
        _FORKING.taken.pop().lock.release()


def _in_child() -> None:
    # Also where a signal ended the waiting.
    _lost.update(one.name for one in _short if one not in _FORKING.taken)
    _release()
    for lock in list(_long):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_release, after_in_child=_in_child)
