"""One row times a matrix with adjacent columns: bound by memory, so B is read in its own order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.emit.builder import I16, I64, PTR, VOID, Builder, LType, Module, Value, vector
from chainrule.emit.contraction.spec import Epilogue
from chainrule.emit.contraction.tile import has_lane_masks, multiply_add, sum_of, tail_mask
from chainrule.emit.halves import widen
from chainrule.emit.machine import Machine
from chainrule.ir.types import DType

__all__ = ["emit_finish", "emit_row"]

_TOGETHER = 4  # rows of B a pass: fewer visit C too often, more are too many streams to prefetch


def emit_row(module: Module, machine: Machine, dtype: LType, half: DType | None = None) -> str:
    """Define c[j] = (or +=) sum over k of a[k] * B[k, j]; return the function's name.

    Signature: `void (a, B, c, n, k, ak, bk, add)`, strides in bytes, columns adjacent; those of B
    may be of 16 bits.
    """
    name = f"row.{machine.name}.{dtype.mangled}{f'.{half.name}' if half else ''}"
    if module.has_function(name):
        return name
    numbers = ("n", "k", "ak", "bk", "add")
    arguments = [*((PTR, p) for p in "abc"), *((I64, n) for n in numbers)]
    b, (a, b_rows, c, n, k, ak, bk, add) = module.function(name, VOID, arguments)

    def passes(together: int, start: Value, stop: Value, at: list[Value]) -> list[Value]:
        def one(first: Value, at: list[Value]) -> list[Value]:
            factors = [b.load(dtype, b.offset(at[0], b.mul(ak, i))) for i in range(together)]
            rows = [b.offset(at[1], b.mul(bk, i)) for i in range(together)]
            adding = b.or_(b.icmp("sgt", first, 0), b.icmp("ne", add, 0))
            for_each_vector(
                b, machine, dtype, n,
                lambda load, store, j: store(c, j, _updated(
                    b, machine, adding, factors,
                    [load.half(r, j, machine, half) if half else load(r, j) for r in rows],
                    load(c, j),
                )),
            )  # fmt: skip
            return [b.offset(at[0], b.mul(ak, together)), b.offset(at[1], b.mul(bk, together))]

        return b.loop(start, stop, together, at, one)

    grouped = b.and_(k, -_TOGETHER)
    at = passes(_TOGETHER, b.i64(0), grouped, [a, b_rows])
    passes(1, grouped, k, at)
    # An empty sum that is not added to anything is zero.
    empty = b.and_(b.icmp("eq", k, 0), b.icmp("eq", add, 0))

    def clear() -> None:
        def zero(load: Load, store: Store, j: Value) -> None:
            store(c, j, b.zero(load(c, j).type))

        for_each_vector(b, machine, dtype, n, zero)

    b.if_(empty, clear)
    b.ret()
    b.close()
    return name


def emit_finish(module: Module, machine: Machine, dtype: LType, epilogue: Epilogue) -> str:
    """Define the epilogue over row 0 of C, in place: `void (c, n, extra...)`; return its name."""
    name = f"finish.{machine.name}.{dtype.mangled}.{epilogue.key}"
    if module.has_function(name):
        return name
    arguments = [(PTR, "c"), (I64, "n"), *((t, f"x.{n}") for t, n in epilogue.extra)]
    b, (c, n, *extra) = module.function(name, VOID, arguments)
    zero = b.i64(0)

    def finish(load: Load, store: Store, j: Value) -> None:
        store(c, j, epilogue.apply(b, extra, load(c, j), zero, j, store.mask))

    for_each_vector(b, machine, dtype, n, finish)
    b.ret()
    b.close()
    return name


def _updated(
    b: Builder, machine: Machine, adding: Value, factors: Sequence[Value],
    rows: Sequence[Value], old: Value,
) -> Value:  # fmt: skip
    """Return (old if adding, else zero) plus the products, as two chains."""
    lanes = old.type.lanes
    chains = [b.select(adding, old, b.zero(old.type)), b.zero(old.type)]
    for i, (factor, row) in enumerate(zip(factors, rows, strict=True)):
        chains[i % 2] = multiply_add(b, machine, b.splat(factor, lanes), row, chains[i % 2])
    return sum_of(b, *chains) if len(rows) > 1 else chains[0]


class Load:
    """Loads the vector (or scalar) at element j from a pointer."""

    def __init__(self, b: Builder, kind: LType, mask: Value | None) -> None:
        self.b, self.kind, self.mask = b, kind, mask

    def __call__(self, pointer: Value, j: Value) -> Value:
        """Emit the load."""
        return self._load(self.kind, pointer, j)

    def half(self, pointer: Value, j: Value, machine: Machine, half: DType) -> Value:
        """Emit the load of elements of 16 bits, and their conversion."""
        bits = self._load(vector(I16, self.kind.lanes), pointer, j)
        return widen(self.b, machine, bits, half)

    def _load(self, kind: LType, pointer: Value, j: Value) -> Value:
        place = self.b.offset(pointer, self.b.mul(j, kind.bits // 8))
        if self.mask is None:
            return self.b.load(kind, place)
        return self.b.masked_load(kind, place, self.mask)


class Store:
    """Stores a vector (or scalar) at element j from a pointer."""

    def __init__(self, b: Builder, mask: Value | None) -> None:
        self.b, self.mask = b, mask

    def __call__(self, pointer: Value, j: Value, value: Value) -> None:
        """Emit the store."""
        place = self.b.offset(pointer, self.b.mul(j, value.type.bits // 8))
        if self.mask is None:
            self.b.store(value, place)
        else:
            self.b.masked_store(value, place, self.mask)


def for_each_vector(
    b: Builder, machine: Machine, dtype: LType, n: Value,
    body: Callable[[Load, Store, Value], None],
) -> None:  # fmt: skip
    """Emit `body` over n elements: whole vectors, then a masked one or scalars."""
    lanes = machine.lanes(dtype.bits // 8)
    wide = vector(dtype, lanes)
    whole = b.and_(n, -lanes)
    b.loop(0, whole, lanes, [], lambda j, _: body(Load(b, wide, None), Store(b, None), j))
    if has_lane_masks(machine):

        def tail() -> None:
            mask = tail_mask(b, dtype, lanes, b.sub(n, whole))
            body(Load(b, wide, mask), Store(b, mask), whole)

        b.if_(b.icmp("slt", whole, n), tail)
    else:
        b.loop(whole, n, 1, [], lambda j, _: body(Load(b, dtype, None), Store(b, None), j))
