"""Fit the polynomials of `chainrule.emit.vector_math` and print them as its `coefficients` module.

Each is a weighted minimax fit (Remez exchange on a fine Chebyshev grid, in 50-digit arithmetic).
Coefficients are rounded one by one, lowest power first, and the rest refitted around each, which
saves most of what rounding all of them at the end would lose.

    python benchmarks/fit_polynomials.py > compiler/chainrule/emit/vector_math/coefficients.py
"""

from __future__ import annotations

import argparse
import itertools
import struct
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import mpmath
import numpy as np
from mpmath import mp, mpf

mp.dps = 50

Real = Callable[[mpf], mpf]
ONE: Final = mpf(1)
LN2_HALF: Final = mpmath.log(2) / 2 * mpf("1.0005")
ROOT_LOW: Final = mpmath.sqrt(mpf("0.5")) - 1
ROOT_HIGH: Final = mpmath.sqrt(mpf(2)) - 1
# The largest |s| = |f / (2 + f)| for 1 + f between those roots.
S_MAX: Final = ROOT_HIGH / (2 + ROOT_HIGH) * mpf("1.0001")
QUARTER_PI: Final = mp.pi / 4 * mpf("1.004")


class Fit(NamedTuple):
    """What to fit: `f(x)` by a polynomial in `variable(x)`, error weighted by `weight(x)`."""

    name: str
    note: str
    f: Real
    low: mpf
    high: mpf
    weight: Real
    degrees: dict[str, int]
    variable: Real = lambda x: x
    highs: Mapping[str, mpf] = MappingProxyType({})
    constant_in_two: bool = False


def _log_tail(s: mpf, terms: int) -> mpf:
    """Return what follows `terms` terms of 2s + 2s^3/3 + ..., over the next power of s."""
    total, z = mpf(0), s * s
    for j in range(terms, terms + 40):
        total += 2 * z ** (j - terms) / (2 * j + 1)
    return total


def _series(x: mpf, f: Real, head: Real, power: int) -> mpf:
    """Return (f - head) / x^power with digits to spare for the cancellation."""
    with mpmath.workdps(120):
        return (f(x) - head(x)) / x**power


def _constant(_x: mpf) -> mpf:
    return ONE


def _square(x: mpf) -> mpf:
    return x * x


class Tail(NamedTuple):
    """What is left of a tail when its exponential is taken out: `f(a, shift)`, low <= a <= reach.

    The polynomial's variable is (a - shift) / (a + shift).
    """

    f: Callable[[mpf, mpf], mpf]
    shift: dict[str, mpf]
    low: mpf
    reach: dict[str, mpf]


def _normal_tail(a: mpf) -> mpf:
    """Return exp(a^2 / 2) times the probability of a normal variable above a."""
    return mpmath.exp(a * a / 2) * mpmath.erfc(a / mpmath.sqrt(2)) / 2


# Where the slope of x * Phi(x) is 0, and that of x / (1 + exp(-x)).
with mpmath.workdps(60):
    GELU_ROOT: Final = mpmath.findroot(
        lambda a: _normal_tail(a) - a / mpmath.sqrt(2 * mp.pi), mpf("0.75")
    )
    SILU_ROOT: Final = mpmath.findroot(lambda a: 1 + mpmath.exp(-a) - a, mpf("1.28"))


def _gelu_slope_tail(a: mpf, _shift: mpf) -> mpf:
    with mpmath.workdps(80):
        top = _normal_tail(a) - a / mpmath.sqrt(2 * mp.pi)
        return top / (GELU_ROOT - a)


TAILS: Final = {
    "ERFC_SCALED": Tail(
        lambda a, _: (1 + 2 * a) * mpmath.exp(a * a) * mpmath.erfc(a),
        {"float": mpf(2), "double": mpf(3)}, mpf("0.49"),
        {"float": mpf("10.3"), "double": mpf(28)},
    ),
    "NDTR_SCALED": Tail(
        lambda a, shift: (a + shift) * _normal_tail(a),
        {"float": mpf(3), "double": mpf(5)}, mpf(0), {"float": mpf(15), "double": mpf("1e9")},
    ),
    "GELU_SLOPE_SCALED": Tail(
        _gelu_slope_tail,
        {"float": mpf(3), "double": mpf(4)}, mpf(0), {"float": mpf(15), "double": mpf(40)},
    ),
}  # fmt: skip


