"""Transformations that compile: inside a trace they are inlined, on arrays they run natively."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper, wraps
from typing import Any, Concatenate, ParamSpec

from chainrule import transform
from chainrule.api.jit import Function, jit, sharing
from chainrule.frontend.pytree import tree_flatten
from chainrule.frontend.value import Value
from chainrule.transform import Transformed

__all__ = ["cond", "fori_loop", "function", "grad", "hessian", "hvp", "jacfwd", "jacobian",
           "jacrev", "jvp", "linearize", "scan", "switch", "value_and_grad", "vjp", "vmap",
           "while_loop"]  # fmt: skip

P = ParamSpec("P")


def _compiled(
    transformation: Callable[Concatenate[Function, P], Transformed],
) -> Callable[Concatenate[Function, P], Function]:
    """Make the functions a transformation returns compile themselves.

    Arguments that are no arrays (settings) are taken as static where they stand.
    """

    def transformed(fn: Function, /, *args: P.args, **kwargs: P.kwargs) -> Function:
        made = transformation(fn, *args, **kwargs)
        return jit(made.made_by(transformation, fn, *args, **kwargs), lenient=True)

    update_wrapper(transformed, transformation)
    return transformed


grad = _compiled(transform.grad)
value_and_grad = _compiled(transform.value_and_grad)
vmap = _compiled(transform.vmap)
hvp = _compiled(transform.hvp)
jacfwd = _compiled(transform.jacfwd)
jacrev = _compiled(transform.jacrev)


def _run(verb: Callable[P, Any]) -> Callable[P, Any]:
    """Make a loop or branch on plain values compile and run."""

    def called(*args: P.args, **kwargs: P.kwargs) -> Any:
        return verb(*args, run=sharing, **kwargs)  # type: ignore[arg-type]

    return without_run(update_wrapper(called, verb))


def without_run(called: Callable[P, Any]) -> Callable[P, Any]:
    """Leave out of a signature how plain values are computed with: here they are compiled."""
    known = inspect.signature(called)
    left = [p for name, p in known.parameters.items() if name != "run"]
    called.__signature__ = known.replace(parameters=left)  # type: ignore[attr-defined]
    return called


scan = _run(transform.scan)
fori_loop = _run(transform.fori_loop)
while_loop = _run(transform.while_loop)
cond = _run(transform.cond)
switch = _run(transform.switch)


def _is_expression(x: Any) -> bool:
    return any(isinstance(leaf, Value) for leaf in tree_flatten(x)[0])


@wraps(transform.jacobian)
def jacobian(fn: Any, argnums: Any = None, **kwargs: Any) -> Any:
    """Return the function of the Jacobian; given an expression and symbols, an expression."""
    if _is_expression(fn):
        from chainrule import symbols

        return symbols.jacobian(fn, kwargs.get("wrt", argnums))
    made = transform.jacobian(fn, argnums, **kwargs)
    return jit(made.made_by(transform.jacobian, fn, argnums, **kwargs), lenient=True)


@wraps(transform.hessian)
def hessian(fn: Any, argnums: Any = None, **kwargs: Any) -> Any:
    """Return the function of second derivatives; given an expression, an expression."""
    if _is_expression(fn):
        from chainrule import symbols

        return symbols.hessian(fn, kwargs.get("wrt", argnums))
    made = transform.hessian(fn, argnums, **kwargs)
    return jit(made.made_by(transform.hessian, fn, argnums, **kwargs), lenient=True)


@wraps(transform.jvp)
def jvp(fn: Function, primals: Sequence[Any], tangents: Sequence[Any], **kwargs: Any) -> Any:
    """Return value and directional derivative; outside of `jit` each call traces."""
    return transform.jvp(fn, primals, tangents, run=sharing, **kwargs)


@wraps(transform.vjp)
def vjp(fn: Function, *primals: Any, **kwargs: Any) -> Any:
    """Return value and pull-back; outside of `jit` each call traces."""
    return transform.vjp(fn, *primals, run=sharing, **kwargs)


@wraps(transform.linearize)
def linearize(fn: Function, *primals: Any, **kwargs: Any) -> Any:
    """Return value and derivative as a function; outside of `jit` each call traces."""
    return transform.linearize(fn, *primals, run=sharing, **kwargs)


def function(inputs: Sequence[Any], outputs: Mapping[str, Any] | Any) -> Function:
    """Compile expressions of symbols into a function of arrays.

    Args:
        inputs: The symbols, in the order of the function's arguments.
        outputs: An expression, or a pytree of them; its structure is the result's.

    Returns:
        A compiled function of arrays of the symbols' shapes; named extents may differ from call
        to call.

    Raises:
        StructureError: An output depends on a symbol that is not among the inputs.

    >>> import numpy as np, chainrule as cr
    >>> x = cr.symbol("x", ("n",))
    >>> f = cr.function([x], {"value": (x * x).sum(), "slope": cr.gradient((x * x).sum(), x)})
    >>> f(np.array([1.0, 2.0]))["slope"].tolist()
    [2.0, 4.0]
    """
    from chainrule import symbols

    fn, dims = symbols.as_function(inputs, outputs)
    return jit(fn, dims=dims)
