"""Transformations: functions of functions.

Each returns a function of traced values that also runs on plain ones.  Called while another
function is traced, it is inlined, so transformations nest to any depth.
"""

from typing import TYPE_CHECKING, NoReturn

from chainrule.errors import absent, public_names
from chainrule.transform.batching import vmap
from chainrule.transform.branches import cond, switch
from chainrule.transform.callbacks import callback
from chainrule.transform.checkpointing import checkpoint
from chainrule.transform.custom import custom_jvp, custom_vjp
from chainrule.transform.gradients import grad, value_and_grad, vjp
from chainrule.transform.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from chainrule.transform.loops import fori_loop, scan, while_loop
from chainrule.transform.tangents import jvp, linearize, stop_gradient
from chainrule.transform.transformed import Transformed, evaluated, has_traced

__all__ = [
    "Transformed",
    "callback",
    "checkpoint",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "evaluated",
    "fori_loop",
    "grad",
    "has_traced",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "scan",
    "stop_gradient",
    "switch",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
