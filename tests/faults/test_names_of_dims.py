"""Kind of fault: what a user calls an extent reaches emitted code, or is read as something else.

Dims may have any Python identifier as their name, also one that the compiler's own loops might
have; expressions of names are read alike in `jit`, `spec`, `symbol` and the command line; whatever
is neither is refused with what is allowed.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.package.c_program import needs_gcc
from tests.package.test_python import imported

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.cli.load import parse_spec
from chainrule.errors import ShapeError
from chainrule.frontend.trace import trace
from chainrule.ir.dims import evaluate_extent, show_extent
from chainrule.ir.written import parse_extent

# Names that the compiler's own variables, values, buffers and strips have or once had.
OWN = ["i0", "x0", "j0", "v1", "v3", "b0", "steps", "k"]
FOREIGN = ["größe", "名", "if", "int", "min", "__"]


def products(x: Any, w: Any) -> Any:
    hidden = cnp.tanh(x @ w)
    picked = hidden[cnp.argmax(x[:, 0])] + cnp.cumsum(hidden, axis=0)[-1]
    return (picked * (x.T @ x)[0].sum()).sum() + x[:, 1:].max() + cnp.mean(hidden * hidden)


GRADIENT = cr.value_and_grad(products, argnums=(0, 1))


@functools.cache
def plain(numerics: str) -> Any:
    return cr.jit(GRADIENT, dims={"x": ("m", "n"), "w": ("n", "o")}, numerics=numerics)


@pytest.mark.share(8)
@pytest.mark.parametrize(
    ("name", "numerics"),
    [*((n, "fast") for n in (*OWN, *FOREIGN)), ("i0", "strict"), ("größe", "strict")],
)
def test_dims_may_have_any_name(name: str, numerics: str) -> None:
    generator = np.random.default_rng(0)
    w = generator.normal(size=(4, 3))
    for dims in ({"x": (name, "q"), "w": ("q", "r")}, {"x": ("q", name), "w": (name, "r")}):
        compiled = cr.jit(GRADIENT, dims=dims, numerics=numerics)
        for rows in (5, 1, 9):
            given = generator.normal(size=(rows, 4))
            (value, slopes), (expected, exact) = compiled(given, w), plain(numerics)(given, w)
            np.testing.assert_array_equal(value, expected)
            for a, b in zip(slopes, exact, strict=True):
                np.testing.assert_array_equal(a, b)
            oracle = trace(products, given, w).run(given, w)
            np.testing.assert_allclose(value, oracle, rtol=1e-10)


@pytest.mark.parametrize("name", ["i0", "v1", "größe"])
def test_names_of_dims_in_loops_batches_and_updates(name: str) -> None:
    def fn(x: Any) -> Any:
        last, kept = cr.scan(lambda c, r: (cnp.tanh(c + r), c.sum()), x[0], x)
        return last.sum() + kept.at[0].set(2.0).sum() + cr.vmap(lambda r: r @ r)(x).max()

    x = np.random.default_rng(1).normal(size=(4, 3))
    got = cr.jit(cr.grad(fn), dims={"x": (name, "m")})(x)
    np.testing.assert_allclose(got, cr.jit(cr.grad(fn))(x), rtol=1e-12)


def numbered(text: str, **numbers: int) -> int:
    """Python's own reading of an extent."""
    return int(eval(text, {"min": min, "max": max}, numbers))  # noqa: S307


