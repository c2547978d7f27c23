"""Functions of ours on plain arrays: computed in NumPy at first, natively once that pays.

Only for functions whose bits are the same in both, so that nobody can tell but by the time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.frontend.loading import loading
from chainrule.ir.types import Array
from chainrule.numerics import STRICT
from chainrule_runtime.call import call_kernel
from chainrule_runtime.forks import LongLock

__all__ = ["CompiledLater"]

PAYS: Final = 500_000
"Elements computed in NumPy, after which the time to compile is spent: 50 ms or so of each."
CALL: Final = 4_000
"Elements that a call of some hundred NumPy functions counts for, however short the arrays."


class CompiledLater:
    """A function of arrays that compiles itself when it has been used enough.

    Named dims let one compilation serve all lengths.  What cannot be compiled stays as it is.
    """

    def __init__(
        self, fn: Callable[..., Any], dims: Mapping[str, Sequence[str | int | None]]
    ) -> None:
        self._fn, self._dims = fn, dims
        self._spent = 0
        self._run: Callable[[Sequence[Array]], tuple[Array, ...]] | None = None
        self._refused = False
        self._lock = LongLock()

    def __call__(self, *args: Array, elements: int) -> Any:
        """Return the function's result, a tuple of arrays, of which `elements` are computed.

        The arguments are contiguous arrays of the same dtypes and ranks in every call.
        """
        if self._run is None and not self._refused:
            self._spent += CALL + elements
            if self._spent > PAYS:
                self._compile(args)
        return self._run(args) if self._run is not None else self._fn(*args)

    def _compile(self, args: Sequence[Array]) -> None:
        with self._lock.held():
            if self._run is None and not self._refused:
                try:
                    # A trace around this call is none of its business.
                    self._run = contextvars.Context().run(_native, self._fn, args, self._dims)
                except ChainruleError:
                    self._refused = True


def _native(
    fn: Callable[..., Any], args: Sequence[Array],
    dims: Mapping[str, Sequence[str | int | None]],
) -> Callable[[Sequence[Array]], tuple[Array, ...]]:  # fmt: skip
    with loading():
        from chainrule.frontend.signature import runtime_signature
        from chainrule.frontend.trace import trace
        from chainrule.link.cache import default_cache
        from chainrule.options import Options
        from chainrule.pipeline import lower_program
    traced = trace(fn, *args, dims=dims)
    lowered = lower_program(traced.program, Options(STRICT))
    loaded = lowered.load(default_cache())
    signature = runtime_signature(traced, lowered.arena, lowered.guards)

    def run(arrays: Sequence[Array]) -> tuple[Array, ...]:
        given = [np.ascontiguousarray(a) for a in arrays]
        return tuple(call_kernel(loaded.addresses[lowered.entry], signature, given))

    return run
