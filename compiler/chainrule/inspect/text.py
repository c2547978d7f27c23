"""Formulas as Unicode text: `2 xᵀ (x w − y) / n`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.inspect.boxes import Box, Choice, Fence, Fraction, Root, Row, Script, Sign, Word
from chainrule.inspect.layout import Layout, closed
from chainrule.inspect.notation import Name, Tree

__all__ = ["formula_text", "text"]

_BELOW: Final = str.maketrans("0123456789aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ")
_ABOVE: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOW: Final = frozenset("0123456789aehijklmnoprstuvx·")


def text(tree: Tree) -> str:
    """Return a tree as one line of text."""
    return _render(Layout(linear=True).box(tree))


def formula_text(subject: Tree | None, tree: Tree, definitions: Sequence[tuple[str, Tree]]) -> str:
    """Return a formula and its definitions, one a line."""
    head = f"{text(subject)} = " if subject is not None else ""
    lines = [head + text(tree)]
    for i, (name, part) in enumerate(definitions):
        lines.append(f"{'      ' if i else 'where '}{text(Name(name))} = {text(closed(part))}")
    return "\n".join(lines)


def _render(box: Box) -> str:
    match box:
        case Word(text):
            return text
        case Sign(","):
            return ", "
        case Sign(sign, spaced):
            return (f" {sign} " if sign else " ") if spaced else sign
        case Row(parts):
            return "".join(map(_render, parts))
        case Script(base, below, above):
            return _render(base) + _below(below) + _above(above)
        case Fraction(top, bottom):
            return f"({_render(top)}) / ({_render(bottom)})"
        case Root(body):
            return f"sqrt({_render(body)})"
        case Fence(left, body, right):
            return left + _render(body) + right
        case Choice(then, condition, otherwise):
            return f"where({_render(condition)}, {_render(then)}, {_render(otherwise)})"


def _below(box: Box | None) -> str:
    if box is None:
        return ""
    inside = _render(box)
    return inside.translate(_BELOW) if set(inside) <= _LOW else f"_{{{inside}}}"


def _above(box: Box | None) -> str:
    if box is None:
        return ""
    inside = _render(box)
    if inside == "ᵀ":
        return inside
    if inside.isdigit():
        return inside.translate(_ABOVE)
    simple = isinstance(box, Word | Fence) or inside.isidentifier()
    return f"^{inside}" if simple else f"^({inside})"
