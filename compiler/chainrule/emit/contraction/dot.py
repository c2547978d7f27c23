"""Dot products with lanes over k: one vector against the rows of a matrix.

This is the form for a transposed B under few rows of A (packing would cost more than the
products) and for very narrow results: the matrix is read once, in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.emit.builder import I64, PTR, VOID, Builder, LType, Module, Value, vector
from chainrule.emit.contraction.spec import Epilogue
from chainrule.emit.contraction.tile import has_lane_masks, multiply_add, sum_of, tail_mask
from chainrule.emit.machine import Machine

__all__ = ["emit_dots"]

_TOGETHER = 8  # dot products side by side: enough chains to hide a multiply-add's latency
_BLOCK = 512  # vectors summed in a row: the error of a long sum grows with them


def emit_dots(
    module: Module, machine: Machine, dtype: LType, epilogue: Epilogue | None, down: bool
) -> str:
    """Define c[j] = (or +=) sum over k of x[k] * y[j, k]; return the function's name.

    Signature: `void (x, y, c, count, k, y_row, c_step, add, row, column, extra...)`, `y_row` and
    `c_step` in bytes, k adjacent in x and y.  `row` and `column` name c[0] for the epilogue, and
    j counts along the rows of C if `down`, else along its columns.
    """
    key = f".{epilogue.key}" if epilogue else ""
    name = f"dots.{machine.name}.{dtype.mangled}{'.down' if down and epilogue else ''}{key}"
    if not module.has_function(name):
        numbers = ("count", "k", "y_row", "c_step", "add", "row", "column")
        arguments = [*((PTR, p) for p in "xyc"), *((I64, n) for n in numbers)]
        extra = list(epilogue.extra) if epilogue else []
        b, values = module.function(name, VOID, arguments + [(t, f"x.{n}") for t, n in extra])
        _Dots(b, machine, dtype, epilogue, down, values).emit()
    return name


class _Dots:
    """The emitter of one such function."""

    def __init__(
        self, b: Builder, machine: Machine, dtype: LType, epilogue: Epilogue | None, down: bool,
        values: Sequence[Value],
    ) -> None:  # fmt: skip
        self.b, self.machine, self.dtype, self.epilogue, self.down = (
            b, machine, dtype, epilogue, down,
        )  # fmt: skip
        self.x, self.y, self.c, self.count, self.k, self.y_row, self.c_step = values[:7]
        self.add, self.row, self.column = values[7:10]
        self.extra = values[10:]
        self.lanes = machine.lanes(dtype.bits // 8)

    def emit(self) -> None:
        """Write the whole function."""
        b = self.b
        self.adding = b.icmp("ne", self.add, 0)
        self.whole = b.and_(self.k, -self.lanes)
        self.left = b.sub(self.k, self.whole)
        self.mask = (
            tail_mask(b, self.dtype, self.lanes, self.left)
            if has_lane_masks(self.machine) else None
        )  # fmt: skip

        def some(together: int, start: Value, stop: Value, at: list[Value]) -> list[Value]:
            def turn(j: Value, at: list[Value]) -> list[Value]:
                self._group(j, at[0], at[1], together)
                return [
                    b.offset(at[0], b.mul(self.y_row, together)),
                    b.offset(at[1], b.mul(self.c_step, together)),
                ]

            return b.loop(start, stop, together, at, turn)

        grouped = b.and_(self.count, -_TOGETHER)
        at = some(_TOGETHER, b.i64(0), grouped, [self.y, self.c])
        some(1, grouped, self.count, at)
        b.ret()
        b.close()

    def _group(self, j: Value, y: Value, c: Value, together: int) -> None:
        b, wide = self.b, vector(self.dtype, self.lanes)
        rows = [b.offset(y, b.mul(self.y_row, i)) for i in range(together)]
        nbytes = self.dtype.bits // 8

        def turn(k: Value, sums: list[Value]) -> list[Value]:
            at = b.mul(k, nbytes)
            x = b.load(wide, b.offset(self.x, at))
            return [
                multiply_add(b, self.machine, x, b.load(wide, b.offset(row, at)), total)
                for row, total in zip(rows, sums, strict=True)
            ]

        zeros = [b.zero(wide)] * together

        def block(first: Value, sums: list[Value]) -> list[Value]:
            stop = b.smin(b.add(first, _BLOCK * self.lanes), self.whole)
            parts = b.loop(first, stop, self.lanes, zeros, turn, at_least_once=True)
            return [sum_of(b, total, part) for total, part in zip(sums, parts, strict=True)]

        sums = b.loop(0, self.whole, _BLOCK * self.lanes, zeros, block)
        at = b.mul(self.whole, nbytes)
        if self.mask is not None:
            # The masked step runs even when nothing is left: a branch would cost as much.
            x = b.masked_load(wide, b.offset(self.x, at), self.mask)
            sums = [
                multiply_add(
                    b, self.machine, x, b.masked_load(wide, b.offset(row, at), self.mask), total
                )
                for row, total in zip(rows, sums, strict=True)
            ]
        totals = [b.reduce("fadd" if self.dtype.is_float else "add", s) for s in sums]
        if self.mask is None:
            totals = self._scalar_rest(rows, totals)
        places = [b.offset(c, b.mul(self.c_step, i)) for i in range(together)]
        finished = totals
        totals = b.if_(
            self.adding,
            lambda: [
                sum_of(b, b.load(self.dtype, p), t) for p, t in zip(places, finished, strict=True)
            ],
            lambda: finished,
        )
        for i, (place, total) in enumerate(zip(places, totals, strict=True)):
            b.store(self._finished(total, b.add(j, i)), place)

    def _scalar_rest(self, rows: Sequence[Value], totals: list[Value]) -> list[Value]:
        b, nbytes = self.b, self.dtype.bits // 8

        def turn(k: Value, sums: list[Value]) -> list[Value]:
            at = b.mul(k, nbytes)
            x = b.load(self.dtype, b.offset(self.x, at))
            return [
                multiply_add(b, self.machine, x, b.load(self.dtype, b.offset(row, at)), total)
                for row, total in zip(rows, sums, strict=True)
            ]

        return b.loop(self.whole, self.k, 1, totals, turn)

    def _finished(self, total: Value, j: Value) -> Value:
        if self.epilogue is None:
            return total
        row = self.b.add(self.row, j) if self.down else self.row
        column = self.column if self.down else self.b.add(self.column, j)
        return self.epilogue.apply(self.b, self.extra, total, row, column, None)
