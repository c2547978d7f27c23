"""Kind: values of 16 bits that are rounded in between although `fast` numerics promise not to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import special

pytest.importorskip("ml_dtypes")

LARGE = np.full(40, 300.0)
"The squares of these overflow float16; roots of their means do not."
BATCH = np.stack([LARGE, 0.5 * LARGE, 0.25 * LARGE])


def zero(x: Any) -> Any:
    return cnp.zeros((), x.dtype)


def carried(x: Any) -> Any:
    return cnp.sqrt(cr.scan(lambda c, v: (c + v * v, c), zero(x), x)[0])


def stacked(x: Any) -> Any:
    return cnp.sqrt(cnp.mean(cr.scan(lambda c, v: (c, v * v), zero(x), x)[1]))


def scanned_over(x: Any) -> Any:
    return cnp.sqrt(cr.scan(lambda c, v: (c + v / 40, None), zero(x), x * x)[0])


def counted(x: Any) -> Any:
    return cnp.sqrt(cr.fori_loop(0, 40, lambda i, c: c + x[i] * x[i], zero(x)))


def doubled(x: Any) -> Any:
    start = (x[0] * x[1], 0)
    return cnp.sqrt(cr.while_loop(lambda s: s[1] < 5, lambda s: (2 * s[0], s[1] + 1), start)[0])


def chosen(x: Any) -> Any:
    taken = cr.cond(x[0] > 0, lambda v: cnp.sum(v * v), lambda v: v[0], x)
    return cnp.sqrt(taken)


def chosen_of(x: Any) -> Any:
    return cnp.sqrt(cr.cond(x[0] > 0, cnp.mean, lambda v: v[0], x * x))


def nested(x: Any) -> Any:
    rows = cnp.reshape(x, (8, 5))

    def row(c: Any, v: Any) -> Any:
        return c + cr.scan(lambda d, w: (d + w * w, None), zero(x), v)[0], None

    return cnp.sqrt(cr.scan(row, zero(x), rows)[0])


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "root mean square": lambda x: cnp.sqrt(cnp.mean(x * x)),
    "by a power": lambda x: cnp.mean(x**2) ** 0.5,
    "root of a sum": lambda x: cnp.sqrt(cnp.sum(x * x)),
    "norm": cnp.linalg.norm,
    "dot": lambda x: cnp.sqrt(x @ x),
    "einsum": lambda x: cnp.sqrt(cnp.einsum("i,i", x, x)),
    "outer": lambda x: cnp.sqrt(cnp.max(cnp.outer(x, x))),
    "prod": lambda x: cnp.prod(x[:4]) ** 0.25,
    "cumprod": lambda x: cnp.cumprod(x[:4])[-1] ** 0.25,
    "cumsum": lambda x: cnp.sqrt(cnp.cumsum(x * x)[-1]),
    "var": lambda x: cnp.sqrt(cnp.var(x * cnp.arange(40).astype(x.dtype))),
    "std": lambda x: cnp.std(x * x * cnp.arange(40).astype(x.dtype)) / x[0] / 40,
    "logsumexp": lambda x: special.logsumexp(cnp.log(x * x)),
    "logarithm": lambda x: cnp.log(cnp.mean(x * x)),
    "mean of means": lambda x: cnp.sqrt(cnp.mean(cnp.mean(cnp.outer(x, x), axis=1))),
    "copies": lambda x: cnp.sqrt(cnp.sum(cnp.broadcast_to(x[0] * x[1], (40,)))),
    "matrix": lambda x: cnp.sqrt(cnp.max(x[:, None] @ x[None, :])),
    "where": lambda x: cnp.sqrt(cnp.where(x > 0, x * x, x))[3],
    "written to": lambda x: cnp.sqrt(cnp.mean((x * x).at[0].set(0))),
    "added to": lambda x: cnp.sqrt(cnp.mean((x * x).at[1].add(x[0] * x[1]))),
    "added to at indices": lambda x: cnp.sqrt(
        cnp.mean((x * x).at[cnp.array([1, 1, 2])].add(x[:3] * x[3]))
    ),
    "checkpoint": lambda x: cnp.sqrt(cr.checkpoint(lambda v: v * v)(x).sum()),
    "carried": carried, "stacked": stacked, "scanned over": scanned_over, "counted": counted,
    "doubled": doubled, "chosen": chosen, "chosen of": chosen_of, "nested": nested,
}  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_rounded_in_between(name: str, dtype: str) -> None:
    """As in torch#12115: values and slopes are those of float32, rounded once."""
    f = PROGRAMS[name]
    kind = cnp.bfloat16 if dtype == "bfloat16" else np.float16
    rtol = 1.2e-2 if dtype == "bfloat16" else 1.5e-3
    given = LARGE.astype(kind)
    value, slope = cr.value_and_grad(f)(given)
    wide = given.astype(np.float32)
    expected, exact = cr.value_and_grad(f)(wide)
    assert value.dtype == slope.dtype == given.dtype
    np.testing.assert_allclose(float(value), float(expected), rtol=rtol)
    np.testing.assert_allclose(slope.astype(float), exact, rtol=2 * rtol, atol=1e-5)
    one = np.zeros(40, kind)
    one[0] = 1
    _, forward = cr.jvp(f, (given,), (one,))
    np.testing.assert_allclose(float(forward), exact[0], rtol=2 * rtol, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "prod"])
def test_nor_under_vmap(name: str) -> None:
    f = PROGRAMS[name]
    given = BATCH.astype(np.float16)
    found = cr.vmap(cr.value_and_grad(f))(given)
    expected = [cr.value_and_grad(f)(row.astype(np.float32)) for row in given]
    np.testing.assert_allclose(found[0].astype(float), [v for v, _ in expected], rtol=1.5e-3)
    np.testing.assert_allclose(
        found[1].astype(float), [g for _, g in expected], rtol=3e-3, atol=1e-5
    )


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_nor_with_named_dims(n: int) -> None:
    f = cr.jit(cr.value_and_grad(PROGRAMS["root mean square"]), dims={"x": ("n",)})
    value, slope = f(LARGE[:n].astype(np.float16))
    assert float(value) == 300
    np.testing.assert_allclose(slope.astype(float), 1 / n, rtol=1e-3)


def test_second_derivatives() -> None:
    f = PROGRAMS["root mean square"]
    x = np.linspace(200, 300, 5)
    found = cr.hessian(f)(x.astype(np.float16))
    np.testing.assert_allclose(found.astype(float), cr.hessian(f)(x), rtol=2e-2, atol=2e-6)


def test_strict_numerics_round_every_result() -> None:
    f = PROGRAMS["root mean square"]
    for mode in ("strict", "reproducible"):
        assert np.isinf(cr.jit(f, numerics=mode)(LARGE.astype(np.float16)))
        total = cr.jit(carried, numerics=mode)(LARGE.astype(np.float16))
        assert np.isinf(total)


def test_conversions_that_are_written_round_always() -> None:
    def through(x: Any) -> Any:
        return cnp.sqrt((x.astype(np.float32) ** 2).astype(np.float16).astype(np.float32))

    def again(x: Any) -> Any:
        return cnp.sqrt((x * x).astype(np.float32).astype(np.float16))

    for f in (through, again):
        for mode in ("fast", "strict"):
            assert np.isinf(cr.jit(f, numerics=mode)(LARGE.astype(np.float16))).all()
