"""The test functions of Moré, Garbow and Hillstrom, as residual vectors.

J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing Unconstrained Optimization Software", ACM
Transactions on Mathematical Software 7 (1981) 17-41.  The objective is the sum of the squares of
the residuals.  Numbers and names are the paper's; where it leaves the dimensions open, the ones
here have a published minimum.  `minima` are the sums of squares the paper states, the global one
first; `solution` is the minimiser of the first where it is known in closed form or to all digits
given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

import chainrule.numpy as cnp

__all__ = ["PROBLEMS", "Problem"]


class Problem(NamedTuple):
    """One function of the paper.

    Attributes:
        number: Its number there.
        name: Its name there.
        residual: From x of shape (n,) to r of shape (m,).
        start: The standard starting point, n numbers.
        m: Number of residuals.
        minima: Published sums of squares at minimisers.
        solution: A minimiser with the first of them.
        start_value: The sum of squares at the start, where it is a short number.
    """

    number: int
    name: str
    residual: Callable[[Any], Any]
    start: Sequence[float]
    m: int
    minima: Sequence[float]
    solution: Sequence[float] | None = None
    start_value: float | None = None

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.start)

    def objective(self, x: Any) -> Any:
        """Return the sum of squares."""
        return cnp.sum(self.residual(x) ** 2)


def count(m: int) -> Any:
    """Return 1, 2, ..., m."""
    return np.arange(1.0, m + 1)


# Data

BARD: Final = np.array([
    0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39,
])  # fmt: skip
GAUSSIAN: Final = np.array([
    0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989,
    0.3521, 0.2420, 0.1295, 0.0540, 0.0175, 0.0044, 0.0009,
])  # fmt: skip
MEYER: Final = np.array([
    34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0,
    8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0,
])  # fmt: skip
KOWALIK_Y: Final = np.array([
    0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246,
])  # fmt: skip
KOWALIK_U: Final = np.array([
    4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625,
])  # fmt: skip
OSBORNE_1: Final = np.array([
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
    0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
    0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
])  # fmt: skip
OSBORNE_2: Final = np.array([
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608,
    0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661,
    0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428,
    0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559,
    0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054,
])  # fmt: skip

# Functions of a fixed number of variables


def rosenbrock(x: Any) -> Any:
    """Return the residuals of a banana-shaped valley; of pairs of variables, of several."""
    odd, even = x[0::2], x[1::2]
    return cnp.stack([10 * (even - odd**2), 1 - odd], axis=1).reshape(x.shape)


def freudenstein_and_roth(x: Any) -> Any:
    """Return two cubic equations; a local minimum is not the global one."""
    a, b = x[0], x[1]
    return cnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def powell_badly_scaled(x: Any) -> Any:
    """Return residuals of variables that are 10⁶ times one another."""
    return cnp.stack([1e4 * x[0] * x[1] - 1, cnp.exp(-x[0]) + cnp.exp(-x[1]) - 1.0001])


def brown_badly_scaled(x: Any) -> Any:
    """Return residuals of variables that are 10¹² times one another."""
    return cnp.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def beale(x: Any) -> Any:
    """Return three residuals with a curved valley towards infinity."""
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** count(3))


def jennrich_and_sampson(x: Any) -> Any:
    """Return the misfit of a sum of two exponentials with a line, m = 10."""
    i = count(10)
    return 2 + 2 * i - (cnp.exp(i * x[0]) + cnp.exp(i * x[1]))


def helical_valley(x: Any) -> Any:
    """Return the residuals of a valley that winds around the third axis."""
    # The paper's angle is in turns, from -1/4 to 3/4: its jump lies behind, at x1 = 0, x2 < 0.
    angle = cnp.arctan(x[1] / x[0]) / (2 * math.pi) + cnp.where(x[0] < 0, 0.5, 0.0)
    return cnp.stack([10 * (x[2] - 10 * angle), 10 * (cnp.hypot(x[0], x[1]) - 1), x[2]])


def bard(x: Any) -> Any:
    """Return the misfit of a rational function, m = 15."""
    u = count(15)
    v = 16 - u
    return BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def gaussian(x: Any) -> Any:
    """Return the misfit of a bell curve, m = 15."""
    t = (8 - count(15)) / 2
    return x[0] * cnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - GAUSSIAN


def meyer(x: Any) -> Any:
    """Return the misfit of a thermistor's resistance, m = 16."""
    return x[0] * cnp.exp(x[1] / (45 + 5 * count(16) + x[2])) - MEYER


