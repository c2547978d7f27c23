"""Loops of triangular factors and systems: rows in lanes, sums over what is done already.

Each element is one chain of additions in ascending order, whatever the vector width and the number
of matrices or columns.  The one exception, a system of one column in fast mode, is said below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chainrule.ir.dims import Extent, named
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I64, DType
from chainrule.loops.ir import Accumulator, Combine
from chainrule.loops.values import Place, Scratch, Values
from chainrule.schedule.access import flat_offset, follow

__all__ = ["lower_factor"]


def lower_factor(node: Node, values: Values, *, strict: bool) -> Values:
    """Return the kernel of one factorization or triangular system; `strict`: one order of sums."""
    lead = [f"i{k}" for k in range(node.type.rank - 2)]
    for v in lead:
        values.open(v)
    kernel = _Kernel(node, values, tuple(named(v) for v in lead))
    match node.op.name:
        case "cholesky":
            _cholesky(kernel)
        case "lu":
            _lu(kernel)
        case _ if node.shape[-1] == 1 and not strict:
            _one_column(kernel)
        case _:
            _columns(kernel)
    for v, extent in zip(reversed(lead), reversed(node.shape[:-2]), strict=True):
        values.close(v, extent, vector=False)
    return values


Read = Callable[[Extent, Extent], str]


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Memory that the kernel writes, and reads again: each time anew."""

    values: Values
    place: Place
    dtype: DType
    start: Extent
    width: Extent

    def read(self, i: Extent, j: Extent) -> str:
        return self.values.fetch(self.place, self.dtype, self.start + i * self.width + j)

    def write(self, i: Extent, j: Extent, value: str) -> None:
        self.values.store(self.place, self.dtype, self.start + i * self.width + j, value)


@dataclass(frozen=True, slots=True)
class _Kernel:
    """The op's node, and the matrix among many that its innermost loops are for."""

    node: Node
    values: Values
    lead: tuple[Extent, ...]

    @property
    def n(self) -> Extent:
        return self.node.args[0].shape[-1]

    def result(self) -> _Matrix:
        shape = self.node.shape
        start = flat_offset(shape, (*self.lead, 0, 0))
        return _Matrix(self.values, self.node, self.node.dtype, start, shape[-1])

    def scratch(self) -> _Matrix:
        """Return memory for one matrix, which every matrix of a batch uses in turn."""
        dtype, n = self.node.dtype, self.n
        return _Matrix(self.values, Scratch(0, dtype, n * n), dtype, 0, n)

    def argument(self, number: int) -> Read:
        """Return how to read an argument: from memory, or computed in place."""
        x = self.node.args[number]
        return lambda i, j: self.values.value(x, (*self.lead, i, j))

    def kept_argument(self, number: int) -> Read:
        """Return how to read an argument often: computed once, if it is not in memory."""
        x, read, n = self.node.args[number], self.argument(number), self.n
        index = (*self.lead, named("r"), named("c"))
        _, at = follow(x, index, self.values.in_memory)
        if not isinstance(at, tuple):
            return read
        own = self.scratch()
        self.values.open("r")
        self.each("c", n, lambda c: own.write(named("r"), c, read(named("r"), c)))
        self.values.close("r", n, vector=False)
        return own.read

    def each(self, variable: str, extent: Extent, body: Callable[[Extent], None]) -> None:
        """Run the body in lanes."""
        self.values.open(variable)
        body(named(variable))
        self.values.close(variable, extent, vector=True)

    def compute(self, name: str, *args: str, dtype: DType | None = None) -> str:
        ops = self.node.graph.ops
        return self.values.compute(ops[name], args, dtype or self.node.dtype)

    def number(self, value: float) -> str:
        return self.values.number(value, self.node.dtype)

    def accumulator(self, dtype: DType, combine: Combine) -> str:
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
        self.values.open("p")
        self.values.update(total, self.compute("mul", *terms(named("p"))))
        self.values.close("p", count, vector=vector)
        return self.compute("sub", value, total)


def _cholesky(kernel: _Kernel) -> None:
    """Make the transposed factor row by row, so that lanes are neighbours; then turn it.

    A pivot that is not positive is remembered: then the whole triangle is NaN.
    """
    values, n, k = kernel.values, kernel.n, named("k")
    a, u, out = kernel.argument(0), kernel.scratch(), kernel.result()
    zero = kernel.number(0.0)
    bad = kernel.accumulator(I64, "sum")

    values.open("k")
    kernel.each("j", n - k, lambda j: u.write(k, k + j, kernel.less_products(
        a(k + j, k), k, lambda p: (u.read(p, k), u.read(p, k + j)),
    )))  # fmt: skip
    pivot = u.read(k, k)
    good = kernel.compute("less", zero, pivot, dtype=BOOL)
    wide = values.number(1, I64), values.number(0, I64)
    values.update(bad, kernel.compute("select", good, wide[1], wide[0], dtype=I64))
    root = kernel.compute("sqrt", pivot)
    kernel.each("j", n - k, lambda j: u.write(
        k, k + j, kernel.compute("div", u.read(k, k + j), root)
    ))  # fmt: skip
    u.write(k, k, root)
    values.close("k", n, vector=False)

    failed = kernel.compute("less", values.number(0, I64), bad, dtype=BOOL)
    nan, i = kernel.number(math.nan), named("i")
    values.open("i")
    kernel.each("j", i + 1, lambda j: out.write(
        i, j, kernel.compute("select", failed, nan, u.read(j, i))
    ))  # fmt: skip
    kernel.each("j", n - 1 - i, lambda j: out.write(i, i + 1 + j, zero))
    values.close("i", n, vector=False)


