"""Special functions under SciPy's names, and the functions between layers.

Each keeps float32 float32 and has an adjoint of its own or a form that neither overflows nor
cancels.  Plain arrays are taken too: those are computed by the reference evaluator, so a function
means the same inside and outside of a trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import numpy as np

from chainrule.errors import absent, public_names
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import InGraph, first_traced
from chainrule.frontend.known import known
from chainrule.frontend.locate import locate
from chainrule.frontend.operands import (
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    graph_of,
    node_of,
    reshape,
    resolve,
    shape_of,
)
from chainrule.frontend.trace import trace
from chainrule.frontend.value import refuse
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.numpy.nodes import normalized_axes

__all__ = [
    "entr", "erf", "erfc", "expit", "expm1", "gelu", "log1p", "log_expit", "log_ndtr",
    "log_softmax", "logit", "logsumexp", "ndtr", "rel_entr", "relu", "silu", "sinc", "softmax",
    "softplus", "xlog1py", "xlogy",
]  # fmt: skip

P = ParamSpec("P")


def _function(implementation: Callable[P, Any]) -> Callable[P, Any]:
    """Let a function of traced values take plain ones."""

    @wraps(implementation)
    def of_arrays(*args: P.args, **kwargs: P.kwargs) -> Any:
        traced = first_traced((*args, *kwargs.values()))
        if traced is not None:
            locate(traced.graph)
            result = implementation(*args, **kwargs)
            return result.strong() if isinstance(result, InGraph) else result
        # Settings, such as an axis, are keywords or follow the arrays as None, tuples and ints.
        count = _ARRAYS.get(implementation.__name__, 1)
        arrays = [np.asarray(x) for x in args[:count]]
        rest = args[count:]
        made = trace(lambda *given: implementation(*given, *rest, **kwargs), *arrays)  # type: ignore[arg-type]
        return known(made.run(*arrays)[()])

    return of_arrays


_ARRAYS = {"xlogy": 2, "xlog1py": 2, "rel_entr": 2}
"How many arguments are arrays, where it is not one."


def _floats(*args: Any) -> list[Node]:
    """Bring operands into one graph, one floating-point dtype and one shape."""
    operands = [as_operand(x) for x in args]
    ufunc = np.sin if len(operands) == 1 else np.arctan2
    dtype = resolve(ufunc, operands)[-1]
    graph = graph_of(operands)
    shape = broadcast_shape([shape_of(x) for x in operands], operands)
    return [broadcast_to_shape(node_of(x, graph, dtype), shape) for x in operands]


def _call(name: str, *args: Any) -> Array:
    nodes = _floats(*args)
    return Array(nodes[0].graph.call(name, *nodes))


@_function
def erf(x: Any) -> Any:
    """Return the error function, 2/√π times the integral of exp(-t²) from 0 to x.

    >>> erf(np.array([0.0, 1.0])).round(4).tolist()
    [0.0, 0.8427]
    """
    return _call("erf", x)


@_function
def erfc(x: Any) -> Any:
    """Return 1 - erf(x) without cancellation for large x.

    >>> erfc(np.array([10.0])).tolist()
    [2.088487583762545e-45]
    """
    return _call("erfc", x)


@_function
def expit(x: Any) -> Any:
    """Return the logistic function 1 / (1 + exp(-x)).

    >>> expit(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """
    return _call("sigmoid", x)


@_function
def logit(p: Any) -> Any:
    """Return log(p / (1 - p)), the inverse of `expit`.

    >>> logit(np.array([0.5])).tolist()
    [0.0]
    """
    return _call("logit", p)


@_function
def log_expit(x: Any) -> Any:
    """Return log(expit(x)), finite where expit(x) rounds to 0.

    >>> log_expit(np.array([-1000.0])).tolist()
    [-1000.0]
    """
    (node,) = _floats(x)
    return Array(-node.graph.call("softplus", -node))


@_function
def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)), without overflow and without loss for negative x.

    >>> softplus(np.array([-1.0, 1000.0])).round(4).tolist()
    [0.3133, 1000.0]
    """
    return _call("softplus", x)


@_function
def relu(x: Any) -> Any:
    """Return max(x, 0); the slope at 0 is 0.

    >>> relu(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _call("relu", x)


@_function
def silu(x: Any) -> Any:
    """Return x / (1 + exp(-x)).

    >>> silu(np.array([0.0, 2.0])).round(4).tolist()
    [0.0, 1.7616]
    """
    return _call("silu", x)


@_function
def gelu(x: Any, approximate: bool = False) -> Any:
    """Return x Φ(x), where Φ is the normal distribution function; no cancellation at negative x.

    With `approximate`, x (1 + tanh u) / 2 with u = sqrt(2/π) (x + 0.044715 x³), as accurately.

    >>> gelu(np.array([-1.0, 2.0])).round(4).tolist()
    [-0.1587, 1.9545]
    """
    return _call("gelu_tanh" if approximate else "gelu", x)


@_function
def ndtr(x: Any) -> Any:
    """Return the distribution function of the standard normal distribution.

    >>> ndtr(np.array([0.0])).tolist()
    [0.5]
    """
    return _call("ndtr", x)


@_function
def xlogy(x: Any, y: Any) -> Any:
    """Return x log(y), and 0 where x is 0 and y is a number.

    >>> xlogy(np.array([0.0, 2.0]), np.array([0.0, 1.0])).tolist()
    [0.0, 0.0]
    """
    return _call("xlogy", x, y)


@_function
def xlog1py(x: Any, y: Any) -> Any:
    """Return x log(1 + y), and 0 where x is 0 and y is a number.

    >>> xlog1py(np.array([0.0]), np.array([-1.0])).tolist()
    [0.0]
    """
    return _call("xlog1py", x, y)


@_function
def entr(x: Any) -> Any:
    """Return -x log(x), 0 at 0 and -inf below.

    >>> entr(np.array([0.0, 1.0, -1.0])).tolist()
    [0.0, -0.0, -inf]
    """
    return _call("entr", x)


@_function
def rel_entr(x: Any, y: Any) -> Any:
    """Return x log(x / y): 0 where x is 0 and y >= 0, inf outside of x, y > 0.

    >>> rel_entr(np.array([0.0, 1.0]), np.array([0.0, 1.0])).tolist()
    [0.0, 0.0]
    """
    return _call("rel_entr", x, y)


@_function
def sinc(x: Any) -> Any:
    """Return sin(πx) / (πx), 1 at 0.

    >>> sinc(np.array([0.0, 0.5])).round(4).tolist()
    [1.0, 0.6366]
    """
    (node,) = _floats(x)
    return Array(node.graph.call("sinc", node, order=0))


@_function
def log1p(x: Any) -> Any:
    """Return log(1 + x) without loss for small x.

    >>> log1p(np.array([1e-20])).tolist()
    [1e-20]
    """
    return _call("log1p", x)


@_function
def expm1(x: Any) -> Any:
    """Return exp(x) - 1 without loss for small x.

    >>> expm1(np.array([1e-20])).tolist()
    [1e-20]
    """
    return _call("expm1", x)


@_function
def log_ndtr(x: Any) -> Any:
    """Return the logarithm of `ndtr`, finite down to where its square overflows.

    >>> log_ndtr(np.array([-50.0, 0.0])).round(6).tolist()
    [-1254.831361, -0.693147]
    """
    return _call("log_ndtr", x)


def _axes(node: Node, axis: Any) -> tuple[int, ...]:
    return normalized_axes(axis, node.type.rank)


@_function
def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """Return log(sum(exp(a))) along axes, all unless given, without overflow.

    Args:
        a: An array.
        axis: An axis, a tuple of axes, or None for all.
        b: Weights of the exponentials; their sum is taken to be positive.  A term of weight 0 is
            left out, whatever it is.
        keepdims: Keep the axes, with extent 1.
        return_sign: Not supported.

    >>> float(logsumexp(np.array([1000.0, 1000.0])).round(4))
    1000.6931
    """
    if return_sign:
        refuse(
            "logsumexp does not return a sign", None, "weights must add up to something positive"
        )
    x, *weights = _floats(a) if b is None else _floats(a, b)
    axes = _axes(x, axis)
    if not weights:
        result = x.graph.call("logsumexp", x, axes=axes) if axes else x
    else:
        (weight,) = weights
        kept = tuple(i for i in range(x.type.rank) if i not in axes)
        # A term of weight 0 counts for nothing, however large.
        counted = x.graph.select(weight.equals(0), -math.inf, x)
        top = x.graph.call("stop_gradient", x.graph.call("max", counted, axes=axes))
        safe = x.graph.select(x.graph.call("abs", top) < math.inf, top, 0.0)
        shifted = x - x.graph.broadcast(safe, x.shape, kept)
        scaled = x.graph.call("weighted_exp", weight, shifted)
        result = x.graph.call("log", x.graph.call("sum", scaled, axes=axes)) + safe
    if keepdims:
        extents: list[Extent] = [1 if i in axes else n for i, n in enumerate(x.shape)]
        result = reshape(result, tuple(extents))
    return Array(result)


@_function
def softmax(x: Any, axis: Any = None) -> Any:
    """Return exp(x) divided by its sum along axes, all unless given, without overflow.

    >>> softmax(np.array([0.0, 0.0, 1000.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    (node,) = _floats(x)
    axes = _axes(node, axis)
    return Array(node.graph.call("softmax", node, axes=axes))


@_function
def log_softmax(x: Any, axis: Any = None) -> Any:
    """Return the logarithm of `softmax`, finite where that rounds to 0.

    >>> log_softmax(np.array([0.0, 1000.0])).tolist()
    [-1000.0, 0.0]
    """
    (node,) = _floats(x)
    axes = _axes(node, axis)
    return Array(node.graph.call("log_softmax", node, axes=axes))


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
