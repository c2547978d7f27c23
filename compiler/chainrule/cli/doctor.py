"""`chainrule doctor`: what chainrule finds on this machine, and whether it works there."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError
from chainrule.typing import Array
from chainrule_runtime import layout

__all__ = ["CHECKS", "Finding", "run"]

REQUIRED: Final = ("numpy", "sympy", "llvmlite")
# chainrule itself may run from a source tree, without a version.
OPTIONAL: Final = ("chainrule", "rich", "typer", "scipy", "jax")


class Finding(NamedTuple):
    """What a check found: whether all is well, and in words."""

    well: bool
    text: str


def versions() -> Finding:
    """Versions of Python and of the packages that matter."""
    found = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    words = [f"Python {platform.python_version()}"]
    words += [f"{name} {version}" for name, version in found.items() if version]
    return Finding(all(found[name] for name in REQUIRED), ", ".join(words))


def processor() -> Finding:
    """The processor's kind, its vector extensions, and how many of its cores may be used."""
    config: Any = np.show_config(mode="dicts")
    extensions = config.get("SIMD Extensions", {})
    known = [*extensions.get("baseline", []), *extensions.get("found", [])]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding(True, f"{platform.machine()}, {usable} cores: {' '.join(known) or 'unknown'}")


def native_calls() -> Finding:
    """Whether compiled functions may read arrays' fields without Python."""
    if layout.native_calls():
        return Finding(True, "arrays lie in memory as expected: calls are native")
    return Finding(False, f"not on this {sys.implementation.name}: calls go through Python, slower")


def compiler() -> Finding:
    """Whether a function compiles, and its value and gradient are right."""
    x = np.linspace(-1, 1, 7)
    try:
        function = cr.jit(cr.value_and_grad(_sum_of_tanh))
        began = time.perf_counter()
        value, slope = function(x)
        seconds = time.perf_counter() - began
    except ChainruleError as error:
        return Finding(False, f"{type(error).__name__}: {error}")
    expected = math.fsum(np.tanh(x))
    right = abs(float(value) - expected) < 1e-14 and np.allclose(slope, 1 - np.tanh(x) ** 2)
    verdict = "value and gradient are right" if right else "value or gradient is WRONG"
    return Finding(bool(right), f"compiled in {1e3 * seconds:.0f} ms; {verdict}")


CHECKS: Final[dict[str, Callable[[], Finding]]] = {
    "versions": versions,
    "processor": processor,
    "calls": native_calls,
    "compiler": compiler,
}


def run(console: Console) -> bool:
    """Print every check's finding; return whether all is well."""
    table = Table(show_header=False)
    findings = {name: check() for name, check in CHECKS.items()}
    for name, finding in findings.items():
        mark = "[green]ok[/green]" if finding.well else "[red]no[/red]"
        table.add_row(name, mark, finding.text)
    console.print(table)
    return all(finding.well for finding in findings.values())


def _sum_of_tanh(x: Array) -> Array:
    return cnp.sum(cnp.tanh(x))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
