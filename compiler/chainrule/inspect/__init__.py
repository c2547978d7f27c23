"""The derivative for people: formulas, reasons, conversion to SymPy, counts."""

from typing import TYPE_CHECKING, NoReturn

from chainrule.errors import absent, public_names
from chainrule.inspect.counts import Counts, count
from chainrule.inspect.explanation import Explanation, Term, explain
from chainrule.inspect.formulas import Formula, formula
from chainrule.inspect.from_expression import from_sympy
from chainrule.inspect.symbolic import to_sympy

__all__ = ["Counts", "Explanation", "Formula", "Term", "count", "explain", "formula", "from_sympy",
           "to_sympy"]  # fmt: skip


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
