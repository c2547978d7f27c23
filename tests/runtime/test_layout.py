"""The probe of array layout: true here, and false as soon as anything differs."""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from typing import Any

import numpy as np
import pytest

from chainrule_runtime import layout


def test_standard_layout_is_found() -> None:
    assert layout.probe() == layout.STANDARD
    assert layout.native_calls()


@pytest.mark.parametrize("field", layout.ArrayLayout._fields)
def test_any_other_layout_is_refused(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    # One field's offset is swapped for another's, as if NumPy had moved it.
    other = layout.STANDARD.nd if field != "nd" else layout.STANDARD.flags
    monkeypatch.setattr(layout, "STANDARD", layout.STANDARD._replace(**{field: other}))
    assert layout.probe.__wrapped__() is None


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (sys.implementation, "name", "pypy"),
        (sysconfig, "get_config_var", lambda _name: 1),
        (sys, "gettotalrefcount", lambda: 0),
        (ctypes, "sizeof", lambda _kind: 4),
    ],
    ids=["PyPy", "free-threaded", "debug", "32 bits"],
)
def test_other_interpreters_are_refused(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, value: Any
) -> None:
    monkeypatch.setattr(target, name, value, raising=False)
    assert layout.probe.__wrapped__() is None


def test_a_numpy_without_the_expected_c_api_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    core: Any = np._core  # type: ignore[attr-defined]
    monkeypatch.delattr(core.multiarray, "_ARRAY_API")
    assert layout.array_api.__wrapped__() is None
