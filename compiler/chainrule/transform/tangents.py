"""Forward mode: `jvp`, `linearize`; and `stop_gradient`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.differentiate.forward import push_forward
from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.operands import as_operand, cast, graph_of, node_of
from chainrule.frontend.pytree import tree_map
from chainrule.frontend.value import Value
from chainrule.ir.graph import Node
from chainrule.transform.choice import Chosen, choose_all
from chainrule.transform.gradients import matched
from chainrule.transform.inline import Inlined, graph_for, inline
from chainrule.transform.transformed import Run, evaluating, has_traced, held
from chainrule_runtime.bfloat16 import is_float

__all__ = ["jvp", "linearize", "stop_gradient"]


def _tangent_nodes(made: Inlined, tangents: Any, chosen: Chosen) -> list[Node | None]:
    """Return tangents of the placeholders, converted to their dtypes; None for zeros."""
    leaves = matched(tuple(tangents), chosen.tree, "tangents nest", "arguments")
    for i, (leaf, path) in enumerate(zip(leaves, chosen.all_paths, strict=True)):
        if i not in chosen.at and leaf is not None:
            _refuse_motion(leaf, path)
    leaves = [leaves[i] for i in chosen.at]
    nodes: list[Node | None] = []
    for leaf, placeholder, path in zip(leaves, made.placeholders, chosen.paths, strict=True):
        if leaf is None:
            nodes.append(None)
            continue
        node = node_of(as_operand(leaf), made.graph)
        if node.shape != placeholder.shape:
            raise ShapeError(
                explain(
                    f"the tangent of {path} has another shape than the argument",
                    f"argument  {placeholder.type}",
                    f"tangent  {node.type}",
                )
            )
        nodes.append(cast(node, placeholder.dtype))
    return nodes


def _refuse_motion(tangent: Any, path: str) -> None:
    """Raise where an argument of integers is told to move; integers as its tangent do not count."""
    dtype = getattr(as_operand(tangent), "dtype", None)
    if isinstance(tangent, float) if dtype is None else is_float(dtype):
        raise DTypeError(
            explain(f"{path} is of integers, which do not move: its tangent is None",
                    f"tangent  {dtype or 'Python float'}",
                    hint="convert the argument with .astype(float)")
        )  # fmt: skip


def _pushed(made: Inlined, tangents: Sequence[Node | None]) -> list[Node]:
    """Return the tangents of the outputs; zeros where they do not depend on the inputs."""
    given = zip(made.placeholders, tangents, strict=True)
    found = push_forward(made.stable, {p: t for p, t in given if t is not None})
    return [
        y.graph.full_like(y, 0) if t is None else t for y, t in zip(made.stable, found, strict=True)
    ]


def jvp(
    fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *,
    has_aux: bool = False, run: Run = evaluating,
) -> Any:  # fmt: skip
    """Return the value of `fn` and its derivative along a direction.

    Forward mode: about the cost of `fn` again, whatever the number of outputs.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments, a tuple or a list.
        tangents: The direction, of the arguments' structure and shapes; None for zeros, and for
            integers, which do not move.
        has_aux: `fn` returns a pair `(result, auxiliary results)`.
        run: How plain values are computed with.

    Returns:
        `(result, tangent of the result)`, and the auxiliary results with `has_aux`.  The tangent of
        an integer result is zeros.

    Raises:
        StructureError: The tangents nest otherwise than the arguments.
        ShapeError: A tangent has another shape than its argument.
        DTypeError: No argument is of floating point, or one of integers has a tangent.

    >>> y, slope = jvp(lambda x: x**2, (3.0,), (1.0,))
    >>> y.item(), slope.item()
    (9.0, 6.0)
    """
    require_function(fn, "jvp")
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise StructureError(
            explain("jvp: primals and tangents are tuples of arguments",
                    f"primals  {type(primals).__name__}", f"tangents  {type(tangents).__name__}",
                    hint="write jvp(f, (x,), (v,))")
        )  # fmt: skip
    if not has_traced((primals, tangents)):

        def whole(given: Any, along: Any) -> Any:
            return jvp(fn, given, along, has_aux=has_aux)

        return run(whole)(tuple(primals), tuple(tangents))

    args = tuple(primals)
    chosen = choose_all(fn, args, "jvp")
    graph = graph_for((args, tangents))
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
    pushed = _pushed(made, _tangent_nodes(made, tangents, chosen))
    placed, aux = made.placed_with_aux([*made.outputs, *pushed])
    count = len(made.outputs)
    result = made.out_tree.unflatten(
        [Array(n, w) for n, w in zip(placed[:count], made.weak, strict=True)]
    )
    tangent = made.out_tree.unflatten([Array(n) for n in placed[count:]])
    return (result, tangent, aux) if has_aux else (result, tangent)


def linearize(
    fn: Callable[..., Any], *primals: Any, has_aux: bool = False, run: Run = evaluating
) -> Any:
    """Return the value of `fn` and its derivative at that point, a linear function of directions.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments.
        has_aux: `fn` returns a pair `(result, auxiliary results)`.
        run: How plain values are computed with.

    Returns:
        `(result, along)`, and the auxiliary results with `has_aux`.  `along(*tangents)` is the
        tangent of the result; calling it again computes, but traces and compiles nothing.

    Raises:
        DTypeError: No argument is of floating point.

    >>> y, along = linearize(lambda x: x**3, 2.0)
    >>> y.item(), along(1.0).item()
    (8.0, 12.0)
    """
    if not has_traced(primals):

        def value(*given: Any) -> Any:
            return fn(*given)

        def tangent_of(given: Sequence[Any], tangents: Sequence[Any]) -> Any:
            return jvp(fn, given, tangents, has_aux=has_aux)[1]

        choose_all(fn, primals, "linearize")
        primals = held(primals)
        pushed = run(tangent_of)

        def along_plain(*tangents: Any) -> Any:
            if has_traced(tangents):
                return tangent_of(primals, tangents)
            return pushed(primals, tangents)

        result = run(value)(*primals)
        return (result[0], along_plain, result[1]) if has_aux else (result, along_plain)

    chosen = choose_all(fn, primals, "linearize")
    graph = graph_for(primals)
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
    placed, aux = made.placed_with_aux(made.outputs)
    out = made.out_tree.unflatten([Array(n, w) for n, w in zip(placed, made.weak, strict=True)])

    def along(*tangents: Any) -> Any:
        nodes = _tangent_nodes(made, tangents, chosen)
        return made.out_tree.unflatten([Array(n) for n in made.placed(_pushed(made, nodes))])

    return (out, along, aux) if has_aux else (out, along)


def stop_gradient(x: Any) -> Any:
    """Return `x`, whose derivative counts as 0 from here on.

    Args:
        x: A pytree of arrays; what is no traced floating-point value passes as it is.

    >>> from chainrule.transform import grad
    >>> grad(lambda x: x * stop_gradient(x))(3.0).item()
    3.0
    """

    def stopped(leaf: Any) -> Any:
        if not is_arraylike(leaf) or not isinstance(leaf, InGraph):
            return leaf
        operand = as_operand(leaf)
        node = node_of(operand, graph_of([operand]))
        if not node.dtype.is_float:
            return leaf
        held = node.graph.call("stop_gradient", node)
        return Array(held, leaf.weak if isinstance(leaf, Value) else True)

    return tree_map(stopped, x)
