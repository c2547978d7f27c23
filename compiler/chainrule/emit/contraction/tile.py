"""The register tile: a few rows of A times a panel of B, and the loop over all rows.

One function serves every contraction of its element type and epilogue: strides and extents are
arguments, as a broadcast from A costs the same whatever A's strides are.  That keeps the code of a
whole network to a few hundred instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.emit.builder import I32, I64, PTR, VOID, Builder, LType, Module, Value, vector
from chainrule.emit.contraction.spec import Epilogue
from chainrule.emit.machine import Machine

__all__ = ["Tile", "emit_panel", "has_lane_masks", "main_tile", "multiply_add", "tail_mask"]


@dataclass(frozen=True)
class Tile:
    """Rows by vectors of accumulators.

    Attributes:
        rows: Rows of the main tile; left-over rows run in tiles of half as many.
        vectors: Vectors side by side.
        lanes: Lanes of each (0: scalars).
        masked: Only the first `width` lanes exist (then `vectors` is 1).
    """

    rows: int
    vectors: int
    lanes: int
    masked: bool = False

    def narrowed(self, lanes: int, masked: bool = False) -> Tile:
        """Return the tile of one vector: as many rows, whose offsets fill the registers."""
        return Tile(self.rows, 1, lanes, masked)

    @property
    def columns(self) -> int:
        """Columns of the panel."""
        return self.vectors * max(1, self.lanes)


def main_tile(machine: Machine, element_bytes: int) -> Tile:
    """Return the tile for the bulk of the work.

    Sixteen accumulators hide the latency of two multiply-adds a cycle twice over, and eight rows
    divide the usual extents; with sixteen registers, twelve accumulators leave room for the
    operands (a separate multiply needs one more).
    """
    rows = 8 if machine.registers >= 32 else 6 if machine.fma else 4
    return Tile(rows, 2, machine.lanes(element_bytes))


def has_lane_masks(machine: Machine) -> bool:
    """Tell whether masked loads and stores are instructions, not branches per lane."""
    return machine.masks or (machine.fma and machine.vector_bytes == 32)


def tail_mask(b: Builder, dtype: LType, lanes: int, count: Value) -> Value:
    """Return the mask of the first `count` lanes."""
    element = I32 if dtype.bits == 32 else I64
    number = count if element == I64 else b.cast("trunc", count, I32)
    return b.icmp("slt", b.step_vector(lanes, element), b.splat(number, lanes))


def multiply_add(b: Builder, machine: Machine, x: Value, y: Value, total: Value) -> Value:
    """Return x * y + total, fused where the machine can."""
    if not x.type.is_float:
        return b.add(b.mul(x, y), total)
    if machine.fma:
        return b.fma(x, y, total)
    return b.fadd(b.fmul(x, y), total)


def sum_of(b: Builder, x: Value, y: Value) -> Value:
    """Return x + y for either kind of number."""
    return b.fadd(x, y) if x.type.is_float else b.add(x, y)


def emit_panel(
    module: Module, machine: Machine, dtype: LType, tile: Tile,
    epilogue: Epilogue | None, strict: bool,
) -> str:  # fmt: skip
    """Define the product of all rows of A with one panel of B; return its name.

    Signature: `void (A, B, C, m, k, am, ak, tile, bk, cm, width, add, column, extra...)`, strides
    in bytes; A's full tiles of rows are `tile` apart (am * rows unless A is packed); `add` is
    non-zero to add to C; `column` is the panel's first column in C's numbering.
    """
    shape = f"{tile.rows}x{tile.vectors}x{tile.lanes}{'masked' if tile.masked else ''}"
    key = f".{epilogue.key}" if epilogue else ""
    order = ".strict" if strict else ""
    name = f"panel.{machine.name}.{dtype.mangled}.{shape}{order}{key}"
    if not module.has_function(name):
        numbers = ("m", "k", "am", "ak", "tile", "bk", "cm", "width", "add", "column")
        arguments = [*((PTR, p) for p in "abc"), *((I64, n) for n in numbers)]
        extra = list(epilogue.extra) if epilogue else []
        b, values = module.function(name, VOID, arguments + [(t, f"x.{n}") for t, n in extra])
        _Panel(b, machine, dtype, tile, epilogue, strict, values).emit()
    return name


class _Panel:
    """The emitter of one panel function."""

    def __init__(
        self, b: Builder, machine: Machine, dtype: LType, tile: Tile,
        epilogue: Epilogue | None, strict: bool, values: Sequence[Value],
    ) -> None:  # fmt: skip
        self.b, self.machine, self.dtype, self.tile = b, machine, dtype, tile
        self.epilogue, self.strict = epilogue, strict
        self.a, self.b_panel, self.c, self.m, self.k = values[:5]
        self.am, self.ak, self.next_tile, self.bk, self.cm = values[5:10]
        self.width, self.add, self.column = values[10:13]
        self.extra = values[13:]
        self.wide = vector(dtype, tile.lanes)
        self.vector_bytes = max(1, tile.lanes) * dtype.bits // 8

    def emit(self) -> None:
        """Write the whole function."""
        b, rows, half = self.b, self.tile.rows, self.tile.rows // 2
        self.adding = b.icmp("ne", self.add, 0)
        self.mask = (
            tail_mask(b, self.dtype, self.tile.lanes, self.width) if self.tile.masked else None
        )
        # Seen through, the row offsets become one serial chain of additions in the inner loop.
        a_offsets = [b.opaque(b.mul(self.am, r)) if r else b.i64(0) for r in range(rows)]
        c_offsets = [b.mul(self.cm, r) for r in range(rows)]
        full = b.sub(self.m, rows - 1)

        def tall(row: Value, at: list[Value]) -> list[Value]:
            numbers = [b.add(row, r) for r in range(rows)] if self.epilogue else [row] * rows
            self._tile(at[0], at[1], a_offsets, c_offsets, numbers)
            after = b.offset(at[0], self.next_tile), b.offset(at[1], b.mul(self.cm, rows))
            return [*after, b.binary("add", row, rows)]

        a, c, done = b.loop(0, full, rows, [self.a, self.c, b.i64(0)], tall)
        last = b.sub(self.m, 1)

        def low(row: Value, at: list[Value]) -> list[Value]:
            # Rows past the end repeat the last one: same operands, same result, same place.
            numbers = [row, *(b.smin(b.add(row, r), last) for r in range(1, half))]
            steps = [b.sub(n, row) for n in numbers]
            a_steps = [b.i64(0), *(b.opaque(b.mul(self.am, s)) for s in steps[1:])]
            c_steps = [b.mul(self.cm, s) for s in steps]
            self._tile(at[0], at[1], a_steps, c_steps, numbers)
            return [b.offset(at[0], b.mul(self.am, half)), b.offset(at[1], b.mul(self.cm, half))]

        b.loop(done, self.m, half, [a, c], low)
        b.ret()
        b.close()

    def _load(self, pointer: Value) -> Value:
        if self.mask is not None:
            return self.b.masked_load(self.wide, pointer, self.mask)
        return self.b.load(self.wide, pointer)

    def _tile(
        self, a: Value, c: Value, a_offsets: Sequence[Value], c_offsets: Sequence[Value],
        numbers: Sequence[Value],
    ) -> None:  # fmt: skip
        """Compute one tile: its rows of A are at `a_offsets` from `a`, those of C from `c`."""
        b, count = self.b, len(numbers) * self.tile.vectors
        places = [
            b.offset(b.offset(c, offset), v * self.vector_bytes)
            for offset in c_offsets
            for v in range(self.tile.vectors)
        ]
        start = [b.zero(self.wide)] * count
        if self.strict:
            start = b.if_(self.adding, lambda: [self._load(p) for p in places], lambda: start)
        sums = self._multiply(a, a_offsets, start)
        if not self.strict:
            finished = sums
            sums = b.if_(
                self.adding,
                lambda: [
                    sum_of(b, self._load(p), s) for p, s in zip(places, finished, strict=True)
                ],
                lambda: finished,
            )
        if self.epilogue is not None:
            # All of them before the first store: rows may repeat, and C may be an operand.
            lanes = max(1, self.tile.lanes)
            columns = [b.add(self.column, v * lanes) for v in range(self.tile.vectors)]
            sums = [
                self.epilogue.apply(
                    b, self.extra, s, numbers[i // self.tile.vectors],
                    columns[i % self.tile.vectors], self.mask,
                )
                for i, s in enumerate(sums)
            ]  # fmt: skip
        for place, value in zip(places, sums, strict=True):
            if self.mask is not None:
                b.masked_store(value, place, self.mask)
            else:
                b.store(value, place)

    def _multiply(
        self, a: Value, a_offsets: Sequence[Value], start: Sequence[Value]
    ) -> list[Value]:
        """Run over k; return the accumulators."""
        b, vectors, count = self.b, self.tile.vectors, len(start)

        def turn(_k: Value, carried: list[Value]) -> list[Value]:
            sums, at, b_row = carried[:count], carried[-2], carried[-1]
            panel = [self._load(b.offset(b_row, v * self.vector_bytes)) for v in range(vectors)]
            after: list[Value] = []
            for r, offset in enumerate(a_offsets):
                x = b.splat(b.load(self.dtype, b.offset(at, offset)), self.tile.lanes)
                for v, y in enumerate(panel):
                    after.append(multiply_add(b, self.machine, x, y, sums[r * vectors + v]))
            return [*after, b.offset(at, self.ak), b.offset(b_row, self.bk)]

        return b.loop(0, self.k, 1, [*start, a, self.b_panel], turn)[:count]
