"""Which rule differentiates or batches which op with bodies.

The walks hand themselves over: they meet ops with bodies, whose rules walk the bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from chainrule.differentiate.batch_loops import batch_loop
from chainrule.differentiate.body_masks import condition_of, outside
from chainrule.differentiate.branches import (
    batch_call,
    batch_callback,
    batch_switch,
    pull_call,
    pull_switch,
    push_call,
    push_switch,
)
from chainrule.differentiate.loops import (
    Batched,
    PullBack,
    PushForward,
    pull_loop,
    push_loop,
)
from chainrule.errors import NotDifferentiableError, explain
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node

__all__ = ["batch_control", "pull_control", "push_control"]


def _opaque(y: Node, _given: object, *_rest: object) -> NoReturn:
    raise NotDifferentiableError(
        explain(f"the callback {y.attributes['function']} has no derivative",
                hint="give it one: call it in a function with custom_vjp or custom_jvp")
    )  # fmt: skip


PULL: Mapping[str, Callable[..., list[Node | None]]] = {
    "loop": pull_loop, "switch": pull_switch, "call": pull_call, "callback": _opaque,
}  # fmt: skip
PUSH: Mapping[str, Callable[..., dict[int, Node]]] = {
    "loop": push_loop, "switch": push_switch, "call": push_call, "callback": _opaque,
}  # fmt: skip


def pull_control(
    y: Node, cotangents: Mapping[int, Node], wanted: Sequence[bool], inner: Sequence[bool],
    pull_back: PullBack,
) -> list[Node | None]:  # fmt: skip
    """Return the cotangents of a bundle's arguments, given those of some of its items.

    Where a single condition says that no item was taken, that is all there is to know.
    """
    condition = condition_of(cotangents.values())
    found = PULL[y.op.name](y, cotangents, wanted, inner, pull_back)
    return found if condition is None else outside(condition, found)


def push_control(
    y: Node, tangents: Sequence[Node | None], push_forward: PushForward
) -> dict[int, Node]:
    """Return the tangents of a bundle's items, by index; those that are missing are zero."""
    return PUSH[y.op.name](y, tangents, push_forward)


def batch_control(
    y: Node, args: Sequence[Node], flags: Sequence[bool], size: Extent, lengths: dict[str, Extent],
    batched: Batched,
) -> dict[int, tuple[Node, bool]]:  # fmt: skip
    """Return a bundle's items over a new leading axis of some arguments, and which have it."""
    match y.op.name:
        case "loop":
            return batch_loop(y, args, flags, size, lengths, batched)
        case "switch":
            return batch_switch(y, args, flags, size, batched)
        case "callback":
            return batch_callback(y, args, flags, size)
        case _:
            return batch_call(y, args, flags, size, batched)
