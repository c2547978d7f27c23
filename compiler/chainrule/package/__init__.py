"""Compiled functions as files: object, C header, shared library, loader for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from chainrule.errors import absent, public_names
from chainrule.package.report import ExportReport
from chainrule.plan.amounts import Budget

__all__ = ["ExportReport", "export"]


def export(
    fn: Callable[..., Any], *, args: Sequence[Any], path: str | Path, name: str | None = None,
    targets: Sequence[str] | str = ("host",), numerics: str | None = None,
    optimize: str = "speed", memory_budget: Budget | None = None, selftest: int = 0,
    debug: bool = False,
) -> ExportReport:  # fmt: skip
    """Write a function as an object file, a C header, a shared library and a Python module.

    The code is the same that `jit` runs: no library is needed, nothing is allocated, results have
    the same bits.  Into `path` go `<name>.o`, `<name>.h`, `lib<name>.so` and `<name>.py` (which
    needs only NumPy, with its runtime in `<name>_runtime`), and `manifest.json`, which describes
    all of them and is part of the object too.  Nothing is written if anything fails.

    Args:
        fn: A function of pytrees of arrays, jitted or not; dims, static and donated arguments are
            those of the jitted function.  It is called once, on traced values.
        args: Its positional arguments: arrays, numbers or `cr.spec(...)`, nested as it takes them.
            Extents named by a spec or by the jitted function's `dims` are given at every call.
        path: A directory; made if it does not exist.
        name: What the function is called in C and Python; the function's own name unless given.
        targets: Machines to compile for; so far only `"host"`, the processor this runs on.
        numerics: `"fast"`, `"strict"` or `"reproducible"`; the jitted function's mode unless given.
        optimize: What to favour; so far only `"speed"`.
        memory_budget: Bytes of scratch memory a call may use (or a text, as for `jit`), at the
            extents of `args` where these are numbers and at extents of 1 where not.
        selftest: Number of sample calls to write, which the Python module's `selftest()` repeats.
        debug: Also write the expressions (`<name>.expr`) and the LLVM IR (`<name>.ll`).

    Returns:
        What was written and its sizes.

    Raises:
        ExportError: A target or name that cannot be used, more memory than the budget, code that
            would need a library, or a linker that refuses.

    >>> import numpy as np, tempfile, chainrule as cr
    >>> double = lambda x: x + x
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = cr.export(double, args=(cr.spec(("n",)),), path=folder, name="double_")
    >>> "double_.h" in report.files, report.arena_bytes(n=1000)
    (True, 0)
    """
    # The compiler is loaded when it is needed: `import chainrule` stays fast.
    from chainrule.package.exporting import write_package

    return write_package(
        fn, args, Path(path), name, targets, numerics, optimize, memory_budget, selftest, debug
    )


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
