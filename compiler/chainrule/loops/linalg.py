"""Loops of triangular factors: blocks of rows, in each of them rows in lanes.

What a block of rows owes to the rows before it is one product of matrices.  Every element is a
fixed chain of additions, whatever the vector width and the number of matrices.
"""

from __future__ import annotations

import math

from chainrule.ir.dims import Extent, loop_variables, named
from chainrule.ir.graph import Node
from chainrule.ir.types import BOOL, I64
from chainrule.loops.matrices import BLOCK, FactorKernel, Matrix
from chainrule.loops.substitution import lower_triangular
from chainrule.loops.values import Values

__all__ = ["lower_factor"]


def lower_factor(node: Node, values: Values, *, strict: bool) -> Values:
    """Return the kernel of one factorization or triangular system; `strict`: one order of sums."""
    lead = loop_variables("i", node.type.rank - 2)
    for v in lead:
        values.open(v)
    kernel = FactorKernel(node, values, tuple(named(v) for v in lead), strict)
    match node.op.name:
        case "cholesky":
            _cholesky(kernel)
        case "lu":
            _lu(kernel)
        case _:
            lower_triangular(kernel)
    for v, extent in zip(reversed(lead), reversed(node.shape[:-2]), strict=True):
        values.close(v, extent, vector=False)
    return values


def _cholesky(kernel: FactorKernel) -> None:
    """Make the transposed factor row by row, so that lanes are neighbours; then turn it.

    A pivot that is not positive is remembered: then the whole triangle is NaN.
    """
    values, n = kernel.values, kernel.n
    a, u, out = kernel.argument(0), kernel.scratch(0, n, n), kernel.result()
    bad = kernel.accumulator(I64, "sum")
    zero, none, one = kernel.number(0.0), values.number(0, I64), values.number(1, I64)
    with kernel.blocks() as (done, rows):
        # What is to be factored, negated, so that products of finished rows add to it.
        with kernel.loop("r", rows) as r:
            kernel.each("j", n - done, lambda j: u.write(
                done + r, done + j, kernel.compute("neg", a(done + j, done + r))
            ))  # fmt: skip
        kernel.add_product(
            u.block(done, done), u.block(0, done, transposed=True), u.block(0, done),
            (rows, n - done, done),
        )  # fmt: skip
        with kernel.loop("k", rows) as k:
            row = done + k
            kernel.each("j", n - row, lambda j: u.write(row, row + j, kernel.less_products(
                kernel.compute("neg", u.read(row, row + j)), k,
                lambda p: (u.read(done + p, row), u.read(done + p, row + j)),
            )))  # fmt: skip
            pivot = u.read(row, row)
            good = kernel.compute("less", zero, pivot, dtype=BOOL)
            values.update(bad, kernel.compute("select", good, none, one, dtype=I64))
            root = kernel.compute("sqrt", pivot)
            kernel.each("j", n - row, lambda j: u.write(
                row, row + j, kernel.compute("div", u.read(row, row + j), root)
            ))  # fmt: skip
            u.write(row, row, root)
    failed = kernel.compute("less", none, bad, dtype=BOOL)
    nan = kernel.number(math.nan)
    with kernel.loop("i", n) as i:
        kernel.each("j", i + 1, lambda j: out.write(
            i, j, kernel.compute("select", failed, nan, u.read(j, i))
        ))  # fmt: skip
        kernel.each("j", n - 1 - i, lambda j: out.write(i, i + 1 + j, zero))


def _lu(kernel: FactorKernel) -> None:
    """Eliminate in the result itself, with the greatest pivot of each column.

    A block of columns is eliminated in all rows; then its rows are finished to the right of it, and
    what they take from the rest is one product.
    """
    values, n = kernel.values, kernel.n
    a, y, ops, dtype = kernel.argument(0), kernel.result(), kernel.node.graph.ops, kernel.node.dtype
    with kernel.loop("i", n) as i:
        kernel.each("j", n, lambda j: y.write(i, j, a(i, j)))
        y.write(i, n, values.compute(ops["cast"], [values.position(i)], dtype, (dtype, True)))
    with kernel.blocks() as (done, width):
        with kernel.loop("k", width) as k:
            _eliminate(kernel, y, done + k, width - 1 - k)
        if n - done - width != 0:
            _finish(kernel, y, done, width)


def _finish(kernel: FactorKernel, y: Matrix, done: Extent, width: Extent) -> None:
    """Finish rows to the right of their block, and take their products from the rows below."""
    right = done + width
    rest = kernel.n - right
    negated = kernel.scratch(0, BLOCK, kernel.n)
    with kernel.loop("i", width) as i:
        row = done + i

        def finish(j: Extent) -> None:
            value = kernel.less_products(
                y.read(row, right + j), i,
                lambda p: (y.read(row, done + p), y.read(done + p, right + j)),
            )  # fmt: skip
            y.write(row, right + j, value)
            negated.write(i, j, kernel.compute("neg", value))

        kernel.each("j", rest, finish)
    kernel.add_product(
        y.block(right, right), y.block(right, done), negated.block(0, 0), (rest, rest, width)
    )


def _eliminate(kernel: FactorKernel, y: Matrix, k: Extent, width: Extent) -> None:
    """Bring the greatest pivot into row k, and eliminate its column in `width` columns more."""
    row = _greatest(kernel, y, k)

    def swap(j: Extent) -> None:
        one, other = y.read(k, j), y.read(row, j)
        y.write(k, j, other)
        y.write(row, j, one)

    kernel.each("j", kernel.n + 1, swap)
    pivot = y.read(k, k)
    none = kernel.compute("equal", pivot, kernel.number(0.0), dtype=BOOL)
    # The rest of such a column is 0 too, and stays so: the matrix is singular.
    divisor = kernel.compute("select", none, kernel.number(1.0), pivot)
    with kernel.loop("i", kernel.n - 1 - k) as i:
        below = k + 1 + i
        factor = kernel.compute("div", y.read(below, k), divisor)
        y.write(below, k, factor)
        kernel.each("j", width, lambda j: y.write(below, k + 1 + j, kernel.compute(
            "sub", y.read(below, k + 1 + j), kernel.compute("mul", factor, y.read(k, k + 1 + j)),
        )))  # fmt: skip


def _greatest(kernel: FactorKernel, y: Matrix, k: Extent) -> Extent:
    """Return the row, from k on, of the greatest element of column k; the first of equal ones."""
    values = kernel.values
    best = kernel.accumulator(kernel.node.dtype, "last")
    at = kernel.accumulator(I64, "last")
    with kernel.loop("i", kernel.n - k) as i:
        values.vary(best)
        values.vary(at)
        size = kernel.compute("abs", y.read(k + i, k))
        larger = kernel.compute("less", best, size, dtype=BOOL)
        new = kernel.compute("select", larger, size, best)
        values.update(at, kernel.compute("select", larger, values.position(i), at, dtype=I64))
        values.update(best, new)
    # From here on it is a value of the column's loop.
    values.declare(at, I64)
    return named(kernel.compute("add", values.position(k), at, dtype=I64))
