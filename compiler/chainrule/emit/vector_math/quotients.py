"""Logarithms to other bases and of quotients."""

from __future__ import annotations

import math
from typing import Final

from chainrule.emit.vector_math.coefficients import LOG2_RATIO
from chainrule.emit.vector_math.lanes import Lanes
from chainrule.emit.vector_math.logarithm import log_of, split, split_any
from chainrule.emit.vector_math.power import log_twofold

__all__ = ["log2", "log10", "log_quotient", "logit"]

# 1 / log(2) and 1 / log(10), each in two parts.
_LOG2_E: Final = (1.4426950408889634, 2.0355273740931033e-17)
_LOG10_E: Final = (0.4342944819032518, 1.098319650216765e-17)
_LOG10_2: Final = math.log10(2.0)
_SIGN: Final = {"float": -(1 << 31), "double": -(1 << 63)}


def log2(x: Lanes) -> Lanes:
    """The logarithm to base 2, exact at powers of 2."""
    return _at_edges(x, _based(x, _LOG2_E, 1.0))


def log10(x: Lanes) -> Lanes:
    """The logarithm to base 10, exact at powers of 10."""
    return _at_edges(x, _based(x, _LOG10_E, _LOG10_2))


def _based(x: Lanes, scale: tuple[float, float], scale_of_2: float) -> Lanes:
    """Return log(x) of a positive number times a constant in two parts; of floats in doubles."""
    if not x.is_double:
        return (_log2_of_double(x.widened()) * scale_of_2).narrowed()
    high, low = log_twofold(x)
    y, lost = high.times_exactly(high.constant(scale[0]))
    return y + low.times_plus(scale[0], high.times_plus(scale[1], lost))


def _log2_of_double(x: Lanes) -> Lanes:
    """Return the logarithm to base 2 of a positive double, right to about 2^-30 of itself."""
    k, m, _ = split(x)
    f = m - 1.0
    s = f / (f + 2.0)
    return s.times_plus((s * s).polynomial(LOG2_RATIO["float"]), k)


def _at_edges(x: Lanes, y: Lanes) -> Lanes:
    """Return y, or what every logarithm is at 0, infinity and of negative numbers."""
    y = (x < math.inf).choose(y, x)
    edge = x.equals(0.0).choose(x.constant(-math.inf), x.constant(math.nan))
    return (x <= 0.0).choose(edge, y)


def log_quotient(x: Lanes, y: Lanes) -> Lanes:
    """log(x / y), also where x / y overflows, underflows or rounds to 1."""
    a, b = abs(x), abs(y)
    if x.is_double:
        result = _log_quotient_double(a, b)
    else:
        result = (_log2_of_double(a.widened() / b.widened()) * math.log(2.0)).narrowed()
    # 0 / y and x / infinity, and their inverses.
    zero = (a.equals(0.0) & (b > 0.0)) | ((a < math.inf) & b.equals(math.inf))
    endless = (b.equals(0.0) & (a > 0.0)) | ((b < math.inf) & a.equals(math.inf))
    result = zero.choose(x.constant(-math.inf), result)
    result = endless.choose(x.constant(math.inf), result)
    both = a.equals(b) & (a.equals(0.0) | a.equals(math.inf))
    negative = (((x.bits() ^ y.bits()) & _SIGN[x.scalar]) < 0) & (a > 0.0)
    undefined = both | negative | a.is_nan() | b.is_nan()
    return undefined.choose(x.constant(math.nan), result)


def _log_quotient_double(a: Lanes, b: Lanes) -> Lanes:
    """Return log(a / b) of positive numbers."""
    (k, m, _), (k_b, m_b, _) = split_any(a), split_any(b)
    k = k - k_b
    # The quotient of the mantissas, between 1/2 and 2, is brought between the roots of these.
    q = m / m_b
    up, down = q > math.sqrt(2.0), q < math.sqrt(0.5)
    m = up.choose(m * 0.5, down.choose(m * 2.0, m))
    q = up.choose(q * 0.5, down.choose(q * 2.0, q))
    k = up.choose(k + 1.0, down.choose(k - 1.0, k))
    back, error = q.times_exactly(m_b)
    return log_of(k, q - 1.0) + ((m - back) - error) / m


def logit(p: Lanes) -> Lanes:
    """log(p / (1 - p)), with what rounding 1 - p lost."""
    if not p.is_double:
        return logit(p.widened()).narrowed()
    rest, lost = p.constant(1.0).plus_smaller(-p)
    y = _log_quotient_double(p, rest) - lost / rest
    y = p.equals(0.0).choose(p.constant(-math.inf), p.equals(1.0).choose(p.constant(math.inf), y))
    return ((p >= 0.0) & (p <= 1.0)).choose(y, math.nan)
