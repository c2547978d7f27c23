"""What every part of an entry's emission shares: the pointer table, ways out, and extents."""

from __future__ import annotations

from typing import Final

from chainrule.emit.builder import (
    BOOL,
    F64,
    I32,
    I64,
    PTR,
    VOID,
    Builder,
    LType,
    Module,
    Operand,
    Value,
)  # fmt: skip
from chainrule_runtime.abi import Extent, Leaf, Signature, subtrees
from chainrule_runtime.binding import slot_names
from chainrule_runtime.layout import ALIGNED, CONTIGUOUS, STANDARD, WARNS, WRITEABLE

__all__ = ["ITEM_BYTES", "WORD", "Frame", "emit_check"]

WORD: Final = 8
ITEM_BYTES: Final = {
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1,
    "uint32": 4, "bool": 1,
}  # fmt: skip


class Frame:
    """The state of one entry's emission.

    Values of single arrays are kept on the stack and not in registers: there may be hundreds.

    Attributes:
        mismatch: Where to go when an argument is not what the entry handles.
        dims: The named dims bound so far.
        objects: The input arrays whose objects are needed again.
        inputs: Stack array of the addresses of the input leaves' elements.
        ranges: Stack space for a start and an end of every array.
    """

    def __init__(self, b: Builder, signature: Signature, table: Value, check: str | None) -> None:
        """Reserve stack space (`b` stands in the entry block); `check` is for `require_array`."""
        self.b: Final = b
        self.signature: Final = signature
        self.mismatch: Final = b.new_label("mismatch")
        self.dims: Final[dict[int, Value]] = {}
        self.objects: Final[dict[int, Value]] = {}
        arrays = len(signature.inputs) + len(signature.outputs)
        self.inputs: Final = b.alloca(WORD * max(1, len(signature.inputs)), align=16)
        self.ranges: Final = b.alloca(2 * WORD * max(1, arrays), align=16)
        self._held = b.alloca(WORD * sum(1 for _ in subtrees(signature.input_tree)), align=16)
        self._counter = b.alloca(WORD, align=16)
        b.store(b.const(I64, 0), self._counter)
        self._held_count = 0
        weak = sum(leaf.weak for leaf in signature.inputs)
        self._numbers = b.alloca(WORD * max(1, weak), align=16)
        self._overflow = b.alloca(WORD, align=16)
        self._number_count = 0
        self._table = table
        self._check = check
        self._slots = {name: i for i, name in enumerate(slot_names(signature))}
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

    def hold(self, thing: Value, owned: bool = False) -> None:
        """Keep an object that only a mutable container keeps alive, or a reference `owned`."""
        if not owned:
            self.api("Py_IncRef", VOID, thing)
        self.b.store(thing, self.b.offset(self._held, WORD * self._held_count))
        self._held_count += 1
        self.b.store(self.b.const(I64, self._held_count), self._counter)

    def release(self) -> None:
        """Drop every reference held so far at run time."""
        if self._held_count:
            self.drop_all(self._held, self.b.load(I64, self._counter))

    def drop_all(self, references: Value, count: Operand) -> None:
        """Drop the references of a stack array; null ones are skipped."""

        def body(i: Value, _carried: list[Value]) -> None:
            at = self.b.offset(references, self.b.mul(i, WORD))
            self.api("Py_DecRef", VOID, self.b.load(PTR, at))

        self.b.loop(0, count, body=body)

    # Arrays --------------------------------------------------------------------------------

    def require_array(
        self, thing: Value, leaf: Leaf, *, written: bool, otherwise: str | None = None
    ) -> Value:
        """Check everything about an array but its extents; return the address of those."""
        b = self.b
        mask, wanted = CONTIGUOUS | ALIGNED, CONTIGUOUS | ALIGNED
        if written:
            mask, wanted = mask | WRITEABLE | WARNS, wanted | WRITEABLE
        descr = self.pointer(f"dtype {leaf.dtype}")
        facts = [b.const(I32, number) for number in (len(leaf.shape), mask, wanted)]
        if self._check is not None:
            extents = b.call(self._check, PTR, [thing, self.pointer("ndarray"), descr, *facts])
            self.require_object(extents, otherwise)
            return extents
        self.require_type(thing, "ndarray", otherwise)
        self.require(fields_fit(b, thing, descr, facts), otherwise)
        return b.load(PTR, b.offset(thing, STANDARD.dims))

    def take_number(self, thing: Value, leaf: Leaf) -> Value:
        """Check that an object is the Python number a leaf stands for; return where it is put."""
        b, place = self.b, self.b.offset(self._numbers, WORD * self._number_count)
        self._number_count += 1
        self.require_type(thing, "float" if leaf.dtype == "float64" else "int")
        if leaf.dtype == "float64":
            number = self.api("PyFloat_AsDouble", F64, thing)
        else:
            number = self.api("PyLong_AsLongLongAndOverflow", I64, thing, self._overflow)
            outside = b.load(I32, self._overflow)
            self.require(b.icmp("eq", outside, b.const(I32, 0)))
        b.store(number, place)
        return place

    def data(self, index: int) -> Value:
        """Return the address of an input leaf's elements."""
        return self.b.load(PTR, self.b.offset(self.inputs, WORD * index))

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
            self._extents[extent] = self.operation(extent[0], a, b)
        return self._extents[extent]

    def operation(self, operator: str, a: Value, b: Value) -> Value:
        """Return the value of an operator of extents; what does not fit 64 bits is a mismatch."""
        if operator in ("add", "sub", "mul"):
            result, overflow = self.b.checked(operator, a, b)
            self.require(self.b.xor(overflow, self.b.const(overflow.type, True)))
            return result
        if operator == "min":
            return self.b.smin(a, b)
        if operator == "max":
            return self.b.smax(a, b)
        self.require(self.b.icmp("sgt", b, self.b.const(I64, 0)))
        # Python rounds down and the machine towards zero.
        rest = self.b.binary("srem", a, b)
        below = self.b.ashr(rest, 63)
        if operator == "mod":
            return self.b.add(rest, self.b.and_(below, b))
        return self.b.add(self.b.binary("sdiv", a, b), below)


