"""How a program is compiled: one record from the user's call to every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chainrule.link.target import Target, host
from chainrule.numerics import FAST, Numerics

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that code depends on beside its program; hashable, so a part of keys.

    Attributes:
        numerics: What may be done to numbers.
        memory_budget: Bytes of scratch memory that a call may use, or None: what does not fit is
            scheduled again, with values computed twice.
        typical: What named dims are taken to be where the budget needs numbers, sorted by name.
        donated: Arguments whose memory results may take over.
        target: The processor.
        strips: Take batches in strips.
        checked: Compare every access with its buffer: for tests.
        interruptible: Long loops look for interrupts: for code that Python calls.
    """

    numerics: Numerics = FAST
    memory_budget: int | None = None
    typical: tuple[tuple[str, int], ...] = ()
    donated: tuple[str, ...] = ()
    target: Target = field(default_factory=host)
    strips: bool = True
    checked: bool = False
    interruptible: bool = False

    def called_with(self, dims: Mapping[str, int]) -> Options:
        """Return the options of a call; its numbers matter to what is fitted to a budget alone."""
        if self.memory_budget is None:
            return self
        return replace(self, typical=tuple(sorted(dims.items())))
