"""What keeps rewriting inside the range of floats.

Two things that are the same real number are two floats where one of them overflows on the way.
Constants are where that happens: merged step by step along a chain they grow without bound, and a
factor that is moved past a product leaves the product without it.  So a constant that a rule
computes must be one of the type's normal numbers, and only a *light* factor is moved past values
that are not known: the range that is lost is that of one light factor, however long the chain.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from chainrule.ir.graph import Node, constant_value
from chainrule.ir.types import BF16, F16, F32, F64, DType
from chainrule.optimize.rule import Binding, Pattern, Rule

__all__ = ["carried_past", "keeps_range", "light", "may_move", "sum_is_kept"]

DIGITS: Final = {F16: 11, BF16: 8, F32: 24, F64: 53}
"Binary digits of a significand."
SMALLEST: Final = {F16: 2.0**-14, BF16: 2.0**-126, F32: 2.0**-126, F64: 2.0**-1022}
"The smallest normal numbers."

ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
}  # fmt: skip


def light(number: float, dtype: DType) -> bool:
    """Tell whether a factor takes no value farther than the digits of the type reach.

    That is 2**24 for float32 and 2**53 for float64, either way: more than the number of terms of
    a mean, than a rate or a tolerance; a sixth and a twentieth of the range.
    """
    return 2.0 ** -DIGITS[dtype] <= abs(number) <= 2.0 ** DIGITS[dtype]


def factor_of(node: Node) -> float:
    """Return the constant that a value is a product with, 1 if there is none."""
    if node.op.name == "mul":
        for side in node.args:
            number = constant_value(side)
            if number is not None:
                return float(number)
    return 1.0


def carried_past(factor: Node, *others: Node) -> bool:
    """Tell whether a constant factor may be moved past values, which are multiplied without it.

    What those values carry themselves comes out as well in the end, so it counts.
    """
    number = constant_value(factor)
    assert number is not None, "a factor is a constant"
    dtype = factor.dtype
    if not dtype.is_float:
        return True
    together = float(number)
    if not light(together, dtype):
        return False
    for other in others:
        together *= factor_of(other)
    return light(together, dtype)


def may_move(operand: Node) -> bool:
    """Tell whether an operand of a product may be taken out of a sum: a constant must be light."""
    return constant_value(operand) is None or carried_past(operand)


def sum_is_kept(a: float, b: float, dtype: DType) -> bool:
    """Tell whether a + b holds what the two hold: neither vanishes beside the other.

    (x + 1) + 1e-9 is 1e-9 at x = -1, and x + (1 + 1e-9) is 0 there if the sum is rounded to 1.
    """
    if not dtype.is_float:
        return True
    total = dtype.rounded(a + b)
    if not math.isfinite(total):
        return False
    # Both differences are exact where the sum of two such numbers is not far off.
    large, small = (a, b) if abs(a) >= abs(b) else (b, a)
    lost = abs((total - large) - small)
    return lost <= 2.0 ** (2 - DIGITS[dtype]) * abs(small)


def keeps_range(rule: Rule, bound: Binding) -> bool:
    """Tell whether all constants that a rule computes are numbers its type holds to all digits."""
    return all(_computed(term, bound) is not None for term in _constant_terms(rule))


@cache
def _constant_terms(rule: Rule) -> tuple[Pattern, ...]:
    """Return the parts of a right side that are arithmetic of constants."""
    found: list[Pattern] = []
    waiting = [rule.result]
    while waiting:
        term = waiting.pop()
        if term.op in ARITHMETIC and all(_is_constant(a) for a in term.args):
            found.append(term)
        else:
            waiting.extend(term.args)
    return tuple(found)


def _is_constant(term: Pattern) -> bool:
    known = ARITHMETIC.keys() | {"neg"}
    return term.is_constant or (term.op in known and all(map(_is_constant, term.args)))


def _computed(term: Pattern, bound: Binding) -> float | None:
    """Return the value of a constant term, None where its type has no such normal number."""
    dtypes = {bound[p.name].dtype for p in _leaves(term) if p.op == "constant"}
    if not all(d.is_float for d in dtypes):
        return 0.0  # integers wrap, which every order of operations does alike
    (dtype,) = dtypes or {F64}
    return _value(term, bound, dtype)


def _value(term: Pattern, bound: Binding, dtype: DType) -> float | None:
    match term.op:
        case "number":
            return float(term.number)
        case "constant":
            number = constant_value(bound[term.name])
            return None if number is None else float(number)
        case "neg":
            inner = _value(term.args[0], bound, dtype)
            return None if inner is None else -inner
    numbers = [_value(a, bound, dtype) for a in term.args]
    known = [n for n in numbers if n is not None and math.isfinite(n)]
    if len(known) < len(numbers) or (term.op == "div" and known[1] == 0):
        return None
    exact = ARITHMETIC[term.op](*known)
    result = dtype.rounded(exact)
    if dtype.is_half and result != exact:
        return None  # it would be rounded, where the values are not
    # Sums that cancel are exact, down to the smallest numbers.
    fits = term.op in ("add", "sub") or abs(result) >= SMALLEST[dtype]
    return result if fits and math.isfinite(result) else None


def _leaves(term: Pattern) -> list[Pattern]:
    return [term] if not term.args else [p for a in term.args for p in _leaves(a)]
