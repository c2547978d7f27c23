"""Calls with odd arguments, in a process of their own so that a crash is a failure, not the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fuzz(seed: int, count: int) -> None:
    paths = [str(ROOT), str(ROOT / "compiler"), str(ROOT / "runtime")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.calls.worker", str(seed), str(count)], cwd=ROOT, text=True,
        capture_output=True, check=False, env={"PYTHONPATH": ":".join(paths)}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}: {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("seed", range(3))
def test_odd_calls(seed: int) -> None:
    fuzz(seed, 250)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10, 40))
def test_many_odd_calls(seed: int) -> None:
    fuzz(seed, 3000)


HUGE = """
import numpy as np
import chainrule as cr
import chainrule.numpy as cnp

dims = {"a": ("n", 0), "b": (0, "m")}
result = cr.jit(lambda a, b: cnp.tanh(a @ b), dims=dims)
scratch = cr.jit(lambda a, b: cnp.sum(cnp.cumsum(cnp.cumsum(a @ b, axis=0), axis=1)), dims=dims)
for call in (result, scratch):
    call(np.ones((2, 0)), np.ones((0, 2)))
    # Products that wrap around to small numbers, to 0 and to negative ones.
    for n, m in [(2**33, 2**33), (2**32, 2**32), (2**31, 2**30), (2**31, 2**31), (2**61, 4),
                 (2**40, 2**20)]:
        for out in ({}, {"out": np.empty((2, 2))}) if call is result else ({},):
            try:
                call(np.empty((n, 0)), np.empty((0, m)), **out)
            except (MemoryError, ValueError) as error:
                assert str(error) or isinstance(error, MemoryError)
            else:
                raise AssertionError((n, m))
"""


def test_extents_whose_product_overflows_are_an_error() -> None:
    paths = [str(ROOT / "compiler"), str(ROOT / "runtime")]
    done = subprocess.run(
        [sys.executable, "-c", HUGE], cwd=ROOT, text=True, capture_output=True, check=False,
        env={"PYTHONPATH": ":".join(paths)}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
