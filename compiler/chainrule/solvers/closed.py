"""Functions of one flat vector that read nothing from outside, which is what solvers work on.

A user's function takes a pytree, settings, and may close over values of a trace under way.  A
solver wants the unknowns as one vector, and its derivative needs to know all that the solution
depends on.  So the function is traced once, and what it reads becomes explicit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import DTypeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.array import Array
from chainrule.frontend.context import stable_forms
from chainrule.frontend.operands import as_operand, common_dtype, node_of
from chainrule.frontend.pytree import tree_flatten
from chainrule.ir.graph import Check, Graph, Node
from chainrule.ir.walk import rebuild
from chainrule.optimize import joined, stabilize
from chainrule.transform.closing import close, leaves_of, open_body

__all__ = ["Closed", "Flat", "close_over", "floating", "largest", "number", "split_arguments"]


class Flat:
    """The unknowns of a problem as one vector.

    Attributes:
        vector: They themselves, one after another, in the common dtype.
    """

    def __init__(self, tree: Any, graph: Graph, what: str) -> None:
        leaves, self.tree = tree_flatten(tree)
        paths = self.tree.paths()
        if not leaves:
            raise StructureError(explain(f"{what}: there are no unknowns", f"x0  {self.tree}"))
        for leaf, path in zip(leaves, paths, strict=True):
            if not is_arraylike(leaf):
                raise StructureError(
                    explain(f"{what}: an unknown is no array", f"x0/{path}  {type(leaf).__name__}",
                            hint="x0 is a pytree of arrays; pass settings in args")
                )  # fmt: skip
        given, _ = leaves_of(tree, graph)
        arrays = [Array(x.node) for x in given]
        dtype = common_dtype([x.handle for x in given])
        self.shapes = [x.shape for x in arrays]
        self.dtypes = [x.dtype if x.node.dtype.is_float else dtype.numpy for x in arrays]
        if not dtype.is_float:
            dtype_names = ", ".join(str(x.dtype) for x in arrays)
            # Python's whole numbers are meant as numbers; arrays of integers are a mistake.
            if not all(x.weak for x in given):
                raise DTypeError(
                    explain(f"{what}: the unknowns are not of floating point",
                            f"dtypes  {dtype_names}", hint="convert x0 with .astype(float)")
                )  # fmt: skip
            self.dtypes = [np.dtype(np.float64) for _ in arrays]
        self.dtype: Final = np.result_type(*self.dtypes)
        self.vector: Final = self.ravel_leaves(arrays)

    def ravel(self, tree: Any) -> Any:
        """Return a tree of the unknowns' structure as a vector."""
        leaves, structure = tree_flatten(tree)
        if structure != self.tree:
            raise StructureError(
                explain("the result nests otherwise than x0",
                        f"x0      {self.tree}", f"result  {structure}")
            )  # fmt: skip
        return self.ravel_leaves(leaves)

    def ravel_leaves(self, leaves: Sequence[Any]) -> Any:
        """Return arrays, one after another, as a vector of the common dtype."""
        return _concatenated(leaves, self.dtype)

    def unravel(self, vector: Any) -> Any:
        """Return a vector as the unknowns nest, in their shapes and dtypes."""
        leaves, at = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            size: Any = 1
            for extent in shape:
                size = size * extent
            part = vector if len(self.shapes) == 1 else vector[at : at + size]
            leaves.append(part.reshape(shape).astype(dtype))
            at = at + size
        return self.tree.unflatten(leaves)


def _concatenated(leaves: Sequence[Any], dtype: Any) -> Any:
    parts = [cnp.asarray(x).reshape((-1,)).astype(dtype) for x in leaves]
    return parts[0] if len(parts) == 1 else cnp.concatenate(parts)


@dataclass(frozen=True)
class Closed:
    """A traced function of a vector and parameters; calling it puts arguments in.

    Attributes:
        inputs: Its placeholders: the vector, then the parameters.
        outputs: What it returns, a vector, or a number.
        checks: Conditions that come up inside.
        flags: Whether each condition holds, as functions of the inputs.
    """

    graph: Graph
    inputs: tuple[Node, ...]
    output: Node
    flags: tuple[Node, ...] = ()
    checks: tuple[Check, ...] = ()

    def __call__(self, x: Any, parameters: Sequence[Any]) -> Any:
        """Return the function's value for a vector and parameters."""
        nodes = [node_of(as_operand(v), self.graph) for v in (x, *parameters)]
        known = dict(zip(self.inputs, nodes, strict=True))
        (found, *flags), _ = rebuild(
            [self.output, *self.flags], self.graph, lambda _n, _a: None, known
        )
        for check, failed in zip(self.checks, flags, strict=True):
            self.graph.check(failed, check.message)
        return Array(found)


def close_over(
    fn: Callable[[Any, Sequence[Any]], Any], x: Any, arrays: Sequence[Any], graph: Graph, name: str
) -> tuple[Closed, list[Any]]:
    """Trace `fn(x, arrays)`; return it as a closed function, and all parameters it depends on.

    The parameters are `arrays` and whatever else of the trace under way `fn` reads.
    """
    given, _ = leaves_of([x, *arrays], graph)
    names = ["x", *(f"arg{i}" for i in range(len(arrays)))]

    def of_leaves(*handles: Any) -> Any:
        return fn(handles[0], handles[1:])

    of_leaves.__name__ = name
    opened = open_body(
        graph, of_leaves, [v.node.type for v in given], [v.weak for v in given], names
    )
    (output,) = opened.outputs
    results = [output, *(c.failed for c in opened.checks)]
    results = joined(stabilize(results) if stable_forms() else results)
    outer, (fixed,), (closed,) = close(graph, [(results, opened.mark)])
    # Rules may have made a loop's body anew on the way in.
    results = joined(stabilize(closed) if stable_forms() else closed)
    inputs = (*opened.inputs, *fixed)
    made = Closed(graph, inputs, results[0], tuple(results[1:]), tuple(opened.checks))
    parameters = [v.handle for v in given[1:]] + [Array(n) for n in outer]
    return made, parameters


def split_arguments(args: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """Return the arrays among a tree's leaves, and what puts others in their places."""
    leaves, tree = tree_flatten(args)
    at = [i for i, x in enumerate(leaves) if is_arraylike(x)]

    def nested(arrays: Sequence[Any]) -> Any:
        full = list(leaves)
        for i, x in zip(at, arrays, strict=True):
            full[i] = x
        return tree.unflatten(full)

    return [leaves[i] for i in at], nested


def floating(x: Any) -> bool:
    """Tell whether a traced value can be differentiated with respect to."""
    return bool(x.node.dtype.is_float)


def largest(x: Any) -> Any:
    """Return the largest element of a vector in absolute value; 0 of none."""
    return cnp.max(cnp.abs(x), initial=0.0)


def number(value: Any, like: Any) -> Any:
    """Return a constant of the dtype of a traced value."""
    return np.asarray(value, like.dtype)
