"""Forward mode: `jvp`, `linearize`; and `stop_gradient`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.differentiate.forward import push_forward
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.operands import as_operand, cast, graph_of, node_of
from chainrule.frontend.pytree import tree_flatten, tree_map
from chainrule.frontend.value import Value
from chainrule.ir.graph import Node
from chainrule.transform.gradients import choose
from chainrule.transform.inline import Inlined, graph_for, inline
from chainrule.transform.transformed import Run, evaluated, has_traced

__all__ = ["jvp", "linearize", "stop_gradient"]


def _tangent_nodes(made: Inlined, tangents: Any, tree: Any, paths: Sequence[str]) -> list[Node]:
    """Return tangents of the placeholders, converted to their dtypes."""
    leaves, given = tree_flatten(tuple(tangents))
    if given != tree:
        raise StructureError(
            explain("the tangents nest otherwise than the arguments",
                    f"arguments  {tree}", f"tangents  {given}")
        )  # fmt: skip
    nodes = []
    for leaf, placeholder, path in zip(leaves, made.placeholders, paths, strict=True):
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


def _pushed(made: Inlined, tangents: Sequence[Node]) -> list[Node]:
    """Return the tangents of the outputs; zeros where they do not depend on the inputs."""
    found = push_forward(made.outputs, dict(zip(made.placeholders, tangents, strict=True)))
    return [
        y.graph.full_like(y, 0) if t is None else t
        for y, t in zip(made.outputs, found, strict=True)
    ]


def jvp(
    fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *,
    has_aux: bool = False, run: Run = evaluated,
) -> Any:  # fmt: skip
    """Return the value of `fn` and its derivative along a direction.

    Forward mode: about the cost of `fn` again, whatever the number of outputs.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments, a tuple or a list.
        tangents: The direction, of the arguments' structure and shapes.
        has_aux: `fn` returns a pair `(result, auxiliary results)`.
        run: How plain values are computed with.

    Returns:
        `(result, tangent of the result)`, and the auxiliary results with `has_aux`.

    Raises:
        StructureError: The tangents nest otherwise than the arguments.
        ShapeError: A tangent has another shape than its argument.
        DTypeError: An argument is not of floating point.

    >>> y, slope = jvp(lambda x: x**2, (3.0,), (1.0,))
    >>> y.item(), slope.item()
    (9.0, 6.0)
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise StructureError(
            explain("jvp: primals and tangents are tuples of arguments",
                    f"primals  {type(primals).__name__}", f"tangents  {type(tangents).__name__}",
                    hint="write jvp(f, (x,), (v,))")
        )  # fmt: skip
    if not has_traced((primals, tangents)):

        def whole(given: Any, along: Any) -> Any:
            return jvp(fn, given, along, has_aux=has_aux)

        return run(whole, (tuple(primals), tuple(tangents)))

    args = tuple(primals)
    chosen = choose(fn, args, {}, tuple(range(len(args))), None, "jvp")
    graph = graph_for((args, tangents))
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
    pushed = _pushed(made, _tangent_nodes(made, tangents, chosen.tree, chosen.paths))
    placed, aux = made.placed_with_aux([*made.outputs, *pushed])
    count = len(made.outputs)
    result = made.out_tree.unflatten(
        [Array(n, w) for n, w in zip(placed[:count], made.weak, strict=True)]
    )
    tangent = made.out_tree.unflatten([Array(n) for n in placed[count:]])
    return (result, tangent, aux) if has_aux else (result, tangent)


def linearize(fn: Callable[..., Any], *primals: Any, run: Run = evaluated) -> Any:
    """Return the value of `fn` and its derivative at that point, a linear function of directions.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments.
        run: How plain values are computed with.

    Returns:
        `(result, along)`; `along(*tangents)` is the tangent of the result.

    Raises:
        DTypeError: An argument is not of floating point.

    >>> y, along = linearize(lambda x: x**3, 2.0)
    >>> y.item(), along(1.0).item()
    (8.0, 12.0)
    """
    if not has_traced(primals):

        def along_plain(*tangents: Any) -> Any:
            return jvp(fn, primals, tangents, run=run)[1]

        return run(fn, primals), along_plain

    chosen = choose(fn, primals, {}, tuple(range(len(primals))), None, "linearize")
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph_for(primals))
    placed = made.placed(made.outputs)
    out = made.out_tree.unflatten([Array(n, w) for n, w in zip(placed, made.weak, strict=True)])

    def along(*tangents: Any) -> Any:
        nodes = _tangent_nodes(made, tangents, chosen.tree, chosen.paths)
        return made.out_tree.unflatten([Array(n) for n in made.placed(_pushed(made, nodes))])

    return out, along


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
