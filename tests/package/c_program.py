"""C programs that call exported functions: written, compiled and run by the tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wcast-qual", "-Wshadow")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_gxx = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def compiled(folder: Path, source: str, *linked: str, flags: Sequence[str] = ()) -> Path:
    """Compile a C99 program in the folder of an export, with the files named; return it."""
    text, program = folder / "program.c", folder / "program"
    text.write_text(source, encoding="utf-8")
    command = ["gcc", "-std=c99", *STRICT, "-o", str(program), str(text)]
    run = subprocess.run(
        [*command, *(str(folder / file) for file in linked), *flags],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return program


def ran(program: Path, given: bytes = b"") -> bytes:
    """Run a program in its folder; return what it prints."""
    run = subprocess.run(
        [str(program)], input=given, capture_output=True, check=False, cwd=program.parent
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout
