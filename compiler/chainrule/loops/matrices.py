"""What the kernels of factors and systems share: matrices in memory, and sums over what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from chainrule.ir.dims import Extent, ceil_div, named, smaller
from chainrule.ir.graph import Node
from chainrule.ir.types import DType
from chainrule.loops.ir import Accumulator, Combine, Operand, Tile
from chainrule.loops.values import Place, Scratch, Values
from chainrule.schedule.access import flat_offset, follow, strides_of

__all__ = ["BLOCK", "FactorKernel", "Matrix", "Read"]

BLOCK: Final = 32
"Rows that are worked on together: what they owe to all rows before them is one matrix product."

Read = Callable[[Extent, Extent], str]


def _own(variable: str) -> str:
    """Return the name of a loop variable: one that no named extent has."""
    return f"i.{variable}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix in memory: where its first element is, and the strides between rows and columns.

    What the kernel writes itself is read anew each time.
    """

    values: Values
    place: Place
    dtype: DType
    start: Extent
    strides: tuple[Extent, Extent]
    written: bool = True

    def read(self, i: Extent, j: Extent) -> str:
        """Name an element."""
        load = self.values.fetch if self.written else self.values.load
        return load(self.place, self.dtype, self._at(i, j))

    def write(self, i: Extent, j: Extent, value: str) -> None:
        """Set an element."""
        self.values.store(self.place, self.dtype, self._at(i, j), value)

    def block(self, i: Extent, j: Extent, *, transposed: bool = False) -> Operand:
        """Return the part from an element on (or its transpose) as an operand of a product."""
        rows, columns = self.strides
        buffer = self.values.buffer(self.place, self.dtype)
        return Operand(buffer, self._at(i, j), (columns, rows) if transposed else (rows, columns))

    def _at(self, i: Extent, j: Extent) -> Extent:
        return self.start + i * self.strides[0] + j * self.strides[1]


@dataclass(frozen=True, slots=True)
class FactorKernel:
    """The op's node, and the matrix among many that its innermost loops are for."""

    node: Node
    values: Values
    lead: tuple[Extent, ...]
    strict: bool

    @property
    def n(self) -> Extent:
        """Rows of the matrix."""
        return self.node.args[0].shape[-1]

    # Memory

    def result(self) -> Matrix:
        """Return the result of this matrix."""
        shape = self.node.shape
        start = flat_offset(shape, (*self.lead, 0, 0))
        return Matrix(self.values, self.node, self.node.dtype, start, (shape[-1], 1))

    def scratch(self, serial: int, rows: Extent, columns: Extent) -> Matrix:
        """Return memory for one matrix, which every matrix of a batch uses in turn."""
        dtype = self.node.dtype
        return Matrix(self.values, Scratch(serial, dtype, rows * columns), dtype, 0, (columns, 1))

    def argument(self, number: int) -> Read:
        """Return how to read an argument: from memory, or computed in place."""
        x = self.node.args[number]
        return lambda i, j: self.values.value(x, (*self.lead, i, j))

    def stored_argument(self, number: int) -> Matrix:
        """Return an argument in memory; what is not there at constant strides is copied."""
        x, n = self.node.args[number], self.n
        at_row, at_column = _own("r"), _own("c")
        index = (*self.lead, named(at_row), named(at_column))
        base, at = follow(x, index, self.values.in_memory)
        found = None if isinstance(at, tuple) else strides_of(at, [at_row, at_column])
        if found is not None:
            (rows, columns), start = found
            return Matrix(self.values, base, x.dtype, start, (rows, columns), written=False)
        own, read = self.scratch(number, n, n), self.argument(number)
        with self.loop("r", n) as r:
            self.each("c", n, lambda c: own.write(r, c, read(r, c)))
        return own

    # Loops

    @contextmanager
    def loop(self, variable: str, extent: Extent, *, down: bool = False) -> Iterator[Extent]:
        """Run what follows for each value of the variable, one after the other."""
        name = _own(variable)
        self.values.open(name)
        yield named(name)
        self.values.close(name, extent, vector=False, down=down)

    @contextmanager
    def blocks(self) -> Iterator[tuple[Extent, Extent]]:
        """Run what follows for each block of rows: rows done before, and rows in the block."""
        n = self.n
        if isinstance(n, int) and n <= BLOCK:
            yield 0, n
            return
        with self.loop("t", ceil_div(n, BLOCK)) as t:
            done = t * BLOCK
            yield done, smaller(n - done, BLOCK)

    def each(self, variable: str, extent: Extent, body: Callable[[Extent], None]) -> None:
        """Run the body in lanes."""
        name = _own(variable)
        self.values.open(name)
        body(named(name))
        self.values.close(name, extent, vector=True)

    # Values

    def compute(self, name: str, *args: str, dtype: DType | None = None) -> str:
        """Name the result of a pointwise op."""
        return self.values.compute(self.node.graph.ops[name], args, dtype or self.node.dtype)

    def number(self, value: float) -> str:
        """Name a constant of the op's type."""
        return self.values.number(value, self.node.dtype)

    def accumulator(self, dtype: DType, combine: Combine) -> str:
        """Begin a running combination."""
        name = self.values.name("a")
        self.values.emit(Accumulator(name, dtype, combine))
        self.values.declare(name, dtype)
        return name

    def less_products(
        self, value: str, count: Extent, terms: Callable[[Extent], Sequence[str]], *,
        vector: bool = False,
    ) -> str:  # fmt: skip
        """Return the value less the sum of `count` products."""
        total = self.accumulator(self.node.dtype, "sum")
        name = _own("p")
        self.values.open(name)
        self.values.update(total, self.compute("mul", *terms(named(name))))
        self.values.close(name, count, vector=vector)
        return self.compute("sub", value, total)

    def add_product(
        self, out: Operand, a: Operand, b: Operand, sizes: tuple[Extent, Extent, Extent]
    ) -> None:
        """Add a matrix product to memory; `sizes`: rows, columns, terms of each sum."""
        if 0 not in sizes:
            self.values.emit(Tile(a, b, out, *sizes, accumulate=True, strict=self.strict))
