"""Runs checks in a process of their own, so that one that ends the process is a failure.

Run as `python -m tests.isolated MODULE`: reads names, and calls `MODULE.check(name)` for each.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

__all__ = ["failures"]

ROOT = Path(__file__).parents[1]
STARTS, FAILS, ENDS = "> ", "! ", "."


def failures(module: str, names: Sequence[str], seconds: float = 3000) -> dict[str, str]:
    """Return the traceback, or the signal, of every check of `module` that does not hold."""
    found: dict[str, str] = {}
    left = list(names)
    while left:
        paths = [str(ROOT / part) for part in ("", "compiler", "runtime")]
        given = f"import sys; sys.path[:0] = {paths!r}; from tests.isolated import main; main()"
        run = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", given, module], input="\n".join(left),
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
        lines = run.stdout.splitlines()
        for line in lines:
            if line.startswith(FAILS):
                name, report = line.removeprefix(FAILS).split("\t", 1)
                found[name] = report.encode().decode("unicode_escape")
        if lines and lines[-1] == ENDS:
            return found
        started = [line.removeprefix(STARTS) for line in lines if line.startswith(STARTS)]
        assert started, f"nothing was checked: {run.stderr}"
        found[started[-1]] = f"the process ended with {run.returncode}\n{run.stderr}"
        left = left[left.index(started[-1]) + 1 :]
    return found


def main() -> None:
    """Check what the standard input names."""
    warnings.simplefilter("error")
    check = importlib.import_module(sys.argv[1]).check
    for name in sys.stdin.read().splitlines():
        print(STARTS + name, flush=True)
        try:
            check(name)
        except Exception:  # noqa: BLE001  (whatever it is, it is reported)
            report = traceback.format_exc().encode("unicode_escape").decode()
            print(f"{FAILS}{name}\t{report}", flush=True)
    print(ENDS, flush=True)
