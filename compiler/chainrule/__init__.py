"""chainrule: a function, its value and its derivatives as one native function.

>>> import numpy as np
>>> import chainrule as cr
>>> import chainrule.numpy as cnp
>>> slope = cr.grad(lambda x: cnp.sum(cnp.sin(x) ** 2))
>>> slope(np.array([0.0, np.pi / 4])).round(6).tolist()
[0.0, 1.0]
"""

from typing import TYPE_CHECKING, Any, Final

# First: in a sub-interpreter all the rest may crash.
from chainrule_runtime import interpreters as _interpreters  # noqa: F401  # isort: skip

from chainrule import numpy, special
from chainrule.api import (
    Jitted,
    cond,
    fori_loop,
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
    scan,
    sparse_hessian,
    sparse_jacobian,
    switch,
    value_and_grad,
    vjp,
    vmap,
    while_loop,
)
from chainrule.api.loading import load
from chainrule.errors import (
    AliasError,
    CacheError,
    ChainruleError,
    CompileError,
    DTypeError,
    ExportError,
    NotDifferentiableError,
    OutOfMemoryError,
    OutOfRangeError,
    RecursionLimitError,
    ShapeError,
    StructureError,
    UnsupportedError,
    absent,
    public_names,
)
from chainrule.frontend.pytree import (
    register_pytree_node,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from chainrule.frontend.trace import spec
from chainrule.transform import callback, checkpoint, custom_jvp, custom_vjp, stop_gradient

from chainrule import nn, optim, random  # isort: skip  (written with the names above)

if TYPE_CHECKING:
    from chainrule import datasets, solvers
    from chainrule.api.solvers import find_root, fixed_point, minimize
    from chainrule.api.stages import CompiledFunction, LoweredFunction, TracedFunction, trace
    from chainrule.inspect import explain
    from chainrule.package import export
    from chainrule.scalar import scalar_op
    from chainrule.symbols import from_sympy, gradient, simplify, substitute, symbol

__version__ = "0.1.0"

__all__ = [
    "AliasError", "CacheError", "ChainruleError", "CompileError", "CompiledFunction", "DTypeError",
    "ExportError", "Jitted", "LoweredFunction", "NotDifferentiableError", "OutOfMemoryError",
    "OutOfRangeError", "RecursionLimitError", "ShapeError", "StructureError", "TracedFunction",
    "UnsupportedError",
    "callback", "checkpoint", "cond", "custom_jvp", "custom_vjp", "datasets", "explain", "export",
    "find_root", "fixed_point", "fori_loop", "from_sympy", "function", "grad", "gradient",
    "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linearize", "minimize", "nn",
    "numpy", "optim", "random", "register_pytree_node", "scalar_op", "scan", "simplify", "solvers",
    "sparse_hessian", "sparse_jacobian", "spec", "special", "stop_gradient", "substitute", "switch",
    "symbol", "trace", "tree_flatten", "tree_leaves", "tree_map", "tree_unflatten",
    "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip

_LATER: Final = {
    "chainrule.api.solvers": ("find_root", "fixed_point", "minimize"),
    "chainrule.api.stages": ("CompiledFunction", "LoweredFunction", "TracedFunction", "trace"),
    "chainrule.inspect": ("explain",),
    "chainrule.package": ("export",),
    "chainrule.scalar": ("scalar_op",),
    "chainrule.symbols": ("from_sympy", "gradient", "simplify", "substitute", "symbol"),
}
"Names that are loaded when they are first asked for, so that importing stays quick."


def __getattr__(name: str) -> Any:
    if name in ("datasets", "solvers"):
        return load(f"chainrule.{name}")
    for module, names in _LATER.items():
        if name in names:
            return getattr(load(module), name)
    raise absent(__name__, name)


def __dir__() -> list[str]:
    return public_names(__name__)
