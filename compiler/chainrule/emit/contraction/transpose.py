"""Transposes through registers, also used to pack a transposed operand into panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.emit.builder import (
    F32,
    F64,
    I8,
    I16,
    I64,
    PTR,
    VOID,
    Builder,
    LType,
    Module,
    Value,
    vector,
)  # fmt: skip
from chainrule.emit.contraction.tile import has_lane_masks, tail_mask
from chainrule.emit.machine import Machine

__all__ = ["emit_copy", "emit_gather", "emit_transpose"]


def emit_transpose(module: Module, machine: Machine, element_bytes: int) -> str:
    """Define dst[c, r] = src[r, c] for elements of that size; return the function's name.

    Signature: `void (src, dst, rows, cols, src_row_stride, dst_row_stride)`, strides in elements
    (columns are adjacent on both sides), any alignment, no overlap.
    """
    name = f"transpose.{machine.name}.{element_bytes}"
    if not module.has_function(name):
        numbers = ("rows", "cols", "src_stride", "dst_stride")
        b, values = module.function(
            name, VOID, [(PTR, "src"), (PTR, "dst"), *((I64, n) for n in numbers)]
        )
        if element_bytes in (4, 8) and machine.lanes(element_bytes) > 1:
            _blocks(b, machine, element_bytes, values, _emit_edge(module, machine, element_bytes))
        else:
            src, dst, rows, cols, src_stride, dst_stride = values
            one = b.i64(element_bytes)
            by_row, by_column = (b.mul(s, element_bytes) for s in (src_stride, dst_stride))
            _gather_loops(b, element_bytes, src, dst, cols, rows, one, by_row, by_column)
        b.ret()
        b.close()
    return name


def emit_gather(module: Module, element_bytes: int) -> str:
    """Define a copy of a matrix with any two strides into rows; return the function's name.

    Signature: `void (src, dst, rows, cols, row_stride, column_stride, dst_row_stride)` in elements.
    """
    name = f"gather.{element_bytes}"
    if not module.has_function(name):
        numbers = ("rows", "cols", "row_stride", "column_stride", "dst_stride")
        b, values = module.function(
            name, VOID, [(PTR, "src"), (PTR, "dst"), *((I64, n) for n in numbers)]
        )
        src, dst, rows, cols, row_stride, column_stride, dst_stride = values
        by_row, by_column, dst_bytes = (
            b.mul(s, element_bytes) for s in (row_stride, column_stride, dst_stride)
        )
        _gather_loops(b, element_bytes, src, dst, rows, cols, by_row, by_column, dst_bytes)
        b.ret()
        b.close()
    return name


def emit_copy(module: Module, element_bytes: int, lanes: int) -> str:
    """Define a copy of rows of `width` elements, by vectors; return the function's name.

    Signature: `void (src, dst, rows, width, src_row_bytes, dst_row_bytes)`.
    """
    name = f"copy.{lanes}x{element_bytes}"
    if module.has_function(name):
        return name
    numbers = ("rows", "width", "src_bytes", "dst_bytes")
    arguments = [(PTR, "src"), (PTR, "dst"), *((I64, n) for n in numbers)]
    b, (src, dst, rows, width, src_bytes, dst_bytes) = module.function(name, VOID, arguments)
    wide = vector(F32 if element_bytes == 4 else F64, lanes)
    whole = b.and_(width, -lanes)

    def row(_r: Value, at: list[Value]) -> list[Value]:
        def some(kind: LType) -> Callable[[Value, list[Value]], None]:
            def turn(c: Value, _: list[Value]) -> None:
                offset = b.mul(c, element_bytes)
                b.store(b.load(kind, b.offset(at[0], offset)), b.offset(at[1], offset))

            return turn

        b.loop(0, whole, lanes, [], some(wide))
        b.loop(whole, width, 1, [], some(wide.element))
        return [b.offset(at[0], src_bytes), b.offset(at[1], dst_bytes)]

    b.loop(0, rows, 1, [src, dst], row)
    b.ret()
    b.close()
    return name


def _gather_loops(
    b: Builder, element_bytes: int, src: Value, dst: Value, rows: Value, cols: Value,
    row_bytes: Value, column_bytes: Value, dst_row_bytes: Value,
) -> None:  # fmt: skip
    element = {1: I8, 2: I16, 4: F32, 8: F64}[element_bytes]

    def row(_r: Value, at: list[Value]) -> list[Value]:
        def column(c: Value, source: list[Value]) -> list[Value]:
            b.store(b.load(element, source[0]), b.offset(at[1], b.mul(c, element_bytes)))
            return [b.offset(source[0], column_bytes)]

        b.loop(0, cols, 1, [at[0]], column)
        return [b.offset(at[0], row_bytes), b.offset(at[1], dst_row_bytes)]

    b.loop(0, rows, 1, [src, dst], row)


def _blocks(
    b: Builder, machine: Machine, element_bytes: int, values: Sequence[Value], edge: str
) -> None:
    """Whole blocks in registers; what is left of rows and columns through `edge`."""
    src, dst, rows, cols, src_stride, dst_stride = values
    lanes = machine.lanes(element_bytes)
    row_bytes = b.mul(src_stride, element_bytes)
    column_bytes = b.mul(dst_stride, element_bytes)
    across = b.and_(cols, -lanes)
    src_step, dst_step = b.mul(row_bytes, lanes), b.mul(column_bytes, lanes)
    wide = vector(F32 if element_bytes == 4 else F64, lanes)
    row_offsets = [b.mul(row_bytes, r) for r in range(lanes)]
    column_offsets = [b.mul(column_bytes, c) for c in range(lanes)]

    def band(r: Value, at: list[Value]) -> list[Value]:
        height = b.smin(b.sub(rows, r), lanes)
        stop = b.select(b.icmp("eq", height, lanes), across, b.i64(0))

        def block(_c: Value, inner: list[Value]) -> list[Value]:
            lines = [b.load(wide, b.offset(inner[0], o)) for o in row_offsets]
            for line, offset in zip(_transposed(b, lines), column_offsets, strict=True):
                b.store(line, b.offset(inner[1], offset))
            return [b.offset(inner[0], lanes * element_bytes), b.offset(inner[1], dst_step)]

        def rest(c: Value, inner: list[Value]) -> list[Value]:
            width = b.smin(b.sub(cols, c), lanes)
            b.call(edge, VOID, [*inner, height, width, row_bytes, column_bytes])
            return [b.offset(inner[0], lanes * element_bytes), b.offset(inner[1], dst_step)]

        after = b.loop(0, stop, lanes, at, block)
        b.loop(stop, cols, lanes, after, rest)
        return [b.offset(at[0], src_step), b.offset(at[1], lanes * element_bytes)]

    b.loop(0, rows, lanes, [src, dst], band)


def _emit_edge(module: Module, machine: Machine, element_bytes: int) -> str:
    """Define the transpose of a block of at most lanes x lanes; return its name.

    Signature: `void (src, dst, rows, cols, src_row_bytes, dst_row_bytes)`, neither extent zero.
    """
    name = f"transpose.edge.{machine.name}.{element_bytes}"
    if module.has_function(name):
        return name
    numbers = ("rows", "cols", "src_bytes", "dst_bytes")
    arguments = [(PTR, "src"), (PTR, "dst"), *((I64, n) for n in numbers)]
    b, (src, dst, rows, cols, src_bytes, dst_bytes) = module.function(name, VOID, arguments)
    if has_lane_masks(machine):
        lanes = machine.lanes(element_bytes)
        element = F32 if element_bytes == 4 else F64
        exists = tail_mask(b, element, lanes, cols)
        last_row, last_column = b.sub(rows, 1), b.sub(cols, 1)
        lines = [
            b.masked_load(
                vector(element, lanes), b.offset(src, b.mul(b.smin(last_row, r), src_bytes)), exists
            )
            for r in range(lanes)
        ]
        kept = tail_mask(b, element, lanes, rows)
        # Columns past the end land on the last one, so it is written after them.
        for c, line in reversed(list(enumerate(_transposed(b, lines)))):
            place = b.offset(dst, b.mul(b.smin(last_column, c), dst_bytes))
            b.masked_store(line, place, kept)
    else:
        one = b.i64(element_bytes)
        _gather_loops(b, element_bytes, src, dst, cols, rows, one, src_bytes, dst_bytes)
    b.ret()
    b.close()
    return name


def _transposed(b: Builder, lines: list[Value]) -> list[Value]:
    """Return the transpose of as many vectors as each has lanes.

    First blocks inside 128 bits, then those blocks against each other: each step is a pattern
    some instruction has exactly, where a general butterfly costs three times the time.
    """
    lanes = len(lines)
    inside = 128 // lines[0].type.bits
    groups = lanes // inside
    blocks = [_inside(b, lines[g : g + inside]) for g in range(0, lanes, inside)]
    result: list[Value] = []
    across = [_across(b, [blocks[g][c] for g in range(groups)], inside) for c in range(inside)]
    for group in range(groups):
        result += [across[c][group] for c in range(inside)]
    return result


def _inside(b: Builder, rows: list[Value]) -> list[Value]:
    """Transpose within each 128 bits: 2 rows of 64-bit lanes, or 4 of 32-bit lanes."""
    lanes = rows[0].type.lanes
    if len(rows) == 2:
        return [_interleave(b, rows[0], rows[1], (half,), 1, 2) for half in (0, 1)]
    low = [_interleave(b, rows[i], rows[i + 1], (0, 1), 1, 4) for i in (0, 2)]
    high = [_interleave(b, rows[i], rows[i + 1], (2, 3), 1, 4) for i in (0, 2)]
    assert lanes % 4 == 0
    return [
        _interleave(b, pair[0], pair[1], (half,), 2, 2) for pair in (low, high) for half in (0, 1)
    ]


def _interleave(
    b: Builder, x: Value, y: Value, units: tuple[int, ...], size: int, period: int
) -> Value:
    """Alternate units of `size` lanes of x and y, taking `units` of every `period`."""
    lanes = x.type.lanes
    picked = [
        source + (base + unit) * size + lane
        for base in range(0, lanes // size, period)
        for unit in units
        for source in (0, lanes)
        for lane in range(size)
    ]
    return b.shuffle(x, y, picked)


def _across(b: Builder, rows: list[Value], size: int) -> list[Value]:
    """Transpose the blocks of `size` lanes: block g of result h is block h of row g."""

    def take(x: Value, y: Value, blocks: Sequence[int]) -> Value:
        return b.shuffle(x, y, [block * size + lane for block in blocks for lane in range(size)])

    if len(rows) == 1:
        return rows
    if len(rows) == 2:
        return [take(rows[0], rows[1], (0, 2)), take(rows[0], rows[1], (1, 3))]
    even, odd = (0, 2, 4, 6), (1, 3, 5, 7)
    first = [take(rows[0], rows[1], part) for part in (even, odd)]
    second = [take(rows[2], rows[3], part) for part in (even, odd)]
    return [
        take(first[i], second[i], part) for part in (even, odd) for i in (0, 1)
    ]  # fmt: skip
