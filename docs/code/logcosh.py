"""A new op, declared as those in the table are."""

import math
from typing import Any

import numpy as np

from chainrule.frontend.array import Array
from chainrule.ir.op import Arithmetic, Notation
from chainrule.ops._declare import REALS, unary
from chainrule.ops.pointwise import abs_, exp, log1p, tanh


def logcosh_value(x: Any) -> Any:
    """Return log(cosh(x)) without overflow."""
    up = np.where(np.real(x) < 0, -x, x)
    return up + np.log1p(np.exp(-2 * up)) - math.log(2)


logcosh = unary(
    "logcosh",
    logcosh_value,
    lambda y, x: tanh(x),
    Arithmetic("expand"),
    expand=lambda x: abs_(x) + log1p(exp(abs_(x) * -2)) - math.log(2),
    sympy="log(cosh(x))",
    domain=REALS,
    flops=80,
    notation=Notation("logcosh({0})", r"\log\cosh({0})"),
)


def logcosh_array(x: Array) -> Array:
    """Apply the op to a traced value."""
    return Array(logcosh(x.node))
