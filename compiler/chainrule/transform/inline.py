"""Tracing a function on fresh placeholders, so that its derivative sees its own inputs only.

Interning makes equal expressions one node.  Were `grad(lambda a: a * x)(x)` traced on the node of
`x` itself, the argument and the variable the function closes over would be one.  So every
transformation traces on placeholders, works on what comes out, and puts the arguments in last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.errors import DTypeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.array import Array
from chainrule.frontend.context import current_graph, stable_forms, tracing
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.operands import as_operand, graph_of, node_of
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.trace import result_nodes
from chainrule.frontend.value import Value
from chainrule.ir.graph import Graph, Node
from chainrule.ir.walk import substitute
from chainrule.numerics import STRICT
from chainrule.optimize import joined, stabilize
from chainrule_runtime.bfloat16 import is_float

__all__ = ["Inlined", "graph_for", "inline", "nodes_of", "require_float"]


@dataclass(frozen=True)
class Inlined:
    """A function traced on placeholders.

    Attributes:
        graph: Where everything is.
        placeholders: The function's inputs.
        values: What the placeholders stand for.
        outputs: Its results; in stable forms, but where numerics keep every bit.
        stable: Its results in stable forms: what derivatives are taken of.
        out_tree: How they nest.
        weak: Which results stand for Python numbers.
        aux: Auxiliary results: a tree that may hold values of the trace.
    """

    graph: Graph
    placeholders: tuple[Node, ...]
    values: tuple[Node, ...]
    outputs: tuple[Node, ...]
    stable: tuple[Node, ...]
    out_tree: TreeDef
    weak: tuple[bool, ...]
    aux: Any

    def placed(self, nodes: Sequence[Node]) -> list[Node]:
        """Put the values where the placeholders are."""
        known = dict(zip(self.placeholders, self.values, strict=True))
        with tracing(self.graph):
            self.graph.set_origin(None)
            return substitute(nodes, self.graph, known)

    def placed_with_aux(self, nodes: Sequence[Node]) -> tuple[list[Node], Any]:
        """Put the values in, in the auxiliary results too."""
        leaves, tree = tree_flatten(self.aux)
        at = [i for i, x in enumerate(leaves) if isinstance(x, InGraph)]
        extra = [node_of(as_operand(leaves[i]), self.graph) for i in at]
        found = self.placed([*nodes, *extra])
        for i, node in zip(at, found[len(nodes) :], strict=True):
            old = leaves[i]
            leaves[i] = Array(node, old.weak if isinstance(old, Value) else True)
        return found[: len(nodes)], tree.unflatten(leaves)


def graph_for(tree: Any) -> Graph:
    """Return the graph under way, or that of the traced leaves."""
    graph = current_graph()
    if graph is not None:
        return graph
    return graph_of([x for x in tree_flatten(tree)[0] if isinstance(x, InGraph)])  # type: ignore[misc]


def nodes_of(leaves: Sequence[Any], graph: Graph) -> list[Node]:
    """Return leaves as nodes of the graph."""
    return [node_of(as_operand(x), graph) for x in leaves]


def require_float(leaves: Sequence[Any], paths: Sequence[str], verb: str) -> None:
    """Raise DTypeError for what cannot be differentiated with respect to."""
    for leaf, path in zip(leaves, paths, strict=True):
        operand = as_operand(leaf) if is_arraylike(leaf) else None
        if operand is None:
            raise DTypeError(
                explain(
                    f"{verb} with respect to {path or 'the argument'}, which is not an array",
                    f"type  {type(leaf).__name__}",
                    hint="choose other arguments with argnums, or make it a static field",
                )
            )
        dtype = getattr(operand, "dtype", None)
        differentiable = is_float(dtype) if dtype is not None else isinstance(operand, float)
        if not differentiable:
            name = str(dtype) if dtype is not None else f"Python {type(leaf).__name__}"
            raise DTypeError(
                explain(
                    f"{verb} with respect to {path or 'the argument'}, which is not floating point",
                    f"dtype  {name}",
                    hint="convert it with .astype(float), or choose other arguments with argnums",
                )
            )


def inline(
    fn: Callable[[Sequence[Array]], Any], leaves: Sequence[Any], paths: Sequence[str], graph: Graph,
    *, has_aux: bool = False, types: Sequence[Any] | None = None,
) -> Inlined:  # fmt: skip
    """Trace `fn`, a function of a list of leaves, on placeholders for `leaves`.

    With `types`, the placeholders have these types, and the values are not put in.
    """
    values = tuple(nodes_of(leaves, graph))
    shapes = [v.type for v in values] if types is None else list(types)
    placeholders = tuple([graph.input(p or "x", t, p) for p, t in zip(paths, shapes, strict=True)])
    weak = [x.weak if isinstance(x, Value) else type(x) in (int, float) for x in leaves]
    handles = [
        Array(node, w and not node.shape) for node, w in zip(placeholders, weak, strict=True)
    ]
    with tracing(graph):
        result = fn(handles)
        aux = None
        if has_aux:
            result, aux = _with_aux(result)
        results, out_tree = tree_flatten(result)
        outputs = result_nodes(graph, results, out_tree.paths())
        graph.set_origin(None)
        written, stable = _forms(outputs)
    flags = tuple([isinstance(x, Value) and x.weak for x in results])
    return Inlined(graph, placeholders, values, written, stable, out_tree, flags, aux)


def _forms(outputs: Sequence[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Return the results as they are computed, and as they are differentiated."""
    if stable_forms():
        stable = tuple(joined(stabilize(outputs)))
        return stable, stable
    both = joined([*outputs, *stabilize(outputs, STRICT)])
    return tuple(both[: len(outputs)]), tuple(both[len(outputs) :])


def _with_aux(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise StructureError(
            explain(
                "has_aux: the function must return a pair (value, auxiliary results)",
                f"returned  {type(result).__name__}",
            )
        )
    return result
