"""Where a branch was not taken it gives 0 to every derivative, whatever lies behind it.

Each case has an untaken branch with infinite or undefined slopes: singular matrices, roots and
logarithms of 0, loops, checkpoints, whole rows that hold NaN.  The right values are those of the
branch that is taken, differentiated by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import special

linalg = cnp.linalg
ONES = np.ones((2, 2))
SINGULAR = {"rank 1": np.array([[1.0, 2], [2, 4]]), "rank 0": np.zeros((2, 2))}
MATRICES: dict[str, Callable[[Any], Any]] = {
    "inv": lambda a: cnp.sum(linalg.inv(a)),
    "det": linalg.det,
    "slogdet": lambda a: linalg.slogdet(a)[1],
    "solve": lambda a: cnp.sum(linalg.solve(a, np.ones(2))),
    "solve several": lambda a: cnp.sum(linalg.solve(a, np.ones((2, 3)))),
    "cholesky": lambda a: cnp.sum(linalg.cholesky(a)),
    "triangular": lambda a: cnp.sum(linalg.solve_triangular(a, np.ones((2, 1)), lower=True)),
    "power": lambda a: cnp.sum(linalg.matrix_power(a, -2)),
}


def untaken(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda a: cnp.where(cnp.sum(a) > 100, op(a), cnp.sum(a))


def behind_a_root(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return untaken(lambda a: op(cnp.sqrt(a * a)))


def stacked(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda s: cnp.sum(cr.vmap(op)(s))


def check(function: Callable[[Any], Any], x: Any, expected: Any) -> None:
    """Compare first derivatives, reverse and forward."""
    for verb in (cr.grad(function), cr.jacfwd(function)):
        np.testing.assert_allclose(verb(x), expected, rtol=1e-12)


def check_modes(function: Callable[[Any], Any], x: Any, expected: Any) -> None:
    """Compare the gradient in the other modes, and in single precision."""
    for numerics in ("strict", "reproducible"):
        verb = cr.jit(cr.grad(function), numerics=numerics)
        np.testing.assert_allclose(verb(x), expected, rtol=1e-12)
    single = cr.grad(function)(np.asarray(x, np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def check_second(function: Callable[[Any], Any], x: Any) -> None:
    """Second derivatives of what is linear where it is taken are zero, however they are made."""
    for outer, inner in ((cr.jacfwd, cr.grad), (cr.jacrev, cr.grad), (cr.jacrev, cr.jacfwd)):
        np.testing.assert_array_equal(outer(inner(function))(x), 0)


@pytest.mark.share(3)
@pytest.mark.parametrize("rank", SINGULAR)
@pytest.mark.parametrize("name", MATRICES)
def test_matrices(name: str, rank: str) -> None:
    op, a = MATRICES[name], SINGULAR[rank]
    check(untaken(op), a, ONES)
    check(behind_a_root(op), a, ONES)
    check(stacked(untaken(op)), np.stack([a, a]), np.ones((2, 2, 2)))
    if rank == "rank 0":
        check_modes(untaken(op), a, ONES)
        check_second(untaken(op), a)


@pytest.mark.parametrize("name", ["inv", "det", "triangular"])
def test_second_derivatives_of_stacks(name: str) -> None:
    a = SINGULAR["rank 0"]
    check_second(stacked(behind_a_root(MATRICES[name])), np.stack([a, a]))


STACKS: dict[str, Callable[[Any], Any]] = {
    "inv": lambda s: cnp.sum(linalg.inv(s), axis=(1, 2)),
    "det": linalg.det,
    "slogdet": lambda s: linalg.slogdet(s)[1],
    "solve": lambda s: cnp.sum(linalg.solve(s, np.ones((2, 2, 1))), axis=(1, 2)),
    "cholesky": lambda s: cnp.sum(linalg.cholesky(s), axis=(1, 2)),
}


@pytest.mark.parametrize("name", STACKS)
def test_one_matrix_of_a_stack_is_taken(name: str) -> None:
    good = np.array([[2.0, 1], [1, 3]])
    mask = np.array([True, False])
    function = lambda s: cnp.sum(cnp.where(mask, STACKS[name](s), 0.0))  # noqa: E731
    own = cr.grad(MATRICES[name])(good)
    check(function, np.stack([good, SINGULAR["rank 1"]]), np.stack([own, 0 * ONES]))


def test_some_elements_of_a_matrix_are_taken() -> None:
    stack = np.stack([np.array([[2.0, 1], [1, 3]]), np.zeros((2, 2))])
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = True
    found = cr.grad(lambda s: cnp.sum(cnp.where(mask, linalg.inv(s), 0.0)))(stack)
    inverse = np.linalg.inv(stack[0])
    np.testing.assert_allclose(found[0], -np.outer(inverse.T[:, 0], inverse.T[0]), rtol=1e-12)
    np.testing.assert_array_equal(found[1], 0)


# Loops


def summed(x: Any) -> Any:
    start = cnp.sum(x) * 0
    c, ys = cr.scan(lambda c, e: (c + cnp.sqrt(e), cnp.log(e) * c), start, x)
    return c + cnp.sum(ys)


def repeated(x: Any) -> Any:
    return cr.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, cnp.sqrt(s[1])), (0, x))[1]


def counted(x: Any) -> Any:
    return cr.fori_loop(0, 3, lambda i, s: cnp.sqrt(s), cnp.sqrt(x))


def test_loops() -> None:
    x = np.array([0.0, 4.0, 0.0])
    check(untaken(summed), x, np.ones(3))
    check_second(untaken(summed), x)
    check(stacked(untaken(summed)), np.stack([x, x]), np.ones((2, 3)))
    for loop in (repeated, counted):

        def one(x: Any, loop: Callable[[Any], Any] = loop) -> Any:
            return cnp.where(x > 1, loop(x), 2 * x)

        check(one, 0.0, 2.0)
        check_second(one, 0.0)
        check(stacked(one), np.array([0.0, 0.5, 0.0]), 2 * np.ones(3))


def test_loops_over_a_named_batch() -> None:
    one = lambda x: cnp.where(x > 1, repeated(x), 2 * x)  # noqa: E731
    gradient = cr.jit(cr.grad(stacked(one)), dims={"s": ("n",)})
    for n in (3, 1, 0, 2):
        np.testing.assert_array_equal(gradient(np.zeros(n)), np.full(n, 2.0))


def test_some_rows_of_a_loop_are_taken() -> None:
    def rows(x: Any) -> Any:
        _, ys = cr.scan(lambda c, e: (c, cnp.sqrt(e)), 0.0, x)
        return cnp.sum(cnp.where(x > 0, ys, 0.0))

    x = np.array([0.0, 4.0, 0.0])
    check(rows, x, [0, 0.25, 0])
    check_modes(rows, x, [0, 0.25, 0])


def tail(x: Any, mask: Any) -> Any:
    _, ys = cr.scan(lambda c, e: (cnp.sqrt(c * e),) * 2, 1.0, x)
    return cnp.sum(cnp.where(mask, ys, 0.0))


def test_the_state_of_a_loop_becomes_nan_behind_its_end() -> None:
    mask = np.array([True, True, False, False])
    # sqrt(a) + sqrt(sqrt(a) b) at a = b = 4
    exact = np.array([1 / 4 + 2**0.5 / 8, 2**0.5 / 4, 0, 0])
    x = np.array([4.0, 4.0, 0.0, -1.0])
    check(lambda x: tail(x, mask), x, exact)
    batch = lambda s: cnp.sum(cr.vmap(tail)(s, np.stack([mask, mask & False])))  # noqa: E731
    check(batch, np.stack([x, x]), np.stack([exact, 0 * exact]))


def test_rows_of_a_recurrent_network_that_are_padding() -> None:
    random = np.random.default_rng(0)
    w, xs = random.normal(size=(3, 3)), random.normal(size=(4, 2, 3))
    lengths = np.array([2, 4])
    mask = np.arange(4)[:, None] < lengths

    def loss(w: Any, xs: Any) -> Any:
        step = lambda h, x: (cnp.tanh(h @ w + x),) * 2  # noqa: E731
        _, hs = cr.scan(step, np.zeros((2, 3)), xs)
        return cnp.sum(cnp.where(mask[:, :, None], hs, 0.0))

    padded = np.where(mask[:, :, None], xs, np.nan)
    for verb in (cr.grad(loss, argnums=(0, 1)), cr.jit(cr.grad(loss, argnums=(0, 1)))):
        for got, want in zip(verb(w, padded), verb(w, xs), strict=True):
            np.testing.assert_allclose(got, np.where(np.isfinite(want), want, 0), rtol=1e-12)


# Sums, products, picks


VALID = np.array([True, False])
ROWS = np.array([[1.0, 2.0], [np.nan, np.inf]])
SUMS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "dot": (untaken(lambda v: v @ cnp.log(v)), np.zeros(2), np.ones(2)),
    "prod": (untaken(lambda v: cnp.prod(cnp.sqrt(v))), np.zeros(2), np.ones(2)),
    "max": (untaken(lambda v: cnp.max(cnp.sqrt(v))), np.zeros(2), np.ones(2)),
    "norm": (untaken(lambda v: linalg.norm(cnp.sqrt(v), 3)), np.zeros(2), np.ones(2)),
    "logsumexp": (untaken(lambda v: special.logsumexp(cnp.log(v))), np.zeros(2), np.ones(2)),
    "reshape": (
        untaken(lambda v: cnp.sum(cnp.sqrt(v).reshape(2, 1).T @ np.ones(2))), np.zeros(2),
        np.ones(2),
    ),
    "rows": (
        lambda w: cnp.sum(cnp.where(VALID[:, None], ROWS @ w, 0.0)), ONES, [[1, 1], [2, 2]],
    ),
    "elements": (lambda w: cnp.sum(cnp.where(VALID, ROWS @ w, 0.0)), np.ones(2), [1, 2]),
    "cumsum": (
        lambda x: cnp.sum(cnp.where(VALID, cnp.cumsum(cnp.sqrt(x)), 0.0)), np.array([4.0, 0]),
        [0.25, 0],
    ),
    "cumprod": (
        lambda x: cnp.sum(cnp.where(np.array([True, True, False]), cnp.cumprod(1 / x), 0.0)),
        np.array([1.0, 1, 0]), [-2, -1, 0],
    ),
    "picks": (
        lambda x: cnp.sum(cnp.where(VALID, cnp.sqrt(x)[np.array([1, 0])], 0.0)),
        np.array([0.0, 4]), [0, 0.25],
    ),
    "softmax": (
        lambda x: cnp.sum(cnp.where(np.array([[True, False], [False, False]]),
                                    special.softmax(x, axis=1), 0.0)),
        np.array([[0.0, 0], [-np.inf, -np.inf]]), [[0.25, -0.25], [0, 0]],
    ),
    "sliced": (
        lambda x: cnp.where(cnp.sum(x) > 100, cnp.sum(cnp.sqrt(x)[1:] * cnp.log(x)[:-1]), 0.0),
        np.zeros(3), np.zeros(3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_sums(name: str) -> None:
    function, x, expected = SUMS[name]
    check(function, x, expected)
    if not np.any(np.modf(np.asarray(expected))[0]):
        check(stacked(function), np.stack([x, x]), np.stack([expected, expected]))


# Checkpoints and branches


INSIDE: dict[str, Callable[[Any], Any]] = {
    "checkpoint": lambda x: cnp.where(x > 0, cr.checkpoint(cnp.sqrt)(x), 0.0),
    "checkpoint of a root": lambda x: cnp.where(
        x > 0, cr.checkpoint(cnp.sin)(cnp.sqrt(x)), 0.0
    ),
    "mask in a checkpoint": lambda x: cr.checkpoint(lambda u: cnp.where(u > 0, u * u, 0.0))(
        cnp.sqrt(x)
    ),
    "cond": lambda x: cnp.where(x > 0, cr.cond(x > -1, cnp.sqrt, lambda x: x, x), 0.0),
    "cond of a root": lambda x: cnp.where(
        x > 0, cr.cond(x > -1, cnp.sin, lambda x: x, cnp.sqrt(x)), 0.0
    ),
    "root of a sum": lambda x: cnp.sqrt(cnp.sum(cnp.where(x > 0, x, 0.0) * np.ones(3))),
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_bodies(name: str) -> None:
    function = INSIDE[name]
    check(function, 0.0, 0.0)
    check_second(function, 0.0)
    check(stacked(function), np.zeros(2), np.zeros(2))


def test_loops_over_what_is_masked() -> None:
    def loop(x: Any) -> Any:
        _, ys = cr.scan(lambda c, e: (c, cnp.sqrt(e)), 0.0, cnp.where(x > 0, x, 0.0))
        return cnp.sum(ys)

    check(loop, np.array([4.0, -1.0]), [0.25, 0])
