"""The public verbs that compile: `jit` and the transformations; `stages` shows the way there."""

from chainrule.api.jit import Jitted, jit
from chainrule.api.sparse import sparse_hessian, sparse_jacobian
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
    "Jitted", "function", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp",
    "linearize", "sparse_hessian", "sparse_jacobian", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
