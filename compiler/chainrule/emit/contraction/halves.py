"""Operands of 16 bits: converted to float32 on the way into a panel, or into registers."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.emit.builder import F32, I16, I64, PTR, VOID, LType, Module, Value, vector
from chainrule.emit.halves import widen
from chainrule.emit.machine import Machine
from chainrule.ir.types import DType

__all__ = ["emit_widening_copy"]


def emit_widening_copy(module: Module, machine: Machine, half: DType) -> str:
    """Define dst[r, c] = float32(src[r, c]), columns adjacent; return the function's name.

    Signature: `void (src, dst, rows, width, src_row_bytes, dst_row_bytes)`.
    """
    name = f"widen.{machine.name}.{half.name}"
    if module.has_function(name):
        return name
    numbers = ("rows", "width", "src_bytes", "dst_bytes")
    arguments = [(PTR, "src"), (PTR, "dst"), *((I64, n) for n in numbers)]
    b, (src, dst, rows, width, src_bytes, dst_bytes) = module.function(name, VOID, arguments)
    lanes = machine.lanes(F32.bits // 8)
    whole = b.and_(width, -lanes)

    def row(_r: Value, at: list[Value]) -> list[Value]:
        def some(kind: LType) -> Callable[[Value, list[Value]], None]:
            def turn(c: Value, _: list[Value]) -> None:
                bits = b.load(kind, b.offset(at[0], b.mul(c, I16.bits // 8)))
                place = b.offset(at[1], b.mul(c, F32.bits // 8))
                b.store(widen(b, machine, bits, half), place)

            return turn

        b.loop(0, whole, lanes, [], some(vector(I16, lanes)))
        b.loop(whole, width, 1, [], some(I16))
        return [b.offset(at[0], src_bytes), b.offset(at[1], dst_bytes)]

    b.loop(0, rows, 1, [src, dst], row)
    b.ret()
    b.close()
    return name
