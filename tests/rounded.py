"""How far rounding alone may move a program's results: its conditioning, measured.

Every op's arguments are moved by a random part of an ULP, as in stochastic arithmetic (Vignes,
"Discrete stochastic arithmetic for validating results of numerical software", 2004). Two
algorithms that are both right differ by about as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from chainrule.ir.evaluate import _Frame
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind

__all__ = ["nudged_runs"]

EXACT: Final = {
    Kind.SOURCE,
    Kind.VIEW,
    Kind.WRITE,
    Kind.GATHER,
    Kind.UPDATE,
    Kind.CONTROL,
    Kind.ITEM,
}
"Ops whose floats are copies: of equal arguments, equal results."
ULP: Final = 2.0**-52


def nudged_runs(run: Callable[..., Any], given: list[Any], times: int = 3) -> list[Any]:
    """Return results of `run`, a program in the evaluator, with its roundings moved."""
    plain = _Frame._value
    random = np.random.default_rng(0)

    def nudged(x: Any) -> Any:
        return x * (1 + ULP * random.uniform(-1, 1, np.shape(x))) if x.dtype == np.float64 else x

    def value(frame: _Frame, node: Node, args: Any) -> Any:
        if node.op.kind not in EXACT:
            moved = {id(x): nudged(x) for x in args}
            args = [moved[id(x)] for x in args]
        return plain(frame, node, args)

    with patch.object(_Frame, "_value", value):
        return [run(*given) for _ in range(times)]
