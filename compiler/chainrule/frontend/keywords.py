"""What `jit` was asked for: the keywords of a compiled function."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.frontend.naming import Dims
from chainrule.numerics import FAST, Numerics

__all__ = ["Keywords"]


@dataclass(frozen=True, slots=True)
class Keywords:
    """The keywords, checked; `jit` explains them.

    Attributes:
        shared: The function will soon be gone: its code is that of all functions of its program.
    """

    dims: Dims | None = None
    static: tuple[str, ...] = ()
    donated: tuple[str, ...] = ()
    numerics: Numerics = FAST
    memory_budget: int | None = None
    cache: bool = True
    lenient: bool = False
    shared: bool = False
