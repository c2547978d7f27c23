"""Links an object file into a shared library by the system's C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from chainrule.errors import ExportError, explain

__all__ = ["link_library"]


def link_library(code: Path, library: Path) -> str | None:
    """Link `code` into `library`; return what is missing where there is no compiler.

    Raises:
        ExportError: The linker refuses.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return "no C compiler found (cc, gcc, clang): no shared library, so no Python loader"
    # Nothing of the C library is needed; without a build id equal code is an equal file.
    command = [
        compiler, "-shared", "-nostdlib", "-o", str(library), str(code),
        f"-Wl,-soname,{library.name}", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    if run.returncode:
        raise ExportError(
            explain("the shared library cannot be linked", f"compiler  {compiler}",
                    *run.stderr.strip().splitlines())
        )  # fmt: skip
    return None
