"""Panels of B under all rows of A: the sums split, operands packed where that pays."""

from __future__ import annotations

from typing import NamedTuple

from chainrule.emit.builder import I64, VOID, Value
from chainrule.emit.contraction.choice import (
    DEPTH,
    ROWS_TOGETHER,
    copies_a,
    packed_depth,
    panel_bytes,
)
from chainrule.emit.contraction.halves import emit_widening_copy
from chainrule.emit.contraction.operands import Operands, effect
from chainrule.emit.contraction.spec import Epilogue
from chainrule.emit.contraction.tile import Tile, emit_panel, has_lane_masks
from chainrule.emit.contraction.transpose import emit_copy, emit_gather, emit_transpose
from chainrule.ir.types import DType

__all__ = ["Panels"]


class _Rows(NamedTuple):
    """Rows of A and C: pointers, number, strides of A in bytes, and from one tile to the next."""

    a: Value
    c: Value
    number: Value
    am: Value
    ak: Value
    tile: Value


class Panels(Operands):
    """The emitter of the general form."""

    def tiles(self) -> None:
        """Panels of B under all rows of A, the sums split where C may hold a part of them."""
        b, spec = self.b, self.spec
        self.packs_a = copies_a(spec) and self.epilogue is None
        packs = spec.b[1] != 1 or self.copies or self.packs_a or spec.b_half is not None
        depth = DEPTH if self.epilogue is None else packed_depth(spec)
        unsplit = spec.k is not None and spec.k <= depth
        if not packs and (self.epilogue is not None or spec.strict):
            unsplit = True
        if unsplit:
            self._block(b.i64(0), self.k, self.add, self.epilogue)
        elif self.reads_c:
            short = b.icmp("sle", self.k, depth)
            b.if_(
                short,
                effect(lambda: self._block(b.i64(0), self.k, self.add, self.epilogue)),
                effect(self.plain),
            )
        else:
            self._split(depth)

    def _split(self, depth: int) -> None:
        """Run k in blocks whose partial sums C holds; the epilogue comes with the last."""
        b, spec = self.b, self.spec

        def block(first: Value, _: list[Value]) -> None:
            length = b.smin(b.sub(self.k, first), depth)
            later = b.cast("zext", b.icmp("sgt", first, 0), I64)
            add = self.add if spec.accumulate else b.or_(self.add, later)
            if self.epilogue is None:
                self._block(first, length, add, None)
            else:
                whole = b.icmp("sge", b.add(first, depth), self.k)
                b.if_(
                    whole,
                    effect(lambda: self._block(first, length, add, self.epilogue)),
                    effect(lambda: self._block(first, length, add, None)),
                )

        b.loop(0, self.k, depth, [], block, at_least_once=True)

    def _block(self, first: Value, length: Value, add: Value, epilogue: Epilogue | None) -> None:
        """Run k from `first` over `length` terms."""
        b = self.b
        a = b.offset(self.a, b.mul(first, self.ak))
        whole = _Rows(a, self.c, self.m, self.am, self.ak, b.mul(self.am, self.tile.rows))
        if not self.packs_a:
            self._columns(whole, first, length, add, epilogue)
            return
        rows = self.tile.rows
        copy = emit_copy(b.module, self.nbytes, 1 << (rows.bit_length() - 1))
        packed = b.offset(self.workspace, panel_bytes(self.machine, self.spec))
        row_bytes = b.i64(rows * self.nbytes)
        tile_bytes = b.mul(length, row_bytes)

        def together(start: Value, _: list[Value]) -> None:
            count = b.smin(b.sub(self.m, start), ROWS_TOGETHER)
            source = b.offset(a, b.mul(start, self.am))

            def one(i: Value, at: list[Value]) -> list[Value]:
                place = b.offset(source, b.mul(i, self.am))
                height = b.smin(b.sub(count, i), rows)
                b.call(copy, VOID, [place, at[0], length, height, self.ak, row_bytes])
                return [b.offset(at[0], tile_bytes)]

            b.loop(0, count, rows, [packed], one)
            c = b.offset(self.c, b.mul(start, self.cm))
            block = _Rows(packed, c, count, b.i64(self.nbytes), row_bytes, tile_bytes)
            self._columns(block, first, length, add, None)

        b.loop(0, self.m, ROWS_TOGETHER, [], together)

    def _columns(
        self, rows: _Rows, first: Value, length: Value, add: Value, epilogue: Epilogue | None
    ) -> None:
        """Run some rows against all panels of the columns."""
        b, tile, start = self.b, self.tile, self.b.i64(0)
        tiles = [tile, tile.narrowed(tile.lanes, masked=True)]
        if not has_lane_masks(self.machine):
            tiles = [tile, tile.narrowed(tile.lanes), tile.narrowed(0)]
        for shape in tiles:
            stop = self.n if shape.masked else b.and_(self.n, -shape.columns)
            if self.spec.n is not None and not shape.masked:
                stop = b.i64(self.spec.n & -shape.columns)
            self._panels(shape, start, stop, rows, first, length, add, epilogue)
            start = stop

    def _panels(
        self, tile: Tile, start: Value, stop: Value, rows: _Rows, first: Value, length: Value,
        add: Value, epilogue: Epilogue | None,
    ) -> None:  # fmt: skip
        """Run the panels of one shape that cover the columns from `start` to `stop`."""
        b, spec = self.b, self.spec
        if start.constant is not None and start.constant == stop.constant:
            return
        name = emit_panel(b.module, self.machine, spec.dtype, tile, epilogue, spec.strict)
        b_rows = b.offset(self.b_matrix, b.mul(first, self.bk))

        def panel(j: Value, _: list[Value]) -> None:
            width = b.i64(tile.columns)
            if tile.masked:
                width = b.smin(b.sub(stop, j), tile.columns)
            source, row_bytes = self._packed(b.offset(b_rows, b.mul(j, self.bn)), length, width)
            b.call(name, VOID, [
                rows.a, source, b.offset(rows.c, b.mul(j, self.nbytes)), rows.number, length,
                rows.am, rows.ak, rows.tile, row_bytes, self.cm, width, add, j,
                *(self.extra if epilogue else ()),
            ])  # fmt: skip

        b.loop(start, stop, tile.columns, [], panel)

    def _packed(self, source: Value, length: Value, width: Value) -> tuple[Value, Value]:
        """Return where the panel's rows are, and their stride: copied if B has them apart."""
        b, spec = self.b, self.spec
        columns = self.tile.columns
        packed = [self.workspace, b.i64(columns * self.nbytes)]

        def transpose() -> list[Value]:
            name = emit_transpose(b.module, self.machine, self.nbytes)
            sizes = [width, length, self.bn_elements, b.i64(columns)]
            b.call(name, VOID, [source, self.workspace, *sizes])
            return packed

        def gather() -> list[Value]:
            name = emit_gather(b.module, self.nbytes)
            sizes = [length, width, self.bk_elements, self.bn_elements, b.i64(columns)]
            b.call(name, VOID, [source, self.workspace, *sizes])
            return packed

        def copy() -> list[Value]:
            name = emit_copy(b.module, self.nbytes, self.tile.lanes)
            sizes = [length, width, self.bk, packed[1]]
            b.call(name, VOID, [source, self.workspace, *sizes])
            return packed

        def widen(half: DType) -> list[Value]:
            name = emit_widening_copy(b.module, self.machine, half)
            b.call(name, VOID, [source, self.workspace, length, width, self.bk, packed[1]])
            return packed

        def adjacent() -> list[Value]:
            if spec.b_half is not None:
                return widen(spec.b_half)
            if not self.copies:
                return [source, self.bk]
            worth = self.worth_copying
            return copy() if worth is None else b.if_(worth, copy, lambda: [source, self.bk])

        def apart() -> list[Value]:
            if spec.b[0] is None:
                return b.if_(b.icmp("eq", self.bk_elements, 1), transpose, gather)
            return transpose() if spec.b[0] == 1 else gather()

        if spec.b[1] is None:
            place, row_bytes = b.if_(b.icmp("eq", self.bn_elements, 1), adjacent, apart)
        else:
            place, row_bytes = adjacent() if spec.b[1] == 1 else apart()
        return place, row_bytes
