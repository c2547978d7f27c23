"""SymPy's matrix expressions as nodes: every matrix has two axes, a column is (n, 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import IMPLEMENTATIONS
from chainrule.frontend.operands import cast, common_dtype, node_of
from chainrule.inspect.from_functions import Value, promoted
from chainrule.ir.graph import Node
from chainrule.ir.types import F64
from chainrule.ops._matrices import identity, positions, product, turned

__all__ = ["MATRIX_BUILDERS", "array_of", "as_matrix"]

Expr: TypeAlias = Any
"A SymPy expression; SymPy has no annotations."


def as_matrix(part: Expr, node: Node) -> Node:
    """Return the node given for a matrix symbol with its two axes: one of one axis is a column.

    A row too, where the symbol is one; a number where the symbol has one element.
    """
    rows, columns = part.shape
    graph = node.graph
    match node.shape:
        case (_, _):
            return node
        case (n,) if columns == 1:
            return graph.call("reshape", node, shape=(n, 1))
        case (n,) if rows == 1:
            return graph.call("reshape", node, shape=(1, n))
        case () if rows == columns == 1:
            return graph.call("reshape", node, shape=(1, 1))
    raise ShapeError(
        explain(
            f"the matrix symbol {part} of shape {part.shape} does not fit what it stands for",
            f"given  {node.type}",
            hint="give an array of two axes; one of one axis is a column",
        )
    )


def array_of(parts: Sequence[Value], shape: tuple[int, ...], like: Array) -> Node:
    """Return elements, numbers or arrays of one shape, as an array of `shape` of these."""
    graph = like.node.graph
    nodes = [p.node for p in parts if isinstance(p, Array)]
    inner = nodes[0].shape if nodes else ()
    if any(n.shape != inner for n in nodes):
        raise ShapeError(
            explain("elements of a matrix have one shape", *(f"{n.type}" for n in nodes))
        )
    dtype = common_dtype(parts if nodes else [like, *parts])
    if not parts:
        return graph.full((*shape, *inner), 0.0, dtype)
    rows = [
        graph.call("reshape", node_of(p, graph, dtype), shape=(1, *inner))
        if isinstance(p, Array)
        else graph.broadcast(node_of(p, graph, dtype), (1, *inner), ())
        for p in parts
    ]
    whole = rows[0] if len(rows) == 1 else graph.call("concatenate", *rows, axis=0)
    return graph.call("reshape", whole, shape=(*shape, *inner))


def _scaled(x: Node, factor: Value) -> Node:
    if not isinstance(factor, Array) and factor in (1, -1):
        return x if factor == 1 else promoted("neg", Array(x)).node
    if isinstance(factor, Array) and factor.node.shape != ():
        raise ShapeError(
            explain("a factor of a matrix is one number", f"factor  {factor.node.type}",
                    f"matrix  {x.type}")
        )  # fmt: skip
    return promoted("mul", Array(x), factor).node


def _product(a: Node, b: Node) -> Node:
    left, right = _alike(a, b)
    return product(left, right)


def _alike(*matrices: Node) -> list[Node]:
    """Convert matrices to their common type."""
    dtype = common_dtype([Array(x) for x in matrices])
    return [cast(x, dtype) for x in matrices]


def _is_matrix(part: Expr) -> bool:
    return bool(getattr(part, "is_Matrix", False))


def _multiplied(part: Expr, args: Sequence[Value]) -> Node:
    """Multiply matrices from left to right, then by the numbers among the factors."""
    total: Node | None = None
    factors: list[Value] = []
    for one, value in zip(part.args, args, strict=True):
        if not _is_matrix(one):
            factors.append(value)
            continue
        x = _checked(part, value)
        if total is not None and total.shape[1] != x.shape[0]:
            raise ShapeError(
                explain(
                    f"{part}: matrices do not fit", f"first   {total.type}", f"second  {x.type}"
                )
            )
        total = x if total is None else _product(total, x)
    assert total is not None, "a product of matrices has one"
    for factor in factors:
        total = _scaled(total, factor)
    return total


def _checked(part: Expr, value: Value) -> Node:
    if isinstance(value, Array) and value.node.type.rank == 2:
        return value.node
    kind = value.node.type if isinstance(value, Array) else value
    raise ShapeError(
        explain(f"{type(part).__name__} takes matrices of numbers", f"operand  {kind}")
    )


def _elementwise(op: str) -> Callable[[Expr, Sequence[Value]], Node]:
    def build(part: Expr, args: Sequence[Value]) -> Node:
        total, *rest = (_checked(part, a) for a in args)
        for x in rest:
            if x.shape != total.shape:
                raise ShapeError(
                    explain(f"{type(part).__name__}: shapes differ", f"first   {total.type}",
                            f"second  {x.type}")
                )  # fmt: skip
            total = promoted(op, Array(total), Array(x)).node
        return total

    return build


def _square(part: Expr, value: Value) -> Node:
    x = _checked(part, value)
    if x.shape[0] != x.shape[1]:
        raise ShapeError(explain(f"{type(part).__name__} takes a square matrix", f"got  {x.type}"))
    return x


def _inverted(part: Expr, args: Sequence[Value]) -> Node:
    return _inverse(_square(part, args[0]))


def _inverse(matrix: Node) -> Node:
    x = _floating(matrix)
    return x.graph.call("solve", x, identity(x), transposed=False)


def _powered(part: Expr, args: Sequence[Value]) -> Node:
    x, exponent = _square(part, args[0]), args[1]
    if isinstance(exponent, Array) or exponent != int(exponent):
        raise UnsupportedError(
            explain("powers of matrices have whole exponents", f"exponent  {part.args[1]}")
        )
    left = abs(int(exponent))
    if left == 0:
        return identity(x)
    square = _inverse(x) if exponent < 0 else x
    result: Node | None = None
    while True:
        if left % 2:
            result = square if result is None else product(result, square)
        left //= 2
        if left == 0:
            assert result is not None, "the highest digit is 1"
            return result
        square = product(square, square)


def _hadamard_power(part: Expr, args: Sequence[Value]) -> Node:
    return _scalar_power(Array(_checked(part, args[0])), args[1]).node


def _scalar_power(base: Array, exponent: Value) -> Array:
    if isinstance(exponent, Array):
        return promoted("pow", base, exponent)
    if exponent == 2:
        return promoted("mul", base, base)
    # The inverse of a whole number is none.
    return promoted("pow", base, float(exponent) if exponent < 0 else exponent)


def _trace(part: Expr, args: Sequence[Value]) -> Node:
    x = _square(part, args[0])
    rows, columns = positions(x)
    on = x.graph.select(rows.equals(columns), x, x.graph.full_like(x, 0))
    added: Array = IMPLEMENTATIONS[np.sum](Array(on))
    return added.node


def _transposed(part: Expr, args: Sequence[Value]) -> Node:
    return turned(_checked(part, args[0]))


def _determinant(part: Expr, args: Sequence[Value]) -> Node:
    x = _floating(_square(part, args[0]))
    return x.graph.call("det", x)


def _floating(x: Node) -> Node:
    return x if x.dtype.is_float else cast(x, F64)


def _element(part: Expr, args: Sequence[Value]) -> Node:
    x, *place = args
    matrix = _checked(part, x)
    if not all(isinstance(i, float | int) and i == int(i) for i in place):
        raise UnsupportedError(explain("elements are taken at whole numbers", f"in  {part}"))
    at = [int(i) for i in place if not isinstance(i, Array)]
    for i, extent in zip(at, matrix.shape, strict=True):
        if i < 0 or not isinstance(extent, int) or i >= extent:
            raise ShapeError(explain(f"{part} is not in the matrix", f"given  {matrix.type}"))
    one = matrix.graph.call(
        "slice", matrix, starts=(at[0], at[1]), shape=(1, 1), steps=(1, 1)
    )  # fmt: skip
    return matrix.graph.call("reshape", one, shape=())


def _dot(part: Expr, args: Sequence[Value]) -> Node:
    """Return the sum of the products of two vectors' elements, rows or columns."""
    flat = [
        x.graph.call("reshape", x, shape=(x.type.size,))
        for x in _alike(*(_checked(part, a) for a in args))
    ]  # fmt: skip
    return flat[0].graph.call("contract", *flat, batch=((), ()), summed=((0,), (0,)))


MATRIX_BUILDERS: Final[Mapping[str, Callable[[Expr, Sequence[Value]], Node]]] = {
    "MatAdd": _elementwise("add"), "Add": _elementwise("add"), "MatMul": _multiplied,
    "Mul": _multiplied, "HadamardProduct": _elementwise("mul"), "HadamardPower": _hadamard_power,
    "MatPow": _powered, "Pow": _powered, "Inverse": _inverted, "Transpose": _transposed,
    "Adjoint": _transposed, "Trace": _trace, "Determinant": _determinant,
    "MatrixElement": _element, "DotProduct": _dot,
}  # fmt: skip
"What builds each of SymPy's functions that has a matrix among its arguments, by its name."
