"""The public verbs."""

from chainrule.api.jit import Jitted, jit
from chainrule.api.stages import CompiledFunction, LoweredFunction, TracedFunction, trace
from chainrule.api.transforms import (
    function,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
    vmap,
)

__all__ = [
    "CompiledFunction", "Jitted", "LoweredFunction", "TracedFunction", "function", "grad",
    "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linearize", "trace",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip
