"""`minimize` against published minima, SciPy, and reference values that share no code."""

from __future__ import annotations

import gc
from typing import Any, Final

import mpmath
import numpy as np
import pytest
import scipy.optimize
from tests.optimizers.mgh import PROBLEMS, Problem

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import DTypeError, ShapeError, StructureError
from chainrule.link.libraries import libraries
from chainrule.solvers import METHODS, JacobianOperator

GRADIENT: Final = ("lbfgs", "bfgs", "newton-cg")
SQUARES: Final = ("levenberg-marquardt", "gauss-newton")

PRODUCTS: Final = "levenberg-marquardt by products"
"Not a method's name: the same with `linear_solver='cg'`."

SINGULAR: Final = "the Jacobian loses rank on the way; the direction is orthogonal to the gradient"
LARGE: Final = "residuals stay large, where JᵀJ is far from the Hessian"
NARROW: Final = "the curvatures differ by 10²⁰: conjugate gradients do not solve for the step"
FLAT: Final = "curvatures down to 10⁻¹⁴: the gradient is rounding before the last digits are found"
KNOWN: Final[dict[tuple[str, str], str]] = {
    ("newton-cg", "Meyer"): NARROW,
    (PRODUCTS, "Meyer"): NARROW,
    ("lbfgs", "Watson of 12"): FLAT,
    ("bfgs", "Watson of 12"): FLAT,
    (PRODUCTS, "Watson of 12"): FLAT,
    ("gauss-newton", "Freudenstein and Roth"): SINGULAR,
    ("gauss-newton", "Jennrich and Sampson"): LARGE,
    ("gauss-newton", "Gulf research and development"): SINGULAR,
    ("gauss-newton", "Biggs EXP6"): SINGULAR,
    ("gauss-newton", "Penalty II of 10"): SINGULAR,
    ("gauss-newton", "Chebyquad of 8"): SINGULAR,
    ("gauss-newton", "Chebyquad of 10"): SINGULAR,
}
"Which method does not reach a published minimum of which function, and why."


def reached(problem: Problem, value: float) -> bool:
    """Tell whether a sum of squares is a published minimum, to the digits printed."""
    return any(abs(value - f) <= 1e-5 * f if f else value <= 1e-12 for f in problem.minima)


def found_by(problem: Problem, method: str) -> float:
    """Return the sum of squares where a method ends from the standard start."""
    start = np.array(problem.start, float)
    if method in GRADIENT:
        return float(cr.minimize(problem.objective, start, method=method, tol=1e-12).fun)
    options: dict[str, Any] = {"linear_solver": "cg"} if method == PRODUCTS else {}
    name = method.removesuffix(" by products")
    return 2 * float(cr.minimize(problem.residual, start, method=name, tol=1e-12, **options).fun)


def cases(first: bool) -> list[Any]:
    """Return methods and functions; every function by two methods first, then the rest."""
    chosen = []
    numbers: set[int] = set()
    for i, p in enumerate(PROBLEMS):
        usual = {"levenberg-marquardt", GRADIENT[i % 3]} if p.number not in numbers else set()
        numbers.add(p.number)
        for method in (*METHODS, PRODUCTS):
            if (method in usual) is first:
                why = KNOWN.get((method, p.name))
                marks = [pytest.mark.xfail(reason=why, strict=True)] if why else []
                chosen.append(pytest.param(method, p, id=f"{p.name}-{method}", marks=marks))
    return chosen


@pytest.mark.share(18)
@pytest.mark.parametrize(("method", "problem"), cases(first=True))
def test_a_published_minimum_is_reached(method: str, problem: Problem) -> None:
    value = found_by(problem, method)
    assert reached(problem, value), value


@pytest.mark.exhaustive
@pytest.mark.parametrize(("method", "problem"), cases(first=False))
def test_a_published_minimum_is_reached_by_every_other_method(
    method: str, problem: Problem
) -> None:
    value = found_by(problem, method)
    assert reached(problem, value), value


def logistic(w: Any, x: Any, y: Any, weight: Any) -> Any:
    """Return the loss of logistic regression with a penalty; y is 0 or 1."""
    z = x @ w
    return cnp.sum(cnp.logaddexp(0.0, z) - y * z) + 0.5 * weight * cnp.sum(w * w)


def data(rows: int = 40, columns: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, columns))
    y = (x @ np.arange(1.0, columns + 1) + rng.normal(size=rows) > 0).astype(float)
    return x, y


def exact_logistic(x: Any, y: Any, weight: float) -> Any:
    """Return the minimiser by Newton's method in 40 digits."""
    with mpmath.workdps(40):
        a, w = mpmath.matrix(x.tolist()), mpmath.matrix(x.shape[1], 1)
        for _ in range(30):
            z = a * w
            p = mpmath.matrix([1 / (1 + mpmath.exp(-v)) for v in z])
            slope = a.T * (p - mpmath.matrix(y.tolist())) + weight * w
            bend = a.T * mpmath.diag([v * (1 - v) for v in p]) * a
            w -= mpmath.lu_solve(bend + weight * mpmath.eye(x.shape[1]), slope)
        return np.array([float(v) for v in w])


@pytest.mark.parametrize("method", GRADIENT)
def test_logistic_regression(method: str) -> None:
    x, y = data()
    found = cr.minimize(logistic, np.zeros(3), x, y, 0.5, method=method, tol=1e-11)
    np.testing.assert_allclose(found.x, exact_logistic(x, y, 0.5), rtol=1e-9)
    assert found.converged
    assert found.message == "the gradient, or the residual, is as small as asked for"
    slow = scipy.optimize.minimize(cr.value_and_grad(logistic), np.zeros(3), (x, y, 0.5), jac=True)
    assert found.fun <= slow.fun + 1e-9


def chain(x: Any, stiffness: Any) -> Any:
    """Return residuals of many variables, each with its neighbours."""
    return {"links": stiffness * (x[1:] - x[:-1] ** 2), "ends": 1 - x[:-1]}


def by_hand(x: Any, stiffness: Any) -> JacobianOperator:
    """Return the Jacobian of `chain` as a bidiagonal and a diagonal matrix."""
    n = x.shape[0]

    def matvec(v: Any) -> Any:
        return cnp.concatenate([-v[:-1], stiffness * (v[1:] - 2 * x[:-1] * v[:-1])])

    def rmatvec(u: Any) -> Any:
        ends, links = u[: n - 1], stiffness * u[n - 1 :]
        return cnp.pad(links, (1, 0)) - cnp.pad(ends + 2 * x[:-1] * links, (0, 1))

    squares = cnp.pad(cnp.ones_like(x[1:]) + (2 * stiffness * x[:-1]) ** 2, (0, 1))
    return JacobianOperator(matvec, rmatvec, squares + cnp.pad(0 * x[1:] + stiffness**2, (1, 0)))


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "options",
    [{}, {"linear_solver": "qr"}, {"linear_solver": "cg"},
     {"linear_solver": "cg", "jacobian": by_hand},
     {"linear_solver": "cg", "jacobian": cr.sparse_jacobian(chain)}],
    ids=["default", "qr", "products", "operator", "sparse"],
)  # fmt: skip
def test_many_variables(options: dict[str, Any]) -> None:
    n = 20 if options.get("linear_solver") == "qr" else 300
    start = np.full(n, 0.8)
    found = cr.minimize(chain, start, 3.0, method="levenberg-marquardt", **options)
    assert found.converged
    np.testing.assert_allclose(found.x, np.ones(n), rtol=1e-6)
    # The derivative of the solution by what it does not depend on.
    slope = cr.grad(
        lambda s: cnp.sum(
            cr.minimize(chain, start, s, method="levenberg-marquardt", **options).x ** 2
        )
    )
    assert abs(slope(3.0)) < 1e-5


