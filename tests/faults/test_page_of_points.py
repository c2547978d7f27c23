"""The page of values at points that are not smooth: every row of its table, as it stands there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import special

INF, NAN = np.inf, np.nan
PAGE: Final = Path(__file__).parents[2] / "docs" / "numerics.md"
linalg = cnp.linalg


class Point(NamedTuple):
    """A function, where it is taken, and its derivative by each argument there."""

    function: Callable[..., Any]
    at: tuple[Any, ...]
    slopes: tuple[Any, ...]


def rows() -> list[tuple[str, str]]:
    """Return the function and the point of each row of the first table of the page."""
    lines = PAGE.read_text(encoding="utf-8").split("| derivative there |")[1].splitlines()
    table = lines[2 : lines.index("", 2)]
    return [(c[1].strip(), c[2].strip()) for c in (line.split("|") for line in map(plain, table))]


def plain(line: str) -> str:
    """Return a row whose cells have no bars of their own."""
    return line.replace(r"\|", "/")


def x_(*values: float) -> Any:
    return np.array(values, float)


def both(name: str) -> Callable[[Any, Any], Any]:
    function: Callable[[Any, Any], Any] = getattr(cnp, name)
    return function


def clip(x: Any, low: Any, high: Any) -> Any:
    return cnp.clip(x, low, high)


def first(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a weighted sum of the results, so that all of them count."""
    return lambda x: cnp.sum(function(x) * (1.0 + cnp.arange(x.shape[0])))


SYMMETRIC: Final = np.array([[4.0, 2.0], [2.0, 5.0]])
SINGULAR: Final = np.array([[1.0, 2.0], [2.0, 4.0]])
STEPS: Final = [cnp.sign, cnp.floor, cnp.ceil, cnp.trunc, cnp.rint,
                lambda x: cnp.floor_divide(x, 1.0)]  # fmt: skip

