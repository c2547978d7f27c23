"""Formulas as presentation MathML, which browsers set without any script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from chainrule.inspect.boxes import Box, Choice, Fence, Fraction, Root, Row, Script, Sign, Word
from chainrule.inspect.layout import Layout, closed
from chainrule.inspect.notation import Name, Tree

__all__ = ["formula_mathml", "mathml"]


def mathml(tree: Tree) -> str:
    """Return a tree as a `math` element, set as a display."""
    return f'<math display="block">{_inner(tree)}</math>'


def _inner(tree: Tree) -> str:
    return _render(Layout(linear=False).box(tree))


def formula_mathml(
    subject: Tree | None, tree: Tree, definitions: Sequence[tuple[str, Tree]]
) -> str:
    """Return a formula and its definitions as one `math` element, aligned at the equals signs."""
    head = _inner(subject) if subject is not None else ""
    if not definitions and not head:
        return mathml(tree)
    rows = [("", head, _inner(tree))]
    for i, (name, part) in enumerate(definitions):
        rows.append(("where" if i == 0 else "", _inner(Name(name)), _inner(closed(part))))
    lines = "".join(_line(*row) for row in rows)
    return f'<math display="block"><mtable displaystyle="true">{lines}</mtable></math>'


def _line(note: str, left: str, right: str) -> str:
    equals = "<mo>=</mo>" if left else ""
    cells = (
        f'<mtd style="text-align: right"><mtext>{note}</mtext></mtd>',
        f'<mtd style="text-align: right">{left}</mtd>',
        f'<mtd style="text-align: left"><mrow>{equals}{right}</mrow></mtd>',
    )
    return f"<mtr>{''.join(cells)}</mtr>"


def _render(box: Box) -> str:
    match box:
        case Word(text, role):
            return _word(text, role)
        case Sign("", _):
            # Invisible times, with the thin space that print has there.
            return '<mo rspace="0.17em">&#x2062;</mo>'
        case Sign("Σ"):
            return "<mo>∑</mo>"
        case Sign(",", _):
            return '<mo separator="true">,</mo>'
        case Sign(sign, spaced):
            form = "" if spaced else ' form="prefix"'
            return f"<mo{form}>{escape(sign)}</mo>"
        case Row(parts):
            return _row("".join(map(_render, parts)))
        case Script(base, below, above):
            return _script(base, below, above)
        case Fraction(top, bottom):
            return f"<mfrac>{_row(_render(top))}{_row(_render(bottom))}</mfrac>"
        case Root(body):
            return f"<msqrt>{_render(body)}</msqrt>"
        case Fence(left, body, right):
            open_ = f'<mo form="prefix" fence="true">{left}</mo>'
            close = f'<mo form="postfix" fence="true">{right}</mo>'
            return _row(open_ + _render(body) + close)
        case Choice(then, condition, otherwise):
            left = 'style="text-align: left"'
            rows = (
                f"<mtr><mtd {left}>{_render(then)}</mtd>"
                f"<mtd {left}><mtext>if&#xA0;</mtext>{_render(condition)}</mtd></mtr>"
                f"<mtr><mtd {left}>{_render(otherwise)}</mtd>"
                f"<mtd {left}><mtext>otherwise</mtext></mtd></mtr>"
            )
            return _row(f'<mo form="prefix" fence="true">{{</mo><mtable>{rows}</mtable>')


def _row(inside: str) -> str:
    return f"<mrow>{inside}</mrow>"


def _script(base: Box, below: Box | None, above: Box | None) -> str:
    parts = [_row(_render(b)) for b in (base, below, above) if b is not None]
    if base == Sign("Σ", spaced=False):
        return f"<munder><mo>∑</mo>{parts[1]}</munder>"
    kind = "msubsup" if len(parts) == 3 else "msub" if below is not None else "msup"
    return f"<{kind}>{''.join(parts)}</{kind}>"


def _word(text: str, role: str) -> str:
    match role:
        case "number":
            return f"<mn>{text}</mn>"
        case "text":
            return f"<mtext>{escape(text)}</mtext>" if text != "ᵀ" else "<mo>⊤</mo>"
        case "code":
            return f'<mtext mathvariant="monospace">{escape(text)}</mtext>'
        case "index":
            return "".join(f"<mi>{c}</mi>" if c != "·" else "<mo>·</mo>" for c in text)
        case "function":
            return f'<mi mathvariant="normal">{escape(text)}</mi>'
    return f"<mi>{escape(text)}</mi>"
