"""Calls whose derivative is a rule of ours, in forward and in reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.frontend.array import Array
from chainrule.frontend.context import stable_forms
from chainrule.ir.body import Body
from chainrule.ir.graph import Node
from chainrule.ops.control import Custom, results_of
from chainrule.optimize import joined, stabilize
from chainrule.transform.closing import close, leaves_of, open_body
from chainrule.transform.inline import graph_for

__all__ = ["call_with", "same_call"]


def call_with(
    fn: Callable[..., Any], args: Sequence[Any], custom: Custom, made: list[Node]
) -> list[Any]:
    """Trace `fn(*args)`, arrays in and a tuple of arrays out, as a call with derivatives.

    The rules see the arguments alone; what `fn` reads from outside has no derivative.  The call
    goes into `made`, for rules that need its results.
    """
    graph = graph_for(list(args))
    given, _ = leaves_of(list(args), graph)
    opened = open_body(
        graph, fn, [x.node.type for x in given], [x.weak for x in given],
        [f"arg{i}" for i in range(len(given))],
    )  # fmt: skip
    results = [*opened.outputs, *(c.failed for c in opened.checks)]
    outer, (fixed,), (closed,) = close(graph, [(results, opened.mark)])
    # Stable forms now: done later, the call would differ from the one that rules ask for.
    closed = joined(stabilize(closed) if stable_forms() else closed)
    body = Body((*opened.inputs, *fixed), tuple(closed))
    own = custom.with_constants(outer, asked=True)
    node = graph.call("call", *(x.node for x in given), *outer, body=body, custom=own, apart=False)
    made.append(node)
    found = results_of(node)
    count = len(opened.outputs)
    for check, failed in zip(opened.checks, found[count:], strict=True):
        graph.check(failed, check.message)
    return [Array(n) for n in found[:count]]


def same_call(made: Node, args: Sequence[Node], index: int = 0) -> Node:
    """Return a result of the same call of other arguments; of the same ones it is the same node."""
    rest = made.args[len(args) :]
    return results_of(made.graph.apply(made.op, (*args, *rest), made.attrs))[index]
