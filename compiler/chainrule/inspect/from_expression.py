"""From SymPy to nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from chainrule.errors import ShapeError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.operands import common_dtype, node_of
from chainrule.inspect.from_functions import Value, piecewise, scalar_builders
from chainrule.inspect.from_matrices import MATRIX_BUILDERS, array_of, as_matrix
from chainrule.ir.dims import Extent, show_extent
from chainrule.ir.graph import Node
from chainrule.ops._matrices import identity

__all__ = ["from_sympy"]

Expr: TypeAlias = Any
"A SymPy expression; SymPy has no annotations."

SHOWN: Final = 60
"Parts of an expression up to which a message writes it out."
CONSTANT_MATRICES: Final = ("Identity", "ZeroMatrix", "OneMatrix")


def from_sympy(expression: Expr, symbols: Mapping[Any, Node | Array]) -> Node:
    """Build a node from a SymPy expression.

    Types are NumPy's for the same Python expression, of ints for whole numbers and floats for all
    others; matrix products become contractions.  Every subexpression is built once, however often
    it occurs.

    Args:
        expression: Made of numbers, the given symbols, arithmetic, elementary functions, Piecewise
            (NaN where no condition holds), Max, Min, Heaviside, relations; of matrix symbols also
            products, sums, transposes, inverses, whole powers, traces, determinants, elements and
            functions applied to each element.  A matrix or array of expressions becomes an array.
        symbols: The node, or traced value, that each symbol, or each symbol's name, stands for; of
            shapes that broadcast.  Symbols differ as they do in SymPy, by name and assumptions, a
            Dummy from all others.  A matrix symbol stands for an array of its shape, or, if it is a
            column or a row, for one of one axis; then unit axes of the result are dropped.

    Raises:
        UnsupportedError: The expression holds a function that no op stands for, or a symbol that is
            not given, or two that have the name of one that is given.
        ShapeError: A matrix symbol does not have the shape of what it stands for.
        DTypeError: NumPy refuses, as 300 times an array of uint8.

    >>> import sympy
    >>> from chainrule.inspect.symbolic import to_sympy
    >>> from chainrule.ir.graph import Graph
    >>> from chainrule.ir.types import F64, Type
    >>> from chainrule.ops import OPS
    >>> x = Graph(OPS).input("x", Type(F64, (3,)))
    >>> to_sympy(from_sympy(sympy.sympify("x**2 * exp(-x)"), {"x": x}))
    x**2*exp(-x)
    """
    import sympy

    assert symbols, "the graph is that of the symbols"
    table = _Table({s: x if isinstance(x, Array) else Array(x) for s, x in symbols.items()})
    try:
        expression = sympy.sympify(expression, strict=True)
    except sympy.SympifyError:
        raise UnsupportedError(
            explain(f"{type(expression).__name__} is no SymPy expression",
                    hint="sympy.sympify makes expressions of text, sympy.Array of lists")
        ) from None  # fmt: skip
    if isinstance(expression, sympy.MatrixBase | sympy.NDimArray):
        # Those that may be changed are no expressions yet.
        expression = expression.as_immutable()
    result = _Conversion(table).run(expression)
    if not isinstance(result, Array):
        return _filled(result, table.like)
    node = result.node
    if table.flat and _is_matrix(expression):
        shape = tuple(e for e in node.shape if e != 1)
        return node.graph.call("reshape", node, shape=shape)
    return node


def _filled(number: float, like: Array) -> Node:
    """Return a number in the shape of an array, in the type of both."""
    graph = like.node.graph
    one = node_of(number, graph, common_dtype([like, number]))
    return graph.broadcast(one, like.node.shape, ())


class _Table:
    """What symbols stand for, and the extents of matrices that SymPy knows by symbols."""

    def __init__(self, symbols: Mapping[Any, Array]) -> None:
        import sympy

        self.like: Final = next(iter(symbols.values()))
        self.flat = False
        "whether a matrix is given as an array of fewer than two axes"
        self._nodes: Final = {s: n for s, n in symbols.items() if isinstance(s, sympy.Basic)}
        self._named: Final = {str(s): n for s, n in symbols.items() if s not in self._nodes}
        self._owners: Final[dict[str, Expr]] = {}
        self._extents: Final[dict[Expr, Extent]] = {}

    def with_variable(self, variable: Expr, node: Array) -> _Table:
        """Return the table with one more symbol."""
        return _Table({**self._named, **self._nodes, variable: node})

    def find(self, part: Expr) -> Array | None:
        """Return what stands for a part of an expression, None for what is no symbol.

        Raises:
            UnsupportedError: It is a symbol that is not given.
            ShapeError: It is a matrix symbol of another shape.
        """
        import sympy

        node: Array | None = self._nodes.get(part)
        if node is None and isinstance(part, sympy.Symbol | sympy.MatrixSymbol):
            node = self._by_name(part)
        if isinstance(part, sympy.MatrixSymbol) and node is not None:
            return Array(self._matrix(part, node.node))
        if isinstance(part, sympy.Symbol) and not part.is_commutative:
            raise UnsupportedError(
                explain(f"the symbol {part} does not commute", hint="use sympy.MatrixSymbol")
            )
        return node

    def _by_name(self, part: Expr) -> Array:
        name = str(part) if str(part) in self._named else str(part.name)
        facts = [f"{s}  {n.node.type}" for s, n in (self._named | self._nodes).items()]
        if name not in self._named:
            alike = any(name == getattr(s, "name", "") for s in self._nodes)
            hint = (
                "a symbol of that name is given, and it is another one: symbols differ in their "
                "assumptions, and every Dummy from all others"
            )
            raise UnsupportedError(
                explain(f"the symbol {part} is not given", *facts, hint=hint if alike else "")
            )
        owner = self._owners.setdefault(name, part)
        if owner != part:
            raise UnsupportedError(
                explain(f"two symbols are called {name}", *facts,
                        hint="give the symbols themselves in place of their names")
            )  # fmt: skip
        return self._named[name]

    def _matrix(self, part: Expr, node: Node) -> Node:
        matrix = as_matrix(part, node)
        for wanted, extent in zip(part.shape, matrix.shape, strict=True):
            if wanted.is_Symbol:
                known = self._extents.setdefault(wanted, extent)
            elif wanted.is_Integer:
                known = int(wanted)
            else:
                known = extent
            if known != extent:
                size = f"{wanted} = {show_extent(known)}" if wanted.is_Symbol else f"{wanted}"
                raise ShapeError(
                    explain(
                        f"the matrix symbol {part} of shape {part.shape} does not fit what it "
                        "stands for",
                        f"given   {node.type}",
                        f"extent  {show_extent(extent)} where it has {size}",
                    )
                )  # fmt: skip
        self.flat |= node.type.rank < 2
        return matrix

    def extent(self, size: Expr) -> Extent:
        """Return the extent that SymPy calls `size`."""
        if size.is_Integer:
            return int(size)
        if size not in self._extents:
            raise UnsupportedError(explain(f"the extent {size} is that of no matrix that is given"))
        return self._extents[size]


def _is_matrix(part: Expr) -> bool:
    return bool(getattr(part, "is_Matrix", False))


class _Conversion:
    """One walk over the objects an expression is made of, each of which is built once.

    Objects are told apart by identity: comparing expressions, and asking whether they are numbers,
    walks them again, which for shared parts takes time exponential in the depth.
    """

    def __init__(self, table: _Table) -> None:
        self.table: Final = table
        self._children: Final[dict[int, tuple[Expr, Sequence[Expr]]]] = {}
        self._done: Final[dict[int, Value | None]] = {}
        "values; None: a number that is still an expression"

    def run(self, root: Expr) -> Value:
        """Return the value of an expression."""
        order: list[Expr] = []
        stack: list[tuple[Expr, bool]] = [(root, False)]
        while stack:
            part, ready = stack.pop()
            if ready:
                order.append(part)
            elif id(part) not in self._children:
                children = self._opened(part)
                self._children[id(part)] = part, children
                stack.append((part, True))
                stack.extend((child, False) for child in children)
        for part in order:
            if id(part) not in self._done:
                self._done[id(part)] = self._built(part)
        return self._value(root)

    def _opened(self, part: Expr) -> Sequence[Expr]:
        """Return the parts that have to be built before; what has none is a leaf."""
        import sympy

        node = self.table.find(part)
        if node is not None:
            self._done[id(part)] = node
            return ()
        name = type(part).__name__
        if isinstance(part, sympy.Piecewise):
            return [one for row in part.args for one in row.args]
        if isinstance(part, sympy.MatrixBase | sympy.NDimArray):
            return list(sympy.flatten(part.tolist()))
        if name == "ElementwiseApplyFunction":
            return (part.expr,)
        if name in CONSTANT_MATRICES or part in (sympy.true, sympy.false):
            return ()
        if name in scalar_builders() or name in MATRIX_BUILDERS:
            return list(part.args)
        if part.free_symbols or _is_matrix(part):
            raise UnsupportedError(
                explain(f"no op stands for {name}", *_where(part),
                        hint="rewrite it with functions that chainrule.special has")
            )  # fmt: skip
        return ()

    def _value(self, part: Expr) -> Value:
        value = self._done[id(part)]
        if value is None:
            value = self._done[id(part)] = _number(part)
        return value

    def _built(self, part: Expr) -> Value | None:
        """Build one expression from its parts; None for a number, evaluated where it is used."""
        import sympy

        children = self._children[id(part)][1]
        name = type(part).__name__
        if part in (sympy.true, sympy.false):
            return bool(part)
        if name in CONSTANT_MATRICES:
            return self._constant_matrix(part)
        if isinstance(part, sympy.MatrixBase | sympy.NDimArray):
            shape = tuple(int(n) for n in part.shape)
            return Array(array_of([self._value(c) for c in children], shape, self.table.like))
        matrices = any(map(_is_matrix, children))
        if not matrices and all(self._done[id(c)] is None for c in children):
            return None
        args = [self._value(c) for c in children]
        if isinstance(part, sympy.Piecewise):
            return piecewise(list(zip(args[::2], args[1::2], strict=True)))
        if name == "ElementwiseApplyFunction":
            return self._applied(part, args[0])
        if matrices:
            builder = MATRIX_BUILDERS.get(name)
            if builder is None:
                raise UnsupportedError(
                    explain(f"no op stands for {name} of a matrix", *_where(part),
                            hint="A.applyfunc(f) applies a function to each element")
                )  # fmt: skip
            return Array(builder(part, args))
        return scalar_builders()[name](args)

    def _constant_matrix(self, part: Expr) -> Value:
        rows, columns = (self.table.extent(size) for size in part.shape)
        like = self.table.like.node
        filled = like.graph.full((rows, columns), type(part).__name__ == "OneMatrix", like.dtype)
        return Array(identity(filled) if type(part).__name__ == "Identity" else filled)

    def _applied(self, part: Expr, matrix: Value) -> Value:
        assert isinstance(matrix, Array), "a matrix is no number"
        (variable,), body = part.function.variables, part.function.expr
        result = _Conversion(self.table.with_variable(variable, matrix)).run(body)
        return result if isinstance(result, Array) else Array(_filled(result, matrix))


def _number(part: Expr) -> float:
    """Return a number without symbols, as sqrt(2) or exp(3), to the last bit; an int if whole."""
    try:
        if part.is_Integer:
            return int(part)
        return float(part if part.is_Rational else part.evalf(25))
    except (TypeError, AttributeError):
        shown = _shown(part) or "the expression"
        raise UnsupportedError(explain(f"{shown} is no real number")) from None


def _where(part: Expr) -> list[str]:
    """Return the fact that shows an expression, unless writing it out takes long."""
    shown = _shown(part)
    return [f"in  {shown}"] if shown else []


def _shown(part: Expr) -> str:
    """Return the text of an expression, none where it would be long."""
    waiting, seen = [part], 0
    while waiting and seen <= SHOWN:
        waiting.extend(waiting.pop().args)
        seen += 1
    return str(part) if seen <= SHOWN else ""