POINTS: Final[dict[tuple[str, str], list[Point]]] = {
    ("`abs(x)`", "0"): [Point(cnp.abs, (z,), (0,)) for z in (0.0, -0.0)],
    ("`sign`, `floor`, `ceil`, `trunc`, `rint`, `floor_divide`", "anywhere"): [
        Point(f, (z,), (0,)) for f in STEPS for z in (0.0, 1.0, 0.3, -2.0, 0.5)
    ],
    ("`relu(x)`", "0"): [Point(special.relu, (z,), (0,)) for z in (0.0, -0.0)],
    ("`maximum(a, b)`, `minimum(a, b)`", "a = b"): [
        Point(both(n), (z, z), (0.5, 0.5)) for n in ("maximum", "minimum") for z in (0.0, 2.0)
    ],
    ("`max(x)`, `min(x)` over axes", "k equal winners"): [
        Point(cnp.max, (x_(1, 3, 3, 3),), (x_(0, 1, 1, 1) / 3,)),
        Point(cnp.min, (x_(1, 3, 1),), (x_(0.5, 0, 0.5),)),
    ],
    ("`clip(x, low, high)`", "x = low or x = high"): [
        Point(clip, (z, -1.0, 1.0), (1, 0, 0)) for z in (-1.0, 1.0)
    ],
    ("`clip(x, low, high)`", "low > high"): [Point(clip, (0.0, 1.0, -1.0), (0, 0, 1))],
    ("`remainder(a, b)`, `fmod(a, b)`", "a multiple of b"): [
        Point(both(n), (6.0, 2.0), (1, -3)) for n in ("remainder", "fmod")
    ],
    ("`sqrt(x)`", "0"): [Point(cnp.sqrt, (0.0,), (INF,))],
    ("`pow(x, c)`", "x = 0"): [
        Point(lambda x, c=c: x**c, (0.0,), (s,))
        for c, s in ((0.0, 0), (1.0, 1), (2.0, 0), (1.5, 0), (0.5, INF), (0.25, INF))
    ],
    ("`pow(x, y)` by y", "x = 0, y >= 0"): [
        Point(lambda y: cnp.power(0.0, y), (y,), (0,)) for y in (0.0, 0.5, 3.0)
    ],
    ("`pow(x, y)` by y", "x = 0, y < 0"): [
        Point(lambda y: cnp.power(0.0, y), (y,), (-INF,)) for y in (-0.5, -3.0)
    ],
    ("`sqrt(x)**2`, `sqrt(x)**4`, `x*sqrt(x)`", "0"): [
        Point(lambda x: cnp.sqrt(x) ** 2, (0.0,), (1,)),
        Point(lambda x: cnp.sqrt(x) ** 4, (0.0,), (0,)),
        Point(lambda x: x * cnp.sqrt(x), (0.0,), (0,)),
    ],
    ("`norm(x)`, `sqrt(x @ x)`, `sqrt(sum(x*x))`", "0"): [
        Point(f, (np.zeros(2),), (np.zeros(2),))
        for f in (linalg.norm, lambda x: cnp.sqrt(x @ x), lambda x: cnp.sqrt(cnp.sum(x * x)))
    ],
    ("`norm(x, p)`, any p", "0"): [
        Point(lambda x, p=p: linalg.norm(x, p), (np.zeros(2),), (np.zeros(2),))
        for p in (1, 3, 1.5, 0.5, -1, INF, -INF)
    ],
    ("`norm(x, p)`, p < 1", "some elements 0"): [
        Point(lambda x: linalg.norm(x, 0.5), (x_(0, 1, 1),), (x_(0, 2, 2),)),
        Point(lambda x: linalg.norm(x, -1), (x_(0, 1, 1),), (x_(0, 0, 0),)),
    ],
    ("`cbrt(x)`", "0"): [Point(cnp.cbrt, (0.0,), (INF,))],
    ("`entr(x)`", "0, +inf, x < 0"): [
        Point(special.entr, (0.0,), (INF,)), Point(special.entr, (INF,), (-INF,)),
        Point(special.entr, (-1.0,), (0.0,)),
    ],
    ("`logit(x)`", "0 and 1"): [
        Point(special.logit, (0.0,), (INF,)), Point(special.logit, (1.0,), (INF,)),
    ],
    ("`hypot(a, b)`", "(0, 0)"): [Point(both("hypot"), (0.0, 0.0), (0, 0))],
    ("`atan2(a, b)`", "(0, 0)"): [Point(both("arctan2"), (0.0, 0.0), (0, 0))],
    ("`std(x)`", "all equal"): [Point(cnp.std, (x_(2, 2, 2),), (np.zeros(3),))],
    ("`logsumexp(x)`, `logaddexp(a, b)`", "nothing but -inf"): [
        Point(special.logsumexp, (x_(-INF, -INF),), (np.zeros(2),)),
        Point(both("logaddexp"), (-INF, -INF), (0, 0)),
    ],
    ("`logsumexp(x)`", "some -inf"): [Point(special.logsumexp, (x_(0, -INF),), (x_(1, 0),))],
    ("`logsumexp(x, b=w)`", "some weights 0"): [
        Point(lambda x, w: special.logsumexp(x, b=w), (x_(0, 3), x_(1, 0)),
              (x_(1, 0), x_(1, np.exp(3)))),
    ],
    ("`softmax(x)`, `log_softmax(x)`", "some -inf"): [
        Point(first(special.softmax), (x_(0, -INF, 0),), (x_(-0.5, 0, 0.5),)),
        Point(lambda x: special.log_softmax(x)[0], (x_(0, -INF, 0),), (x_(0.5, 0, -0.5),)),
        Point(lambda x: cnp.sum(special.xlogy(special.softmax(x), special.softmax(x))),
              (x_(0, -INF, 0),), (x_(0, 0, 0),)),
    ],
    ("`xlogy(x, y)`", "x = 0"): [
        Point(special.xlogy, (0.0, 3.0), (np.log(3), 0)),
        Point(special.xlogy, (0.0, 0.0), (-INF, 0)),
    ],
    ("`xlog1py(x, y)`", "x = 0"): [
        Point(special.xlog1py, (0.0, 3.0), (np.log(4), 0)),
        Point(special.xlog1py, (0.0, -1.0), (-INF, 0)),
    ],
    ("`rel_entr(x, y)`", "x = 0, y > 0"): [Point(special.rel_entr, (0.0, 2.0), (-INF, 0))],
    ("`sinc(x)`", "0"): [
        Point(special.sinc, (0.0,), (0,)),
        Point(cr.grad(special.sinc), (0.0,), (-(np.pi**2) / 3,)),
    ],
    ("`prod(x)`, `cumprod(x)`", "zeros among x"): [
        Point(cnp.prod, (x_(2, 0, 3),), (x_(0, 6, 0),)),
        Point(cnp.prod, (x_(2, 0, 0),), (x_(0, 0, 0),)),
        Point(lambda x: cnp.sum(cnp.cumprod(x)), (x_(2, 0, 3),), (x_(1, 8, 0),)),
    ],
    ("`acos(x)`, `asin(x)`", "1"): [
        Point(cnp.arccos, (1.0,), (-INF,)), Point(cnp.arcsin, (1.0,), (INF,)),
    ],
    ("`where(c, a, b)`", "anywhere"): [
        Point(lambda x: cnp.where(x > 0, cnp.sqrt(x), 0.0), (z,), (0,)) for z in (0.0, -1.0)
    ] + [Point(lambda a: cnp.where(cnp.sum(a) > 100, cnp.sum(linalg.inv(a)), cnp.sum(a)),
               (SINGULAR,), (np.ones((2, 2)),))],
    ("`cholesky(a)`", "a symmetric"): [
        Point(lambda a: linalg.cholesky(a)[1, 0], (SYMMETRIC,),
              (np.array([[-0.125, 0.25], [0.25, 0]]),)),
    ],
    ("`cholesky(a)`", "not positive definite"): [
        Point(lambda a: linalg.cholesky(a)[1, 1], (-SYMMETRIC,), (np.full((2, 2), NAN),)),
    ],
    ("`det(a)`", "a singular matrix"): [
        Point(linalg.det, (SINGULAR,), (np.array([[4.0, -2.0], [-2.0, 1.0]]),)),
        Point(linalg.det, (np.zeros((1, 1)),), (np.ones((1, 1)),)),
        Point(linalg.det, (np.zeros((3, 3)),), (np.zeros((3, 3)),)),
    ],
    ("`solve`, `inv`, `slogdet`", "a singular matrix"): [],
    ("`gather` with repeated indices", "anywhere"): [
        Point(lambda x: cnp.sum(x[np.array([0, 1, 0])]), (x_(1, 2),), (x_(2, 1),)),
    ],
}  # fmt: skip


