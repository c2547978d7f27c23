"""`checkpoint`: keep what goes in, compute the inside again when the derivative needs it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import is_arraylike, name_of, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.operands import reshape
from chainrule.frontend.pytree import TreeDef, tree_flatten, tree_map
from chainrule.ir.body import Body
from chainrule.ir.dims import Extent
from chainrule.numpy.nodes import joined, part
from chainrule.ops.control import Custom, results_of
from chainrule.transform.closing import Leaf, close, leaves_of, open_body
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import has_traced

__all__ = ["called", "checkpoint", "in_segments", "schedule_of"]

SEGMENT: Final = 32
"Steps of a segment, where the length of the loop is an extent."


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
    require_function(fn, "checkpoint")

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
        custom = custom.with_constants(outer)
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


# Loops in segments


def schedule_of(checkpoint: object) -> tuple[str, int | None]:
    """Return what a loop's `checkpoint` asks for: a schedule and its number.

    Raises:
        StructureError: It is nothing that is known.
    """
    match checkpoint:
        case None:
            return "all", None
        case "sqrt":
            return "segments", None
        case "binomial":
            return "binomial", None
        case int() if checkpoint > 0 and not isinstance(checkpoint, bool):
            return "segments", checkpoint
        case ("binomial", int(snapshots)) if snapshots > 0:
            return "binomial", snapshots
    raise StructureError(
        explain(f"scan: checkpoint={checkpoint!r} is not known",
                'known  None, "sqrt", "binomial", ("binomial", snapshots), steps of a segment')
    )  # fmt: skip


def in_segments(
    scan: Callable[..., Any], f: Callable[[Any, Any], Any], init: Any,
    rows: tuple[Sequence[Leaf], TreeDef], length: Extent, segment: int | None, *, reverse: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """Run a loop as a loop over segments, each a checkpoint; the steps left over come last."""
    leaves, tree = rows
    steps = segment or (math.isqrt(max(length - 1, 0)) + 1 if isinstance(length, int) else SEGMENT)
    whole = length // steps
    done = whole * steps
    left = length - done

    def taken(start: Extent, count: Extent, shape: tuple[Extent, ...]) -> Any:
        return tree.unflatten([
            Array(reshape(part(x.node, 0, start, count), (*shape, *x.node.shape[1:])))
            for x in leaves
        ])  # fmt: skip

    def segment_of(count: Extent) -> Callable[[Any, Any], Any]:
        return checkpoint(lambda carry, xs: scan(f, carry, xs, count, reverse))

    def most(carry: Any) -> tuple[Any, Any]:
        carry, ys = scan(segment_of(steps), carry, taken(0, done, (whole, steps)), whole, reverse)
        flat = tree_map(lambda y: Array(reshape(y.node, (done, *y.node.shape[2:]))), ys)
        return carry, flat

    def rest(carry: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = segment_of(left)(carry, taken(done, left, (left,)))
        return result

    if isinstance(left, int) and not left:
        return most(init)
    if isinstance(whole, int) and not whole:
        return rest(init)
    first, second = (rest, most) if reverse else (most, rest)
    carry, before = first(init)
    carry, after = second(carry)
    pair = (after, before) if reverse else (before, after)
    return carry, tree_map(lambda a, b: Array(joined([a.node, b.node], 0)), *pair)