def gulf(x: Any) -> Any:
    """Return the misfit of a Weibull distribution, m = 99."""
    # The paper prints |y_i m i x_2|, for the minus sign of |y_i - x_2|.
    t = count(99) / 100
    y = 25 + (-50 * np.log(t)) ** (2 / 3)
    return cnp.exp(-(cnp.abs(y - x[1]) ** x[2]) / x[0]) - t


def box(x: Any) -> Any:
    """Return the misfit of a difference of exponentials, m = 10."""
    t = count(10) / 10
    return cnp.exp(-t * x[0]) - cnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x: Any) -> Any:
    """Return residuals with a singular Jacobian at the solution; of fours of variables."""
    a, b, c, d = (x[i::4] for i in range(4))
    rows = [a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]
    return cnp.stack(rows, axis=1).reshape(x.shape)


def wood(x: Any) -> Any:
    """Return six residuals of four variables with a saddle near the way."""
    a, b, c, d = (x[i] for i in range(4))
    return cnp.stack([
        10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c, 10**0.5 * (b + d - 2),
        10**-0.5 * (b - d),
    ])  # fmt: skip


def kowalik_and_osborne(x: Any) -> Any:
    """Return the misfit of an enzyme reaction, m = 11."""
    u = KOWALIK_U
    return KOWALIK_Y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_and_dennis(x: Any) -> Any:
    """Return sums of squares of misfits, m = 20; the residuals at the solution are large."""
    t = count(20) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def osborne_1(x: Any) -> Any:
    """Return the misfit of two exponentials and a constant, m = 33."""
    t = 10 * (count(33) - 1)
    return OSBORNE_1 - (x[0] + x[1] * cnp.exp(-t * x[3]) + x[2] * cnp.exp(-t * x[4]))


def biggs(x: Any) -> Any:
    """Return the misfit of three exponentials, m = 13."""
    t = count(13) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * cnp.exp(-t * x[0]) - x[3] * cnp.exp(-t * x[1]) + x[5] * cnp.exp(-t * x[4]) - y


def osborne_2(x: Any) -> Any:
    """Return the misfit of an exponential and three bell curves, m = 65."""
    t = (count(65) - 1) / 10
    bells = x[1:4] * cnp.exp(-((t[:, None] - x[8:11]) ** 2) * x[5:8])
    return OSBORNE_2 - x[0] * cnp.exp(-t * x[4]) - cnp.sum(bells, axis=1)


# Functions of any number of variables


def watson(x: Any) -> Any:
    """Return the misfit of a polynomial that solves a differential equation, m = 31."""
    n = x.shape[0]
    t, j = count(29)[:, None] / 29, np.arange(n)
    slope = (j[1:] * t ** (j[1:] - 1)) @ x[1:]
    inner = slope - (t**j @ x) ** 2 - 1
    return cnp.concatenate([inner, x[:1], x[1:2] - x[:1] ** 2 - 1])


def penalty_1(x: Any) -> Any:
    """Return residuals that pull x to ones and, hard, onto a sphere; m = n + 1."""
    return cnp.concatenate([1e-5**0.5 * (x - 1), cnp.sum(x**2, keepdims=True) - 0.25])


def penalty_2(x: Any) -> Any:
    """Return residuals of exponentials and an ellipsoid; m = 2 n."""
    n = x.shape[0]
    i, root = count(n)[1:], 1e-5**0.5
    e = cnp.exp(x / 10)
    smooth = root * (e[1:] + e[:-1] - np.exp(i / 10) - np.exp((i - 1) / 10))
    level = root * (e[1:] - math.exp(-0.1))
    last = cnp.sum((n + 1 - count(n)) * x**2, keepdims=True) - 1
    return cnp.concatenate([x[:1] - 0.2, smooth, level, last])


def variably_dimensioned(x: Any) -> Any:
    """Return n linear residuals, their weighted sum, and its square; m = n + 2."""
    total = cnp.sum(count(x.shape[0]) * (x - 1), keepdims=True)
    return cnp.concatenate([x - 1, total, total**2])


