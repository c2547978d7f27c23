"""Solvers that are compiled with the functions they solve, and differentiate as solutions do.

`find_root`, `fixed_point` and `minimize` run as loops inside the compiled program.  Their
derivatives are those of the solution, by the implicit function theorem, so they nest with `grad`,
`vmap` and `jit`, and in one another.
"""

from typing import TYPE_CHECKING, NoReturn

from chainrule.errors import absent, public_names
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


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
