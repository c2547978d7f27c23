"""Checked kernels: every access is compared with the number of elements in its buffer.

For tests of what the layers above promise, not for calls that count: a checked access costs several
times an unchecked one.  Contractions are checked as a whole, by the first and the last element that
each operand can mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chainrule.emit.builder import BOOL, I8, Builder, Value
from chainrule.emit.extents import emit_extent
from chainrule.loops.ir import Buffer, Operand, Tile

__all__ = ["Bounds"]


class Bounds:
    """The rooms of a kernel's buffers, and the status that tells of an access beyond one."""

    def __init__(self, b: Builder, status: Value, rooms: Mapping[Buffer, Value]) -> None:
        """`b` stands in the entry block."""
        self._b: Final = b
        self._status: Final = status
        self._rooms: Final = rooms
        self._elsewhere: Final = b.alloca(64)

    def scalar(self, buffer: Buffer, element: Value, address: Value) -> Value:
        """Return the address of an element, or of memory that does not matter."""
        inside = self._inside(buffer, element)
        self._report(inside)
        return self._b.select(inside, address, self._elsewhere)

    def lanes(self, buffer: Buffer, elements: Value, mask: Value) -> Value:
        """Return the lanes of a mask whose elements are in a buffer."""
        b, count = self._b, elements.type.lanes
        low = b.icmp("sge", elements, b.zero(elements.type))
        high = b.icmp("slt", elements, b.splat(self._rooms[buffer], count))
        inside = b.and_(low, high)
        beyond = b.and_(mask, b.xor(inside, b.const(mask.type, True)))
        self._report(b.xor(b.reduce("or", beyond), b.const(BOOL, True)))
        return b.and_(mask, inside)

    def of_tile(self, tile: Tile, names: Mapping[str, Value]) -> Value:
        """Tell whether all operands of a contraction are inside."""
        b = self._b
        m, n, k = (emit_extent(b, e, names) for e in (tile.m, tile.n, tile.k))
        inside = self._operand(tile.out, m, n, names)
        for operand, rows, columns in ((tile.a, m, k), (tile.b, k, n)):
            inside = b.and_(inside, self._operand(operand, rows, columns, names))
        self._report(inside)
        return inside

    def _operand(
        self, operand: Operand, rows: Value, columns: Value, names: Mapping[str, Value]
    ) -> Value:
        """Tell whether a matrix is inside its buffer; an empty one is."""
        b = self._b
        first = last = emit_extent(b, operand.offset, names)
        for stride, count in zip(operand.strides, (rows, columns), strict=True):
            reach = b.mul(emit_extent(b, stride, names), b.sub(count, 1))
            first, last = b.add(first, b.smin(reach, 0)), b.add(last, b.smax(reach, 0))
        inside = b.and_(self._inside(operand.buffer, first), self._inside(operand.buffer, last))
        empty = b.or_(b.icmp("sle", rows, b.i64(0)), b.icmp("sle", columns, b.i64(0)))
        return b.or_(empty, inside)

    def _inside(self, buffer: Buffer, element: Value) -> Value:
        # Unsigned, so that what is negative is too large.
        return self._b.icmp("ult", element, self._rooms[buffer])

    def _report(self, inside: Value) -> None:
        b = self._b
        before = b.load(I8, self._status)
        beyond = b.cast("zext", b.xor(inside, b.const(BOOL, True)), I8)
        b.store(b.or_(before, beyond), self._status)
