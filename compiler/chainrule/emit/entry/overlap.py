"""Checks that memory to be written is shared with nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from chainrule.emit.builder import BOOL, I64, Value
from chainrule_runtime.abi import Leaf

from .frame import WORD, Frame

__all__ = ["Range", "require_apart"]

# Up to here pairs are compared in straight code, above in a loop over a table.
_INLINE_PAIRS: Final = 96


class Range(NamedTuple):
    """The bytes of one array: from `start` up to `end`, as integers."""

    start: Value
    end: Value

    @staticmethod
    def of(frame: Frame, leaf: Leaf, data: Value) -> Range:
        """Return the bytes of an array known to have the leaf's shape."""
        start = frame.b.address(data)
        return Range(start, frame.b.add(start, frame.nbytes(leaf)))


def require_apart(
    frame: Frame, written: Sequence[Range], read: Sequence[Range], otherwise: str | None = None
) -> None:
    """Go on only where no written range shares a byte with a read one or another written one.

    An empty array inside another one's memory counts as shared: rare, and Python knows better.
    """
    pairs = len(written) * len(read) + len(written) * (len(written) - 1) // 2
    if not pairs:
        return
    if pairs > _INLINE_PAIRS:
        frame.require(_apart_in_loop(frame, written, read), otherwise)
        return
    b, shared = frame.b, frame.b.const(BOOL, False)
    for i, one in enumerate(written):
        for other in (*read, *written[:i]):
            shared = b.or_(shared, _meet(frame, one, other))
    frame.require(b.xor(shared, b.const(BOOL, True)), otherwise)


def _meet(frame: Frame, one: Range, other: Range) -> Value:
    b = frame.b
    return b.and_(b.icmp("ult", one.start, other.end), b.icmp("ult", other.start, one.end))


def _apart_in_loop(frame: Frame, written: Sequence[Range], read: Sequence[Range]) -> Value:
    b, table = frame.b, frame.ranges
    for i, one in enumerate((*read, *written)):
        b.store(one.start, b.offset(table, 2 * WORD * i))
        b.store(one.end, b.offset(table, 2 * WORD * i + WORD))

    def load(i: Value) -> Range:
        at = b.offset(table, b.mul(i, 2 * WORD))
        return Range(b.load(I64, at), b.load(I64, b.offset(at, WORD)))

    def row(i: Value, carried: list[Value]) -> list[Value]:
        one = load(i)
        return b.loop(
            0, i, carried=carried,
            body=lambda k, found: [b.or_(found[0], _meet(frame, one, load(k)))],
        )  # fmt: skip

    count = len(read) + len(written)
    (shared,) = b.loop(len(read), count, carried=[b.const(BOOL, False)], body=row)
    return b.xor(shared, b.const(BOOL, True))
