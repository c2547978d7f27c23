"""What a transformation that is made anew costs, counted in compilations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.api import variant


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs that are compiled, in order."""
    names: list[str] = []
    plain: Callable[..., Any] = variant.compile_variant

    def counted(traced: Any, *options: Any, **more: Any) -> Any:
        names.append(traced.program.name)
        return plain(traced, *options, **more)

    monkeypatch.setattr(variant, "compile_variant", counted)
    return names


def test_equal_programs_share_their_code(compiled: list[str]) -> None:
    for _ in range(4):
        cr.grad(lambda x: (x * x * 0.7391).sum())(np.ones(3))
    assert len(compiled) == 1


def test_a_captured_number_is_compiled_in(compiled: list[str]) -> None:
    for k in range(2, 6):
        assert cr.grad(lambda x, k=k: (x * x * (k + 0.1173)).sum())(np.ones(3))[0] == 2 * (
            k + 0.1173
        )
    captured = len(compiled)
    assert captured >= 1
    compiled.clear()
    for k in range(2, 6):
        factor = k + 0.2173
        cr.grad(lambda x: (x * x * factor).sum())(np.ones(3))  # noqa: B023  (that is the point)
    assert len(compiled) == 4


def test_an_argument_is_not(compiled: list[str]) -> None:
    slope: Any = cr.grad(lambda x, k: (x * x * k).sum())
    for k in range(4):
        slope(np.ones(3), float(k))
    assert len(compiled) == len(slope.compilations) == 1


def test_inside_a_compiled_function_it_costs_nothing_more(compiled: list[str]) -> None:
    step = cr.jit(lambda x, rate: x - rate * cr.grad(lambda x: (x * x).sum())(x))
    for _ in range(4):
        step(np.ones(3), 0.1)
    assert len(step.compilations) == 1
    assert len(compiled) == 1
