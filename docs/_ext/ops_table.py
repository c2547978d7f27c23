"""The list of ops, made from the op table: `{ops}` and the name of a section in `SECTIONS`.

Everything shown is what the compiler uses: the meaning is the NumPy function that compiled code is
compared with, derivatives are what reverse mode builds, printed by the formula printer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from chainrule.differentiate.reverse import pull_back
from chainrule.errors import ChainruleError
from chainrule.inspect import Formula, formula
from chainrule.ir.dims import Extent, named
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Arithmetic, Kind, Op, VectorMath
from chainrule.ir.types import BOOL, DTYPES, F64, I64, Type
from chainrule.ops import OPS

SECTIONS: Final[dict[str, tuple[Kind, ...]]] = {
    "pointwise": (Kind.POINTWISE,),
    "reductions": (Kind.REDUCE, Kind.COMPOSITE, Kind.CUMULATE),
    "contraction": (Kind.CONTRACT,),
    "matrices": (Kind.FACTOR,),
    "structure": (Kind.VIEW, Kind.WRITE, Kind.GATHER, Kind.SCATTER, Kind.UPDATE),
    "sources": (Kind.SOURCE,),
    "control": (Kind.CONTROL, Kind.ITEM),
}

MATRICES: Final = frozenset({"solve", "det", "logabsdet"})
"Composites that stand with the factors they are made of."

MEANINGS: Final = {
    "tanh_slope": "the derivative of tanh, 1 - tanh(x)², also where that rounds to 0",
    "tan_slope": "the derivative of tan, 1/cos(x)²",
    "sigmoid_slope": "the derivative of the logistic function",
    "erf_slope": "the derivative of erf, 2/√π exp(-x²), the square taken in two parts",
    "ndtr_slope": "the density of the standard normal distribution",
    "gelu_slope": "the derivative of gelu, with all its digits in the tail and at its zero",
    "silu_slope": "the derivative of silu, with all its digits in the tail and at its zero",
    "log_ndtr_slope": "the normal density over the normal distribution function",
    "cbrt_slope": "the derivative of the cube root, infinite at 0",
    "log2": "the logarithm to base 2, exact at powers of 2",
    "log10": "the logarithm to base 10, exact at powers of 10",
    "cbrt": "the real cube root",
    "logit": "log(x/(1 - x)), the inverse of sigmoid",
    "ndtr": "the distribution function of the standard normal distribution",
    "log_ndtr": "the logarithm of ndtr",
    "gelu": "x ndtr(x)",
    "gelu_tanh": "x times the weight that gelu by tanh gives it",
    "gelu_tanh_weight": "the logistic function of 2 √(2/π) (x + 0.044715 x³)",
    "silu": "x sigmoid(x)",
    "pivoted": "triangular factors, pivots and the order of rows and columns, pivots sought in all "
    "of the rest, side by side in one array",
    "sin_pi": "the sine of πx",
    "cos_pi": "the cosine of πx",
    "sinc_value": "sin(πx)/(πx), 1 at 0",
    "pow": "x to the power y; a negative power of an integer is 0 unless the base is 1 or -1",
    "sinc": "the derivative of the given order of sin(πx)/(πx); order 0 is the function itself",
    "stop_gradient": "x itself, taken as a constant by every derivative",
    "select": "x where the first argument is true, y elsewhere",
    "cast": "conversion to another dtype, as `numpy.astype`",
    "contract": "sums of products over shared axes: every matrix product, `einsum`, `tensordot`",
    "cumsum": "running sum along an axis, from either end",
    "recurrence": "y[t] = a[t] y[t-1] + b[t] along an axis, from either end",
    "cholesky": "the lower triangular L with L Lᵀ = x; NaN where x is not positive definite",
    "lu": "elimination with row exchanges: both factors in one matrix, and the order of the rows",
    "triangular_solve": "solution of a triangular system, of one triangle of the first argument",
    "solve": "`numpy.linalg.solve`, with infinities and NaN where a matrix is singular",
    "det": "`numpy.linalg.det`", "logabsdet": "logarithm of the size of the determinant",
    "gather": "rows of the first argument, picked by integers",
    "scatter_add": "zeros to which rows are added at places given by integers",
    "update": "the first argument with a part set to the second, or the second added there",
    "sum": "sum over axes", "prod": "product over axes", "max": "greatest over axes",
    "min": "least over axes", "argmax": "index of the first greatest along an axis",
    "argmin": "index of the first least along an axis",
    "input": "an argument of the program", "constant": "a number",
    "data": "an array that the program carries", "iota": "0, 1, 2, ... along one axis",
    "extent": "an extent as a number, known when the function is called",
    "broadcast": "copies along new axes", "reshape": "the same elements in another shape",
    "transpose": "axes in another order",
    "slice": "every step-th element from a start, along each axis",
    "place": "zeros, with the argument laid where `slice` would have read it",
    "overlay": "zeros, with each argument laid where its start and step say",
    "concatenate": "arguments one after another along an axis",
    "equal": "x equal to y", "not_equal": "x not equal to y",
    "bit_and": "bitwise and; logical for truth values",
    "bit_or": "bitwise or; logical for truth values",
    "bit_xor": "bitwise exclusive or", "bit_not": "bitwise not; logical for truth values",
    "loop": "a body run for each of a number of steps, or as long as a test holds",
    "switch": "one of several bodies, chosen by an integer",
    "call": "a body by itself: a checkpoint, or a function with a derivative of its own",
    "callback": "a function outside of the compiled code, given and returning arrays",
    "item": "one of the values that a loop, a switch or a call results in",
}  # fmt: skip
"What the meaning's own name does not say."

SAMPLES: Final[dict[str, tuple[tuple[tuple[Any, ...], ...], dict[str, Any]]]] = {
    "contract": ((("m", "k"), ("k", "n")), {"batch": ((), ()), "summed": ((1,), (0,))}),
    "cumsum": ((("n",),), {"axis": 0, "reverse": False}),
    "sum": ((("n",),), {"axes": (0,)}),
    "prod": ((("n",),), {"axes": (0,)}),
    "max": ((("n",),), {"axes": (0,)}),
    "min": ((("n",),), {"axes": (0,)}),
    "logsumexp": ((("n",),), {"axes": (0,)}),
    "softmax": ((("n",),), {"axes": (0,)}),
    "log_softmax": ((("n",),), {"axes": (0,)}),
    "norm": ((("n",),), {"axes": (0,)}),
    "argmax": ((("n",),), {"axis": 0}),
    "argmin": ((("n",),), {"axis": 0}),
    "recurrence": ((("n",), ("n",)), {"axis": 0, "reverse": False}),
    "transpose": ((("m", "n"),), {"axes": (1, 0)}),
    "sinc": (((),), {"order": 0}),
    "select": ((None, (), ()), {}),
    "cast": (((),), {"dtype": F64}),
    "cholesky": ((("n", "n"),), {}),
    "lu": ((("n", "n"),), {}),
    "triangular_solve": (
        (("n", "n"), ("n", "k")),
        {"lower": True, "transposed": False, "unit_diagonal": False},
    ),
    "solve": ((("n", "n"), ("n", "k")), {"transposed": False}),
    "det": ((("n", "n"),), {}),
    "logabsdet": ((("n", "n"),), {}),
}
"Shapes and attributes of what is not pointwise, for the derivative; None stands for a truth value."


def arguments(op: Op) -> tuple[list[Node], Node] | None:
    """Return placeholders for an op's arguments, and the op applied to them."""
    given = SAMPLES.get(op.name)
    if given is None and op.kind is not Kind.POINTWISE:
        return None
    shapes, attributes = given or (((),) * arity(op), {})
    for dtype in (F64, I64):  # bits and shifts are for integers
        graph, letters = Graph(OPS), iter("AB" if op.kind is Kind.CONTRACT else "xyz")
        inputs = [
            graph.input("c", Type(BOOL, ())) if s is None
            else graph.input(next(letters), Type(dtype, extents(s)))
            for s in shapes
        ]  # fmt: skip
        try:
            return inputs, graph.call(op.name, *inputs, **attributes)
        except ChainruleError:
            continue
    raise AssertionError(f"op {op.name!r} takes neither floats nor integers")


