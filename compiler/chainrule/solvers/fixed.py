"""`fixed_point`: what a function leaves as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.frontend.arguments import name_of, require_function
from chainrule.frontend.context import tracing
from chainrule.solvers.closed import Flat, close_over, largest, number, split_arguments
from chainrule.solvers.factors import least_squares
from chainrule.solvers.implicit import DENSE, implicitly
from chainrule.solvers.record import NOT_FINITE, RUNNING, SMALL, Root
from chainrule.solvers.roots import equations, nothing, tolerance_of
from chainrule.transform import cond, stop_gradient, while_loop
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import Run, evaluating, has_traced

__all__ = ["anderson", "fixed_point"]


def fixed_point(
    f: Callable[..., Any], x0: Any, *args: Any, memory: int = 5, tol: float | None = None,
    max_steps: int = 1000, run: Run = evaluating,
) -> Root:  # fmt: skip
    """Find x with f(x, *args) = x by repeating f, faster.

    Anderson's acceleration (D. Anderson 1965; H. Walker and P. Ni 2011, "Anderson acceleration for
    fixed-point iterations"): the next x combines the last few so that what f changes is least.
    The derivatives with respect to `args` are those of the fixed point, by the implicit function
    theorem, to any order: dx = (I - ∂f/∂x)⁻¹ ∂f/∂w dw.

    Args:
        f: `f(x, *args)`, nested and shaped as `x0`.
        x0: The start: a pytree of floating-point arrays.
        args: What else `f` depends on: pytrees of arrays.  Other leaves are settings.
        memory: How many differences to combine; 0 repeats f plainly.
        tol: Stop where f changes no element by more.  By default 1e-10 in float64, 1e-5 in float32.
        max_steps: The largest number of steps, of one evaluation each.
        run: How plain values are computed with.

    Returns:
        A `Root`: `x`, `fun` (f(x) - x), `nit`, `converged`, `residual_norm`, `status`, and in words
        `message`.  Nothing is raised where the search fails: look at `converged`.

    Raises:
        StructureError: The result nests otherwise than `x0`.
        ShapeError: It has another shape.
        DTypeError: `x0` is not of floating point.

    >>> found = fixed_point(lambda x, a: cnp.cos(a * x), 1.0, 1.0)
    >>> round(found.x.item(), 9), bool(found.converged)
    (0.739085133, True)
    """
    require_function(f, "fixed_point")
    if not has_traced((x0, args)):
        options: dict[str, Any] = {"memory": memory, "tol": tol, "max_steps": max_steps}
        found: Root = run(lambda x, given: fixed_point(f, x, *given, **options))(x0, args)
        return found
    graph = graph_for((x0, args))
    with tracing(graph):
        flat = Flat(x0, graph, "fixed_point")
        arrays, nested = split_arguments(args)

        def change(x: Any, given: Sequence[Any]) -> Any:
            result = f(flat.unravel(x), *nested(given))
            return equations(result, flat, "fixed_point", f) - x

        n = flat.vector.shape[0]
        if n == 0:
            return nothing(flat)
        closed, parameters = close_over(change, flat.vector, arrays, graph, name_of(f))
        least = tolerance_of(tol, flat.vector)

        def solve(x: Any, w: Sequence[Any]) -> tuple[Any, ...]:
            return anderson(lambda z: closed(z, w), x, least, max_steps, memory)

        x, size, nit, status = implicitly(
            solve, closed, flat.vector, parameters, name="fixed_point",
            dense=isinstance(n, int) and n <= DENSE,
        )  # fmt: skip
        return Root(
            flat.unravel(x), flat.unravel(closed(x, parameters)), nit, status == SMALL,
            stop_gradient(size), status,
        )  # fmt: skip


class _State(NamedTuple):
    x: Any
    change: Any
    steps: Any  # differences of x, newest last
    changes: Any  # differences of what f changes
    nit: Any
    status: Any


def anderson(
    change: Callable[[Any], Any], x0: Any, tol: float, max_steps: int, memory: int
) -> tuple[Any, Any, Any, Any]:
    """Return `(x, largest change, number of steps, status)` for `change(x) = f(x) - x`."""
    tiny = float(np.finfo(x0.dtype).eps)

    def step_of(s: _State) -> Any:
        if not memory:
            return s.change
        longest = cnp.max(cnp.linalg.norm(s.changes, axis=1))
        weights = least_squares(s.changes.T, s.change, 100 * tiny * longest)
        weights = cnp.where(cnp.isfinite(weights), weights, 0.0)
        return s.change - weights @ (s.steps + s.changes)

    def turn(s: _State) -> _State:
        step = step_of(s)
        after = change(s.x + step)
        # Far worse than before: what was remembered misleads, so go on plainly, without it.
        worse = ~(cnp.linalg.norm(after) <= 10 * cnp.linalg.norm(s.change))
        step = cnp.where(worse, s.change, step)
        x = s.x + step
        after = cond(worse, lambda x, _: change(x), lambda _, found: found, x, after)
        status = _status(after, tol)
        steps, changes = s.steps, s.changes
        if memory:
            steps = cnp.where(worse, 0.0, cnp.concatenate([steps[1:], step[None]]))
            changes = cnp.where(
                worse, 0.0, cnp.concatenate([changes[1:], (after - s.change)[None]])
            )
        return _State(x, after, steps, changes, s.nit + 1, status)

    n = x0.shape[0]
    rows = cnp.zeros((memory, n), x0.dtype) if memory else number(0, x0)
    first = change(x0)
    start = _State(x0, first, rows, rows, np.int64(0), _status(first, tol))
    end = while_loop(lambda s: (s.status == RUNNING) & (s.nit < max_steps), turn, start)
    return end.x, largest(end.change), end.nit, end.status


def _status(change: Any, tol: float) -> Any:
    size = largest(change)
    return cnp.where(size <= tol, SMALL, cnp.where(cnp.isfinite(size), RUNNING, NOT_FINITE))
