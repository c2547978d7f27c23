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

WEIGHTS: Final = np.diag([1.0, 2.0, 3.0])

PRODUCTS_OF_POWERS: Final[list[tuple[Callable[[Any], Any], float]]] = [
    (lambda x: cnp.sqrt(x) ** 2, 1), (lambda x: cnp.sqrt(x) * cnp.sqrt(x), 1),
    (lambda x: cnp.square(cnp.sqrt(x)), 1), (lambda x: (x**0.5) ** 2, 1),
    (lambda x: cnp.sqrt(x) ** 3, 0), (lambda x: cnp.sqrt(x) ** 4, 0),
    (lambda x: x * cnp.sqrt(x), 0), (lambda x: x * x**0.5, 0), (lambda x: x**2 * cnp.sqrt(x), 0),
    (lambda x: x * x * cnp.sqrt(x), 0), (lambda x: x * (cnp.sqrt(x) * x), 0),
    (lambda x: (2 * cnp.sqrt(x)) ** 2, 4), (lambda x: (2 * cnp.sqrt(x)) * (3 * cnp.sqrt(x)), 6),
    (lambda x: cnp.sqrt(x) * cnp.sqrt(x + 1) * cnp.sqrt(x), 1),
    (lambda x: -cnp.sqrt(x) * cnp.exp(x) * cnp.sqrt(x), -1), (lambda x: x**0.25 * x**0.75, 1),
    (lambda x: cnp.cbrt(x) ** 3, 1), (lambda x: cnp.cbrt(x) * cnp.cbrt(x) ** 2, 1),
    (lambda x: cnp.cbrt(x) ** 4, 0), (lambda x: cnp.cbrt(x) ** 6, 0),
    (lambda x: x * cnp.cbrt(x), 0), (lambda x: cnp.sqrt(x) * cnp.cbrt(x) ** 2, 0),
]  # fmt: skip

NORMS: Final[list[Callable[[Any], Any]]] = [
    linalg.norm,
    lambda v: cnp.sqrt(v @ v),
    lambda v: cnp.sqrt(cnp.dot(v, v)),
    lambda v: cnp.sqrt(cnp.vdot(v, v)),
    lambda v: cnp.sqrt(cnp.inner(v, v)),
    lambda v: cnp.sqrt(cnp.einsum("i,i->", v, v)),
    lambda v: cnp.sqrt(cnp.sum(v * v)),
    lambda v: cnp.sqrt(cnp.sum(v**2)),
    lambda v: cnp.sqrt(cnp.sum(cnp.square(v))),
    lambda v: (v @ v) ** 0.5,
    lambda v: cnp.sum(v * v) ** 0.5,
    lambda v: cnp.sqrt(cnp.mean(v * v)),
    lambda v: cnp.sqrt(2.0 * (v @ v)),
    lambda v: cnp.sqrt((v @ v) / 3),
    lambda v: cnp.sqrt((v[None, :] @ v[:, None])[0, 0]),
    lambda v: cnp.sqrt(cnp.sum(v[None, :] @ v[:, None])),
    lambda v: cnp.sum(cnp.sqrt(cnp.sum(v[None] * v[None], axis=1))),
    lambda v: cnp.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2),
    lambda v: cnp.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]),
    lambda v: cnp.sqrt(cnp.sum((WEIGHTS @ v) ** 2)),
    lambda v: 0.5 * cnp.sqrt(v @ v) ** 2,
    lambda v: cr.scan(lambda c, _: (c + cnp.sqrt(v @ v), None), 0.0, None, length=3)[0],
    lambda v: cr.cond(cnp.sum(v) < 1, lambda: cnp.sqrt(v @ v), lambda: cnp.sum(v)),
]