def trigonometric(x: Any) -> Any:
    """Return n equations of sines and cosines."""
    n = x.shape[0]
    return n - cnp.sum(cnp.cos(x)) + count(n) * (1 - cnp.cos(x)) - cnp.sin(x)


def brown_almost_linear(x: Any) -> Any:
    """Return n - 1 linear equations and a product."""
    linear = x[:-1] + cnp.sum(x) - (x.shape[0] + 1)
    return cnp.concatenate([linear, cnp.prod(x, keepdims=True) - 1])


def discrete_boundary_value(x: Any) -> Any:
    """Return finite differences of u'' = (u + t + 1)³/2 between zeros."""
    n = x.shape[0]
    h = 1 / (n + 1)
    wide = cnp.pad(x, 1)
    return 2 * x - wide[:-2] - wide[2:] + h**2 * (x + h * count(n) + 1) ** 3 / 2


def discrete_integral_equation(x: Any) -> Any:
    """Return the same equation under its Green's function."""
    n = x.shape[0]
    h = 1 / (n + 1)
    t = h * count(n)
    kernel = np.where(t[None] <= t[:, None], (1 - t[:, None]) * t, t[:, None] * (1 - t))
    return x + h / 2 * (kernel @ (x + t + 1) ** 3)


def broyden_tridiagonal(x: Any) -> Any:
    """Return n equations of neighbours."""
    wide = cnp.pad(x, 1)
    return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1


def broyden_banded(x: Any) -> Any:
    """Return n equations of five neighbours before and one behind."""
    n = x.shape[0]
    away = np.arange(n)[:, None] - np.arange(n)
    near = ((away <= 5) & (away >= -1) & (away != 0)).astype(float)
    return x * (2 + 5 * x**2) + 1 - near @ (x * (1 + x))


def linear_full_rank(x: Any) -> Any:
    """Return linear residuals, m = 20 > n."""
    shared = -2 / 20 * cnp.sum(x) - 1
    return cnp.pad(x, (0, 20 - x.shape[0])) + shared


def linear_rank_1(x: Any) -> Any:
    """Return linear residuals whose Jacobian has rank 1, m = 20."""
    return count(20) * cnp.sum(count(x.shape[0]) * x) - 1


def linear_rank_1_zeros(x: Any) -> Any:
    """Return the same with columns and rows of zeros, m = 20."""
    inner = cnp.sum(np.arange(2.0, x.shape[0]) * x[1:-1])
    return np.append(np.arange(19.0), 0.0) * inner - 1


def chebyquad(x: Any) -> Any:
    """Return errors of quadrature with equal weights of Chebyshev polynomials on [0, 1]; m = n."""
    n = x.shape[0]
    y = 2 * x - 1
    before, now = cnp.ones_like(y), y
    rows = []
    for i in range(1, n + 1):
        exact = 0.0 if i % 2 else -1 / (i**2 - 1)
        rows.append(cnp.mean(now) - exact)
        before, now = now, 2 * y * now - before
    return cnp.stack(rows)


def ratio_start(n: int) -> list[float]:
    """Return the start of the discretised equations, t (t - 1) at n points."""
    t = [i / (n + 1) for i in range(1, n + 1)]
    return [v * (v - 1) for v in t]


