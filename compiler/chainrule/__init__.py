"""chainrule: a function, its value and its derivatives as one native function.

>>> import numpy as np
>>> import chainrule as cr
>>> import chainrule.numpy as cnp
>>> slope = cr.grad(lambda x: cnp.sum(cnp.sin(x) ** 2))
>>> slope(np.array([0.0, np.pi / 4])).round(6).tolist()
[0.0, 1.0]
"""

from chainrule import numpy, special
from chainrule.api import (
    CompiledFunction,
    Jitted,
    LoweredFunction,
    TracedFunction,
    function,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    trace,
    value_and_grad,
    vjp,
    vmap,
)
from chainrule.errors import (
    AliasError,
    CacheError,
    ChainruleError,
    CompileError,
    DTypeError,
    ExportError,
    NotDifferentiableError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from chainrule.frontend.pytree import (
    register_pytree_node,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from chainrule.frontend.trace import spec
from chainrule.inspect import explain
from chainrule.symbols import from_sympy, gradient, simplify, substitute, symbol
from chainrule.transform import stop_gradient
from chainrule import nn, optim, random  # isort: skip  (written with the names above)

__version__ = "0.1.0"

__all__ = [
    "AliasError", "CacheError", "ChainruleError", "CompileError", "CompiledFunction", "DTypeError",
    "ExportError", "Jitted", "LoweredFunction", "NotDifferentiableError", "ShapeError",
    "StructureError", "TracedFunction", "UnsupportedError", "explain", "from_sympy", "function",
    "grad", "gradient", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp",
    "linearize", "nn", "numpy", "optim", "random", "register_pytree_node", "simplify", "spec",
    "special", "stop_gradient", "substitute", "symbol", "trace", "tree_flatten", "tree_leaves",
    "tree_map", "tree_unflatten", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
