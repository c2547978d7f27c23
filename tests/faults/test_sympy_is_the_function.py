"""Kind: the SymPy expression of an op is another function where arguments are negative or halves.

As in numba#8574, casadi#1112, sympy#20467, sympy#24981.  SymPy's own evaluation of the expression
is compared with what the evaluator computes, and so is what is read back from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.array import Array
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import Program
from chainrule.ir.types import F64, Type
from chainrule.ops import OPS

sympy = pytest.importorskip("sympy")

POINTS = [-2.5, -1.5, -0.7, 0.0, 0.5, 1.25, 3.0]
NAMES = [n for n, op in OPS.items() if op.sympy and n not in ("clip", "sinc", "rel_entr")]
"Ops of one or two arguments; sinc has an attribute, rel_entr is infinite for what SciPy refuses."


def in_sympy(expression: Any, given: dict[str, float]) -> float | None:
    """Return the real number that SymPy has for an expression, None where it has none."""
    known = {s: sympy.Rational(given[s.name]) for s in expression.free_symbols}
    try:
        value = complex(expression.subs(known).evalf(20))
    except (TypeError, ZeroDivisionError):
        return None
    return value.real if value.imag == 0 and math.isfinite(value.real) else None


def computed(made: Any, inputs: list[Any], point: Sequence[float]) -> float:
    """Return what the evaluator computes."""
    letters = tuple("xy"[: len(inputs)])
    program = Program("f", tuple(x.node for x in inputs), (made.node,), letters, ("0",))
    return float(evaluate(program, *[np.asarray(v) for v in point])[0])


def same(found: float, right: float) -> bool:
    return math.isclose(found, right, rel_tol=1e-12, abs_tol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_every_op_is_its_expression(name: str) -> None:
    letters = "xy" if re.search(r"\by\b", OPS[name].sympy or "") else "x"
    graph = cr.symbol("x").node.graph
    inputs = [Array(graph.input(letter, Type(F64, ()), letter)) for letter in letters]
    made = Array(graph.call(name, *(x.node for x in inputs)))
    expression: Any = made.to_sympy()
    back = cr.from_sympy(expression, dict(zip(letters, inputs, strict=True)))
    checked = 0
    for point in product(POINTS, repeat=len(letters)):
        right = in_sympy(expression, dict(zip(letters, point, strict=True)))
        found, again = (computed(e, inputs, point) for e in (made, back))
        # SymPy drops 0/y and 0*log(y) before it knows y.
        if right is None or (0.0 in point and not (math.isfinite(found) and math.isfinite(again))):
            continue
        checked += 1
        assert same(found, right), f"{expression} at {point}"
        assert same(again, right), f"{expression} at {point}, read back"
    assert checked


def test_roundings_of_whole_formulas() -> None:
    x = cr.symbol("x")
    made: dict[str, Any] = {
        "trunc": cnp.trunc(x), "round": cnp.round(x), "round(x, 1)": cnp.round(x, 1),
        "cbrt": cnp.cbrt(x), "slope of cbrt": cr.gradient(cnp.cbrt(x), x),
        "fmod": cnp.fmod(x, -0.7),
    }  # fmt: skip
    right: dict[str, Any] = {
        "trunc": np.trunc, "round": np.round, "round(x, 1)": lambda v: np.round(v, 1),
        "cbrt": np.cbrt, "slope of cbrt": lambda v: abs(v) ** (-2 / 3) / 3,
        "fmod": lambda v: np.fmod(v, -0.7),
    }  # fmt: skip
    for name, value in made.items():
        for point in (-2.5, -1.5, -0.25, 0.5, 1.26, 2.5):
            found = in_sympy(value.to_sympy(), {"x": point})
            assert found is not None, f"{name} of {point} is no real number"
            assert same(found, float(right[name](point))), f"{name} of {point}"