FORMS: Final[list[Callable[[Any], Any]]] = [
    lambda v: cnp.sqrt(v @ np.eye(3) @ v),
    lambda v: cnp.sqrt(v @ WEIGHTS @ v),
    lambda v: cnp.sqrt(cnp.dot(v, cnp.dot(WEIGHTS, v))),
    lambda v: (v @ (WEIGHTS @ v)) ** 0.5,
    lambda v: cnp.sum(cr.vmap(lambda u: cnp.sqrt(u @ WEIGHTS @ u))(v[None])),
    lambda v: cnp.sqrt(v @ (cnp.eye(3) * (1.0 + v[0])) @ v),
]

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
    ("products of powers of x, among them roots, of exponents that add up to 1 or more", "0"): [
        Point(f, (0.0,), (slope,)) for f, slope in PRODUCTS_OF_POWERS
    ],
    ("`sqrt(x**c)`, c > 2", "0"): [
        Point(f, (0.0,), (0,))
        for f in (lambda x: cnp.sqrt(x**3), lambda x: cnp.sqrt(x * x * x),
                  lambda x: cnp.sqrt(x**4), lambda x: cnp.sqrt(2 * x**2.5))
    ],
    ("`abs(x)**c`, 1 < c < 2: second derivative", "0"): [
        Point(cr.grad(lambda x, c=c: cnp.abs(x) ** c), (0.0,), (INF,)) for c in (1.25, 1.5)
    ],
    ("`abs(x)**c`, `norm(x)**c`, 0 < c < 1", "0"): [
        *[Point(lambda x, c=c: cnp.abs(x) ** c, (0.0,), (0,)) for c in (0.25, 0.5, 0.75)],
        *[
            Point(lambda x, c=c: cnp.linalg.norm(x) ** c, (np.zeros(3),), (np.zeros(3),))
            for c in (0.25, 0.5, 0.75)
        ],
    ],
    ("`norm(x)`, `sqrt(x @ x)`, `sqrt(sum(x*x))`", "0"): [
        Point(f, (np.zeros(3),), (np.zeros(3),)) for f in NORMS
    ],
    ("`sqrt(x @ A @ x)`", "0"): [
        Point(f, (np.zeros(3),), (np.zeros(3),)) for f in FORMS
    ],
    ("roots and powers below 1 of sums of squares, weighted squares, forms, `1 - cos(x)`", "0"): [
        Point(f, (np.zeros(3),), (np.zeros(3),))
        for f in (
            lambda x: cnp.sqrt(cnp.arange(1.0, 4.0) @ (x * x)),
            lambda x: (x @ WEIGHTS @ x + cnp.sum(x**2)) ** 0.75,
            lambda x: cnp.sum(cnp.sqrt(2 - 2 * cnp.cos(x))),
        )
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


@pytest.mark.share(6)
@pytest.mark.parametrize("mode", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("row", POINTS, ids=" at ".join)
def test_row(row: tuple[str, str], mode: str) -> None:
    for function, at, slopes in POINTS[row]:
        for i, slope in enumerate(slopes):
            for verb in (cr.grad, cr.jacfwd):
                found = cr.jit(verb(function, argnums=i), numerics=mode)(*at)
                np.testing.assert_allclose(found, slope, rtol=1e-12, atol=1e-15,
                                           err_msg=f"{verb.__name__} by argument {i}")  # fmt: skip
        if len(at) == 1:
            mapped = cr.vmap(cr.grad(function))
            many = cr.jit(mapped, numerics=mode)(np.stack([at[0], at[0]]))
            np.testing.assert_allclose(many, np.stack([slopes[0]] * 2), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["solve", "inv", "slogdet"])
def test_singular_matrices_are_not_finite(name: str) -> None:
    functions: dict[str, Callable[[Any], Any]] = {
        "solve": lambda a: cnp.sum(linalg.solve(a, np.ones(2))),
        "inv": lambda a: cnp.sum(linalg.inv(a)),
        "slogdet": lambda a: linalg.slogdet(a)[1],
    }
    assert not np.any(np.isfinite(cr.grad(functions[name])(np.zeros((2, 2)))))


SMOOTH: Final[list[Callable[[Any], Any]]] = [
    lambda v: cnp.sqrt(v @ v),
    lambda v: cnp.sqrt(v @ WEIGHTS @ v),
    lambda v: cnp.log(cnp.sum(cnp.exp(v))),
    lambda v: cnp.log(1 + cnp.exp(v[0])) * v[1],
    lambda v: v[0] * cnp.sqrt(v[1] * v[1] + 2.0) / 3 + v[2] * cnp.sqrt(v[2]) * v[2],
    lambda v: (cnp.exp(v[0]) - cnp.exp(-v[0])) / (cnp.exp(v[0]) + cnp.exp(-v[0])) * v[1],
    lambda v: cr.scan(lambda c, x: (cnp.sqrt(c * c + x * x), None), 1.0, v)[0],
]


@pytest.mark.parametrize("mode", ["strict", "reproducible"])
@pytest.mark.parametrize("f", SMOOTH)
def test_values_keep_the_bits_of_the_function_as_written(
    f: Callable[[Any], Any], mode: str
) -> None:
    """Beside a derivative, too, which is taken of a stable form; and that is as right."""
    alone = cr.jit(f, numerics=mode)
    beside = [
        cr.jit(cr.value_and_grad(f), numerics=mode),
        cr.jit(lambda v: cr.jvp(f, (v,), (np.ones(3),)), numerics=mode),
        cr.jit(lambda v: (cr.vjp(f, v)[0], cr.vjp(f, v)[1](1.0)[0]), numerics=mode),
    ]
    fast = cr.jit(cr.value_and_grad(f))
    for v in np.random.default_rng(0).uniform(0.1, 3, (40, 3)):
        found = [g(v) for g in beside]
        assert [float(value) for value, _ in found] == [float(alone(v))] * 3
        np.testing.assert_allclose(found[0][1], fast(v)[1], rtol=1e-13)
        np.testing.assert_allclose(found[1][1], np.sum(found[0][1]), rtol=1e-13)
        np.testing.assert_array_equal(found[2][1], found[0][1])
