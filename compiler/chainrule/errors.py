"""The family of exceptions (defined in the runtime, so that exported functions raise it too)."""

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
    "ShapeError", "StructureError", "UnsupportedError", "explain",
]  # fmt: skip
