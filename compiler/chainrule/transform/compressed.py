"""A derivative from few sweeps: seeds by colour, pushed or pulled through one program.

Rows of one colour share a pull-back, columns of one colour a push-forward.  Few sweeps are written
out, so that seeds which are ones or nothing simplify; many are one batched sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from chainrule.differentiate.batch import batched
from chainrule.differentiate.copies import Root, copies_of, cuts_of, roots_of
from chainrule.differentiate.dependence import Known, shape_of, size_of
from chainrule.differentiate.forward import push_forward
from chainrule.differentiate.pattern import Pattern, identity
from chainrule.differentiate.reverse import pull_back
from chainrule.differentiate.sparsity import propagate
from chainrule.ir.graph import Node
from chainrule.ir.lazy import lazy
from chainrule.ir.types import I32, I64, Array
from chainrule.ir.walk import rebuild, topological

__all__ = ["Cut", "Mode", "Pieces", "Problem", "Store", "pose", "swept"]

Mode: TypeAlias = Literal["rows", "columns", "star"]
Cut: TypeAlias = Literal["copies", "joined", "inputs"]
"""Where variables are: at every copy that arithmetic reads, at copies of no other, at inputs."""
Store: TypeAlias = Callable[[str, Array], Node]
"""Makes an array available to the program: as a constant, or as one more input."""

SWEEPS: Final = 16
"Sweeps up to which each is written out; more are one batched sweep."
WRITTEN_OUT: Final = 4_000
"Nodes that all sweeps together may have for being written out; above, they are batched."
NEEDLESS: Final = -1
"The colour of what nothing depends on: it may be seeded or not."
FIXED: Final = -2
"The colour of what must not be seeded."
FEW: Final = 64
"Colours of an array with so many different ones along its axes become constants."


@dataclass(frozen=True, eq=False)
class Problem:
    """A program between copies of its inputs and the ends of its arithmetic.

    Attributes:
        cuts: The copies, as they are in the program.
        fresh: The inputs that stand for them here.
        columns: For each element of each of them, one after the other, what it is a copy of.
        roots: What the results consist of, as functions of `fresh`.
        known: Values that the pattern depends on.
    """

    cuts: Sequence[Node]
    fresh: Sequence[Node]
    columns: Array
    roots: Sequence[Root]
    known: Known

    @lazy
    def pattern(self) -> Pattern:
        """Which elements of the roots depend on which elements of `fresh`."""
        return pattern_of(self.ends, self.fresh, self.columns, self.known)

    @property
    def ends(self) -> list[Node]:
        """The nodes of the roots."""
        return [r.node for r in self.roots]


def pose(outputs: Sequence[Node], wrt: Sequence[Node], known: Known, *, cut: Cut) -> Problem:
    """Cut a program at copies of `wrt`, or at `wrt` itself."""
    numbers: dict[Node, Array] = {}
    offset = 0
    for x in wrt:
        numbers[x] = np.arange(size_of(x)) + offset
        offset += numbers[x].size
    found = numbers if cut == "inputs" else copies_of(outputs, numbers, known)
    cuts = list(wrt) if cut == "inputs" else cuts_of(outputs, found, apart=cut == "copies")
    roots = roots_of(outputs, wrt, set(cuts), known)
    return _posed(cuts, [found[c] for c in cuts], roots, known)


def _posed(
    cuts: Sequence[Node], columns: Sequence[Array], roots: Sequence[Root], known: Known
) -> Problem:
    if not cuts:
        return Problem((), (), np.zeros(0, np.int64), (), known)
    graph = cuts[0].graph
    fresh = [graph.input(f"copy{i}", c.type) for i, c in enumerate(cuts)]
    ends, _ = rebuild(
        [r.node for r in roots], graph, lambda _n, _a: None, dict(zip(cuts, fresh, strict=True))
    )
    roots = [r._replace(node=end) for r, end in zip(roots, ends, strict=True)]
    return Problem(cuts, fresh, np.concatenate(columns), roots, known)


def pattern_of(
    ends: Sequence[Node], fresh: Sequence[Node], columns: Array, known: Known
) -> Pattern:
    """Return which elements of `ends` depend on those elements of `fresh` that are copies."""
    if not fresh:
        return identity(np.zeros(0, np.int64), 0)
    given: dict[Node, Pattern] = {}
    offset = 0
    for x in fresh:
        own = np.arange(size_of(x)) + offset
        given[x] = identity(np.where(columns[own] >= 0, own, -1), columns.size)
        offset += own.size
    return stacked(propagate(ends, given, known), columns.size)


def stacked(patterns: Sequence[Pattern], columns: int) -> Pattern:
    """Lay patterns below one another."""
    lengths = np.concatenate([np.zeros(1, np.int64), *[p.lengths for p in patterns]])
    indices = [np.zeros(0, np.int64), *[p.indices for p in patterns]]
    return Pattern(np.cumsum(lengths), np.concatenate(indices), columns)


# Sweeps


class Pieces(NamedTuple):
    """What the sweeps give: arrays in which every nonzero is found.

    Attributes:
        nodes: The arrays; None is all zeros.
        parts: How many of them belong to one sweep (batched: to all sweeps).
        batched: Whether each holds all sweeps along its first axis.
    """

    nodes: Sequence[Node | None]
    parts: int
    batched: bool


def swept(
    problem: Problem, mode: Mode, colors: Array, store: Store, ends: Sequence[Node] | None = None
) -> Pieces:
    """Return the pull-backs (`rows`) or push-forwards of the seeds of all colours.

    In mode `star` the ends are those of a gradient, and seeds are pushed through it.
    """
    ends = problem.ends if ends is None else ends
    seeded = ends if mode == "rows" else problem.fresh
    if mode != "rows":
        # What is no copy of an input, as the zeros that pad, stays as it is.
        colors = np.where(problem.columns < 0, FIXED, colors)
    shades = _by_node(seeded, colors)
    count = int(colors.max(initial=-1)) + 1
    seeds = [x.graph.input("seed", x.type) for x in seeded]
    sweep = _sweep(ends, problem.fresh, mode, dict(zip(seeded, seeds, strict=True)))
    work = len(_own(sweep, ends))
    if count <= SWEEPS and count * work <= WRITTEN_OUT:
        nodes = _written_out(ends, problem.fresh, mode, seeded, shades, count, store)
        return Pieces(nodes, len(sweep), batched=False)
    return Pieces(_batched(sweep, seeds, shades, count, store), len(sweep), batched=True)


def sweep_nodes(problem: Problem, mode: Mode, ends: Sequence[Node] | None = None) -> set[Node]:
    """Return the nodes that one sweep adds to the program."""
    ends = problem.ends if ends is None else ends
    seeded = ends if mode == "rows" else problem.fresh
    seeds = {x: x.graph.input("seed", x.type) for x in seeded}
    return _own(_sweep(ends, problem.fresh, mode, seeds), ends)


def _own(sweep: Sequence[Node | None], ends: Sequence[Node]) -> set[Node]:
    return set(topological([n for n in sweep if n is not None])) - set(topological(ends))


def _sweep(
    ends: Sequence[Node], fresh: Sequence[Node], mode: Mode, seeds: Mapping[Node, Node]
) -> Sequence[Node | None]:
    if mode == "rows":
        outputs = [y for y in ends if y in seeds]
        return pull_back(outputs, [seeds[y] for y in outputs], fresh)
    return push_forward(ends, seeds)


def _by_node(nodes: Sequence[Node], colors: Array) -> list[Array]:
    shapes = [shape_of(x) for x in nodes]
    ends = np.cumsum([size_of(x) for x in nodes])
    parts = np.split(colors, ends[:-1])
    return [p.reshape(s) for p, s in zip(parts, shapes, strict=True)]


def _written_out(
    ends: Sequence[Node], fresh: Sequence[Node], mode: Mode, seeded: Sequence[Node],
    shades: Sequence[Array], count: int, store: Store,
) -> list[Node | None]:  # fmt: skip
    numbers = {
        x: _spread_colors(x, own, store)
        for x, own in zip(seeded, shades, strict=True) if not _is_one(own)
    }  # fmt: skip
    found: list[Node | None] = []
    for color in range(count):
        seeds: dict[Node, Node] = {}
        for x, own in zip(seeded, shades, strict=True):
            if np.any(own == color):
                one = x.graph.full_like(x, 1.0)
                # Selected, not multiplied: another row's infinite slope must not meet a zero.
                seeds[x] = one if x not in numbers else x.graph.select(
                    numbers[x].equals(color), one, 0.0
                )  # fmt: skip
        found += _sweep(ends, fresh, mode, seeds)
    return found


def _is_one(colors: Array) -> bool:
    """Tell whether all elements that have a colour have the same."""
    return np.unique(colors[colors != NEEDLESS]).size <= 1


def _spread_colors(x: Node, colors: Array, store: Store) -> Node:
    """Return the colours of a node's elements; along axes where they do not change, copied."""
    axes = [
        i for i in range(colors.ndim)
        if not np.all(colors == np.take(colors, [0], axis=i))
    ]  # fmt: skip
    small = colors[tuple([slice(None) if i in axes else 0 for i in range(colors.ndim)])]
    graph = x.graph
    few = small.size <= FEW
    node = graph.array(small, I32) if few else store("colors", small.astype(np.int32))
    return graph.broadcast(node, x.shape, tuple(axes))


def _batched(
    sweep: Sequence[Node | None], seeds: Sequence[Node], shades: Sequence[Array], count: int,
    store: Store,
) -> list[Node | None]:  # fmt: skip
    """Carry an axis of colours through one sweep."""
    given = {}
    for seed, own in zip(seeds, shades, strict=True):
        graph = seed.graph
        shape = (count, *seed.shape)
        wide = graph.broadcast(
            store("colors", own.astype(np.int64)), shape, tuple(range(1, len(shape)))
        )
        counter = graph.broadcast(graph.call("iota", length=count, dtype=I64), shape, (0,))
        one = graph.full(shape, 1.0, seed.dtype)
        given[seed] = graph.select(wide.equals(counter), one, 0.0)
    there = [n for n in sweep if n is not None]
    many = iter(batched(there, given, count))
    return [None if n is None else _with_axis(*next(many), count) for n in sweep]


def _with_axis(node: Node, has: bool, count: int) -> Node:
    shape = (count, *node.shape)
    return node if has else node.graph.broadcast(node, shape, tuple(range(1, len(shape))))
