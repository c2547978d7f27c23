"""What a function is called with: names, leaves, dtypes, shapes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.errors import DTypeError, ShapeError, StructureError, close, explain
from chainrule.frontend.extents import SymbolicExtent, plain_extent
from chainrule.frontend.value import Value
from chainrule.ir.dims import Dim
from chainrule.ir.types import BOOL, F64, I64, DType, Type, dtype_of
from chainrule.ir.written import ALLOWED, parse_extent

__all__ = ["Arguments", "LeafType", "Spec", "as_array", "bind_arguments", "is_arraylike",
           "leaf_type", "name_of", "require_function", "signature_of", "spec",
           "unknown_parameters"]  # fmt: skip


class Spec:
    """An argument without data: a dtype and a shape of numbers, names and expressions of them."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int | str | Dim], dtype: npt.DTypeLike) -> None:
        for n in shape:
            if not (isinstance(n, str | Dim) or _counts(n)):
                raise ShapeError(
                    explain(f"{n!r} is no extent", f"shape  {tuple(shape)}", hint=ALLOWED)
                )
        self.shape: Final = tuple(
            [parse_extent(n) if isinstance(n, str) else plain_extent(n) for n in shape]
        )
        self.dtype: Final = dtype_of(dtype).numpy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"spec({self.shape}, {self.dtype.name!r})"


def _counts(n: object) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and int(n) >= 0


def spec(shape: Sequence[int | str | Dim] | int, dtype: npt.DTypeLike = np.float64) -> Spec:
    """Describe an argument without data.

    Args:
        shape: Extents; a string names one that is known when the compiled function is called, or
            is an expression of such names: `"2*n"`, `"(n + 1)//2"`.
        dtype: A NumPy dtype.

    Returns:
        What `trace`, `export` and `lower` take in place of an array.

    Raises:
        DTypeError: The dtype is not supported.
        ShapeError: An entry of the shape is no extent.

    >>> spec(("batch", 8), np.float32)
    spec((batch, 8), 'float32')
    """
    return Spec((shape,) if isinstance(shape, int | str) else shape, dtype)


class LeafType(NamedTuple):
    """What a leaf is: its type, and whether it is a Python number."""

    type: Type
    weak: bool


def is_arraylike(leaf: object) -> bool:
    """Tell whether a leaf is an array, a number, or offers its data by a protocol."""
    return (
        isinstance(
            leaf,
            Value | SymbolicExtent | Spec | np.ndarray | np.generic | bool | int | float | complex,
        )
        or hasattr(leaf, "__array__")
        or hasattr(leaf, "__dlpack__")
        or _has_buffer(leaf)
    )  # fmt: skip


def _has_buffer(leaf: object) -> bool:
    if isinstance(leaf, bytes):  # text of a kind
        return False
    try:
        memoryview(leaf)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def refuse_other_meanings(array: object, name: str) -> None:
    """Refuse arrays whose elements or operators mean something else than an ndarray's do.

    Raises:
        StructureError: It is a `numpy.matrix`.
        DTypeError: It is a masked array with masked elements.
    """
    masked = sys.modules.get("numpy.ma")
    if isinstance(array, np.matrix):
        raise StructureError(
            explain(f"{name} is a numpy.matrix", "meaning  * and ** are products of matrices",
                    hint="convert it with np.asarray(m), and write products with @")
        )  # fmt: skip
    if masked is not None and masked.is_masked(array):
        raise DTypeError(
            explain(f"{name} is a masked array with masked elements",
                    hint="say what stands for them: m.filled(0.0)")
        )  # fmt: skip


def as_array(leaf: Any, path: str) -> npt.NDArray[Any]:
    """Return a concrete leaf as an array, without copying where that is possible.

    Raises:
        StructureError: It is no array.
        DTypeError: Its dtype is not supported.
    """
    if type(leaf) is not np.ndarray:
        refuse_other_meanings(leaf, path or "the argument")
    if not isinstance(leaf, np.ndarray):
        if not is_arraylike(leaf) or isinstance(leaf, Value | SymbolicExtent | Spec):
            raise StructureError(
                explain(
                    f"{path or 'the argument'} is not an array",
                    f"type  {type(leaf).__name__}",
                    f"value  {leaf!r:.60}",
                    hint="arguments are pytrees of arrays and numbers; "
                    "name settings in static_argnames",
                )
            )
        dlpack = hasattr(leaf, "__dlpack__") and not hasattr(leaf, "__array__")
        leaf = np.from_dlpack(leaf) if dlpack else np.asarray(leaf)
    try:
        dtype_of(leaf.dtype)
    except DTypeError as error:
        raise DTypeError(f"{path or 'the argument'}: {error}") from None
    result: npt.NDArray[Any] = leaf
    return result


def leaf_type(leaf: Any, path: str) -> LeafType:
    """Return the type of an argument's leaf.

    Raises:
        StructureError: It is no array.
        DTypeError: Its dtype is not supported.
    """
    if isinstance(leaf, Value):
        return LeafType(leaf.node.type, leaf.weak)
    if isinstance(leaf, SymbolicExtent):
        return LeafType(Type(I64, ()), True)
    if isinstance(leaf, Spec):
        return LeafType(Type(dtype_of(leaf.dtype), leaf.shape), False)
    if isinstance(leaf, bool | int | float) and not isinstance(leaf, np.generic):
        return LeafType(Type(_number_dtype(leaf), ()), not isinstance(leaf, bool))
    array = as_array(leaf, path)
    return LeafType(Type(dtype_of(array.dtype), array.shape), False)


