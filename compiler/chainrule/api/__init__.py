"""The public verbs that compile: `jit` and the transformations; `stages` shows the way there."""

from chainrule.api.jit import Jitted, jit
from chainrule.api.sparse import sparse_hessian, sparse_jacobian
from chainrule.api.transforms import (
    cond,
    fori_loop,
    function,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    scan,
    switch,
    value_and_grad,
    vjp,
    vmap,
    while_loop,
)

__all__ = [
    "Jitted", "cond", "fori_loop", "function", "grad", "hessian", "hvp", "jacfwd", "jacobian",
    "jacrev", "jit", "jvp", "linearize", "scan", "sparse_hessian", "sparse_jacobian", "switch",
    "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip
