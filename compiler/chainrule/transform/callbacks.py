"""`callback`: a Python or native function in the middle of a compiled one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import Spec, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.extents import plain_shape
from chainrule.frontend.pytree import tree_flatten
from chainrule.ir.types import Type, dtype_of
from chainrule.ops.control import results_of
from chainrule.transform.closing import leaves_of
from chainrule.transform.inline import graph_for
from chainrule.transform.transformed import has_traced
from chainrule_runtime.callbacks import Callback

__all__ = ["callback"]


def callback(function: Callable[..., Any], result: Any, *args: Any) -> Any:
    """Call a function of arrays that the compiler does not see into.

    A Python function gets NumPy arrays of its own and returns arrays.  It should have no effects:
    what is not needed is not called, and what is needed twice may be called twice.  A native
    function (a `ctypes` function of type `chainrule_runtime.callbacks.NATIVE`) is called without
    Python.  Programs with callbacks cannot be exported.  They have no derivative of their own: give
    one with `custom_vjp` or `custom_jvp`.  Under `vmap` it is called once an example.

    Args:
        function: What to call, with one array for each leaf of the arguments.
        result: What it returns: `spec(shape, dtype)`, an array like it, or a pytree of those.
        args: Pytrees of arrays.

    Returns:
        The result, nested as `result`.

    Raises:
        StructureError: `result` holds something that is neither a spec nor an array.
        ShapeError: The function returned other shapes than announced (when it is called).

    >>> import numpy as np
    >>> from chainrule.transform import evaluated
    >>> sort = lambda x: callback(np.sort, x, x)
    >>> evaluated(sort, (np.array([3.0, 1.0, 2.0]),)).tolist()
    [1.0, 2.0, 3.0]
    """
    require_function(function, "callback")
    leaves, tree = tree_flatten(result, is_leaf=lambda x: isinstance(x, Spec))
    if not has_traced(args):
        found = function(*(np.asarray(x) for x in tree_flatten(args)[0]))
        return tree.unflatten([found] if len(leaves) == 1 else found)
    graph = graph_for(args)
    given, _ = leaves_of(args, graph)
    types = tuple(_type(x) for x in leaves)
    made = Callback(
        function, [(x.node.dtype.numpy, x.node.type.rank) for x in given],
        [(t.dtype.numpy, t.rank) for t in types],
    )  # fmt: skip
    node = graph.call("callback", *(x.node for x in given), function=made, types=types)
    return tree.unflatten([Array(n) for n in results_of(node)])


def _type(x: Any) -> Type:
    if isinstance(x, Spec | Array | np.ndarray | np.generic):
        return Type(dtype_of(x.dtype), plain_shape(tuple(x.shape)))
    raise StructureError(
        explain("callback: the result must be announced by specs or arrays",
                f"got  {type(x).__name__}", hint="write cr.spec(shape, dtype)")
    )  # fmt: skip
