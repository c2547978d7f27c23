"""Helpers that turn a line of calculus into an op record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from chainrule.errors import DTypeError, ShapeError, explain
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Native, Notation, Op
from chainrule.ir.types import BOOL, Array, Type

__all__ = ["OPS", "REALS", "binary", "declare", "same_type", "ternary", "unary"]

Slope: TypeAlias = "Node | float | None"
Takes: TypeAlias = Literal["float", "number", "integer", "bits", "bool", "any"]

OPS: Final[dict[str, Op]] = {}
REALS: Final = (-2.5, 2.5)

_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "float": ("float",),
    "number": ("float", "int", "uint"),
    "integer": ("int", "uint"),
    "bits": ("int", "uint", "bool"),
    "bool": ("bool",),
    "any": ("float", "int", "uint", "bool"),
}


def declare(op: Op) -> Op:
    """Enter an op into the table."""
    assert op.name not in OPS, f"op {op.name!r} is declared twice"
    OPS[op.name] = op
    return op


def same_type(name: str, takes: Takes) -> Callable[..., Type]:
    """Infer the common type of pointwise arguments of the kinds in `takes`."""
    kinds = _KINDS[takes]

    def infer(first: Type, *rest: Type, **_attributes: Any) -> Type:
        if first.dtype.kind not in kinds:
            raise DTypeError(
                explain(f"{name} is not defined for {first.dtype.numpy}", f"operand  {first}")
            )
        for other in rest:
            if other.shape != first.shape:
                raise ShapeError(explain(f"{name}: shapes differ", f"{first}", f"{other}"))
            if other.dtype is not first.dtype:
                raise DTypeError(explain(f"{name}: dtypes differ", f"{first}", f"{other}"))
        return first

    return infer


def _compares(infer: Callable[..., Type]) -> Callable[..., Type]:
    def infer_bool(*types: Type, **attributes: Any) -> Type:
        return Type(BOOL, infer(*types, **attributes).shape)

    return infer_bool


def _pointwise(
    name: str, value: Callable[..., Array], slopes: Callable[..., Sequence[Slope]] | None,
    native: Native, takes: Takes, params: tuple[str, ...], *, compares: bool = False,
    notation: Notation | None = None, sympy: str | None = None,
    domain: tuple[float, float] = (0.2, 0.9), flops: int = 1, commutative: bool = False,
    expand: Callable[..., Node] | None = None, written: Callable[..., Node] | None = None,
    beside: str = "",
) -> Op:  # fmt: skip
    infer = same_type(name, takes)
    return declare(
        Op(
            name, Kind.POINTWISE, params, _compares(infer) if compares else infer, value, native,
            slopes=slopes, notation=notation, sympy=sympy, domain=domain, flops=flops,
            commutative=commutative, expand=expand, written=written, beside=beside,
        )
    )  # fmt: skip


def unary(
    name: str,
    value: Callable[[Any], Any],
    slope: Callable[[Node, Node], Slope] | None,
    native: Native,
    *,
    takes: Takes = "float",
    **facts: Any,
) -> Op:
    """Declare y = f(x) by its slope: `slope(y, x)` is dy/dx and may reuse the result `y`.

    No slope means that the derivative is zero wherever it exists.
    """  # fmt: skip
    slopes = None if slope is None else (lambda y, x: (slope(y, x),))
    return _pointwise(name, value, slopes, native, takes, (), **facts)


def binary(
    name: str,
    value: Callable[[Any, Any], Any],
    slopes: Callable[[Node, Node, Node], Sequence[Slope]] | None,
    native: Native,
    *,
    takes: Takes = "float",
    **facts: Any,
) -> Op:
    """Declare y = f(a, b) by its two partial derivatives, of the result and the arguments."""
    return _pointwise(name, value, slopes, native, takes, (), **facts)


def ternary(
    name: str,
    value: Callable[[Any, Any, Any], Any],
    slopes: Callable[[Node, Node, Node, Node], Sequence[Slope]] | None,
    native: Native,
    *,
    takes: Takes = "float",
    **facts: Any,
) -> Op:
    """Declare y = f(a, b, c) by its three partial derivatives."""  # fmt: skip
    return _pointwise(name, value, slopes, native, takes, (), **facts)
