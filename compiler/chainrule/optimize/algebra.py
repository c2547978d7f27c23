"""The algebraic identities chainrule uses.  One test evaluates every one of them.

Normal forms: signs and constant factors stand outermost, so that they meet and merge; a subtraction
of a constant is an addition; a quotient by a constant is a product.  Constants merge where the
range of their type allows it, and move where they are light (`ranges`).
"""

from __future__ import annotations

import math
from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.ir.types import F32
from chainrule.ir.walk import base_of
from chainrule.optimize.ranges import carried_past, light, sum_is_kept
from chainrule.optimize.rule import Binding, Guard, Keeps, Rule, call, constant, wild

__all__ = ["ALGEBRA", "PRODUCTS"]

REALS: Final = Keeps.REALS
x, y, z, w = wild("x"), wild("y"), wild("z"), wild("w")
c, d = constant("c"), constant("d")
p, q = wild("p", boolean=True), wild("q", boolean=True)


def _number(bound: Binding, name: str) -> float:
    node: Node = bound[name]
    number = constant_value(node)
    assert number is not None, "the pattern asks for a constant"
    return float(number)


def _reciprocal_fits(bound: Binding, name: str = "c") -> bool:
    """Tell whether 1/c is a normal number: else dividing by c is not multiplying by it."""
    if bound[name].dtype.is_half:
        # A rounded 1/c would be off by more than the quotient's own rounding.
        return False
    number = abs(_number(bound, name))
    largest = 126 if bound[name].dtype is F32 else 1022
    return 0 < number < math.inf and 2.0**-largest <= number <= 2.0**largest


def _power_of_two(bound: Binding) -> bool:
    return _reciprocal_fits(bound) and math.frexp(abs(_number(bound, "c")))[0] == 0.5


def _numbers(*names: str) -> Guard:
    """Demand finite, nonzero constants: what scales by infinity or 0 has no place to move to."""

    def guard(bound: Binding) -> bool:
        found = [_number(bound, n) for n in names]
        # Products of constants overflow 16 bits soon; they merge once these are widened.
        narrow = any(bound[n].dtype.is_half for n in names)
        return not narrow and all(math.isfinite(n) and n != 0 for n in found)

    return guard


def _moves(name: str, *others: str) -> Guard:
    """Demand a factor that may be moved past the values of `others`."""

    def guard(bound: Binding) -> bool:
        if bound[name].dtype.is_half:
            return False
        return carried_past(bound[name], *(bound[other] for other in others))

    return guard


def _sums(bound: Binding) -> bool:
    """Demand constants that keep what they are in their sum, or difference."""
    return sum_is_kept(_number(bound, "c"), _number(bound, "d"), bound["c"].dtype)


def _differences(bound: Binding) -> bool:
    return sum_is_kept(_number(bound, "c"), -_number(bound, "d"), bound["c"].dtype)


def _weighs(bound: Binding) -> bool:
    """Demand a factor that makes nothing smaller: without it a sum is no larger."""
    return _numbers("c")(bound) and abs(_number(bound, "c")) >= 1


def _thin(bound: Binding) -> bool:
    """Tell whether y and z are copies along a common axis, which a product of the two is then."""
    a, b = bound["y"], bound["z"]
    numbers = [(n, x.dtype) for x in (a, b) if (n := constant_value(x)) is not None]
    if len(numbers) == 2 or any(d.is_float and not light(float(n), d) for n, d in numbers):
        return False
    if a.op.name != "broadcast" or b.op.name != "broadcast":
        return False
    axes = {*a.attributes["axes"], *b.attributes["axes"]}
    return len(axes) < int(a.type.rank)


def _directions(bound: Binding) -> bool:
    """Tell whether p picks one element each, as the directions of a Jacobian do."""
    condition = base_of(bound["p"])
    if condition.op.name != "equal":
        return False
    return all(base_of(side).op.name == "iota" for side in condition.args)


SIGNS: Final = (
    Rule(x * 1, x),
    Rule(x * -1, -x),
    Rule(x / 1, x),
    Rule(x / -1, -x),
    Rule(x + x, x * 2),
    Rule(x - 0, x),
    Rule(x + -0.0, x),
    # -0.0 + 0 is +0.0: true of reals, not of floats.
    Rule(x + 0, x, REALS),
    Rule(0 - x, -x, REALS),
    Rule(-0.0 - x, -x),
    Rule(-(-x), x),
    Rule(x + (-y), x - y),
    Rule(x - (-y), x + y),
    Rule((-x) - y, -(x + y), REALS),
    Rule(-(x - y), y - x, REALS),
    Rule((-x) * y, -(x * y)),
    Rule((-x) / y, -(x / y)),
    Rule(x / (-y), -(x / y)),
    Rule(-(x * c), x * (-c)),
    Rule(-(c / x), (-c) / x),
    Rule(call("abs", -x), call("abs", x)),
    Rule(call("abs", call("abs", x)), call("abs", x)),
    Rule(call("abs", x) * call("abs", x), x * x),
    Rule(call("abs", x * x), x * x),
    Rule(call("sign", x) * call("abs", x), x, REALS),
    Rule(call("sign", call("sign", x)), call("sign", x)),
    Rule(call("relu", call("relu", x)), call("relu", x)),
    Rule(call("relu", call("exp", x)), call("exp", x)),
    Rule(call("relu", call("abs", x)), call("abs", x)),
    Rule(call("floor", call("floor", x)), call("floor", x)),
    Rule(call("ceil", call("ceil", x)), call("ceil", x)),
    Rule(call("trunc", call("trunc", x)), call("trunc", x)),
    Rule(call("rint", call("rint", x)), call("rint", x)),
    Rule(call("cos", -x), call("cos", x), REALS),
    Rule(call("cosh", -x), call("cosh", x), REALS),
    Rule(call("cosh", call("abs", x)), call("cosh", x), REALS),
)