EXPRESSIONS = [
    "2*n", "n + 1", "batch*time", "(n+1)//2", "n - 1", "3 + n*2", "2*(n + time) - n",
    "n % 3", "max(n, 3)", "min(n*2, batch + 1)", "(n + 1)*(n + 2)", "n//2 + n % 2", "--n", "8",
    "max(min(n, batch), (time))", " n ", "n*n*n", "0*n + 4", "(2*n + 3)//2", "n*batch//time",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_mean_what_python_means(text: str) -> None:
    extent = parse_extent(text)
    assert parse_extent(show_extent(extent)) == extent
    dims = {"x": (text,), "n": ("n",), "batch": ("batch",), "time": ("time",)}
    function = cr.jit(lambda x, n, batch, time: cnp.ones(x.shape).sum(), dims=dims)
    for numbers in itertools.product((1, 2, 5), repeat=3):
        given = dict(zip(("n", "batch", "time"), numbers, strict=True))
        expected = numbered(text.strip(), **given)
        assert evaluate_extent(extent, given) == expected
        if not isinstance(extent, int):
            assert function(np.ones(expected), *map(np.ones, numbers)) == expected
            with pytest.raises(ShapeError):
                function(np.ones(expected + 1), *map(np.ones, numbers))


@pytest.mark.parametrize("text", [t for t in EXPRESSIONS if t not in ("8", "0*n + 4")])
def test_all_doors_have_one_reader(text: str) -> None:
    extent = parse_extent(text)
    assert cr.spec((text, 3)).shape == (extent, 3)
    assert cr.symbol("x", (text,)).shape == (extent,)
    assert parse_spec(f"f32[{text}, 3]") == cr.spec((extent, 3), "float32")
    names = [cr.spec(n) for n in ("n", "batch", "time")]
    dims = {"x": (text, None)}

    def fn(x: Any, *others: Any) -> Any:
        del others
        return x.sum(0)

    program = trace(fn, cr.spec(("q", 3)), *names, dims=dims).program
    assert program.inputs[0].shape == (extent, 3)


BAD = [
    "n m", "", "1n", "n.x", "n +", "2**n", "n/2", "f(n)", "(n", "n)", "-3", "n == 1", "n, m", "1.5",
    "max(n)", "min(n, 1, 2)", "n//0", "n % -2", "n'", 'n"', "n\0", "n\n m", "[n]", "²",
    "9" * 30, "٣",     "(" * 5000 + "n", "lambda x: x", "n if m else 1", "n := 2",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda t: repr(t[:12]))
def test_what_is_no_extent_is_refused_everywhere(text: str) -> None:
    x = np.ones(6)
    doors: list[Any] = [
        lambda: cr.jit(lambda x: x.sum(), dims={"x": (text,)})(x),
        lambda: cr.spec((text,)),
        lambda: cr.symbol("x", (text,)),
    ]
    for door in doors:
        with pytest.raises(
            ShapeError, match=r"is no extent(.|\n)*hint: an extent is a whole number"
        ):
            door()


@pytest.mark.parametrize("text", ["f32[n m]", "f32[2**n]", "f32[n, -1]"])
def test_the_command_line_says_what_is_allowed(text: str) -> None:
    with pytest.raises(Exception, match=r"is no extent(.|\n)*an extent is a whole number"):
        parse_spec(text)


def test_names_are_normalised_as_pythons_are() -> None:
    assert parse_extent("größe") == parse_extent("größe")  # composed and decomposed
    assert parse_extent("2*ﬁ") == parse_extent("2*fi")


# dims of x, y; what n and m are for lengths of x and y; lengths that fit, and some that do not
Lengths = list[tuple[int, int]]
SOLVED: list[tuple[dict[str, tuple[str, ...]], Any, Lengths, Lengths]] = [
    ({"x": ("2*n",), "y": ("n + m",)}, lambda a, b: (a // 2, b - a // 2),
     [(6, 5), (0, 0), (2, 1), (8, 9)], [(5, 9), (6, 2)]),
    ({"x": ("n + m",), "y": ("n - m",)}, lambda a, b: ((a + b) // 2, (a - b) // 2),
     [(5, 1), (0, 0), (3, 3), (9, 1)], [(5, 2), (1, 3)]),
    ({"x": ("10 - n",), "y": ("m",)}, lambda a, b: (10 - a, b),
     [(6, 1), (10, 0), (0, 4)], [(11, 1)]),
    ({"x": ("m*n",), "y": ("m",)}, lambda a, b: (a // b, b),
     [(6, 2), (0, 3), (5, 5), (4, 1)], [(5, 2), (0, 0)]),
    ({"x": ("3*n + 2*m",), "y": ("n + m",)}, lambda a, b: (a - 2 * b, 3 * b - a),
     [(5, 2), (0, 0), (12, 5)], [(5, 1), (2, 2)]),
    ({"x": ("n + 3",), "y": ("n//2 + m",)}, lambda a, b: (a - 3, b - (a - 3) // 2),
     [(6, 4), (3, 0), (4, 1)], [(2, 3), (9, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dims", "found", "good", "bad"), SOLVED, ids=[str(row[0]) for row in SOLVED]
)
def test_names_that_no_axis_has_alone_are_solved_for(
    dims: dict[str, tuple[str, ...]],
    found: Any,
    good: list[Any],
    bad: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fn(x: Any, y: Any) -> Any:
        return x.sum() + 2 * y.sum()

    compiled, gradient = cr.jit(fn, dims=dims), cr.jit(cr.grad(fn), dims=dims)
    for a, b in good:
        x, y = np.arange(a) + 1.0, np.arange(b) + 2.0
        np.testing.assert_array_equal(gradient(x, y), np.ones(a))
        traced = trace(fn, x, y, dims=dims)
        assert compiled(x, y) == traced.run(x, y) == fn(x, y)
        assert traced.numbers([(a,), (b,)]) == dict(zip(("n", "m"), found(a, b), strict=True))
    assert len(compiled.compilations) == 1
    for a, b in bad:
        with pytest.raises(ShapeError):
            compiled(np.ones(a), np.ones(b))
        with pytest.raises(ShapeError):
            cr.jit(fn, dims=dims)(np.ones(a), np.ones(b))
    # The native entry solves too: Python is not asked.
    monkeypatch.setattr("chainrule.api.variant.call_kernel", None)
    for a, b in good:
        assert compiled(np.ones(a), np.ones(b)) == a + 2 * b


REFUSED = ["(n+1)//2", "n*n", "n % 4", "max(n, 3)", "n*m", "n + m"]


@pytest.mark.parametrize("text", REFUSED)
def test_names_that_cannot_be_found_are_refused(text: str) -> None:
    message = r"no argument tells what .*n is(.|\n)*only in  (.|\n)*hint: give an argument an axis"
    with pytest.raises(ShapeError, match=message):
        cr.jit(lambda x: x.sum(), dims={"x": (text,)})(np.ones(4))
    with pytest.raises(ShapeError, match=message):
        cr.jit(lambda x: x.sum()).lower(cr.spec(text))
    fine = cr.jit(lambda x, y, z: x.sum(), dims={"x": (text,), "y": ("n",), "z": ("m",)})
    n, m = 4, 2
    assert fine(np.ones(numbered(text, n=n, m=m)), np.ones(n), np.ones(m)) == numbered(
        text, n=n, m=m
    )


def test_an_expression_that_is_not_what_an_axis_is() -> None:
    fn = cr.jit(lambda x, y: x.sum() + y.sum(), dims={"x": ("n",), "y": ("2*n",)})
    with pytest.raises(
        ShapeError, match=r"y axis 0 is 5, which is not 2\*n\n *n +3, from x axis 0"
    ):
        fn(np.ones(3), np.ones(5))
    assert fn(np.ones(3), np.ones(6)) == 9.0
    with pytest.raises(ShapeError, match="argument y has the wrong shape"):
        fn(np.ones(3), np.ones(5))


def test_dims_found_by_solving_survive_another_extent() -> None:
    fn = cr.jit(lambda x, w: x.sum() + w.sum(), dims={"x": ("2*n",)})
    assert fn(np.ones(4), np.ones(3)) == 7.0
    assert fn(np.ones(6), np.ones(5)) == 11.0
    assert fn(np.ones(8), np.ones(2)) == 10.0
    assert len(fn.compilations) == 2
    with pytest.raises(ShapeError):
        fn(np.ones(7), np.ones(3))


@needs_gcc
def test_exports_solve_for_dims_too(tmp_path: Path) -> None:
    fn = cr.jit(lambda x, y: x[::2] * 2.0 + y, dims={"x": ("2*größe",), "y": ("größe",)})
    alone = cr.jit(lambda x: (x * 2.0).sum(), dims={"x": ("2*n + 1",)})
    modules = []
    for name, function, args in (
        ("both", fn, (np.ones(6), np.ones(3))), ("alone", alone, (cr.spec("2*n + 1"),)),
    ):  # fmt: skip
        cr.export(function, args=args, path=tmp_path / name, name=name, selftest=2)
        modules.append(imported(tmp_path / name, name))
    both, single = modules[0].both, modules[1].alone
    np.testing.assert_array_equal(both(np.arange(8.0), np.ones(4)), np.arange(0, 16, 4) + 1.0)
    assert single(np.ones(5)) == 10.0
    for length in (4, 0):
        with pytest.raises(ValueError, match=r"wrong shape|cannot work with"):
            single(np.ones(length))
