"""The derivative for people: formulas, reasons, conversion to SymPy, counts."""

from chainrule.inspect.counts import Counts, count
from chainrule.inspect.explanation import Explanation, Term, explain
from chainrule.inspect.formulas import Formula, formula
from chainrule.inspect.from_expression import from_sympy
from chainrule.inspect.symbolic import to_sympy

__all__ = ["Counts", "Explanation", "Formula", "Term", "count", "explain", "formula", "from_sympy",
           "to_sympy"]  # fmt: skip