def fields_fit(b: Builder, thing: Value, descr: Value, facts: list[Value]) -> Value:
    """Compare fields of an ndarray; `facts` are rank, mask of flags and wanted flags."""
    rank, mask, wanted = facts
    its_rank = b.load(I32, b.offset(thing, STANDARD.nd))
    flags = b.and_(b.load(I32, b.offset(thing, STANDARD.flags)), mask)
    good = b.icmp("eq", b.load(PTR, b.offset(thing, STANDARD.descr)), descr)
    good = b.and_(good, b.icmp("eq", its_rank, rank))
    return b.and_(good, b.icmp("eq", flags, wanted))


def emit_check(module: Module, name: str) -> None:
    """Write the function behind `require_array`: the address of the extents, or null.

    With hundreds of arrays a call for each keeps the entry's code short.
    """
    arguments = [(PTR, "thing"), (PTR, "ndarray"), (PTR, "descr")]
    facts = [(I32, "rank"), (I32, "mask"), (I32, "wanted")]
    b, (thing, ndarray, descr, *numbers) = module.function(name, PTR, [*arguments, *facts])
    array, fits, other = b.new_label("array"), b.new_label("fits"), b.new_label("other")
    its_type = b.load(PTR, b.offset(thing, STANDARD.type))
    b.branch_if(b.icmp("eq", its_type, ndarray), array, other)
    b.start(array)
    b.branch_if(fields_fit(b, thing, descr, numbers), fits, other)
    b.start(fits)
    # Of a 0-d array this may be null, so the field's own address stands in.
    extents = b.load(PTR, b.offset(thing, STANDARD.dims))
    flat = b.icmp("eq", numbers[0], b.const(I32, 0))
    b.ret(b.select(flat, b.offset(thing, STANDARD.dims), extents))
    b.start(other)
    b.ret(b.zero(PTR))
    b.close()
