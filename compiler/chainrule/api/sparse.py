"""Sparse derivatives that compile: a pattern and one native function for each kind of call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Final

import numpy as np

from chainrule.api.calls import kinds_of
from chainrule.api.jit import jit
from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import as_array, is_arraylike, name_of
from chainrule.frontend.array import Array as Handle
from chainrule.frontend.context import current_graph, is_tracing
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.ir.graph import Node
from chainrule.ir.types import Array
from chainrule.ir.walk import substitute, topological
from chainrule.transform import sparse
from chainrule.transform.csr import CSR
from chainrule.transform.sparse import Prepared, SparseTransform
from chainrule.transform.strategy import Colors
from chainrule_runtime.forks import LongLock

__all__ = ["SparseFunction", "sparse_hessian", "sparse_jacobian"]

PATTERNS: Final = 8
"Patterns that are kept for arguments of the same shapes and other integers."


@dataclass(frozen=True, eq=False)
class _Ready:
    """A compiled derivative: `run(*leaves, *stored)` returns the values.

    Attributes:
        integers: The integer and Boolean arguments that the pattern belongs to.
    """

    integers: tuple[Array, ...]
    run: Callable[..., Any]
    stored: tuple[Array, ...]
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    colors: Colors

    def fits(self, integers: Sequence[Any]) -> bool:
        """Tell whether the pattern is that of these integers."""
        return all(np.array_equal(a, b) for a, b in zip(self.integers, integers, strict=True))


class SparseFunction:
    """A function that returns a sparse derivative as a `CSR` record.

    The pattern is found at the first call for each combination of shapes and integer arguments;
    later calls compare those integers, run one native function and wrap its result.

    Attributes:
        compilations: Every compilation with its reason and its seconds.
        __wrapped__: The function it was made from.
    """

    def __init__(self, transform: SparseTransform, make: Callable[..., Any]) -> None:
        update_wrapper(self, transform.fn, updated=())
        self.__name__ = f"{transform.verb}({name_of(transform.fn)})"
        self.__wrapped__ = transform.fn
        self.compilations: list[Any] = []
        self._transform = transform
        self._make = make
        self._ready: dict[Hashable, list[_Ready]] = {}
        self._programs: dict[Hashable, Callable[..., Any]] = {}
        self._lock = LongLock()

    def __call__(self, *args: Any, **kwargs: Any) -> CSR:
        """Return the derivative; inside a trace it becomes part of what is traced."""
        leaves, tree = tree_flatten((args, kwargs))
        if is_tracing() or any(isinstance(x, InGraph) for x in leaves):
            return self._transform.traced(*args, **kwargs)
        ready, leaves = self._found(args, kwargs, leaves, tree)
        data = ready.run(*leaves, *ready.stored).reshape(-1)
        return CSR(data, ready.indices, ready.indptr, ready.shape)

    def pattern(self, *args: Any, **kwargs: Any) -> CSR:
        """Return where the derivative may differ from zero: the record with True for values."""
        ready, _ = self._found(args, kwargs, *tree_flatten((args, kwargs)))
        return CSR(np.ones(len(ready.indices), bool), ready.indices, ready.indptr, ready.shape)

    def colors(self, *args: Any, **kwargs: Any) -> Colors:
        """Return how many sweeps a call takes: a number, with `.mode` and `.numbers`."""
        ready, _ = self._found(args, kwargs, *tree_flatten((args, kwargs)))
        return ready.colors

    def __repr__(self) -> str:
        return self.__name__

    def __reduce__(self) -> Any:
        return self._make, (self._transform.fn, self._transform.argnums)

    def _found(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], leaves: Sequence[Any], tree: TreeDef
    ) -> tuple[_Ready, list[Any]]:
        """Return the derivative for these arguments, and those of their leaves that are arrays."""
        arrays = [x for x in leaves if type(x) is np.ndarray or is_arraylike(x)]
        kinds, shapes = kinds_of(arrays, ("args", "kwargs"), tree)
        integers = [
            x if type(x) is np.ndarray else as_array(x, "")
            for x, (dtype, _, _) in zip(arrays, kinds, strict=True) if not dtype.is_float
        ]  # fmt: skip
        others = tuple([x for x in leaves if type(x) is not np.ndarray and not is_arraylike(x)])
        key = (tree, kinds, tuple(shapes), others)
        if others:
            self._require_hashable(others)
        for ready in self._ready.get(key, ()):
            if ready.fits(integers):
                return ready, arrays
        with self._lock.held():
            known = self._ready.get(key, [])
            for ready in known:
                if ready.fits(integers):
                    return ready, arrays
            ready = self._prepared(args, kwargs, integers)
            self._ready[key] = [ready, *known[: PATTERNS - 1]]
        return ready, arrays

    def _require_hashable(self, settings: Sequence[Any]) -> None:
        try:
            hash(settings)
        except TypeError:
            types = ", ".join(type(x).__name__ for x in settings)
            raise StructureError(
                explain(
                    f"{self!r}: an argument is neither an array nor hashable",
                    f"types  {types}",
                )
            ) from None

    def _prepared(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], integers: Sequence[Array]
    ) -> _Ready:
        prepared = self._transform.prepare(args, kwargs)
        pattern = prepared.derivative.pattern
        for array in (pattern.indices, pattern.indptr):
            array.flags.writeable = False
        return _Ready(
            tuple([x.copy() for x in integers]), self._compiled(prepared), prepared.stored,
            pattern.indices, pattern.indptr, prepared.shape, prepared.derivative.colors,
        )  # fmt: skip

    def _compiled(self, prepared: Prepared) -> Callable[..., Any]:
        """Return native code for a program, that of an equal one if there is any."""
        output = prepared.derivative.data
        if output.op.name == "reshape":
            # NumPy flattens without a copy.
            output = output.args[0]
        key = _form(output, prepared.inputs)
        if key not in self._programs:

            def run(*given: Any) -> Any:
                nodes = [g.node for g in given]
                graph = current_graph()
                assert graph is not None, "a function runs while it is traced"
                known = dict(zip(prepared.inputs, nodes, strict=True))
                (data,) = substitute([output], graph, known)
                return Handle(data)

            run.__name__ = self.__name__
            compiled = jit(run)
            self.compilations = compiled.compilations
            self._programs[key] = compiled
        return self._programs[key]


def _form(output: Node, inputs: Sequence[Node]) -> Hashable:
    """Return what two programs share that compute the same of their inputs."""
    number = {x: i for i, x in enumerate(inputs)}
    lines: list[Hashable] = []
    for node in topological([output]):
        if node.op.name == "input":
            lines.append((number[node], node.type))
            continue
        number[node] = len(number)
        lines.append((node.op, tuple([number[a] for a in node.args]), node.attrs))
    return tuple(lines)


def sparse_jacobian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> SparseFunction:
    """Make the function that returns the Jacobian of `fn` in compressed sparse rows.

    The pattern is exact up to cancellations: it is found by propagating indices through the
    program, not by trying numbers.  Rows that have no column in common are pulled back in one
    sweep, or columns without a common row pushed forward, whichever takes fewer operations; what
    the program merely picks from its arguments (`x[1:]`, `camera[index]`) counts as variables of
    its own, so a residual that treats its rows alike takes as many sweeps as one row has parts.
    All sweeps, and laying the values into the rows, are one native function.

    Args:
        fn: A function that returns a floating-point array, or a pytree of them.
        argnums: Which positional arguments to differentiate with respect to: arrays, or pytrees of
            them.

    Returns:
        A function of the same arguments that returns a `CSR` record: `data`, `indices`, `indptr`,
        `shape`, `todense()`, `tocsr()` (SciPy).  Rows are the elements of the result, row-major,
        columns those of the argument; leaves of pytrees, and several arguments, follow one another.
        It has two functions of the same arguments: `pattern` returns the record of Booleans,
        `colors` the number of sweeps.  Inside of `jit` the integers that elements are picked by
        have to be constants.

    Raises:
        DTypeError: The result or a chosen argument is not of floating point.
        UnsupportedError: Inside of `jit`, integers that elements are picked by are not known.

    >>> import numpy as np, chainrule as cr
    >>> jacobian = cr.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> jacobian(x).todense().tolist()
    [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]
    >>> jacobian.colors(x)
    1
    """
    return SparseFunction(sparse.sparse_jacobian(fn, argnums), sparse_jacobian)


def sparse_hessian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> SparseFunction:
    """Make the function that returns the Hessian of `fn` in compressed sparse rows.

    The gradient is differentiated forward along sums of columns that can be told apart
    afterwards: star colouring (Gebremedhin, Manne and Pothen, SIAM Review 47, 2005).  What the
    function picks from its argument counts as variables of its own (partial separability), so the
    cost is linear in the values for sums of terms of few variables.

    Args:
        fn: A function that returns one floating-point number.
        argnums: Which positional arguments to differentiate with respect to: arrays, or pytrees of
            them.

    Returns:
        A function of the same arguments that returns a `CSR` record of both triangles, as
        `sparse_jacobian` does; it has `pattern` and `colors` too.

    Raises:
        ShapeError: The result is not one number.
        DTypeError: The result or a chosen argument is not of floating point.

    >>> import numpy as np, chainrule as cr, chainrule.numpy as cnp
    >>> hessian = cr.sparse_hessian(lambda x: cnp.sum(x[1:] * x[:-1] ** 2))
    >>> hessian(np.array([1.0, 2.0, 3.0])).todense().tolist()
    [[4.0, 2.0, 0.0], [2.0, 6.0, 4.0], [0.0, 4.0, 0.0]]
    """
    return SparseFunction(sparse.sparse_hessian(fn, argnums), sparse_hessian)
