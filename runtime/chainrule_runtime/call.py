"""Calls a kernel through ctypes: the route that needs nothing but its address."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from .abi import Leaf, Signature, evaluate, show_extent
from .arguments import Array, check_apart, is_masked_array, match_shape
from .bfloat16 import numpy_dtype
from .errors import (
    AliasError,
    DTypeError,
    ShapeError,
    StructureError,
    explain,
    raise_failure,
)

__all__ = ["bind_dims", "call_kernel"]

_ALIGNMENT: Final = 64
_LARGEST: Final = 1 << 62
_KERNEL: Final = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4)


def call_kernel(
    kernel: int,
    signature: Signature,
    leaves: Sequence[Array],
    out: Sequence[object] | None = None,
    *,
    messages: Sequence[str] = (),
) -> list[Array]:
    """Run the kernel at an address on conformed arrays; return the result arrays in order.

    `leaves` come from `arguments.conform_all`.  With `out` (one array a result) results are written
    there and those very arrays returned; one that is not contiguous costs a copy.  A donated input
    is its own result.  The GIL is released meanwhile.

    Raises:
        ShapeError: Extents disagree, or a guard of the signature does not hold.
        AliasError: An array of `out` cannot be written, or shares memory with another array.
        MemoryError: Results or scratch memory cannot be had.
        OutOfRangeError: The kernel reported an error; `messages[code - 1]` says which.
    """  # fmt: skip
    dims = bind_dims(signature, leaves)
    for leaf, array in zip(signature.inputs, leaves, strict=True):
        good = _is_plain(array) and array.dtype == numpy_dtype(leaf.dtype)
        assert good, f"{leaf.path} was not conformed"
    shapes = [_result_shape(signature, leaf, dims) for leaf in signature.outputs]
    donors = {target: leaves[source] for source, target in signature.donated}
    if out is None:
        results = [
            donors[i] if i in donors else _empty(leaf, shape)
            for i, (leaf, shape) in enumerate(zip(signature.outputs, shapes, strict=True))
        ]
    else:
        results = _check_out(signature, leaves, out, dims, donors)
    direct = [
        array if _is_plain(array) else _empty(leaf, array.shape)
        for leaf, array in zip(signature.outputs, results, strict=True)
    ]
    _run(kernel, signature, leaves, direct, dims, messages)
    for asked, made in zip(results, direct, strict=True):
        if asked is not made:
            asked[...] = made
    return results


def bind_dims(signature: Signature, leaves: Sequence[Array]) -> tuple[int, ...]:
    """Return the values of the named dims; check every extent and guard."""
    if len(leaves) != len(signature.inputs):
        raise StructureError(explain(
            f"{signature.name}() got the wrong number of arrays",
            f"expected  {len(signature.inputs)}", f"got       {len(leaves)}",
        ))  # fmt: skip
    bound: dict[int, int] = {}
    # Twice: an expression may use a dim that only a later argument binds.
    for leaf, array in zip(signature.inputs, leaves, strict=True):
        match_shape(array.shape, leaf, bound, signature.dims)
    for solved in signature.solved:
        bound[solved.dim] = solved.value([a.shape for a in leaves], bound)
    for leaf, array in zip(signature.inputs, leaves, strict=True):
        match_shape(array.shape, leaf, bound, signature.dims)
    for guard in signature.guards:
        if not guard.holds(bound):
            values = (f"{name} = {bound[i]}" for i, name in enumerate(signature.dims))
            raise ShapeError(explain(
                f"{signature.name}() was called with extents it cannot work with",
                f"problem   {guard.text}", f"required  {guard.requirement(signature.dims)}",
                f"got       {', '.join(values)}",
            ))  # fmt: skip
    return tuple(bound[i] for i in range(len(signature.dims)))


def _is_plain(array: Array) -> bool:
    """Tell whether a kernel can work on the array's memory as it is."""
    return array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative


