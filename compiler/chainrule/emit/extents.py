"""Extents as instructions: polynomials of run-time numbers, scalar or a lane each."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.emit.builder import I64, Builder, Value, vector
from chainrule.ir.dims import Extent, names_of

__all__ = ["emit_extent"]


def emit_extent(b: Builder, extent: Extent, names: Mapping[str, Value], lanes: int = 0) -> Value:
    """Return the value of an extent as an i64, in `lanes` lanes if any name in it has them."""
    if isinstance(extent, int):
        return b.const(vector(I64, lanes), extent)
    wide = lanes if any(names[n].type.lanes for n in names_of(extent)) else 0

    def lifted(value: Value) -> Value:
        return b.splat(value, wide) if wide and not value.type.lanes else value

    total: Value | None = None
    for monomial, coefficient in extent.terms:
        product: Value | None = None
        for f in monomial:
            if isinstance(f, str):
                factor = lifted(names[f])
            else:
                left = lifted(emit_extent(b, f.left, names, wide))
                right = lifted(emit_extent(b, f.right, names, wide))
                match f.kind:
                    case "floordiv":
                        factor = b.sdiv(left, right) if not wide else b.binary("sdiv", left, right)
                    case "mod":
                        factor = b.srem(left, right) if not wide else b.binary("srem", left, right)
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


def _times(b: Builder, x: Value, y: Value) -> Value:
    return b.binary("mul", x, y) if x.type.lanes else b.mul(x, y)


def _plus(b: Builder, x: Value, y: Value) -> Value:
    return b.binary("add", x, y) if x.type.lanes else b.add(x, y)
