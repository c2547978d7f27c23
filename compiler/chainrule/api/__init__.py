"""The public verbs."""

from chainrule.api.jit import jit
from chainrule.api.stages import trace
from chainrule.api.transforms import grad, value_and_grad, vjp

__all__ = ["grad", "jit", "trace", "value_and_grad", "vjp"]
