"""`minimize`: one entry for all methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import name_of, require_function
from chainrule.frontend.context import tracing
from chainrule.frontend.pytree import tree_flatten
from chainrule.solvers.closed import Closed, Flat, close_over, number, split_arguments
from chainrule.solvers.implicit import DENSE, implicitly
from chainrule.solvers.least_squares import gauss_newton, levenberg_marquardt
from chainrule.solvers.matrix_free import JacobianOperator, compressed
from chainrule.solvers.newton import newton_cg
from chainrule.solvers.quasi_newton import Tolerances, bfgs, lbfgs
from chainrule.solvers.record import FLAT, NOT_FINITE, ROUNDED, SMALL, STEP, Minimum
from chainrule.transform import grad, stop_gradient, value_and_grad
from chainrule.transform.csr import CSR
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import Run, evaluating, has_traced

__all__ = ["METHODS", "minimize", "small_enough_for_dense"]

GRADIENT: Final[dict[str, Callable[..., tuple[Any, Any, Any, Any]]]] = {
    "lbfgs": lbfgs, "bfgs": bfgs, "newton-cg": newton_cg,
}  # fmt: skip
SQUARES: Final[dict[str, Callable[..., tuple[Any, Any, Any, Any]]]] = {
    "levenberg-marquardt": levenberg_marquardt,
    "gauss-newton": gauss_newton,
}
METHODS: Final = (*GRADIENT, *SQUARES)


def minimize(
    fun: Callable[..., Any], x0: Any, *args: Any, method: str = "lbfgs", tol: float | None = None,
    xtol: float = 0.0, ftol: float = 0.0, max_steps: int | None = None,
    linear_solver: str | None = None, jacobian: Callable[..., Any] | None = None,
    run: Run = evaluating,
) -> Minimum:  # fmt: skip
    """Find where a function of many variables is least, near a start.

    The whole search is one compiled function.  Inside `jit`, `grad`, `vmap` and other
    transformations it is one more operation: its derivatives with respect to `args` are those of
    the solution, by the implicit function theorem, to any order, however it was found.

    Args:
        fun: `fun(x, *args)` returns one number; for `levenberg-marquardt` and `gauss-newton` a
            pytree of residuals, half the sum of whose squares is minimised.
        x0: The start: a pytree of floating-point arrays.
        args: What else `fun` depends on: pytrees of arrays.  Other leaves are settings.
        method: `lbfgs` (few numbers kept, for many variables), `bfgs` (n² numbers), `newton-cg`
            (Hessian-vector products, negative curvature), `levenberg-marquardt`, `gauss-newton`.
        tol: Stop where no element of the gradient exceeds `tol`.  By default 1e-8 in float64, 1e-4
            in float32.
        xtol: Stop after a step smaller than `xtol` times x; by default not.
        ftol: Stop after a decrease smaller than `ftol` times the value; by default not.  All
            methods stop, converged, where what is left to be gained is hidden by the rounding of
            the value, which is measured: by how much values disagree with gradients at short steps.
        max_steps: By default 1000, or 15 n if that is more.
        linear_solver: For `levenberg-marquardt`: `qr` factors the Jacobian, `cg` takes products
            with it alone, for many variables.  By default `qr` up to 200 variables.  It also
            chooses whether derivatives form the Hessian (`qr`) or not (`cg`).
        jacobian: For `cg`: the Jacobian in place of products by forward and reverse mode, as
            `sparse_jacobian(fun)`, or a function `jacobian(x, *args)` that returns a
            `solvers.JacobianOperator`.  Its squares precondition the conjugate gradients.
        run: How plain values are computed with.

    Returns:
        A `Minimum`: `x`, `fun`, `nit`, `converged`, `grad_norm`, `status`, and in words `message`.
        Nothing is raised where the search fails: look at `converged`.  It is false, and `message`
        says so, where the value fell below -1e15 or x passed 1e30 and the gradient is not small:
        such a function seems to have no minimum.

    On plain arrays the search is compiled once for each `fun` and kept.  Each call traces `fun`, so
    what it closes over is read anew, and where that has changed the search is compiled anew.

    Raises:
        StructureError: The method is unknown, or `x0` is not a pytree of arrays.
        ShapeError: `fun` returns an array with axes where one number is wanted.
        DTypeError: `x0` is not of floating point.

    >>> import numpy as np
    >>> bowl = lambda x, a: cnp.sum((x - a) ** 4 + x**2)
    >>> found = minimize(bowl, np.zeros(2), np.array([0.0, 3.0]))
    >>> found.x.round(6).tolist(), bool(found.converged)
    ([0.0, 2.0], True)
    """
    options: dict[str, Any] = {
        "method": method, "tol": tol, "xtol": xtol, "ftol": ftol, "max_steps": max_steps,
        "linear_solver": linear_solver, "jacobian": jacobian,
    }  # fmt: skip
    require_function(fun, "minimize")
    _check(method, linear_solver, jacobian)
    if not has_traced((x0, args)):
        found: Minimum = run(lambda x, given: minimize(fun, x, *given, **options))(x0, args)
        return found
    graph = graph_for((x0, args))
    with tracing(graph):
        flat = Flat(x0, graph, "minimize")
        arrays, nested = split_arguments(args)
        squares = method in SQUARES

        def of_vector(x: Any, given: Sequence[Any]) -> Any:
            result = fun(flat.unravel(x), *nested(given))
            return _residuals(result, flat) if squares else _one_number(result, fun)

        closed, parameters = close_over(of_vector, flat.vector, arrays, graph, name_of(fun))
        tolerances = _tolerances(tol, xtol, ftol, max_steps, flat.vector)
        dense = small_enough_for_dense(linear_solver, flat.vector)
        extra: dict[str, Any] = {}
        if method == "levenberg-marquardt" and not dense:
            extra["operator"] = _operator(jacobian, flat, nested, len(arrays))
            extra["matrix_free"] = True
        return _solved(method, closed, flat, parameters, tolerances, dense, extra)


def _solved(
    method: str, closed: Closed, flat: Flat, parameters: list[Any], tolerances: Tolerances,
    dense: bool, extra: dict[str, Any],
) -> Minimum:  # fmt: skip
    squares = method in SQUARES

    def objective(x: Any, w: Sequence[Any]) -> Any:
        if not squares:
            return closed(x, w)
        r = closed(x, w)
        return 0.5 * (r @ r)

    def solve(x: Any, w: Sequence[Any]) -> tuple[Any, ...]:
        if squares:
            return SQUARES[method](lambda z: closed(z, w), x, w, tolerances, **extra)
        both = value_and_grad(lambda z: objective(z, w)).traced
        return GRADIENT[method](both, x, tolerances)

    def stationary(x: Any, w: Sequence[Any]) -> Any:
        return grad(lambda z: objective(z, w)).traced(x)

    if flat.vector.shape[0] == 0:
        value = objective(flat.vector, parameters)
        status = cnp.where(cnp.isfinite(value), SMALL, NOT_FINITE)
        return Minimum(
            flat.unravel(flat.vector), value, np.int64(0), status == SMALL,
            number(0, flat.vector), status,
        )  # fmt: skip
    x, size, nit, status = implicitly(
        solve, stationary, flat.vector, parameters, name="minimize", symmetric=True, dense=dense
    )
    value = objective(x, parameters)
    met = (status == SMALL) | (status == STEP) | (status == FLAT) | (status == ROUNDED)
    return Minimum(flat.unravel(x), value, nit, met, stop_gradient(size), status)


def _check(method: str, linear_solver: str | None, jacobian: Any) -> None:
    if method not in METHODS:
        raise StructureError(
            explain(f"minimize: there is no method {method!r}", f"methods  {', '.join(METHODS)}")
        )
    if linear_solver not in (None, "qr", "cg"):
        raise StructureError(
            explain(f"minimize: there is no linear solver {linear_solver!r}", "solvers  qr, cg")
        )
    if jacobian is not None and (method, linear_solver) != ("levenberg-marquardt", "cg"):
        raise StructureError(
            explain("minimize: jacobian= is for levenberg-marquardt with linear_solver='cg'",
                    f"method         {method}", f"linear_solver  {linear_solver}")
        )  # fmt: skip


def _tolerances(
    tol: float | None, xtol: float, ftol: float, max_steps: int | None, x: Any
) -> Tolerances:
    if tol is None:
        tol = 1e-8 if x.dtype == np.float64 else 1e-4
    if max_steps is None:
        n = x.shape[0]
        max_steps = max(1000, 15 * n) if isinstance(n, int) else 1000
    return Tolerances(float(tol), float(xtol), float(ftol), int(max_steps))


def small_enough_for_dense(linear_solver: str | None, x: Any) -> bool:
    """Tell whether to form a Jacobian; an extent that is not known yet is taken for a large one."""
    if linear_solver is not None:
        return linear_solver in ("qr", "lu")
    n = x.shape[0]
    return isinstance(n, int) and n <= DENSE


def _one_number(result: Any, fun: Any) -> Any:
    leaves, tree = tree_flatten(result)
    if tree.cls is not None:
        raise StructureError(
            explain("minimize: the function must return one number", f"returned  {tree}",
                    f"function  {name_of(fun)}", hint="residuals are for levenberg-marquardt")
        )  # fmt: skip
    value = cnp.asarray(leaves[0])
    if value.shape:
        raise ShapeError(
            explain("minimize: the function must return one number",
                    f"returned  shape {value.shape}", f"function  {name_of(fun)}",
                    hint="sum its elements up, or minimise the sum of their squares by "
                    "method='levenberg-marquardt'")
        )  # fmt: skip
    return value


def _residuals(result: Any, flat: Flat) -> Any:
    leaves, _ = tree_flatten(result)
    return flat.ravel_leaves(leaves)


def _operator(
    jacobian: Callable[..., Any] | None, flat: Flat, nested: Callable[[Sequence[Any]], Any],
    count: int,
) -> Callable[[Any, Sequence[Any]], JacobianOperator] | None:  # fmt: skip
    if jacobian is None:
        return None

    def at(x: Any, w: Sequence[Any]) -> JacobianOperator:
        found = jacobian(flat.unravel(x), *nested(w[:count]))
        if isinstance(found, CSR):
            return compressed(found)
        if not isinstance(found, JacobianOperator):
            raise StructureError(
                explain("minimize: jacobian= returns no Jacobian",
                        f"returned  {type(found).__name__}",
                        hint="return a solvers.JacobianOperator, or give sparse_jacobian(fun)")
            )  # fmt: skip
        return found

    return at
