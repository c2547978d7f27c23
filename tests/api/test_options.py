"""The record of options is a key: equal where code is equal, and for nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.numerics import MODES, STRICT, numerics_called
from chainrule.options import Options

OTHERS: dict[str, Any] = {
    "numerics": STRICT, "memory_budget": 1000, "typical": (("n", 3),), "donated": ("x",),
    "target": replace(Options().target, name="another"), "strips": False, "checked": True,
    "interruptible": True,
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in fields(Options)])
def test_every_option_tells_keys_apart(field: str) -> None:
    assert len({Options(), Options(), replace(Options(), **{field: OTHERS[field]})}) == 2


def test_numbers_of_a_call_matter_to_a_budget_alone() -> None:
    assert Options().called_with({"n": 3}) == Options()
    within = Options(memory_budget=10)
    assert within.called_with({"n": 3, "m": 2}) == within.called_with({"m": 2, "n": 3})
    assert within.called_with({"n": 3}) != within.called_with({"n": 4})


def test_modes_are_known_by_their_names_alone() -> None:
    assert [numerics_called(name) for name in MODES] == list(MODES.values())
    for wrong in ("Fast", "", None, ["fast"], 1):
        with pytest.raises(cr.UnsupportedError, match="there is no numerics mode"):
            numerics_called(wrong)
    with pytest.raises(cr.UnsupportedError, match="modes  fast, strict, reproducible"):
        cr.jit(lambda x: x, numerics="exact")
    with pytest.raises(cr.UnsupportedError, match="there is no numerics mode"):
        cr.trace(lambda x: x, np.ones(2)).lower(numerics="exact")
