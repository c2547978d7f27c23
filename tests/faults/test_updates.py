"""Costs that grow wrongly: `x.at[...]` in loops, of donated arrays, and unrolled.

An update writes its part alone: work is counted in turns of loops, which is what grew with the
whole array.  Values are compared with NumPy, which shares no code with any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest
from tests.faults.turns import lowered_of, turns_of

import chainrule as cr
import chainrule.numpy as cnp

Fn = Callable[[Any], Any]


def _loop(body: Callable[[Any, Any], Any], start: int = 1) -> Callable[[int], Fn]:
    return lambda n: lambda y: cr.fori_loop(start, n, body, y)


def _cells(n: int) -> Fn:
    """Return a table filled row by row from its neighbours, as alignments of sequences are."""

    def row(i: Any, t: Any) -> Any:
        def cell(j: Any, t: Any) -> Any:
            return t.at[i, j].set(cnp.sin(t[i - 1, j] * t[i, j - 1]) + 0.1)

        return cr.fori_loop(1, 4, cell, t.at[i, 0].multiply(t[i - 1, 0]))

    return lambda t: cr.fori_loop(1, n, row, t)


def _while(n: int) -> Fn:
    def step(s: Any) -> Any:
        return s[0] + 1, s[1].at[s[0]].set(cnp.sin(s[1][s[0] - 1]))

    return lambda y: cr.while_loop(lambda s: s[0] < n, step, (1, y))[1]


def _scan(n: int) -> Fn:
    def step(c: Any, x: Any) -> Any:
        return c.at[x].set(cnp.sin(c[x - 1])), c[x]

    return lambda y: cr.scan(step, y, cnp.arange(1, n))[0]


def _branch(n: int) -> Fn:
    def step(i: Any, y: Any) -> Any:
        return cr.cond(
            y[i] > 0.5, lambda y: y.at[i].set(cnp.sin(y[i - 1])), lambda y: y.at[i].add(0.1), y
        )

    return lambda y: cr.fori_loop(1, n, step, y)


# Loops over the first axis of a vector of n, or a table of (n, 4).
VECTORS: Final[Mapping[str, Callable[[int], Fn]]] = {
    "set": _loop(lambda i, y: y.at[i].set(cnp.sin(y[i - 1]))),
    "add": _loop(lambda i, y: y.at[i].add(cnp.sin(y[i - 1]))),
    "subtract": _loop(lambda i, y: y.at[i].subtract(cnp.sin(y[i - 1]))),
    "multiply": _loop(lambda i, y: y.at[i].multiply(cnp.sin(y[i - 1]))),
    "divide": _loop(lambda i, y: y.at[i].divide(1.0 + y[i - 1])),
    "max": _loop(lambda i, y: y.at[i].max(cnp.sin(y[i - 1]))),
    "min": _loop(lambda i, y: y.at[i].min(cnp.sin(y[i - 1]))),
    "two places": _loop(lambda i, y: y.at[i].set(cnp.sin(y[i - 1])).at[0].add(y[i])),
    "a window": _loop(lambda i, y: y.at[i - cnp.arange(2)].add(cnp.sin(y[i - 1]))),
    "counted from the end": _loop(lambda i, y: y.at[-i].set(cnp.sin(y[1 - i]))),
    "where": _loop(lambda i, y: y.at[i].set(cnp.where(y[i - 1] > 0.5, y[i] * 0.9, y[i - 1]))),
    "where, or nothing": _loop(lambda i, y: y.at[i].set(cnp.where(y[i - 1] > 0.5, y[i], 0.0))),
    "where of the turn": _loop(lambda i, y: y.at[i].set(cnp.where(i > 3, y[i - 1], y[i] * 0.5))),
    "clip and relu": _loop(
        lambda i, y: y.at[i].set(cnp.clip(y[i - 1], 0.2, 0.7) + cr.nn.relu(y[i] - 0.5))
    ),
    "the first element, too": _loop(lambda i, y: y.at[i].set(y[0] * y[i - 1])),
    "two places set": _loop(
        lambda i, y: y.at[cnp.stack([i, i - 1])].set(cnp.stack([cnp.sin(y[i - 1]), y[i]]))
    ),
    "a branch of numbers": _loop(
        lambda i, y: y.at[i].set(cr.cond(y[i] > 0.5, lambda a: a * 2, lambda a: a + 1, y[i - 1]))
    ),
    "a window where": _loop(
        lambda i, y: y.at[i].set(
            cnp.sum(cnp.where(y[i - cnp.arange(2)] > 0.5, y[i - cnp.arange(2)], 0.1))
        )
    ),
    "while": _while,
    "scan": _scan,
    "branches": _branch,
    "the old value is returned too": lambda n: (
        lambda y: cr.fori_loop(
            1, n, lambda i, s: (s[0].at[i].set(cnp.sin(s[0][i - 1])), s[1] + s[0][i]), (y, 0.0)
        )[0]
    ),
}
TABLES: Final[Mapping[str, Callable[[int], Fn]]] = {
    "rows": _loop(lambda i, t: t.at[i].set(cnp.sin(t[i - 1]))),
    "elements": _loop(lambda i, t: t.at[i, 1].set(cnp.sin(t[i - 1, 0]))),
    "elements at run time": _loop(lambda i, t: t.at[i, i % 3].add(cnp.sin(t[i - 1, 0]))),
    "parts of rows": _loop(lambda i, t: t.at[i, 1:3].set(cnp.sin(t[i - 1, :2]))),
    "every other element": _loop(lambda i, t: t.at[i, ::-2].multiply(cnp.sin(t[i - 1, :2]))),
    "rows picked": _loop(lambda i, t: t.at[cnp.stack([i, i - 1]), 1].set(t[i, :2])),
    "loops in loops": _cells,
}


def _start(kind: str, n: int) -> Any:
    shape = (n, 4) if kind in TABLES else (n,)
    return np.linspace(0.1, 1.0, int(np.prod(shape))).reshape(shape)


KINDS: Final = {**VECTORS, **TABLES}
STEP: Final = 90
"Turns of loops that a step may make: a row of four, or a few elements, and what they are made of."


@pytest.mark.parametrize("numerics", ["fast", "strict"])
@pytest.mark.parametrize("kind", KINDS)
def test_c1_a_step_of_a_loop_costs_what_it_writes(kind: str, numerics: str) -> None:
    n = 400
    fn, y = KINDS[kind](n), _start(kind, n)
    assert turns_of(fn, y, numerics=numerics) < STEP * n


def _total(fn: Fn) -> Fn:
    return lambda y: cnp.sum(fn(y) ** 2)


@pytest.mark.share(3)
@pytest.mark.parametrize("kind", KINDS)
def test_c1_derivatives_of_such_loops_cost_a_constant_more(kind: str) -> None:
    n = 400
    fn, y = KINDS[kind](n), _start(kind, n)
    slopes = [cr.grad(_total(fn)), lambda y: cr.jvp(fn, (y,), (y,))[1]]
    for made in slopes:
        assert turns_of(made, y) < 2 * STEP * n, made
    assert turns_of(cr.vmap(fn), np.stack([y, y, y])) < 4 * STEP * n


def _changed(y: Any, key: Any, how: str, value: Any) -> Any:
    """Return `y` with a part changed, traced or in NumPy."""
    if not isinstance(y, np.ndarray):
        return getattr(y.at[key], how)(value)
    y = y.copy()
    if how == "add":
        np.add.at(y, key, value)
    else:
        y[key] = value
    return y


# What two branches write, given an array of (4, 3), a row and a column.
SIDES: Final[Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "set, nothing": (lambda y, i, j: _changed(y, i, "set", y[i - 1] * 2), lambda y, i, j: y),
    "nothing, add": (lambda y, i, j: y, lambda y, i, j: _changed(y, (i, j), "add", 0.5)),
    "set, add": (
        lambda y, i, j: _changed(y, i, "set", -y[i - 1]),
        lambda y, i, j: _changed(y, (i, j), "add", y[0, 0]),
    ),
    "equal places": (
        lambda y, i, j: _changed(y, (np.array([1, 1, 2]), j), "add", 1.0),
        lambda y, i, j: _changed(y, (np.array([1, 1, 2]), j), "set", 2.0),
    ),
    "two in a row": (
        lambda y, i, j: _changed(_changed(y, i, "add", 1.0), (i, j), "set", y[i, j] * 3),
        lambda y, i, j: _changed(y, (i, slice(0, 2)), "set", y[i, 1:]),
    ),
    "columns": (
        lambda y, i, j: _changed(y, (slice(None), 1), "set", y[:, 0] + 1),
        lambda y, i, j: _changed(y, (slice(None, None, -2), 2), "add", 7.0),
    ),
}


@pytest.mark.share(3)
@pytest.mark.parametrize("numerics", ["fast", "strict"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", SIDES)
def test_c1_branches_that_write_are_those_of_numpy_side_by_side(
    name: str, swapped: bool, numerics: str
) -> None:
    sides = SIDES[name][::-1] if swapped else SIDES[name]
    rng = np.random.default_rng(5)
    y = np.where(rng.random((6, 4, 3)) < 0.2, -0.0, rng.normal(size=(6, 4, 3)))
    i, j, p = rng.integers(-3, 4, size=6), rng.integers(-3, 3, size=6), rng.random(6) < 0.5

    def fn(y: Any, i: Any, j: Any, p: Any) -> Any:
        return cr.cond(p, sides[0], sides[1], y, i, j)

    expected = np.stack(
        [sides[0 if q else 1](a, b, c) for a, b, c, q in zip(y, i, j, p, strict=True)]
    )
    found = cr.jit(cr.vmap(fn), numerics=numerics)(y, i, j, p)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("numerics", ["fast", "strict"])
def test_c1_the_slope_of_what_is_written_is_linear_in_how_much_is(numerics: str) -> None:
    def total(v: Any, x: Any, i: Any) -> Any:
        return cnp.sum(x.at[i].set(v) ** 2)

    def work(count: int) -> int:
        given = np.ones(count), np.ones(100), np.zeros(count, np.int64)
        return turns_of(cr.grad(total), *given, numerics=numerics)

    assert work(8000) < 2.5 * work(4000)


@pytest.mark.parametrize("count", [1, 5, 16, 17, 60])
def test_c1_of_equal_places_the_last_one_has_the_slope(count: int) -> None:
    rng = np.random.default_rng(count)
    x, v = rng.normal(size=(7, 2)), rng.normal(size=(3, count, 2))
    index = rng.integers(-7, 7, size=(3, count))

    def total(v: Any, i: Any) -> Any:
        return cnp.sum(cnp.asarray(x).at[i].set(v) ** 3)

    for one, at, found in zip(v, index, cr.jit(cr.vmap(cr.grad(total)))(v, index), strict=True):
        expected = np.zeros((count, 2))
        last = {a % 7: k for k, a in enumerate(at)}
        for k in last.values():
            expected[k] = 3.0 * one[k] ** 2
        np.testing.assert_allclose(found, expected, rtol=1e-13)
        np.testing.assert_allclose(cr.jit(cr.grad(total))(one, at), expected, rtol=1e-13)


def _put(y: Any, key: Any, value: Any) -> None:
    y[key] = value


def _two_places(y: Any, i: int) -> None:
    old = y[i]
    y[i] = np.sin(y[i - 1])
    y[0] += old


def _row_of_cells(y: Any, i: int) -> None:
    y[i, 0] *= y[i - 1, 0]
    for j in range(1, 4):
        y[i, j] = np.sin(y[i - 1, j] * y[i, j - 1]) + 0.1


# A step of each kind, as NumPy changes arrays.
IN_NUMPY: Final[Mapping[str, Callable[[Any, int], None]]] = {
    **dict.fromkeys(
        ("set", "while", "scan", "the old value is returned too", "rows"),
        lambda y, i: _put(y, i, np.sin(y[i - 1])),
    ),
    "add": lambda y, i: _put(y, i, y[i] + np.sin(y[i - 1])),
    "subtract": lambda y, i: _put(y, i, y[i] - np.sin(y[i - 1])),
    "multiply": lambda y, i: _put(y, i, y[i] * np.sin(y[i - 1])),
    "divide": lambda y, i: _put(y, i, y[i] / (1 + y[i - 1])),
    "max": lambda y, i: _put(y, i, max(y[i], np.sin(y[i - 1]))),
    "min": lambda y, i: _put(y, i, min(y[i], np.sin(y[i - 1]))),
    "two places": _two_places,
    "a window": lambda y, i: _put(y, [i, i - 1], y[[i, i - 1]] + np.sin(y[i - 1])),
    "counted from the end": lambda y, i: _put(y, -i, np.sin(y[1 - i])),
    "where": lambda y, i: _put(y, i, y[i] * 0.9 if y[i - 1] > 0.5 else y[i - 1]),
    "where, or nothing": lambda y, i: _put(y, i, y[i] if y[i - 1] > 0.5 else 0.0),
    "where of the turn": lambda y, i: _put(y, i, y[i - 1] if i > 3 else y[i] * 0.5),
    "clip and relu": lambda y, i: _put(y, i, min(max(y[i - 1], 0.2), 0.7) + max(y[i] - 0.5, 0.0)),
    "the first element, too": lambda y, i: _put(y, i, y[0] * y[i - 1]),
    "two places set": lambda y, i: _put(y, [i, i - 1], [np.sin(y[i - 1]), y[i]]),
    "a branch of numbers": lambda y, i: _put(y, i, y[i - 1] * 2 if y[i] > 0.5 else y[i - 1] + 1),
    "a window where": lambda y, i: _put(y, i, sum(v if v > 0.5 else 0.1 for v in y[[i, i - 1]])),
    "branches": lambda y, i: _put(y, i, np.sin(y[i - 1]) if y[i] > 0.5 else y[i] + 0.1),
    "elements": lambda y, i: _put(y, (i, 1), np.sin(y[i - 1, 0])),
    "elements at run time": lambda y, i: _put(y, (i, i % 3), y[i, i % 3] + np.sin(y[i - 1, 0])),
    "parts of rows": lambda y, i: _put(y, (i, slice(1, 3)), np.sin(y[i - 1, :2])),
    "every other element": lambda y, i: _put(
        y, (i, slice(None, None, -2)), y[i, ::-2] * np.sin(y[i - 1, :2])
    ),
    "rows picked": lambda y, i: _put(y, ([i, i - 1], 1), y[i, :2]),
    "loops in loops": _row_of_cells,
}


def _in_numpy(kind: str, n: int, y: Any) -> Any:
    """Run a kind of loop in plain Python."""
    y = np.array(y)
    for i in range(1, n):
        IN_NUMPY[kind](y, i)
    return y


@pytest.mark.share(3)
@pytest.mark.parametrize(
    ("kind", "n"), [*((k, 7) for k in KINDS), ("set", 1), ("rows", 1), ("loops in loops", 2)]
)
def test_c1_values_and_derivatives_are_those_of_numpy(kind: str, n: int) -> None:
    fn, y = KINDS[kind](n), _start(kind, n)
    np.testing.assert_allclose(cr.jit(fn)(y), _in_numpy(kind, n, y), rtol=1e-13)
    gradient = cr.jit(cr.grad(_total(fn)))(y)
    direction = np.cos(np.arange(y.size)).reshape(y.shape)
    step = 1e-6
    up, down = (np.sum(_in_numpy(kind, n, y + s * direction) ** 2) for s in (step, -step))
    assert np.sum(gradient * direction) == pytest.approx((up - down) / (2 * step), rel=1e-6)
    _, forward = cr.jit(lambda y, d: cr.jvp(_total(fn), (y,), (d,)))(y, direction)
    assert np.sum(gradient * direction) == pytest.approx(float(forward), rel=1e-12)
    many = cr.jit(cr.vmap(fn))(np.stack([y, 0.5 * y]))
    for one, start in zip(many, (y, 0.5 * y), strict=True):
        np.testing.assert_allclose(one, _in_numpy(kind, n, start), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["set", "add", "max", "rows", "elements at run time"])
def test_c1_in_other_dtypes(kind: str, dtype: str) -> None:
    n = 400
    fn, y = KINDS[kind](n), _start(kind, n).astype(dtype)
    assert turns_of(fn, y) < STEP * n
    assert turns_of(cr.grad(_total(fn)), y) < 2 * STEP * n
    short = y[:6]
    expected = _in_numpy(kind, 6, short.astype(np.float64))
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    np.testing.assert_allclose(cr.jit(KINDS[kind](6))(short), expected, rtol=tolerance)


def test_c1_with_a_named_length() -> None:
    """One compiled function for lengths that change, 1 and 0 included."""
    fn = cr.jit(
        lambda y: cr.fori_loop(0, y.shape[0], lambda i, y: y.at[i].set(cnp.sin(y[i - 1])), y),
        dims={"y": ("n",)},
    )
    for n in (5, 1, 0, 3, 17):
        y = np.linspace(0.1, 1.0, n)
        expected = y.copy()
        for i in range(n):
            expected[i] = np.sin(expected[i - 1])
        np.testing.assert_allclose(fn(y), expected, rtol=1e-13)


CHANGES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "add": lambda x, i: x.at[i].add(1.0),
    "set": lambda x, i: x.at[i].set(2.0),
    "multiply": lambda x, i: x.at[i].multiply(3.0),
    "max": lambda x, i: x.at[i].max(9.0),
    "a slice": lambda x, i: x.at[5:9].add(1.0 * i),
    "its own elements": lambda x, i: x.at[1:4].set(x[0:3] + x[i]),
    "the last": lambda x, i: x.at[-1].set(x[0]),
    "several": lambda x, i: x.at[cnp.stack([i, i + 1, i])].add(1.0),
    "one after the other": lambda x, i: x.at[i].add(1.0).at[i + 1].set(x[i]).at[0].max(x[i + 1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_c2_a_donated_array_is_touched_where_it_changes(change: str) -> None:
    def fn(x: Any, i: Any) -> Any:
        return CHANGES[change](x, i)

    large = np.zeros(4_000_000)
    assert turns_of(fn, large, 3, donate_argnames=("x",)) < 50
    x = np.arange(12.0)
    expected = np.asarray(cr.jit(fn)(x, 3))
    again = cr.jit(fn, donate_argnames=("x",))(x, 3)
    assert again is x
    np.testing.assert_array_equal(x, expected)


STEPS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "a branch": lambda x, i: cr.cond(i > 2, lambda x: x.at[i].add(1.0), lambda x: x, x),
    "either branch": lambda x, i: cr.cond(
        i > 2, lambda x: x.at[i].add(1.0), lambda x: x.at[0].set(2.0), x
    ),
    "switch": lambda x, i: cr.switch(
        i - 2, [lambda x: x, lambda x: x.at[i].set(x[i - 1]), lambda x: x.at[1].add(x[0])], x
    ),
    "fori_loop": lambda x, i: cr.fori_loop(0, 5, lambda k, x: x.at[k + i].add(x[k]), x),
    "as many turns as asked for": lambda x, i: cr.fori_loop(
        0, i, lambda k, x: x.at[k].set(x[k + 1]), x
    ),
    "scan": lambda x, i: cr.scan(lambda c, k: (c.at[k].add(i), None), x, cnp.arange(5))[0],
    "while_loop": lambda x, i: cr.while_loop(
        lambda s: s[0] < i, lambda s: (s[0] + 1, s[1].at[s[0]].add(1.0)), (0, x)
    )[1],
    "a branch in a loop": lambda x, i: cr.fori_loop(
        0, 5,
        lambda k, x: cr.cond(k > i, lambda x: x.at[k].set(7.0), lambda x: x.at[k + 1].add(1.0), x),
        x,
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_c2_loops_and_branches_work_in_donated_memory(step: str) -> None:
    fn = STEPS[step]
    assert turns_of(fn, np.zeros(1_000_000), 3, donate_argnames=("x",)) < 2000
    for i in (0, 1, 2, 3, 4):
        x = np.arange(12.0)
        expected = np.asarray(cr.jit(fn)(x, i))
        assert cr.jit(fn, donate_argnames=("x",))(x, i) is x
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("step", ["fori_loop", "a branch"])
def test_c2_donated_memory_is_as_it_was_where_an_index_is_out_of_range(step: str) -> None:
    x = np.arange(6.0)
    with pytest.raises(IndexError):
        cr.jit(STEPS[step], donate_argnames=("x",))(x, 3 if step == "fori_loop" else 12)
    np.testing.assert_array_equal(x, np.arange(6.0))


def test_c2_an_index_that_the_donated_memory_holds_is_looked_at_first() -> None:
    def fn(x: Any) -> Any:
        return cr.fori_loop(0, 3, lambda k, x: x.at[x[k]].set(x[k] + k), x)

    for x in (np.array([3, 2, 1, 0]), np.array([1, 9, 0, 0])):
        old = x.copy()
        try:
            expected = np.asarray(cr.jit(fn)(old))
        except IndexError:
            with pytest.raises(IndexError):
                cr.jit(fn, donate_argnames=("x",))(x)
            np.testing.assert_array_equal(x, old)
        else:
            np.testing.assert_array_equal(cr.jit(fn, donate_argnames=("x",))(x), expected)


def test_c2_values_of_donated_arrays_are_those_of_numpy() -> None:
    x = np.arange(12.0)
    fn = cr.jit(CHANGES["one after the other"], donate_argnames=("x",))
    expected = x.copy()
    old = x.copy()
    expected[3] += 1.0
    expected[4] = old[3]
    expected[0] = max(expected[0], old[4])
    np.testing.assert_array_equal(fn(x, 3), expected)


def _unrolled(n: int) -> Mapping[str, Fn]:
    order = np.random.default_rng(0).permutation(n)

    def written(x: Any) -> Any:
        y = cnp.zeros(n)
        for i in range(n):
            y = y.at[i].set(cnp.sin(x[i]))
        return y

    def chained(x: Any) -> Any:
        y = cnp.zeros(n).at[0].set(x[0])
        for i in range(1, n):
            y = y.at[i].set(cnp.sin(y[i - 1]) * x[i])
        return y

    def shuffled(x: Any) -> Any:
        for i in order:
            x = x.at[i].multiply(cnp.sin(x[i - 1]) + x[0])
        return x

    return {"written": written, "chained": chained, "shuffled": shuffled}


@pytest.mark.share(6)
@pytest.mark.parametrize("numerics", ["fast", "strict"])
@pytest.mark.parametrize("kind", ["written", "chained", "shuffled"])
def test_c3_unrolled_updates_are_linear(kind: str, numerics: str) -> None:
    """Four times the updates: at most a little more than four times of everything."""

    def sizes(n: int, *, slope: bool) -> list[int]:
        fn = _unrolled(n)[kind]
        made = cr.grad(_total(fn)) if slope else fn
        x = np.linspace(0.1, 1.0, n)
        lowered = lowered_of(made, x, numerics=numerics)
        arena = lowered.arena
        assert isinstance(arena, int)
        return [len(lowered.runs), lowered.module.text().count("\n"), arena]

    for slope in (False, True):
        # Up to 16 parts of a concatenation share a kernel.
        small, large = sizes(32, slope=slope), sizes(128, slope=slope)
        assert all(b <= 6 * a for a, b in zip(small, large, strict=True)), (small, large)


@pytest.mark.share(2)
@pytest.mark.parametrize("kind", ["written", "chained", "shuffled"])
def test_c3_unrolled_updates_are_right(kind: str) -> None:
    n = 12
    fn, x = _unrolled(n)[kind], np.linspace(0.1, 1.0, n)
    expected = x.copy()
    match kind:
        case "written":
            expected = np.sin(x)
        case "chained":
            for i in range(1, n):
                expected[i] = np.sin(expected[i - 1]) * x[i]
        case _:
            for i in np.random.default_rng(0).permutation(n):
                expected[i] *= np.sin(expected[i - 1]) + expected[0]
    np.testing.assert_allclose(cr.jit(fn)(x), expected, rtol=1e-14)
    gradient = cr.jit(cr.grad(_total(fn)))(x)
    step = 1e-6
    for i in range(n):
        moved = [np.where(np.arange(n) == i, x + s, x) for s in (step, -step)]
        up, down = (float(np.sum(np.asarray(cr.jit(fn)(m)) ** 2)) for m in moved)
        assert gradient[i] == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("how", ["set", "add", "multiply", "divide", "power", "max", "min"])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 3), (3, 1)])
def test_b2_axes_of_extent_1(how: str, shape: tuple[int, ...]) -> None:
    """The part is the whole, but an axis of it is dropped: `x.at[0]` of x with one row."""
    x = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    keys: list[Any] = [0, -1, (0,) * len(shape), (Ellipsis, 0), slice(0, 1), (None, 0)]
    in_numpy: Mapping[str, Callable[[Any], Any]] = {
        "set": lambda _: 2.0, "add": lambda v: v + 2.0, "multiply": lambda v: v * 2.0,
        "divide": lambda v: v / 2.0, "power": lambda v: v**2.0,
        "max": lambda v: np.maximum(v, 2.0), "min": lambda v: np.minimum(v, 2.0),
    }  # fmt: skip

    def changed(y: Any) -> list[Any]:
        return [getattr(y.at[key], how)(2.0) for key in keys]

    for key, found in zip(keys, cr.jit(changed)(x), strict=True):
        expected = x.copy()
        expected[key] = in_numpy[how](expected[key])
        np.testing.assert_allclose(found, expected)
    slope = cr.grad(lambda y: sum((cnp.sum(z * y) for z in changed(y)), cnp.sum(y)))(x)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("named", [False, True], ids=["static", "named"])
@pytest.mark.parametrize("loop", ["scan", "fori_loop"])
def test_rows_picked_before_in_and_after_a_loop(loop: str, named: bool, numerics: str) -> None:
    def best(rows: Any, ids: Any) -> Any:
        if loop == "scan":
            total, _ = cr.scan(lambda d, i: (d + rows[i], None), rows[ids[0]], ids)
        else:
            total = cr.fori_loop(0, ids.shape[0], lambda i, d: d + rows[ids[i]], rows[ids[0]])
        return total[cnp.argmax(total)]

    rows, ids = np.arange(12.0).reshape(4, 3), np.array([0, 1, 2, 0])
    dims: Any = {"rows": ("k", "m"), "ids": ("n",)} if named else None
    found = cr.jit(cr.grad(best), dims=dims, numerics=numerics)(rows, ids)
    np.testing.assert_array_equal(found, [[0, 0, 3], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
