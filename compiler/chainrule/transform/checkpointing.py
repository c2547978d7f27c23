"""`checkpoint`: keep what goes in, compute the inside again when the derivative needs it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from chainrule.frontend.arguments import is_arraylike, name_of
from chainrule.frontend.array import Array
from chainrule.frontend.pytree import tree_flatten
from chainrule.ir.body import Body
from chainrule.ops.control import Custom, results_of
from chainrule.transform.closing import close, leaves_of, open_body
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import has_traced

__all__ = ["called", "checkpoint"]


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Let reverse mode keep only the arguments of a function, and compute its inside again.

    The value is that of `fn`.  Its derivative takes one more evaluation of `fn`, and the memory for
    what is inside is there only while that part of the backward pass runs.

    Args:
        fn: A function of pytrees of arrays that returns a pytree of arrays.

    Returns:
        A function of the same arguments.

    >>> from chainrule.transform import grad
    >>> import chainrule.numpy as cnp
    >>> grad(checkpoint(lambda x: cnp.sin(cnp.sin(x))))(0.0).item()
    1.0
    """

    @functools.wraps(fn)
    def kept(*args: Any, **kwargs: Any) -> Any:
        if not has_traced((args, kwargs)):
            return fn(*args, **kwargs)
        return called(fn, args, kwargs, None)

    return kept


def called(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], custom: Custom | None
) -> Any:
    """Trace a function as the body of a call."""
    graph = graph_for((args, kwargs))
    leaves, tree = tree_flatten((args, kwargs))
    # What is no array is a setting of the function.
    at = [i for i, x in enumerate(leaves) if is_arraylike(x)]
    given, _ = leaves_of([leaves[i] for i in at], graph)

    def of_leaves(*handles: Any) -> Any:
        full = list(leaves)
        for i, x in zip(at, handles, strict=True):
            full[i] = x
        positions, keywords = tree.unflatten(full)
        return fn(*positions, **keywords)

    paths = tree.paths()
    opened = open_body(
        graph, of_leaves, [x.node.type for x in given], [x.weak for x in given],
        [paths[i] or name_of(fn) for i in at],
    )  # fmt: skip
    flags = [c.failed for c in opened.checks]
    outer, (fixed,), (closed,) = close(graph, [([*opened.outputs, *flags], opened.mark)])
    if custom is not None:
        custom = custom.with_constants(len(outer))
    body = Body((*opened.inputs, *fixed), tuple(closed))
    node = graph.call(
        "call", *(x.node for x in given), *outer, body=body, custom=custom, apart=False
    )
    results = results_of(node)
    count = len(opened.outputs)
    for check, failed in zip(opened.checks, results[count:], strict=True):
        graph.check(failed, check.message)
    return opened.tree.unflatten(
        [Array(n, w) for n, w in zip(results[:count], opened.weak, strict=True)]
    )
