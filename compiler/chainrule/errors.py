"""The family of exceptions (defined in the runtime, so that exported functions raise it too)."""

import difflib
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Final

from chainrule_runtime.errors import (
    AliasError,
    CacheError,
    ChainruleError,
    CompileError,
    DTypeError,
    ExportError,
    NotDifferentiableError,
    OutOfMemoryError,
    OutOfRangeError,
    RecursionLimitError,
    ShapeError,
    StructureError,
    UnsupportedError,
    explain,
)

__all__ = [
    "AliasError", "CacheError", "ChainruleError", "CompileError", "DTypeError", "ExportError",
    "NotDifferentiableError", "OutOfMemoryError", "OutOfRangeError", "RecursionLimitError",
    "ShapeError", "StructureError", "UnsupportedError", "absent", "close", "explain", "ours",
    "public_names",
]  # fmt: skip

_NAMESPACES: Final = (
    "chainrule", "chainrule.numpy", "chainrule.numpy.linalg", "chainrule.special", "chainrule.nn",
    "chainrule.optim", "chainrule.random",
)  # fmt: skip


def public_names(module: str) -> list[str]:
    """Return what `dir` and completion offer of a namespace: its public names alone."""
    space = vars(sys.modules[module])
    names = space.get("__all__")
    if names is None:
        own = {f"{module}.linalg"}
        names = [
            n for n, value in space.items()
            if not isinstance(value, ModuleType) or value.__name__ in own
        ]  # fmt: skip
        names = [n for n in names if not n.startswith("_")]
    return sorted({*names, *(n for n in space if n.startswith("__") and n.endswith("__"))})


def absent(module: str, name: str) -> AttributeError:
    """Return the exception for a name that a namespace does not have, with what may be meant."""
    hint = "" if name.startswith("_") else _meant(module, name)
    return AttributeError(explain(f"module {module!r} has no attribute {name!r}", hint=hint))


def ours(name: str, besides: str = "") -> str:
    """Return where a public function of this name is, such as `chainrule.special.expit`, or ""."""
    for module in _NAMESPACES:
        if module != besides and module in sys.modules and name in public_names(module):
            return f"{module}.{name}"
    return ""


def close(name: str, names: Iterable[str], cutoff: float = 0.7) -> str:
    """Return the names that may be meant by `name`: `adam or adamw`.

    A lower `cutoff`, of 0 to 1, allows for more differences: where there are few names.
    """
    lowered = {n.lower(): n for n in names if not n.startswith("_")}
    near = difflib.get_close_matches(name.lower(), lowered, 3, cutoff)
    return " or ".join(lowered[n] for n in near)


def _meant(module: str, name: str) -> str:
    if place := ours(name, besides=module):
        return f"it is {place}"
    numpy = module.removeprefix("chainrule.")
    if numpy.startswith("numpy") and hasattr(sys.modules[numpy], name):
        return f"{numpy}.{name} takes plain arrays, not traced values"
    near = close(name, public_names(module))
    return f"did you mean {near}?" if near else ""
