"""Reads the text notation and computes what it says, in NumPy.

Written from the notation alone, as a reader would: it shares no code with the printer, and knows
nothing of nodes.  `read("2 xᵀ (x w − y)", {"x": ..., "w": ..., "y": ...})`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special as sp

LOW = dict(zip("₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", "0123456789aehijklmnoprstuvx", strict=True))
HIGH = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))
LETTERS = "ᵢⱼₖₗₘₙₒₚ"
NAME = re.compile(r"[A-Za-zα-ωΑ-Ω∞][A-Za-z0-9_]*[₀-₉]*′*|∞")
NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")
INDEX = re.compile(r"[·ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ]+")
PICK = re.compile(r"\[i, ")
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, "≠": np.not_equal, "<": np.less, "≤": np.less_equal, ">": np.greater,
    "≥": np.greater_equal, "∧": np.logical_and, "∨": np.logical_or,
}  # fmt: skip


def softmax(x: Any, axis: Any) -> Any:
    return sp.softmax(x, axis=axis)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod,
    "logsumexp": sp.logsumexp, "argmax": lambda x, axis=None: np.argmax(x, axis=_one(axis)),
    "argmin": lambda x, axis=None: np.argmin(x, axis=_one(axis)),
    "norm": lambda x, axis=None: np.sqrt(np.sum(x * x, axis=axis)),
}  # fmt: skip
ALONG: dict[str, Callable[..., Any]] = {
    "softmax": softmax, "log_softmax": lambda x, axis: sp.log_softmax(x, axis=axis),
    "cumsum": lambda x, axis: np.cumsum(x, axis=_one(axis)),
    "reverse_cumsum": lambda x, axis: np.flip(
        np.cumsum(np.flip(x, _one(axis)), _one(axis)), _one(axis)
    ),
    "concatenate": lambda *xs, axis: np.concatenate(xs, axis=_one(axis)),
    "recurrence": lambda a, b, axis: recurrence(a, b, _one(axis)),
    "reverse_recurrence": lambda a, b, axis: np.flip(
        recurrence(np.flip(a, _one(axis)), np.flip(b, _one(axis)), _one(axis)), _one(axis)
    ),
}  # fmt: skip


def _one(axis: Any) -> Any:
    return axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis


def recurrence(a: Any, b: Any, axis: int) -> Any:
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0).copy()
    for j in range(1, len(b)):
        b[j] += a[j] * b[j - 1]
    return np.moveaxis(b, 0, axis)


def place(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    y = np.zeros(shape)
    y[index] = x
    return y


def scatter(g: Any, index: Any, size: int, batch: int = 0) -> Any:
    if batch:
        return np.stack([scatter(a, i, size, batch - 1) for a, i in zip(g, index, strict=True)])
    y = np.zeros((int(size), *np.shape(g)[np.ndim(index) :]))
    np.add.at(y, index, g)
    return y


def gather(x: Any, index: Any, batch: int = 0) -> Any:
    if batch:
        return np.stack([gather(a, i, batch - 1) for a, i in zip(x, index, strict=True)])
    return x[index]


def sinc(x: Any, order: int = 0) -> Any:
    t, weight = np.polynomial.legendre.leggauss(60)
    t, weight = (t + 1) / 2, weight / 2
    z = np.pi * np.asarray(x)[..., None]
    return np.pi**order * np.sum(weight * t**order * np.cos(z * t + order * np.pi / 2), -1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "σ": sp.expit, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "softplus": lambda x: np.logaddexp(0, x), "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": sp.erf,
    "erfc": sp.erfc, "hypot": np.hypot, "atan2": np.arctan2, "logaddexp": np.logaddexp,
    "xlogy": sp.xlogy, "relu": lambda x: np.maximum(x, 0), "sign": np.sign, "sqrt": np.sqrt,
    "clip": np.clip, "where": np.where, "mod": np.remainder, "fmod": np.fmod, "trunc": np.trunc,
    "rint": np.rint, "floor_divide": np.floor_divide, "max": np.maximum, "min": np.minimum,
    "arange": lambda n: np.arange(int(n)), "broadcast": np.broadcast_to,
    "reshape": np.reshape, "transpose": np.transpose, "place": place, "scatter": scatter,
    "gather": gather, "sinc": sinc, "bit_xor": np.bitwise_xor, "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or, "bit_not": np.invert, "shift_left": np.left_shift,
    "shift_right": np.right_shift, "floordiv": lambda a, b: a // b,
}  # fmt: skip


def read(text: str, env: Mapping[str, Any], *, classes: int = 0) -> Any:
    """Return the value of a formula whose definitions, if any, follow on lines of their own."""
    first, *rest = text.split("\n")
    values = {"π": math.pi, "∞": math.inf, "nan": math.nan, "true": True, "false": False}
    values |= {lowered(name): value for name, value in env.items()}
    functions = dict(FUNCTIONS)
    functions["onehot"] = lambda y: np.eye(classes)[np.asarray(y, dtype=int)]
    # The last definition uses none of the others that stand before it... in some order.
    waiting = [line.removeprefix("where").strip().split(" = ", 1) for line in rest]
    while waiting:
        name, body = waiting.pop(0)
        try:
            values[name] = Reader(body, values, functions).whole()
        except KeyError:
            waiting.append([name, body])
            if len(waiting) > 400:
                raise
    return Reader(first, values, functions).whole()


def lowered(name: str) -> str:
    """Return a name as print sets it: W1 as W₁."""
    found = re.fullmatch(r"(.*[A-Za-z])_?(\d+)", name)
    if not found:
        return name
    return found[1] + "".join("₀₁₂₃₄₅₆₇₈₉"[int(d)] for d in found[2])


class Reader:
    """Recursive descent over one line."""

    def __init__(self, text: str, env: Mapping[str, Any], functions: Mapping[str, Any]) -> None:
        self.text, self.at, self.env, self.functions = text, 0, env, functions

    def whole(self) -> Any:
        value = self.comparison()
        assert self.at == len(self.text), f"cannot read {self.text[self.at :]!r} in {self.text!r}"
        return value

    def takes(self, *signs: str) -> str:
        for sign in signs:
            if self.text.startswith(sign, self.at):
                self.at += len(sign)
                return sign
        return ""

    def takes_match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found.group() if found else ""

    def comparison(self) -> Any:
        left = self.sum()
        while sign := self.takes(*(f" {s} " for s in COMPARISONS)):
            left = COMPARISONS[sign.strip()](left, self.sum())
        return left

    def sum(self) -> Any:
        total = -self.product() if self.takes("−") else self.product()
        while sign := self.takes(" + ", " − "):
            total = total + self.product() if sign == " + " else total - self.product()
        return total

    def product(self) -> Any:
        value = self.factor()
        while True:
            if self.takes(" ⊙ "):
                value = value * self.factor()
            elif self.takes(" ⊗ "):
                value = np.multiply.outer(value, self.factor())
            elif self.takes(" / "):
                value = value / self.factor()
            elif self.starts_factor():
                self.at += 1
                other = self.factor()
                scalar = np.ndim(value) == 0 or np.ndim(other) == 0
                value = value * other if scalar else value @ other
            else:
                return value

    def starts_factor(self) -> bool:
        ahead = self.text[self.at : self.at + 2]
        return (
            len(ahead) == 2
            and ahead[0] == " "
            and (bool(re.match(r"[A-Za-zα-ωΣ0-9(\[|‖⌊⌈∞¬]", ahead[1])))
        )

    def factor(self) -> Any:
        if self.takes("Σ"):
            return self.sum_of_indexed()
        value, index = self.powered()
        if index:
            return self.indexed([(value, index)])
        return value

    def sum_of_indexed(self) -> Any:
        summed = self.takes_match(INDEX)
        self.takes(" ")
        value, index = self.powered()
        if set(index) <= {*summed, "·"} and not self.indexed_follows():
            return np.sum(value, axis=tuple(i for i, c in enumerate(index) if c != "·"))
        return self.indexed([(value, index)])

    def indexed_follows(self) -> bool:
        before = self.at
        if not self.starts_factor():
            return False
        self.at += 1
        _, index = self.powered()
        self.at = before
        return bool(index)

    def indexed(self, found: list[tuple[Any, str]]) -> Any:
        """Sum over repeated letters that are not free; free letters stand in alphabetical order."""
        while self.starts_factor():
            before = self.at
            self.at += 1
            value, index = self.powered()
            if not index:
                self.at = before
                break
            found.append((value, index))
        letters = sorted({LOW[c] for _, index in found for c in index})
        out = "".join(c for c in letters if c in "ijklmnop")
        terms = ",".join("".join(LOW[c] for c in index) for _, index in found)
        return np.einsum(f"{terms}->{out}", *(v for v, _ in found))

    def powered(self) -> tuple[Any, str]:
        value = self.atom()
        index = ""
        while self.at < len(self.text):
            here = self.text[self.at]
            if here == "ᵀ":
                self.at += 1
                value = np.swapaxes(value, -1, -2) if np.ndim(value) > 1 else value
            elif here in HIGH:
                digits = ""
                while self.at < len(self.text) and self.text[self.at] in HIGH:
                    digits += HIGH[self.text[self.at]]
                    self.at += 1
                value = value ** int(digits)
            elif here == "^":
                self.at += 1
                value = np.power(value, self.atom())
            elif here == "[":
                value = self.bracket(value)
            elif found := self.takes_match(INDEX):
                index = found
            else:
                break
        return value, index

    def bracket(self, value: Any) -> Any:
        if self.takes_match(PICK):
            picked, index = self.powered()
            assert index == "ᵢ", self.text
            assert self.takes("]"), self.text
            return value[np.arange(len(picked)), picked]
        end = self.text.index("]", self.at)
        inside = self.text[self.at + 1 : end]
        if ":" in inside or "None" in inside or re.fullmatch(r"[\d, ]+", inside):
            self.at = end + 1
            return value[self.slices(inside)]
        self.at += 1
        index = self.comparison()
        assert self.takes("]"), self.text
        return value[index]

    def slices(self, text: str) -> Any:
        return eval(f"np.s_[{text}]", {"np": np}, dict(self.env))  # noqa: S307

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        values, keywords = [], {}
        assert self.takes("(")
        while not self.takes(")"):
            if found := self.takes_match(re.compile(r"\w+=\d+")):
                name, _, number = found.partition("=")
                keywords[name] = int(number)
            else:
                values.append(self.argument())
            self.takes(", ")
        return values, keywords

    def argument(self) -> Any:
        if found := self.takes_match(re.compile(r"\[[^\]]*:[^\]]*\](?=, \()")):
            return self.slices(found[1:-1])
        # A shape: brackets with a comma inside and no brackets.
        if found := self.takes_match(re.compile(r"\(([\w+* -]+,[\w+*, -]*|)\)")):
            return eval(  # noqa: S307
                found,
                {},
                {
                    k: int(v)
                    for k, v in self.env.items()
                    if np.ndim(v) == 0 and not isinstance(v, float)
                },
            )
        return self.comparison()

    def atom(self) -> Any:
        if number := self.takes_match(NUMBER):
            return float(number) if not number.isdigit() else int(number)
        if self.takes("("):
            value = self.comparison()
            assert self.takes(")"), f"{self.text[self.at :]!r} in {self.text!r}"
            return value
        if self.takes("["):
            value = self.comparison()
            assert self.takes("]"), self.text
            return np.asarray(value).astype(float)
        if self.takes("¬"):
            return np.logical_not(self.atom())
        for left, right, function in (
            ("|", "|", np.abs), ("⌊", "⌋", np.floor), ("⌈", "⌉", np.ceil),
            ("‖", "‖", lambda x: np.sqrt(np.sum(x * x))),
        ):  # fmt: skip
            if self.takes(left):
                value = self.comparison()
                assert self.takes(right), self.text
                return function(value)
        name = self.takes_match(NAME)
        assert name, f"cannot read {self.text[self.at :]!r} in {self.text!r}"
        return self.named(name)

    def named(self, name: str) -> Any:
        known = name in self.functions or name in REDUCTIONS or name in ALONG
        letters = self.takes_match(INDEX) if known and name not in self.env else ""
        axes = tuple(LETTERS.index(c) for c in letters)
        if self.text.startswith("(", self.at) and known:
            values, keywords = self.arguments()
            if name in ALONG:
                return ALONG[name](*values, axis=axes or (-1,))
            if name in REDUCTIONS and len(values) == 1:
                return REDUCTIONS[name](values[0])
            return self.functions[name](*values, **keywords)
        if axes:
            self.takes(" ")
            value, index = self.powered()
            assert {LETTERS.index(c) for c in index if c != "·"} == set(axes), self.text
            return REDUCTIONS[name](value, axis=_one(axes))
        return self.env[name]


def names_used(text: str) -> Sequence[str]:
    return NAME.findall(text)