def _lu(kernel: _Kernel) -> None:
    """Eliminate row by row in the result itself, with the greatest pivot of each column."""
    values, n, i = kernel.values, kernel.n, named("i")
    a, y, ops = kernel.argument(0), kernel.result(), kernel.node.graph.ops
    values.open("i")
    kernel.each("j", n, lambda j: y.write(i, j, a(i, j)))
    dtype = kernel.node.dtype
    y.write(i, n, values.compute(ops["cast"], [values.position(i)], dtype, (dtype,)))
    values.close("i", n, vector=False)

    k = named("k")
    values.open("k")
    row = _greatest(kernel, y, k)

    def swap(j: Extent) -> None:
        one, other = y.read(k, j), y.read(row, j)
        y.write(k, j, other)
        y.write(row, j, one)

    kernel.each("j", n + 1, swap)
    pivot, zero = y.read(k, k), kernel.number(0.0)
    none = kernel.compute("equal", pivot, zero, dtype=BOOL)
    # The rest of such a column is 0 too, and stays so: the matrix is singular.
    divisor = kernel.compute("select", none, kernel.number(1.0), pivot)
    values.open("i")
    below = k + 1 + i
    factor = kernel.compute("div", y.read(below, k), divisor)
    y.write(below, k, factor)
    kernel.each("j", n - 1 - k, lambda j: y.write(below, k + 1 + j, kernel.compute(
        "sub", y.read(below, k + 1 + j), kernel.compute("mul", factor, y.read(k, k + 1 + j)),
    )))  # fmt: skip
    values.close("i", n - 1 - k, vector=False)
    values.close("k", n, vector=False)


def _greatest(kernel: _Kernel, y: _Matrix, k: Extent) -> Extent:
    """Return the row, from k on, of the greatest element of column k; the first of equal ones."""
    values, i = kernel.values, named("i")
    best = kernel.accumulator(kernel.node.dtype, "last")
    at = kernel.accumulator(I64, "last")
    values.open("i")
    values.vary(best)
    values.vary(at)
    size = kernel.compute("abs", y.read(k + i, k))
    larger = kernel.compute("less", best, size, dtype=BOOL)
    new = kernel.compute("select", larger, size, best)
    values.update(at, kernel.compute("select", larger, values.position(i), at, dtype=I64))
    values.update(best, new)
    values.close("i", kernel.n - k, vector=False)
    # From here on it is a value of the column's loop.
    values.declare(at, I64)
    return named(kernel.compute("add", values.position(k), at, dtype=I64))


def _order(node: Node) -> tuple[bool, bool, bool]:
    """Return whether rows are solved from the last up, and the attributes that tell how."""
    lower, transposed, unit_diagonal = node.attrs
    return lower == transposed, transposed, unit_diagonal


def _columns(kernel: _Kernel) -> None:
    """Solve row by row, columns of the right-hand side in lanes."""
    up, transposed, unit_diagonal = _order(kernel.node)
    a, b, y = kernel.kept_argument(0), kernel.argument(1), kernel.result()
    values, n, i = kernel.values, kernel.n, named("i")
    count, first = (n - 1 - i, i + 1) if up else (i, 0)

    def element(p: Extent) -> str:
        return a(p, i) if transposed else a(i, p)

    def row(j: Extent) -> None:
        rest = kernel.less_products(
            b(i, j), count, lambda p: (element(first + p), y.read(first + p, j))
        )
        y.write(i, j, rest if unit_diagonal else kernel.compute("div", rest, a(i, i)))

    values.open("i")
    kernel.each("j", kernel.node.shape[-1], row)
    values.close("i", n, vector=False, down=up)


def _one_column(kernel: _Kernel) -> None:
    """Solve for a vector: lanes run along rows of the matrix, so the order of sums is another."""
    up, transposed, unit_diagonal = _order(kernel.node)
    a, b, y = kernel.kept_argument(0), kernel.argument(1), kernel.result()
    values, n, i = kernel.values, kernel.n, named("i")

    def solved(rest: str) -> str:
        return rest if unit_diagonal else kernel.compute("div", rest, a(i, i))

    if not transposed:
        count, first = (n - 1 - i, i + 1) if up else (i, 0)
        values.open("i")
        y.write(i, 0, solved(kernel.less_products(
            b(i, 0), count, lambda p: (a(i, first + p), y.read(first + p, 0)), vector=True,
        )))  # fmt: skip
        values.close("i", n, vector=False, down=up)
        return
    # Row i of the matrix is column i of its transpose: what is solved leaves the other equations.
    kernel.each("j", n, lambda j: y.write(j, 0, b(j, 0)))
    count, first = (i, 0) if up else (n - 1 - i, i + 1)
    values.open("i")
    one = solved(y.read(i, 0))
    y.write(i, 0, one)
    kernel.each("j", count, lambda j: y.write(first + j, 0, kernel.compute(
        "sub", y.read(first + j, 0), kernel.compute("mul", a(i, first + j), one),
    )))  # fmt: skip
    values.close("i", n, vector=False, down=up)
