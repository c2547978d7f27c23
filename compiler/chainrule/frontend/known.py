"""Arrays whose numbers are known while a function is traced.

`chainrule.numpy` computes with NumPy where no argument is traced: shapes, loops and tables in a
traced function are ordinary data.  Inside a trace its results may also be indexed by traced values
and have `.at`, as traced arrays do, so that `cnp.zeros(3).at[i].set(v)` and `cnp.arange(5)[i]` need
no conversion.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from chainrule.frontend.array import Array
from chainrule.frontend.context import current_graph, is_tracing
from chainrule.frontend.dispatch import IMPLEMENTATIONS, InGraph, first_traced
from chainrule.frontend.operands import node_of
from chainrule.frontend.pytree import tree_map
from chainrule.frontend.updates import Updates
from chainrule.frontend.value import Value, refuse

__all__ = ["KnownArray", "known", "known_leaves"]


class KnownArray(np.ndarray[Any, Any]):
    """A NumPy array in every way that also takes traced indices and has `.at`.

    Both give traced values; whatever else is done with it gives NumPy's results.
    """

    def __getitem__(self, key: Any) -> Any:
        if _mentions_traced(key):
            return IMPLEMENTATIONS[operator.getitem](self._traced("index"), key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if _mentions_traced(key) or first_traced([value]) is not None:
            node = next((x.node for x in (value, key) if isinstance(x, Value)), None)
            refuse("a traced value cannot be written into an array in place", node,
                   "write x = x.at[index].set(value), or .add(value)")  # fmt: skip
        super().__setitem__(key, value)

    @property
    def at(self) -> Updates:
        """Updates out of place, which give a traced array."""
        return Updates(self._traced("update"))

    def _traced(self, verb: str) -> Array:
        graph = current_graph()
        if graph is None:
            refuse(f"there is no trace under way to {verb} this array in", None,
                   "the array was made while a function was traced and kept; "
                   "use it inside of the function")  # fmt: skip
        return Array(node_of(np.asarray(self), graph))

    def __array_wrap__(
        self, array: Any, context: Any = None, return_scalar: bool = False
    ) -> Any:  # fmt: skip
        """Return scalars where NumPy does."""
        del context
        return array[()] if return_scalar else array.view(KnownArray)

    def __repr__(self) -> str:
        return repr(np.asarray(self))


def _mentions_traced(key: Any) -> bool:
    if isinstance(key, slice):
        return any(isinstance(x, InGraph) for x in (key.start, key.stop, key.step))
    if isinstance(key, tuple):
        return any(map(_mentions_traced, key))
    return first_traced([key]) is not None


def known(result: Any) -> Any:
    """Return what NumPy computed as users get it: known arrays inside a trace."""
    if not is_tracing():
        return result
    if type(result) is np.ndarray:
        return result.view(KnownArray)
    if type(result) in (list, tuple):
        return type(result)(map(known, result))
    return result


def known_leaves(tree: Any) -> Any:
    """Return arguments of a function that is inlined, plain arrays among them as known ones.

    Called on its own, the function would have been given traced arrays, which have `.at` too.
    """
    return tree_map(known, tree) if is_tracing() else tree


IMPLEMENTATIONS["known"] = known
