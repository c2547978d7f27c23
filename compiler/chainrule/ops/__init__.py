"""The op table: one declaration an op.

>>> from chainrule.ops import OPS
>>> OPS["tanh"].sympy
'tanh(x)'
"""

from chainrule.ops import (
    cofactors,
    contract,
    control,
    cumulate,
    index,
    linalg,
    pointwise,
    reduce,
    slopes,
    source,
    special,
    structure,
    systems,
    update,
    writing,
)
from chainrule.ops._declare import OPS

__all__ = ["OPS", "cofactors", "contract", "control", "cumulate", "index", "linalg", "pointwise",
           "reduce", "slopes", "source", "special", "structure", "systems", "update",
           "writing"]  # fmt: skip
