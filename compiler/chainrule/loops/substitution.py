"""Loops of triangular systems: rows solved one after the other, from the first or the last."""

from __future__ import annotations

from chainrule.ir.dims import Extent
from chainrule.loops.matrices import FactorKernel

__all__ = ["lower_triangular"]


def lower_triangular(kernel: FactorKernel) -> None:
    """Emit the loops of `triangular_solve` for one matrix."""
    lower, transposed, _ = kernel.node.attrs
    if kernel.node.shape[-1] != 1 or kernel.strict:
        _columns(kernel, up=lower == transposed)
    elif transposed:
        _one_column_transposed(kernel, up=lower)
    else:
        _one_column(kernel, up=not lower)


def _columns(kernel: FactorKernel, *, up: bool) -> None:
    """Solve block by block, columns of the right-hand side in lanes."""
    _, transposed, unit_diagonal = kernel.node.attrs
    n, m = kernel.n, kernel.node.shape[-1]
    a, b, y = kernel.stored_argument(0), kernel.argument(1), kernel.result()
    with kernel.blocks() as (done, rows):
        first = n - done - rows if up else done
        solved = n - done if up else 0
        # The right-hand sides, negated, so that products with finished rows add to them.
        with kernel.loop("r", rows) as r:
            kernel.each("j", m, lambda j: y.write(
                first + r, j, kernel.compute("neg", b(first + r, j))
            ))  # fmt: skip
        part = a.block(solved, first, transposed=True) if transposed else a.block(first, solved)
        kernel.add_product(y.block(first, 0), part, y.block(solved, 0), (rows, m, done))
        with kernel.loop("i", rows, down=up) as i:
            row = first + i
            count, before = (rows - 1 - i, row + 1) if up else (i, first)

            def element(p: Extent) -> str:
                return a.read(p, row) if transposed else a.read(row, p)

            def solve(j: Extent) -> None:
                rest = kernel.less_products(
                    kernel.compute("neg", y.read(row, j)), count,
                    lambda p: (element(before + p), y.read(before + p, j)),
                )  # fmt: skip
                whole = rest if unit_diagonal else kernel.compute("div", rest, element(row))
                y.write(row, j, whole)

            kernel.each("j", m, solve)


def _one_column(kernel: FactorKernel, *, up: bool) -> None:
    """Solve for one vector: lanes run along a row of the matrix, and their sums are combined."""
    _, _, unit_diagonal = kernel.node.attrs
    a, b, y, n = kernel.stored_argument(0), kernel.argument(1), kernel.result(), kernel.n
    with kernel.loop("i", n, down=up) as i:
        count, before = (n - 1 - i, i + 1) if up else (i, 0)
        rest = kernel.less_products(
            b(i, 0), count, lambda p: (a.read(i, before + p), y.read(before + p, 0)), vector=True
        )
        y.write(i, 0, rest if unit_diagonal else kernel.compute("div", rest, a.read(i, i)))


def _one_column_transposed(kernel: FactorKernel, *, up: bool) -> None:
    """Solve for one vector: row i of the matrix, a column of its transpose, leaves the others."""
    _, _, unit_diagonal = kernel.node.attrs
    a, b, y, n = kernel.stored_argument(0), kernel.argument(1), kernel.result(), kernel.n
    kernel.each("j", n, lambda j: y.write(j, 0, b(j, 0)))
    with kernel.loop("i", n, down=up) as i:
        count, first = (i, 0) if up else (n - 1 - i, i + 1)
        one = y.read(i, 0)
        one = one if unit_diagonal else kernel.compute("div", one, a.read(i, i))
        y.write(i, 0, one)
        kernel.each("j", count, lambda j: y.write(first + j, 0, kernel.compute(
            "sub", y.read(first + j, 0), kernel.compute("mul", a.read(i, first + j), one),
        )))  # fmt: skip
