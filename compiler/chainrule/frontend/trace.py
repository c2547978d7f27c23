"""From a Python function to a program: run it once on values to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import chainrule.numpy  # noqa: F401  (the functions that operators and methods stand for)
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import (
    LeafType,
    Spec,
    as_array,
    bind_arguments,
    leaf_type,
    name_of,
    require_function,
    spec,
)
from chainrule.frontend.array import Array
from chainrule.frontend.context import trace_into
from chainrule.frontend.naming import Dims, named_shapes, solved_guards
from chainrule.frontend.operands import as_operand, node_of
from chainrule.frontend.pytree import TreeDef, difference, tree_flatten
from chainrule.ir.binding import bind
from chainrule.ir.dims import Extent, Shape, evaluate_extent
from chainrule.ir.evaluate import bind_dims, evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program, guarded
from chainrule.ir.types import Type
from chainrule.ir.walk import reached
from chainrule.numerics import FAST, Numerics
from chainrule.ops import OPS

__all__ = ["Spec", "Traced", "result_nodes", "spec", "trace"]


@dataclass(frozen=True)
class Traced:
    """A program and how its inputs and outputs nest.

    Attributes:
        program: Outputs as functions of inputs, in the order of the leaves.
        in_tree: The structure of the tuple of traced arguments.
        out_tree: The structure of the result.
        names: The traced arguments' names.
        weak_inputs: Which input leaves are Python numbers.
        static: Names and values of the arguments that stayed Python values.
    """

    program: Program
    in_tree: TreeDef
    out_tree: TreeDef
    names: tuple[str, ...]
    weak_inputs: tuple[bool, ...]
    static: tuple[tuple[str, Any], ...] = field(default=())

    def run(self, *args: Any) -> Any:
        """Evaluate the program in NumPy: the reference for compiled code.

        Args:
            args: The traced arguments, in order.

        Returns:
            The result, as the function returns it, of NumPy arrays.

        Raises:
            StructureError: The arguments nest otherwise.
            ShapeError: A shape is another than the traced one, or a guard does not hold.
            IndexError: An index is out of range.
        """
        leaves, tree = tree_flatten(args)
        if tree != self.in_tree:
            raise StructureError(
                explain(
                    f"{self.program.name}: the arguments nest otherwise than traced",
                    f"traced  {self.in_tree}",
                    f"given  {tree}",
                    difference(self.in_tree, tree, "the trace", "the call"),
                )
            )
        arrays = [as_array(x, p) for x, p in zip(leaves, self.program.paths, strict=True)]
        self._check_shapes(arrays)
        return self.out_tree.unflatten(evaluate(self.program, *arrays))

    def numbers(self, shapes: Sequence[Shape]) -> dict[str, int]:
        """Return what the named dims are in arguments of these shapes, as far as they tell."""
        return bind([node.shape for node in self.program.inputs], shapes) if shapes else {}

    def _check_shapes(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        inputs, paths = self.program.inputs, self.program.paths
        for node, array, path in zip(inputs, arrays, paths, strict=True):
            if array.ndim != node.type.rank:
                raise ShapeError(_other_shape(path, node.type, array.shape))
        dims = bind_dims(self.program, arrays)
        for node, array, path in zip(inputs, arrays, paths, strict=True):
            if tuple(evaluate_extent(e, dims) for e in node.shape) != array.shape:
                raise ShapeError(_other_shape(path, node.type, array.shape, dims))
        for guard in self.program.guards:
            if not guard.holds(dims):
                facts = [f"{name}  {number}" for name, number in dims.items()]
                raise ShapeError(explain(guard.text, *facts))


def _other_shape(
    path: str, type_: Type, shape: Sequence[int], dims: Mapping[str, int] | None = None
) -> str:
    return explain(
        f"{path} has another shape than it was traced with",
        f"expected  {type_}",
        f"given  {list(shape)}",
        *(f"{name}  {number}" for name, number in (dims or {}).items()),
    )


def trace(
    fn: Callable[..., Any], *args: Any, dims: Dims | None = None,
    static_argnames: Sequence[str] = (), kwargs: Mapping[str, Any] | None = None,
    name: str | None = None, numerics: Numerics = FAST,
) -> Traced:  # fmt: skip
    """Run a function once on values to come and record what it computes.

    Python control flow is followed as it runs; arrays the function closes over become constants.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        args: Arrays, numbers or `spec(...)`, nested as the function takes them.
        dims: Names of extents: `{"x": ("batch", 8)}`, or expressions of names: `{"x": ("2*n",)}`.
            None entries and missing arguments mean the extent given.
        static_argnames: Arguments that stay Python values.
        kwargs: Arguments by name.
        name: What to call the program; the function's name unless given.
        numerics: Where they keep reals, values, too, are computed in the stable forms that
            derivatives are taken of.

    Returns:
        The program and how its inputs and outputs nest.

    Raises:
        StructureError: An argument or a result is not an array.
        DTypeError: A dtype is not supported.
        ShapeError: `dims` does not fit the arguments, or operands do not fit one another.

    >>> traced = trace(lambda x: (x * x).sum(), np.ones(3), dims={"x": ("n",)})
    >>> traced.run(np.array([3.0, 4.0])).item()
    25.0
    """
    require_function(fn, "trace")
    bound = bind_arguments(fn, args, kwargs, static_argnames)
    leaves, in_tree = tree_flatten(bound.values)
    paths = [
        path
        for label, child in zip(bound.names, in_tree.children, strict=True)
        for path in child.paths(label)
    ]
    types = [leaf_type(x, p) for x, p in zip(leaves, paths, strict=True)]
    shapes = named_shapes(paths, types, dims)
    graph = Graph(OPS)
    for guard in solved_guards(shapes):
        graph.rely(guard)
    inputs = _inputs(graph, paths, types, shapes)
    graph.numbers.update(bind(shapes, [t.type.shape for t in types]))
    handles = [Array(n, t.weak) for n, t in zip(inputs, types, strict=True)]

    def run() -> tuple[TreeDef, list[str], list[Node]]:
        results, tree = tree_flatten(bound.call(in_tree.unflatten(handles)))
        paths = tree.paths()
        return tree, paths, result_nodes(graph, results, paths)

    out_tree, output_paths, outputs = trace_into(graph, run, stable=numerics.reals)
    graph.set_origin(None)
    _refuse_strangers(outputs, inputs, output_paths)
    checks = tuple(c for c in graph.checks if not _strangers([c.failed], inputs))
    program = Program(
        name=name or name_of(fn), inputs=tuple(inputs), outputs=tuple(outputs),
        paths=tuple(paths), output_paths=tuple(output_paths), guards=tuple(graph.guards),
        checks=checks,
    )  # fmt: skip
    program = guarded(program)
    _require_guards(program, graph.numbers)
    weak = tuple([t.weak for t in types])
    return Traced(program, in_tree, out_tree, bound.names, weak, bound.static)


def _require_guards(program: Program, numbers: Mapping[str, int]) -> None:
    """Raise ShapeError for sizes that the arguments at hand make impossible."""
    for guard in program.guards:
        if guard.names <= numbers.keys() and not guard.holds(numbers):
            facts = [f"{name}  {numbers[name]}" for name in sorted(guard.names)]
            raise ShapeError(explain(f"{program.name}: {guard.text}", *facts))


def _inputs(
    graph: Graph, paths: Sequence[str], types: Sequence[LeafType],
    shapes: Sequence[tuple[Extent, ...]],
) -> list[Node]:  # fmt: skip
    return [
        graph.input(path, Type(leaf.type.dtype, shape), path)
        for path, leaf, shape in zip(paths, types, shapes, strict=True)
    ]


def result_nodes(graph: Graph, results: Sequence[Any], paths: Sequence[str]) -> list[Node]:
    """Return the leaves of a result as nodes; numbers and plain arrays become constants.

    Raises:
        StructureError: A leaf is no array.
    """
    nodes = []
    for leaf, path in zip(results, paths, strict=True):
        try:
            nodes.append(node_of(as_operand(leaf), graph))
        except StructureError:
            raise StructureError(
                explain(
                    f"the function returns something that is not an array: {path or 'its result'}",
                    f"type  {type(leaf).__name__}",
                    f"value  {leaf!r:.60}",
                    hint="return arrays and numbers, nested in tuples, lists, dicts or dataclasses",
                )
            ) from None
    return nodes


def _strangers(nodes: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    own = set(inputs)
    return [n for n in reached(nodes) if n.op.name == "input" and n not in own]


def _refuse_strangers(
    outputs: Sequence[Node], inputs: Sequence[Node], paths: Sequence[str]
) -> None:
    """Raise where a result depends on a value of another trace, or on a free symbol."""
    if not _strangers(outputs, inputs):
        return
    for node, path in zip(outputs, paths, strict=True):
        strangers = _strangers([node], inputs)
        if strangers:
            names = ", ".join(sorted({str(n.attributes["name"]) for n in strangers}))
            raise StructureError(
                explain(
                    f"the result {path} depends on a value that is no argument: {names}"
                    if path
                    else f"the result depends on a value that is no argument: {names}",
                    *(f"value  {n.attributes['name']}  {n.type}" for n in strangers[:4]),
                    hint="a traced value was kept beyond the call it belongs to; "
                    "pass it as an argument, or return it",
                )
            )
