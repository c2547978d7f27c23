"""Elementary functions as inline vector code: no calls to a library, no tables but one.

Each function takes floats or doubles, scalar or of any number of lanes, and computes a lane's bits
in the same way whatever its neighbours and their number.  NaN, infinities, zeros and subnormals
come out as NumPy has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Final, TypeAlias

from chainrule.emit.builder import Builder, Module, Value
from chainrule.emit.machine import Machine
from chainrule.emit.vector_math.error_function import erf, erf_slope, erfc
from chainrule.emit.vector_math.exponential import exp, expm1
from chainrule.emit.vector_math.hyperbolic import (
    acosh,
    asinh,
    atanh,
    cosh,
    sinh,
    tanh,
    tanh_slope,
)
from chainrule.emit.vector_math.inverse_trigonometric import acos, asin, atan, atan2
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log, log1p
from chainrule.emit.vector_math.logistic import (
    gelu_tanh,
    gelu_tanh_weight,
    logaddexp,
    sigmoid,
    sigmoid_slope,
    silu,
    silu_slope,
    softplus,
)
from chainrule.emit.vector_math.normal import (
    gelu,
    gelu_slope,
    log_ndtr,
    log_ndtr_slope,
    ndtr,
    ndtr_slope,
)
from chainrule.emit.vector_math.power import atan2_slope, hypot, pow_
from chainrule.emit.vector_math.quotients import log2, log10, log_quotient, logit
from chainrule.emit.vector_math.roots import cbrt, cbrt_slope
from chainrule.emit.vector_math.trigonometric import cos, cos_pi, sin, sin_pi, sinc, tan, tan_slope

__all__ = ["FUNCTIONS", "emit_function"]

Emitter: TypeAlias = Callable[..., Value]


def _on_values(function: Callable[..., Lanes]) -> Emitter:
    """Make a function of operands with operators one of the builder's values."""

    @wraps(function)
    def emit(b: Builder, machine: Machine, *arguments: Value) -> Value:
        return function(*(Lanes(b, machine, a) for a in arguments)).value

    return emit


FUNCTIONS: Final[Mapping[str, Emitter]] = {
    "exp": _on_values(exp),
    "expm1": _on_values(expm1),
    "log": _on_values(log),
    "log1p": _on_values(log1p),
    "sin": _on_values(sin),
    "cos": _on_values(cos),
    "tan": _on_values(tan),
    "sinh": _on_values(sinh),
    "cosh": _on_values(cosh),
    "tanh": _on_values(tanh),
    "asin": _on_values(asin),
    "acos": _on_values(acos),
    "atan": _on_values(atan),
    "asinh": _on_values(asinh),
    "acosh": _on_values(acosh),
    "atanh": _on_values(atanh),
    "erf": _on_values(erf),
    "erfc": _on_values(erfc),
    "sigmoid": _on_values(sigmoid),
    "softplus": _on_values(softplus),
    "atan2": _on_values(atan2),
    "pow": _on_values(pow_),
    "logaddexp": _on_values(logaddexp),
    "hypot": _on_values(hypot),
    "log2": _on_values(log2),
    "log10": _on_values(log10),
    "log_quotient": _on_values(log_quotient),
    "logit": _on_values(logit),
    "cbrt": _on_values(cbrt),
    "cbrt_slope": _on_values(cbrt_slope),
    "tan_slope": _on_values(tan_slope),
    "sin_pi": _on_values(sin_pi),
    "cos_pi": _on_values(cos_pi),
    "sinc_value": _on_values(sinc),
    "tanh_slope": _on_values(tanh_slope),
    "erf_slope": _on_values(erf_slope),
    "ndtr": _on_values(ndtr),
    "ndtr_slope": _on_values(ndtr_slope),
    "gelu": _on_values(gelu),
    "gelu_slope": _on_values(gelu_slope),
    "gelu_tanh": _on_values(gelu_tanh),
    "gelu_tanh_weight": _on_values(gelu_tanh_weight),
    "log_ndtr": _on_values(log_ndtr),
    "log_ndtr_slope": _on_values(log_ndtr_slope),
    "sigmoid_slope": _on_values(sigmoid_slope),
    "silu": _on_values(silu),
    "silu_slope": _on_values(silu_slope),
    "atan2_slope": _on_values(atan2_slope),
}


IN_LINE: Final = 256
"""Uses of these functions that a module holds in line; later ones are calls.

In line is up to a tenth faster to run; thousands are most of what compiling a program takes."""


def emit_function(name: str, b: Builder, machine: Machine, *args: Value) -> Value:
    """Write the function called `name`, applied to `args`, and return its result."""
    module = b.module
    module.in_line += 1
    if module.in_line <= IN_LINE:
        return FUNCTIONS[name](b, machine, *args)
    return b.call(_defined(name, module, machine, args), args[0].type, args)


def _defined(name: str, module: Module, machine: Machine, args: Sequence[Value]) -> str:
    """Define, once for each type, a function of the module; return its name."""
    full = f"vector_math.{name}.{args[0].type.mangled}"
    if not module.has_function(full):
        arguments = [(a.type, f"x{i}") for i, a in enumerate(args)]
        b, values = module.function(full, args[0].type, arguments, attrs="nounwind noinline")
        b.ret(FUNCTIONS[name](b, machine, *values))
        b.close()
    return full
