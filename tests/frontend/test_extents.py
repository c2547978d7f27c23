"""Named extents compute and compare as the integers they stand for, at every call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError, UnsupportedError

NAN = math.nan
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
    "< NaN": (lambda x: x.shape[0] < NAN, 1),
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

    def fn(x: Any) -> Any:
        seen.append(f"{x.shape[0]:>4d}|{x.shape[0]}")
        return x

    cr.jit(fn, dims={"x": ("n",)})(np.ones(3))
    assert seen == ["   n|n"]


@pytest.mark.parametrize("use", [int, float, range, hash, lambda n: round(n, -1)])
def test_what_needs_the_number_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match="known only when the compiled function is called"):
        cr.jit(lambda x: [use(x.shape[0]), x][1], dims={"x": ("n",)})(np.ones(3))


def test_an_order_with_what_has_none_is_refused() -> None:
    with pytest.raises(TypeError):
        cr.jit(lambda x: x + (x.shape[0] < "5"), dims={"x": ("n",)})(np.ones(3))


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


# Functions of NumPy's that take sizes, places and counts, given extents and what is computed of
# them, at lengths on both sides of where they turn.
TAKEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "eye": lambda m, x, n: m.eye(n, n + 1, k=n - 4),
    "tri": lambda m, x, n: m.tri(n, k=n - 4),
    "diag": lambda m, x, n: m.diag(x, k=n - 4),
    "diag of a matrix": lambda m, x, n: m.diag(m.outer(x, x), k=n - 4),
    "diagonal above": lambda m, x, n: m.diagonal(m.outer(x, x[1:]), 1),
    "diagonal below": lambda m, x, n: m.diagonal(m.outer(x, x), -2),
    "trace": lambda m, x, n: m.trace(m.outer(x, x), 4 - n),
    "triu": lambda m, x, n: m.triu(m.outer(x, x), n - 4),
    "tril": lambda m, x, n: m.tril(m.outer(x, x), 4 - n),
    "repeat": lambda m, x, n: m.repeat(x, n),
    "tile": lambda m, x, n: m.tile(x, (2, n)),
    "roll": lambda m, x, n: m.roll(m.outer(x, x), (n // 2, 1), (0, 1)),
    "linspace": lambda m, x, n: m.linspace(0.0, n, n, endpoint=False),
    "arange": lambda m, x, n: m.arange(n, -1, -1),
    "full": lambda m, x, n: m.full((n, 2), n),
    "pad": lambda m, x, n: m.pad(x, (n, 1)),
    "clip": lambda m, x, n: m.clip(x, 0, n),
    "where": lambda m, x, n: m.where(x > n - 3, x, n),
    "array_split": lambda m, x, n: m.concatenate([p[::-1] for p in m.array_split(x, 3)]),
    "split": lambda m, x, n: m.split(x, [1, n - 1])[1],
    "take": lambda m, x, n: m.take(x, n - 1),
    "take from the end": lambda m, x, n: m.take(x, [0, -n]),
    "index": lambda m, x, n: x[n // 2],
    "slice": lambda m, x, n: x[n - 3 : n - 1],
    "array": lambda m, x, n: m.array([n, n + 1]),
    "reshape": lambda m, x, n: m.reshape(m.outer(x, x), (n * n,)),
    "sqrt": lambda m, x, n: m.sqrt(n),
}


@pytest.mark.parametrize("name", TAKEN)
def test_functions_take_extents_as_numpy_takes_numbers(name: str) -> None:
    call = TAKEN[name]
    compiled = cr.jit(lambda x: call(cnp, x, x.shape[0]), dims={"x": ("n",)}, cache=False)
    for n in (4, 5, 6, 3, 2, 1, 0, 5):
        x = np.arange(n) + 1.5
        try:
            expected = np.asarray(call(np, x, n))
        except (IndexError, ValueError):
            with pytest.raises(ChainruleError):
                compiled(x)
            continue
        found = compiled(x)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("call", [
    lambda x, n: cnp.tensordot(x, x, n), lambda x, n: x[::n], cnp.diff, cnp.vander,
    lambda x, n: cnp.repeat(cnp.ones(2), [n, 1]),
])  # fmt: skip
def test_numbers_that_decide_what_the_code_is_are_refused(call: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(UnsupportedError, match="known only when the compiled function is called"):
        cr.jit(lambda x: call(x, x.shape[0]), dims={"x": ("n",)})(np.ones(3))
