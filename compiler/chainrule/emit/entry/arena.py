"""Leases scratch memory for one call.

The entry's cell holds the address of one idle arena or null.  A call takes it away, so that calls
may overlap in time, and puts it back; what another call has put there meanwhile is freed.  In the
two words below an arena are its capacity and the address of the block it lies in.
"""

from __future__ import annotations

from typing import Final

from chainrule.emit.builder import I64, PTR, VOID, Value

from .frame import WORD, Frame

__all__ = ["give_back", "lease"]

_ALIGNMENT: Final = 64
_HEADER: Final = 2 * WORD
_LARGEST: Final = 1 << 47


def lease(frame: Frame, nbytes: Value, failed: str, shared: bool) -> Value:
    """Return the address of at least `nbytes` aligned bytes; `failed` finds MemoryError raised.

    `shared` says that other threads may run the entry at the same time.
    """
    b, cell = frame.b, frame.pointer("arena")
    idle = _swap(frame, cell, b.zero(PTR), shared)
    inspect, grow, fresh, end = (b.new_label(n) for n in ("inspect", "grow", "fresh", "leased"))
    b.branch_if(b.icmp("eq", idle, b.zero(PTR)), fresh, inspect)
    b.start(inspect)
    capacity = b.load(I64, b.offset(idle, -_HEADER))
    b.branch_if(b.icmp("sge", capacity, nbytes), end, grow)
    b.start(grow)
    _free(frame, idle)
    b.branch(fresh)
    b.start(fresh)
    no_memory = b.new_label("no_memory")
    frame.require(b.icmp("sle", nbytes, b.const(I64, _LARGEST)), no_memory)
    # Room for the header and for moving up to the alignment.
    block = frame.api("PyMem_RawMalloc", PTR, b.add(nbytes, _HEADER + _ALIGNMENT))
    frame.require_object(block, no_memory)
    first = b.add(b.address(block), _HEADER + _ALIGNMENT - 1)
    made = b.pointer(b.and_(first, b.const(I64, -_ALIGNMENT)))
    b.store(nbytes, b.offset(made, -_HEADER))
    b.store(block, b.offset(made, -WORD))
    made_in = b.block
    b.branch(end)
    b.start(no_memory)
    frame.api("PyErr_NoMemory", PTR)
    b.branch(failed)
    b.start(end)
    return b.phi([(idle, inspect), (made, made_in)])


def give_back(frame: Frame, arena: Value, shared: bool) -> None:
    """Leave the arena for the next call."""
    b = frame.b
    other = _swap(frame, frame.pointer("arena"), arena, shared)
    if shared:
        b.if_(b.icmp("ne", other, b.zero(PTR)), lambda: _free(frame, other))


def _swap(frame: Frame, cell: Value, new: Value, shared: bool) -> Value:
    b = frame.b
    if shared:
        return b.exchange(cell, new)
    # Under the GIL from lease to return: no other call comes between.
    old = b.load(PTR, cell)
    b.store(new, cell)
    return old


def _free(frame: Frame, arena: Value) -> None:
    block = frame.b.load(PTR, frame.b.offset(arena, -WORD))
    frame.api("PyMem_RawFree", VOID, block)
