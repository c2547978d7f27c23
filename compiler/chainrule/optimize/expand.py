"""Composites written out, after differentiation and before scheduling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chainrule.ir.graph import Check, Node
from chainrule.ir.op import Arithmetic, Kind
from chainrule.ir.program import Program, guarded
from chainrule.ir.walk import rebuild, topological
from chainrule.numerics import STRICT, Numerics
from chainrule.optimize.algebra import ALGEBRA, PRODUCTS
from chainrule.optimize.bodies import in_bodies
from chainrule.optimize.contractions import CONTRACTIONS
from chainrule.optimize.donated import checked_apart, lent
from chainrule.optimize.fold import FOLDING
from chainrule.optimize.lift import LIFTS
from chainrule.optimize.loops import trimmed
from chainrule.optimize.reductions import REDUCTIONS
from chainrule.optimize.rewrite import Rewriter
from chainrule.optimize.updates import UPDATES, settled
from chainrule.optimize.views import VIEWS

__all__ = ["expand", "keep_origins", "rewired"]


def _is_composite(node: Node) -> bool:
    native = node.op.native
    return node.op.kind is Kind.COMPOSITE or (
        isinstance(native, Arithmetic) and native.name == "expand"
    )


def expand(program: Program, numerics: Numerics = STRICT) -> Program:
    """Replace composite ops and `stop_gradient` by their definitions, and simplify what comes out.

    Softmax, its logarithm and logsumexp of one argument share maximum, exponentials and sum, since
    their definitions are built of the same nodes.  Stable forms are not looked for any more: they
    would turn definitions back into composites.
    """
    graph = program.graph

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op.name == "stop_gradient":
            return args[0]
        if not _is_composite(node):
            return None
        assert node.op.expand is not None, f"{node.op.name} has a definition"
        mark = len(graph)
        after = node.op.expand(*args, **node.attributes)
        keep_origins(after, node, mark)
        return after

    steps = (*FOLDING, *VIEWS, *UPDATES, *LIFTS, *REDUCTIONS, *CONTRACTIONS)
    rewriter = Rewriter(graph, (*ALGEBRA, *PRODUCTS), steps, reals=numerics.reals)

    def expanded(outputs: Sequence[Node]) -> list[Node]:
        results = list(outputs)
        # A definition may be made of composites in turn: until none is left.
        while any(n.op.name == "stop_gradient" or _is_composite(n) for n in topological(results)):
            results, _ = rebuild(results, graph, change)
        return rewriter.run(results)

    results = expanded(in_bodies(program.results, expanded))
    results = settled(results, lent(program), fast=numerics.reals)
    results = expanded(in_bodies(results, expanded))
    results = trimmed(expanded(trimmed(results)))
    return rewired(program, checked_apart(program, results))


def rewired(program: Program, results: list[Node]) -> Program:
    """Return the program with other nodes for its results (conditions of checks first).

    Their sizes are guarded anew: rules and definitions make slices of their own.
    """
    split = len(program.checks)
    checks = tuple(
        Check(node, one.message) for one, node in zip(program.checks, results[:split], strict=True)
    )
    return guarded(replace(program, checks=checks, outputs=tuple(results[split:])))


def keep_origins(after: Node, node: Node, mark: int) -> None:
    """Let the nodes of a definition come from where the composite came from."""
    origins = node.graph.origins.get(node)
    stack, seen = [after], {after}
    while stack and origins:
        one = stack.pop()
        if one.id >= mark and one.op.kind is not Kind.SOURCE:
            one.graph.origins.setdefault(one, {}).update(origins)
            stack.extend(a for a in one.args if a not in seen)
            seen.update(one.args)
