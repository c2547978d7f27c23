r"""Formulas as LaTeX: `\frac{2}{n} x^{\top} \left(x w - y\right)`; needs amsmath and amssymb."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from chainrule.inspect.boxes import Box, Choice, Fence, Fraction, Root, Row, Script, Sign, Word
from chainrule.inspect.layout import Layout, closed
from chainrule.inspect.notation import Name, Tree
from chainrule.ops import OPS

__all__ = ["formula_latex", "latex"]

_SIGNS: Final = {
    "−": "-", "⊙": r"\odot", "⊗": r"\otimes", "≠": r"\neq", "≤": r"\leq", "≥": r"\geq",
    "∧": r"\land", "∨": r"\lor", "¬": r"\lnot ", "Σ": r"\sum", "": " ", ",": ",",
}  # fmt: skip
_FUNCTIONS: Final = {
    "σ": r"\sigma", "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan",
    "mod": r"\operatorname{mod}",
    **{f: "\\" + f for f in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max",
                             "min")},
}  # fmt: skip
_LETTERS: Final = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi",
    "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "varphi", "ψ": "psi", "ω": "omega", "∞": "infty",
    "∂": "partial",
}  # fmt: skip
_FENCES: Final = {
    "(": r"\left(", ")": r"\right)", "[": r"\left[", "]": r"\right]", "‖": r"\Vert",
    "⌊": r"\lfloor ", "⌋": r" \rfloor", "⌈": r"\lceil ", "⌉": r" \rceil",
}  # fmt: skip


def latex(tree: Tree) -> str:
    """Return a tree as LaTeX for math mode."""
    return re.sub(" {2,}", " ", _render(Layout(linear=False).box(tree))).strip()


def formula_latex(subject: Tree | None, tree: Tree, definitions: Sequence[tuple[str, Tree]]) -> str:
    """Return a formula; with definitions, an `aligned` environment with one a line."""
    head = latex(subject) if subject is not None else ""
    if not definitions:
        return f"{head} = {latex(tree)}" if head else latex(tree)
    first = f"{head} &= {latex(tree)}" if head else f"& {latex(tree)}"
    lines = [
        ("" if i else r"\text{where } ") + f"{latex(Name(name))} &= {latex(closed(part))}"
        for i, (name, part) in enumerate(definitions)
    ]
    return "\\begin{aligned}\n" + " \\\\\n".join([first, *lines]) + "\n\\end{aligned}"


def _render(box: Box) -> str:
    match box:
        case Word(text, role):
            return _word(text, role)
        case Sign(",") | Sign("", _):
            return ", " if box.text else " "
        case Sign(sign, spaced):
            shown = _SIGNS.get(sign, sign)
            return f" {shown} " if spaced else shown
        case Row(parts):
            return "".join(map(_render, parts))
        case Script(base, below, above):
            inside = _render(base).rstrip()
            if isinstance(base, Script):
                inside = f"{{{inside}}}"
            low = f"_{{{_render(below)}}}" if below is not None else ""
            return inside + low + (f"^{{{_render(above)}}}" if above is not None else "")
        case Fraction(top, bottom):
            return rf"\frac{{{_render(top)}}}{{{_render(bottom)}}}"
        case Root(body):
            return rf"\sqrt{{{_render(body)}}}"
        case Fence("|", body, _):
            return rf"\left|{_render(body)}\right|"
        case Fence("‖", body, _):
            return rf"\left\Vert {_render(body)}\right\Vert"
        case Fence(left, body, right):
            return _FENCES[left] + _render(body) + _FENCES[right]
        case Choice(then, condition, otherwise):
            rows = rf"{_render(then)} & {_render(condition)} \\ {_render(otherwise)} & "
            return rf"\begin{{cases}} {rows}\text{{otherwise}} \end{{cases}}"


def _word(text: str, role: str) -> str:
    if text == "ᵀ":
        return r"\top"
    if text in _LETTERS and role not in ("function", "code"):
        return "\\" + _LETTERS[text] + " "
    match role:
        case "number":
            mantissa, _, exponent = text.partition("e")
            return rf"{mantissa} \cdot 10^{{{exponent}}}" if exponent else text
        case "index":
            return "".join(r"\cdot " if c == "·" else f"{c} " for c in text).strip()
        case "function":
            return _FUNCTIONS.get(text) or _declared(text)
        case "code":
            return r"\texttt{" + text.replace("_", r"\_") + "}"
        case "text":
            letters = any(map(str.isalpha, text))
            return rf"\mathrm{{{text}}}".replace("_", r"\_") if letters else text
    if len(text) == 1:
        return text
    if text.endswith("′"):
        return _word(text.rstrip("′"), role) + "'" * text.count("′")
    return r"\mathit{" + text.replace("_", r"\_") + "}"


def _declared(function: str) -> str:
    """Return a function as its op says it is written, else as an upright word."""
    notation = OPS[function].notation if function in OPS else None
    head, called, _ = notation.latex.partition(r"\left(") if notation else ("", "", "")
    if called:
        return head.format()
    escaped = function.replace("_", r"\_")
    return rf"\operatorname{{{escaped}}}"
