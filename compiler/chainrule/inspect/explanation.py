"""`explain`: the derivative of a function as a formula, and why each of its terms is there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, overload

from chainrule.differentiate.reverse import pull_back
from chainrule.frontend.trace import trace
from chainrule.inspect.formulas import Formula, formula
from chainrule.inspect.leaves import leaf_named, names_asked, refuse_loops, scalar_result
from chainrule.inspect.notation import Applied, Name, Tree
from chainrule.inspect.page import page
from chainrule.inspect.sources import Files, source_text
from chainrule.ir.graph import Graph, Node, Origin
from chainrule.ir.walk import topological
from chainrule.optimize import stabilize

__all__ = ["Explanation", "Explanations", "Term", "explain"]


Dims: TypeAlias = Mapping[str, Sequence[str | int | None]]
"Names of extents, by argument."


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a derivative: one way on which the variable reaches the result.

    Attributes:
        formula: The summand.
        because: Which chain rule made it, and of which line: `chain rule of the matrix product
            x W₁, model.py:3  h = cnp.tanh(x @ params["W1"])`.
    """

    formula: Formula
    because: str

    def __str__(self) -> str:
        return f"{self.formula}\nbecause: {self.because}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A function's value and one derivative of it, as people write them.

    Attributes:
        value: The function itself, as a formula.
        derivative: Its derivative.
        terms: The derivative's summands, each with its reason.
        sources: The user's lines that take part, `model.py:3  h = ...`, in the order they ran.
    """

    value: Formula
    derivative: Formula
    terms: tuple[Term, ...]
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.value}\n\n{self.derivative}"

    def text(self) -> str:
        """Return the derivative as Unicode text."""
        return self.derivative.text()

    def latex(self) -> str:
        """Return the derivative as LaTeX for a display."""
        return self.derivative.latex()

    def mathml(self) -> str:
        """Return the derivative as a `math` element."""
        return self.derivative.mathml()

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        """Let notebooks show the formula set."""
        return {"text/plain": str(self), "text/latex": f"$$\n{self.latex()}\n$$"}

    def html(self, path: str | Path) -> Path:
        """Write a page that stands alone: formulas, terms with reasons, source lines.

        Returns:
            The path written.
        """
        target = Path(path)
        reasons = [(t.formula.mathml(), t.because) for t in self.terms]
        head = str(self.derivative).split(" = ", 1)[0]
        target.write_text(
            page(head, self.value.mathml(), self.mathml(), reasons, self.sources), encoding="utf-8"
        )
        return target


class Explanations(tuple[Explanation, ...]):
    """A function's value and several derivatives of it: a tuple of explanations."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join([str(self[0].value), self.text()])

    __repr__ = __str__

    def text(self) -> str:
        """Return the derivatives as Unicode text."""
        return "\n\n".join(one.text() for one in self)

    def latex(self) -> str:
        """Return the derivatives as LaTeX for a display, one a line."""
        lines = r" \\ ".join(one.latex() for one in self)
        return rf"\begin{{gathered}} {lines} \end{{gathered}}"

    def mathml(self) -> str:
        """Return a `math` element for each derivative."""
        return "\n".join(one.mathml() for one in self)

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, str]:
        """Let notebooks show the formulas."""
        return {"text/plain": str(self), "text/latex": f"$$\n{self.latex()}\n$$"}

    def html(self, path: str | Path) -> Path:
        """Write one page with all of them.

        Returns:
            The path written.
        """
        target = Path(path)
        reasons = [(t.formula.mathml(), t.because) for one in self for t in one.terms]
        heads = ", ".join(str(one.derivative).split(" = ", 1)[0] for one in self)
        first = self[0]
        target.write_text(
            page(heads, first.value.mathml(), self.mathml(), reasons, first.sources),
            encoding="utf-8",
        )
        return target


@overload
def explain(  # type: ignore[overload-overlap]  # a string is a sequence of strings too
    fn: Callable[..., Any], *, wrt: str, args: Sequence[Any], dims: Dims | None = None
) -> Explanation: ...


@overload
def explain(
    fn: Callable[..., Any], *, wrt: Sequence[str], args: Sequence[Any], dims: Dims | None = None
) -> Explanations: ...


