"""From what users write to nodes of one graph, one dtype and one shape.

Promotion is NumPy 2's, asked of NumPy itself: Python numbers are weak.  Broadcasting is written out
as `reshape` (which drops axes of extent 1) and `broadcast`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np

from chainrule.errors import DTypeError, ShapeError, StructureError, explain
from chainrule.frontend.arguments import refuse_other_meanings
from chainrule.frontend.assume import at_least, at_most
from chainrule.frontend.extents import SymbolicExtent, plain_extent
from chainrule.frontend.locate import user_line
from chainrule.frontend.value import Value, describe
from chainrule.ir.dims import Extent, Shape, show_extent
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.types import BF16, BOOL, F16, F64, I64, Array, DType, dtype_of
from chainrule.ir.walk import rebuild
from chainrule_runtime.bfloat16 import is_float

__all__ = [
    "Operand", "as_operand", "as_strong", "broadcast_shape", "broadcast_to_shape", "cast",
    "common_dtype",
    "graph_of", "kind_of", "node_of", "reshape", "resolve", "shape_of", "stored",
]  # fmt: skip

Operand: TypeAlias = "Value | SymbolicExtent | bool | int | float | Array"
Kind: TypeAlias = Any
"""A dtype, or `int` or `float` for what is weak, as `ufunc.resolve_dtypes` takes them."""

_WEAK_KINDS: Final = {F64: float, I64: int}
_BOOL: Final = np.dtype(bool)


def as_operand(x: Any) -> Operand:
    """Return what takes part in an operation: a traced value, a Python number or an array.

    Raises:
        StructureError: `x` is nothing of the kind.
    """
    if isinstance(x, Value | SymbolicExtent | bool | int | float) and not isinstance(x, np.generic):
        return x
    if isinstance(x, np.ndarray | np.generic):
        if type(x) is not np.ndarray:
            refuse_other_meanings(x, "an operand")
        return np.asarray(x)
    try:
        array = np.asarray(x)
    except Exception as error:
        raise StructureError(_not_an_array(x)) from error
    if array.dtype.kind in "OSUV" and not is_float(array.dtype):
        raise StructureError(_not_an_array(x))
    return array


def as_strong(x: Any) -> Operand:
    """Return an operand as `np.asarray` makes it: numbers are arrays, and not weak."""
    operand = as_operand(x)
    if isinstance(operand, Value):
        return operand.strong()
    return operand if isinstance(operand, SymbolicExtent) else np.asarray(operand)


def _not_an_array(x: object) -> str:
    return explain(
        f"expected an array or a number, got {type(x).__name__}",
        f"value  {x!r:.80}",
        f"at  {user_line()}",
        hint="lists that hold traced values become arrays by cnp.stack or cnp.array",
    )


def graph_of(operands: Sequence[Operand]) -> Graph:
    """Return the graph of the traced operands; of several graphs, the largest."""
    best: Graph | None = None
    for x in operands:
        if isinstance(x, Value | SymbolicExtent):
            graph = x.graph
            if best is None or (graph is not best and len(graph) > len(best)):
                best = graph
    assert best is not None, "an operand is traced"
    return best


def shape_of(x: Operand) -> Shape:
    """Return the shape; that of a number is ()."""
    if isinstance(x, Value):
        return x.node.type.shape
    return x.shape if isinstance(x, np.ndarray) else ()


def kind_of(x: Operand) -> Kind:
    """Return the dtype of what is strong, the Python type of what is weak."""
    if isinstance(x, Value):
        dtype = x.node.type.dtype
        return _WEAK_KINDS.get(dtype, dtype.numpy) if x.weak else dtype.numpy
    if isinstance(x, np.ndarray):
        return x.dtype.newbyteorder("=")
    return _BOOL if isinstance(x, bool) else float if isinstance(x, float) else int


@lru_cache(maxsize=4096)
def _resolved(ufunc: np.ufunc, kinds: tuple[Kind, ...], asked: DType | None) -> tuple[DType, ...]:
    if not any(isinstance(k, np.dtype) for k in kinds):
        # Asked about Python integers only, NumPy compares them as objects.
        kinds = tuple(map(np.dtype, kinds))
    plain, half = _stand_ins(kinds)
    if asked is None:
        dtypes = ufunc.resolve_dtypes((*plain, *(None,) * ufunc.nout))
    else:
        result = asked.numpy if asked is not BF16 else half.numpy
        signature = ((None,) * ufunc.nin) + (result,) * ufunc.nout
        dtypes = ufunc.resolve_dtypes((*plain, *(None,) * ufunc.nout), signature=signature)
    return tuple([half if d is F16 else d for d in map(dtype_of, dtypes)])


def _stand_ins(kinds: tuple[Kind, ...]) -> tuple[tuple[Kind, ...], DType]:
    """Return kinds that NumPy itself promotes, and what float16 stands for in its answer.

    bfloat16 is promoted as float16 is, whatever the package that registers it does; the two
    together, neither of which holds the other, make float32.
    """
    known = {k: dtype_of(k) for k in kinds if isinstance(k, np.dtype)}
    if BF16 not in known.values():
        return kinds, F16
    both = F16 in known.values()
    stand_in = np.dtype(np.float32 if both else np.float16)
    plain = tuple([stand_in if k in known and known[k].is_half else k for k in kinds])
    return plain, F16 if both else BF16


def resolve(
    ufunc: np.ufunc, operands: Sequence[Operand], asked: DType | None = None
) -> tuple[DType, ...]:
    """Return the dtypes NumPy computes in, given the one asked for: of operands, then of results.

    Raises:
        DTypeError: NumPy has no such operation, or chainrule lacks the dtype it is done in.
    """
    kinds = tuple(map(kind_of, operands))
    try:
        return _resolved(ufunc, kinds, asked)
    except TypeError as error:
        lines = str(error).splitlines()
        what = lines[0] if lines and not isinstance(error, DTypeError) else ""
        names = ", ".join(str(k) if isinstance(k, np.dtype) else k.__name__ for k in kinds)
        raise DTypeError(
            explain(
                f"{ufunc.__name__} of {names} is not supported",
                *([what] if what else [f"NumPy computes it in {_numpy_dtypes(ufunc, kinds)}"]),
                f"at  {user_line()}",
                hint="convert an operand with .astype(...) first",
            )
        ) from None


def _numpy_dtypes(ufunc: np.ufunc, kinds: tuple[Kind, ...]) -> str:
    found = ufunc.resolve_dtypes((*_stand_ins(kinds)[0], *(None,) * ufunc.nout))
    return ", ".join(dict.fromkeys(map(str, found)))


@lru_cache(maxsize=4096)
def _promoted(kinds: tuple[Kind, ...]) -> DType:
    plain, half = _stand_ins(kinds)
    samples = [k if isinstance(k, np.dtype) else k(0) for k in plain]
    found = dtype_of(np.result_type(*samples))
    return half if found is F16 else found


def common_dtype(operands: Sequence[Operand]) -> DType:
    """Return `np.result_type` of the operands.

    Raises:
        DTypeError: chainrule lacks the result's dtype.
    """
    kinds = tuple(map(kind_of, operands))
    try:
        return _promoted(kinds)
    except (DTypeError, np.exceptions.DTypePromotionError):
        names = ", ".join(str(k) if isinstance(k, np.dtype) else k.__name__ for k in kinds)
        raise DTypeError(
            explain(
                f"{names} have no common dtype that is supported",
                f"at  {user_line()}",
                hint="convert an operand with .astype(...) first",
            )
        ) from None


def cast(node: Node, dtype: DType, *, rounds: bool = False) -> Node:
    """Convert; nothing where the dtype is right.

    What the user has written `rounds` to 16 bits in every mode.
    """
    if node.type.dtype is dtype:
        return node
    # Only floats of 16 bits may be used before they are rounded.
    return node.graph.call("cast", node, dtype=dtype, rounds=rounds or not dtype.is_half)


def node_of(x: Operand, graph: Graph, dtype: DType | None = None) -> Node:
    """Return the operand as a node of `graph`, converted to `dtype`."""
    if isinstance(x, Value):
        node = x.node if x.node.graph is graph else _imported(x.node, graph)
        if dtype is None:
            return node
        if x.weak and node.dtype is I64 and _is_narrow(dtype):
            _fits_later(node, dtype)
        return cast(node, dtype)
    if isinstance(x, SymbolicExtent):
        extent = plain_extent(x)
        if dtype is not None and _is_narrow(dtype):
            _extent_fits(extent, graph, dtype)
        node = graph.call("extent", extent=extent)
        return node if dtype is None else cast(node, dtype)
    if isinstance(x, np.ndarray):
        return _captured(x, graph, dtype_of(x.dtype) if dtype is None else dtype)
    if dtype is None:
        dtype = BOOL if isinstance(x, bool) else F64 if isinstance(x, float) else I64
    if isinstance(x, int) and not dtype.is_float and dtype is not BOOL:
        _fits(x, dtype)
    return graph.constant(x, dtype)


def stored(x: Operand, graph: Graph, dtype: DType) -> Node:
    """Return the operand as an array of `dtype` takes it in: Python integers have to fit."""
    fits = kind_of(x) is int and dtype.kind in ("int", "uint")
    return cast(node_of(x, graph, dtype if fits else None), dtype)


def _is_narrow(dtype: DType) -> bool:
    return dtype.kind in ("int", "uint") and dtype is not I64


def _captured(array: Array, graph: Graph, dtype: DType) -> Node:
    """Return a plain array as a constant; one number everywhere takes no memory."""
    if array.size > 1:
        # Bits, not values: 0.0 and -0.0 differ, NaN equals itself.
        bits = np.ascontiguousarray(array).reshape(-1).view(f"V{array.itemsize}")
        if bits[0] == bits[-1] and (bits == bits[0]).all():
            return graph.full(array.shape, array.flat[0].item(), dtype)
    return graph.array(array, dtype)


def _fits(x: int, dtype: DType) -> None:
    bounds = np.iinfo(dtype.numpy)
    if not bounds.min <= x <= bounds.max:
        raise DTypeError(
            explain(
                f"the Python integer {x} is out of bounds for {dtype.numpy}",
                f"bounds  {bounds.min} to {bounds.max}",
                f"at  {user_line()}",
                hint="convert the array to a wider dtype first",
            )
        )


def _fits_later(node: Node, dtype: DType) -> None:
    """Verify a Python integer to come: now if it is known after all, else at the call."""
    known = constant_value(node)
    if known is not None:
        _fits(int(known), dtype)
        return
    graph, bounds = node.graph, np.iinfo(dtype.numpy)
    outside = (node < int(bounds.min)) | (node > int(bounds.max))
    if outside.type.rank:
        axes = tuple(range(outside.type.rank))
        outside = graph.call("sum", cast(outside, I64), axes=axes) > 0
    paths = [origin.path for origin in graph.origins.get(node, ()) if origin.path]
    name = f"the Python integer {paths[0]}" if paths else "a Python integer"
    graph.check(
        outside,
        f"{name} is out of bounds for {dtype.numpy}, {bounds.min} to {bounds.max}, "
        f"at {user_line()}",
    )


def _extent_fits(extent: Any, graph: Graph, dtype: DType) -> None:
    bounds = np.iinfo(dtype.numpy)
    at_least(graph, extent, int(bounds.min), f"{dtype.numpy} holds no extent below {bounds.min}")
    at_most(graph, extent, int(bounds.max), f"{dtype.numpy} holds no extent above {bounds.max}")


def _imported(node: Node, graph: Graph) -> Node:
    """Copy what a node depends on from another graph, once."""
    known = graph.imported
    if node not in known:
        _, new = rebuild([node], graph, lambda _node, _args: None, known)
        known.update(new)
    return known[node]


# Shapes


def reshape(node: Node, shape: Shape) -> Node:
    """Reshape; nothing where the shape is right."""
    return node if node.type.shape == shape else node.graph.call("reshape", node, shape=shape)


def broadcast_shape(shapes: Sequence[Shape], nodes: Sequence[Operand] = ()) -> Shape:
    """Return the shape that shapes broadcast to.

    An extent that is not a number is equal to itself only: whether it will be 1 is not known.

    Raises:
        ShapeError: They do not fit; the message lists the operands.
    """
    first = shapes[0]
    if all(s == first for s in shapes[1:]):
        return first
    rank = max(map(len, shapes))
    result: list[Extent] = []
    for axis in range(rank):
        extent: Extent = 1
        for shape in shapes:
            at = axis - rank + len(shape)
            if at < 0 or shape[at] == 1:
                continue
            if extent not in (1, shape[at]):
                raise ShapeError(_mismatch(axis, extent, shape[at], shapes, nodes))
            extent = shape[at]
        result.append(extent)
    return tuple(result)


def _alike(a: Extent, b: Extent) -> str:
    """Say how two extents that differ here are told to be one."""
    if any("//" in str(e) for e in (a, b)):
        return "a named extent may be told to be a multiple: dims={'x': ('2*n',)} has n pairs"
    return "name both extents alike in dims= if they are equal at every call"


def _mismatch(
    axis: int, a: Extent, b: Extent, shapes: Sequence[Shape], operands: Sequence[Operand]
) -> str:
    named = not (isinstance(a, int) and isinstance(b, int))
    facts = [
        f"operand {i}  {describe(x.node) if isinstance(x, Value) else _show_shape(shapes[i])}"
        for i, x in enumerate(operands or shapes)
    ]
    return explain(
        f"operands do not broadcast: axis {axis} is {show_extent(a)} vs {show_extent(b)}",
        *facts,
        f"at  {user_line()}",
        hint=_alike(a, b)
        if named
        else "extents must be equal, or 1; insert an axis with expand_dims",
    )


def _show_shape(shape: Shape) -> str:
    return "[" + ", ".join(map(show_extent, shape)) + "]"


def broadcast_to_shape(node: Node, shape: Shape) -> Node:
    """Copy a node into a shape it is known to broadcast to."""
    own = node.type.shape
    if own == shape:
        return node
    lead = len(shape) - len(own)
    kept = [i for i, n in enumerate(own) if n != 1 or shape[lead + i] == 1]
    if len(kept) < len(own):
        node = reshape(node, tuple([own[i] for i in kept]))
    return node.graph.broadcast(node, shape, tuple([lead + i for i in kept]))
