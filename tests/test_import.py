"""Importing chainrule loads neither SymPy nor LLVM nor the formula printer."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["sympy", "llvmlite", "chainrule.emit", "chainrule.inspect", "rich", "typer"]
)
def test_importing_leaves_heavy_modules_alone(module: str) -> None:
    code = f"import sys, chainrule; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    code = "import chainrule; [getattr(chainrule, name) for name in chainrule.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True)
