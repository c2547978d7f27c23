"""Pointwise ops that users declare by a formula.

A formula becomes nodes over numbers once, when the op is declared: the stable form of its value,
and from that, by reverse mode, its partial derivatives.  Where the op is applied, these nodes are
laid out again over the arguments, in their dtype and shape.  So an op is differentiated to any
order, batched, fused and compiled as those of the table are, and obeys the same rules at corners.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from chainrule.differentiate.reverse import pull_back
from chainrule.errors import StructureError, UnsupportedError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import first_traced
from chainrule.frontend.locate import locate
from chainrule.frontend.operands import (
    Operand,
    as_operand,
    broadcast_shape,
    broadcast_to_shape,
    common_dtype,
    graph_of,
    node_of,
    resolve,
    shape_of,
)
from chainrule.inspect import from_sympy
from chainrule.inspect.symbolic import letters
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.op import Arithmetic, Kind, Notation, Op
from chainrule.ir.types import F64, DType, Type, dtype_of
from chainrule.ir.types import Array as Plain
from chainrule.ir.walk import topological
from chainrule.ops import OPS
from chainrule.ops._declare import declare, same_type
from chainrule.optimize import stabilize
from chainrule_runtime.forks import hold_over_forks

__all__ = ["ScalarOp", "scalar_op"]

Expr: TypeAlias = Any
"A SymPy expression; SymPy has no annotations."

_DECLARED: Final[dict[str, ScalarOp]] = {}
_LOCK: Final = hold_over_forks(3, "the table of ops", threading.RLock())


class ScalarOp:
    """A pointwise function declared by a formula; call it as one of `chainrule.numpy`.

    Attributes:
        expression: The SymPy expression.
        args: The names of its arguments, in order.
        op: Its record, as those of the op table.
    """

    def __init__(self, name: str, expression: Expr, args: tuple[str, ...], latex: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = f"{name}({', '.join(args)}) = {expression}, elementwise."
        parameters = [inspect.Parameter(a, inspect.Parameter.POSITIONAL_OR_KEYWORD) for a in args]
        self.__signature__ = inspect.Signature(parameters)
        self.expression, self.args, self._latex = expression, args, latex
        self._meaning = _canonical(expression, args)
        self.op = _record(name, args, latex, _derived(expression, args), self._meaning)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the op to arrays, numbers or traced values, which broadcast."""
        operands = [as_operand(x) for x in self._bound(args, kwargs)]
        dtype = _floating(operands)
        shape: Any = broadcast_shape([shape_of(x) for x in operands], operands)
        if first_traced(operands) is None:
            arrays = [np.broadcast_to(np.asarray(x, dtype.numpy), shape) for x in operands]
            with np.errstate(all="ignore"):
                return self.op.value(*arrays)[()]
        graph = graph_of(operands)
        locate(graph)
        nodes = [broadcast_to_shape(node_of(x, graph, dtype), shape) for x in operands]
        return Array(graph.apply(self.op, tuple(nodes), ()))

    def _bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
        if not kwargs and len(args) == len(self.args):
            return args
        try:
            return self.__signature__.bind(*args, **kwargs).args
        except TypeError as error:
            raise StructureError(
                explain(f"{self.__name__}: {error}", f"arguments  {', '.join(self.args)}")
            ) from None

    def __repr__(self) -> str:
        return self.__name__

    def __reduce__(self) -> Any:
        return _declared, (self.__name__, self.expression, self.args, self._latex)

    def means_the_same(self, other: ScalarOp) -> bool:
        """Tell whether two declarations differ at most in the names of the arguments."""
        count, latex = len(self.args), self._latex
        return (count, latex, self._meaning) == (len(other.args), other._latex, other._meaning)


