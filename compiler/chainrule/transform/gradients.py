"""Reverse mode: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.differentiate.reverse import pull_back
from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.operands import as_operand, broadcast_to_shape, cast, node_of
from chainrule.frontend.pytree import TreeDef, broadcast_prefix, tree_flatten
from chainrule.ir.graph import Node
from chainrule.transform.choice import Paths, choose, choose_all, wanted
from chainrule.transform.inline import Inlined, graph_for, inline
from chainrule.transform.transformed import Run, Transformed, evaluating, has_traced, held

__all__ = ["grad", "matched", "value_and_grad", "vjp"]


def _scalar(made: Inlined, verb: str) -> Node:
    """Return the one output, which must be a floating-point number."""
    if made.out_tree.cls is not None:
        raise StructureError(
            explain(
                f"{verb}: the function must return one number",
                f"returned  {made.out_tree}",
                hint="return the loss alone, or a pair (loss, auxiliary results) with has_aux=True",
            )
        )
    (value,) = made.outputs
    if value.shape:
        raise ShapeError(
            explain(
                f"{verb}: the function must return one number",
                f"returned  {value.type}",
                hint="reduce it with cnp.sum or cnp.mean, or use jacrev for all derivatives",
            )
        )
    if not value.dtype.is_float:
        raise DTypeError(
            explain(
                f"{verb}: the function must return a floating-point number",
                f"returned  {value.type}",
            )
        )
    return value


def _pulled(made: Inlined, cotangents: Sequence[Node | None]) -> list[Node]:
    """Return the cotangents of the placeholders; zeros where nothing depends on them."""
    given = [(y, g) for y, g in zip(made.stable, cotangents, strict=True) if g is not None]
    found = pull_back([y for y, _ in given], [g for _, g in given], made.placeholders)
    return [
        p.graph.full_like(p, 0.0) if g is None else g
        for p, g in zip(made.placeholders, found, strict=True)
    ]


def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None, has_aux: bool = False,
) -> Transformed:  # fmt: skip
    """Make the function that returns the value of `fn` and its gradient.

    Reverse mode: one walk back, at a few times the cost of `fn` whatever the number of inputs.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments to differentiate with respect to; by default the first,
            0.  One that is named twice has its gradient twice.
        argnames: Their names, instead.
        wrt: Paths of leaves instead, as `params/layers/0/W`: one, several, or with wildcards
            (`params/*/W`; `**` stands for any number of parts).  The rest may hold anything.
        has_aux: `fn` returns a pair `(value, auxiliary results)`.

    Returns:
        A function of the same arguments that returns `(value, gradient)`, or
        `((value, auxiliary results), gradient)`.  The gradient nests as the argument; for several
        arguments it is a tuple.  For `wrt` it is an array for one path, else a dict by path.

    Raises:
        ShapeError: The result has axes.
        StructureError: The result is not one number, or an argument does not exist.  At once where
            `fn` is no function, or more than one of `argnums`, `argnames` and `wrt` is given.
        DTypeError: The result or a chosen argument is not of floating point.

    >>> value, slope = value_and_grad(lambda x: x**2)(3.0)
    >>> value.item(), slope.item()
    (9.0, 6.0)
    """
    want = wanted(fn, "value_and_grad", argnums, argnames, wrt)

    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(fn, args, kwargs, want, "gradient")
        graph = graph_for((args, kwargs))
        made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
        value = _scalar(made, "gradient")
        slopes = _pulled(made, [graph.constant(1.0, value.dtype)])
        (placed, *grads), aux = made.placed_with_aux([value, *slopes])
        result = Array(placed, made.weak[0])
        gradient = chosen.nested([Array(g) for g in grads])
        return ((result, aux), gradient) if has_aux else (result, gradient)

    return Transformed(traced, fn, "value_and_grad")


def grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None, has_aux: bool = False,
) -> Transformed:  # fmt: skip
    """Make the function that returns the gradient of `fn`.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments to differentiate with respect to; by default the first,
            0.  One that is named twice has its gradient twice.
        argnames: Their names, instead.
        wrt: Paths of leaves instead, as `params/layers/0/W`: one, several, or with wildcards
            (`params/*/W`; `**` stands for any number of parts).  The rest may hold anything.
        has_aux: `fn` returns a pair `(value, auxiliary results)`.

    Returns:
        A function of the same arguments.  It returns the gradient, which nests as the argument (a
        tuple for several arguments; with `wrt` an array or a dict), or with `has_aux` a pair
        `(gradient, auxiliary results)`.

    Raises:
        ShapeError: The result has axes.
        StructureError: The result is not one number, or an argument does not exist.  At once where
            `fn` is no function, or more than one of `argnums`, `argnames` and `wrt` is given.
        DTypeError: The result or a chosen argument is not of floating point.

    >>> grad(grad(lambda x: x**3))(2.0).item()
    12.0
    >>> def loss(params, scale):
    ...     return scale * params["w"] ** 2 * params["b"]
    >>> params = {"w": 3.0, "b": 2.0}
    >>> grad(loss, wrt="params/w")(params, 1).item()
    12.0
    >>> {path: g.item() for path, g in grad(loss, wrt="params/*")(params, 1).items()}
    {'params/b': 9.0, 'params/w': 12.0}
    """
    wanted(fn, "grad", argnums, argnames, wrt)
    both = value_and_grad(fn, argnums, argnames=argnames, wrt=wrt, has_aux=has_aux).traced

    def traced(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return Transformed(traced, fn, "grad")


def matched(given: Any, tree: TreeDef, what: str, of: str) -> list[Any]:
    """Return the leaves of tangents or cotangents; None where None stands for one or several.

    Raises:
        StructureError: They nest otherwise than what they are of.
    """
    leaves, found = tree_flatten(given)
    if found == tree:
        return leaves
    try:
        spread = broadcast_prefix(given, tree.unflatten([0] * tree.leaves), what)
    except StructureError:
        spread = []
    if not spread or sum(x is not None for x in spread) != len(leaves):
        raise StructureError(
            explain(f"the {what} otherwise than the {of}", f"{of}  {tree}",
                    f"{what.split(maxsplit=1)[0]}  {found}", hint="None stands for zeros")
        )  # fmt: skip
    return spread


def cotangent_nodes(made: Inlined, cotangent: Any, tree: TreeDef) -> list[Node | None]:
    """Return cotangents of the outputs, converted to their dtypes; None for zeros.

    Those of integer outputs do not count.

    Raises:
        StructureError: They nest otherwise.
        ShapeError: One has another shape than its output.
    """
    leaves = matched(cotangent, tree, "cotangent nests", "result")
    nodes: list[Node | None] = []
    for leaf, output in zip(leaves, made.outputs, strict=True):
        if leaf is None or not output.dtype.is_float:
            nodes.append(None)
            continue
        node = node_of(as_operand(leaf), made.graph)
        if node.shape != output.shape:
            if node.shape:
                raise ShapeError(
                    explain("a cotangent has another shape than its result",
                            f"result  {output.type}", f"cotangent  {node.type}")
                )  # fmt: skip
            node = broadcast_to_shape(node, output.shape)
        nodes.append(cast(node, output.dtype))
    return nodes


def vjp(fn: Callable[..., Any], *primals: Any, has_aux: bool = False, run: Run = evaluating) -> Any:
    """Return the value of `fn` and the function that pulls cotangents back through it.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments.
        has_aux: `fn` returns a pair `(result, auxiliary results)`.
        run: How plain values are computed with.

    Returns:
        `(result, pullback)`, and the auxiliary results with `has_aux`.  `pullback` takes a
        cotangent of the result's structure and shapes, None for zeros; that of an integer result
        does not count.  It returns a tuple: one cotangent for each argument, None for integers.

    Raises:
        DTypeError: No argument is of floating point.
        StructureError: A cotangent nests otherwise than the result.
        ShapeError: A cotangent has another shape than its result.

    >>> y, pullback = vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> y.item(), tuple(g.item() for g in pullback(1.0))
    (12.0, (4.0, 3.0))
    """
    if not has_traced(primals):

        def value(*given: Any) -> Any:
            return fn(*given)

        def pullback_of(given: Sequence[Any], cotangent: Any) -> Any:
            return vjp(fn, *given, has_aux=has_aux)[1](cotangent)

        choose_all(fn, primals, "vjp")
        primals = held(primals)
        pulled = run(pullback_of)

        def pullback(cotangent: Any) -> Any:
            if has_traced(cotangent):
                return pullback_of(primals, cotangent)
            return pulled(primals, cotangent)

        result = run(value)(*primals)
        return (result[0], pullback, result[1]) if has_aux else (result, pullback)

    chosen = choose_all(fn, primals, "vjp")
    graph = graph_for(primals)
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
    placed, aux = made.placed_with_aux(made.outputs)
    out = made.out_tree.unflatten([Array(n, w) for n, w in zip(placed, made.weak, strict=True)])

    def traced_pullback(cotangent: Any) -> Any:
        slopes = _pulled(made, cotangent_nodes(made, cotangent, made.out_tree))
        return chosen.nested([Array(g) for g in made.placed(slopes)])

    return (out, traced_pullback, aux) if has_aux else (out, traced_pullback)
