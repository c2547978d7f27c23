"""The test functions against loops of their formulas, complex steps and published minima.

Each loop is written from the paper with Python's indices from 1, and shares nothing with the
function it judges but the table of data, which the published minimum judges.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest
from scipy.optimize import least_squares
from tests.optimizers import mgh
from tests.optimizers.mgh import PROBLEMS, Problem

import chainrule as cr

Numbers = Sequence[Any]
exp, sin, cos = cmath.exp, cmath.sin, cmath.cos


def one_based(values: Numbers) -> list[Any]:
    return [None, *values]


def rosenbrock(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n // 2 + 1):
        yield 10 * (x[2 * i] - x[2 * i - 1] ** 2)
        yield 1 - x[2 * i - 1]


def freudenstein_and_roth(x: Numbers, _n: int, _m: int) -> Any:
    yield -13 + x[1] + 5 * x[2] ** 2 - x[2] ** 3 - 2 * x[2]
    yield -29 + x[1] + x[2] ** 3 + x[2] ** 2 - 14 * x[2]


def powell_badly_scaled(x: Numbers, _n: int, _m: int) -> Any:
    yield 10**4 * x[1] * x[2] - 1
    yield exp(-x[1]) + exp(-x[2]) - 1.0001


def brown_badly_scaled(x: Numbers, _n: int, _m: int) -> Any:
    yield x[1] - 10**6
    yield x[2] - 2e-6
    yield x[1] * x[2] - 2


def beale(x: Numbers, _n: int, _m: int) -> Any:
    for i, y in ((1, 1.5), (2, 2.25), (3, 2.625)):
        yield y - x[1] * (1 - x[2] ** i)


def jennrich_and_sampson(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        yield 2 + 2 * i - (exp(i * x[1]) + exp(i * x[2]))


def helical_valley(x: Numbers, _n: int, _m: int) -> Any:
    theta = cmath.atan(x[2] / x[1]) / (2 * math.pi) + (0.5 if x[1].real < 0 else 0)
    yield 10 * (x[3] - 10 * theta)
    yield 10 * (cmath.sqrt(x[1] ** 2 + x[2] ** 2) - 1)
    yield x[3]


def bard(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        u, v = i, 16 - i
        yield mgh.BARD[i - 1] - (x[1] + u / (v * x[2] + min(u, v) * x[3]))


def gaussian(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = (8 - i) / 2
        yield x[1] * exp(-x[2] * (t - x[3]) ** 2 / 2) - mgh.GAUSSIAN[i - 1]


def meyer(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        yield x[1] * exp(x[2] / (45 + 5 * i + x[3])) - mgh.MEYER[i - 1]


def gulf(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = i / 100
        apart = 25 + (-50 * math.log(t)) ** (2 / 3) - x[2]
        yield exp(-((apart if apart.real > 0 else -apart) ** x[3]) / x[1]) - t


def box(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = i / 10
        yield exp(-t * x[1]) - exp(-t * x[2]) - x[3] * (exp(-t) - exp(-10 * t))


def powell_singular(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n // 4 + 1):
        yield x[4 * i - 3] + 10 * x[4 * i - 2]
        yield math.sqrt(5) * (x[4 * i - 1] - x[4 * i])
        yield (x[4 * i - 2] - 2 * x[4 * i - 1]) ** 2
        yield math.sqrt(10) * (x[4 * i - 3] - x[4 * i]) ** 2


def wood(x: Numbers, _n: int, _m: int) -> Any:
    yield 10 * (x[2] - x[1] ** 2)
    yield 1 - x[1]
    yield math.sqrt(90) * (x[4] - x[3] ** 2)
    yield 1 - x[3]
    yield math.sqrt(10) * (x[2] + x[4] - 2)
    yield (x[2] - x[4]) / math.sqrt(10)


def kowalik_and_osborne(x: Numbers, _n: int, m: int) -> Any:
    for i in range(m):
        u = mgh.KOWALIK_U[i]
        yield mgh.KOWALIK_Y[i] - x[1] * (u * u + u * x[2]) / (u * u + u * x[3] + x[4])


def brown_and_dennis(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = i / 5
        yield (x[1] + t * x[2] - exp(t)) ** 2 + (x[3] + x[4] * sin(t) - cos(t)) ** 2


def osborne_1(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = 10 * (i - 1)
        yield mgh.OSBORNE_1[i - 1] - (x[1] + x[2] * exp(-t * x[4]) + x[3] * exp(-t * x[5]))


def biggs(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = 0.1 * i
        y = exp(-t) - 5 * exp(-10 * t) + 3 * exp(-4 * t)
        yield x[3] * exp(-t * x[1]) - x[4] * exp(-t * x[2]) + x[6] * exp(-t * x[5]) - y


def osborne_2(x: Numbers, _n: int, m: int) -> Any:
    for i in range(1, m + 1):
        t = (i - 1) / 10
        yield mgh.OSBORNE_2[i - 1] - (
            x[1] * exp(-t * x[5]) + x[2] * exp(-((t - x[9]) ** 2) * x[6])
            + x[3] * exp(-((t - x[10]) ** 2) * x[7]) + x[4] * exp(-((t - x[11]) ** 2) * x[8])
        )  # fmt: skip


def watson(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, 30):
        t = i / 29
        value = sum(x[j] * t ** (j - 1) for j in range(1, n + 1))
        yield sum((j - 1) * x[j] * t ** (j - 2) for j in range(2, n + 1)) - value**2 - 1
    yield x[1]
    yield x[2] - x[1] ** 2 - 1


def penalty_1(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n + 1):
        yield math.sqrt(1e-5) * (x[i] - 1)
    yield sum(x[j] ** 2 for j in range(1, n + 1)) - 1 / 4


def penalty_2(x: Numbers, n: int, m: int) -> Any:
    yield x[1] - 0.2
    for i in range(2, n + 1):
        y = exp(i / 10) + exp((i - 1) / 10)
        yield math.sqrt(1e-5) * (exp(x[i] / 10) + exp(x[i - 1] / 10) - y)
    for i in range(n + 1, m):
        yield math.sqrt(1e-5) * (exp(x[i - n + 1] / 10) - exp(-1 / 10))
    yield sum((n - j + 1) * x[j] ** 2 for j in range(1, n + 1)) - 1


def variably_dimensioned(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n + 1):
        yield x[i] - 1
    total = sum(j * (x[j] - 1) for j in range(1, n + 1))
    yield total
    yield total**2


def trigonometric(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n + 1):
        cosines = sum(cos(x[j]) for j in range(1, n + 1))
        yield n - cosines + i * (1 - cos(x[i])) - sin(x[i])


def brown_almost_linear(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n):
        yield x[i] + sum(x[1:]) - (n + 1)
    yield math.prod(x[1:]) - 1


def discrete_boundary_value(x: Numbers, n: int, _m: int) -> Any:
    h = 1 / (n + 1)
    y = [0, *x[1:], 0]
    for i in range(1, n + 1):
        yield 2 * y[i] - y[i - 1] - y[i + 1] + h**2 * (y[i] + i * h + 1) ** 3 / 2


def discrete_integral_equation(x: Numbers, n: int, _m: int) -> Any:
    h = 1 / (n + 1)
    t = [j * h for j in range(n + 1)]
    for i in range(1, n + 1):
        before = sum(t[j] * (x[j] + t[j] + 1) ** 3 for j in range(1, i + 1))
        behind = sum((1 - t[j]) * (x[j] + t[j] + 1) ** 3 for j in range(i + 1, n + 1))
        yield x[i] + h * ((1 - t[i]) * before + t[i] * behind) / 2


def broyden_tridiagonal(x: Numbers, n: int, _m: int) -> Any:
    y = [0, *x[1:], 0]
    for i in range(1, n + 1):
        yield (3 - 2 * y[i]) * y[i] - y[i - 1] - 2 * y[i + 1] + 1


def broyden_banded(x: Numbers, n: int, _m: int) -> Any:
    for i in range(1, n + 1):
        near = [j for j in range(max(1, i - 5), min(n, i + 1) + 1) if j != i]
        yield x[i] * (2 + 5 * x[i] ** 2) + 1 - sum(x[j] * (1 + x[j]) for j in near)


def linear_full_rank(x: Numbers, n: int, m: int) -> Any:
    for i in range(1, m + 1):
        yield (x[i] if i <= n else 0) - 2 / m * sum(x[1:]) - 1


def linear_rank_1(x: Numbers, n: int, m: int) -> Any:
    for i in range(1, m + 1):
        yield i * sum(j * x[j] for j in range(1, n + 1)) - 1


def linear_rank_1_zeros(x: Numbers, n: int, m: int) -> Any:
    yield -1
    for i in range(2, m):
        yield (i - 1) * sum(j * x[j] for j in range(2, n)) - 1
    yield -1


def chebyquad(x: Numbers, n: int, m: int) -> Any:
    for i in range(1, m + 1):
        integral = 0 if i % 2 else -1 / (i**2 - 1)
        yield sum(cos(i * cmath.acos(2 * x[j] - 1)) for j in range(1, n + 1)) / n - integral


LOOPS: Final[dict[int, Callable[[Numbers, int, int], Any]]] = {
    1: rosenbrock, 2: freudenstein_and_roth, 3: powell_badly_scaled, 4: brown_badly_scaled,
    5: beale, 6: jennrich_and_sampson, 7: helical_valley, 8: bard, 9: gaussian, 10: meyer,
    11: gulf, 12: box, 13: powell_singular, 14: wood, 15: kowalik_and_osborne,
    16: brown_and_dennis, 17: osborne_1, 18: biggs, 19: osborne_2, 20: watson, 21: rosenbrock,
    22: powell_singular, 23: penalty_1, 24: penalty_2, 25: variably_dimensioned,
    26: trigonometric, 27: brown_almost_linear, 28: discrete_boundary_value,
    29: discrete_integral_equation, 30: broyden_tridiagonal, 31: broyden_banded,
    32: linear_full_rank, 33: linear_rank_1, 34: linear_rank_1_zeros, 35: chebyquad,
}  # fmt: skip

each = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)


def looped(problem: Problem, x: Numbers) -> np.ndarray:
    found = LOOPS[problem.number](one_based(x), problem.n, problem.m)
    return np.array(list(found), complex)


def points(problem: Problem) -> list[np.ndarray]:
    start = np.array(problem.start, float)
    shift = np.cos(np.arange(start.size) + 1)
    return [start, start + 0.1 * np.maximum(np.abs(start), 0.2) * shift]


@each
def test_residuals_are_those_of_the_loops(problem: Problem) -> None:
    residual = cr.jit(problem.residual)
    for x in points(problem):
        expected = looped(problem, [complex(v) for v in x]).real
        got = residual(x)
        assert got.shape == (problem.m,)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14 * scale)
        np.testing.assert_allclose(
            problem.objective(x), np.sum(expected**2), rtol=1e-11, err_msg="on plain arrays"
        )
    if problem.start_value is not None:
        got = cr.jit(problem.objective)(np.array(problem.start, float))
        assert got == pytest.approx(problem.start_value, rel=1e-14)


@pytest.mark.share(3)
@each
def test_jacobians_are_those_of_a_complex_step(problem: Problem) -> None:
    jacobian, pushed = cr.jacobian(problem.residual), cr.jacfwd(problem.residual)
    gradient = cr.grad(problem.objective)
    for x in points(problem):
        columns = []
        for j in range(problem.n):
            step = [complex(v, 1e-200 if i == j else 0) for i, v in enumerate(x)]
            columns.append(looped(problem, step).imag / 1e-200)
        expected = np.stack(columns, axis=1)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(jacobian(x), expected, rtol=1e-11, atol=1e-13 * scale)
        np.testing.assert_allclose(pushed(x), expected, rtol=1e-11, atol=1e-13 * scale)
        down = 2 * looped(problem, [complex(v) for v in x]).real @ expected
        np.testing.assert_allclose(gradient(x), down, rtol=1e-9, atol=1e-12 * np.abs(down).max())


def is_stated(problem: Problem, value: float) -> bool:
    """Tell whether a sum of squares is a published minimum, to the digits printed."""
    return any(abs(value - f) <= max(1e-5 * f, 1e-20) for f in problem.minima)


@each
def test_least_squares_reaches_a_published_minimum(problem: Problem) -> None:
    residual, jacobian = cr.jit(problem.residual), cr.jacobian(problem.residual)
    start = np.array(problem.start, float)
    found = least_squares(
        residual, start, jac=jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15,
        max_nfev=3000,
    )  # fmt: skip
    assert is_stated(problem, 2 * found.cost), 2 * found.cost
    if problem.solution is not None:
        at = np.array(problem.solution, float)
        assert is_stated(problem, float(np.sum(residual(at) ** 2)))
        np.testing.assert_allclose(cr.grad(problem.objective)(at), 0, atol=1e-6)


def test_every_function_of_the_paper_is_there() -> None:
    assert {p.number for p in PROBLEMS} == set(range(1, 36)) == set(LOOPS)
    assert len({p.name for p in PROBLEMS}) == len(PROBLEMS)