def scalar_op(
    name: str, definition: Expr | Callable[..., Expr], *,
    args: Sequence[Any] | None = None, latex: str | None = None,
) -> ScalarOp:  # fmt: skip
    """Declare a pointwise op by what it means; its derivatives, of any order, are derived.

    The formula is taken over the real numbers.  It is brought into a form that does not overflow
    where its value does not (`log(1 + exp(x))` is `softplus`), and differentiated by the rules of
    the op table, with their choices at corners; each row of a `Piecewise` by itself.

    Args:
        name: What formulas and programs call it: a Python name.
        definition: A SymPy expression, made of numbers, symbols, arithmetic, powers, elementary
            functions, `erf`, `Abs`, `sign`, `Max`, `Min`, `Heaviside`, `Piecewise`, rounding,
            relations; or a Python function of SymPy symbols that returns one.
        args: The symbols, or their names, in the order of the op's arguments.  By default those of
            the expression in alphabetical order, or the function's parameters.
        latex: How LaTeX writes the function, by default as an upright word.

    Returns:
        A function of arrays, numbers and traced values.  They broadcast, and promote to a floating
        dtype as NumPy's functions do; float32 stays float32.

    Raises:
        UnsupportedError: The definition holds what no op stands for.
        StructureError: The name is taken by another op, or `args` do not fit the definition.

    Declaring costs milliseconds, and SymPy's import the first time.  Declaring the same again
    returns the same function.

    >>> import numpy as np, sympy, chainrule as cr
    >>> t = sympy.Symbol("t")
    >>> ricker = cr.scalar_op("ricker", (1 - t**2) * sympy.exp(-(t**2) / 2))
    >>> ricker(np.array([0.0, 1.0])).tolist()
    [1.0, 0.0]
    >>> cr.grad(ricker)(1.0).round(6).item(), cr.grad(cr.grad(ricker))(0.0).round(6).item()
    (-1.213061, -3.0)
    """
    if not str(name).isidentifier():
        raise StructureError(explain(f"an op's name is a Python name, not {name!r}"))
    expression, names = _formula(name, definition, args)
    return _declared(name, expression, names, latex or "")


def _declared(name: str, expression: Expr, args: tuple[str, ...], latex: str) -> ScalarOp:
    made = ScalarOp(name, expression, args, latex)
    with _LOCK:
        known = _DECLARED.get(name)
        if known is not None and known.means_the_same(made):
            OPS.setdefault(name, known.op)
        if name not in OPS:
            _DECLARED[name] = made
            declare(made.op)
        elif known is None or OPS[name] is not known.op or not known.means_the_same(made):
            meant = str(known.expression) if known else OPS[name].sympy or "an op of the table"
            raise StructureError(
                explain(f"there is an op {name} already", f"known  {meant}", f"new    {expression}",
                        hint="choose another name")
            )  # fmt: skip
        return _DECLARED[name]


# The formula


def _formula(name: str, definition: Any, args: Any) -> tuple[Expr, tuple[str, ...]]:
    """Return the expression over real symbols and the names of its arguments in order."""
    import sympy

    if not isinstance(definition, sympy.Basic) and callable(definition):
        if args is None:
            args = list(inspect.signature(definition).parameters)
        definition = _called(name, definition, list(map(str, args)))
    if not isinstance(definition, sympy.Expr | int | float):
        raise UnsupportedError(
            explain(f"{name} is declared by a SymPy expression of numbers",
                    f"got  {type(definition).__name__} {definition}",
                    hint="a condition becomes numbers by sympy.Piecewise((1, condition), (0, True))"
                    if isinstance(definition, sympy.Basic)
                    else "sympy.sympify makes expressions of text")
        )  # fmt: skip
    expression = sympy.sympify(definition)
    symbols = sorted(expression.free_symbols, key=str)
    names = tuple(map(str, symbols if args is None else args))
    loose = [str(s) for s in symbols if str(s) not in names]
    twice = len(set(names)) < len(names) or len(set(map(str, symbols))) < len(symbols)
    if loose or twice or not names or not all(map(str.isidentifier, names)):
        raise StructureError(
            explain(f"{name}: arguments are symbols of different Python names, all that occur",
                    f"arguments   {', '.join(names) or 'none'}", f"expression  {expression}",
                    *([f"not given   {', '.join(loose)}"] if loose else []),
                    hint="name the arguments in order: args=(x, y)")
        )  # fmt: skip
    return expression.xreplace({s: sympy.Symbol(str(s), real=True) for s in symbols}), names


def _called(name: str, function: Callable[..., Any], names: Sequence[str]) -> Expr:
    import sympy

    symbols = [sympy.Symbol(n, real=True) for n in names]
    try:
        return function(*symbols)
    except (TypeError, AttributeError) as error:
        raise UnsupportedError(
            explain(f"{name}: the function does not work on SymPy symbols",
                    f"arguments  {', '.join(names)}", f"error      {error}",
                    hint="use SymPy's functions inside, and sympy.Piecewise for cases")
        ) from error  # fmt: skip


def _canonical(expression: Expr, args: Sequence[str]) -> Expr:
    """Return the expression in the letters of the op table."""
    import sympy

    plain = [sympy.Symbol(c) for c in letters(len(args))]
    own = [sympy.Symbol(a, real=True) for a in args]
    return expression.xreplace(dict(zip(own, plain, strict=True)))


