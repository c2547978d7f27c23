"""Nodes of up to two axes as SymPy's matrix expressions; a vector is a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from chainrule.errors import UnsupportedError, explain
from chainrule.inspect.symbolic import applied, extent_symbol, sympy_number
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind

__all__ = ["matrices"]

Expr: TypeAlias = Any


def matrices(nodes: Sequence[Node], inputs: Mapping[Node, str]) -> dict[Node, Expr]:
    """Return the matrix expression of every node.

    Raises:
        UnsupportedError: An op or a shape has no matrix notation in SymPy.
    """
    import sympy

    found: dict[Node, Expr] = {}
    for node in nodes:
        if node in inputs:
            found[node] = (
                sympy.MatrixSymbol(inputs[node], *_size(node)) if node.type.rank
                else sympy.Symbol(inputs[node], real=True)
            )  # fmt: skip
        elif node.op.name == "constant":
            found[node] = sympy_number(node)
        elif node.op.name == "extent":
            found[node] = extent_symbol(node.attributes["extent"])
        else:
            found[node] = _matrix(node, [found[a] for a in node.args])
    return found


def _size(node: Node) -> tuple[Expr, Expr]:
    if node.type.rank > 2:
        raise UnsupportedError(explain("SymPy's matrices have two axes", f"at  {node.type}"))
    shape = [extent_symbol(e) for e in node.shape]
    return (shape[0], shape[1]) if len(shape) == 2 else (shape[0], 1)


def _matrix(node: Node, args: list[Expr]) -> Expr:
    builder = _BUILDERS.get(node.op.name)
    if builder is not None:
        return builder(node, args)
    if node.op.kind is Kind.POINTWISE:
        return _pointwise(node, args)
    raise UnsupportedError(
        explain(f"{node.op.name} has no matrix notation in SymPy", f"at  {node.type}",
                hint="formula(...) has a notation for every op")
    )  # fmt: skip


def _pointwise(node: Node, args: list[Expr]) -> Expr:
    """Apply a function of one argument to every element; others must be scalars."""
    import sympy

    if node.type.rank == 0:
        return applied(node, args)
    shown = [i for i, a in enumerate(node.args) if constant_value(a) is None]
    if len(shown) != 1:
        raise UnsupportedError(
            explain(f"{node.op.name} of several matrices has no notation in SymPy",
                    f"at  {node.type}")
        )  # fmt: skip
    x = sympy.Dummy("x", real=True)
    filled = [x if i in shown else _number(a) for i, a in enumerate(node.args)]
    return args[shown[0]].applyfunc(sympy.Lambda(x, applied(node, filled)))


def _number(node: Node) -> Expr:
    while node.op.name == "broadcast":
        node = node.args[0]
    return sympy_number(node)


def _added(node: Node, args: list[Expr], sign: int) -> Expr:
    import sympy

    if node.type.rank == 0:
        return args[0] + sign * args[1]
    full = [_full(n, a) for n, a in zip(node.args, args, strict=True)]
    return sympy.MatAdd(full[0], sign * full[1])


def _full(node: Node, expression: Expr) -> Expr:
    """Return a constant as a matrix of it."""
    import sympy

    if constant_value(node) is None:
        return expression
    return _number(node) * sympy.OneMatrix(*_size(node))


def _multiplied(node: Node, args: list[Expr]) -> Expr:
    import sympy

    scaled = [_scalar(n, a) for n, a in zip(node.args, args, strict=True)]
    if node.type.rank == 0 or any(s is not None for s in scaled):
        parts = [a if s is None else s for a, s in zip(args, scaled, strict=True)]
        if all(s is not None for s in scaled) and node.type.rank:
            return parts[0] * parts[1] * sympy.OneMatrix(*_size(node))
        return parts[0] * parts[1]
    return sympy.HadamardProduct(*args)


def _scalar(node: Node, expression: Expr) -> Expr | None:
    """Return what one element of a matrix of equal elements is."""
    if node.type.rank == 0:
        return expression
    while node.op.name == "broadcast":
        node = node.args[0]
        if node.type.rank == 0:
            return _number(node) if node.op.name == "constant" else _unspread(expression)
    return None


def _unspread(expression: Expr) -> Expr:
    """Take the scalar out of scalar * OneMatrix."""
    return expression.as_coeff_mmul()[0]


def _divided(node: Node, args: list[Expr]) -> Expr:
    import sympy

    below = _scalar(node.args[1], args[1])
    if below is not None:
        above = _scalar(node.args[0], args[0])
        if above is not None and node.type.rank:
            return above / below * sympy.OneMatrix(*_size(node))
        return args[0] / below
    x = sympy.Dummy("x", real=True)
    inverse = args[1].applyfunc(sympy.Lambda(x, 1 / x))
    above = _scalar(node.args[0], args[0])
    return above * inverse if above is not None else sympy.HadamardProduct(args[0], inverse)


def _contracted(node: Node, args: list[Expr]) -> Expr:
    a, b = node.args
    batch, (first, second) = node.attributes["batch"], node.attributes["summed"]
    if batch != ((), ()) or a.type.rank > 2 or b.type.rank > 2 or len(first) > 1:
        raise UnsupportedError(
            explain("this contraction has no matrix notation in SymPy", f"at  {node.type}")
        )
    left, right = args
    if not first:
        return left * right.T if a.type.rank and b.type.rank else left * right
    left = left.T if first[0] == 0 else left
    right = right.T if second[0] == 1 else right
    product = left * right
    if node.type.rank == 0:
        return product[0, 0]
    return product.T if a.type.rank == 1 else product


def _broadcast(node: Node, args: list[Expr]) -> Expr:
    import sympy

    (x,), axes = args, node.attributes["axes"]
    rows, columns = _size(node)
    if not axes:
        return x * sympy.OneMatrix(rows, columns)
    if node.type.rank == 2 and axes == (1,):
        return sympy.OneMatrix(rows, 1) * x.T
    if node.type.rank == 2 and axes == (0,):
        return x * sympy.OneMatrix(1, columns)
    return x


def _summed(node: Node, args: list[Expr]) -> Expr:
    import sympy

    (x,), axes = args, node.attributes["axes"]
    rows, columns = _size(node.args[0])
    left = sympy.OneMatrix(1, rows) * x if 0 in axes else x
    both = left * sympy.OneMatrix(columns, 1) if 1 in axes else left
    if node.type.rank == 0:
        return (both if both.shape == (1, 1) else both * sympy.OneMatrix(columns, 1))[0, 0]
    return both.T if axes == (0,) else both


def _reshaped(node: Node, args: list[Expr]) -> Expr:
    before, after = node.args[0].shape, node.shape
    if (*before, 1) == after or before == (*after, 1):
        return args[0]
    raise UnsupportedError(explain("reshape has no matrix notation in SymPy", f"at  {node.type}"))


_BUILDERS: Final[dict[str, Callable[[Node, list[Expr]], Expr]]] = {
    "add": lambda node, args: _added(node, args, 1),
    "sub": lambda node, args: _added(node, args, -1),
    "neg": lambda _node, args: -args[0],
    "mul": _multiplied,
    "div": _divided,
    "cast": lambda _node, args: args[0],
    "contract": _contracted,
    "broadcast": _broadcast,
    "sum": _summed,
    "transpose": lambda node, args: args[0].T if node.type.rank == 2 else args[0],
    "reshape": _reshaped,
    "solve": lambda node, args: (
        (args[0].T if node.attributes["transposed"] else args[0]).I * args[1]
    ),
    "det": lambda _node, args: args[0].det(),
}