def test_the_page_and_this_table_have_the_same_rows() -> None:
    assert rows() == list(POINTS)


@pytest.mark.parametrize("row", POINTS, ids=" at ".join)
def test_row(row: tuple[str, str]) -> None:
    for function, at, slopes in POINTS[row]:
        for i, slope in enumerate(slopes):
            for verb in (cr.grad, cr.jacfwd):
                found = verb(function, argnums=i)(*at)
                np.testing.assert_allclose(found, slope, rtol=1e-12, atol=1e-15,
                                           err_msg=f"{verb.__name__} by argument {i}")  # fmt: skip
        if len(at) == 1:
            many = cr.jit(cr.vmap(cr.grad(function)))(np.stack([at[0], at[0]]))
            np.testing.assert_allclose(many, np.stack([slopes[0]] * 2), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["solve", "inv", "slogdet"])
def test_singular_matrices_are_not_finite(name: str) -> None:
    functions: dict[str, Callable[[Any], Any]] = {
        "solve": lambda a: cnp.sum(linalg.solve(a, np.ones(2))),
        "inv": lambda a: cnp.sum(linalg.inv(a)),
        "slogdet": lambda a: linalg.slogdet(a)[1],
    }
    assert not np.any(np.isfinite(cr.grad(functions[name])(np.zeros((2, 2)))))
