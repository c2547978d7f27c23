"""The two rewriting passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chainrule.ir.graph import Node
from chainrule.ir.program import Program
from chainrule.numerics import FAST, Numerics
from chainrule.optimize.algebra import ALGEBRA, PRODUCTS
from chainrule.optimize.bodies import everywhere, in_bodies
from chainrule.optimize.chains import order_chains
from chainrule.optimize.contractions import CONTRACTIONS
from chainrule.optimize.cusps import flat_cusps
from chainrule.optimize.expand import rewired
from chainrule.optimize.fold import FOLDING, UNROUNDED
from chainrule.optimize.lift import LIFTS
from chainrule.optimize.loops import inlined, joined, trimmed
from chainrule.optimize.norms import NORMS
from chainrule.optimize.reductions import REDUCTIONS
from chainrule.optimize.rewrite import Rewriter, Step
from chainrule.optimize.roots import POWERS
from chainrule.optimize.rule import Keeps, Rule
from chainrule.optimize.stable import ROOTS, STABLE
from chainrule.optimize.stencils import STENCILS
from chainrule.optimize.updates import UPDATES, merged
from chainrule.optimize.views import VIEWS

__all__ = ["optimize", "stabilize"]

BEFORE: Final = (*STABLE, *ALGEBRA)
RULES: Final = (*BEFORE, *PRODUCTS)
STEPS: Final = (*FOLDING, *VIEWS, *UPDATES, *LIFTS, *STENCILS, *REDUCTIONS, *CONTRACTIONS)


def optimize(program: Program, numerics: Numerics = FAST) -> Program:
    """Return an equal program that computes less.

    The results are the same bits, or where `numerics` keep reals the same real numbers.  Linear in
    the nodes.
    """
    rewriter = Rewriter(program.graph, RULES, STEPS, reals=numerics.reals)

    def improved(outputs: Sequence[Node]) -> list[Node]:
        results = rewriter.run(outputs)
        ordered = order_chains(results) if numerics.reals else results
        # Another order of a chain brings other neighbours together.
        return results if ordered == results else rewriter.run(ordered)

    results = inlined(program.results)
    results = trimmed(everywhere(results, joined))
    results = merged(in_bodies(results, merged))
    results = improved(in_bodies(results, improved))
    # What the rules made needless, and what they made the same in every step.
    return rewired(program, trimmed(improved(trimmed(results))))


def stabilize(outputs: Sequence[Node], numerics: Numerics = FAST) -> list[Node]:
    """Return the outputs in forms that neither overflow nor cancel where the value does not.

    Run it before differentiating: the chain rule then sees `logsumexp`, `softplus`, `norm` and
    their kin, whose derivatives are exact.  It keeps reals, so the values of `strict` programs stay
    as they were written, and derivatives alone are taken of what is returned.  For those nothing
    but the stable forms themselves changes bits: values and derivatives share the rest.
    """
    if not outputs:
        return []
    own, shapes = (*NORMS, *POWERS), (*VIEWS, *LIFTS)
    rules: tuple[Rule, ...]
    steps: tuple[Step, ...]
    rules, steps = (*BEFORE, *ROOTS), (*UNROUNDED, *shapes, *own)
    if not numerics.reals:
        bits = [r for r in ALGEBRA if r.keeps is Keeps.BITS]
        rules = (*STABLE, *bits, *ROOTS)
        steps = (*[s for s in (*UNROUNDED, *shapes) if s.keeps is Keeps.BITS], *own)
    rewriter = Rewriter(outputs[0].graph, rules, steps)

    def stable(outputs: Sequence[Node]) -> list[Node]:
        return flat_cusps(rewriter.run(outputs))

    return stable(in_bodies(outputs, stable, ruled=numerics.reals))
