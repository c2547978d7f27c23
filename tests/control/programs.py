"""What the tests of control flow make of a case: functions, losses, batches, comparisons."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from tests.control.cases import CASES, Case
from tests.control.kits import OURS, PLAIN, Kit

import chainrule as cr

__all__ = ["agree", "floats", "function", "label", "leaves", "loss", "plain_loss", "same_bits"]


def leaves(tree: Any) -> list[Any]:
    return [np.asarray(x) for x in cr.tree_leaves(tree)]


def label(case: Case) -> str:
    number = [c.name for c in CASES[: CASES.index(case)]].count(case.name)
    return case.name + ("-" + "-".join(map(str, case.dims)) if case.dims else "") + "'" * number


def _with_names_of(case: Case, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the parameters of the case's program, the kit apart: dims go by them."""
    signature = inspect.signature(case.fn)
    named = list(signature.parameters.values())[1:]
    fn.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    fn.__name__ = case.name
    return fn


def function(case: Case, kit: Kit = OURS) -> Callable[..., Any]:
    return _with_names_of(case, lambda *args: case.fn(kit, *args))


def floats(case: Case) -> tuple[int, ...]:
    """Return which arguments are of floating point throughout."""
    return tuple(i for i, x in enumerate(case.args) if all(a.dtype.kind == "f" for a in leaves(x)))


def _weighed(kit: Kit, tree: Any) -> Any:
    total: Any = 0.0
    for y in cr.tree_leaves(tree):
        if np.dtype(y.dtype).kind == "f":
            total = total + kit.xp.sum(kit.xp.sin(y) + 0.5 * y)
    return total


def loss(case: Case, kit: Kit = OURS) -> Callable[..., Any]:
    """Return a smooth number made of all results of floating point."""
    return _with_names_of(case, lambda *args: _weighed(kit, case.fn(kit, *args)))


def plain_loss(case: Case) -> Callable[..., float]:
    return lambda *args: float(_weighed(PLAIN, cr.tree_map(np.asarray, case.fn(PLAIN, *args))))


def agree(got: Any, want: Any, tolerance: float = 1e-12, what: str = "") -> None:
    """Assert the same leaves: shapes, dtypes, values."""
    ours, theirs = leaves(got), leaves(want)
    assert len(ours) == len(theirs), what
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{what}: result {i}"
        np.testing.assert_allclose(a, b, tolerance, tolerance, err_msg=f"{what}: result {i}")


def same_bits(got: Sequence[Any], want: Sequence[Any], what: str = "") -> None:
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"{what}: result {i}"
        assert a.tobytes() == b.tobytes(), f"{what}: result {i}\n{a}\n{b}"


@cache
def labels() -> list[str]:
    return [label(c) for c in CASES]