CONSTANTS: Final = (
    Rule(x - c, x + (-c)),
    Rule(x / c, x * (1 / c), when=_power_of_two),
    Rule(x / c, x * (1 / c), REALS, when=_reciprocal_fits),
    Rule((x + c) + d, x + (c + d), REALS, when=_sums),
    Rule((c - x) + d, (c + d) - x, REALS, when=_sums),
    Rule(c - (x + d), (c - d) - x, REALS, when=_differences),
    Rule(c - (d - x), x + (c - d), REALS, when=_differences),
    Rule((x * c) * d, x * (c * d), REALS, when=_numbers("c", "d")),
    Rule((c / x) * d, (c * d) / x, REALS, when=_numbers("c", "d")),
    Rule(c / (x * d), (c / d) / x, REALS, when=_numbers("c", "d")),
    Rule(y / (x * d), (y * (1 / d)) / x, REALS, when=_moves("d", "y")),
    Rule((x * c) / y, (x / y) * c, REALS, when=_moves("c", "y")),
    Rule(
        x * (c / y),
        (x / y) * c,
        REALS,
        when=lambda b: _number(b, "c") != 1 and carried_past(b["c"], b["x"]),
    ),
    Rule((x * c) * y, (x * y) * c, REALS, when=_moves("c", "y")),
    Rule(x * c + x, x * (c + 1), REALS, when=_numbers("c")),
    Rule(x * c - x, x * (c - 1), REALS, when=_numbers("c")),
    Rule(x * c + x * d, x * (c + d), REALS, when=_numbers("c", "d")),
    Rule(x * c - x * d, x * (c - d), REALS, when=_numbers("c", "d")),
    # With c below 1 the sum of x and y overflows before that of their products does.
    Rule(x * c + y * c, (x + y) * c, REALS, when=_weighs),
    Rule(x * c - y * c, (x - y) * c, REALS, when=_weighs),
    # Copies along a common axis: their product is computed once an element of the smaller shape.
    Rule((x * y) * z, x * (y * z), REALS, when=_thin),
    Rule((x + y) + z, x + (y + z), REALS, when=_thin),
    Rule(x / (1 / y), x * y, REALS),
)

POWERS: Final = (
    Rule(x**1, x),
    Rule(x**0, 1),
    Rule(1**x, 1),
    Rule(x**-1, 1 / x, REALS),
    # pow(-inf, 0.5) is +inf and no real number; sqrt(-inf) is NaN.
    Rule(x**0.5, call("sqrt", x), REALS),
    Rule(x**-0.5, call("rsqrt", x), REALS),
    Rule(1 / call("sqrt", x), call("rsqrt", x), REALS),
    Rule(call("log", call("exp", x)), x, REALS),
    Rule(call("log1p", call("expm1", x)), x, REALS),
)

# Not before differentiation: 3 x**2 is a better derivative than that of (x * x) * x.
PRODUCTS: Final = (
    Rule(x**2, x * x, REALS),
    Rule(x**3, (x * x) * x, REALS),
    Rule(x**4, (x * x) * (x * x), REALS),
    # Not 1 / (x * x), which is 0 where x * x overflows and the result does not underflow.
    Rule(x**-2, (1 / x) * (1 / x), REALS),
    Rule(x**1.5, x * call("sqrt", x), REALS),
    Rule(x**2.5, (x * x) * call("sqrt", x), REALS),
)

SELECTIONS: Final = (
    Rule(call("maximum", x, x), x),
    Rule(call("minimum", x, x), x),
    Rule(call("select", p, x, x), x),
    Rule(call("select", ~p, x, y), call("select", p, y, x)),
    Rule(call("select", p, call("select", p, x, y), z), call("select", p, x, z)),
    Rule(call("select", p, x, call("select", p, y, z)), call("select", p, x, z)),
    Rule(call("select", p, call("select", q, x, y), y), call("select", p & q, x, y)),
    Rule(call("select", p, x, y) + call("select", p, z, w), call("select", p, x + z, y + w)),
    Rule(call("select", p, x, y) - call("select", p, z, w), call("select", p, x - z, y - w)),
    Rule(call("select", p, x, y) * call("select", p, z, w), call("select", p, x * z, y * w)),
    # Not of any mask: where a mask is off, 0 times NaN or infinity is NaN.
    Rule(call("select", p, c, 0) * x, call("select", p, c * x, 0), REALS, when=_directions),
    Rule(call("select", p, c, 0) / x, call("select", p, c / x, 0), REALS, when=_directions),
    Rule(call("select", p, x, 0) * c, call("select", p, x * c, 0), REALS, when=_numbers("c")),
    Rule(call("select", p, 0, x) * c, call("select", p, 0, x * c), REALS, when=_numbers("c")),
    Rule(-call("select", p, x, 0), call("select", p, -x, 0), REALS),
    Rule(-call("select", p, 0, x), call("select", p, 0, -x), REALS),
)

LOGIC: Final = (
    Rule(p & p, p),
    Rule(p | p, p),
    Rule(~(~p), p),
    Rule(p & True, p),
    Rule(p & False, False),
    Rule(p | True, True),
    Rule(p | False, p),
    Rule(p & ~p, False),
    Rule(p | ~p, True),
    Rule(p & (p & q), p & q),
    Rule(p | (p | q), p | q),
    Rule(p & (p | q), p),
    Rule(p | (p & q), p),
    Rule(~call("equal", x, y), call("not_equal", x, y)),
    Rule(~call("not_equal", x, y), call("equal", x, y)),
)

ALGEBRA: Final = (*SIGNS, *CONSTANTS, *POWERS, *SELECTIONS, *LOGIC)
