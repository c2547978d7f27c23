"""A contraction as a function: which form, which panels, what is packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chainrule.emit.builder import I64, PTR, VOID, Builder, Module, Value
from chainrule.emit.contraction.dot import emit_dots
from chainrule.emit.contraction.plain import emit_plain
from chainrule.emit.contraction.row import emit_finish, emit_row
from chainrule.emit.contraction.spec import Contraction, Epilogue
from chainrule.emit.contraction.tile import Tile, emit_panel, has_lane_masks, main_tile
from chainrule.emit.contraction.transpose import emit_copy, emit_gather, emit_transpose
from chainrule.emit.machine import Machine

__all__ = ["emit_contraction", "workspace_bytes"]

# Terms of a sum between two visits to C, so that a panel of B stays in the first two caches.
_DEPTH = 512
# A sum that may not pass through C is not split up to this length, though its panel is packed.
_DEPTH_UNSPLIT = 4096
# Bytes between rows of B beyond which a panel's rows lie on pages of their own: the panel is copied
# (with at least so many rows of A to use it), as the tile would wait for address translations.
_FAR_APART = 2048
_ROWS_WORTH_COPYING = 64
_COLUMNS_WORTH_COPYING = 128
_FAR_APART_IN_A = 3500  # a tile visits each of A's columns once, and of B's rows as well
# Rows of A packed at a time where its columns are far apart: a multiple of every tile's rows.
_ROWS_TOGETHER = 192
# Rows of A up to which dot products beat packing a transposed B.
_FEW_ROWS = 3
# Columns from which a single row is multiplied in B's own order.
_WIDE_ROW = 128
# Columns up to which dot products beat a masked tile.
_FEW_COLUMNS = 3


def emit_contraction(
    module: Module, machine: Machine, spec: Contraction, epilogue: Epilogue | None = None
) -> str:
    """Define the contraction once; return its name.

    Signature: `void (ptr A, ptr B, ptr C, i64 m, i64 n, i64 k, i64 am, i64 ak, i64 bk, i64 bn,
    i64 cm, i64 cn, ptr workspace, extra...)`, strides in elements.  Arguments the spec knows are
    ignored.  Neither A nor B may overlap C; the workspace must be aligned to 64 bytes and hold
    `workspace_bytes` (it may be null if that is 0).
    """
    key = f".{epilogue.key}" if epilogue else ""
    name = f"contraction.{machine.name}.{spec.name}{key}"
    if not module.has_function(name):
        numbers = ("m", "n", "k", "am", "ak", "bk", "bn", "cm", "cn")
        arguments = [*((PTR, p) for p in "ABC"), *((I64, n) for n in numbers), (PTR, "workspace")]
        extra = list(epilogue.extra) if epilogue else []
        b, values = module.function(name, VOID, arguments + [(t, f"x.{n}") for t, n in extra])
        _Driver(b, machine, spec, epilogue, values).emit()
    return name


def workspace_bytes(machine: Machine, spec: Contraction) -> int:
    """Return the bytes of scratch, aligned to 64, that the function needs."""
    unit = spec.with_unit_strides()
    # An epilogue forbids the exchange of rows and columns, so either way round may come.
    forms = {unit, unit.transposed()} if _swaps(unit, None) else {unit}
    return max(_panel_bytes(machine, f) + _tiles_bytes(f) for f in forms)


def _panel_bytes(machine: Machine, spec: Contraction) -> int:
    """Return the bytes of one packed panel of B, 0 if none is ever packed."""
    if (spec.b[1] == 1 and not _copies(spec)) or spec.c[1] not in (1, None):
        return 0
    columns = main_tile(machine, spec.element_bytes).columns
    return -(-_packed_depth(spec) * columns * spec.element_bytes // 64) * 64


def _tiles_bytes(spec: Contraction) -> int:
    """Return the bytes of the packed row tiles of A, 0 if none is ever packed."""
    return _ROWS_TOGETHER * _packed_depth(spec) * spec.element_bytes if _copies_a(spec) else 0


def _copies_a(spec: Contraction) -> bool:
    """Tell whether row tiles of A are copied: its rows are adjacent, its columns far apart."""
    m, n, step = spec.m, spec.n, spec.a[1]
    return (
        spec.c[1] == 1 and spec.a[0] == 1
        and step is not None and abs(step) * spec.element_bytes > _FAR_APART_IN_A
        and m is not None and m >= _ROWS_WORTH_COPYING
        and n is not None and n >= _COLUMNS_WORTH_COPYING
    )  # fmt: skip


def _copies(spec: Contraction) -> bool:
    """Tell whether panels of a B with adjacent columns may be copied."""
    if spec.m is not None and spec.m < _ROWS_WORTH_COPYING:
        return False
    if spec.n is not None and spec.n * spec.element_bytes <= _FAR_APART:
        return False
    far = spec.b[0]
    return far is None or abs(far) * spec.element_bytes > _FAR_APART


def _packed_depth(spec: Contraction) -> int:
    """Return how many rows of B a packed panel may have."""
    if spec.k is None:
        return _DEPTH
    return spec.k if spec.k <= _DEPTH_UNSPLIT else _DEPTH


def _swaps(spec: Contraction, epilogue: Epilogue | None) -> bool:
    """Tell whether C^T = B^T A^T is computed, because C has its rows adjacent, not its columns.

    A single column is turned into a row where A has its rows adjacent too.
    """
    if epilogue is not None or spec.c[0] != 1:
        return False
    return spec.c[1] != 1 or (spec.n == 1 and spec.m != 1 and spec.a[0] == 1 and spec.a[1] != 1)


class _Rows(NamedTuple):
    """Rows of A and C: pointers, count, strides of A in bytes, and from one tile to the next."""

    a: Value
    c: Value
    count: Value
    am: Value
    ak: Value
    tile: Value


class _Driver:
    """The emitter of one contraction."""

    def __init__(
        self, b: Builder, machine: Machine, spec: Contraction, epilogue: Epilogue | None,
        values: Sequence[Value],
    ) -> None:  # fmt: skip
        self.b, self.machine, self.epilogue = b, machine, epilogue
        self.extra = values[13:]
        self.reads_c = epilogue is not None and epilogue.reads_c
        self.a, self.b_matrix, self.c, self.workspace = *values[:3], values[12]
        spec = spec.with_unit_strides()
        given: list[int | None] = [spec.m, spec.n, spec.k, *spec.a, *spec.b, *spec.c]
        known = [v if g is None else b.i64(g) for g, v in zip(given, values[3:12], strict=True)]
        self.m, self.n, self.k, am, ak, bk, bn, cm, cn = known
        if _swaps(spec, epilogue):
            spec = spec.transposed()
            self.a, self.b_matrix, self.m, self.n = self.b_matrix, self.a, self.n, self.m
            am, ak, bk, bn, cm, cn = bn, bk, ak, am, cn, cm
        self.spec = spec
        self.nbytes = spec.element_bytes
        self.am, self.ak, self.bk, self.bn, self.cm, self.cn = (
            b.mul(s, self.nbytes) for s in (am, ak, bk, bn, cm, cn)
        )
        self.bn_elements, self.bk_elements = bn, bk
        self.tile = main_tile(machine, self.nbytes)
        self.add = b.i64(int(spec.accumulate))
        # What C is read for must not be a partial sum, and a panel holds only so many rows.
        self.copies = _copies(spec) and not (self.reads_c and spec.k is None)
        self.worth_copying = self._worth_copying() if self.copies else None

    def emit(self) -> None:
        """Write the whole function."""
        b, spec = self.b, self.spec
        if spec.accumulate and self.epilogue is None and spec.k is None:
            # Adding an empty sum would turn -0.0 into 0.0.
            b.if_(b.icmp("sgt", self.k, 0), self._by_layout)
        elif not (spec.accumulate and self.epilogue is None and spec.k == 0):
            self._by_layout()
        b.ret()
        b.close()

    def _worth_copying(self) -> Value | None:
        """Return the run-time half of `_copies`, None if nothing is left to decide."""
        b, tests = self.b, []
        if self.spec.m is None:
            tests.append(b.icmp("sge", self.m, _ROWS_WORTH_COPYING))
        if self.spec.n is None:
            tests.append(b.icmp("sgt", self.n, _FAR_APART // self.nbytes))
        if self.spec.b[0] is None:
            # Backwards and far apart is rare, and only slower.
            tests.append(b.icmp("sgt", self.bk, _FAR_APART))
        if not tests:
            return None
        for other in tests[1:]:
            tests[0] = b.and_(tests[0], other)
        return tests[0]

    def _by_layout(self) -> None:
        if self.spec.c[1] == 1:
            self._by_size()
        elif self.spec.c[1] is None:
            adjacent = self.b.icmp("eq", self.cn, self.nbytes)
            self.b.if_(adjacent, self._effect(self._by_size), self._effect(self._plain))
        else:
            self._plain()

    @staticmethod
    def _effect(emit: Callable[[], None]) -> Callable[[], list[Value]]:
        def run() -> list[Value]:
            emit()
            return []

        return run

    def _plain(self) -> None:
        name = emit_plain(
            self.b.module, self.machine, self.spec.dtype, self.epilogue, self.spec.strict
        )
        self.b.call(name, VOID, [
            self.a, self.b_matrix, self.c, self.m, self.n, self.k, self.am, self.ak, self.bk,
            self.bn, self.cm, self.cn, self.add, *self.extra,
        ])  # fmt: skip

    def _by_size(self) -> None:
        """C's columns are adjacent: choose between dot products and tiles."""
        spec = self.spec
        dots = spec.a[1] == 1 and spec.b[0] == 1 and not spec.strict
        if dots and spec.n is not None and spec.n <= _FEW_COLUMNS:
            self._dots_down()
        elif dots and spec.b[1] != 1 and spec.m is not None and spec.m <= _FEW_ROWS:
            self._dots_along()
        elif dots and spec.b[1] != 1 and spec.m is None:
            few = self.b.icmp("sle", self.m, _FEW_ROWS)
            self.b.if_(few, self._effect(self._dots_along), self._effect(self._tiles))
        elif self._may_be_a_wide_row():
            self._row_or_tiles()
        else:
            self._tiles()

    def _may_be_a_wide_row(self) -> bool:
        spec = self.spec
        return (
            spec.b[1] == 1 and spec.m in (1, None) and (spec.n is None or spec.n >= _WIDE_ROW)
            and not spec.strict and not self.reads_c
        )  # fmt: skip

    def _row_or_tiles(self) -> None:
        b, spec = self.b, self.spec
        if spec.m == 1 and spec.n is not None:
            self._wide_row()
            return
        one, wide = b.icmp("eq", self.m, 1), b.icmp("sge", self.n, _WIDE_ROW)
        b.if_(b.and_(one, wide), self._effect(self._wide_row), self._effect(self._tiles))

    def _wide_row(self) -> None:
        b, dtype = self.b, self.spec.dtype
        b.call(emit_row(b.module, self.machine, dtype), VOID, [
            self.a, self.b_matrix, self.c, self.n, self.k, self.ak, self.bk, self.add,
        ])  # fmt: skip
        if self.epilogue is not None:
            finish = emit_finish(b.module, self.machine, dtype, self.epilogue)
            b.call(finish, VOID, [self.c, self.n, *self.extra])

    def _dots_down(self) -> None:
        """Each column of C: a column of B against the rows of A."""
        b = self.b
        name = emit_dots(b.module, self.machine, self.spec.dtype, self.epilogue, down=True)

        def column(j: Value, _: list[Value]) -> None:
            b.call(name, VOID, [
                b.offset(self.b_matrix, b.mul(j, self.bn)), self.a,
                b.offset(self.c, b.mul(j, self.nbytes)), self.m, self.k, self.am, self.cm,
                self.add, b.i64(0), j, *self.extra,
            ])  # fmt: skip

        b.loop(0, self.n, 1, [], column)

    def _dots_along(self) -> None:
        """Each row of C: a row of A against the columns of B."""
        b = self.b
        name = emit_dots(b.module, self.machine, self.spec.dtype, self.epilogue, down=False)

        def row(i: Value, _: list[Value]) -> None:
            b.call(name, VOID, [
                b.offset(self.a, b.mul(i, self.am)), self.b_matrix,
                b.offset(self.c, b.mul(i, self.cm)), self.n, self.k, self.bn, b.i64(self.nbytes),
                self.add, i, b.i64(0), *self.extra,
            ])  # fmt: skip

        b.loop(0, self.m, 1, [], row)

    def _tiles(self) -> None:
        """Panels of B under all rows of A, the sums split where C may hold a part of them."""
        b, spec = self.b, self.spec
        packs = spec.b[1] != 1 or self.copies
        depth = _packed_depth(spec) if packs else _DEPTH
        unsplit = spec.k is not None and spec.k <= depth
        if not packs and (self.epilogue is not None or spec.strict):
            unsplit = True
        if unsplit:
            self._block(b.i64(0), self.k, self.add, self.epilogue)
        elif self.reads_c:
            short = b.icmp("sle", self.k, depth)
            b.if_(
                short,
                self._effect(lambda: self._block(b.i64(0), self.k, self.add, self.epilogue)),
                self._effect(self._plain),
            )
        else:
            self._split(depth)

    def _split(self, depth: int) -> None:
        """Run k in blocks whose partial sums C holds; the epilogue comes with the last."""
        b, spec = self.b, self.spec

        def block(first: Value, _: list[Value]) -> None:
            length = b.smin(b.sub(self.k, first), depth)
            later = b.cast("zext", b.icmp("sgt", first, 0), I64)
            add = self.add if spec.accumulate else later
            if self.epilogue is None:
                self._block(first, length, add, None)
            else:
                whole = b.icmp("sge", b.add(first, depth), self.k)
                b.if_(
                    whole,
                    self._effect(lambda: self._block(first, length, add, self.epilogue)),
                    self._effect(lambda: self._block(first, length, add, None)),
                )

        b.loop(0, self.k, depth, [], block, at_least_once=True)

    def _block(self, first: Value, length: Value, add: Value, epilogue: Epilogue | None) -> None:
        """Run k from `first` over `length` terms."""
        b = self.b
        a = b.offset(self.a, b.mul(first, self.ak))
        whole = _Rows(a, self.c, self.m, self.am, self.ak, b.mul(self.am, self.tile.rows))
        if epilogue is not None or self.epilogue is not None or not _copies_a(self.spec):
            self._columns(whole, first, length, add, epilogue)
            return
        rows = self.tile.rows
        copy = emit_copy(b.module, self.nbytes, 1 << (rows.bit_length() - 1))
        packed = b.offset(self.workspace, _panel_bytes(self.machine, self.spec))
        row_bytes = b.i64(rows * self.nbytes)
        tile_bytes = b.mul(length, row_bytes)

        def together(start: Value, _: list[Value]) -> None:
            count = b.smin(b.sub(self.m, start), _ROWS_TOGETHER)
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

        b.loop(0, self.m, _ROWS_TOGETHER, [], together)

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
                rows.a, source, b.offset(rows.c, b.mul(j, self.nbytes)), rows.count, length,
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

        def adjacent() -> list[Value]:
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
