"""Budgets as people write them, and Python's recursion limit: accepted, or an error of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faults.processes import run

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError, RecursionLimitError, StructureError
from chainrule.plan.amounts import as_bytes

AMOUNTS: dict[Any, int] = {
    0: 0, 1: 1, 10**30: 10**30, 1e9: 10**9, "0": 0, "17": 17, "1_000": 1000, "1e6": 10**6,
    "1GB": 10**9, "1 GB": 10**9, " 1gb ": 10**9, "1GiB": 2**30, "1.5 KiB": 1536, "2.5kB": 2500,
    "512 MB": 512 * 10**6, "3B": 3, "1TB": 10**12, "2 TiB": 2**41, "0.5kB": 500,
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), AMOUNTS.items(), ids=repr)
def test_budgets_are_read(given: Any, expected: int) -> None:
    assert as_bytes(given) == expected


def test_budgets_of_numpy_are_numbers_too() -> None:
    assert as_bytes(np.int32(7)) == 7
    assert as_bytes(np.float64(7.0)) == 7


@pytest.mark.parametrize(
    "given",
    ["", "GB", "1XB", "-1GB", "1 G B", "one", "1GB2", "1e400GB", "nan", -1, -1.0, 1.5, True,
     float("nan"), float("inf"), None, [1], b"1GB", (1,), 1j, object()],
    ids=lambda v: f"{v!r:.7}",
)  # fmt: skip
def test_what_is_no_budget_is_refused_in_the_users_words(given: Any) -> None:
    with pytest.raises(StructureError, match="memory_budget is no number of bytes"):
        as_bytes(given)
    if given is not None:
        with pytest.raises(StructureError, match=r'(?s)memory_budget is no.*hint: .*"512 MB"'):
            cr.jit(lambda x: x, memory_budget=given)


def test_a_budget_as_a_text_is_the_same_budget(tmp_path: Path) -> None:
    def chain(x: Any) -> Any:
        kept = [x := cnp.sin(x) @ x for _ in range(6)]
        return sum(cnp.sum(k * x) for k in kept)

    x = np.eye(64) * 0.5
    number = cr.jit(cr.grad(chain), memory_budget=402_000, cache=False)
    text = cr.jit(cr.grad(chain), memory_budget="402 kB", cache=False)
    np.testing.assert_array_equal(number(x), text(x))
    arenas = [f.lower(x).compile().memory.arena for f in (number, text)]
    assert arenas[0] == arenas[1] <= 402_000
    with pytest.raises(ChainruleError, match=r"budget +1 bytes|memory_budget"):
        cr.jit(cr.grad(chain), memory_budget="1 B", cache=False)(x)
    with pytest.raises(StructureError, match="memory_budget"):
        cr.export(chain, args=(x,), path=tmp_path, memory_budget="much")


def nested(count: int, wrap: Callable[[Any], Any]) -> Any:
    fn: Any = lambda x: cnp.sin(x) * 0.5  # noqa: E731
    for _ in range(count):
        fn = wrap(fn)
    return fn


WRAPS: dict[str, Callable[[Any], Any]] = {
    "jit": cr.jit,
    "jit of its own": lambda f: cr.jit(lambda x: f(x) + 1.0),
    "checkpoint": cr.checkpoint,
    "vjp": lambda f: lambda x: cr.vjp(f, x)[0],
    "cond": lambda f: lambda x: cr.cond(x > 0.0, lambda: f(x) + 1.0, lambda: x),
}


@pytest.mark.parametrize("name", WRAPS)
def test_functions_nested_too_deeply_work_or_get_an_error_of_ours(name: str) -> None:
    for count in (60, 400) if name in ("jit", "jit of its own", "checkpoint") else (20,):
        fn = cr.jit(nested(count, WRAPS[name]))
        try:
            found = float(fn(1.0))
        except RecursionLimitError as error:
            assert count == 400, "60 levels are fine"
            assert "limit  " in str(error)  # noqa: PT017
            assert "nested too deeply" not in str(error)  # noqa: PT017
        else:
            assert np.isfinite(found)
        # Nothing is left in a state that another compilation would trip over.
        assert float(cr.jit(lambda x: x + 1.0, cache=False)(1.0)) == 2.0


def test_recursion_without_end_is_an_error_with_the_functions_name() -> None:
    def recurse(x: Any) -> Any:
        return recurse(x + 1.0)

    for call in (cr.jit(recurse), cr.grad(recurse), lambda x: cr.trace(recurse, x),
                 cr.jit(recurse).lower):  # fmt: skip
        with pytest.raises(RecursionLimitError, match=r"(?s)compiling .*recurse.*cr\.scan"):
            call(1.0)
    # Whoever expects Python's error gets it.
    with pytest.raises(RecursionError):
        cr.jit(recurse)(1.0)


def test_containers_nested_too_deeply_are_told_from_functions() -> None:
    deep: Any = 1.0
    for _ in range(3000):
        deep = {"a": deep}
    holds_itself: list[Any] = [1.0]
    holds_itself.append(holds_itself)
    for tree, name in ((deep, "dict"), (holds_itself, "list")):
        with pytest.raises(StructureError, match=f"a {name} is nested too deeply"):
            cr.tree_leaves(tree)


@pytest.mark.parametrize("limit", [40, 60, 80, 100, 200])
def test_a_low_recursion_limit_is_an_error_of_ours_and_does_no_harm(limit: int) -> None:
    done = run(f"""
        import sys
        import numpy as np
        import chainrule as cr, chainrule.numpy as cnp
        x = np.ones(4)
        functions = [
            cr.grad(lambda x: cnp.sum(cnp.sin(x) * 2.5)),
            cr.jit(lambda x: cr.scan(lambda c, y: (c + y, c), 0.0, x)[0]),
            cr.jit(lambda d: {{"a": [d["x"] @ d["x"]]}}),
        ]
        for i, fn in enumerate(functions):
            x = {{"x": np.ones((2, 2))}} if i == 2 else np.ones(4)
            sys.setrecursionlimit({limit})
            try:
                fn(x)
                print("worked")
            except cr.ChainruleError as error:
                sys.setrecursionlimit(1000)
                print(type(error).__name__)
            sys.setrecursionlimit(1000)
            fn(x)
    """)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"worked", "RecursionLimitError"}
    assert sys.getrecursionlimit() >= 200
