"""What functions and their derivatives are, in mpmath at a precision that doubles until it settles.

The expressions are those by which ops are declared in SymPy; numbers come from mpmath alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import mpmath
import sympy

__all__ = ["BITS", "derivative", "error_in_ulps", "function", "settled"]

LETTERS: Final = sympy.symbols("x y z", real=True)
BITS: Final = {"float": (24, -126, 127), "double": (53, -1022, 1023)}
FIRST: Final = 160
"Bits to begin with: beside the digits of results, room for what expressions cancel."
LAST: Final = 2560


@functools.cache
def function(expression: str) -> Callable[..., Any]:
    """Return an expression in x, y, z as a function of mpmath's numbers."""
    meant = sympy.sympify(expression, locals=dict(zip("xyz", LETTERS, strict=True)))
    return _compiled(meant)


@functools.cache
def derivative(expression: str, argument: int) -> Callable[..., Any]:
    """Return its partial derivative by an argument, as SymPy has it."""
    meant = sympy.sympify(expression, locals=dict(zip("xyz", LETTERS, strict=True)))
    return _compiled(sympy.diff(meant, LETTERS[argument]))


def _compiled(meant: Any) -> Callable[..., Any]:
    made: Callable[..., Any] = sympy.lambdify(LETTERS, meant, "mpmath")
    return lambda *x: made(*x, *[mpmath.mpf(1)] * (len(LETTERS) - len(x)))


def settled(exact: Callable[..., Any], *point: float) -> Any:
    """Return the value right to some 70 bits; NaN where it is not a finite real number."""
    largest = max(mpmath.mag(p) if p else 0 for p in point)
    bits, before = FIRST + max(0, int(largest)), None
    while bits <= LAST:
        with mpmath.workprec(bits):
            try:
                now = exact(*map(mpmath.mpf, point))
            except (OverflowError, ZeroDivisionError, ValueError):
                return mpmath.nan
            if isinstance(now, mpmath.mpc):
                return mpmath.nan
            now = mpmath.mpf(now)
            if not mpmath.isfinite(now):
                return mpmath.nan
            # All digits may have cancelled: 0 is believed only at the end.
            near = before is not None and abs(now - before) <= mpmath.ldexp(abs(now), -70)
            if near and (now or 2 * bits > LAST):
                return now
        before, bits = now, 2 * bits
    return mpmath.nan


def error_in_ulps(scalar: str, got: float, true: Any) -> float:
    """Return the distance in units of the last place that the true value would have."""
    digits, least, greatest = BITS[scalar]
    if mpmath.isnan(true) or math.isnan(got):
        return 0.0 if mpmath.isnan(true) and math.isnan(got) else math.inf
    if math.isinf(got):
        limit = mpmath.ldexp(2 - mpmath.ldexp(1, 1 - digits), greatest)
        return 0.0 if abs(true) > limit and (true > 0) == (got > 0) else math.inf
    exponent = max(least, mpmath.mag(true) - 1 if true else least)
    # mag may be one too large.
    if true and mpmath.ldexp(1, exponent) > abs(true):
        exponent = max(least, exponent - 1)
    return float(abs(mpmath.mpf(got) - true) / mpmath.ldexp(1, exponent - digits + 1))
