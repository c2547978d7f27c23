"""Reverse mode: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.differentiate.reverse import pull_back
from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.arguments import bind_arguments, name_of
from chainrule.frontend.array import Array
from chainrule.frontend.operands import as_operand, broadcast_to_shape, cast, node_of
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.ir.graph import Node
from chainrule.transform.inline import Inlined, graph_for, inline, require_float
from chainrule.transform.paths import ChosenLeaves, Paths, only_paths
from chainrule.transform.transformed import Run, Transformed, evaluated, has_traced

__all__ = ["Chosen", "choose", "choose_or_find", "grad", "value_and_grad", "vjp"]


class Chosen:
    """The arguments that a transformation is about, taken out of a call."""

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
        argnums: int | Sequence[int], argnames: str | Sequence[str] | None,
    ) -> None:  # fmt: skip
        self.fn, self.args, self.kwargs = fn, args, kwargs
        labels = _labels(fn, args, kwargs)
        self.single = isinstance(argnums, int) and argnames is None
        if argnames is not None:
            keys = [_key_of(n, labels, kwargs, fn) for n in _names(argnames)]
            self.single = isinstance(argnames, str)
        else:
            numbers = [argnums] if isinstance(argnums, int) else list(argnums)
            keys = [_number(n, len(args), fn) for n in numbers]
        self.keys: list[int | str] = keys
        self.value: Any = tuple([args[k] if isinstance(k, int) else kwargs[k] for k in keys])
        self.leaves, self.tree = tree_flatten(self.value)
        names = [labels[k] if isinstance(k, int) and k < len(labels) else str(k) for k in keys]
        self.paths = [p for n, c in zip(names, self.tree.children, strict=True) for p in c.paths(n)]

    def call(self, leaves: Sequence[Any]) -> Any:
        """Call the function with other leaves in the chosen arguments."""
        args, kwargs = list(self.args), dict(self.kwargs)
        for key, value in zip(self.keys, self.tree.unflatten(leaves), strict=True):
            if isinstance(key, int):
                args[key] = value
            else:
                kwargs[key] = value
        return self.fn(*args, **kwargs)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Nest leaves as the chosen arguments; a single one is not in a tuple."""
        tree = self.tree.unflatten(leaves)
        return tree[0] if self.single else tree


def _names(argnames: str | Sequence[str]) -> list[str]:
    return [argnames] if isinstance(argnames, str) else list(argnames)