def test_a_pytree_of_unknowns_keeps_structure_shapes_and_dtypes() -> None:
    target: dict[str, Any] = {"a": np.float32(2.0), "b": [np.arange(6.0).reshape(2, 3)]}

    def far(x: Any, goal: Any) -> Any:
        return (x["a"] - goal["a"]) ** 2 + cnp.sum((x["b"][0] - goal["b"][0]) ** 2)

    start = {"a": np.float32(0.0), "b": [np.zeros((2, 3))]}
    found = cr.minimize(far, start, target)
    assert found.x["a"].dtype == np.float32
    np.testing.assert_allclose(found.x["b"][0], target["b"][0], atol=1e-7)
    np.testing.assert_allclose(found.x["a"], 2.0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method: str) -> None:
    fn = (lambda x, a: x * x - a) if method in SQUARES else (lambda x, a: cnp.sum((x * x - a) ** 2))
    a = np.array([2.0, 3.0], np.float32)
    found = cr.minimize(fn, np.ones(2, np.float32), a, method=method)
    assert found.x.dtype == np.float32
    assert found.converged
    np.testing.assert_allclose(found.x, np.sqrt(a), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_one_compilation_for_any_number_of_variables(method: str) -> None:
    squares = method in SQUARES
    fn = (lambda x, a: x - a) if squares else (lambda x, a: cnp.sum((x - a) ** 2))
    solve = cr.jit(
        lambda x0, a: cr.minimize(fn, x0, a, method=method).x, dims={"x0": ("n",), "a": ("n",)}
    )
    for n in (2, 5, 3):
        np.testing.assert_allclose(solve(np.zeros(n), np.arange(float(n))), np.arange(n), atol=1e-7)
    assert len(solve.compilations) == 1


def test_a_function_is_compiled_once() -> None:
    calls = []

    def bowl(x: Any, a: Any) -> Any:
        calls.append(1)
        return cnp.sum((x - a) ** 2)

    loaded = []
    for k in range(4):
        found = cr.minimize(bowl, np.zeros(2), np.array([k, 1.0]))
        assert found.x[0] == pytest.approx(k)
        gc.collect()
        loaded.append(libraries())
    assert loaded == loaded[:1] * 4
    # Each call looks at what the function reads; the first one also traces it to compile.
    assert len(calls) == 5
    cr.minimize(bowl, np.zeros(2), np.ones(2), method="bfgs")
    assert len(calls) == 7


def test_settings_among_the_arguments() -> None:
    def loss(x: Any, kind: str, a: Any) -> Any:
        return cnp.sum(cnp.cosh(x - a)) if kind == "cosh" else cnp.sum(cnp.abs(x - a) ** 1.5)

    for kind in ("cosh", "power", "cosh"):
        found = cr.minimize(loss, np.zeros(2), kind, np.array([1.0, -2.0]))
        np.testing.assert_allclose(found.x, [1.0, -2.0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_wall_of_nan_is_backed_away_from(method: str) -> None:
    squares = method in SQUARES
    fn = (lambda x: x - 1 + cnp.log(x)) if squares else (lambda x: cnp.sum(x - cnp.log(x)))
    found = cr.minimize(fn, np.array([20.0, 1e-3]), method=method)
    assert found.converged
    np.testing.assert_allclose(found.x, [1.0, 1.0], rtol=1e-6)


def test_why_it_stops_is_told() -> None:
    start = np.array([-1.2, 1.0])
    rosenbrock = PROBLEMS[0].objective
    few = cr.minimize(rosenbrock, start, max_steps=3)
    assert (int(few.nit), bool(few.converged)) == (3, False)
    assert few.message == "the largest number of steps was taken"
    bad = cr.minimize(lambda x: cnp.sum(cnp.log(x)), -np.ones(2))
    assert not bad.converged
    assert bad.message == "the function is not finite at the start"
    coarse = cr.minimize(rosenbrock, start, ftol=0.5)
    assert coarse.converged
    assert coarse.message == "the last step changed the value as little as ftol allows"
    flat = cr.minimize(rosenbrock, start, xtol=0.1)
    assert flat.converged
    assert flat.message == "the last step was as small as xtol allows"


@pytest.mark.parametrize("method", GRADIENT)
def test_a_saddle_is_left_along_negative_curvature(method: str) -> None:
    found = cr.minimize(
        lambda x: x[0] ** 2 - x[1] ** 2 + x[1] ** 4, np.array([1.0, 1e-3]), method=method
    )
    assert found.converged
    np.testing.assert_allclose(np.abs(found.x), [0.0, 0.5**0.5], atol=1e-6)


def test_messages() -> None:
    def total(x: Any) -> Any:
        return cnp.sum(x * x)

    with pytest.raises(StructureError, match="no method 'simplex'"):
        cr.minimize(total, np.ones(2), method="simplex")
    with pytest.raises(StructureError, match="no linear solver 'svd'"):
        cr.minimize(total, np.ones(2), linear_solver="svd")
    with pytest.raises(StructureError, match="jacobian= is for"):
        cr.minimize(total, np.ones(2), jacobian=total)
    with pytest.raises(StructureError, match="jacobian= returns no Jacobian"):
        cr.minimize(
            lambda x: x, np.ones(2), method="levenberg-marquardt", linear_solver="cg",
            jacobian=lambda x: x,
        )  # fmt: skip
    with pytest.raises(ShapeError, match="must return one number"):
        cr.minimize(lambda x: x, np.ones(2))
    with pytest.raises(StructureError, match="must return one number"):
        cr.minimize(lambda x: (x, x), np.ones(2))
    with pytest.raises(DTypeError, match="not of floating point"):
        cr.minimize(total, np.ones(2, int))
    with pytest.raises(StructureError, match="no unknowns"):
        cr.minimize(lambda x: 0.0, ())