def _silu_factor(d: mpf) -> mpf:
    """Return (1 + exp(-a) - a) / d with a = root - d."""
    if abs(d) < mpf("1e-20"):
        return 1 + mpmath.exp(-SILU_ROOT)
    return 1 + mpmath.exp(-SILU_ROOT) * mpmath.expm1(d) / d


FITS: Final = (
    Fit("EXP", "(exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2",
        lambda r: _series(r, mpmath.exp, lambda x: 1 + x, 2), -LN2_HALF, LN2_HALF,
        abs, {"float": 4, "double": 10}),
    Fit("LOG", "(log(1 + f) - f + f^2 / 2) / f^3 for 1 + f in [sqrt(1/2), sqrt(2)]",
        lambda f: _series(f, lambda x: mpmath.log(1 + x), lambda x: x - x * x / 2, 3),
        ROOT_LOW, ROOT_HIGH, lambda f: abs(f**3 / mpmath.log(1 + f)), {"float": 7}),
    Fit("LOG_RATIO", "(log((1 + s) / (1 - s)) - 2 s) / s^3 in powers of s^2",
        lambda s: _log_tail(s, 1), mpf("1e-6"), S_MAX, _square, {"double": 6}, _square),
    Fit("LOG_RATIO_TAIL", "(log((1 + s) / (1 - s)) - 2 s - 2 s^3 / 3) / s^5 in powers of s^2",
        lambda s: _log_tail(s, 2), mpf("1e-6"), S_MAX, lambda s: s**4, {"double": 7}, _square),
    Fit("LOG2_RATIO", "log2((1 + s) / (1 - s)) / s in powers of s^2, for float results",
        lambda s: _log_tail(s, 0) / mpmath.log(2), mpf("1e-6"), S_MAX, _constant,
        {"float": 6}, _square),
    Fit("EXP2", "(2^r - 1) / r for |r| <= 1/2, for float results",
        lambda r: (mpf(2)**r - 1) / r, mpf("-0.5005"), mpf("0.5005"), abs, {"float": 6}),
    Fit("SIN", "(sin(r) - r) / r^3 in powers of r^2, |r| <= pi / 4",
        lambda r: _series(r, mpmath.sin, lambda x: x, 3), mpf("1e-6"), QUARTER_PI, _square,
        {"float": 2, "double": 5}, _square),
    Fit("COS", "(cos(r) - 1 + r^2 / 2) / r^4 in powers of r^2, |r| <= pi / 4",
        lambda r: _series(r, mpmath.cos, lambda x: 1 - x * x / 2, 4), mpf("1e-6"), QUARTER_PI,
        lambda r: r**4, {"float": 2, "double": 5}, _square),
    Fit("ASIN", "(asin(s) - s) / s^3 in powers of s^2, 0 <= s <= 1/2",
        lambda s: _series(s, mpmath.asin, lambda x: x, 3), mpf("1e-6"), mpf("0.5001"), _square,
        {"float": 4, "double": 12}, _square),
    Fit("ATAN", "(atan(t) - t) / t^3 in powers of t^2, |t| <= tan(pi / 8)",
        lambda t: _series(t, mpmath.atan, lambda x: x, 3), mpf("1e-6"), mpf("0.4145"), _square,
        {"float": 4, "double": 10}, _square),
    Fit("TANH", "(tanh(x) - x) / x^3 in powers of x^2, |x| <= 0.7",
        lambda x: _series(x, mpmath.tanh, lambda v: v, 3), mpf("1e-6"), mpf("0.7001"), _square,
        {"float": 4}, _square),
    Fit("ERF", "erf(x) / x - 1 in powers of x^2, |x| <= 0.9375 (float) or 1 (double)",
        lambda x: mpmath.erf(x) / x - 1, mpf("1e-6"), mpf("1.0001"), _constant,
        {"float": 6, "double": 11}, _square, {"float": mpf("0.9376")}),
    Fit("ERFC_LOG", "log(erfc(a)), 0.9375 <= a <= 4 (float) or 1 <= a <= 6 (double)",
        lambda a: mpmath.log(mpmath.erfc(a)), mpf("0.93"), mpf("6.0"), mpmath.erfc,
        {"float": 6, "double": 19}, highs={"float": mpf("4")}),
    Fit("ERFC_SCALED", "(1 + 2a) exp(a^2) erfc(a) in (a - k) / (a + k), a >= 1/2; k = 2, 3",
        _constant, mpf(-1), mpf(1), _constant, {"float": 9, "double": 20}),
    Fit("NDTR_SCALED",
        "(a + k) exp(a^2 / 2) ndtr(-a) in (a - k) / (a + k), the constant in two; k = 3, 5",
        _constant, mpf(-1), mpf(1), _constant, {"float": 9, "double": 22}, constant_in_two=True),
    Fit("GELU_SLOPE_SCALED",
        "exp(a^2 / 2) gelu'(-a) / (root - a) in (a - k) / (a + k); k = 3, 4; as above",
        _constant, mpf(-1), mpf(1), _constant, {"float": 8, "double": 20}, constant_in_two=True),
    Fit("SILU_SLOPE", "(1 + exp(-a) - a) / d with d = root - a, |d| <= 1/4",
        _silu_factor, mpf("-0.2501"), mpf("0.2501"), lambda d: 1 / _silu_factor(d),
        {"float": 4, "double": 9}),
    Fit("CBRT", "the cube root of sqrt(1/8) to sqrt(8), to start from",
        mpmath.cbrt, mpmath.sqrt(mpf("0.1249")), mpmath.sqrt(mpf("8.01")),
        lambda x: 1 / mpmath.cbrt(x), {"double": 4}),
)  # fmt: skip


