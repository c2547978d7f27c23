"""Donated inputs: who may overwrite them, and checks that must not wait for whoever does."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.ir.graph import Node
from chainrule.ir.program import Program
from chainrule.ir.walk import reached
from chainrule.optimize.loops import trimmed

__all__ = ["checked_apart", "lent"]


def lent(program: Program) -> dict[Node, set[int]]:
    """Return the donated inputs, and which results may overwrite each."""
    first = len(program.checks)
    found: dict[Node, set[int]] = {}
    for i, k in program.donated:
        found.setdefault(program.inputs[i], set()).add(first + k)
    return found


def checked_apart(program: Program, results: Sequence[Node]) -> list[Node]:
    """Compute the conditions of checks apart from what overwrites donated memory.

    Nothing is written before the checks have passed, so a loop or a branch that also finds out
    whether an index is in range would have to work on a copy.  Conditions that depend on what is
    in the memory itself stay where they are.
    """
    count, given = len(program.checks), lent(program).keys()
    conditions, outputs = results[:count], results[count:]
    if given.isdisjoint(reached(conditions)):
        return list(results)
    alone = trimmed(conditions)
    return [*alone, *trimmed(outputs)] if given.isdisjoint(reached(alone)) else list(results)
