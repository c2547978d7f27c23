"""Special functions with tails of their own, logarithms to other bases, roots, multiples of pi."""

from __future__ import annotations

import math
from typing import Any, Final

from chainrule.ir.graph import Node
from chainrule.ir.op import Arithmetic, Notation, Op, VectorMath
from chainrule.ops import _oracle_tails as oracle
from chainrule.ops._declare import REALS, binary, unary
from chainrule.ops.pointwise import sinc
from chainrule.ops.slopes import (
    cbrt_slope,
    gelu_argument_slope,
    gelu_slope,
    gelu_tanh_weight,
    log_ndtr_slope,
    ndtr_slope,
    silu_slope,
)

__all__ = ["cbrt", "cos_pi", "entr", "gelu", "gelu_tanh", "log2", "log10", "log_ndtr",
           "log_quotient", "logit", "ndtr", "rel_entr", "silu", "sin_pi", "sinc_value"]  # fmt: skip

POSITIVE: Final = (0.1, 3.0)


def _call(name: str, *args: Node) -> Node:
    return args[0].graph.call(name, *args)


def _where(condition: Node, a: Node | float, b: Node | float) -> Node:
    return condition.graph.select(condition, a, b)


def _function(
    name: str, value: Any, slope: Any, ulp: tuple[float, float], *, flops: int = 30,
    latex: str = "", text: str = "", **facts: Any,
) -> Op:  # fmt: skip
    """Declare a function of our vector mathematics that is written `name(x)`."""
    word = name.replace("_", r"\_")
    latex = latex or rf"\operatorname{{{{{word}}}}}\left({{0}}\right)"
    return unary(
        name, value, slope, VectorMath(name, *ulp), flops=flops,
        notation=Notation(text or f"{name}({{0}})", latex), **facts,
    )  # fmt: skip


log2: Final[Op] = _function(
    "log2", oracle.log2, lambda y, x: (1 / math.log(2)) / x, (1.0, 1.0), sympy="log(x)/log(2)",
    domain=POSITIVE, latex=r"\log_2\left({0}\right)",
)  # fmt: skip
log10: Final[Op] = _function(
    "log10", oracle.log10, lambda y, x: (1 / math.log(10)) / x, (1.0, 1.0),
    sympy="log(x)/log(10)", domain=POSITIVE, latex=r"\log_{{10}}\left({0}\right)",
)  # fmt: skip
cbrt: Final[Op] = _function(
    "cbrt", oracle.cbrt, lambda y, x: cbrt_slope(x), (1.0, 1.0),
    sympy="Piecewise((x**Rational(1, 3), x >= 0), (-(-x)**Rational(1, 3), True))",
    domain=POSITIVE, latex=r"\sqrt[3]{{{0}}}",
)  # fmt: skip
log_quotient: Final[Op] = binary(
    "log_quotient", oracle.log_quotient, lambda y, a, b: (1 / a, -1 / b),
    VectorMath("log_quotient", 1.0, 2.0), sympy="log(x/y)", domain=POSITIVE, flops=30,
    notation=Notation("log({0} / {1})", r"\log\frac{{{0}}}{{{1}}}"),
    written=lambda x, y: _call("log", x / y),
)  # fmt: skip
logit: Final[Op] = _function(
    "logit", oracle.logit, lambda y, p: 1 / (p * (1 - p)), (1.0, 2.0), sympy="log(x/(1 - x))",
    domain=(0.1, 0.9),
)  # fmt: skip
ndtr: Final[Op] = _function(
    "ndtr", oracle.ndtr, lambda y, x: ndtr_slope(x), (2.0, 2.5),
    sympy="erfc(-x/sqrt(2))/2", domain=REALS, flops=40, latex=r"\Phi\left({0}\right)",
)  # fmt: skip
log_ndtr: Final[Op] = _function(
    "log_ndtr", oracle.log_ndtr, lambda y, x: log_ndtr_slope(x), (1.0, 3.0),
    sympy="log(erfc(-x/sqrt(2))/2)", domain=REALS, flops=80,
)  # fmt: skip
gelu: Final[Op] = _function(
    "gelu", oracle.gelu, lambda y, x: gelu_slope(x), (2.0, 2.5),
    sympy="x*erfc(-x/sqrt(2))/2", domain=REALS, flops=40,
)  # fmt: skip