def round_to(scalar: str, number: mpf) -> mpf:
    """Round to the nearest float or double."""
    if scalar == "double":
        return mpf(float(number))
    return mpf(struct.unpack("f", struct.pack("f", float(number)))[0])


def minimax(values: list[mpf], powers: list[list[mpf]], weights: list[mpf]) -> list[mpf]:
    """Return the coefficients that level the weighted error over the sampled points."""
    size, count = len(powers[0]), len(values)
    nodes = [round(j * (count - 1) / size) for j in range(size + 1)]
    coefficients: list[mpf] = []
    for _ in range(30):
        rows = [[*powers[i], (-1) ** k / weights[i]] for k, i in enumerate(nodes)]
        solution = mpmath.lu_solve(mp.matrix(rows), mp.matrix([values[i] for i in nodes]))
        coefficients, level = list(solution)[:size], abs(solution[size])
        errors = [
            w * (v - mpmath.fdot(p, coefficients))
            for v, p, w in zip(values, powers, weights, strict=True)
        ]
        peaks = alternating_peaks(errors, size + 1)
        if len(peaks) < size + 1:
            break
        nodes = peaks
        if max(abs(e) for e in errors) < level * mpf("1.01"):
            break
    return coefficients


def alternating_peaks(errors: list[mpf], wanted: int) -> list[int]:
    """Return the indices of the largest error of each sign run, the smallest ends dropped."""
    peaks: list[int] = []
    for i, error in enumerate(errors):
        if peaks and (error > 0) == (errors[peaks[-1]] > 0):
            if abs(error) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > wanted:
        peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
    return peaks


def fit(what: Fit, scalar: str) -> tuple[list[mpf], mpf]:
    """Fit, rounding as we go; return coefficients (highest power first) and weighted error."""
    degree, f = what.degrees[scalar], what.f
    low, high = what.low, what.highs.get(scalar, what.high)
    # Float results of these come from arithmetic in doubles.
    storage = "double" if what.name in ("LOG2_RATIO", "EXP2") else scalar
    if what.name in TAILS:
        tail = TAILS[what.name]
        shift = tail.shift[scalar]
        low, high = ((a - shift) / (a + shift) for a in (tail.low, tail.reach[scalar]))
        f = lambda q: tail.f(shift * (1 + q) / (1 - q), shift)  # noqa: E731
        what = what._replace(weight=lambda q: 1 / f(q))
    count = 36 * (degree + 2) + 1  # odd multiples keep the grid off a zero in the middle
    angles = [mp.pi * (2 * i + 1) / (2 * count + 2) for i in range(count + 1)]
    points = [(low + high) / 2 - (high - low) / 2 * mpmath.cos(t) for t in angles]
    points = [x for x in points if x]
    values, weights = [f(x) for x in points], [what.weight(x) for x in points]
    variables = [what.variable(x) for x in points]
    powers = [[v**j for j in range(degree + 1)] for v in variables]
    candidates = [[round_to(storage, c) for c in minimax(values, powers, weights)]]
    if low > 0:
        # Rounding step by step wants a variable of one sign.
        candidates += [
            rounded_in_turn(values, variables, weights, degree, storage, mpf(cutoff))
            for cutoff in ("0.1", "0.02", "0.004", "0.0008")
        ]

    def error(candidate: list[mpf]) -> mpf:
        return max(
            abs(w * (y - mpmath.fdot(p, candidate)))
            for y, p, w in zip(values, powers, weights, strict=True)
        )

    if what.constant_in_two:
        # The constant's rounding would be the largest error of all.
        exact = minimax(values, powers, weights)[0]
        head = round_to(storage, exact)
        values = [v - head for v in values]
        left = polished([round_to(storage, exact - head), *candidates[0][1:]],
                        values, powers, weights, storage)  # fmt: skip
        return [*left[::-1], head], error(left)
    best = min(candidates, key=error)
    return best[::-1], error(best)


