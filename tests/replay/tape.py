"""What the compiler emits for whatever runs, as one line: the modules, their length, a hash.

    python -m tests.replay.tape FILE SCRIPT      # run the script; write its line into the file

The code is that of one machine, whichever runs the tests.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from chainrule import pipeline
from chainrule.api import shared
from chainrule.emit.builder import Module
from chainrule.emit.machine import AVX512, Machine
from chainrule.emit.program import emit_program

__all__ = ["Tape", "recorded"]

MACHINE: Final = AVX512


class Tape:
    """The texts noted so far, from any thread and in any order."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._hashes: Final[list[bytes]] = []
        self._lines = 0

    def add(self, text: str) -> None:
        """Note one text."""
        with self._lock:
            self._hashes.append(hashlib.sha256(text.encode()).digest())
            self._lines += text.count("\n")

    def __str__(self) -> str:
        digest = hashlib.sha256(b"".join(sorted(self._hashes))).hexdigest()[:16]
        return f"{len(self._hashes)} texts, {self._lines} lines, {digest}"


@contextmanager
def recorded() -> Iterator[Tape]:
    """Note the code of all that is compiled inside, including what other functions share."""
    tape = Tape()

    def emit(module: Module, machine: Machine, *args: Any, **options: Any) -> Any:
        fixed = MACHINE.reproducible() if machine == machine.reproducible() else MACHINE
        copy = Module()
        emit_program(copy, fixed, *args, **options)
        tape.add(copy.text())
        return emit_program(module, machine, *args, **options)

    with (
        mock.patch.object(pipeline, "emit_program", emit),
        mock.patch.object(shared, "_KNOWN", OrderedDict()),
    ):
        yield tape


if __name__ == "__main__":
    with recorded() as script:
        runpy.run_path(sys.argv[2], run_name="__main__")
    Path(sys.argv[1]).write_text(f"{script}\n", "utf-8")
