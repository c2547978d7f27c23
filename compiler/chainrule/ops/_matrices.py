"""Matrices in the last two axes: products, parts, and how ops of them are typed and batched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainrule.errors import DTypeError, explain
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.types import I64, Type

__all__ = ["diagonal", "each_matrix", "each_system", "halved", "identity", "matrices_apart",
           "on_diagonal", "part", "positions", "product", "square", "system", "total",
           "turned"]  # fmt: skip


def _ends(x: Node) -> tuple[int, int]:
    return x.type.rank - 2, x.type.rank - 1


def turned(x: Node) -> Node:
    """Transpose."""
    i, j = _ends(x)
    return x.graph.call("transpose", x, axes=(*range(i), j, i))


def product(a: Node, b: Node, summed: tuple[int, int] = (1, 0)) -> Node:
    """Multiply matrices; `summed` tells which axis of each is summed over."""
    lead = tuple(range(a.type.rank - 2))
    i, j = (len(lead) + s for s in summed)
    return a.graph.call("contract", a, b, batch=(lead, lead), summed=((i,), (j,)))


def positions(x: Node) -> tuple[Node, Node]:
    """Return the row and the column of each element, as integers."""
    rows, columns = (
        x.graph.broadcast(x.graph.call("iota", length=x.shape[i], dtype=I64), x.shape, (i,))
        for i in _ends(x)
    )
    return rows, columns


def part(x: Node, *, lower: bool, diagonal: bool) -> Node:
    """Keep one triangle, with or without its diagonal; the rest is 0."""
    rows, columns = positions(x)
    first, second = (columns, rows) if lower else (rows, columns)
    return x.graph.select(first <= second if diagonal else first < second, x, 0.0)


def on_diagonal(x: Node, value: Node) -> Node:
    """Return `x` with the diagonal of another matrix."""
    rows, columns = positions(x)
    return x.graph.select(rows.equals(columns), value, x)


def identity(like: Node) -> Node:
    """Return unit matrices of the type of `like`."""
    return on_diagonal(like.graph.full_like(like, 0.0), like.graph.full_like(like, 1.0))


def diagonal(x: Node) -> Node:
    """Return the elements on the diagonal of a matrix with at least as many columns as rows."""
    graph, (*lead, rows, columns) = x.graph, x.shape
    steps = graph.call("iota", length=rows, dtype=I64)
    width = graph.broadcast(graph.call("extent", extent=columns + 1), (rows,), ())
    places = graph.broadcast(steps * width, (*lead, rows), (len(lead),))
    flat = graph.call("reshape", x, shape=(*lead, rows * columns))
    return graph.call("gather", flat, places, batch=len(lead))


def halved(x: Node) -> Node:
    """Keep the lower triangle, and half of the diagonal."""
    return on_diagonal(part(x, lower=True, diagonal=False), x * 0.5)


def total(x: Node) -> Node:
    """Add up the elements of each matrix."""
    return x.graph.call("sum", x, axes=_ends(x))


# Types and batching


def square(name: str) -> Callable[..., Type]:
    """Infer the type of a square matrix's function that is such a matrix again."""

    def infer(a: Type, *others: Type, **_attributes: Any) -> Type:
        for t in (a, *others):
            if not t.dtype.is_float:
                raise DTypeError(
                    explain(f"{name} is not defined for {t.dtype.numpy}", f"operand  {t}")
                )
        assert a.rank >= 2, f"{name}: {a} has rows and columns"
        assert a.shape[-2] == a.shape[-1], f"{name}: {a} is square"
        return a

    return infer


def system(name: str) -> Callable[..., Type]:
    """Infer the type of the solution of a system: that of its right-hand sides."""
    check = square(name)

    def infer(a: Type, b: Type, **_attributes: Any) -> Type:
        check(a, b)
        assert a.shape[:-1] == b.shape[:-1], f"{name}: {a} and {b} have as many rows"
        assert a.dtype is b.dtype, f"{name}: {a} and {b} have one dtype"
        return b

    return infer


def each_matrix(name: str) -> Callable[..., Node]:
    """Batch an op of one matrix: it takes any number of leading axes."""
    return lambda args, flags, size, **given: args[0].graph.call(name, args[0], **given)


def matrices_apart(_y: Node, *args: Node, **_attributes: Any) -> list[Mapping[int, int]]:
    """Tell that matrices are apart from one another, and so are the columns of a system."""
    lead = {i: i for i in range(args[0].type.rank - 2)}
    last = args[0].type.rank - 1
    return [lead, *(lead | {last: last} for _ in args[1:])]


def each_system(name: str) -> Callable[..., Node]:
    """Batch a system; where only right-hand sides differ, they become more columns of one."""

    def batch(args: Sequence[Node], flags: Sequence[bool], size: Extent, **given: Any) -> Node:
        a, b = args
        graph = a.graph
        if flags[0]:
            if not flags[1]:
                b = graph.broadcast(b, (size, *b.shape), tuple(range(1, b.type.rank + 1)))
            return graph.call(name, a, b, **given)
        last = b.type.rank - 1
        inner = graph.call("transpose", b, axes=(*range(1, last), 0, last))
        wide = graph.call("reshape", inner, shape=(*inner.shape[:-2], size * b.shape[-1]))
        solved = graph.call("reshape", graph.call(name, a, wide, **given), shape=inner.shape)
        return graph.call("transpose", solved, axes=(last - 1, *range(last - 1), last))

    return batch