def polished(
    coefficients: list[mpf],
    values: list[mpf],
    powers: list[list[mpf]],
    weights: list[mpf],
    storage: str,
) -> list[mpf]:
    """Move coefficients by units in the last place, one or two at once, while that helps."""
    wide = np.array([[float(w * x) for x in p] for w, p in zip(weights, powers, strict=True)])
    errors = np.array([
        float(w * (y - mpmath.fdot(p, coefficients)))
        for y, p, w in zip(values, powers, weights, strict=True)
    ])  # fmt: skip
    kind = np.float64 if storage == "double" else np.float32
    moved = [kind(float(c)) for c in coefficients]
    units = [float(np.spacing(abs(c))) for c in moved]
    single = [(j, s * u) for j, u in enumerate(units) for s in (-1, 1)]
    steps = [((a,), wide[:, a[0]] * a[1]) for a in single]
    steps += [
        ((a, b), wide[:, a[0]] * a[1] + wide[:, b[0]] * b[1])
        for a, b in itertools.combinations(single, 2)
    ]
    while True:
        worst, step, change = min(
            ((np.max(np.abs(errors - change)), step, change) for step, change in steps),
            key=lambda found: found[0],
        )
        if worst >= np.max(np.abs(errors)) * 0.999:
            return [mpf(float(c)) for c in moved]
        errors = errors - change
        for j, by in step:
            moved[j] = kind(float(moved[j]) + by)


def rounded_in_turn(
    values: list[mpf],
    variables: list[mpf],
    weights: list[mpf],
    degree: int,
    storage: str,
    cutoff: mpf,
) -> list[mpf]:
    """Fit, round the constant, fit the quotient of what is left, and so on."""
    done: list[mpf] = []
    largest = max(variables)
    for j in range(degree + 1):
        powers = [[v**k for k in range(degree + 1 - j)] for v in variables]
        done.append(round_to(storage, minimax(values, powers, weights)[0]))
        # Close to zero, what rounding left over cannot be mended.
        kept = [
            ((y - done[j]) / v, w * v, v)
            for y, w, v in zip(values, weights, variables, strict=True)
            if v > largest * cutoff
        ]
        values, weights, variables = ([row[i] for row in kept] for i in range(3))
    return done


HEADER: Final = '''"""Coefficients of the polynomials, highest power first, by scalar type.

Written by benchmarks/fit_polynomials.py; edit that and run it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

Coefficients: TypeAlias = Mapping[str, tuple[float, ...]]
'''

# Enough for the largest double: its exponent, its digits, and as many again.
TWO_OVER_PI_BITS: Final = 1280


def two_over_pi() -> str:
    """Return the line that defines the leading bits of 2 / pi."""
    with mpmath.workprec(TWO_OVER_PI_BITS + 64):
        bits = int(mpmath.floor(2 / mp.pi * mpf(2) ** TWO_OVER_PI_BITS))
    digits = f"{bits:0{TWO_OVER_PI_BITS // 4}x}"
    rows = "\n".join(f'    "{digits[i : i + 80]}"' for i in range(0, len(digits), 80))
    return (
        f"# 2 / pi without the point: {TWO_OVER_PI_BITS} bits.\nTWO_OVER_PI: Final = (\n{rows}\n)\n"
    )


def main() -> None:
    """Fit all, or those named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="fit these only, without the header")
    names = parser.parse_args().names
    if not names:
        print(HEADER)
    for what in FITS:
        if names and what.name not in names:
            continue
        lines = []
        for scalar in what.degrees:
            coefficients, error = fit(what, scalar)
            sys.stderr.write(f"{what.name} {scalar}: 2^{float(mpmath.log(error, 2)):.2f}\n")
            lines.append(f'    "{scalar}": (')
            lines += [f"        {float(c)!r}," for c in coefficients]
            lines.append("    ),")
        print(f"# {what.note}.")
        print(f"{what.name}: Final[Coefficients] = {{")
        print("\n".join(lines))
        print("}\n")
    if not names:
        print(two_over_pi(), end="")


if __name__ == "__main__":
    main()
