"""The contraction without vectors: any strides, one element at a time."""

from __future__ import annotations

from chainrule.emit.builder import I64, PTR, VOID, LType, Module, Value
from chainrule.emit.contraction.spec import Epilogue
from chainrule.emit.contraction.tile import multiply_add, sum_of
from chainrule.emit.machine import Machine

__all__ = ["emit_plain"]


def emit_plain(
    module: Module, machine: Machine, dtype: LType, epilogue: Epilogue | None, strict: bool
) -> str:
    """Define the contraction as three loops; return the function's name.

    Signature: `void (A, B, C, m, n, k, am, ak, bk, bn, cm, cn, add, extra...)`, strides in bytes.
    """
    key = f".{epilogue.key}" if epilogue else ""
    order = ".strict" if strict else ""
    name = f"plain.{machine.name}.{dtype.mangled}{order}{key}"
    if module.has_function(name):
        return name
    numbers = ("m", "n", "k", "am", "ak", "bk", "bn", "cm", "cn", "add")
    arguments = [*((PTR, p) for p in "abc"), *((I64, n) for n in numbers)]
    extra = list(epilogue.extra) if epilogue else []
    b, values = module.function(name, VOID, arguments + [(t, f"x.{n}") for t, n in extra])
    a, b_matrix, c, m, n, k, am, ak, bk, bn, cm, cn, add = values[:13]
    adding = b.icmp("ne", add, 0)

    def row(i: Value, _: list[Value]) -> None:
        a_row, c_row = b.offset(a, b.mul(i, am)), b.offset(c, b.mul(i, cm))

        def column(j: Value, _: list[Value]) -> None:
            place = b.offset(c_row, b.mul(j, cn))

            def turn(_k: Value, carried: list[Value]) -> list[Value]:
                total, x, y = carried
                product = multiply_add(b, machine, b.load(dtype, x), b.load(dtype, y), total)
                return [product, b.offset(x, ak), b.offset(y, bk)]

            def old() -> list[Value]:
                return [b.load(dtype, place)]

            zero = b.zero(dtype)
            start = b.if_(adding, old, lambda: [zero])[0] if strict else zero
            total = b.loop(0, k, 1, [start, a_row, b.offset(b_matrix, b.mul(j, bn))], turn)[0]
            if not strict:
                total = b.if_(adding, lambda: [sum_of(b, old()[0], total)], lambda: [total])[0]
            if epilogue is not None:
                total = epilogue.apply(b, values[13:], total, i, j, None)
            b.store(total, place)

        b.loop(0, n, 1, [], column)

    b.loop(0, m, 1, [], row)
    b.ret()
    b.close()
    return name