def extents(shape: tuple[Any, ...]) -> tuple[Extent, ...]:
    """Return a shape in which strings are named extents."""
    return tuple(named(e) if isinstance(e, str) else e for e in shape)


def arity(op: Op) -> int:
    """Return how many arguments a pointwise op takes: as many as its NumPy meaning."""
    if isinstance(op.value, np.ufunc):
        return op.value.nin
    code = getattr(op.value, "__code__", None)
    return code.co_argcount if code is not None else 3  # numpy.clip and numpy.where


def derivatives(op: Op) -> str:
    """Return the pulled-back cotangents (for pointwise ops: the slopes) as MathML."""
    if op.kind is Kind.POINTWISE and op.slopes is None and op.pull is None:
        return "0"
    made = arguments(op)
    if made is None or (op.pull is None and op.slopes is None):
        return ""
    inputs, y = made
    graph = y.graph
    plain = op.slopes is not None
    seed = (
        graph.full_like(y, 1.0) if plain else graph.input("G" if y.type.rank > 1 else "g", y.type)
    )
    floats = [n for n in inputs if n.dtype.is_float]
    found = pull_back([y], [seed], floats)
    shown = ["0" if d is None else inline(formula(d)) for d in found]
    if op.commutative and len(shown) == 2 and plain:
        return f"{shown[0]}, and so for *y*"
    return "<br>".join(shown)


