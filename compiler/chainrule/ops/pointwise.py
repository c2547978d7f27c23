"""Pointwise ops, one declaration each: meaning, slope, machine code, notation.

In every slope `y` is the op's own result, so a slope that reuses it costs nothing extra.  Values at
points where a derivative does not exist follow docs/numerics.md: ties of max and min split evenly,
relu'(0) = abs'(0) = 0, clip counts its ends as inside.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from chainrule.errors import ShapeError, explain
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Arithmetic, Kind, Notation, Op, VectorMath
from chainrule.ir.types import BOOL, Array, DType, Type
from chainrule.ops import _oracle as oracle
from chainrule.ops._declare import REALS, binary, declare, same_type, ternary, unary
from chainrule.ops.slopes import atan2_slope, erf_slope, sigmoid_slope, tan_slope, tanh_slope

POSITIVE: Final = (0.1, 3.0)
INSIDE: Final = (-0.9, 0.9)
_FAR: Final = 2.0**40
"From here on 1 beside the square does not show, in any dtype."
_FAR_EXPONENT: Final = 60.0
"From here on 1 beside its exponential does not show, in any dtype."


def _where(condition: Node, a: Node | float, b: Node | float) -> Node:
    return condition.graph.select(condition, a, b)


# Arithmetic

add: Final[Op] = binary(
    "add", np.add, lambda y, a, b: (1, 1), Arithmetic("add"), takes="number", commutative=True,
    sympy="x + y", domain=REALS, notation=Notation("{0} + {1}", "{0} + {1}", 1),
)  # fmt: skip
sub: Final[Op] = binary(
    "sub", np.subtract, lambda y, a, b: (1, -1), Arithmetic("sub"), takes="number",
    sympy="x - y", domain=REALS, notation=Notation("{0} - {1}", "{0} - {1}", 1),
)  # fmt: skip
mul: Final[Op] = binary(
    "mul", np.multiply, lambda y, a, b: (b, a), Arithmetic("mul"), takes="number",
    commutative=True, sympy="x*y", domain=REALS,
    notation=Notation("{0} * {1}", r"{0} \odot {1}", 2),
)  # fmt: skip
div: Final[Op] = binary(
    "div", np.divide, lambda y, a, b: (1 / b, -(y / b)), Arithmetic("div"),
    sympy="x/y", notation=Notation("{0} / {1}", r"\frac{{{0}}}{{{1}}}", 2),
)  # fmt: skip
neg: Final[Op] = unary(
    "neg", np.negative, lambda y, x: -1, Arithmetic("neg"), takes="number",
    sympy="-x", domain=REALS, notation=Notation("-{0}", "-{0}", 2),
)  # fmt: skip


def _pow_slopes(y: Node, a: Node, b: Node) -> tuple[Node | None, Node | None]:
    exponent = constant_value(b)
    if exponent is not None:
        # A mask that never holds would follow the cotangent everywhere.
        return (b * pow_(a, b - 1) if exponent else None), None
    # The guards keep 0 * inf out: x**0 is constant, and 0**b is constant for b >= 0.
    flat = (a.equals(0)) & (b >= 0)
    return (
        _where(b.equals(0), 0.0, b * pow_(a, b - 1)),
        _where(flat, 0.0, y * log(_where(flat, 1.0, a))),
    )


pow_: Final[Op] = binary(
    "pow", oracle.power, _pow_slopes, VectorMath("pow", 2.5, 3.0), takes="number",
    sympy="x**y", domain=POSITIVE, flops=40, notation=Notation("{0}^{1}", "{{{0}}}^{{{1}}}", 3),
)  # fmt: skip
remainder: Final[Op] = binary(
    "remainder", oracle.remainder, lambda y, a, b: (1, -floor(a / b)), Arithmetic("remainder"),
    takes="number", sympy="x - y*floor(x/y)", flops=4,
    notation=Notation("{0} mod {1}", r"{0} \bmod {1}", 2),
)  # fmt: skip
fmod: Final[Op] = binary(
    "fmod", oracle.fmod, lambda y, a, b: (1, -trunc(a / b)), Arithmetic("fmod"),
    takes="number", sympy="x - y*sign(x/y)*floor(Abs(x/y))", flops=4,
)  # fmt: skip
floor_divide: Final[Op] = binary(
    "floor_divide", oracle.floor_divide, None, Arithmetic("floor_divide"), takes="number",
    sympy="floor(x/y)", flops=2,
)  # fmt: skip
maximum: Final[Op] = binary(
    "maximum", np.maximum,
    lambda y, a, b: (_tie(a >= b, a, b), _tie(b >= a, a, b)), Arithmetic("maximum"),
    takes="any", sympy="Max(x, y)", domain=REALS,
    notation=Notation("max({0}, {1})", r"\max({0}, {1})"),
)  # fmt: skip
minimum: Final[Op] = binary(
    "minimum", np.minimum,
    lambda y, a, b: (_tie(a <= b, a, b), _tie(b <= a, a, b)), Arithmetic("minimum"),
    takes="any", sympy="Min(x, y)", domain=REALS,
    notation=Notation("min({0}, {1})", r"\min({0}, {1})"),
)  # fmt: skip


def _tie(taken: Node, a: Node, b: Node) -> Node:
    """Return 1 for the winner, one half each for a tie, 0 (as a mask) for the loser."""
    share = _where(a.equals(b), a.graph.full_like(a, 0.5), a.graph.full_like(a, 1))
    return _where(taken, share, 0)


clip: Final[Op] = ternary(
    "clip", np.clip,
    lambda y, x, low, high: (
        _where((low <= x) & (x <= high), x.graph.full_like(x, 1), 0.0),
        # Where the ends are crossed, the result is `high`, as NumPy has it.
        _where((x < low) & (low <= high), x.graph.full_like(x, 1), 0.0),
        _where((x > high) | (low > high), x.graph.full_like(x, 1), 0.0),
    ),
    Arithmetic("clip"), takes="number", sympy="Min(Max(x, y), z)", flops=2,
    notation=Notation("clip({0}, {1}, {2})", r"\operatorname{{clip}}({0}, {1}, {2})"),
)  # fmt: skip
relu: Final[Op] = unary(
    "relu", oracle.relu, lambda y, x: _where(y > 0, x.graph.full_like(x, 1), 0.0),
    Arithmetic("relu"), sympy="Max(x, 0)", domain=REALS,
    notation=Notation("relu({0})", r"\operatorname{{relu}}({0})"),
)  # fmt: skip
abs_: Final[Op] = unary(
    "abs", np.abs, lambda y, x: sign(x), Arithmetic("abs"), takes="number", sympy="Abs(x)",
    domain=REALS, notation=Notation("|{0}|", r"\left|{0}\right|"),
)  # fmt: skip
sign: Final[Op] = unary(
    "sign", np.sign, None, Arithmetic("sign"), takes="number", sympy="sign(x)", domain=REALS,
    notation=Notation("sign({0})", r"\operatorname{{sign}}({0})"),
)  # fmt: skip
floor: Final[Op] = unary(
    "floor", np.floor, None, Arithmetic("floor"), sympy="floor(x)",
    notation=Notation("floor({0})", r"\lfloor {0} \rfloor"),
)  # fmt: skip
ceil: Final[Op] = unary(
    "ceil", np.ceil, None, Arithmetic("ceil"), sympy="ceiling(x)",
    notation=Notation("ceil({0})", r"\lceil {0} \rceil"),
)  # fmt: skip
trunc: Final[Op] = unary(
    "trunc", np.trunc, None, Arithmetic("trunc"), sympy="sign(x)*floor(Abs(x))",
)  # fmt: skip
rint: Final[Op] = unary(
    "rint", np.rint, None, Arithmetic("rint"),
    # Halves go to the even neighbour.
    sympy="Piecewise((2*floor(x/2 + 1/4), Eq(x - floor(x), 1/2)), (floor(x + 1/2), True))",
)  # fmt: skip
stop_gradient: Final[Op] = unary(
    "stop_gradient", np.positive, None, Arithmetic("copy"), takes="number", flops=0,
    notation=Notation("stop_gradient({0})", r"\operatorname{{stop}}({0})"),
)  # fmt: skip

# Powers, exponentials and logarithms

sqrt: Final[Op] = unary(
    "sqrt", np.sqrt, lambda y, x: 0.5 / y, Arithmetic("sqrt"), sympy="sqrt(x)", domain=POSITIVE,
    flops=4, notation=Notation("sqrt({0})", r"\sqrt{{{0}}}"),
)  # fmt: skip
rsqrt: Final[Op] = unary(
    "rsqrt", oracle.rsqrt, lambda y, x: -0.5 * y * y * y, Arithmetic("rsqrt"), sympy="1/sqrt(x)",
    domain=POSITIVE, flops=8,
)  # fmt: skip


def _function(
    name: str,
    value: Any,
    slope: Any,
    ulp: tuple[float, float],
    *,
    flops: int = 15,
    latex: str = "",
    **facts: Any,
) -> Op:
    """Declare a function of our vector mathematics that is written `name(x)`."""  # fmt: skip
    latex = latex or rf"\operatorname{{{{{name}}}}}"
    return unary(
        name, value, slope, VectorMath(name, *ulp), flops=flops,
        notation=Notation(f"{name}({{0}})", rf"{latex}\left({{0}}\right)"), **facts,
    )  # fmt: skip


exp: Final[Op] = _function(
    "exp", np.exp, lambda y, x: y, (1.1, 1.1), sympy="exp(x)", domain=REALS, latex=r"\exp",
)  # fmt: skip
expm1: Final[Op] = _function(
    "expm1", np.expm1, lambda y, x: exp(x), (1.5, 2.0), sympy="exp(x) - 1", domain=REALS,
)  # fmt: skip
log: Final[Op] = _function(
    "log", np.log, lambda y, x: 1 / x, (1.1, 1.1), sympy="log(x)", domain=POSITIVE, latex=r"\log",
)  # fmt: skip
log1p: Final[Op] = _function(
    "log1p", np.log1p, lambda y, x: 1 / (1 + x), (1.5, 2.0), sympy="log(1 + x)", domain=(-0.5, 2.0),
)  # fmt: skip


def _log1mexp_slope(y: Node, x: Node) -> Node:
    # Far out exp(-x) would be infinite where its inverse is still a number.
    far = x < -_FAR_EXPONENT
    return -_where(far, exp(x), 1 / expm1(-_where(far, -1.0, x)))


log1mexp: Final[Op] = unary(
    "log1mexp", oracle.log1mexp, _log1mexp_slope, Arithmetic("expand"),
    sympy="log(1 - exp(x))", domain=(-2.5, -0.1), flops=40, expand=lambda x: _where(
        x > -math.log(2), log(-expm1(x)), log1p(-exp(x))
    ), notation=Notation("log1mexp({0})", r"\operatorname{{log1mexp}}({0})"),
)  # fmt: skip
sigmoid: Final[Op] = _function(
    "sigmoid", oracle.sigmoid, lambda y, x: sigmoid_slope(x), (2.5, 2.5), sympy="1/(1 + exp(-x))",
    domain=REALS, latex=r"\sigma",
)  # fmt: skip
softplus: Final[Op] = _function(
    "softplus", oracle.softplus, lambda y, x: sigmoid(x), (2.0, 2.0), sympy="log(1 + exp(x))",
    domain=REALS,
)  # fmt: skip

# Trigonometric and hyperbolic functions

sin: Final[Op] = _function(
    "sin", np.sin, lambda y, x: cos(x), (1.1, 1.1), sympy="sin(x)", domain=REALS, latex=r"\sin",
)  # fmt: skip
cos: Final[Op] = _function(
    "cos", np.cos, lambda y, x: -sin(x), (1.1, 1.1), sympy="cos(x)", domain=REALS, latex=r"\cos",
)  # fmt: skip
tan: Final[Op] = _function(
    "tan", np.tan, lambda y, x: tan_slope(x), (2.0, 3.0), sympy="tan(x)", domain=(-1.2, 1.2),
    latex=r"\tan",
)  # fmt: skip
# One op, because the slope of the product of its factors is infinite less infinite at the ends of
# the inverse functions' domains; and made of factors, because 1 - x*x has lost digits there.
one_minus_square: Final[Op] = unary(
    "one_minus_square", oracle.one_minus_square, lambda y, x: x * -2, Arithmetic("expand"),
    sympy="1 - x**2", expand=lambda x: (1 - x) * (1 + x), domain=REALS, flops=3,
    notation=Notation("1 - {0}^2", "1 - {{{0}}}^2", 1),
)  # fmt: skip
asin: Final[Op] = _function(
    "asin", np.arcsin, lambda y, x: 1 / sqrt(one_minus_square(x)), (2.5, 3.0), sympy="asin(x)",
    domain=INSIDE, latex=r"\arcsin",
)  # fmt: skip
acos: Final[Op] = _function(
    "acos", np.arccos, lambda y, x: -1 / sqrt(one_minus_square(x)), (2.5, 3.0), sympy="acos(x)",
    domain=INSIDE, latex=r"\arccos",
)  # fmt: skip


def _atan_slope(y: Node, x: Node) -> Node:
    # Far out the square overflows where its inverse is still a number.
    inverse = 1 / x
    return _where(abs_(x) > _FAR, inverse * inverse, 1 / (1 + x * x))


def _acosh_slope(y: Node, x: Node) -> Node:
    return 1 / _where(x > _FAR, x, sqrt((x - 1) * (x + 1)))


atan: Final[Op] = _function(
    "atan", np.arctan, _atan_slope, (2.5, 3.0), sympy="atan(x)", domain=REALS,
    latex=r"\arctan",
)  # fmt: skip
sinh: Final[Op] = _function(
    "sinh", np.sinh, lambda y, x: cosh(x), (2.5, 3.0), sympy="sinh(x)", domain=REALS,
    latex=r"\sinh",
)  # fmt: skip
cosh: Final[Op] = _function(
    "cosh", np.cosh, lambda y, x: sinh(x), (2.5, 3.0), sympy="cosh(x)", domain=REALS,
    latex=r"\cosh",
)  # fmt: skip
tanh: Final[Op] = _function(
    "tanh", np.tanh, lambda y, x: tanh_slope(x), (1.1, 2.0), sympy="tanh(x)", domain=REALS,
    latex=r"\tanh",
)  # fmt: skip
asinh: Final[Op] = _function(
    "asinh", np.arcsinh, lambda y, x: 1 / hypot(x, 1), (2.5, 3.0), sympy="asinh(x)", domain=REALS,
)  # fmt: skip
acosh: Final[Op] = _function(
    "acosh", np.arccosh, _acosh_slope, (2.5, 3.0), sympy="acosh(x)",
    domain=(1.2, 3.0),
)  # fmt: skip
atanh: Final[Op] = _function(
    "atanh", np.arctanh, lambda y, x: 1 / one_minus_square(x), (2.5, 3.0), sympy="atanh(x)",
    domain=INSIDE,
)  # fmt: skip
erf: Final[Op] = _function(
    "erf", oracle.erf, lambda y, x: erf_slope(x), (1.1, 2.0), sympy="erf(x)",
    domain=REALS,
)  # fmt: skip
erfc: Final[Op] = _function(
    "erfc", oracle.erfc, lambda y, x: -erf_slope(x), (2.0, 3.0), sympy="erfc(x)",
    domain=REALS,
)  # fmt: skip

# Functions of two arguments whose expansion would lose a value or a derivative


def _hypot_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    # At the origin the subgradient of least norm is 0.
    return _where(y.equals(0), 0.0, a / y), _where(y.equals(0), 0.0, b / y)


hypot: Final[Op] = binary(
    "hypot", np.hypot, _hypot_slopes, VectorMath("hypot", 2.5, 3.0), sympy="sqrt(x**2 + y**2)",
    flops=20, commutative=True,
    notation=Notation("hypot({0}, {1})", r"\operatorname{{hypot}}({0}, {1})"),
)  # fmt: skip


def _atan2_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    # At the origin, where the angle jumps, the subgradient of least norm is 0.
    origin = a.equals(0) & b.equals(0)
    return _where(origin, 0.0, atan2_slope(a, b)), _where(origin, 0.0, -atan2_slope(b, a))


atan2: Final[Op] = binary(
    "atan2", np.arctan2, _atan2_slopes, VectorMath("atan2", 2.5, 3.0), sympy="atan2(x, y)",
    flops=25, notation=Notation("atan2({0}, {1})", r"\operatorname{{atan2}}({0}, {1})"),
)  # fmt: skip


def _logaddexp_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    empty = y.equals(-math.inf)
    return _where(empty, 0.0, sigmoid(a - b)), _where(empty, 0.0, sigmoid(b - a))


logaddexp: Final[Op] = binary(
    "logaddexp", np.logaddexp, _logaddexp_slopes, VectorMath("logaddexp", 2.5, 3.0),
    sympy="log(exp(x) + exp(y))", domain=REALS, flops=30, commutative=True,
    notation=Notation("logaddexp({0}, {1})", r"\operatorname{{logaddexp}}({0}, {1})"),
)  # fmt: skip


def _expand_xlogy(x: Node, y: Node) -> Node:
    # x is 0 and y is a number: 0, also where log(y) is infinite.
    return _where(x.equals(0) & y.equals(y), 0.0, x * log(y))


def _xlogy_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    # Only where both are 0: the slope itself has one, 1 / b, where a is 0.
    return log(b), _where(a.equals(0) & b.equals(0), 0.0, a / b)


xlogy: Final[Op] = binary(
    "xlogy", oracle.xlogy, _xlogy_slopes, Arithmetic("expand"), sympy="x*log(y)",
    expand=_expand_xlogy, flops=20,
    notation=Notation("xlogy({0}, {1})", r"{0} \log {1}", 2),
)  # fmt: skip


def _xlog1py_slopes(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    return log1p(b), _where(a.equals(0) & b.equals(-1), 0.0, a / (1 + b))


xlog1py: Final[Op] = binary(
    "xlog1py", oracle.xlog1py, _xlog1py_slopes, Arithmetic("expand"), sympy="x*log(1 + y)",
    expand=lambda x, y: _where(x.equals(0) & y.equals(y), 0.0, x * log1p(y)), flops=20,
    written=lambda x, y: x * log1p(y),
    notation=Notation("xlog1py({0}, {1})", r"\operatorname{{xlog1py}}\left({0}, {1}\right)"),
)  # fmt: skip
# A weight of 0 leaves its term out, whatever that is; the slope by the weight is the term.
weighted_exp: Final[Op] = binary(
    "weighted_exp", oracle.weighted_exp, lambda y, w, x: (exp(x), y), Arithmetic("expand"),
    sympy="x*exp(y)", expand=lambda w, x: _where(w.equals(0), 0.0, w * exp(x)), flops=20,
    domain=REALS, written=lambda w, x: w * exp(x),
    notation=Notation("wexp({0}, {1})", r"\operatorname{{wexp}}\left({0}, {1}\right)"),
)  # fmt: skip

SINC_TERMS: Final = 12
"Terms of the power series of a derivative of sinc, enough for |pi x| < 2."


def _expand_sinc(x: Node, *, order: int) -> Node:
    """Expand the `order`-th derivative of s(z) = sin(z)/z, z = pi x, times pi**order.

    Far from 0: s_k(z) = (sin(z + k pi/2) - k s_{k-1}(z)) / z, from differentiating z s(z) = sin z.
    Near 0 that cancels; there the derivative of the power series sum (-1)^n z^(2n) / (2n + 1)!.
    """
    if order == 0:
        return x.graph.call("sinc_value", x)
    z = x * math.pi
    # Each step of the recurrence loses digits of order 1/z, so its reach shrinks with the order.
    far = abs_(z) > 2.0
    safe, turned = _where(far, z, 1.0), _where(far, x, 1.0)
    sine, cosine = x.graph.call("sin_pi", turned), x.graph.call("cos_pi", turned)
    turns = (sine, cosine, -sine, -cosine)
    outer = x.graph.call("sinc_value", turned)
    for k in range(1, order + 1):
        outer = (turns[k % 4] - k * outer) / safe
    inner, square = x.graph.full_like(x, 0.0), z * z
    first = (order + 1) // 2
    for n in reversed(range(first, first + SINC_TERMS)):
        term = (-1) ** n / math.factorial(2 * n + 1) * math.perm(2 * n, order)
        inner = inner * square + term
    if order % 2:
        inner = inner * z
    return _where(far, outer, inner) * math.pi**order


sinc: Final[Op] = declare(
    Op(
        "sinc", Kind.POINTWISE, ("order",), same_type("sinc", "float"), oracle.sinc,
        Arithmetic("expand"), slopes=lambda y, x, *, order: (sinc(x, order=order + 1),),
        expand=_expand_sinc, sympy="sin(pi*x)/(pi*x)", domain=REALS, flops=40,
        notation=Notation("sinc({0})", r"\operatorname{{sinc}}({0})"),
    )
)  # fmt: skip

# Comparisons and logic

_COMPARISONS: Final = (
    ("equal", np.equal, "="), ("not_equal", np.not_equal, r"\ne"), ("less", np.less, "<"),
    ("less_equal", np.less_equal, r"\le"), ("greater", np.greater, ">"),
    ("greater_equal", np.greater_equal, r"\ge"),
)  # fmt: skip
_TEXT: Final = {"=": "==", r"\ne": "!=", r"\le": "<=", r"\ge": ">="}
equal, not_equal, less, less_equal, greater, greater_equal = (
    binary(
        name, value, None, Arithmetic(name), takes="any", compares=True,
        commutative=name in ("equal", "not_equal"),
        notation=Notation(f"{{0}} {_TEXT.get(symbol, symbol)} {{1}}", f"{{0}} {symbol} {{1}}", 0),
    )
    for name, value, symbol in _COMPARISONS
)  # fmt: skip

bit_and: Final[Op] = binary(
    "bit_and", np.bitwise_and, None, Arithmetic("and"), takes="bits", commutative=True,
    notation=Notation("{0} & {1}", r"{0} \land {1}", 0),
)  # fmt: skip
bit_or: Final[Op] = binary(
    "bit_or", np.bitwise_or, None, Arithmetic("or"), takes="bits", commutative=True,
    notation=Notation("{0} | {1}", r"{0} \lor {1}", 0),
)  # fmt: skip
bit_xor: Final[Op] = binary(
    "bit_xor", np.bitwise_xor, None, Arithmetic("xor"), takes="bits", commutative=True,
)  # fmt: skip
bit_not: Final[Op] = unary(
    "bit_not", np.invert, None, Arithmetic("not"), takes="bits",
    notation=Notation("not {0}", r"\lnot {0}"),
)  # fmt: skip
shift_left: Final[Op] = binary(
    "shift_left", oracle.shift_left, None, Arithmetic("shift_left"), takes="integer",
)  # fmt: skip
shift_right: Final[Op] = binary(
    "shift_right", oracle.shift_right, None, Arithmetic("shift_right"), takes="integer",
)  # fmt: skip

# Selection and conversion


def _select_type(condition: Type, a: Type, b: Type) -> Type:
    if condition.dtype is not BOOL or a != b or condition.shape != a.shape:
        raise ShapeError(explain("where: operands do not agree", f"{condition}", f"{a}", f"{b}"))
    return a


def _select_pull(g: Node, _y: Node, c: Node, _a: Node, _b: Node) -> tuple[Node | None, ...]:
    return None, _where(c, g, 0.0), _where(c, 0.0, g)


def _select_push(
    tangents: tuple[Node | None, ...], y: Node, c: Node, _a: Node, _b: Node
) -> Node | None:
    _, ta, tb = tangents
    if ta is None and tb is None:
        return None
    zero = y.graph.full_like(y, 0.0)
    return _where(c, zero if ta is None else ta, zero if tb is None else tb)


select: Final[Op] = declare(
    Op(
        "select", Kind.POINTWISE, (), _select_type, np.where, Arithmetic("select"),
        pull=_select_pull, push=_select_push,
        notation=Notation(
            "where({0}, {1}, {2})",
            r"\begin{{cases}} {1} & {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
        ),
    )
)  # fmt: skip


def _cast_value(x: Array, *, dtype: DType, rounds: bool = True) -> Array:
    del rounds
    return x.astype(dtype.numpy)


def _cast_back(
    g: Node, _y: Node, x: Node, *, dtype: DType, rounds: bool = True
) -> tuple[Node | None]:
    del rounds
    return (_converted(g, x.dtype) if x.dtype.is_float and dtype.is_float else None,)


def _cast_push(
    tangents: tuple[Node], _y: Node, x: Node, *, dtype: DType, rounds: bool = True
) -> Node | None:
    del rounds
    return _converted(tangents[0], dtype) if x.dtype.is_float and dtype.is_float else None


def _converted(g: Node, dtype: DType) -> Node:
    # A derivative is an intermediate result.
    return cast(g, dtype=dtype, rounds=not dtype.is_half)


# `rounds`: to 16 bits in every mode, as conversions that the user has written do.  Where it is
# False the result is an intermediate one, which `fast` numerics need not round.
cast: Final[Op] = declare(
    Op(
        "cast", Kind.POINTWISE, ("dtype", "rounds"),
        lambda x, *, dtype, rounds=True: Type(dtype, x.shape), _cast_value,
        Arithmetic("cast"), pull=_cast_back, push=_cast_push, linear=True, flops=0,
        notation=Notation("{0}", "{0}"), defaults={"rounds": True},
    )
)  # fmt: skip
