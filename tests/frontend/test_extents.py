"""Named extents compute and compare as the integers they stand for, at every call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import UnsupportedError

LENGTHS = (0, 1, 3, 5, 6, 5, 3, 0)

# The function, and how many sides its comparisons have.
COMPARISONS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "==": (lambda x: x.shape[0] == 5, 2),
    "== reflected": (lambda x: 5 == x.shape[0], 2),  # noqa: SIM300
    "!=": (lambda x: x.shape[0] != 5, 2),
    "== of a whole float": (lambda x: x.shape[0] == 5.0, 2),
    "== of a fraction": (lambda x: x.shape[0] == 5.5, 1),
    "== of a string": (lambda x: x.shape[0] == "5", 1),
    "== of a NumPy integer": (lambda x: x.shape[0] == np.int32(5), 2),
    "== itself": (lambda x: x.shape[0] * 2 == x.shape[0] + x.shape[0], 1),
    "== what it never is": (lambda x: x.shape[0] == x.shape[0] + 1, 1),
    "in a tuple": (lambda x: x.shape[0] in (1, 5), 3),
    "shape": (lambda x: x.shape == (5,), 2),
    "shape of another": (lambda x: x.shape == x[1:].shape, 2),
    "<": (lambda x: x.shape[0] < 5, 2),
    "<=": (lambda x: x.shape[0] <= 5, 2),
    ">": (lambda x: x.shape[0] > 5, 2),
    ">=": (lambda x: x.shape[0] >= 5, 2),
    "< of a fraction": (lambda x: x.shape[0] < 2.5, 2),
    "<= of a fraction": (lambda x: x.shape[0] <= 2.5, 2),
    "> of a fraction": (lambda x: x.shape[0] > np.float32(2.5), 2),
    ">= of a fraction": (lambda x: x.shape[0] >= 2.5, 2),
    "< reflected": (lambda x: 3 < x.shape[0], 2),  # noqa: SIM300
    "< infinity": (lambda x: x.shape[0] < math.inf, 1),
    "< NaN": (lambda x: x.shape[0] < math.nan, 1),
    ">= 0": (lambda x: x.shape[0] >= 0, 1),
    "bool": (lambda x: bool(x.shape[0]), 2),
    "product": (lambda x: x.shape[0] * x.shape[0] > 9, 2),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_those_of_the_call(name: str) -> None:
    compare, sides = COMPARISONS[name]

    def fn(x: Any) -> Any:
        return cnp.zeros(()) + (1.0 if compare(x) else 2.0)

    compiled = cr.jit(fn, dims={"x": ("n",)}, cache=False)
    for n in LENGTHS:
        x = np.ones(n)
        assert compiled(x) == (1.0 if compare(x) else 2.0), n
    assert len(compiled.compilations) <= sides


ARITHMETIC: dict[str, Callable[[Any], Any]] = {
    "abs": lambda n: abs(n - 4),
    "divmod": lambda n: divmod(n, 2)[0] + 10 * divmod(n, 2)[1],
    "divmod reflected": lambda n: sum(divmod(7, n + 1)),
    "shifts": lambda n: (n << 2) + (n >> 1),
    "low bits": lambda n: (n & 3) + (7 & n),
    "invert": lambda n: ~n,
    "plus": lambda n: +n,
    "round": lambda n: round(n) + round(n, 2),
    "floor": lambda n: math.floor(n) + math.ceil(n) + math.trunc(n),
    "min": lambda n: min(n, 4),
    "max": lambda n: max(n, 4),
    "power": lambda n: n**3,
    "floor division by a float": lambda n: n // 2.0,
    "remainder of a float": lambda n: n % 2.5,
    "NumPy's integers": lambda n: n + np.int64(3) - np.int16(1),
    "an array": lambda n: n * np.arange(3.0) > n,
    "== an array": lambda n: n == np.arange(6.0),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_that_of_integers(name: str) -> None:
    compute = ARITHMETIC[name]
    compiled = cr.jit(
        lambda x: cnp.zeros(()) + compute(x.shape[0]), dims={"x": ("n",)}, cache=False
    )
    for n in LENGTHS:
        np.testing.assert_array_equal(compiled(np.ones(n)), np.zeros(()) + compute(n))


def test_two_names_compare_by_their_numbers() -> None:
    compiled = cr.jit(
        lambda x, y: cnp.zeros(()) + float(x.shape == y.shape), dims={"x": ("n",), "y": ("m",)}
    )
    for n, m in ((2, 3), (3, 3), (3, 2), (2, 2), (0, 0)):
        assert compiled(np.ones(n), np.ones(m)) == float(n == m)
    assert len(compiled.compilations) == 2


def test_code_that_cannot_be_made_anew_says_which_side_it_is_for() -> None:
    def fn(x: Any) -> Any:
        return x * 2.0 if x.shape[0] == 5 else x

    (guard,) = cr.jit(fn).lower(cr.spec(("n",))).traced.program.guards
    assert (guard.kind, str(guard.left), guard.right) == ("ne", "n", 5)
    assert "the code depends on whether n == 5: test_extents.py" in guard.text


def test_formats_are_of_the_name() -> None:
    seen: list[str] = []
    cr.jit(lambda x: [seen.append(f"{x.shape[0]:>4d}|{x.shape[0]}"), x][1], dims={"x": ("n",)})(
        np.ones(3)
    )
    assert seen == ["   n|n"]


@pytest.mark.parametrize("use", [int, float, range, lambda n: round(n, -1)])
def test_what_needs_the_number_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match="known only when the compiled function is called"):
        cr.jit(lambda x: [use(x.shape[0]), x][1], dims={"x": ("n",)})(np.ones(3))


def test_an_order_with_what_has_none_is_refused() -> None:
    with pytest.raises(TypeError):
        cr.jit(lambda x: x if x.shape[0] < "5" else x, dims={"x": ("n",)})(np.ones(3))


def test_a_check_of_the_users_is_one() -> None:
    def fn(x: Any) -> Any:
        if x.shape[0] < 2:
            raise ValueError("two at least")
        return x[1:] - x[:-1]

    compiled = cr.jit(fn, dims={"x": ("n",)})
    np.testing.assert_array_equal(compiled(np.arange(4.0)), np.ones(3))
    with pytest.raises(ValueError, match="two at least"):
        compiled(np.ones(1))
    np.testing.assert_array_equal(compiled(np.arange(3.0)), np.ones(2))