def _labels(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    try:
        return list(bind_arguments(fn, args, kwargs).names)
    except StructureError:
        return [f"arg{i}" for i in range(len(args))]


def _key_of(name: str, labels: list[str], kwargs: dict[str, Any], fn: Any) -> int | str:
    if name in kwargs:
        return name
    if name in labels:
        return labels.index(name)
    raise StructureError(
        explain(
            f"argnames: {name_of(fn)} is not given an argument {name}",
            f"given  {', '.join(labels)}",
        )
    )


def _number(number: int, count: int, fn: Any) -> int:
    if not -count <= number < count:
        raise StructureError(
            explain(
                f"argnums: {name_of(fn)} is given {count} positional arguments",
                f"argnums  {number}",
                hint="arguments count from 0; name keyword arguments with argnames",
            )
        )
    return number % count


def choose(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
    argnums: int | Sequence[int], argnames: str | Sequence[str] | None, verb: str,
) -> Chosen:  # fmt: skip
    """Take the chosen arguments out of a call, which must be of floating point."""
    chosen = Chosen(fn, args, kwargs, argnums, argnames)
    require_float(chosen.leaves, chosen.paths, verb)
    return chosen


def choose_or_find(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
    argnums: int | Sequence[int], argnames: str | Sequence[str] | None, verb: str,
    wrt: Paths | None,
) -> Chosen | ChosenLeaves:  # fmt: skip
    """Take the chosen arguments, or the leaves at the paths `wrt`, out of a call."""
    if wrt is None:
        return choose(fn, args, kwargs, argnums, argnames, verb)
    only_paths(wrt, argnums, argnames, verb)
    found = ChosenLeaves(fn, args, kwargs, wrt, verb)
    require_float(found.leaves, found.paths, verb)
    return found


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


def _pulled(made: Inlined, cotangents: Sequence[Node]) -> list[Node]:
    """Return the cotangents of the placeholders; zeros where nothing depends on them."""
    found = pull_back(made.outputs, cotangents, made.placeholders)
    return [
        p.graph.full_like(p, 0.0) if g is None else g
        for p, g in zip(made.placeholders, found, strict=True)
    ]


def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None, has_aux: bool = False,
) -> Transformed:  # fmt: skip
    """Make the function that returns the value of `fn` and its gradient.

    Reverse mode: one walk back, at a few times the cost of `fn` whatever the number of inputs.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments to differentiate with respect to.
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
        StructureError: The result is not one number, or an argument does not exist.
        DTypeError: The result or a chosen argument is not of floating point.

    >>> value, slope = value_and_grad(lambda x: x**2)(3.0)
    >>> value.item(), slope.item()
    (9.0, 6.0)
    """

    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = choose_or_find(fn, args, kwargs, argnums, argnames, "gradient", wrt)
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
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None, has_aux: bool = False,
) -> Transformed:  # fmt: skip
    """Make the function that returns the gradient of `fn`.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments to differentiate with respect to.
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
        StructureError: The result is not one number, or an argument does not exist.
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
    both = value_and_grad(fn, argnums, argnames=argnames, wrt=wrt, has_aux=has_aux).traced

    def traced(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return Transformed(traced, fn, "grad")


def cotangent_nodes(made: Inlined, cotangent: Any, tree: TreeDef) -> list[Node]:
    """Return cotangents of the outputs, converted to their dtypes.

    Raises:
        StructureError: They nest otherwise.
        ShapeError: One has another shape than its output.
    """
    leaves, given = tree_flatten(cotangent)
    if given != tree:
        raise StructureError(
            explain("the cotangent nests otherwise than the result",
                    f"result  {tree}", f"cotangent  {given}")
        )  # fmt: skip
    nodes = []
    for leaf, output in zip(leaves, made.outputs, strict=True):
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


def vjp(fn: Callable[..., Any], *primals: Any, has_aux: bool = False, run: Run = evaluated) -> Any:
    """Return the value of `fn` and the function that pulls cotangents back through it.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.
        primals: Its arguments.
        has_aux: `fn` returns a pair `(result, auxiliary results)`.
        run: How plain values are computed with.

    Returns:
        `(result, pullback)`, and the auxiliary results with `has_aux`.  `pullback` takes a
        cotangent of the result's structure and shapes; it returns a tuple: one cotangent for each
        argument.

    Raises:
        DTypeError: An argument is not of floating point.

    >>> y, pullback = vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> y.item(), tuple(g.item() for g in pullback(1.0))
    (12.0, (4.0, 3.0))
    """
    if not has_traced(primals):

        def value(*given: Any) -> Any:
            return fn(*given)

        def pullback_of(given: Sequence[Any], cotangent: Any) -> Any:
            return vjp(fn, *given, has_aux=has_aux)[1](cotangent)

        def pullback(cotangent: Any) -> Any:
            if has_traced(cotangent):
                return pullback_of(primals, cotangent)
            return run(pullback_of, (primals, cotangent))

        result = run(value, primals)
        return (result[0], pullback, result[1]) if has_aux else (result, pullback)

    chosen = choose(fn, primals, {}, tuple(range(len(primals))), None, "vjp")
    graph = graph_for(primals)
    made = inline(chosen.call, chosen.leaves, chosen.paths, graph, has_aux=has_aux)
    placed, aux = made.placed_with_aux(made.outputs)
    out = made.out_tree.unflatten([Array(n, w) for n, w in zip(placed, made.weak, strict=True)])

    def traced_pullback(cotangent: Any) -> Any:
        slopes = _pulled(made, cotangent_nodes(made, cotangent, made.out_tree))
        return chosen.nested([Array(g) for g in made.placed(slopes)])

    return (out, traced_pullback, aux) if has_aux else (out, traced_pullback)