def _number_dtype(number: float) -> DType:
    if isinstance(number, bool):
        return BOOL
    return I64 if isinstance(number, int) else F64


@dataclass(frozen=True)
class Arguments:
    """Arguments bound to a function's parameters.

    Attributes:
        names: The traced arguments' names, in order (`x`; `args/0` of a starred parameter).
        values: Their values.
        static: Names and values of the arguments that stay Python values.
        call: Calls the function with other values of the traced arguments.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]
    static: tuple[tuple[str, Any], ...]
    call: Callable[[Sequence[Any]], Any]


def bind_arguments(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None = None,
    static_argnames: Sequence[str] = (),
) -> Arguments:  # fmt: skip
    """Bind arguments to parameters; keywords become positions where the signature has them.

    Raises:
        StructureError: The arguments do not fit the signature, or a static name is not in it.
    """
    signature = signature_of(fn)
    if signature is None:
        bound_args, bound_kwargs = tuple(args), dict(kwargs or {})
        labels = [f"arg{i}" for i in range(len(bound_args))]
        known = set(bound_kwargs)
    else:
        try:
            bound = signature.bind(*args, **(kwargs or {}))
        except TypeError as error:
            unknown = unknown_parameters(signature, kwargs or {})
            raise StructureError(
                explain(
                    f"the arguments do not fit {name_of(fn)}: {error}",
                    f"signature  {name_of(fn)}{_names_of(signature)}",
                    *(f"given      {n}=, which is no parameter" for n in unknown),
                    hint=_meant(unknown, signature, len(args), kwargs or {}),
                )
            ) from None
        bound_args, bound_kwargs = bound.args, bound.kwargs
        labels = _labels(signature, len(bound_args))
        known = set(signature.parameters) | set(bound_kwargs)
    loose = [n for n in static_argnames if n not in known]
    if loose:
        raise StructureError(
            explain(
                f"static_argnames: {name_of(fn)} has no parameter {', '.join(loose)}",
                f"parameters  {', '.join(sorted(known))}",
            )
        )
    slots: list[tuple[str, Any]] = [*zip(labels, bound_args, strict=True), *bound_kwargs.items()]
    fixed = [label.split("/")[0] in static_argnames for label, _ in slots]

    def call(values: Sequence[Any]) -> Any:
        given = iter(values)
        full = [v if still else next(given) for (_, v), still in zip(slots, fixed, strict=True)]
        cut = len(bound_args)
        return fn(*full[:cut], **dict(zip(bound_kwargs, full[cut:], strict=True)))

    traced = [slot for slot, still in zip(slots, fixed, strict=True) if not still]
    return Arguments(
        tuple([n for n, _ in traced]), tuple([v for _, v in traced]),
        tuple([slot for slot, still in zip(slots, fixed, strict=True) if still]), call,
    )  # fmt: skip


def unknown_parameters(signature: inspect.Signature, names: Iterable[str]) -> list[str]:
    """Return which names a function has no parameter for."""
    known = signature.parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return []
    return [n for n in names if n not in known]


def _meant(
    unknown: Sequence[str], signature: inspect.Signature, count: int, kwargs: Mapping[str, Any]
) -> str:
    """Return which parameters may be meant by names that are none, among those not given."""
    free = {n: p for n, p in list(signature.parameters.items())[count:] if n not in kwargs}
    missing = [n for n, p in free.items() if p.default is p.empty]
    last = missing[0] if len(missing) == len(unknown) == 1 else ""
    pairs = [(n, close(n, free, 0.5) or last) for n in unknown]
    return "; ".join(f"did you mean {near} by {n}?" for n, near in pairs if near)


def signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    """Return a function's parameters, where they can be told."""
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def _names_of(signature: inspect.Signature) -> str:
    return "(" + ", ".join(signature.parameters) + ")"


def require_function(fn: Any, verb: str) -> None:
    """Raise StructureError unless `fn` can be called."""
    if not callable(fn):
        raise StructureError(
            explain(
                f"{verb} takes a function, not a value of type {type(fn).__name__}",
                f"given  {fn!r:.60}",
                hint=f"pass the function itself: cr.{verb}(f)(x)"
                if verb in _ON_FUNCTIONS
                else "pass the function itself, not what it returns",
            )
        )


_ON_FUNCTIONS: Final = {
    "checkpoint", "custom_jvp", "custom_vjp", "grad", "hessian", "hvp", "jacfwd", "jacobian",
    "jacrev", "jit", "sparse_hessian", "sparse_jacobian", "value_and_grad", "vmap",
}  # fmt: skip
"Transformations that take a function alone and return one."


def name_of(fn: Callable[..., Any]) -> str:
    """Return what messages and programs call a function."""
    named = getattr(fn, "func", fn)  # functools.partial
    name = getattr(named, "__name__", type(named).__name__)
    return "function" if name == "<lambda>" else str(name)


def _labels(signature: inspect.Signature, count: int) -> list[str]:
    labels: list[str] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            labels += [f"{name}/{i}" for i in range(count - len(labels))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            labels.append(name)
    return labels[:count]
