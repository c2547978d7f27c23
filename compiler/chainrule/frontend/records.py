"""Named tuples and dataclasses as native calls need them: classes, builders, static values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from chainrule.frontend.pytree import TreeDef
from chainrule.frontend.settings import matcher
from chainrule_runtime.binding import Record

__all__ = ["records"]


def records(tree: TreeDef, *, given: bool = False) -> tuple[Record, ...]:
    """Return a record for each node of `abi.record_nodes(tree.to_runtime())`, in that order.

    Of arguments (`given`) static values are what those of a call are compared with.

    >>> from chainrule.frontend.pytree import tree_structure
    >>> from typing import NamedTuple
    >>> class Pair(NamedTuple):
    ...     a: float
    ...     b: float
    >>> [record.build((1, 2)) for record in records(tree_structure([Pair(0.0, 0.0)]))]
    [Pair(a=1, b=2)]
    """
    found = []
    pending = [tree]
    while pending:
        node = pending.pop()
        kind, cls = node.record, node.cls
        if kind is not None and cls is not None:
            # Not by __init__, as `tree_unflatten`: the native code sets the fields.
            build = _of_tuple(cls) if kind == "namedtuple" else partial(object.__new__, cls)
            static = tuple([matcher(v) if given else v for _, v in node.static])
            found.append(Record(cls, build, static))
        pending.extend(reversed(node.children))
    return tuple(found)


def _of_tuple(cls: type) -> Callable[..., Any]:
    """Return what builds a named tuple of a tuple, without running Python code where none is."""
    new: Any = cls.__new__
    # The method that `typing.NamedTuple` and `collections.namedtuple` generate lies in a namespace
    # of its own; one written in a class may check or convert.
    if getattr(new, "__globals__", {}).get("__name__", "").startswith("namedtuple_"):
        return partial(tuple.__new__, cls)
    return lambda children: cls(*children)
