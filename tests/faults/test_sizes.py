"""Kind: sizes, starts and counts that are negative or too large at run time.

Each program is called at lengths in an order that first names its extent and then makes a bound
negative; NumPy says what is right, or that it is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from tests.random_sizes import outcome

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ShapeError

Program = Callable[[Any, Any], Any]
LENGTHS: Final = (12, 9, 7, 20, 1, 0, 13)


def at(xp: Any, x: Any, key: Any, how: str) -> Any:
    if xp is not np:
        return getattr(x.at[key], how)(9.0)
    y = x.copy()
    y[key] = y[key] + 9.0 if how == "add" else 9.0
    return y


SIZES: Final[dict[str, Program]] = {
    "x[n - 10]": lambda _, x: x[x.shape[0] - 10] * 1.0,
    "x[1 - n:]": lambda _, x: x[1 - x.shape[0] :].sum(),
    "x[n - 8:]": lambda _, x: x[x.shape[0] - 8 :].sum(),
    "x[:n - 8]": lambda _, x: x[: x.shape[0] - 8] * 2.0,
    "x[2:5:-1]": lambda _, x: x[2:5:-1].sum(),
    "x[-1:0:3]": lambda _, x: x[-1:0:3].sum(),
    "x[::-2]": lambda _, x: x[::-2] * 2.0,
    "x[8:2:-2]": lambda _, x: x[8:2:-2] * 2.0,
    "x[1:-1]": lambda _, x: x[1:-1] * 2.0,
    "x[1:] - x[:-1]": lambda _, x: x[1:] - x[:-1],
    "at[1:3:-1].add": lambda xp, x: at(xp, x, slice(1, 3, -1), "add"),
    "at[4:-1:-2].set": lambda xp, x: at(xp, x, slice(4, -1, -2), "set"),
    "at[-1:0:3].set": lambda xp, x: at(xp, x, slice(-1, 0, 3), "set"),
    "at[n - 8:].add": lambda xp, x: at(xp, x, slice(x.shape[0] - 8, None), "add"),
    "roll(x, n - 10)": lambda xp, x: xp.roll(x, x.shape[0] - 10),
    "roll(x, -25)": lambda xp, x: xp.roll(x, -25),
    "pad(x, -1)": lambda xp, x: xp.pad(x, -1),
    "pad(x, (0, 10 - n))": lambda xp, x: xp.pad(x, (0, 10 - x.shape[0])),
    "concatenate": lambda xp, x: xp.concatenate([x, xp.zeros(10 - x.shape[0])]),
    "full((-2,), x)": lambda xp, x: xp.full((-2,), x.sum()).sum(),
    "broadcast_to": lambda xp, x: xp.broadcast_to(x.sum(), (-3,)).sum(),
    "arange(n - 10)": lambda xp, x: xp.arange(x.shape[0] - 10).sum() + 0.0 * x.sum(),
    "arange(3, n, -2)": lambda xp, x: xp.arange(3, x.shape[0], -2) * 1.0 + 0.0 * x.sum(),
    "reshape": lambda xp, x: xp.reshape(x, (-2, -2)),
    "diff": lambda xp, x: xp.diff(x),
    "split": lambda xp, x: xp.split(x, [x.shape[0] - 8, 30])[1] * 1.0,
    "divided by -3": lambda _, x: x[: 9 + (x.shape[0] - 7) // (-3)] * 1.0,
    "zeros divided by -3": lambda xp, x: xp.zeros(4 + (x.shape[0] - 1) // (-3)) + x.sum(),
    "arange divided by -3": lambda xp, x: xp.arange(-3, (x.shape[0] - 1) // (-3)) + x.sum(),
    "remainder of -3": lambda xp, x: xp.zeros(9 + (x.shape[0] - 8) % (-3)) + x.sum(),
    "linspace": lambda xp, x: xp.linspace(0.0, 1.0, x.shape[0] - 8) + 0.0 * x.sum(),
}  # fmt: skip


@pytest.mark.parametrize("dims", [None, {"x": ("n",)}], ids=["changing", "named"])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_clamped_or_refused_as_numpy_does(name: str, dims: Any) -> None:
    program = SIZES[name]
    fn = cr.jit(lambda x: program(cnp, x), dims=dims)
    for n in LENGTHS:
        x = np.arange(n) + 1.0
        got, want = outcome(fn, x), outcome(lambda x: program(np, x), x)
        assert (got is None) == (want is None), f"{n}: {got} is not {want}"
        if want is not None:
            np.testing.assert_array_equal(got, want, f"{name} at {n}")


def test_gradients_and_batches_of_a_negative_bound() -> None:
    slope = cr.grad(lambda x: (x[1 - x.shape[0] :] ** 2).sum())
    rows = cr.vmap(lambda x: x[x.shape[0] - 8 :].sum())
    for n in (12, 9, 7, 3, 12):
        x = np.arange(n) + 1.0
        expected = 2 * x
        expected[0] = 0
        np.testing.assert_array_equal(slope(x), expected)
        np.testing.assert_array_equal(
            rows(np.stack([x, -x])), [x[n - 8 :].sum(), -x[n - 8 :].sum()]
        )


def test_a_scan_of_negative_length_is_refused() -> None:
    def rows(x: Any) -> Any:
        return cr.scan(lambda c, _: (c + 1.0, c), 0.0, length=x.shape[0] - 10)[1]

    fn = cr.jit(rows, dims={"x": ("n",)})
    np.testing.assert_array_equal(fn(np.ones(12)), [0, 1])
    for n in (9, 7, 0):
        with pytest.raises(ShapeError, match=r"scan: the length is negative(.|\n)*test_sizes.py"):
            fn(np.ones(n))
    np.testing.assert_array_equal(fn(np.ones(10)), [])


TOO_LARGE: Final[dict[str, Callable[[Any], Any]]] = {
    "broadcast_to": lambda x: cnp.broadcast_to(x, (2**64 + 3,)).sum(),
    "repeat": lambda x: cnp.repeat(x, 2**64).sum(),
    "tile": lambda x: cnp.tile(x, 2**64).sum(),
    "pad": lambda x: cnp.pad(cnp.stack([x, x]), 2**64).sum(),
    "scan of 2**61 stacked": lambda x: cr.scan(lambda c, _: (c, c), x, length=2**61)[1].sum(),
    "scan of 2**64": lambda x: cr.scan(lambda c, _: (c + x, None), x, length=2**64)[0],
    "product": lambda x: cnp.sum(cnp.broadcast_to(x, (2**32, 2**32)) * 2.0),
    "arange": lambda x: cnp.arange(2.0**80) + x,
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_no_memory_holds_is_refused_before_anything_runs(name: str) -> None:
    with pytest.raises((MemoryError, ValueError, OverflowError)):
        cr.jit(TOO_LARGE[name])(1.0)


def test_products_of_named_dims_beyond_addresses_are_refused() -> None:
    fn = cr.jit(lambda x, y: (x[:, None] * y * 1.0).sum(), dims={"x": ("n", 0), "y": ("m", 0)})
    huge = np.zeros((2**40, 0))
    outer = cr.jit(
        lambda x, y: cnp.ones((x.shape[0], y.shape[0])).sum(),
        dims={"x": ("n", None), "y": ("m", None)},
    )
    with pytest.raises((ShapeError, MemoryError)):
        outer(huge, huge)
    assert fn(np.zeros((3, 0)), np.zeros((3, 0))) == 0.0


def test_messages_name_the_dims_and_the_line() -> None:
    fn = cr.jit(lambda x: x[x.shape[0] - 10] * 1.0, dims={"x": ("rows",)})
    fn(np.ones(12))
    with pytest.raises(IndexError, match=r"index rows - 10 of axis 0(.|\n)*rows  3(.|\n)*x.shape"):
        fn(np.ones(3))


# Slices of one array that fit one another at every length, down to none.
STENCILS: dict[str, Callable[[Any, Any], Any]] = {
    "second difference": lambda m, u: u[2:] - 2 * u[1:-1] + u[:-2],
    "first difference": lambda m, u: u[1:-1] - u[2:],
    "wide": lambda m, u: u[4:] * u[:-4] - u[2:-2],
    "backward": lambda m, u: u[:0:-1] + u[-2::-1],
    "pieces": lambda m, u: m.concatenate([u[:1], u[1:-1] * 2, u[-1:]]),
    "halves": lambda m, u: u[: len(u) // 2] if m is np else u[: u.shape[0] // 2],
}


@pytest.mark.parametrize("name", STENCILS)
def test_a0_stencils_fit_at_every_length(name: str) -> None:
    fn = STENCILS[name]
    compiled = cr.jit(lambda u: fn(cnp, u), dims={"u": ("n",)})
    slope = cr.jit(cr.grad(lambda u: cnp.sum(cnp.sin(fn(cnp, u)))), dims={"u": ("n",)})
    for n in (5, 0, 1, 2, 3, 4, 6, 0, 9):
        u = np.arange(n) * 1.5
        np.testing.assert_array_equal(compiled(u), fn(np, u))
        differences = [
            (np.sum(np.sin(fn(np, u + h))) - np.sum(np.sin(fn(np, u - h)))) / 2e-6
            for h in 1e-6 * np.eye(n)
        ]
        np.testing.assert_allclose(slope(u), differences, atol=1e-8)
