"""Importing chainrule loads neither SymPy nor LLVM nor the formula printer."""

from __future__ import annotations

import subprocess
import sys

import pytest

import chainrule
from chainrule import errors


@pytest.mark.parametrize(
    "module",
    [
        "sympy",
        "llvmlite",
        "chainrule.emit",
        "chainrule.inspect",
        "chainrule.datasets",
        "rich",
        "typer",
    ],
)
def test_importing_leaves_heavy_modules_alone(module: str) -> None:
    code = f"import sys, chainrule; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    code = "import chainrule; [getattr(chainrule, name) for name in chainrule.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_that_users_meet_is_public() -> None:
    family = {n for n in errors.__all__ if n.endswith("Error")}
    assert family <= set(chainrule.__all__)


def test_datasets_are_loaded_when_asked_for() -> None:
    code = "import chainrule; chainrule.datasets.load_digits"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_runs_the_command_line() -> None:
    pytest.importorskip("typer")
    command = [sys.executable, "-m", "chainrule", "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "explain" in shown
    assert "doctor" in shown
