"""Transformations: functions of functions.

Each returns a function of traced values that also runs on plain ones.  Called while another
function is traced, it is inlined, so transformations nest to any depth.
"""

from chainrule.transform.batching import vmap
from chainrule.transform.gradients import grad, value_and_grad, vjp
from chainrule.transform.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from chainrule.transform.tangents import jvp, linearize, stop_gradient
from chainrule.transform.transformed import Transformed, evaluated, has_traced

__all__ = [
    "Transformed",
    "evaluated",
    "grad",
    "has_traced",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]
