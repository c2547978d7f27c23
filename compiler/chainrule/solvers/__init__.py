"""Solvers that are compiled with the functions they solve, and differentiate as solutions do.

`find_root`, `fixed_point` and `minimize` run as loops inside the compiled program.  Their
derivatives are those of the solution, by the implicit function theorem, so they nest with `grad`,
`vmap` and `jit`, and in one another.
"""

from chainrule.solvers.fixed import fixed_point
from chainrule.solvers.linear import conjugate_gradients, gmres, linear_solve
from chainrule.solvers.matrix_free import JacobianOperator
from chainrule.solvers.minimize import METHODS, minimize
from chainrule.solvers.record import MESSAGES, Minimum, Root
from chainrule.solvers.roots import find_root

__all__ = [
    "MESSAGES",
    "METHODS",
    "JacobianOperator",
    "Minimum",
    "Root",
    "conjugate_gradients",
    "find_root",
    "fixed_point",
    "gmres",
    "linear_solve",
    "minimize",
]
