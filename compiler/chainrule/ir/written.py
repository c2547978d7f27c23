"""Extents as people write them: `batch`, `2*n + 1`, `(n + 1)//2`, `max(n, 3)`.

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "//" | "%") signed)*
    signed  = "-" signed | part
    part    = number | name | ("min" | "max") "(" sum "," sum ")" | "(" sum ")"

Whatever `show_extent` prints is read as the same extent again.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NoReturn

from chainrule.errors import ShapeError, explain
from chainrule.ir.dims import Extent, larger, named, smaller

__all__ = ["ALLOWED", "parse_extent", "parse_shape"]

ALLOWED: Final = (
    "an extent is a whole number from 0, a name (any Python identifier), or an expression of them "
    "with +, -, *, //, %, min(a, b), max(a, b) and parentheses"
)
_TOKEN: Final = re.compile(r"\s*(\d+|\w+|//|[-+*%(),])")
_LARGEST: Final = (1 << 63) - 1
_DEEPEST: Final = 100


def parse_extent(text: str) -> Extent:
    """Read an extent; names are normalised as Python's are (NFKC).

    Raises:
        ShapeError: It is no extent.

    >>> parse_extent("2*(n + 1)"), parse_extent("n//n"), parse_extent(" 8 ")
    (2*n + 2, 1, 8)
    """
    # Words of Python's own (`lambda`, `in`) are good names of dims.
    return _name(text.strip()) if text.strip().isidentifier() else _Reader(text).whole()


def parse_shape(text: str) -> tuple[Extent, ...]:
    """Read extents with commas between.

    >>> parse_shape("batch, max(n, 3), 8")
    (batch, max(n, 3), 8)
    """
    parts, depth, start = [], 0, 0
    for i, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    if not parts[-1].strip():
        parts.pop()
    return tuple([parse_extent(p) for p in parts])


def _name(word: str) -> Extent:
    return named(unicodedata.normalize("NFKC", word))


class _Reader:
    """Reads one extent from left to right, a method for each line of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._split(text)
        self.depth = 0

    def whole(self) -> Extent:
        """Read all of the text."""
        extent = self.sum()
        if self.tokens:
            self.refuse(f"unexpected  {self.tokens[-1]}")
        if isinstance(extent, int) and not 0 <= extent <= _LARGEST:
            self.refuse(f"value  {extent}")
        return extent

    def sum(self) -> Extent:
        total = self.product()
        while (sign := self.taken("+", "-")) is not None:
            term = self.product()
            total = total + term if sign == "+" else total - term
        return total

    def product(self) -> Extent:
        total = self.signed()
        while (sign := self.taken("*", "//", "%")) is not None:
            factor = self.signed()
            if sign == "*":
                total = total * factor
            elif isinstance(factor, int) and factor <= 0:
                self.refuse(f"divides by  {factor}")
            else:
                total = total // factor if sign == "//" else total % factor
        return total

    def signed(self) -> Extent:
        minus = False
        while self.taken("-") is not None:
            minus = not minus
        part = self.part()
        return -part if minus else part

    def part(self) -> Extent:
        word = self.tokens.pop() if self.tokens else ""
        if word.isascii() and word.isdigit():
            number = int(word) if len(word) < len(str(_LARGEST)) + 1 else _LARGEST + 1
            return number if number <= _LARGEST else self.refuse(f"too large  {word}")
        if word == "(":
            return self.closed(self.nested())
        if word in ("min", "max") and self.taken("(") is not None:
            first = self.nested()
            if self.taken(",") is None:
                self.refuse(f"{word} takes  two extents")
            second = self.closed(self.nested())
            return smaller(first, second) if word == "min" else larger(first, second)
        if not word.isidentifier():
            self.refuse(f"unexpected  {word or 'its end'}")
        return _name(word)

    def nested(self) -> Extent:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse("parentheses  nested too deeply")
        extent = self.sum()
        self.depth -= 1
        return extent

    def closed(self, extent: Extent) -> Extent:
        if self.taken(")") is None:
            self.refuse("missing  )")
        return extent

    def taken(self, *signs: str) -> str | None:
        """Take the next token if it is one of the signs."""
        return self.tokens.pop() if self.tokens and self.tokens[-1] in signs else None

    def _split(self, text: str) -> list[str]:
        """Return the tokens, the next one last."""
        tokens, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                self.refuse(f"unexpected  {text[at:].strip()[0]!r}")
            tokens.append(found[1])
            at = found.end()
        return tokens[::-1]

    def refuse(self, fact: str) -> NoReturn:
        raise ShapeError(explain(f"{self.text!r} is no extent", fact, hint=ALLOWED))
