"""Which sweeps a sparse derivative is made of: the strategy with the fewest operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np

from chainrule.differentiate.coloring import (
    SMALL,
    clique,
    color_rows,
    fewest_colors,
    readable,
    star_color,
)
from chainrule.differentiate.dependence import Known, shape_of, size_of
from chainrule.differentiate.pattern import Pattern, ranges, union
from chainrule.differentiate.reverse import pull_back
from chainrule.errors import NotDifferentiableError
from chainrule.frontend.context import stable_forms
from chainrule.ir.graph import Node
from chainrule.ir.types import Array
from chainrule.ir.walk import rebuild
from chainrule.numerics import FAST, STRICT
from chainrule.ops.cost import flops
from chainrule.optimize import stabilize
from chainrule.transform.compressed import (
    Cut,
    Mode,
    Pieces,
    Problem,
    Store,
    pattern_of,
    pose,
    sweep_nodes,
    swept,
)
from chainrule.transform.reading import Entries, Places, laid, placed, regular

__all__ = ["Colors", "Derivative", "Symmetric", "hessian_of", "jacobian_of", "symmetric"]


MODES: Final[tuple[Mode, ...]] = ("rows", "columns")
CUTS: Final[tuple[Cut, ...]] = ("copies", "joined", "inputs")


class Colors(int):
    """How many sweeps a sparse derivative takes: a number that knows which.

    Attributes:
        mode: `rows` are pulled back, `columns` pushed forward; `star`: columns of a symmetric
            matrix, pushed forward through the gradient.
        numbers: The colour of each row or column that sweeps are about, which are elements of the
            arrays that arithmetic begins or ends with; -1 needs none.
    """

    mode: Mode
    numbers: Array

    def __new__(cls, mode: Mode, numbers: Array) -> Self:
        """Count the colours."""
        made = super().__new__(cls, int(numbers.max(initial=-1)) + 1)
        made.mode, made.numbers = mode, numbers
        return made

    def __reduce__(self) -> Any:
        return Colors, (self.mode, self.numbers)


@dataclass(frozen=True, eq=False)
class Derivative:
    """A sparse derivative as expressions.

    Attributes:
        data: The values, row by row.
        pattern: Where they are.
        colors: The sweeps they come from.
    """

    data: Node
    pattern: Pattern
    colors: Colors


class _Plan(NamedTuple):
    """A way to take a derivative, and what it costs beside the function itself."""

    problem: Problem
    mode: Mode
    colors: Array
    cost: int


def _columns_of(wrt: Sequence[Node]) -> int:
    return sum(size_of(x) for x in wrt)


def _work(nodes: set[Node]) -> int:
    # A sweep without arithmetic is not free either.
    return flops(nodes, {}) + 1


# Jacobians


def jacobian_of(
    outputs: Sequence[Node], wrt: Sequence[Node], known: Known, store: Store
) -> Derivative:
    """Return the derivative of `outputs` with respect to `wrt`, flattened and laid end to end.

    Args:
        outputs: Floating-point nodes.
        wrt: Inputs they are functions of.
        known: Values of integers that the pattern depends on.
        store: Makes arrays of colours and places available to the program.
    """
    plan = _jacobian_plan(outputs, wrt, known)
    problem, mode, colors, _ = plan
    rows = sum(size_of(y) for y in outputs)
    entries = _entries(problem, mode, colors)
    places = placed(entries, (rows, _columns_of(wrt)))
    none = not places.pattern.nnz
    pieces = Pieces((), 0, batched=False) if none else swept(problem, mode, colors, store)
    return _finished(plan, outputs[0], pieces, entries, places, store)


def _jacobian_plan(outputs: Sequence[Node], wrt: Sequence[Node], known: Known) -> _Plan:
    """Return the cheapest way: rows or columns, of a program cut here or there.

    Bounds say what need not be coloured.
    """
    fine = pose(outputs, wrt, known, cut="copies")
    if not fine.cuts:
        return _Plan(fine, "rows", np.full(fine.pattern.rows, -1), 0)
    works = _works(fine)
    best = _cheapest(fine, works, None)
    coarse = fine.pattern.renamed(np.maximum(fine.columns, 0), max(_columns_of(wrt), 1))
    if coarse.nnz < fine.pattern.nnz and not _is_regular(best, outputs, wrt):
        # Some copies in a row are of one element: what is cut there need not be added up.
        best = _cheapest(pose(outputs, wrt, known, cut="joined"), works, best)
    if _bound(coarse, works) < best.cost:
        best = _cheapest(pose(outputs, wrt, known, cut="inputs"), works, best)
    return best


def _works(problem: Problem) -> dict[Mode, int]:
    """Return the operations of one sweep of each mode that there is."""
    works: dict[Mode, int] = {}
    for mode in MODES:
        # A derivative that the user gave may be one in one mode only.
        with suppress(NotDifferentiableError):
            works[mode] = _work(sweep_nodes(problem, mode))
    if not works:
        sweep_nodes(problem, "rows")  # which says why
    return works


def _is_regular(plan: _Plan, outputs: Sequence[Node], wrt: Sequence[Node]) -> bool:
    """Tell whether the values can be laid into the rows without an index."""
    problem, mode, colors, _ = plan
    nodes = problem.fresh if mode == "rows" else problem.ends
    entries = _entries(problem, mode, colors)
    places = placed(entries, (sum(map(size_of, outputs)), _columns_of(wrt)))
    number = entries.parts + entries.colors * len(nodes)
    heads = [shape_of(x)[0] for x in nodes if x.shape]
    return regular(places, number, entries.elements, heads) is not None


def _bound(pattern: Pattern, works: Mapping[Mode, int]) -> int:
    """Return a cost that no strategy for a pattern is below."""
    return min(works[m] * fewest_colors(_lined(pattern, m)) + pattern.nnz for m in works)


def _cheapest(problem: Problem, works: Mapping[Mode, int], best: _Plan | None) -> _Plan:
    """Return the cheaper of the strategies for one problem and the best one so far."""
    moved = problem.pattern.nnz
    for mode in sorted(works, key=lambda m: works[m] * fewest_colors(_lined(problem.pattern, m))):
        lines = _lined(problem.pattern, mode)
        if best is not None and works[mode] * fewest_colors(lines) + moved >= best.cost:
            continue
        colors = color_rows(lines)
        cost = works[mode] * (int(colors.max(initial=-1)) + 1) + moved
        if best is None or cost < best.cost:
            best = _Plan(problem, mode, colors, cost)
    assert best is not None, "there are strategies"
    return best


def _lined(pattern: Pattern, mode: Mode) -> Pattern:
    return pattern if mode == "rows" else pattern.transposed


def _entries(problem: Problem, mode: Mode, colors: Array) -> Entries:
    """Return where each nonzero of a Jacobian is found in the sweeps."""
    roots = problem.roots
    if not roots:
        return Entries(*[np.zeros(0, np.int64)] * 5)
    sizes = [size_of(r.node) for r in roots]
    offsets = np.cumsum(sizes) - sizes
    rows = np.concatenate([r.rows for r in roots])
    ids = np.concatenate([r.elements + o for r, o in zip(roots, offsets, strict=True)])
    order = np.argsort(rows, kind="stable")
    rows, ids = rows[order], ids[order]
    lengths = problem.pattern.lengths[ids]
    columns = problem.pattern.indices[ranges(problem.pattern.indptr[ids], lengths)]
    rows, ids = np.repeat(rows, lengths), np.repeat(ids, lengths)
    if mode == "rows":
        shades, at, nodes = colors[ids], columns, list(problem.fresh)
    else:
        shades, at, nodes = colors[columns], ids, problem.ends
    return Entries(rows, problem.columns[columns], shades, *_split(at, nodes))


def _split(ids: Array, nodes: Sequence[Node]) -> tuple[Array, Array]:
    """Return of elements numbered throughout which node they belong to, and where in it."""
    ends = np.cumsum([size_of(x) for x in nodes])
    parts = np.searchsorted(ends, ids, side="right")
    return parts, ids - np.concatenate([[0], ends])[parts]


# Hessians


class Symmetric(NamedTuple):
    """How the second derivatives of a scalar are taken, before any sweep.

    Attributes:
        plan: The program, cut, and its colours.
        ends: The gradient with respect to the copies.
        entries: Where each nonzero will be found in the sweeps.
        places: Which of them each value is.
    """

    plan: _Plan
    ends: Sequence[Node]
    entries: Entries
    places: Places

    @property
    def sweeps(self) -> int:
        """How many sweeps it takes."""
        return int(self.plan.colors.max(initial=-1)) + 1

    def swept(self, store: Store) -> Pieces:
        """Take the sweeps."""
        if not self.places.pattern.nnz:
            return Pieces((), 0, batched=False)
        return swept(self.plan.problem, "star", self.plan.colors, store, self.ends)

    def uncut(self, node: Node) -> Node:
        """Put the copies back into what was made of sweeps."""
        problem = self.plan.problem
        known = dict(zip(problem.fresh, problem.cuts, strict=True))
        (made,), _ = rebuild([node], node.graph, lambda _n, _a: None, known)
        return made


def hessian_of(output: Node, wrt: Sequence[Node], known: Known, store: Store) -> Derivative:
    """Return the second derivatives of a scalar with respect to `wrt`, laid end to end."""
    made = symmetric(output, wrt, known)
    pieces = made.swept(store)
    return _finished(made.plan, output, pieces, made.entries, made.places, store)


def symmetric(output: Node, wrt: Sequence[Node], known: Known) -> Symmetric:
    """Choose the sweeps for the second derivatives of a scalar.

    Gradients with respect to copies are pushed forward along sums of their elements: a function
    that is a sum of terms of few variables has a Hessian of small blocks in its copies, which add
    up to the Hessian asked for (partial separability: Griewank and Toint, 1982).
    """
    plan, ends, pattern = _hessian_plan(output, wrt, known, "copies")
    for cut in CUTS[1:]:
        if set(plan.problem.cuts) == set(wrt) or _is_best(plan, pattern):
            break
        other = _hessian_plan(output, wrt, known, cut)
        if other[0].cost < plan.cost:
            plan, ends, pattern = other
    problem, _, colors, _ = plan
    entries = _symmetric_entries(problem, pattern, colors)
    return Symmetric(plan, ends, entries, placed(entries, (_columns_of(wrt),) * 2))


def _is_best(plan: _Plan, pattern: Pattern) -> bool:
    """Tell whether no other cut can need fewer colours: a clique stays one in every matrix."""
    columns = plan.problem.columns[clique(pattern)]
    return int(plan.colors.max(initial=-1)) < max(len(np.unique(columns)), 1)


def _hessian_plan(
    output: Node, wrt: Sequence[Node], known: Known, cut: Cut
) -> tuple[_Plan, Sequence[Node], Pattern]:
    problem = pose([output], wrt, known, cut=cut)
    if not problem.roots:
        none = Problem((), (), np.zeros(0, np.int64), (), known)
        return _Plan(none, "star", np.zeros(0, np.int64), 0), (), none.pattern
    graph = output.graph
    (value,), _ = rebuild(
        [output], graph, lambda _n, _a: None, dict(zip(problem.cuts, problem.fresh, strict=True))
    )
    found = pull_back([value], [graph.full_like(value, 1.0)], problem.fresh)
    ends = [
        graph.full_like(x, 0.0) if g is None else g
        for g, x in zip(found, problem.fresh, strict=True)
    ]
    ends = stabilize(ends, FAST if stable_forms() else STRICT)
    pattern = pattern_of(ends, problem.fresh, problem.columns, known)
    pattern = pattern.take(np.where(problem.columns >= 0, np.arange(pattern.rows), -1))
    pattern = union([pattern, pattern.transposed])
    colors = star_color(pattern)
    if colors.max(initial=-1) >= len(clique(pattern)) and pattern.nnz <= SMALL:
        # Columns without a common row can be told apart too.
        colors = min(colors, color_rows(pattern), key=lambda c: int(c.max(initial=-1)))
    work = _work(sweep_nodes(problem, "star", ends))
    cost = work * (int(colors.max(initial=-1)) + 1) + pattern.nnz
    return _Plan(problem, "star", colors, cost), ends, pattern


def _symmetric_entries(problem: Problem, pattern: Pattern, colors: Array) -> Entries:
    """Read each entry in its own row, or that across the diagonal where it stands alone."""
    rows, columns = pattern.row_of, pattern.indices
    own = readable(pattern, colors) if pattern.nnz else np.zeros(0, bool)
    shades = np.where(own, colors[columns], colors[rows])
    at = np.where(own, rows, columns)
    parts, elements = _split(at, problem.fresh) if pattern.nnz else (rows, rows)
    return Entries(problem.columns[rows], problem.columns[columns], shades, parts, elements)


def _finished(
    plan: _Plan, like: Node, pieces: Pieces, entries: Entries, places: Places, store: Store
) -> Derivative:
    """Lay the values out and put the copies back in."""
    graph, problem = like.graph, plan.problem
    data = laid(graph, pieces, entries, places, like.dtype, store)
    known = dict(zip(problem.fresh, problem.cuts, strict=True))
    (data,), _ = rebuild([data], graph, lambda _n, _a: None, known)
    return Derivative(data, places.pattern, Colors(plan.mode, plan.colors))
