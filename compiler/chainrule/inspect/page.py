"""A page that stands alone: formulas in MathML, reasons, source lines; no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

__all__ = ["page"]

_STYLE: Final = """
:root { color-scheme: light dark }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.5;
       font-family: system-ui, sans-serif }
math { font-size: 1.2rem }
section { overflow-x: auto }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
mtd { padding: 0.3em 0.2em }
.because { margin: 0 0 1.5rem 1rem; opacity: 0.8 }
pre { padding: 0.8rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent);
      overflow-x: auto }
"""


def page(
    title: str, value: str, derivative: str, terms: Sequence[tuple[str, str]],
    sources: Sequence[str],
) -> str:  # fmt: skip
    """Return the HTML of an explanation, from MathML and plain text."""
    parts = [_section("The function", value), _section("Its derivative", derivative)]
    if terms:
        listed = "".join(
            f'{mathml}<p class="because">because: {escape(reason)}</p>' for mathml, reason in terms
        )
        parts.append(_section("Term by term", listed))
    if sources:
        lines = "\n".join(escape(s) for s in sources)
        parts.append(_section("From these lines", f"<pre>{lines}</pre>"))
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(title: str, inside: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{inside}\n</section>"
