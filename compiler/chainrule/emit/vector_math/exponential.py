"""exp and expm1, and the reduction modulo log(2) that hyperbolic and logistic functions share."""

from __future__ import annotations

from typing import Final, NamedTuple

from chainrule.emit.builder import I8, I32, LType
from chainrule.emit.vector_math.coefficients import EXP
from chainrule.emit.vector_math.lanes import Lanes

__all__ = [
    "Reduced", "exp", "exp_of", "exp_parts", "expm1", "power_of_two", "reduce_exp", "scale",
    "scaled_expm1",
]  # fmt: skip

_LOG2_E: Final = 1.4426950408889634
# log(2) in two parts; the first has so few digits that its product with n is exact.
_LN2_HIGH: Final = {"float": 0.693359375, "double": 6.93147180369123816490e-01}
_LN2_LOW: Final = {"float": -2.12194440e-4, "double": 1.90821492927058770002e-10}
# Adding this rounds to an integer, left in the low bits.  The even excess above 1.5 * 2^23 (2^52)
# makes both halves of those bits biased exponents (see `scale`).
_ROUNDER: Final = {"float": 1.5 * 2**23 + 254, "double": 1.5 * 2**52 + 2046}
_MANTISSA_BITS: Final = {"float": 23, "double": 52}
_BIAS: Final = {"float": 127, "double": 1023}
# Below the first exp is zero, above the second infinite.
_RANGE: Final = {"float": (-104.5, 89.5), "double": (-746.0, 710.0)}
_TINY: Final = {"float": 1e-10, "double": 1e-18}


class Reduced(NamedTuple):
    """x = n * log(2) + r, |r| <= log(2) / 2."""

    bits: Lanes
    n: Lanes
    r: Lanes
    r_low: Lanes | None


def reduce_exp(x: Lanes, low: Lanes | None = None, *, exactly: bool = False) -> Reduced:
    """Reduce x (plus `low`, a correction) modulo log(2); with the rounding error if `exactly`."""
    rounder = _ROUNDER[x.scalar]
    shifted = x.times_plus(_LOG2_E, rounder)
    n = shifted - rounder
    near = x.minus_times(n, _LN2_HIGH[x.scalar])
    r = near.minus_times(n, _LN2_LOW[x.scalar])
    if not exactly and low is None:
        return Reduced(shifted.bits(), n, r, None)
    r_low = (near - r).minus_times(n, _LN2_LOW[x.scalar])
    if low is not None:
        r, r_low = r.plus_smaller(r_low + low)
    return Reduced(shifted.bits(), n, r, r_low)


def scale(q: Lanes, reduced: Reduced) -> Lanes:
    """Return q * 2^n, rounded once even when subnormal; any n that `exp` can meet."""
    machine, type_ = q.machine, q.type
    if machine.scalef and type_.lanes * type_.bits == 512:
        return _scalef(q, reduced.n)
    # Two factors of about 2^(n/2): one would leave the exponent range.
    half = reduced.bits.shifted_right(1)
    bits = _MANTISSA_BITS[q.scalar]
    return q * (half << bits).as_float() * ((reduced.bits - half) << bits).as_float()


def _scalef(q: Lanes, n: Lanes) -> Lanes:
    """Scale by AVX-512's one instruction; the result is that of the two factors."""
    b, type_ = q.b, q.type
    name, mask = ("ps", LType("i16")) if type_.bits == 32 else ("pd", I8)
    every, rounding = b.const(mask, -1), b.const(I32, 4)
    arguments = [q.value, n.value, b.poison(type_), every, rounding]
    return q.like(b.target_intrinsic(f"llvm.x86.avx512.mask.scalef.{name}.512", type_, arguments))


def power_of_two(reduced: Reduced, less: int = 0, lanes_less: Lanes | None = None) -> Lanes:
    """Return 2^(n - less), which must be a normal number; lanes may be lowered further."""
    scalar = reduced.n.scalar
    biased = reduced.bits - (_BIAS[scalar] + less)
    if lanes_less is not None:
        biased = biased - lanes_less
    return (biased << _MANTISSA_BITS[scalar]).as_float()


def exp_of(reduced: Reduced) -> Lanes:
    """Return exp(r), between the square roots of 1/2 and 2."""
    r = reduced.r
    if reduced.r_low is None:
        return (r * r).times_plus(r.polynomial(EXP[r.scalar]), r) + 1.0
    head, rest = exp_parts(reduced)
    return head + rest


def exp_parts(reduced: Reduced) -> tuple[Lanes, Lanes]:
    """Return exp(r) of an exact reduction as a sum whose second term is small."""
    r, r_low = reduced.r, reduced.r_low
    assert r_low is not None
    head = r + 1.0
    lost = r - (head - 1.0)
    return head, lost + (r * r).times_plus(r.polynomial(EXP[r.scalar]), r_low)


def exp(x: Lanes) -> Lanes:
    """The exponential function."""
    low, high = _RANGE[x.scalar]
    reduced = reduce_exp(x.at_least(low).at_most(high))
    return scale(exp_of(reduced), reduced)


def scaled_expm1(x: Lanes, halvings: int = 0, lanes_less: Lanes | None = None) -> Lanes:
    """Return (exp(x) - 1) / 2^halvings; the caller bounds x so that 2^(n - halvings) is normal.

    Lanes where `lanes_less` is not 0 have the exponential alone, over 2 to that power too.
    """
    reduced = reduce_exp(x, exactly=True)
    r, r_low = reduced.r, reduced.r_low
    assert r_low is not None
    power = power_of_two(reduced, halvings, lanes_less)
    base = power - 2.0**-halvings
    # power * r is exact, so `lost` is what rounding `head` lost.
    head = power.times_plus(r, base)
    lost = power.times_plus(r, base - head)
    tail = (r * r).times_plus(r.polynomial(EXP[r.scalar]), r_low)
    return head + power.times_plus(tail, lost)


def expm1(x: Lanes) -> Lanes:
    """exp(x) - 1 without cancellation."""
    low, high = {"float": (-18.0, 89.5), "double": (-40.0, 710.0)}[x.scalar]
    # Halved twice, as 2^n itself may be infinite where the result is not.
    y = scaled_expm1(x.at_least(low).at_most(high), 2) * 4.0
    # Halving loses digits of subnormals, and the sums the sign of zero.
    return (abs(x) < _TINY[x.scalar]).choose(x, y)
