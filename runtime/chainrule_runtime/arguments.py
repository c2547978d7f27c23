"""The slow path's checks of one call: what any argument becomes for a kernel, or why it cannot.

Nothing here changes what a value is: element types are never converted, except that Python's own
numbers take the type the function was compiled for, and that foreign byte order becomes native.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias, cast

import numpy as np

from .abi import Extent, Leaf, Signature, evaluate, show_extent, show_shape
from .bfloat16 import is_float, numpy_dtype
from .errors import AliasError, DTypeError, ShapeError, StructureError, explain

__all__ = ["Array", "check_apart", "conform", "conform_all", "is_masked_array", "match_shape"]

Array: TypeAlias = np.ndarray[Any, Any]

_USABLE_KINDS: Final = "biuf"


def conform(
    value: object,
    leaf: Leaf,
    dims: MutableMapping[int, int],
    *,
    donated: bool = False,
    names: Sequence[str] = (),
) -> Array:
    """Return `value` as a C-contiguous, aligned array of the leaf's dtype in native byte order.

    Copies only where the memory cannot be used as it is.  Dims met for the first time are written
    into `dims`; `names` are theirs, for messages.

    Raises:
        DTypeError: The element type is another one, or none a kernel can read.
        StructureError: The value is no array at all (a list, None, a generator, a string).
        ShapeError: Rank or extents differ from the leaf's, given `dims`.
        AliasError: `donated`, and the memory cannot be taken over as it is.
    """  # fmt: skip
    if donated:
        _check_donated(value, leaf)
    array = _as_array(value, leaf)
    native = array.dtype.newbyteorder("=")
    if native != numpy_dtype(leaf.dtype):
        _refuse_dtype(leaf, str(array.dtype))
    match_shape(array.shape, leaf, dims, names)
    if array.dtype != native:
        array = array.astype(native)
    # Not `ascontiguousarray`, which makes a 0-d array 1-d.
    return np.require(array, requirements=["C", "A"])


def conform_all(values: Sequence[object], signature: Signature) -> list[Array]:
    """Conform every input leaf of a call, and check that donated memory is nobody else's."""
    if len(values) != len(signature.inputs):
        raise StructureError(explain(
            f"{signature.name}() got the wrong number of arrays",
            f"expected  {len(signature.inputs)}", f"got       {len(values)}",
        ))  # fmt: skip
    donated = {source for source, _ in signature.donated}
    dims: dict[int, int] = {}
    arrays = [
        conform(value, leaf, dims, donated=i in donated, names=signature.dims)
        for i, (value, leaf) in enumerate(zip(values, signature.inputs, strict=True))
    ]
    paths = [leaf.path for leaf in signature.inputs]
    others = [i for i in range(len(arrays)) if i not in donated]
    check_apart(
        [(arrays[i], f"donated argument {paths[i]}") for i in sorted(donated)],
        [(arrays[i], f"argument {paths[i]}") for i in others],
    )
    return arrays


def match_shape(
    shape: tuple[int, ...],
    leaf: Leaf,
    dims: MutableMapping[int, int],
    names: Sequence[str] = (),
    what: str = "",
) -> None:
    """Check a shape against the leaf's, binding dims met for the first time; raise ShapeError.

    Expressions of dims not yet bound are not checked.  `what` names what is no argument.
    """  # fmt: skip
    known = dict(dims)
    fits = len(shape) == len(leaf.shape)
    if fits:
        for got, extent in zip(shape, leaf.shape, strict=True):
            if not isinstance(extent, int) and extent[0] == "dim":
                known.setdefault(extent[1], got)
        for got, extent in zip(shape, leaf.shape, strict=True):
            fits = fits and _evaluated(extent, known, got) == got
    if fits:
        dims.update(known)
        return
    used = sorted({i for extent in leaf.shape for i in _dims_of(extent)} & set(dims))
    values = ", ".join(f"{show_extent(('dim', i), names)} = {dims[i]}" for i in used)
    raise ShapeError(explain(
        f"{what or f'argument {leaf.path}'} has the wrong shape",
        f"expected  {show_shape(leaf.shape, names)}" + (f" with {values}" if values else ""),
        f"got       {show_shape(shape)}",
    ))  # fmt: skip


def check_apart(written: Sequence[tuple[Array, str]], read: Sequence[tuple[Array, str]]) -> None:
    """Raise AliasError where an array to be written shares memory with any other one given."""
    if not written:
        return
    spans = [(*_byte_bounds(a), a, name, True) for a, name in written if a.size]
    spans += [(*_byte_bounds(a), a, name, False) for a, name in read if a.size]
    spans.sort(key=lambda span: span[:2])
    for i, (_, end, a, name, is_written) in enumerate(spans):
        for start, _, other, other_name, other_is_written in spans[i + 1 :]:
            if start >= end:
                break
            if (is_written or other_is_written) and _share(a, other):
                first, second = (name, other_name) if is_written else (other_name, name)
                raise AliasError(explain(
                    f"{first} shares memory with {second}",
                    f"{first}: {_show(a if is_written else other)}",
                    f"{second}: {_show(other if is_written else a)}",
                    hint="pass a copy of one of them",
                ))  # fmt: skip


def is_masked_array(value: object) -> bool:
    """Tell whether a value is one of `numpy.ma`, without loading that: NumPy loads it when asked.

    That takes milliseconds, and in a forked child for ever if another thread was loading it.
    """
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return masked is not None and isinstance(value, masked)


