"""Dense derivatives: `jacfwd`, `jacrev`, `hessian`, and Hessian-vector products."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from chainrule.errors import StructureError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.operands import as_operand, cast, node_of, reshape
from chainrule.frontend.pytree import tree_flatten
from chainrule.frontend.value import Value
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import I64, Type
from chainrule.numpy.nodes import permuted
from chainrule.transform.batching import vmap
from chainrule.transform.choice import Paths, choose, wanted
from chainrule.transform.filled import filled_hessian
from chainrule.transform.gradients import grad, vjp
from chainrule.transform.inline import graph_for
from chainrule.transform.tangents import jvp
from chainrule.transform.transformed import Transformed

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev"]


def _basis(graph: Graph, type_: Type) -> Node:
    """Return unit arrays of a type, one for each element, along a first axis."""
    size = type_.size
    counter = graph.call("iota", length=size, dtype=I64)
    square = (size, size)
    same = graph.broadcast(counter, square, (0,)).equals(graph.broadcast(counter, square, (1,)))
    held = reshape(same, (size, *type_.shape))
    # A selection, so that an infinite slope meets no zero of another direction.
    return graph.select(held, graph.full(held.shape, 1.0, type_.dtype), 0.0)


def _zero(graph: Graph, type_: Type) -> Array:
    return Array(graph.full(type_.shape, 0.0, type_.dtype))


def jacrev(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None,
) -> Transformed:  # fmt: skip
    """Make the function that returns the Jacobian of `fn`, by rows: one pull-back an output.

    Cheaper than `jacfwd` where there are fewer outputs than inputs.

    Args:
        fn: A function that returns a pytree of floating-point arrays.
        argnums: Which positional arguments to differentiate with respect to; by default the first.
        argnames: Their names, instead.
        wrt: Paths of leaves instead, as for `grad`.

    Returns:
        A function of the same arguments.  Its result nests as that of `fn`; each leaf of shape S
        becomes a tree like the argument (a tuple for several, with `wrt` an array or a dict by
        path) of arrays S + the leaf's shape.

    Raises:
        DTypeError: A chosen argument is not of floating point.

    >>> import numpy as np
    >>> jacrev(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    want = wanted(fn, "jacrev", argnums, argnames, wrt)

    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(fn, args, kwargs, want, "jacobian")
        graph = graph_for((args, kwargs))

        def of_leaves(*leaves: Any) -> Any:
            return chosen.call(leaves)

        lifted = [Array(node_of(as_operand(x), graph)) for x in chosen.leaves]
        result, pullback = vjp(of_leaves, *lifted)
        outputs, tree = tree_flatten(result)
        rows = []
        for i, output in enumerate(outputs):
            type_ = output.node.type

            def row(unit: Any, i: int = i) -> Any:
                units = [_zero(graph, o.node.type) for o in outputs]
                units[i] = unit
                return pullback(tree.unflatten(units))

            if not type_.shape:
                one = Array(graph.constant(1.0, type_.dtype))
                rows.append(chosen.nested(list(row(one))))
                continue
            pulled = vmap(row).traced(Array(_basis(graph, type_)))
            rows.append(
                chosen.nested(
                    [Array(reshape(g.node, (*type_.shape, *g.node.shape[1:]))) for g in pulled]
                )
            )
        return tree.unflatten(rows)

    return Transformed(traced, fn, "jacrev")


def jacfwd(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None,
) -> Transformed:  # fmt: skip
    """Make the function that returns the Jacobian of `fn`, by columns: one push-forward an input.

    Cheaper than `jacrev` where there are fewer inputs than outputs.

    Args:
        fn: A function that returns a pytree of floating-point arrays.
        argnums: Which positional arguments to differentiate with respect to; by default the first.
        argnames: Their names, instead.
        wrt: Paths of leaves instead, as for `grad`.

    Returns:
        A function of the same arguments.  Its result nests as that of `jacrev`.

    Raises:
        DTypeError: A chosen argument is not of floating point.

    >>> import numpy as np
    >>> jacfwd(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    want = wanted(fn, "jacfwd", argnums, argnames, wrt)

    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(fn, args, kwargs, want, "jacobian")
        graph = graph_for((args, kwargs))

        def of_leaves(*leaves: Any) -> Any:
            return chosen.call(leaves)

        lifted = [Array(node_of(as_operand(x), graph)) for x in chosen.leaves]
        if not lifted:
            results, nest = tree_flatten(chosen.call([]))
            return nest.unflatten([chosen.nested([]) for _ in results])
        columns: list[list[Node]] = []
        tree = None
        for i, leaf in enumerate(lifted):
            type_ = leaf.node.type

            def column(unit: Any, i: int = i) -> Any:
                along = [_zero(graph, x.node.type) for x in lifted]
                along[i] = unit
                return jvp(of_leaves, lifted, along)[1]

            pushed, tree = tree_flatten(vmap(column).traced(Array(_basis(graph, type_))))
            columns.append([_last_axis_first(t.node, type_) for t in pushed])
        assert tree is not None, "an argument is chosen"
        per_output = zip(*columns, strict=True)
        return tree.unflatten([chosen.nested([Array(n) for n in row]) for row in per_output])

    return Transformed(traced, fn, "jacfwd")


def _last_axis_first(tangents: Node, type_: Type) -> Node:
    """Move the axis of directions to the end and give it the argument's shape."""
    rank = tangents.type.rank
    moved = permuted(tangents, [*range(1, rank), 0])
    if not moved.dtype.is_float:
        moved = cast(moved, type_.dtype)  # an integer result: zeros, as in jacrev
    return reshape(moved, (*moved.shape[:-1], *type_.shape))


def jacobian(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None,
) -> Transformed:  # fmt: skip
    """Make the function that returns the Jacobian of `fn`; the same as `jacrev`."""
    wanted(fn, "jacobian", argnums, argnames, wrt)
    return jacrev(fn, argnums, argnames=argnames, wrt=wrt)


def hessian(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None,
) -> Transformed:  # fmt: skip
    """Make the function that returns the second derivatives of `fn`, forward over reverse.

    That is one push of the gradient for each element of the arguments; a few where `fn` is a number
    whose second derivatives by one array are zero but near a few diagonals, rows and columns
    (not with numerics that keep bits).  Those that are zero whatever the argument are exactly 0
    then.

    Args:
        fn: A function that returns floating-point arrays; usually one number.
        argnums: Which positional arguments to differentiate with respect to; by default the first.
        argnames: Their names, instead.
        wrt: Paths of leaves instead, as for `grad`.

    Returns:
        A function of the same arguments.  For a number and an argument of shape S its result has
        shape S + S; pytrees, and dicts by path, nest twice.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0])).tolist()
    [[4.0, 2.0], [2.0, 0.0]]
    """
    want = wanted(fn, "hessian", argnums, argnames, wrt)
    inner = jacrev(fn, argnums, argnames=argnames, wrt=wrt)
    outer = jacfwd(inner.traced, argnums, argnames=argnames, wrt=wrt)

    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = choose(fn, args, kwargs, want, "hessian")
        graph = graph_for((args, kwargs))
        lifted = [Array(node_of(as_operand(x), graph)) for x in chosen.leaves]
        results, tree = tree_flatten(chosen.call(lifted))
        if tree.cls is None and isinstance(results[0], Value) and not results[0].node.shape:
            whole = filled_hessian(chosen, lifted, graph)
            rows = _symmetric(chosen.call, lifted) if whole is None else [[Array(whole)]]
            return chosen.nested([chosen.nested(row) for row in rows])
        return outer.traced(*args, **kwargs)

    return Transformed(traced, fn, "hessian")


def _symmetric(call: Callable[[Sequence[Any]], Any], leaves: Sequence[Array]) -> list[list[Array]]:
    """Return the second derivatives of a number by each pair of leaves.

    The slopes of the gradient along each direction are columns; being symmetric, they are taken as
    rows, which need no transposing.
    """
    graph = leaves[0].node.graph

    def gradient(*moved: Any) -> Any:
        value, pullback = vjp(lambda *given: call(given), *moved)
        return pullback(Array(graph.constant(1.0, value.node.dtype)))

    rows = []
    for i, leaf in enumerate(leaves):
        type_ = leaf.node.type

        def row(unit: Any, i: int = i) -> Any:
            along = [_zero(graph, x.node.type) for x in leaves]
            along[i] = unit
            return jvp(gradient, leaves, along)[1]

        pushed = vmap(row).traced(Array(_basis(graph, type_)))
        rows.append([Array(reshape(g.node, (*type_.shape, *g.node.shape[1:]))) for g in pushed])
    return rows


def hvp(
    fn: Callable[..., Any], argnums: int | Sequence[int] | None = None, *, wrt: Paths | None = None
) -> Transformed:
    """Make the function that multiplies the Hessian of `fn` with a vector, without forming it.

    Forward over reverse, at a few times the cost of the gradient.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments the Hessian is of; by default the first.
        wrt: Paths of leaves instead, as for `grad`; the vector is then an array, or a dict by path.

    Returns:
        A function of the same arguments and, last, a vector nested as the gradient.  It returns
        the product, nested likewise.

    Raises:
        ShapeError: `fn` returns an array with axes.
        StructureError: The vector nests otherwise, or `argnums` names an argument twice.

    >>> import numpy as np
    >>> hvp(lambda x: (x**3).sum())(np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """
    want = wanted(fn, "hvp", argnums, wrt=wrt, once=True)
    gradient = grad(fn, argnums, wrt=wrt).traced

    def traced(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise StructureError(
                explain("hvp: the arguments of the function, then a vector", f"given  {len(args)}")
            )
        *primals, vector = args
        chosen = choose(gradient, tuple(primals), kwargs, want, "hvp")

        def of_chosen(*values: Any) -> Any:
            return chosen.call(tree_flatten(values)[0])

        return jvp(of_chosen, chosen.value, chosen.taken_apart(vector))[1]

    return Transformed(traced, fn, "hvp", _with_vector(fn) or inspect.signature(traced))


def _with_vector(fn: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature with a vector at the end, where that can be said."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None
    positional = [
        p for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if len(positional) != len(signature.parameters) or any(p.name == "v" for p in positional):
        return None
    extra = inspect.Parameter(
        "v", positional[-1].kind if positional else inspect.Parameter.POSITIONAL_ONLY
    )
    plain = [p.replace(default=inspect.Parameter.empty) for p in positional]
    return signature.replace(parameters=[*plain, extra])
