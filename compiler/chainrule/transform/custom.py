"""Derivatives that users give: `custom_jvp` and `custom_vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, Final

import numpy as np

from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike, name_of, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.context import tracing
from chainrule.frontend.operands import as_operand, broadcast_to_shape, cast, node_of
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.value import Value
from chainrule.ir.graph import Node
from chainrule.ops.control import Custom
from chainrule.transform.checkpointing import called
from chainrule.transform.choice import argument_numbers
from chainrule.transform.transformed import has_traced
from chainrule_runtime.bfloat16 import is_float

__all__ = ["custom_jvp", "custom_vjp"]


class _Given:
    """A function whose derivative is given.

    Called on plain values it is the function itself.
    """

    def __init__(self, fn: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        verb = type(self).__name__
        require_function(fn, verb)
        numbers = argument_numbers(nondiff_argnums, "nondiff_argnums", verb)
        if any(n < 0 for n in numbers):
            raise StructureError(
                explain(f"{verb}: nondiff_argnums count from 0", f"nondiff_argnums  {numbers}")
            )
        update_wrapper(self, fn, updated=())
        self.fn: Final = fn
        self.name: Final = name_of(fn)
        self.fixed: Final = tuple(sorted(set(numbers)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _split(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
        """Return the settings among the arguments, and the rest."""
        if self.fixed and self.fixed[-1] >= len(args):
            raise StructureError(
                explain(f"{self!r}: nondiff_argnums names an argument that is not given",
                        f"nondiff_argnums  {self.fixed}", f"given  {len(args)} arguments")
            )  # fmt: skip
        settings = [args[i] for i in self.fixed]
        return settings, [x for i, x in enumerate(args) if i not in self.fixed]

    def _joined(self, settings: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        left, settled = iter(rest), dict(zip(self.fixed, settings, strict=True))
        count = len(settings) + len(rest)
        return [settled[i] if i in settled else next(left) for i in range(count)]

    def __call__(self, *args: Any) -> Any:
        """Call the function; in a trace, remember the derivative with it."""
        if not has_traced(args):
            return self.fn(*args)
        settings, rest = self._split(args)
        leaves, tree = tree_flatten(tuple(rest))
        arrays = [is_arraylike(x) for x in leaves]
        shape = _Shape(tree, leaves, arrays)
        # What the results nest as is known once the function has run.
        out: list[_Out] = []

        def of_rest(*given: Any) -> Any:
            result = self.fn(*self._joined(settings, given))
            out.append(_Out(*tree_flatten(result)))
            return result

        of_rest.__name__ = self.name
        return called(of_rest, tuple(rest), {}, self._custom(settings, shape, out))

    def _custom(self, settings: Sequence[Any], shape: _Shape, out: list[_Out]) -> Custom:
        raise NotImplementedError

    def _missing(self, what: str) -> StructureError:
        return StructureError(
            explain(f"{self!r} has no derivative yet", hint=f"give it one with {what}")
        )


class _Out:
    """How results nest, and which of them have derivatives."""

    def __init__(self, leaves: Sequence[Any], tree: TreeDef) -> None:
        self.tree = tree
        self.floats = [_is_float(x) for x in leaves]

    def nested(self, cotangents: Sequence[Node]) -> Any:
        """Return cotangents as the results nest, None for integers and truth values."""
        left = iter(cotangents)
        return self.tree.unflatten([Array(next(left)) if f else None for f in self.floats])


def _is_float(leaf: Any) -> bool:
    if isinstance(leaf, Value):
        return leaf.node.dtype.is_float
    return is_float(np.asarray(leaf).dtype)


class _Shape:
    """How arguments nest, and which of their leaves are arrays."""

    def __init__(self, tree: TreeDef, leaves: Sequence[Any], arrays: Sequence[bool]) -> None:
        self.tree, self.leaves, self.arrays = tree, leaves, arrays

    def nested(self, nodes: Sequence[Node]) -> Any:
        """Return nodes as the arguments nest."""
        left = iter(nodes)
        return self.tree.unflatten(
            [Array(next(left)) if a else x for x, a in zip(self.leaves, self.arrays, strict=True)]
        )


def _as_node(x: Any, like: Node, what: str) -> Node | None:
    """Return a derivative as a node of the type of what it belongs to; None is zero."""
    if x is None:
        return None
    node = node_of(as_operand(x), like.graph)
    if node.shape != like.shape:
        if node.shape:
            raise ShapeError(explain(f"{what} has another shape than what it belongs to",
                                     f"it       {node.type}", f"belongs  {like.type}"))  # fmt: skip
        node = broadcast_to_shape(node, like.shape)
    return cast(node, like.dtype)


class custom_vjp(_Given):  # noqa: N801 (a decorator, by the name users know)
    """A function with a pull-back of the user's.

    `defvjp(forward, backward)`: `forward(*args)` returns `(result, residuals)` and
    `backward(residuals, cotangent)` a tuple with a cotangent for each argument (None: zero).
    Settings named by `nondiff_argnums` come first in `backward`.

    >>> from chainrule.transform import grad
    >>> @custom_vjp
    ... def f(x):
    ...     return x * x
    >>> f.defvjp(lambda x: (f(x), x), lambda x, g: (100.0 * g,))
    >>> grad(f)(3.0).item()
    100.0
    """

    def __init__(self, fn: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        super().__init__(fn, nondiff_argnums)
        self._rules: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the derivative."""
        require_function(forward, "defvjp")
        require_function(backward, "defvjp")
        self._rules = forward, backward

    def _custom(self, settings: Sequence[Any], shape: _Shape, out: list[_Out]) -> Custom:
        if self._rules is None:
            raise self._missing("defvjp(forward, backward)")
        forward, backward = self._rules

        def pull(args: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
            graph = args[0].graph
            with tracing(graph):
                given = shape.nested(args)
                # The forward rule may call the function itself: for its value, not its derivative.
                pair = forward(*self._joined(settings, given))
                if not isinstance(pair, tuple) or len(pair) != 2:
                    raise StructureError(explain(
                        f"{self!r}: the forward rule must return a pair (result, residuals)",
                        f"returned  {type(pair).__name__}"))  # fmt: skip
                cotangent = out[0].nested(cotangents)
                found = backward(*settings, pair[1], cotangent)
                return _spread(found, given, self)

        return Custom(self.name, pull=pull)


def _spread(found: Any, given: Any, owner: _Given) -> list[Node | None]:
    """Return one cotangent for each array among the arguments' leaves."""
    if not isinstance(found, tuple) or len(found) != len(given):
        raise StructureError(
            explain(f"{owner!r}: the backward rule must return a tuple with one entry an argument",
                    f"arguments  {len(given)}",
                    f"returned   {found!r:.60}")
        )  # fmt: skip
    nodes: list[Node | None] = []
    for argument, cotangent in zip(given, found, strict=True):
        leaves, tree = tree_flatten(argument)
        if cotangent is None:
            nodes += [None] * sum(map(is_arraylike, leaves))
            continue
        parts, structure = tree_flatten(cotangent, is_leaf=lambda x: x is None)
        if len(parts) != len(leaves):
            raise StructureError(
                explain(f"{owner!r}: a cotangent nests otherwise than its argument",
                        f"argument   {tree}", f"cotangent  {structure}")
            )  # fmt: skip
        for leaf, part in zip(leaves, parts, strict=True):
            if is_arraylike(leaf):
                like = node_of(as_operand(leaf), leaf.node.graph)
                floating = like.dtype.is_float
                nodes.append(_as_node(part, like, "a cotangent") if floating else None)
    return nodes


class custom_jvp(_Given):  # noqa: N801 (a decorator, by the name users know)
    """A function with a push-forward of the user's, which serves reverse mode too.

    `defjvp(rule)`: `rule(primals, tangents)` returns `(result, tangent of the result)`, the tangent
    linear in `tangents`.  Settings named by `nondiff_argnums` come first in `rule`.

    >>> from chainrule.transform import grad
    >>> @custom_jvp
    ... def f(x):
    ...     return x * x
    >>> _ = f.defjvp(lambda primals, tangents: (f(*primals), 100.0 * tangents[0]))
    >>> grad(f)(3.0).item()
    100.0
    """

    def __init__(self, fn: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        super().__init__(fn, nondiff_argnums)
        self._rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the derivative; return the rule, so that this may decorate it."""
        require_function(rule, "defjvp")
        self._rule = rule
        return rule

    def _custom(self, settings: Sequence[Any], shape: _Shape, out: list[_Out]) -> Custom:
        if self._rule is None:
            raise self._missing("defjvp(rule)")
        rule = self._rule

        def push(args: Sequence[Node], tangents: Sequence[Node]) -> list[Node | None]:
            graph = args[0].graph
            with tracing(graph):
                found = rule(*settings, shape.nested(args), shape.nested(tangents))
                if not isinstance(found, tuple) or len(found) != 2:
                    raise StructureError(explain(
                        f"{self!r}: the rule must return a pair (result, tangent)",
                        f"returned  {type(found).__name__}"))  # fmt: skip
                results = [node_of(as_operand(x), graph) for x in tree_flatten(found[0])[0]]
                moved, tree = tree_flatten(found[1], is_leaf=lambda x: x is None)
                if len(moved) != len(results):
                    raise StructureError(
                        explain(f"{self!r}: the tangent nests otherwise than the result",
                                f"result   {out[0].tree}", f"tangent  {tree}")
                    )  # fmt: skip
                return [
                    _as_node(t, r, "a tangent")
                    for t, r in zip(moved, results, strict=True)
                    if r.dtype.is_float
                ]

        return Custom(self.name, push=push)
