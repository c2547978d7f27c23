"""Stable forms: what people write, and what does not overflow or cancel.

They run before differentiation, since the derivative of an unstable form is already lost, and again
on the joint program.  All keep reals: the left sides overflow where the right sides do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.optimize.rule import (
    Binding,
    Guard,
    Keeps,
    Pattern,
    Rule,
    along,
    call,
    constant,
    reduced,
    wild,
)

__all__ = ["ROOTS", "STABLE"]

x, y, z, m, s = wild("x"), wild("y"), wild("z"), wild("m"), wild("s")
c, d = constant("c"), constant("d")


def _unary(op: str) -> Callable[[Pattern], Pattern]:
    return lambda a: call(op, a)


exp, log, sqrt, abs_ = _unary("exp"), _unary("log"), _unary("sqrt"), _unary("abs")
expm1, log1p = _unary("expm1"), _unary("log1p")
sigmoid, softplus, sin, tanh = _unary("sigmoid"), _unary("softplus"), _unary("sin"), _unary("tanh")


def total(a: Pattern) -> Pattern:
    """Return the sum over the axes A."""
    return reduced("sum", a)


def becomes(before: Pattern, after: Pattern | float, when: Guard | None = None) -> Rule:
    """Return a rule that keeps reals."""
    return Rule(before, after, Keeps.REALS, when)


def _value(bound: Binding, name: str) -> float:
    number = constant_value(bound[name])
    assert number is not None, "the pattern asks for a constant"
    return float(number)


def _positive(bound: Binding) -> bool:
    return 0 < _value(bound, "c") < math.inf


def _both_positive(bound: Binding) -> bool:
    return _positive(bound) and 0 < _value(bound, "d") < math.inf


def _is_pi(bound: Binding) -> bool:
    """Tell whether c is pi and d, if there is one, its inverse, in either precision."""
    inverse = 1 / _value(bound, "d") if "d" in bound else math.pi
    return all(
        math.isclose(number, math.pi, rel_tol=2e-7) for number in (_value(bound, "c"), inverse)
    )


def _is_count(bound: Binding) -> bool:
    """Tell whether s is a positive constant or an extent: its root is a number."""
    node: Node = bound["s"]
    number = constant_value(node)
    if number is not None:
        return 0 < number < math.inf
    while node.op.name in ("broadcast", "cast", "reshape"):
        node = node.args[0]
    return node.op.name == "extent"


def _is_reciprocal_count(bound: Binding) -> bool:
    node: Node = bound["s"]
    while node.op.name in ("broadcast", "reshape"):
        node = node.args[0]
    if node.op.name == "div" and constant_value(node.args[0]) == 1:
        return _is_count({"s": node.args[1]})
    return _is_count({"s": node})


def _is_top(bound: Binding) -> bool:
    """Tell whether m is the maximum of x over A, perhaps held fixed or made finite."""
    return _holds_top(bound["m"], bound["x"], bound["A"])


PASSES_TOP: Final = 12
"Nodes between a maximum and its use that are looked through."


def _holds_top(node: Node, x_: Node, axes: tuple[int, ...]) -> bool:
    for _ in range(PASSES_TOP):
        match node.op.name:
            case "stop_gradient" | "reshape" | "broadcast":
                node = node.args[0]
            case "select":
                # where(isfinite(top), top, 0) in either order.
                node = node.args[2] if constant_value(node.args[1]) == 0 else node.args[1]
            case "max":
                inner = node.args[0]
                while inner.op.name == "stop_gradient":
                    inner = inner.args[0]
                return inner is x_ and node.attributes["axes"] == axes
            case _:
                return False
    return False


def _softplus_in_parts(top: Pattern) -> tuple[Rule, ...]:
    """Put softplus together that was written as max(x, 0) + log(1 + exp(-|x|)), term by term.

    Both parts have a kink at 0, where their second derivatives say nothing of the whole's.
    """
    rest = softplus(-abs_(x))
    return (
        becomes(top + rest, softplus(x)),
        becomes((top + y) + rest, softplus(x) + y),
        becomes((top - y) + rest, softplus(x) - y),
        becomes(top + (rest + y), softplus(x) + y),
        becomes(top + (rest - y), softplus(x) - y),
        becomes(top - (y - rest), softplus(x) - y),
        becomes((y - top) - rest, y - softplus(x)),
    )


SOFTPLUS: Final = (
    *_softplus_in_parts(call("maximum", x, 0)),
    *_softplus_in_parts(call("maximum", 0, x)),
    *_softplus_in_parts(call("relu", x)),
)

LOGARITHMS: Final = (
    becomes(log(total(exp(x))), reduced("logsumexp", x)),
    becomes(log(total(exp(x)) * c), reduced("logsumexp", x) + log(c), _positive),
    becomes(log(total(exp(x)) / s), reduced("logsumexp", x) - log(s), _is_count),
    becomes(reduced("logsumexp", x - along(m, x)) + m, reduced("logsumexp", x), _is_top),
    becomes(reduced("logsumexp", x - along(m, x)) - (-m), reduced("logsumexp", x), _is_top),
    becomes(x - along(reduced("logsumexp", x), x), reduced("log_softmax", x)),
    becomes(log(reduced("softmax", x)), reduced("log_softmax", x)),
    becomes(exp(reduced("log_softmax", x)), reduced("softmax", x)),
    becomes(log(1 + exp(x)), softplus(x)),
    becomes(log1p(exp(x)), softplus(x)),
    becomes(log(exp(x) + exp(y)), call("logaddexp", x, y)),
    becomes(log(exp(x) + c), call("logaddexp", x, log(c)), _positive),
    becomes(log(1 - exp(x)), call("log1mexp", x)),
    becomes(log(-expm1(x)), call("log1mexp", x)),
    becomes(log(sigmoid(x)), -softplus(-x)),
    becomes(log(1 + x), log1p(x)),
    becomes(log(1 - x), log1p(-x)),
    becomes(log(exp(x)), x),
    becomes(log(exp(x) * y), x + log(y)),
    becomes(log(exp(x) / y), x - log(y)),
    becomes(log(y / exp(x)), log(y) - x),
    becomes(log(1 / x), -log(x)),
)  # fmt: skip

EXPONENTIALS: Final = (
    becomes(exp(x) - 1, expm1(x)),
    becomes(exp(x) + -1, expm1(x)),
    becomes(1 - exp(x), -expm1(x)),
    becomes(expm1(x) + 1, exp(x)),
    becomes(exp(x) / (1 + exp(x)), sigmoid(x)),
    becomes(y / (1 + exp(x)), y * sigmoid(-x)),
    becomes(exp(x) / (exp(x) + exp(y)), sigmoid(x - y)),
    becomes(1 - sigmoid(x), sigmoid(-x)),
    becomes((exp(x) - exp(-x)) / (exp(x) + exp(-x)), tanh(x)),
    becomes(expm1(x) / (exp(x) + 1), tanh(0.5 * x)),
    # What is left of 1 has digits of its own.
    becomes(1 + tanh(x), sigmoid(x * 2) * 2),
    becomes(1 - tanh(x), sigmoid(x * -2) * 2),
    becomes(1 - tanh(x) * tanh(x), call("tanh_slope", x)),
    becomes(1 - tanh(x) ** 2, call("tanh_slope", x)),
    becomes((exp(x) - exp(-x)) * 0.5, call("sinh", x)),
    becomes((exp(x) - exp(-x)) / 2, call("sinh", x)),
    becomes((exp(x) + exp(-x)) * 0.5, call("cosh", x)),
    becomes((exp(x) + exp(-x)) / 2, call("cosh", x)),
    becomes(1 / exp(x), exp(-x)),
    becomes(exp(x) / exp(y), exp(x - y)),
    becomes(exp(x) * exp(y), exp(x + y)),
    becomes(exp(x) / along(total(exp(x)), x), reduced("softmax", x)),
    becomes(exp(x) * along(1 / total(exp(x)), x), reduced("softmax", x)),
    becomes(exp(x) * (1 / along(total(exp(x)), x)), reduced("softmax", x)),
    becomes(reduced("softmax", x - along(m, x)), reduced("softmax", x), _is_top),
    becomes(reduced("log_softmax", x - along(m, x)), reduced("log_softmax", x), _is_top),
    becomes(exp(x - along(reduced("logsumexp", x), x)), reduced("softmax", x)),
)


Square = Callable[[Pattern], Pattern]


def _norms(square: Square) -> tuple[Rule, ...]:
    return (
        becomes(log(square(x)), 2 * log(abs_(x))),
        becomes(square(abs_(x)), square(x)),
        becomes(sqrt(square(x)), abs_(x)),
        becomes(
            sqrt((square(x) + square(y)) + square(z)), call("hypot", call("hypot", x, y), z)
        ),
        becomes(sqrt(square(x) + c), call("hypot", x, sqrt(c)), _positive),
        becomes(sqrt(total(square(x))), reduced("norm", x)),
        becomes(square(reduced("norm", x)), total(square(x))),
        becomes(square(call("hypot", x, y)), square(x) + square(y)),
        becomes(
            sqrt(total(square(x)) * s), reduced("norm", x) * sqrt(s), _is_reciprocal_count
        ),
        becomes(sqrt(total(square(x)) / s), reduced("norm", x) / sqrt(s), _is_count),
    )  # fmt: skip


def _hypotenuses(one: Square, other: Square) -> tuple[Rule, ...]:
    return (
        becomes(sqrt(one(x) + other(y)), call("hypot", x, y)),
        becomes(sqrt(one(x) + other(y) * c), call("hypot", x, y * sqrt(c)), _positive),
        becomes(
            sqrt(one(x) * d + other(y) * c), call("hypot", x * sqrt(d), y * sqrt(c)),
            _both_positive,
        ),
    )  # fmt: skip


# Squares are written as powers before differentiation and as products after it; people write both.
SQUARES: Final[tuple[Square, ...]] = (lambda a: a * a, lambda a: a**2)
NORMS: Final = (
    *(rule for square in SQUARES for rule in _norms(square)),
    *(rule for one in SQUARES for other in SQUARES for rule in _hypotenuses(one, other)),
    becomes(reduced("norm", abs_(x)), reduced("norm", x)),
    becomes(reduced("norm", -x), reduced("norm", x)),
    becomes(call("hypot", abs_(x), y), call("hypot", x, y)),
    becomes(call("hypot", -x, y), call("hypot", x, y)),
)

MISCELLANEOUS: Final = (
    # The normal form of sin(x*pi)/(x*pi) has its constants outermost.
    becomes(
        call("select", call("equal", x, 0), 1, (sin(x * c) / x) * d),
        call("sinc", x, order=0), _is_pi,
    ),
    becomes(
        call("select", call("equal", x, 0), 1, sin(x * c) / (x * c)),
        call("sinc", x, order=0), _is_pi,
    ),
    *(becomes(call("select", call("equal", x, 0), one, sin(x) / x),
              call("sinc", x * (1 / math.pi), order=0)) for one in (1, 1 + x * 0, 1 + 0 * x)),
)  # fmt: skip


def _of_even_power(bound: Binding) -> bool:
    """Tell whether c is 2, 4, ...: the power of a root has no root left."""
    number = _value(bound, "c")
    return 0 < number < math.inf and number % 2 == 0


def _of_other_power(bound: Binding) -> bool:
    number = _value(bound, "c")
    return 0 < number < math.inf and number != 1 and number % 2 != 0


def _where_rooted(a: Pattern) -> Pattern:
    """Return a term, but NaN with its slope where x has no root."""
    return a * call("select", x < 0, math.nan, 1)


# Powers of roots: the slope of the root is infinite at 0, the slope of the whole is not.  Only
# before differentiation: afterwards a root and products are computed faster than another power.
ROOTS: Final = (
    becomes(sqrt(x) * sqrt(x), _where_rooted(x)),
    becomes(sqrt(x) ** c, _where_rooted(x ** (c * 0.5)), _of_even_power),
    becomes(sqrt(x) ** c, x ** (c * 0.5), _of_other_power),
    becomes(x * sqrt(x), x**1.5),
    becomes(x**0.5, sqrt(x)),
    becomes(sqrt(1 - call("cos", x)), abs_(sin(x * 0.5)) * math.sqrt(2)),
)


STABLE: Final = (*LOGARITHMS, *SOFTPLUS, *EXPONENTIALS, *NORMS, *MISCELLANEOUS)
