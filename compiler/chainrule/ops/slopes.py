"""Derivatives that lose digits when they are made of other ops, each an op of its own.

1 - tanh(x)^2 is 0 from x = 20 on, the slope is not; exp(-x*x) multiplies the rounding error of the
square; the slope of gelu is a difference of tails.  Formulas show these as what they mean in other
ops (`written`), and derivatives of higher order are made of them.
"""

from __future__ import annotations

import math
from typing import Any, Final

from chainrule.ir.graph import Node
from chainrule.ir.op import Notation, Op, VectorMath
from chainrule.ops import _oracle_tails as oracle
from chainrule.ops._declare import REALS, binary, unary

__all__ = ["atan2_slope", "cbrt_slope", "erf_slope", "gelu_argument_slope", "gelu_slope",
           "gelu_tanh_weight", "log_ndtr_slope", "ndtr_slope", "sigmoid_slope", "silu_slope",
           "tan_slope", "tanh_slope"]  # fmt: skip


def _call(name: str, *args: Node) -> Node:
    return args[0].graph.call(name, *args)


def _slope_of(
    name: str, value: Any, slope: Any, ulp: tuple[float, float], *, flops: int = 20, **facts: Any
) -> Op:
    """Declare the derivative of the op called `name`.

    Operations of an op that shares another's work are those that come on top of it.
    """
    return unary(
        f"{name}_slope", value, slope, VectorMath(f"{name}_slope", *ulp), flops=flops,
        notation=Notation(f"{name}'({{0}})", rf"\operatorname{{{{{name}}}}}'\left({{0}}\right)"),
        **facts,
    )  # fmt: skip


tanh_slope: Final[Op] = _slope_of(
    "tanh", oracle.tanh_slope, lambda y, x: -2 * (_call("tanh", x) * y), (2.0, 3.0),
    sympy="1 - tanh(x)**2", domain=REALS, beside="tanh", flops=7,
    written=lambda x: 1 - _call("tanh", x) * _call("tanh", x),
)  # fmt: skip
tan_slope: Final[Op] = _slope_of(
    "tan", oracle.tan_slope, lambda y, x: 2 * (_call("tan", x) * y), (2.0, 2.5),
    sympy="1 + tan(x)**2", domain=(-1.2, 1.2),
    written=lambda x: 1 + _call("tan", x) * _call("tan", x),
)  # fmt: skip
sigmoid_slope: Final[Op] = _slope_of(
    "sigmoid", oracle.sigmoid_slope,
    lambda y, x: y * (1 - 2 * _call("sigmoid", x)), (2.0, 2.5),
    sympy="exp(-x)/(1 + exp(-x))**2", domain=REALS, beside="sigmoid", flops=15,
    written=lambda x: _call("sigmoid", x) * _call("sigmoid", -x),
)  # fmt: skip
erf_slope: Final[Op] = _slope_of(
    "erf", oracle.erf_slope, lambda y, x: -2 * (x * y), (1.5, 2.0),
    sympy="2*exp(-x**2)/sqrt(pi)", domain=REALS,
    written=lambda x: 2 / math.sqrt(math.pi) * _call("exp", -(x * x)),
)  # fmt: skip
ndtr_slope: Final[Op] = _slope_of(
    "ndtr", oracle.ndtr_slope, lambda y, x: -(x * y), (1.5, 2.0),
    sympy="exp(-x**2/2)/sqrt(2*pi)", domain=REALS,
    written=lambda x: 1 / math.sqrt(2 * math.pi) * _call("exp", -(x * x) / 2),
)  # fmt: skip
gelu_slope: Final[Op] = _slope_of(
    "gelu", oracle.gelu_slope, lambda y, x: (2 - x * x) * _call("ndtr_slope", x), (2.0, 2.5),
    sympy="erfc(-x/sqrt(2))/2 + x*exp(-x**2/2)/sqrt(2*pi)", domain=REALS, flops=40,
    beside="gelu",
    written=lambda x: _call("ndtr", x) + x * _call("ndtr_slope", x),
)  # fmt: skip


def _gelu_argument(x: Node) -> Node:
    return math.sqrt(2 / math.pi) * (x * (2 + 2 * 0.044715 * (x * x)))


def gelu_argument_slope(x: Node) -> Node:
    """Return the slope of what gelu by tanh takes the logistic function of."""
    return math.sqrt(2 / math.pi) * (2 + 6 * 0.044715 * (x * x))


def _silu_second(y: Node, x: Node) -> Node:
    s = _call("sigmoid", x)
    return _call("sigmoid_slope", x) * (2 + x * (1 - 2 * s))


silu_slope: Final[Op] = _slope_of(
    "silu", oracle.silu_slope, _silu_second, (2.0, 3.0),
    sympy="1/(1 + exp(-x)) + x*exp(-x)/(1 + exp(-x))**2", domain=REALS, flops=30, beside="silu",
    written=lambda x: _call("sigmoid", x) + x * _call("sigmoid_slope", x),
)  # fmt: skip
log_ndtr_slope: Final[Op] = _slope_of(
    "log_ndtr", oracle.log_ndtr_slope, lambda y, x: -(y * (x + y)), (1.0, 4.0),
    sympy="sqrt(2)*exp(-x**2/2)/sqrt(pi)/erfc(-x/sqrt(2))", domain=REALS, flops=80,
    written=lambda x: _call("ndtr_slope", x) / _call("ndtr", x),
)  # fmt: skip
gelu_tanh_weight: Final[Op] = unary(
    "gelu_tanh_weight", oracle.gelu_tanh_weight,
    lambda y, x: y * _call("gelu_tanh_weight", -x) * gelu_argument_slope(x),
    VectorMath("gelu_tanh_weight", 2.0, 2.5), domain=REALS, flops=40,
    sympy="1/(1 + exp(-2*sqrt(2/pi)*(x + 44715*x**3/1000000)))",
    notation=Notation("gelu_tanh_weight({0})", r"\operatorname{{gelu\_tanh\_weight}}({0})"),
    written=lambda x: _call("sigmoid", _gelu_argument(x)),
)  # fmt: skip
cbrt_slope: Final[Op] = _slope_of(
    "cbrt", oracle.cbrt_slope, lambda y, x: y / x * (-2 / 3), (1.0, 4.0),
    sympy="Piecewise((x**Rational(-2, 3)/3, x >= 0), ((-x)**Rational(-2, 3)/3, True))",
    domain=(0.1, 3.0), flops=30, beside="cbrt",
    written=lambda x: 1 / (3 * (_call("cbrt", x) * _call("cbrt", x))),
)  # fmt: skip


def _atan2_slope_slopes(s: Node, x: Node, y: Node) -> tuple[Node, Node]:
    # The real and the imaginary part of 1/z, and of its derivative, minus its square.
    t = _call("atan2_slope", y, x)
    return -2 * (s * t), (t - s) * (t + s)


atan2_slope: Final[Op] = binary(
    "atan2_slope", oracle.atan2_slope, _atan2_slope_slopes, VectorMath("atan2_slope", 1.0, 2.0),
    sympy="y/(x**2 + y**2)", flops=20,
    notation=Notation("atan2'({0}, {1})", r"\operatorname{{atan2}}'\left({0}, {1}\right)"),
    written=lambda x, y: y / (x * x + y * y),
)  # fmt: skip
