"""Loading of the compiler proper, when something is first compiled: importing stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from chainrule.frontend.loading import loading

__all__ = ["load", "load_compiler"]


def load(module: str) -> Any:
    """Import a module of ours.

    Raises:
        CompileError: This process was forked while modules were being loaded.
    """
    with loading():
        return import_module(module)


def load_compiler() -> None:
    """Import whatever a compilation needs; quick if that is done."""
    with loading():
        from chainrule.api import shared, stages, variant  # noqa: F401
        from chainrule.link import cache  # noqa: F401
