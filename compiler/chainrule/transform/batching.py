"""`vmap`: a function of one example becomes one of many."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from chainrule.differentiate.batch import batched
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import bind_arguments, is_arraylike, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.pytree import broadcast_prefix, tree_flatten
from chainrule.frontend.value import describe
from chainrule.ir.dims import Extent, show_extent
from chainrule.ir.graph import Node
from chainrule.ir.types import Type
from chainrule.numpy.nodes import permuted
from chainrule.transform.inline import graph_for, inline, nodes_of
from chainrule.transform.transformed import Transformed

__all__ = ["vmap"]


def _axes(entries: Sequence[Any], what: str, given: Any) -> list[int | None]:
    """Return axes as integers, None where there is none.

    Raises:
        StructureError: An entry is no axis.
    """
    for entry in entries:
        if entry is not None and (isinstance(entry, bool) or not hasattr(entry, "__index__")):
            raise StructureError(
                explain(f"vmap: {what} holds {entry!r}, which is no axis", f"{what}  {given!r}",
                        hint="an axis is an integer; None stands for no axis of examples")
            )  # fmt: skip
    return [None if e is None else operator.index(e) for e in entries]


def _front(node: Node, axis: int, path: str) -> Node:
    """Move the mapped axis to the front."""
    rank = node.type.rank
    if not -rank <= axis < rank:
        raise ShapeError(
            explain(
                f"vmap: {path or 'an argument'} has no axis {axis}",
                f"argument  {describe(node)}",
                hint="in_axes names the axis of examples; None passes an argument whole",
            )
        )
    at = axis % rank
    return permuted(node, [at, *(i for i in range(rank) if i != at)])


def _common_size(nodes: Sequence[Node], paths: Sequence[str], axes: Sequence[int]) -> Extent:
    """Return the number of examples, on which all arguments agree."""
    size = nodes[0].shape[0]
    if any(n.shape[0] != size for n in nodes):
        facts = [
            f"{p}  {show_extent(n.shape[0])} on axis {a}"
            for n, p, a in zip(nodes, paths, axes, strict=True)
        ]
        named = not all(isinstance(n.shape[0], int) for n in nodes)
        raise ShapeError(
            explain(
                "vmap: the arguments hold different numbers of examples",
                *facts,
                hint="name both extents alike in dims= if they are equal at every call"
                if named
                else "the mapped axes have one extent; in_axes=None passes an argument whole",
            )
        )
    return size


def _back(node: Node, mapped: bool, axis: int | None, size: Extent, path: str) -> Node:
    """Put the axis of examples where `out_axes` says."""
    result = f"the result {path}" if path else "the result"
    if axis is None:
        if mapped:
            raise ShapeError(
                explain(f"vmap: {result} has out_axes=None and depends on the example",
                        f"result  {node.type}", hint="reduce it, or give it an axis in out_axes")
            )  # fmt: skip
        return node
    if not mapped:
        shape = (size, *node.shape)
        node = node.graph.call("broadcast", node, shape=shape, axes=tuple(range(1, len(shape))))
    rank = node.type.rank
    if not -rank <= axis < rank:
        raise ShapeError(
            explain(f"vmap: {result} has no place for examples at axis {axis}",
                    f"result  {node.type}",
                    hint=f"with the examples it has axes {-rank} to {rank - 1}")
        )  # fmt: skip
    at = axis % rank
    rest = list(range(1, rank))
    return permuted(node, [*rest[:at], 0, *rest[at:]])


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Transformed:
    """Make the function of many examples from that of one.

    No loop: every operation is done for all examples at once.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        in_axes: The axis of examples: a number, or for each argument a number, None for an argument
            that all share, or a pytree of those.  Keyword arguments are mapped over axis 0.
        out_axes: Where the axis goes in the results; None for what does not depend on the example.

    Returns:
        A function of the same arguments.

    Raises:
        ShapeError: Arguments hold different numbers of examples, or lack the axis.
        StructureError: `in_axes` does not match the arguments, or maps none of them; it or
            `out_axes` holds something that is no axis.

    >>> import numpy as np
    >>> vmap(lambda a, b: a @ b, in_axes=(0, None))(np.ones((3, 2)), np.ones(2)).tolist()
    [2.0, 2.0, 2.0]
    """
    require_function(fn, "vmap")

    def traced(*args: Any, **kwargs: Any) -> Any:
        axes_of_args = tuple(in_axes) if isinstance(in_axes, list) else in_axes
        prefixed = broadcast_prefix(axes_of_args, args, "in_axes")
        leaves, tree = tree_flatten((args, kwargs))
        entries = [*_axes(prefixed, "in_axes", in_axes), *[0] * (len(leaves) - len(prefixed))]
        axes = [a if is_arraylike(x) else None for a, x in zip(entries, leaves, strict=True)]
        labels = _paths(fn, args, kwargs)
        at = [i for i, a in enumerate(axes) if a is not None]
        if not at:
            raise StructureError(
                explain("vmap: no argument is mapped", f"in_axes  {in_axes}",
                        hint="in_axes names the axis of examples of at least one argument")
            )  # fmt: skip
        graph = graph_for((args, kwargs))
        mapped_axes = [a for a in axes if a is not None]
        paths = [labels[i] for i in at]
        nodes = [
            _front(node, axis, path)
            for node, axis, path in zip(
                nodes_of([leaves[i] for i in at], graph), mapped_axes, paths, strict=True
            )
        ]
        size = _common_size(nodes, paths, mapped_axes)

        def call(handles: Sequence[Array]) -> Any:
            full = list(leaves)
            for i, handle in zip(at, handles, strict=True):
                full[i] = handle
            positions, keywords = tree.unflatten(full)
            return fn(*positions, **keywords)

        types = [Type(n.dtype, n.shape[1:]) for n in nodes]
        made = inline(call, [Array(n) for n in nodes], paths, graph, types=types)
        graph.set_origin(None)
        many = batched(made.outputs, dict(zip(made.placeholders, nodes, strict=True)), size)
        skeleton = made.out_tree.unflatten([0] * len(many))
        places = _axes(broadcast_prefix(out_axes, skeleton, "out_axes"), "out_axes", out_axes)
        results = [
            Array(_back(node, mapped, place, size, path))
            for (node, mapped), place, path in zip(many, places, made.out_tree.paths(), strict=True)
        ]
        return made.out_tree.unflatten(results)

    return Transformed(traced, fn, "vmap")


def _paths(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    try:
        names = [*bind_arguments(fn, args, kwargs).names[: len(args)]]
    except StructureError:
        names = [f"arg{i}" for i in range(len(args))]
    trees = tree_flatten((args, kwargs))[1].children
    found = [p for n, c in zip(names, trees[0].children, strict=False) for p in c.paths(n)]
    return found + trees[1].paths()
