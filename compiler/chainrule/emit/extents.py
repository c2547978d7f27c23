"""Extents as instructions: polynomials of run-time numbers, scalar or a lane each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from chainrule.emit.builder import I64, Builder, Value, vector
from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Dim, Extent, Monomial, names_of

__all__ = ["emit_extent", "emit_products"]


Products: TypeAlias = Mapping[Monomial, Value]
"Values of products of dims."


def emit_products(
    b: Builder, extents: Iterable[Extent], names: Mapping[str, Value]
) -> dict[Monomial, Value]:
    """Return the values of the products that extents are sums of, each computed once."""
    products: dict[Monomial, Value] = {}
    for extent in extents:
        for monomial, _ in extent.terms if isinstance(extent, Dim) else ():
            if monomial not in products and monomial:
                one = Dim(((monomial, 1),))
                products[monomial] = emit_extent(b, one, names, products=products)
    return products


def emit_extent(
    b: Builder, extent: Extent, names: Mapping[str, Value], lanes: int = 0,
    products: Products = MappingProxyType({}),
) -> Value:  # fmt: skip
    """Return the value of an extent as an i64, in `lanes` lanes if any name in it has them.

    Of the `products` that are known already, the values are taken.
    """
    if isinstance(extent, int):
        return b.const(vector(I64, lanes), extent)
    wide = lanes if any(names[n].type.lanes for n in names_of(extent)) else 0

    def lifted(value: Value) -> Value:
        return b.splat(value, wide) if wide and not value.type.lanes else value

    total: Value | None = None
    for monomial, coefficient in extent.terms:
        known = products.get(monomial)
        product = None if known is None else lifted(known)
        for f in monomial if product is None else ():
            if isinstance(f, str):
                factor = lifted(names[f])
            else:
                left = lifted(emit_extent(b, f.left, names, wide, products))
                right = lifted(emit_extent(b, f.right, names, wide, products))
                match f.kind:
                    case "floordiv":
                        factor = _floordiv(b, left, right, signed=not never_negative(f.left))
                    case "mod":
                        factor = _mod(b, left, right, signed=not never_negative(f.left))
                    case "min":
                        factor = b.smin(left, right)
                    case _:
                        factor = b.smax(left, right)
            product = factor if product is None else _times(b, product, factor)
        number = b.const(vector(I64, wide), coefficient)
        if product is None:
            product = number
        elif coefficient != 1:
            product = _times(b, product, number)
        total = product if total is None else _plus(b, total, product)
    assert total is not None, "a polynomial has a term"
    return lifted(total) if wide else total


def _floordiv(b: Builder, x: Value, y: Value, *, signed: bool) -> Value:
    """Divide, rounding down as Python does; the machine rounds towards zero."""
    quotient = b.binary("sdiv", x, y) if x.type.lanes else b.sdiv(x, y)
    if not signed:
        return quotient
    return _plus(b, quotient, b.ashr(b.binary("srem", x, y), 63))


def _mod(b: Builder, x: Value, y: Value, *, signed: bool) -> Value:
    """Return the remainder of the divisor's sign, as Python does; the divisor is positive."""
    rest = b.binary("srem", x, y) if x.type.lanes else b.srem(x, y)
    if not signed:
        return rest
    return _plus(b, rest, b.and_(b.ashr(rest, 63), y))


def _times(b: Builder, x: Value, y: Value) -> Value:
    return b.binary("mul", x, y) if x.type.lanes else b.mul(x, y)


def _plus(b: Builder, x: Value, y: Value) -> Value:
    return b.binary("add", x, y) if x.type.lanes else b.add(x, y)
