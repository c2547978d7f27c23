"""Leases scratch memory for one call.

The entry's cell holds the address of one idle arena or null.  A call takes it away, so that calls
may overlap in time, and puts it back; what another call has put there meanwhile is freed.  Both
are done under the GIL, which a kernel may be without in between: it is released around long ones,
and a loop that looks for interrupts runs Python's handlers.  In the
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


def lease(frame: Frame, nbytes: Value, failed: str) -> Value:
    """Return the address of at least `nbytes` aligned bytes; `failed` finds MemoryError raised."""
    b, cell = frame.b, frame.pointer("arena")
    idle = _swap(frame, cell, b.zero(PTR))
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


def give_back(frame: Frame, arena: Value) -> None:
    """Leave the arena for the next call."""
    b = frame.b
    other = _swap(frame, frame.pointer("arena"), arena)
    b.if_(b.icmp("ne", other, b.zero(PTR)), lambda: _free(frame, other))


def _swap(frame: Frame, cell: Value, new: Value) -> Value:
    old = frame.b.load(PTR, cell)
    frame.b.store(new, cell)
    return old


def _free(frame: Frame, arena: Value) -> None:
    block = frame.b.load(PTR, frame.b.offset(arena, -WORD))
    frame.api("PyMem_RawFree", VOID, block)