def _result_shape(signature: Signature, leaf: Leaf, dims: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(evaluate(extent, dims) for extent in leaf.shape)
    for extent, value in zip(leaf.shape, shape, strict=True):
        if value < 0:
            raise ShapeError(explain(
                f"{_result(leaf)} of {signature.name}() would have a negative extent",
                f"{show_extent(extent, signature.dims)} = {value}",
            ))  # fmt: skip
    return shape


def _empty(leaf: Leaf, shape: tuple[int, ...]) -> Array:
    try:
        return np.empty(shape, numpy_dtype(leaf.dtype))
    except (ValueError, OverflowError) as error:
        raise MemoryError(f"{_result(leaf)} of shape {shape} is too big") from error


def _check_out(
    signature: Signature,
    leaves: Sequence[Array],
    out: Sequence[object],
    dims: Sequence[int],
    donors: dict[int, Array],
) -> list[Array]:
    """Check that each array of `out` takes its result and harms no other array."""  # fmt: skip
    if len(out) != len(signature.outputs):
        raise StructureError(explain(
            f"out= of {signature.name}() has the wrong number of arrays",
            f"expected  {len(signature.outputs)}", f"got       {len(out)}",
        ))  # fmt: skip
    checked = [
        _check_one(array, leaf, dict(enumerate(dims)), signature.dims, donors.get(i))
        for i, (array, leaf) in enumerate(zip(out, signature.outputs, strict=True))
    ]
    written = [
        (array, _place_of(leaf))
        for i, (array, leaf) in enumerate(zip(checked, signature.outputs, strict=True))
        if i not in donors
    ]
    read = [
        (array, f"argument {leaf.path}")
        for array, leaf in zip(leaves, signature.inputs, strict=True)
    ]
    check_apart(written, read)
    return checked


def _check_one(
    array: object, leaf: Leaf, dims: dict[int, int], names: Sequence[str], donor: Array | None
) -> Array:
    what = _place_of(leaf)
    if not isinstance(array, np.ndarray) or is_masked_array(array):
        raise StructureError(explain(
            f"{what} is not a NumPy array",
            f"expected  {leaf.dtype} array", f"got       {type(array).__name__}",
        ))  # fmt: skip
    if array.dtype.newbyteorder("=") != numpy_dtype(leaf.dtype):
        raise DTypeError(explain(
            f"{what} has the wrong element type",
            f"expected  {leaf.dtype}", f"got       {array.dtype}",
        ))  # fmt: skip
    match_shape(array.shape, leaf, dims, names, what)
    if not array.flags.writeable:
        raise AliasError(explain(f"{what} is read-only"))
    if _overlaps_itself(array):
        raise AliasError(explain(f"{what} has several elements in one place of memory"))
    if donor is not None and array is not donor:
        raise AliasError(explain(
            f"{what} takes the place of a donated argument",
            "expected  the donated array itself", "got       another array",
        ))  # fmt: skip
    return array


def _place_of(leaf: Leaf) -> str:
    """Name the array of `out` for a result; a lone result has no path."""
    return f"out= array {leaf.path}" if leaf.path else "out="


def _result(leaf: Leaf) -> str:
    return f"result {leaf.path}" if leaf.path else "the result"


def _overlaps_itself(array: Array) -> bool:
    """Tell whether axes do not provably step over each other's elements."""
    reach = array.itemsize
    steps = (
        (abs(stride), extent)
        for stride, extent in zip(array.strides, array.shape, strict=True) if extent > 1
    )  # fmt: skip
    for stride, extent in sorted(steps):
        if stride < reach and array.size:
            return True
        reach += stride * (extent - 1)
    return False


def _run(
    kernel: int,
    signature: Signature,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    dims: Sequence[int],
    messages: Sequence[str],
) -> None:
    nbytes = max(0, evaluate(signature.arena, dims))
    if nbytes > _LARGEST:
        raise MemoryError(f"{signature.name}() needs {nbytes} bytes of scratch memory")
    block = np.empty(nbytes + _ALIGNMENT if nbytes else 0, np.uint8)
    arena = -(-_address(block) // _ALIGNMENT) * _ALIGNMENT if nbytes else None
    code = _KERNEL(kernel)(
        _pointers(inputs), _pointers(outputs), arena, (ctypes.c_int64 * len(dims))(*dims)
    )
    if code:
        raise_failure(signature.name, messages, code)


def _pointers(arrays: Iterable[Array]) -> ctypes.Array[ctypes.c_void_p]:
    addresses = [_address(array) for array in arrays]
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
