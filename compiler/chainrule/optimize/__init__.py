"""Rewriting: rules that carry a promise, folding, stable forms.

`stabilize` runs before differentiation, `optimize` on the joint program of values and derivatives,
`expand` once nothing will be differentiated any more.  Before the last two `widen` writes out that
arrays of 16 bits are computed with in 32.
"""

from chainrule.optimize.algebra import ALGEBRA
from chainrule.optimize.expand import expand
from chainrule.optimize.loops import all_nodes, inlined, joined
from chainrule.optimize.passes import optimize, stabilize
from chainrule.optimize.rewrite import Rewriter, Step
from chainrule.optimize.rule import Keeps, Rule
from chainrule.optimize.stable import STABLE
from chainrule.optimize.widen import widen

__all__ = ["ALGEBRA", "STABLE", "Keeps", "Rewriter", "Rule", "Step", "all_nodes", "expand",
           "inlined", "joined",
           "optimize", "stabilize", "widen"]  # fmt: skip
