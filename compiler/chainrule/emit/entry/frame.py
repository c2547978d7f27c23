"""What every part of an entry's emission shares: the pointer table, ways out, and extents."""

from __future__ import annotations

from typing import Final

from chainrule_runtime.abi import Extent, Leaf, Signature
from chainrule_runtime.binding import slot_names
from chainrule_runtime.layout import ALIGNED, CONTIGUOUS, STANDARD, WARNS, WRITEABLE

from ..builder import BOOL, I32, I64, PTR, VOID, Builder, LType, Value

__all__ = ["ITEM_BYTES", "WORD", "Frame"]

WORD: Final = 8
ITEM_BYTES: Final = {
    "float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1, "uint32": 4, "bool": 1,
}  # fmt: skip


class Frame:
    """The state of one entry's emission.

    Attributes:
        mismatch: Where to go when an argument is not what the entry handles.  Between two
            instructions this label releases exactly the references held so far.
        dims: The named dims bound so far.
        ranges: Stack space for a start and an end of every array.
        objects, data: Of each input leaf, the array and the address of its elements.
    """

    def __init__(self, b: Builder, signature: Signature, table: Value) -> None:
        self.b: Final = b
        self.signature: Final = signature
        self.mismatch = b.new_label("mismatch")
        self.dims: Final[dict[int, Value]] = {}
        self.objects: Final[dict[int, Value]] = {}
        self.data: Final[dict[int, Value]] = {}
        self.ranges: Value = b.zero(PTR)
        self._table = table
        self._slots = {name: i for i, name in enumerate(slot_names(signature))}
        self._held: list[tuple[Value, str]] = []  # with the label used before it was held
        self._extents: dict[Extent, Value] = {}

    # The pointer table ---------------------------------------------------------------------

    def pointer(self, slot: str) -> Value:
        """Return one pointer of the table: an object, a function or a cell."""
        return self.b.load(PTR, self.b.offset(self._table, WORD * self._slots[slot]))

    def api(self, name: str, result: LType, *arguments: Value) -> Value:
        """Call a function of the C API."""
        return self.b.call_pointer(self.pointer(name), result, arguments)

    # Ways out ------------------------------------------------------------------------------

    def require(self, condition: Value, otherwise: str | None = None) -> None:
        """Go on only where the condition holds, else to `otherwise` (default: `mismatch`)."""
        fine = self.b.new_label("fine")
        self.b.branch_if(condition, fine, otherwise or self.mismatch)
        self.b.start(fine)

    def require_object(self, thing: Value, otherwise: str | None = None) -> None:
        """Go on only where a pointer is not null."""
        self.require(self.b.icmp("ne", thing, self.b.zero(PTR)), otherwise)

    def require_type(self, thing: Value, slot: str, otherwise: str | None = None) -> None:
        """Go on only where an object's type is exactly the one in the table."""
        its_type = self.b.load(PTR, self.b.offset(thing, STANDARD.type))
        self.require(self.b.icmp("eq", its_type, self.pointer(slot)), otherwise)

    def hold(self, thing: Value) -> None:
        """Take a reference, for an object only a mutable container keeps alive."""
        self.api("Py_IncRef", VOID, thing)
        self._held.append((thing, self.mismatch))
        self.mismatch = self.b.new_label("mismatch")

    def release(self) -> None:
        """Drop every reference held."""
        for thing, _ in self._held:
            self.api("Py_DecRef", VOID, thing)

    def emit_mismatch_blocks(self) -> None:
        """Emit what the `mismatch` labels stand for; the caller's next block is the last one."""
        for thing, before in reversed(self._held):
            self.b.start(self.mismatch)
            self.api("Py_DecRef", VOID, thing)
            self.b.branch(before)
            self.mismatch = before
        self.b.start(self.mismatch)

    # Arrays --------------------------------------------------------------------------------

    def require_array(
        self, thing: Value, leaf: Leaf, *, written: bool, otherwise: str | None = None
    ) -> Value:
        """Check everything about an array but its extents; return the address of those."""
        b = self.b
        self.require_type(thing, "ndarray", otherwise)
        mask, wanted = CONTIGUOUS | ALIGNED, CONTIGUOUS | ALIGNED
        if written:
            mask, wanted = mask | WRITEABLE | WARNS, wanted | WRITEABLE
        descr = b.load(PTR, b.offset(thing, STANDARD.descr))
        rank = b.load(I32, b.offset(thing, STANDARD.nd))
        flags = b.and_(b.load(I32, b.offset(thing, STANDARD.flags)), b.const(I32, mask))
        good = b.icmp("eq", descr, self.pointer(f"dtype {leaf.dtype}"))
        good = b.and_(good, b.icmp("eq", rank, b.const(I32, len(leaf.shape))))
        good = b.and_(good, b.icmp("eq", flags, b.const(I32, wanted)))
        self.require(good, otherwise)
        return b.load(PTR, b.offset(thing, STANDARD.dims))

    def require_extents(self, leaf: Leaf, extents: Value, otherwise: str) -> None:
        """Check an array's shape when all dims are known."""
        b, good = self.b, self.b.const(BOOL, True)
        for axis, extent in enumerate(leaf.shape):
            got = b.load(I64, b.offset(extents, WORD * axis))
            good = b.and_(good, b.icmp("eq", got, self.extent(extent)))
        if leaf.shape:
            self.require(good, otherwise)

    def nbytes(self, leaf: Leaf) -> Value:
        """Return the bytes of an array that is known to have the leaf's shape."""
        size = self.b.i64(ITEM_BYTES[leaf.dtype])
        for extent in leaf.shape:
            # Of an array that exists, or is allocated with a check of its own: may not wrap.
            size = self.b.mul(size, self.extent(extent))
        return size

    # Extents -------------------------------------------------------------------------------

    def extent(self, extent: Extent) -> Value:
        """Return the value of an extent; what does not fit 64 bits is a mismatch.

        First uses must dominate later ones: evaluate before branching.
        """
        if isinstance(extent, int):
            return self.b.i64(extent)
        if extent[0] == "const":
            return self.b.i64(extent[1])
        if extent[0] == "dim":
            return self.dims[extent[1]]
        if extent not in self._extents:
            a, b = self.extent(extent[1]), self.extent(extent[2])
            self._extents[extent] = self._operation(extent[0], a, b)
        return self._extents[extent]

    def _operation(self, operator: str, a: Value, b: Value) -> Value:
        if operator in ("add", "sub", "mul"):
            result, overflow = self.b.checked(operator, a, b)
            self.require(self.b.xor(overflow, self.b.const(overflow.type, True)))
            return result
        if operator == "min":
            return self.b.smin(a, b)
        if operator == "max":
            return self.b.smax(a, b)
        # Python rounds down and the machine towards zero: the same where nothing is negative.
        zero = self.b.const(I64, 0)
        self.require(self.b.icmp("sge", a, zero))
        self.require(self.b.icmp("sgt", b, zero))
        return self.b.binary({"floordiv": "sdiv", "mod": "srem"}[operator], a, b)