PROBLEMS: Final = (
    Problem(1, "Rosenbrock", rosenbrock, (-1.2, 1), 2, (0,), (1, 1), 24.2),
    Problem(2, "Freudenstein and Roth", freudenstein_and_roth, (0.5, -2), 2, (0, 48.9842), (5, 4),
            400.5),
    Problem(3, "Powell badly scaled", powell_badly_scaled, (0, 1), 2, (0,)),
    Problem(4, "Brown badly scaled", brown_badly_scaled, (1, 1), 3, (0,), (1e6, 2e-6)),
    Problem(5, "Beale", beale, (1, 1), 3, (0,), (3, 0.5), 14.203125),
    Problem(6, "Jennrich and Sampson", jennrich_and_sampson, (0.3, 0.4), 10, (124.362,)),
    Problem(7, "Helical valley", helical_valley, (-1, 0, 0), 3, (0,), (1, 0, 0), 2500.0),
    Problem(8, "Bard", bard, (1, 1, 1), 15, (8.21487e-3, 17.4286)),
    Problem(9, "Gaussian", gaussian, (0.4, 1, 0), 15, (1.12793e-8,)),
    Problem(10, "Meyer", meyer, (0.02, 4000, 250), 16, (87.9458,)),
    Problem(11, "Gulf research and development", gulf, (5, 2.5, 0.15), 99, (0,), (50, 25, 1.5)),
    Problem(12, "Box three-dimensional", box, (0, 10, 20), 10, (0,), (1, 10, 1)),
    Problem(13, "Powell singular", powell_singular, (3, -1, 0, 1), 4, (0,), (0, 0, 0, 0), 215.0),
    Problem(14, "Wood", wood, (-3, -1, -3, -1), 6, (0,), (1, 1, 1, 1), 19192.0),
    Problem(15, "Kowalik and Osborne", kowalik_and_osborne, (0.25, 0.39, 0.415, 0.39), 11,
            (3.07505e-4, 1.02734e-3)),
    Problem(16, "Brown and Dennis", brown_and_dennis, (25, 5, -5, -1), 20, (85822.2,)),
    Problem(17, "Osborne 1", osborne_1, (0.5, 1.5, -1, 0.01, 0.02), 33, (5.46489e-5,)),
    Problem(18, "Biggs EXP6", biggs, (1, 2, 1, 1, 1, 1), 13, (0, 5.65565e-3),
            (1, 10, 1, 5, 4, 3)),
    Problem(19, "Osborne 2", osborne_2, (1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5), 65,
            (4.01377e-2,)),
    Problem(20, "Watson", watson, (0,) * 6, 31, (2.28767e-3,), None, 30.0),
    Problem(20, "Watson of 9", watson, (0,) * 9, 31, (1.39976e-6,), None, 30.0),
    Problem(20, "Watson of 12", watson, (0,) * 12, 31, (4.72238e-10,), None, 30.0),
    Problem(21, "Extended Rosenbrock", rosenbrock, (-1.2, 1) * 5, 10, (0,), (1,) * 10, 121.0),
    Problem(22, "Extended Powell singular", powell_singular, (3, -1, 0, 1) * 3, 12, (0,), (0,) * 12,
            645.0),
    Problem(23, "Penalty I", penalty_1, (1, 2, 3, 4), 5, (2.24997e-5,)),
    Problem(23, "Penalty I of 10", penalty_1, range(1, 11), 11, (7.08765e-5,)),
    Problem(24, "Penalty II", penalty_2, (0.5,) * 4, 8, (9.37629e-6,)),
    Problem(24, "Penalty II of 10", penalty_2, (0.5,) * 10, 20, (2.93660e-4,)),
    Problem(25, "Variably dimensioned", variably_dimensioned, [1 - i / 10 for i in range(1, 11)],
            12, (0,), (1,) * 10),
    Problem(26, "Trigonometric", trigonometric, (0.1,) * 10, 10, (0, 2.79506e-5)),
    Problem(27, "Brown almost-linear", brown_almost_linear, (0.5,) * 10, 10, (0, 1), (1,) * 10),
    Problem(28, "Discrete boundary value", discrete_boundary_value, ratio_start(10), 10, (0,)),
    Problem(29, "Discrete integral equation", discrete_integral_equation, ratio_start(10), 10,
            (0,)),
    Problem(30, "Broyden tridiagonal", broyden_tridiagonal, (-1,) * 10, 10, (0,)),
    Problem(31, "Broyden banded", broyden_banded, (-1,) * 10, 10, (0,)),
    Problem(32, "Linear, full rank", linear_full_rank, (1,) * 10, 20, (10,), (-1,) * 10, 50.0),
    Problem(33, "Linear, rank 1", linear_rank_1, (1,) * 10, 20, (20 * 19 / (2 * 41),)),
    Problem(34, "Linear, rank 1 with zero columns and rows", linear_rank_1_zeros, (1,) * 10, 20,
            ((20**2 + 3 * 20 - 6) / (2 * 37),)),
    Problem(35, "Chebyquad", chebyquad, [i / 8 for i in range(1, 8)], 7, (0,)),
    Problem(35, "Chebyquad of 8", chebyquad, [i / 9 for i in range(1, 9)], 8, (3.51687e-3,)),
    Problem(35, "Chebyquad of 10", chebyquad, [i / 11 for i in range(1, 11)], 10,
            (4.77271e-3, 6.50395e-3)),  # the paper states the second; the first is lower
)  # fmt: skip
