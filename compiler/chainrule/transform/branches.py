"""Branches of the compiled program, of which one is taken: `cond` and `switch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike, name_of, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import cast, common_dtype
from chainrule.frontend.pytree import difference, tree_flatten
from chainrule.ir.body import Body
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, I64
from chainrule.ops.control import results_of
from chainrule.transform.closing import (
    Opened,
    close,
    conditions,
    is_static,
    leaves_of,
    never,
    open_body,
    report,
)
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import Run, evaluating, has_traced

__all__ = ["cond", "switch"]


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any,
    run: Run = evaluating,
) -> Any:  # fmt: skip
    """Run one of two functions.

    Only the one that is chosen runs.  (Under `vmap` with a condition that differs between examples
    both run, for all examples.)

    Args:
        pred: One truth value.
        true_fn: What to run if it holds, a function of the operands.
        false_fn: What to run if not; its results have the same structure, shapes and dtypes.
        operands: Pytrees of arrays.
        run: How plain values are computed with.

    Returns:
        The result of the function that was chosen.

    Raises:
        StructureError: The functions return different structures.
        ShapeError: They return different shapes, or `pred` has axes.
        DTypeError: They return different dtypes, or `pred` is no truth value.

    >>> cond(True, lambda x: x + 1, lambda x: x - 1, 5.0).item()
    6.0
    """
    for fn in (true_fn, false_fn):
        require_function(fn, "cond")
    if not has_traced((pred, operands)):
        return run(lambda p, args: cond(p, true_fn, false_fn, *args))(pred, operands)
    if isinstance(pred, bool | np.bool_):
        return (true_fn if pred else false_fn)(*operands)
    graph = graph_for((pred, operands))
    (leaf,), _ = leaves_of(pred, graph)
    if leaf.node.shape:
        raise ShapeError(explain("cond: the condition is not one truth value",
                                 f"condition  {leaf.node.type}",
                                 hint="use cnp.where to choose element by element"))  # fmt: skip
    if leaf.node.dtype is not BOOL:
        raise DTypeError(explain("cond: the condition is no truth value",
                                 f"condition  {leaf.node.type}",
                                 hint="compare, for instance x > 0"))  # fmt: skip
    index = graph.call("cast", leaf.node, dtype=I64)
    return _branch("cond", graph, index, [false_fn, true_fn], operands)


def switch(
    index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, run: Run = evaluating
) -> Any:
    """Run one of several functions.

    Only the one that is chosen runs.  (Under `vmap` with an index that differs between examples all
    run, for all examples.)

    Args:
        index: Which: one integer.  Below 0 the first runs, beyond the last the last.
        branches: Functions of the operands, whose results have one structure, shapes and dtypes.
        operands: Pytrees of arrays.
        run: How plain values are computed with.

    Returns:
        The result of the function that was chosen.

    Raises:
        StructureError: No branches, or they return different structures.
        ShapeError: They return different shapes, or `index` has axes.
        DTypeError: They return different dtypes, or `index` is no integer.

    >>> switch(2, [lambda x: x, lambda x: x + 1, lambda x: x * 10], 4.0).item()
    40.0
    """
    if not branches:
        raise StructureError(explain("switch: there are no branches"))
    for fn in branches:
        require_function(fn, "switch")
    if not has_traced((index, operands)):
        return run(lambda i, args: switch(i, branches, *args))(index, operands)
    if is_static(index):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    graph = graph_for((index, operands))
    (leaf,), _ = leaves_of(index, graph)
    if leaf.node.shape:
        raise ShapeError(explain("switch: the index is not one integer",
                                 f"index  {leaf.node.type}"))  # fmt: skip
    if leaf.node.dtype.kind not in ("int", "uint"):
        raise DTypeError(explain("switch: the index is no integer", f"index  {leaf.node.type}"))
    wide = cast(leaf.node, I64)
    if len(branches) == 1:
        return branches[0](*operands)
    return _branch("switch", graph, wide, list(branches), operands)


def _branch(
    verb: str, graph: Graph, index: Node, functions: Sequence[Callable[..., Any]],
    operands: tuple[Any, ...],
) -> Any:  # fmt: skip
    leaves, tree = tree_flatten(operands)
    # What is no array goes to every branch as it is.
    at = [i for i, x in enumerate(leaves) if is_arraylike(x)]
    given, _ = leaves_of([leaves[i] for i in at], graph)

    def of_leaves(fn: Callable[..., Any]) -> Callable[..., Any]:
        def call(*handles: Any) -> Any:
            full = list(leaves)
            for i, x in zip(at, handles, strict=True):
                full[i] = x
            return fn(*tree.unflatten(full))

        return call

    types, weak = [x.node.type for x in given], [x.weak for x in given]
    names = [tree.paths()[i] or "operand" for i in at]
    opened = [open_body(graph, of_leaves(f), types, weak, names) for f in functions]
    outputs, kept = _agreed(verb, opened, functions)
    all_flags = [c for o in opened for c in conditions(o)]
    parts = []
    for o, own in zip(opened, outputs, strict=True):
        mine = conditions(o)
        parts.append(([*own, *(f if f in mine else never(graph) for f in all_flags)], o.mark))
    outer, fixed, closed = close(graph, parts)
    bodies = tuple(
        Body((*o.inputs, *f), tuple(c)) for o, f, c in zip(opened, fixed, closed, strict=True)
    )
    node = graph.call("switch", index, *(x.node for x in given), *outer, branches=bodies)
    results = results_of(node)
    count = len(outputs[0])
    report(graph, opened, results[count:])
    return opened[0].tree.unflatten(
        [Array(n, w) for n, w in zip(results[:count], kept, strict=True)]
    )


def _agreed(
    verb: str, opened: Sequence[Opened], functions: Sequence[Callable[..., Any]]
) -> tuple[list[list[Node]], list[bool]]:
    """Return the branches' results in common dtypes, and which stand for Python numbers."""
    first = opened[0]
    names = [name_of(f) for f in functions]
    for o, name in zip(opened, names, strict=True):
        if o.tree != first.tree:
            raise StructureError(
                explain(f"{verb}: the branches return different structures",
                        f"{names[0]}  {first.tree}", f"{name}  {o.tree}",
                        difference(first.tree, o.tree, names[0], name), f"at  {user_line()}")
            )  # fmt: skip
    outputs = [list(o.outputs) for o in opened]
    weak = []
    for i, path in enumerate(first.tree.paths()):
        shapes = [o.outputs[i].type for o in opened]
        facts = [f"{n}  {t}" for n, t in zip(names, shapes, strict=True)]
        where = f" in {path}" if path else ""
        if any(t.shape != shapes[0].shape for t in shapes):
            raise ShapeError(explain(f"{verb}: the branches return different shapes{where}",
                                     *facts, f"at  {user_line()}"))  # fmt: skip
        values = [Array(o.outputs[i], o.weak[i]) for o in opened]
        dtype = common_dtype(values)
        for v, t in zip(values, shapes, strict=True):
            if t.dtype is not dtype and not v.weak:
                raise DTypeError(
                    explain(f"{verb}: the branches return different dtypes{where}", *facts,
                            f"at  {user_line()}", hint="convert one with .astype(...)")
                )  # fmt: skip
        for own in outputs:
            own[i] = cast(own[i], dtype)
        weak.append(all(v.weak for v in values))
    return outputs, weak