def inline(shown: Formula) -> str:
    """Return a formula as MathML that stands in a line."""
    return shown.mathml().replace(' display="block"', "")


def dtypes(op: Op) -> str:
    """Return the dtypes an op accepts, tried one by one."""
    made = arguments(op)
    if made is None or op.name in ("select", "cast"):
        return "all"
    inputs, y = made
    accepted = []
    for dtype in DTYPES:
        try:
            op.infer(*(Type(dtype, n.shape) for n in inputs), **y.attributes)
        except ChainruleError:
            continue
        accepted.append(str(dtype.numpy))
    known = {7: "all", 6: "numbers", 2: "floats", 5: "integers, truth values"}
    return known.get(len(accepted), ", ".join(accepted))


def meaning(op: Op) -> str:
    """Say what an op computes."""
    if op.name in MEANINGS:
        return MEANINGS[op.name]
    if isinstance(op.value, np.ufunc) or op.value in (np.clip, np.where):
        return f"`numpy.{op.value.__name__}`"
    first = (op.value.__doc__ or "").strip().split("\n")[0].removeprefix("Return ").rstrip(".")
    assert first, f"op {op.name!r}: say what it means, in MEANINGS or in the docstring of its value"
    return f"{first[0].lower()}{first[1:]}"


def budget(op: Op) -> str:
    """Return the error budgets in units in the last place."""
    match op.native:
        case VectorMath(_, single, double):
            return f"{single:g} / {double:g}"
        case Arithmetic() if op.name in ROUNDED:
            return "0.5"
    return "exact" if op.kind in MOVES or op.name in EXACT else "its steps"


MOVES: Final = (Kind.VIEW, Kind.WRITE, Kind.GATHER, Kind.SOURCE, Kind.ITEM)
EXACT: Final = frozenset(
    {"neg", "maximum", "minimum", "clip", "relu", "abs", "sign", "floor", "ceil", "trunc", "rint",
     "stop_gradient", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
     "bit_and", "bit_or", "bit_xor", "bit_not", "shift_left", "shift_right", "select",
     "max", "min", "argmax", "argmin"}
)  # fmt: skip
ROUNDED: Final = frozenset({"add", "sub", "mul", "div", "sqrt", "cast"})


def notation(op: Op) -> str:
    """Return how the op is written, with x, y, z or A, B for its arguments."""
    made = arguments(op)
    if op.notation is None or made is None:
        return ""
    inputs, y = made
    return inline(formula(y)) if inputs else ""


COLUMNS: Final[dict[str, Callable[[Op], str]]] = {
    "op": lambda op: f"`{op.name}`",
    "meaning": meaning,
    "written": notation,
    "SymPy": lambda op: f"`{op.sympy}`" if op.sympy else "",
    "derivative": derivatives,
    "dtypes": dtypes,
    "ulp": budget,
}


def section_of(op: Op) -> str:
    """Return the section an op is listed in; empty if it is in none."""
    if op.name in MATRICES:
        return "matrices"
    return next((name for name, kinds in SECTIONS.items() if op.kind in kinds), "")


def table(section: str) -> Iterator[str]:
    """Yield the lines of one section's table in MyST, without columns that would be empty."""
    ops = [op for op in OPS.values() if section_of(op) == section]
    cells = {
        name: [column(op).replace("|", "&#124;") for op in ops] for name, column in COLUMNS.items()
    }
    shown = [name for name, values in cells.items() if any(values)]
    yield "| " + " | ".join(shown) + " |"
    yield "|" + "---|" * len(shown)
    for i in range(len(ops)):
        yield "| " + " | ".join(cells[name][i].replace("\n", " ") for name in shown) + " |"


class OpsDirective(SphinxDirective):
    """`{ops} pointwise`: the table of that section."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table as nodes."""
        lines = StringList(list(table(self.arguments[0])), source="op table")
        holder = nodes.container(classes=["ops"])
        self.state.nested_parse(lines, self.content_offset, holder)
        return [holder]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("ops", OpsDirective)
    return {"parallel_read_safe": True}