def _gelu_tanh_slope(y: Node, x: Node) -> Node:
    # Where it is constant, infinite factors are kept from what is 0.
    # Not by clip, whose slope at NaN is 0.
    bounded = _where(x > 30, x.graph.full_like(x, 30), x)
    bounded = _where(x < -30, x.graph.full_like(x, -30), bounded)
    weight = gelu_tanh_weight(bounded)
    rest = weight * gelu_tanh_weight(-bounded) * gelu_argument_slope(bounded)
    return weight + bounded * rest


gelu_tanh: Final[Op] = _function(
    "gelu_tanh", oracle.gelu_tanh, _gelu_tanh_slope, (2.0, 2.5), domain=REALS, flops=40,
    sympy="x/(1 + exp(-2*sqrt(2/pi)*(x + 44715*x**3/1000000)))",
    written=lambda x: x * gelu_tanh_weight(x),
)  # fmt: skip
silu: Final[Op] = _function(
    "silu", oracle.silu, lambda y, x: silu_slope(x), (1.5, 2.0), sympy="x/(1 + exp(-x))",
    domain=REALS,
)  # fmt: skip
sin_pi: Final[Op] = _function(
    "sin_pi", oracle.sin_pi, lambda y, x: math.pi * cos_pi(x), (1.1, 1.1), sympy="sin(pi*x)",
    domain=REALS, latex=r"\sin\left(\pi {0}\right)", text="sin(π {0})",
    written=lambda x: _call("sin", math.pi * x),
)  # fmt: skip
cos_pi: Final[Op] = _function(
    "cos_pi", oracle.cos_pi, lambda y, x: -math.pi * sin_pi(x), (1.1, 1.1), sympy="cos(pi*x)",
    domain=REALS, latex=r"\cos\left(\pi {0}\right)", text="cos(π {0})",
    written=lambda x: _call("cos", math.pi * x),
)  # fmt: skip
sinc_value: Final[Op] = _function(
    "sinc_value", oracle.sinc_value, lambda y, x: sinc(x, order=1), (1.5, 1.5),
    sympy="sin(pi*x)/(pi*x)", domain=REALS, written=lambda x: sinc(x, order=0),
)  # fmt: skip


def _expand_entr(x: Node) -> Node:
    return _where(x < 0, -math.inf, 0.0 - _call("xlogy", x, x))


entr: Final[Op] = unary(
    "entr", oracle.entr, lambda y, x: _where(x < 0, 0.0, -(_call("log", x) + 1)),
    Arithmetic("expand"), sympy="-x*log(x)", domain=POSITIVE, flops=20, expand=_expand_entr,
    notation=Notation("entr({0})", r"\operatorname{{entr}}\left({0}\right)"),
)  # fmt: skip


def _inside(a: Node, b: Node) -> tuple[Node, Node, Node]:
    """Return where a and b are positive, and both with 1 elsewhere."""
    inside = (a > 0) & (b > 0)
    return inside, _where(inside, a, 1.0), _where(inside, b, 1.0)


def _expand_rel_entr(a: Node, b: Node) -> Node:
    inside, safe_a, safe_b = _inside(a, b)
    value = safe_a * log_quotient(safe_a, safe_b)
    outside = _where(a.equals(0) & (b >= 0), a.graph.full_like(a, 0.0), math.inf)
    missing = _where(a.equals(a) & b.equals(b), outside, math.nan)
    return _where(inside, value, missing)


def _rel_entr_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    inside, safe_a, safe_b = _inside(a, b)
    # As a falls to 0 the slope falls without bound.
    end = _where(a.equals(0) & (b > 0), a.graph.full_like(a, -math.inf), 0.0)
    return _where(inside, log_quotient(safe_a, safe_b) + 1, end), _where(inside, -(a / b), 0.0)


rel_entr: Final[Op] = binary(
    "rel_entr", oracle.rel_entr, _rel_entr_slopes, Arithmetic("expand"), sympy="x*log(x/y)",
    domain=POSITIVE, flops=40, expand=_expand_rel_entr,
    notation=Notation("rel_entr({0}, {1})", r"\operatorname{{rel\_entr}}({0}, {1})"),
)  # fmt: skip