# What follows from it


class _Derived(NamedTuple):
    """Nodes over numbers: the arguments, the value, a slope for each argument (None: zero)."""

    inputs: list[Node]
    value: Node
    slopes: list[Node | None]


def _derived(expression: Expr, args: Sequence[str]) -> _Derived:
    graph = Graph(OPS)
    inputs = [graph.input(a, Type(F64, ())) for a in args]
    (value,) = stabilize([from_sympy(expression, dict(zip(args, inputs, strict=True)))])
    found = pull_back([value], [graph.constant(1.0)], inputs)
    slopes = iter(stabilize([s for s in found if s is not None]))
    known = [None if s is None else next(slopes) for s in found]
    return _Derived(
        inputs, value, [s if s is None or constant_value(s) != 0 else None for s in known]
    )


def _record(
    name: str, args: Sequence[str], latex: str, derived: _Derived, meaning: Expr
) -> Op:  # fmt: skip
    """Return the op: what its arguments become is laid out of the derived nodes."""
    import sympy

    holes = ", ".join(f"{{{i}}}" for i in range(len(args)))
    word = name.replace("_", r"\_")
    head = (latex or rf"\operatorname{{{word}}}").replace("{", "{{").replace("}", "}}")
    inputs, value, slopes = derived
    order = topological([value])

    def slopes_of(y: Node, *given: Node) -> list[Node | float | None]:
        known = dict(zip(inputs, given, strict=True))
        if value.args:
            known[value] = y
        return [None if s is None else _slope(s, known, y) for s in slopes]

    def expanded(*given: Node) -> Node:
        return _laid_out(value, dict(zip(inputs, given, strict=True)), given[0])

    return Op(
        name, Kind.POINTWISE, (), same_type(name, "float"), partial(_evaluated, order, inputs),
        Arithmetic("expand"), slopes=slopes_of, expand=expanded,
        notation=Notation(f"{name}({holes})", rf"{head}\left({holes}\right)"),
        sympy=(sympy.srepr if meaning.atoms(sympy.Float) else sympy.sstr)(meaning),
        flops=sum(n.op.flops for n in order if n.args),
    )  # fmt: skip


def _slope(slope: Node, known: Mapping[Node, Node], like: Node) -> Node | float:
    number = constant_value(slope)
    return _laid_out(slope, known, like) if number is None else float(number)


def _laid_out(root: Node, known: Mapping[Node, Node], like: Node) -> Node:
    """Make a node over numbers one over arrays of the type of `like`."""
    graph, new = like.graph, dict(known)
    waiting, needed = [root], set[Node]()
    while waiting:
        node = waiting.pop()
        if node not in new and node not in needed:
            needed.add(node)
            waiting.extend(node.args)
    for node in sorted(needed, key=lambda n: n.id):
        number = constant_value(node)
        if number is None:
            args = tuple([new[a] for a in node.args])
            new[node] = graph.apply(node.op, args, _in_dtype(node.attrs, like.dtype))
        else:
            dtype = like.dtype if node.dtype is F64 else node.dtype
            new[node] = graph.full(like.shape, number, dtype)
    return new[root]


def _in_dtype(attributes: tuple[Any, ...], dtype: DType) -> tuple[Any, ...]:
    return tuple([dtype if a is F64 else a for a in attributes])


def _evaluated(order: Sequence[Node], inputs: Sequence[Node], *arrays: Plain) -> Plain:
    """Compute the value in NumPy, in the dtype and shape of the arguments."""
    values: dict[Node, Plain] = dict(zip(inputs, arrays, strict=True))
    dtype = arrays[0].dtype
    for node in order:
        number = constant_value(node)
        if number is not None:
            own = dtype if node.dtype is F64 else node.dtype.numpy
            values[node] = np.asarray(number, own)
        elif node not in values:
            names = zip(node.op.params, _in_dtype(node.attrs, dtype_of(dtype)), strict=True)
            values[node] = node.op.value(*[values[a] for a in node.args], **dict(names))
    return np.broadcast_to(np.asarray(values[order[-1]], dtype), arrays[0].shape).copy()


def _floating(operands: Sequence[Operand]) -> DType:
    """Return the floating dtype that NumPy's functions promote operands to."""
    dtype = common_dtype(operands)
    return dtype if dtype.is_float else resolve(np.sin, [np.zeros((), dtype.numpy)])[-1]
