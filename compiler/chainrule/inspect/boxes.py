"""What formulas are set from: words, signs, rows, scripts, fractions, roots, brackets.

box = Word | Sign | Row of boxes | Script (base with something below or above) | Fraction
| Root | Fence (brackets) | Choice (cases)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction as Rational
from typing import Final, Literal, TypeAlias

__all__ = ["Box", "Choice", "Fence", "Fraction", "Root", "Row", "Script", "Sign", "Word", "decimal",
           "name_box"]  # fmt: skip

GREEK: Final = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ", "lambda": "λ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω",
}  # fmt: skip

Role: TypeAlias = Literal["name", "number", "function", "index", "text", "code"]


@dataclass(frozen=True, slots=True)
class Word:
    """Letters or digits; the role decides on the face."""

    text: str
    role: Role = "name"


@dataclass(frozen=True, slots=True)
class Sign:
    """An operator; "" is a product without a sign."""

    text: str
    spaced: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """Boxes side by side."""

    parts: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A box with a subscript, a superscript or both."""

    base: Box
    below: Box | None = None
    above: Box | None = None


@dataclass(frozen=True, slots=True)
class Fraction:
    """A numerator over a denominator."""

    top: Box
    bottom: Box


@dataclass(frozen=True, slots=True)
class Root:
    """A square root."""

    body: Box


@dataclass(frozen=True, slots=True)
class Fence:
    """Brackets of a kind around a box."""

    left: str
    body: Box
    right: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One value where a condition holds, another elsewhere."""

    then: Box
    condition: Box
    otherwise: Box


Box: TypeAlias = Word | Sign | Row | Script | Fraction | Root | Fence | Choice


def decimal(value: Rational) -> tuple[str, str]:
    """Return a positive number as a numerator and a denominator ("" for none).

    >>> decimal(Rational(1, 2)), decimal(Rational(1, 10)), decimal(Rational(2, 1797))
    (('1', '2'), ('0.1', ''), ('2', '1797'))
    """
    p, q = value.numerator, value.denominator
    if q == 1 and p < 10**15:
        return str(p), ""
    if q & (q - 1) == 0 and q <= 4096 and p < 10**6:
        return str(p), str(q)
    shortest = repr(float(value))
    digits = len(shortest.partition("e")[0].replace(".", "").strip("0"))
    if (digits <= 6 and Rational(shortest) == value) or q > 10**9 or p > 10**9:
        return shortest.replace("e-0", "e-").replace("e+", "e").removesuffix(".0"), ""
    return str(p), str(q)


def name_box(text: str) -> Box:
    """Set the digits at the end of a name below it: W1 is W with subscript 1."""
    found = re.fullmatch(r"(.*?[^\W\d_])_?(\d+)(_*)", text)
    if not found:
        return Word(GREEK.get(text, text))
    base, digits, primes = found.groups()
    return Script(Word(GREEK.get(base, base) + "′" * len(primes)), Word(digits, "number"))
