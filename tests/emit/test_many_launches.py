"""The function that launches very many kernels: written otherwise, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.emit import frame, program

Maker = Callable[[Any], Any]


def _loop(x: Any) -> Any:
    last, kept = cr.scan(lambda c, r: (cnp.tanh(c + r), c * r), x[0], x)
    chosen = cr.cond(x[0, 0] > 0, cnp.cumsum, lambda v: v * 2, last)
    return chosen.sum() + (cnp.outer(kept[0], last) @ last).sum()


def _searched(x: Any) -> Any:
    return cr.while_loop(lambda v: v.sum() < 50, lambda v: v * 1.5 + 0.1, abs(x[0])).sum()


def _layers(x: Any) -> Any:
    for _ in range(12):
        x = cnp.tanh(x @ x.T @ x / 8)
    return (x * x).sum()


PROGRAMS: dict[str, Maker] = {"loop": _loop, "search": _searched, "layers": _layers}


@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_those_of_few_launches(
    name: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dims = {"x": ("n", "m")} if named else None
    fn = cr.value_and_grad(PROGRAMS[name])
    arrays = [np.random.default_rng(k).normal(size=(k, 3)) for k in (1, 4, 9)]

    def run() -> tuple[list[Any], str]:
        compiled = cr.jit(fn, dims=dims, cache=False)
        found = [compiled(x) for x in arrays]
        return found, compiled.lower(arrays[0]).as_text("llvm")

    expected, usual = run()
    monkeypatch.setattr(program, "MANY", 0)
    monkeypatch.setattr(frame, "FEW", 0)
    got, text = run()
    assert "optnone" in text
    assert "optnone" not in usual
    for one, other in zip(got, expected, strict=True):
        for a, b in zip(cr.tree_leaves(one), cr.tree_leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)
