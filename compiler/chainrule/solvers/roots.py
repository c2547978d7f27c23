"""`find_root`: solutions of as many equations as there are unknowns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import name_of, require_function
from chainrule.frontend.context import tracing
from chainrule.frontend.pytree import tree_flatten
from chainrule.solvers.closed import Flat, close_over, largest, number, split_arguments
from chainrule.solvers.implicit import DENSE, implicitly, solve_by_jacobian
from chainrule.solvers.line_search import backtracked
from chainrule.solvers.record import NOT_FINITE, RUNNING, SMALL, STALLED, Root
from chainrule.transform import stop_gradient, vjp, while_loop
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import Run, evaluating, has_traced

__all__ = ["find_root", "newton_root"]

SOLVERS: Final = ("newton", "newton-krylov")


def find_root(
    residual: Callable[..., Any], x0: Any, *args: Any, solver: str | None = None,
    tol: float | None = None, max_steps: int = 100, run: Run = evaluating,
) -> Root:  # fmt: skip
    """Find where as many equations as unknowns hold, near a start.

    Newton's method with backtracking on the sum of squares (Nocedal and Wright 2006, section 11.2);
    where the Jacobian is singular it steps along the gradient of that sum.  The whole search is one
    compiled function, whose derivatives with respect to `args` are those of the root, by the
    implicit function theorem, to any order.

    Args:
        residual: `residual(x, *args)`, nested and shaped as `x0`, is to be 0.
        x0: The start: a pytree of floating-point arrays.
        args: What else the residual depends on: pytrees of arrays.  Other leaves are settings.
        solver: `newton` forms the Jacobian, n products and n³ operations a step; `newton-krylov`
            solves by products with it alone (GMRES).  By default the first up to 200 unknowns.
        tol: Stop where no residual exceeds it.  By default 1e-10 in float64, 1e-5 in float32.
        max_steps: The largest number of steps.
        run: How plain values are computed with.

    Returns:
        A `Root`: `x`, `fun` (the residual), `nit`, `converged`, `residual_norm`, `status`, and in
        words `message`.  Nothing is raised where the search fails: look at `converged`.

    On plain arrays the search is compiled once for each function and kept.  Each call traces the
    function, so what it closes over is read anew; where that has changed, so is the code.

    Raises:
        StructureError: The solver is unknown, or the residual nests otherwise than `x0`.
        ShapeError: There are more or fewer equations than unknowns.
        DTypeError: `x0` is not of floating point.

    >>> root = find_root(lambda x, a: x * x - a, 1.0, 2.0)
    >>> round(root.x.item(), 9), bool(root.converged)
    (1.414213562, True)
    """
    require_function(residual, "find_root")
    if solver is not None and solver not in SOLVERS:
        raise StructureError(
            explain(f"find_root: there is no solver {solver!r}", f"solvers  {', '.join(SOLVERS)}")
        )
    if not has_traced((x0, args)):
        options: dict[str, Any] = {"solver": solver, "tol": tol, "max_steps": max_steps}
        found: Root = run(lambda x, given: find_root(residual, x, *given, **options))(x0, args)
        return found
    graph = graph_for((x0, args))
    with tracing(graph):
        flat = Flat(x0, graph, "find_root")
        arrays, nested = split_arguments(args)

        def of_vector(x: Any, given: Sequence[Any]) -> Any:
            result = residual(flat.unravel(x), *nested(given))
            return equations(result, flat, "find_root", residual)

        n = flat.vector.shape[0]
        if n == 0:
            return nothing(flat)
        closed, parameters = close_over(of_vector, flat.vector, arrays, graph, name_of(residual))
        dense = solver == "newton" or (solver is None and isinstance(n, int) and n <= DENSE)
        least = tolerance_of(tol, flat.vector)

        def solve(x: Any, w: Sequence[Any]) -> tuple[Any, ...]:
            return newton_root(lambda z: closed(z, w), x, least, max_steps, dense)

        x, size, nit, status = implicitly(
            solve, closed, flat.vector, parameters, name="find_root", dense=dense
        )
        return Root(
            flat.unravel(x), flat.unravel(closed(x, parameters)), nit, status == SMALL,
            stop_gradient(size), status,
        )  # fmt: skip


def nothing(flat: Flat) -> Root:
    """Return what solves no equations for no unknowns."""
    x = flat.unravel(flat.vector)
    return Root(x, x, np.int64(0), np.bool_(True), number(0, flat.vector), np.int64(SMALL))


def tolerance_of(tol: float | None, x: Any) -> float:
    """Return the bound of residuals: the user's, or what the dtype allows."""
    if tol is not None:
        return float(tol)
    return 1e-10 if x.dtype == np.float64 else 1e-5


def equations(result: Any, flat: Flat, what: str, fn: Any) -> Any:
    """Return a function's result as a vector, one number for each unknown."""
    leaves, tree = tree_flatten(result)
    if tree != flat.tree:
        raise StructureError(
            explain(f"{what}: the result nests otherwise than x0", f"x0      {flat.tree}",
                    f"result  {tree}", f"function  {name_of(fn)}")
        )  # fmt: skip
    shapes = [tuple(np.shape(x) if not hasattr(x, "shape") else x.shape) for x in leaves]
    for path, shape, wanted in zip(tree.paths(), shapes, flat.shapes, strict=True):
        if shape != tuple(wanted):
            raise ShapeError(
                explain(f"{what}: the result has another shape than the unknowns",
                        f"x0{path and '/' + path}  {tuple(wanted)}", f"result  {shape}",
                        f"function  {name_of(fn)}",
                        hint="there are as many equations as unknowns; more of them are a "
                        "least-squares problem for minimize")
            )  # fmt: skip
    return flat.ravel(result)


class _State(NamedTuple):
    x: Any
    residual: Any
    nit: Any
    status: Any


def newton_root(
    residual: Callable[[Any], Any], x0: Any, tol: float, max_steps: int, dense: bool
) -> tuple[Any, Any, Any, Any]:
    """Return `(x, largest residual, number of steps, status)`.

    Args:
        residual: Of a vector.
        x0: The start.
        tol: Stop where no residual exceeds it.
        max_steps: The largest number of steps.
        dense: Form the Jacobian.
    """

    def turn(s: _State) -> _State:
        p = solve_by_jacobian(
            lambda z, _: residual(z), s.x, (), -s.residual, symmetric=False, dense=dense
        )
        gradient = vjp(residual, s.x)[1](s.residual)[0]
        regular = cnp.all(cnp.isfinite(p)) & (gradient @ p < 0)
        p = cnp.where(regular, p, -gradient)
        slope = gradient @ p

        def half_square(step: Any) -> Any:
            r = residual(s.x + step * p)
            return 0.5 * (r @ r)

        step = backtracked(half_square, 0.5 * (s.residual @ s.residual), slope)
        x = s.x + step * p
        r = residual(x)
        status = cnp.where(largest(r) <= tol, SMALL, RUNNING)
        return _State(x, r, s.nit + 1, cnp.where(step > 0, status, STALLED))

    r0 = residual(x0)
    size = largest(r0)
    first = cnp.where(size <= tol, SMALL, cnp.where(cnp.isfinite(size), RUNNING, NOT_FINITE))
    end = while_loop(
        lambda s: (s.status == RUNNING) & (s.nit < max_steps), turn,
        _State(x0, r0, np.int64(0), first),
    )  # fmt: skip
    return end.x, largest(end.residual), end.nit, end.status
