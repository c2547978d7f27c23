"""Floats as people write them: fractions, short decimals, √2, π.

A float stands for the number that its author meant, which rounds to it: 1/3, 0.1, 2/√π.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from chainrule.inspect import algebra
from chainrule.inspect.notation import Name, Number, Tree
from chainrule.inspect.roots import PI, root
from chainrule.ir.types import F32, DType

__all__ = ["number_tree"]


def number_tree(value: float | bool, dtype: DType) -> Tree:
    """Return a constant as the fraction, decimal or root that a person would have written.

    >>> from chainrule.ir.types import F64
    >>> number_tree(0.1, F64)
    Number(value=Fraction(1, 10))
    """
    if isinstance(value, bool):
        return Name("true" if value else "false")
    if math.isnan(value):
        return Name("nan")
    if math.isinf(value):
        return algebra.multiply(algebra.number(1 if value > 0 else -1), Name("∞"))
    near = _fraction(value, dtype)
    if near is not None:
        return Number(near)
    return _irrational(value, dtype) or _decimal(value, dtype)


def _fraction(value: float, dtype: DType) -> Fraction | None:
    """Return p/q or 1/k where that rounds to the value."""
    # Every f32 is near some fraction with a denominator of thousands.
    limit = 16 if dtype.is_half else 512 if dtype is F32 else 100_000
    candidates = [Fraction(value).limit_denominator(limit)]
    if value and 1 <= abs(1 / value) < 1e6:
        candidates.append(Fraction(1, round(1 / value)))
    for near in candidates:
        if float(dtype.numpy.type(float(near))) == value and (near or not value):
            return near
    return None


def _irrational(value: float, dtype: DType) -> Tree | None:
    """Recognise √(p/q), with π above or below the line, and multiples of π."""
    size = 4 if dtype.is_half else 16 if dtype is F32 else 64
    for factor, exponent in ((1.0, 0), (math.pi, 1), (1 / math.pi, -1)):
        near = Fraction(value * value / factor).limit_denominator(size)
        exact = math.sqrt(near * factor) if 0 < near <= size else 0.0
        if _same(exact, abs(value), dtype):
            found = root(near, exponent)
            return found if value > 0 else algebra.multiply(algebra.number(-1), found)
    near = Fraction(value / math.pi).limit_denominator(size)
    if near and abs(near) <= size and _same(near * math.pi, value, dtype):
        return algebra.multiply(Number(near), PI)
    return None


def _same(exact: float, value: float, dtype: DType) -> bool:
    """Tell whether a value is this number, rounded once or twice."""
    if dtype.is_half:
        last = abs(value) * 2.0**-7
    else:
        last = float(np.spacing(dtype.numpy.type(abs(value))))
    return exact != 0 and abs(exact - value) <= last


def _decimal(value: float, dtype: DType) -> Number:
    shortest = dtype.numpy.type(value) if dtype.is_half or dtype is F32 else np.float64(value)
    return Number(Fraction(str(shortest)))