def explain(
    fn: Callable[..., Any], *, wrt: str | Sequence[str], args: Sequence[Any],
    dims: Dims | None = None,
) -> Explanation | Explanations:  # fmt: skip
    """Differentiate a function and show the result as mathematics in the user's names.

    `fn` is traced once on values to come; nothing is compiled.  Time and memory are linear in the
    nodes of the derivative.

    Args:
        fn: A function of pytrees of arrays that returns a number (or a tuple that begins with one).
        wrt: The argument or leaf to differentiate by: `w`, `params/W1`, or an end of a path that
            only one leaf has, such as `W1`; or a list of such.
        args: Arrays or `cr.spec(...)`, as for a call.
        dims: Names of extents, as for `jit`; the formula then says n where it would say 1797.

    Returns:
        What prints as two formulas, and has `.latex()`, `.mathml()`, `.terms` and `.html(path)`;
        for a list of names a tuple of these, which prints and writes pages as they do.

    Raises:
        StructureError: No leaf, or more than one, is called `wrt`.
        DTypeError: The leaf or the result holds no floats.
        ShapeError: The result is not a single number.

    >>> import numpy as np
    >>> def loss(w, x, y):
    ...     error = x @ w - y
    ...     return (error * error).sum()
    >>> print(explain(loss, wrt="w", args=(np.ones(3), np.ones((5, 3)), np.ones(5))))
    loss = sum((x w − y)²)
    <BLANKLINE>
    ∂loss/∂w = 2 xᵀ (x w − y)
    """
    asked = names_asked(wrt)
    program = trace(fn, *args, dims=dims).program
    refuse_loops(program)
    leaves = [leaf_named(program, name) for name in asked]
    (output,) = stabilize([scalar_result(program)])
    graph = output.graph
    found = pull_back([output], [graph.constant(1.0, output.dtype)], leaves)
    files = Files.of(_file_of(fn))
    names = dict(zip(program.inputs, program.paths, strict=True))
    of = Name(program.name)
    value = formula(output, names=names, files=files, subject=of)
    sources = _sources(output, files)

    def explained(leaf: Node, derivative: Node) -> Explanation:
        by = formula(leaf, names=names).tree
        subject = _partial(of, _named(by, names, derivative, leaf))
        shown = formula(derivative, names=names, files=files, subject=subject)
        terms = tuple(
            Term(formula(t, names=names, files=files), _because(t, leaf, names, files))
            for t in _summands(derivative)
        )
        return Explanation(value, shown, terms, sources)

    parts = [
        explained(leaf, graph.full_like(leaf, 0.0) if one is None else one)
        for leaf, one in zip(leaves, found, strict=True)
    ]
    return parts[0] if isinstance(wrt, str) else Explanations(parts)


def _named(by: Tree, names: Mapping[Node, str], derivative: Node, leaf: Node) -> Tree:
    """Return the leaf under the name that it has in the derivative, where it occurs there."""
    known = formula(derivative, names=names).inputs
    return Name(known[leaf], leaf.type.rank) if leaf in known else by


def _partial(of: Tree, by: Tree) -> Tree:
    return Applied("derivative", (of, by), 0)


def _file_of(fn: Callable[..., Any]) -> str | None:
    try:
        return inspect.getsourcefile(inspect.unwrap(fn))
    except TypeError:
        return None


def _summands(node: Node) -> list[Node]:
    """Return the terms that reverse mode added up; equal ones are kept together."""
    terms: dict[Node, int] = {}
    waiting = [node]
    while waiting:
        one = waiting.pop()
        made = any(o.rule for o in one.graph.origins.get(one, ()))
        if one.op.name == "add" and made and one.args[0] is not one.args[1]:
            waiting += one.args[::-1]
        else:
            terms[one] = terms.get(one, 0) + 1
    return [t * k if k > 1 else t for t, k in terms.items()]


WORDS: Final = {
    "contract": "the matrix product", "add": "the sum", "sub": "the difference", "neg": "the sign",
    "mul": "the product", "div": "the quotient", "pow": "the power", "broadcast": "broadcasting",
    "sum": "the sum", "transpose": "transposing", "reshape": "reshaping", "cast": "converting",
    "slice": "taking a part of", "concatenate": "joining", "gather": "picking from",
}  # fmt: skip
LONG: Final = 48
"Formulas of this many characters are left out of a reason."


def _because(term: Node, leaf: Node, names: Mapping[Node, str], files: Files) -> str:
    """Say which chain rule made a term."""
    graph = term.graph
    chosen = _made_by(term, leaf, graph)
    if chosen is None:
        return "the variable is the result itself"
    origin, forward = chosen
    if forward is None:
        what = origin.rule.removeprefix("pull ")
    else:
        text = formula(forward, names=names, files=files).text()
        shown = f" {text}" if len(text) < LONG and "\n" not in text else ""
        what = WORDS.get(forward.op.name, forward.op.name) + shown
    where = origin.line
    if where and (source := source_text(where, files)):
        where += f"  {source}"
    return f"chain rule of {what}" + (f", {where}" if where else "")


def _made_by(term: Node, leaf: Node, graph: Graph) -> tuple[Origin, Node | None] | None:
    """Return the pull-back that handed a term to the leaf, and the node it was the rule of."""
    by_number = {n.id: n for n in graph.origins}
    waiting = [term]
    for one in waiting:
        rules = [o for o in graph.origins.get(one, ()) if o.rule.startswith("pull ")]
        pairs = [(o, by_number.get(-1 if o.forward is None else o.forward)) for o in rules]
        for pair in pairs:
            if pair[1] is not None and leaf in pair[1].args:
                return pair
        if pairs:
            return pairs[-1]
        waiting += one.args[:1]
    return None


def _sources(output: Node, files: Files) -> tuple[str, ...]:
    """Return the user's lines that the value comes from, each once."""
    lines: dict[str, None] = {}
    for node in topological([output]):
        for origin in node.graph.origins.get(node, ()):
            if origin.line and not origin.rule:
                lines[origin.line] = None
    return tuple(f"{line}  {source_text(line, files)}".rstrip() for line in lines)
