"""Systems of equations as notation: the transposed matrix is written as such."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from chainrule.inspect.moves import dropped
from chainrule.inspect.notation import Applied, Literal
from chainrule.inspect.place import Placed, full, transposed
from chainrule.ir.graph import Node

__all__ = ["SYSTEMS"]

Builder: TypeAlias = Callable[[Node, Sequence[Placed]], Placed]


def _solved(node: Node, args: Sequence[Placed]) -> Placed:
    given, shape = node.attributes, node.shape
    a, right = full(args[0], node.args[0].shape), args[1]
    if shape[-1] == 1:
        # One column is a vector.
        shape, right = shape[:-1], dropped(right, len(shape) - 1)
    b = full(right, shape)
    settings = []
    if node.op.name == "triangular_solve":
        # The transpose of a lower triangle is an upper one, SciPy's default.
        flags = {
            "lower": given["lower"] != given["transposed"],
            "unit_diagonal": given["unit_diagonal"],
        }
        settings = [Literal(f"{k}=True") for k, flag in flags.items() if flag]
    name = "solve" if node.op.name == "solve" else "solve_triangular"
    matrix = transposed(a) if given["transposed"] else a
    tree = Applied(name, (matrix, b, *settings), len(shape))
    return Placed(tree, tuple(range(len(shape))))


SYSTEMS: Final[Mapping[str, Builder]] = {"solve": _solved, "triangular_solve": _solved}
