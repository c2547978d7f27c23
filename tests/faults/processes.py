"""Programs run in processes of their own, with a limit of time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

# What a shell runs in the background ignores interrupts, and so would its children.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return this process's environment, with the sources in front."""
    paths = [str(ROOT / "compiler"), str(ROOT / "runtime"), str(ROOT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(program: str, *args: object, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a program's text to its end; one that does not end in time fails the test."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore", "-c",
         START + textwrap.dedent(program),
         *map(str, args)],
        env=environment(), capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
