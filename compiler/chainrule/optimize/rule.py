"""Rewrite rules as data: two expressions over wildcards, and a promise.

Both sides are ordinary expressions, written with the operators and functions below, so one test can
evaluate every rule.  A pattern says nothing of shapes and element types: numbers in it stand for
constants of whatever type the matched operands have, broadcast or not.

>>> Rule(wild("x") * 1, wild("x"))
x * 1 -> x
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

__all__ = ["Binding", "Guard", "Keeps", "Pattern", "Rule", "along", "call", "constant", "reduced",
           "wild"]  # fmt: skip

Binding: TypeAlias = Mapping[str, Any]
"What the wildcards stand for: nodes, and tuples of axes."
Guard: TypeAlias = Callable[[Binding], bool]


class Keeps(Enum):
    """What a rule promises to keep; strict compilation runs only the rules that keep bits."""

    BITS = "the same float for every input: NaN, infinities and signed zeros included"
    REALS = "the same real number: rounding, overflow and zero signs may differ, NaN stays NaN"


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """A term: an op applied to terms, a number, or a wildcard.

    Attributes:
        op: Name of an op, or one of `wild`, `constant` (a wildcard for constants), `number`,
            `along` (a reduced value copied back along the axes it was reduced over).
        args: The operands.
        name: Of a wildcard.
        number: The value of a number.
        axes: Name of the wildcard for a reduction's axes.
        boolean: Whether a wildcard stands for truth values only.
        attributes: Static attributes that an op has here.
    """

    op: str
    args: tuple[Pattern, ...] = ()
    name: str = ""
    number: float | bool = 0.0
    axes: str = ""
    boolean: bool = False
    attributes: tuple[tuple[str, Any], ...] = ()

    def __add__(self, other: Term) -> Pattern:
        return call("add", self, other)  # noqa: E704

    def __radd__(self, other: Term) -> Pattern:
        return call("add", other, self)  # noqa: E704

    def __sub__(self, other: Term) -> Pattern:
        return call("sub", self, other)  # noqa: E704

    def __rsub__(self, other: Term) -> Pattern:
        return call("sub", other, self)  # noqa: E704

    def __mul__(self, other: Term) -> Pattern:
        return call("mul", self, other)  # noqa: E704

    def __rmul__(self, other: Term) -> Pattern:
        return call("mul", other, self)  # noqa: E704

    def __truediv__(self, other: Term) -> Pattern:
        return call("div", self, other)  # noqa: E704

    def __rtruediv__(self, other: Term) -> Pattern:
        return call("div", other, self)  # noqa: E704

    def __pow__(self, other: Term) -> Pattern:
        return call("pow", self, other)  # noqa: E704

    def __rpow__(self, other: Term) -> Pattern:
        return call("pow", other, self)  # noqa: E704

    def __neg__(self) -> Pattern:
        return call("neg", self)  # noqa: E704

    def __lt__(self, other: Term) -> Pattern:
        return call("less", self, other)  # noqa: E704

    def __le__(self, other: Term) -> Pattern:
        return call("less_equal", self, other)  # noqa: E704

    def __gt__(self, other: Term) -> Pattern:
        return call("greater", self, other)  # noqa: E704

    def __ge__(self, other: Term) -> Pattern:
        return call("greater_equal", self, other)  # noqa: E704

    def __and__(self, other: Term) -> Pattern:
        return call("bit_and", self, other)  # noqa: E704

    def __or__(self, other: Term) -> Pattern:
        return call("bit_or", self, other)  # noqa: E704

    def __invert__(self) -> Pattern:
        return call("bit_not", self)  # noqa: E704

    @property
    def is_constant(self) -> bool:
        """Tell whether it matches constants only."""
        return self.op in ("number", "constant")

    def __repr__(self) -> str:
        return _show(self, 0)


Term: TypeAlias = "Pattern | float | bool"


def _term(value: Term) -> Pattern:
    return value if isinstance(value, Pattern) else Pattern("number", number=value)


def wild(name: str, *, boolean: bool = False) -> Pattern:
    """Return a wildcard: it stands for any node, the same one wherever it occurs."""
    return Pattern("wild", name=name, boolean=boolean)


def constant(name: str) -> Pattern:
    """Return a wildcard for constants, broadcast ones included."""
    return Pattern("constant", name=name)


def call(op: str, *args: Term, **attributes: Any) -> Pattern:
    """Return the op `op` applied to terms."""
    return Pattern(op, tuple(map(_term, args)), attributes=tuple(attributes.items()))


def reduced(op: str, x: Pattern, axes: str = "A") -> Pattern:
    """Return a reduction (or softmax and its kin) over the axes bound to `axes`."""
    return Pattern(op, (x,), axes=axes)


def along(x: Term, like: Pattern, axes: str = "A") -> Pattern:
    """Return `x` copied along `axes`, so that it has the shape of `like`."""
    return Pattern("along", (_term(x), like), axes=axes)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """`before` becomes `after`, whatever the wildcards stand for, where `when` allows it."""

    before: Pattern
    after: Pattern | float | bool
    keeps: Keeps = Keeps.BITS
    when: Guard | None = None

    @property
    def result(self) -> Pattern:
        """The right side as a pattern."""
        return _term(self.after)

    @property
    def integers(self) -> bool:
        """Tell whether the rule is made of ops for which machine integers are a ring: exact."""
        return all(
            p.op in _INTEGER and (p.op != "number" or float(p.number).is_integer())
            for p in (*_parts(self.before), *_parts(self.result))
        )

    def __repr__(self) -> str:
        return f"{self.before} -> {self.result}"


_INTEGER: Final = frozenset(
    {"wild", "constant", "number", "add", "sub", "mul", "neg", "select", "bit_and", "bit_or",
     "bit_not", "equal", "not_equal", "maximum", "minimum"}
)  # fmt: skip


def _parts(pattern: Pattern) -> list[Pattern]:
    return [pattern, *(p for a in pattern.args for p in _parts(a))]


_SIGNS: Final = {
    "add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2), "pow": ("**", 4),
    "less": ("<", 0), "less_equal": ("<=", 0), "greater": (">", 0), "greater_equal": (">=", 0),
    "equal": ("==", 0), "not_equal": ("!=", 0), "bit_and": ("&", 0), "bit_or": ("|", 0),
}  # fmt: skip


def _show(p: Pattern, tight: int) -> str:
    match p.op:
        case "wild" | "constant":
            return p.name
        case "number":
            return f"{p.number:g}" if not isinstance(p.number, bool) else str(p.number)
        case "neg" | "bit_not":
            return ("-" if p.op == "neg" else "~") + _show(p.args[0], 3)
        case "along":
            return f"along({_show(p.args[0], 0)})"
    if p.op in _SIGNS:
        sign, level = _SIGNS[p.op]
        text = f"{_show(p.args[0], level)} {sign} {_show(p.args[1], level + 1)}"
        return f"({text})" if level < tight or level == 0 < tight else text
    return f"{p.op}({', '.join(_show(a, 0) for a in p.args)})"