def _as_array(value: object, leaf: Leaf) -> Array:
    """Return a view of the value's data as an array, its dtype unchanged."""
    if is_masked_array(value):
        if np.ma.is_masked(value):
            _refuse_dtype(leaf, "a masked array with masked elements")
        return np.asarray(np.ma.getdata(cast("Any", value)))
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    elif isinstance(value, bool | int | float | complex):
        return _weak(value, leaf)
    else:
        array = _foreign(value, leaf)
    if array.dtype.kind not in _USABLE_KINDS and not is_float(array.dtype):
        _refuse_dtype(leaf, f"dtype {array.dtype}")
    return array


def _foreign(value: object, leaf: Leaf) -> Array:
    """Ask an object that is no NumPy array for its data."""
    kind = type(value)
    if value is None or isinstance(value, str | bytes | list | tuple | dict | set):
        _refuse_structure(value, leaf)
    try:
        if hasattr(kind, "__array__"):
            return np.asarray(value)
        if hasattr(kind, "__dlpack__"):
            return np.from_dlpack(cast(Any, value))
        buffer = memoryview(cast(Any, value))
    except Exception as error:
        if isinstance(error, TypeError) and "bytes-like" in str(error):
            _refuse_structure(value, leaf)
        raise DTypeError(explain(
            f"argument {leaf.path} does not give its data away",
            f"expected  {leaf.dtype} array", f"got       {_type_name(value)}", f"it said   {error}",
        )) from error  # fmt: skip
    return np.asarray(buffer)


def _weak(value: complex, leaf: Leaf) -> Array:
    """Give a Python number the leaf's dtype, if that keeps its value up to rounding."""
    dtype = numpy_dtype(leaf.dtype)
    if leaf.shape:
        match_shape((), leaf, {})
    if isinstance(value, complex):
        _refuse_dtype(leaf, "a Python complex")
    if not isinstance(value, bool) and dtype.kind == "b":
        _refuse_dtype(leaf, f"a Python {type(value).__name__}")
    if isinstance(value, float) and not is_float(dtype):
        _refuse_dtype(leaf, "a Python float")
    if is_float(dtype):
        try:
            wide = float(value)
        except OverflowError:
            wide = math.inf
        with np.errstate(over="ignore"):
            array = np.array(wide, dtype)
        fits = not np.isinf(array) or (isinstance(value, float) and math.isinf(value))
    elif dtype.kind == "b":
        array, fits = np.array(value, dtype), True
    else:
        limits = np.iinfo(dtype)
        fits = int(limits.min) <= value <= int(limits.max)
        array = np.array(value if fits else 0, dtype)
    if not fits:
        _refuse_dtype(leaf, f"the number {value!r}, which does not fit")
    return array


def _check_donated(value: object, leaf: Leaf) -> None:
    if not isinstance(value, np.ndarray) or is_masked_array(value):
        trouble = f"{_type_name(value)}, not a NumPy array"
    elif not value.flags.writeable:
        trouble = "a read-only array"
    elif not value.flags.c_contiguous:
        laid = "in Fortran order" if value.flags.f_contiguous else "with gaps between its elements"
        trouble = f"an array that is not C-contiguous: {laid}, strides {value.strides}"
    elif not value.flags.aligned:
        trouble = "an array that is not aligned"
    elif not value.dtype.isnative:
        trouble = f"an array in foreign byte order, {value.dtype.str}"
    else:
        return
    raise AliasError(explain(
        f"donated argument {leaf.path} cannot be updated in place",
        "expected  a writeable, C-contiguous, aligned array in native byte order",
        f"got       {trouble}",
        hint="pass a copy, np.array(x, order='C'), or do not donate this argument",
    ))  # fmt: skip


def _refuse_dtype(leaf: Leaf, got: str) -> NoReturn:
    raise DTypeError(explain(
        f"argument {leaf.path} has the wrong element type",
        f"expected  {leaf.dtype}", f"got       {got}",
    ))  # fmt: skip


def _refuse_structure(value: object, leaf: Leaf) -> NoReturn:
    raise StructureError(explain(
        f"argument {leaf.path} is not an array",
        f"expected  {leaf.dtype} array", f"got       {_type_name(value)}",
    ))  # fmt: skip


def _type_name(value: object) -> str:
    kind = type(value)
    if value is None:
        return "None"
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _show(array: Array) -> str:
    start, end = _byte_bounds(array)
    return f"{array.dtype}{show_shape(array.shape)} at {start:#x} up to {end:#x}"


def _evaluated(extent: Extent, dims: Mapping[int, int], otherwise: int) -> int:
    try:
        return evaluate(extent, dims)
    except KeyError:
        return otherwise
    except ZeroDivisionError:
        return -1


def _dims_of(extent: Extent) -> Iterable[int]:
    if isinstance(extent, int) or extent[0] == "const":
        return
    if extent[0] == "dim":
        yield extent[1]
        return
    for part in extent[1:]:
        yield from _dims_of(part)


def _byte_bounds(array: Array) -> tuple[int, int]:
    """Return the address of the first byte of an array and that after its last."""
    low = high = int(array.__array_interface__["data"][0])
    for extent, stride in zip(array.shape, array.strides, strict=True):
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    return low, high + array.itemsize


def _share(a: Array, b: Array) -> bool:
    try:
        # The exact answer can take exponential time; NumPy's types know only of "exact" and not.
        return np.shares_memory(a, b, max_work=cast(Any, 10_000))
    except np.exceptions.TooHardError:
        return True
