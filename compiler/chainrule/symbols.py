"""Symbols: expressions built by hand, without a function.

A symbol is an array to come that is known by its name.  Expressions of symbols are traced values,
so every function of `chainrule.numpy` takes them; besides, they print as formulas.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import transform
from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import spec
from chainrule.frontend.array import Array
from chainrule.frontend.context import current_graph
from chainrule.frontend.dispatch import first_traced
from chainrule.frontend.known import known
from chainrule.frontend.operands import as_operand, broadcast_to_shape, cast, graph_of, node_of
from chainrule.frontend.pytree import tree_flatten, tree_map
from chainrule.frontend.trace import trace
from chainrule.frontend.value import Value
from chainrule.inspect import formula
from chainrule.inspect import from_sympy as node_from_sympy
from chainrule.inspect import to_sympy as node_to_sympy
from chainrule.ir.dims import Dim, Shape
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program
from chainrule.ir.types import Type, dtype_of
from chainrule.ir.walk import reached
from chainrule.ir.walk import substitute as substituted
from chainrule.numpy.nodes import checked_broadcast
from chainrule.ops import OPS
from chainrule.optimize import optimize

if TYPE_CHECKING:
    from sympy import Expr

__all__ = ["Expression", "as_function", "from_sympy", "gradient", "hessian", "is_expression",
           "jacobian", "simplify", "substitute", "symbol"]  # fmt: skip


class Expression(Array):
    """A traced value made of symbols; it prints as a formula.

    >>> x = symbol("x", ("n",))
    >>> (x * x).sum().shape
    ()
    """

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        # So that symbols can be keys: substitute(e, {x: 2.0}).
        return hash(self.node)

    def __repr__(self) -> str:
        return str(formula(self.node))

    def latex(self) -> str:
        """Return the formula in LaTeX.

        >>> symbol("x").latex()
        'x'
        """
        return formula(self.node).latex()

    def mathml(self) -> str:
        """Return the formula in presentation MathML."""
        return formula(self.node).mathml()

    def to_sympy(self) -> Expr:
        """Return the SymPy expression: of one element, or of matrices where there are products.

        Raises:
            UnsupportedError: SymPy has no notation for a part of it.

        >>> (symbol("x") ** 2 + 1).to_sympy()
        x**2 + 1
        """
        return node_to_sympy(self.node)


def symbol(
    name: str, shape: Sequence[int | str | Dim] | int = (), dtype: npt.DTypeLike = np.float64
) -> Any:
    """Return an array to come, known by its name.

    Args:
        name: What formulas call it.
        shape: Extents; a string names one that is known when the compiled function is called.
        dtype: A NumPy dtype.

    Raises:
        DTypeError: The dtype is not supported.

    >>> symbol("x", ("n", 8)).shape
    (n, 8)
    """
    described = spec(shape, dtype)
    graph = Graph(OPS, Expression)
    return Array(graph.input(name, Type(dtype_of(described.dtype), described.shape), name))


def is_expression(x: object) -> bool:
    """Tell whether it is, or holds, a traced value outside of any trace.

    >>> is_expression([symbol("x")]), is_expression(1.0)
    (True, False)
    """
    return any(isinstance(leaf, Value) for leaf in tree_flatten(x)[0])


def _variables(wrt: Sequence[Any]) -> list[Any]:
    for x in wrt:
        if not isinstance(x, Value) or x.node.op.name != "input":
            raise StructureError(
                explain(
                    "derivatives are taken with respect to symbols",
                    f"got  {x!r:.60}",
                    hint="make it with cr.symbol(name, shape)",
                )
            )
    return list(wrt)


def _of(expression: Any, wrt: Sequence[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """Return the expression as a function of some symbols, and those symbols in one graph."""
    values = [as_operand(x) for x in (*tree_flatten(expression)[0], *wrt)]
    graph = graph_of(values)
    lifted = [Array(node_of(x, graph)) for x in wrt]

    def of_symbols(*given: Any) -> Any:
        known = {x.node: g.node for x, g in zip(lifted, given, strict=True)}
        return tree_map(
            lambda e: Array(_replaced(node_of(as_operand(e), graph), known)), expression
        )

    return of_symbols, lifted


def _replaced(node: Node, known: Mapping[Node, Node]) -> Node:
    (found,) = substituted([node], node.graph, known)
    return found


def _derivative(verb: Callable[..., Any], expression: Any, wrt: Any) -> Any:
    single = not isinstance(wrt, list | tuple)
    symbols = _variables([wrt] if single else wrt)
    fn, lifted = _of(expression, symbols)
    found = verb(fn, argnums=tuple(range(len(symbols))))(*lifted)
    if single:
        return found[0]
    return list(found) if isinstance(wrt, list) else found


def gradient(expression: Any, wrt: Any) -> Any:
    """Return the derivative of a number with respect to symbols, as expressions.

    Args:
        expression: A floating-point expression without axes.
        wrt: A symbol, or a list or tuple of them.

    Returns:
        An expression of the symbol's shape; for a list a list, for a tuple a tuple.

    Raises:
        ShapeError: The expression has axes.
        StructureError: `wrt` is no symbol.

    >>> x = symbol("x")
    >>> gradient(x**2, x)
    2 x
    """
    return _derivative(transform.grad, expression, wrt)


def jacobian(expression: Any, wrt: Any) -> Any:
    """Return all derivatives of an expression: shape of the expression + shape of the symbol.

    Raises:
        StructureError: `wrt` is no symbol.

    >>> x = symbol("x", (3,))
    >>> jacobian(x * x, x).shape
    (3, 3)
    """
    single = not isinstance(wrt, list | tuple)
    symbols = _variables([wrt] if single else wrt)
    found = [_derivative(transform.jacrev, expression, x) for x in symbols]
    return found[0] if single else type(wrt)(found)


def hessian(expression: Any, wrt: Any) -> Any:
    """Return the second derivatives with respect to a symbol: twice its shape after one another.

    Raises:
        StructureError: `wrt` is no symbol.

    >>> x = symbol("x", (3,))
    >>> hessian((x**3).sum(), x).shape
    (3, 3)
    """
    (variable,) = _variables([wrt])
    fn, lifted = _of(expression, [variable])
    return transform.hessian(fn)(*lifted)


def substitute(expression: Any, values: Mapping[Any, Any]) -> Any:
    """Replace symbols by numbers, arrays or expressions.

    Args:
        expression: A pytree of expressions.
        values: From symbols, or their names, to values, which broadcast to the symbol's shape.

    Raises:
        StructureError: A name is not in the expression.
        ShapeError: A value does not broadcast to the symbol's shape.

    >>> x, y = symbol("x"), symbol("y")
    >>> substitute(x + y, {x: y})
    2 y
    """
    pairs = list(values.items())
    leaves, tree = tree_flatten(expression)
    operands = [as_operand(x) for x in leaves]
    graph = graph_of([*operands, *(as_operand(v) for _, v in pairs)])
    nodes = [node_of(x, graph) for x in operands]
    inputs = {str(n.attributes["name"]): n for n in reached(nodes) if n.op.name == "input"}
    known: dict[Node, Node] = {}
    for key, value in pairs:
        if isinstance(key, str) and key not in inputs:
            raise StructureError(
                explain(f"there is no symbol {key}", f"symbols  {', '.join(sorted(inputs))}")
            )
        variable = inputs[key] if isinstance(key, str) else node_of(as_operand(key), graph)
        given = cast(node_of(as_operand(value), graph), variable.dtype)
        known[variable] = broadcast_to_shape(given, checked_broadcast(given, variable.shape))
    return tree.unflatten([Array(n) for n in substituted(nodes, graph, known)])


def simplify(expression: Any) -> Any:
    """Return an equal expression that computes less: the same real numbers.

    >>> x = symbol("x")
    >>> simplify(x * 1 + 0)
    x
    """
    leaves, tree = tree_flatten(expression)
    operands = [as_operand(x) for x in leaves]
    graph = graph_of(operands)
    nodes = tuple([node_of(x, graph) for x in operands])
    inputs = tuple(sorted((n for n in reached(nodes) if n.op.name == "input"), key=lambda n: n.id))
    paths = tuple(str(n.attributes["name"]) for n in inputs)
    outputs = tuple(map(str, range(len(nodes))))
    simple = optimize(Program("simplify", inputs, nodes, paths, outputs))
    return tree.unflatten([Array(n) for n in simple.outputs])


def from_sympy(expression: Expr, symbols: Mapping[Any, Any]) -> Any:
    """Return a SymPy expression as an expression of symbols.

    Types are NumPy's for the same Python expression: `u/2` of integers is floating-point.

    Args:
        expression: A SymPy expression.
        symbols: What each SymPy symbol, or each name, stands for: symbols, traced values, arrays
            and numbers, which broadcast.  If all are plain arrays and numbers, or there are none,
            the expression is computed.

    Raises:
        UnsupportedError: It holds a function that no op stands for.
        DTypeError: NumPy refuses, as 300 times an array of uint8.

    >>> import sympy
    >>> u, x = sympy.Symbol("x"), symbol("x")
    >>> from_sympy(u**2 + 1, {"x": x}).to_sympy()
    x**2 + 1
    >>> from_sympy(u / 2, {u: np.array([1, 2, 4])})
    array([0.5, 1. , 2. ])
    """
    operands = {name: as_operand(x) for name, x in symbols.items()}
    if first_traced(operands.values()) is None:
        return _computed(expression, operands)
    graph = graph_of(list(operands.values()))
    values = {
        name: Array(node_of(x, graph), not isinstance(x, np.ndarray) and getattr(x, "weak", True))
        for name, x in operands.items()
    }
    return Array(node_from_sympy(expression, values))


def _computed(expression: Expr, operands: Mapping[Any, Any]) -> Any:
    """Return the value of an expression of plain arrays and numbers."""
    # An expression without symbols still needs a graph to be in.
    names, values = list(operands) or [""], list(operands.values()) or [0]
    made = trace(lambda *given: from_sympy(expression, dict(zip(names, given, strict=True))),
                 *values)  # fmt: skip
    return known(made.run(*values)[()])


def as_function(inputs: Sequence[Any], outputs: Any) -> tuple[Callable[..., Any], dict[str, Shape]]:
    """Return outputs as a function of arrays in the order of the inputs, and its named dims.

    Args:
        inputs: Symbols.
        outputs: A pytree of expressions.

    Raises:
        StructureError: An output depends on another symbol, or two inputs have one name.

    >>> x = symbol("x", ("n",))
    >>> fn, dims = as_function([x], {"square": x * x})
    >>> from chainrule.frontend.trace import trace
    >>> trace(fn, np.ones(2), dims=dims).run(np.array([2.0, 3.0]))
    {'square': array([4., 9.])}
    """
    symbols = _variables(inputs)
    leaves, tree = tree_flatten(outputs)
    operands = [as_operand(x) for x in (*leaves, *symbols)]
    if not operands:
        raise StructureError(explain("function: there is neither a symbol nor an expression"))
    source = graph_of(operands)
    nodes = [node_of(x, source) for x in operands[: len(leaves)]]
    variables = [node_of(x, source) for x in operands[len(leaves) :]]
    names = [str(n.attributes["name"]) for n in variables]
    if len(set(names)) < len(names) or not all(map(str.isidentifier, names)):
        raise StructureError(
            explain(
                "names of inputs must differ and be Python names",
                f"inputs  {', '.join(names)}",
                hint="give every symbol a name of its own",
            )
        )
    loose = [n for n in reached(nodes) if n.op.name == "input" and n not in variables]
    if loose:
        raise StructureError(
            explain(
                "an output depends on symbols that are no inputs",
                f"symbols  {', '.join(sorted(str(n.attributes['name']) for n in loose))}",
                f"inputs  {', '.join(names)}",
            )
        )

    def function(*values: Any) -> Any:
        graph = current_graph() or graph_of([as_operand(v) for v in values])
        known = {
            variable: cast(node_of(as_operand(value), graph), variable.dtype)
            for variable, value in zip(variables, values, strict=True)
        }
        return tree.unflatten([Array(n) for n in substituted(nodes, graph, known)])

    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function, {n: v.shape for n, v in zip(names, variables, strict=True)}
