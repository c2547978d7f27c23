"""Sparse derivatives: `sparse_jacobian` and `sparse_hessian`, values in compressed rows.

The pattern is found by propagating indices through the program, rows and columns that do not meet
share a sweep, and the values of all sweeps are laid into the rows by the same program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chainrule.differentiate.dependence import Known
from chainrule.errors import (
    DTypeError,
    OutOfRangeError,
    ShapeError,
    StructureError,
    UnsupportedError,
    explain,
)
from chainrule.frontend.arguments import as_array, is_arraylike, leaf_type
from chainrule.frontend.array import Array as Handle
from chainrule.frontend.context import tracing
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.ir.dims import Dim
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import Array, dtype_of
from chainrule.ops import OPS
from chainrule.transform.choice import choose, wanted
from chainrule.transform.csr import CSR
from chainrule.transform.inline import Inlined, graph_for, inline
from chainrule.transform.strategy import Derivative, hessian_of, jacobian_of

__all__ = ["Prepared", "SparseTransform", "sparse_hessian", "sparse_jacobian"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sparse derivative for arguments of given shapes and integers, as a program to compile.

    Attributes:
        inputs: The arguments' leaves that are arrays, then the stored arrays.
        stored: Colours and places, which the program takes as further arguments.
        derivative: The values, the pattern, the colours.
        shape: Rows and columns.
    """

    inputs: tuple[Node, ...]
    stored: tuple[Array, ...]
    derivative: Derivative
    shape: tuple[int, int]


class SparseTransform:
    """A sparse derivative of a function, before it is compiled.

    Attributes:
        fn: The function.
        verb: What messages call the derivative.
    """

    def __init__(self, fn: Callable[..., Any], argnums: Any, verb: str) -> None:
        self.fn: Final = fn
        self.argnums: Final = argnums
        self.verb: Final = verb
        self._want: Final = wanted(fn, verb, argnums, once=True)

    def traced(self, *args: Any, **kwargs: Any) -> CSR:
        """Return the derivative inside a trace; integers that elements are picked by are known.

        Raises:
            UnsupportedError: They are traced themselves.
        """
        graph = graph_for((args, kwargs))

        def constant(_name: str, array: Array) -> Node:
            return graph.array(array, dtype_of(array.dtype))

        made, derivative = self._derived(graph, args, kwargs, Known({}), constant)
        (data,) = made.placed([derivative.data])
        pattern = derivative.pattern
        shape = (pattern.rows, pattern.columns)
        return CSR(Handle(data), pattern.indices, pattern.indptr, shape)

    def prepare(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Prepared:
        """Return the derivative for plain arguments."""
        leaves, tree = tree_flatten((tuple(args), dict(kwargs)))
        graph = Graph(OPS)
        inputs: list[Node] = []
        stored: list[Array] = []
        extra: list[Node] = []
        values: dict[Node, Array] = {}
        handles = list(leaves)
        for i, (leaf, path) in enumerate(zip(leaves, _paths(self.fn, tree), strict=True)):
            if is_arraylike(leaf):
                kind = leaf_type(leaf, path)
                node = graph.input(path, kind.type, path)
                inputs.append(node)
                handles[i] = Handle(node, kind.weak)
                if not node.dtype.is_float:
                    values[node] = as_array(leaf, path)

        def store(name: str, array: Array) -> Node:
            node = graph.input(name, leaf_type(array, name).type)
            extra.append(node)
            stored.append(array)
            return node

        positions, keywords = tree.unflatten(handles)
        known = Known(values)
        with tracing(graph):
            made, derivative = self._derived(graph, positions, keywords, known, store)
            (data,) = made.placed([derivative.data])
        pattern = derivative.pattern
        finished = Derivative(data, pattern, derivative.colors)
        shape = (pattern.rows, pattern.columns)
        return Prepared((*inputs, *extra), tuple(stored), finished, shape)

    def _derived(
        self, graph: Graph, args: Any, kwargs: Any, known: Known, store: Any
    ) -> tuple[Inlined, Derivative]:
        chosen = choose(self.fn, tuple(args), dict(kwargs), self._want, self.verb)
        made = inline(chosen.call, chosen.leaves, chosen.paths, graph)
        graph.set_origin(None)
        self._require(made, chosen.paths)
        _require_in_range(graph, known)
        if self.verb == "sparse_hessian":
            (output,) = made.stable
            return made, hessian_of(output, made.placeholders, known, store)
        return made, jacobian_of(made.stable, made.placeholders, known, store)

    def _require(self, made: Inlined, paths: Sequence[str]) -> None:
        """Raise for what has no sparse derivative."""
        if not (made.placeholders and made.outputs):
            missing = "the result holds" if made.placeholders else "the chosen arguments hold"
            raise StructureError(explain(f"{self.verb}: {missing} no array"))
        for node, path in zip(
            (*made.placeholders, *made.outputs),
            (*paths, *made.out_tree.paths("the result")), strict=True,
        ):  # fmt: skip
            if not node.dtype.is_float:
                raise DTypeError(
                    explain(f"{self.verb}: {path} is not of floating point", f"type  {node.type}")
                )
            if any(isinstance(e, Dim) for e in node.shape):
                raise UnsupportedError(
                    explain(
                        f"{self.verb}: {path} has an extent without a number",
                        f"type  {node.type}",
                        hint="a pattern is found for numbers: call it outside of functions that "
                        "are compiled for named extents",
                    )
                )
        if self.verb == "sparse_hessian" and (
            made.out_tree.cls is not None or made.outputs[0].shape
        ):
            returned = made.out_tree if made.out_tree.cls is not None else made.outputs[0].type
            raise ShapeError(
                explain(
                    "sparse_hessian: the function must return one number", f"returned  {returned}",
                    hint="reduce it with cnp.sum, or use sparse_jacobian of its gradient",
                )
            )  # fmt: skip


def _paths(fn: Callable[..., Any], tree: TreeDef) -> list[str]:
    """Return the users' names of the leaves of `(args, kwargs)`."""
    positional, keywords = tree.children
    try:
        names = list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        names = []
    names += [f"arg{i}" for i in range(len(names), len(positional.children))]
    pairs = zip(names, positional.children, strict=False)
    return [p for name, child in pairs for p in child.paths(name)] + keywords.paths()


def _require_in_range(graph: Graph, known: Known) -> None:
    """Raise as the compiled function would, where an integer that is known is out of range."""
    for check in graph.checks:
        failed = known(check.failed)
        if failed is not None and bool(failed):
            raise OutOfRangeError(check.message)


def sparse_jacobian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> SparseTransform:
    """Make the sparse Jacobian of `fn`, to be compiled by `chainrule.sparse_jacobian`."""
    return SparseTransform(fn, argnums, "sparse_jacobian")


def sparse_hessian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> SparseTransform:
    """Make the sparse Hessian of `fn`, to be compiled by `chainrule.sparse_hessian`."""
    return SparseTransform(fn, argnums, "sparse_hessian")
