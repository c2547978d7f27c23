"""What `explain` is asked for: the leaves to differentiate by, and the number to differentiate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.errors import DTypeError, ShapeError, StructureError, UnsupportedError
from chainrule.errors import explain as message
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.optimize import all_nodes, inlined

__all__ = ["leaf_named", "names_asked", "refuse_loops", "scalar_result"]


def names_asked(wrt: Any) -> tuple[str, ...]:
    """Return the names in `wrt`: one, or several of them.

    Raises:
        StructureError: It holds no names, or one twice.
    """
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt) if isinstance(wrt, Sequence) else ()
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise StructureError(
            message("wrt is the name of an argument or leaf, or a list of different ones",
                    f"got  {wrt!r:.60}", hint='wrt="w", or wrt=["W1", "b1"]')
        )  # fmt: skip
    return names


def refuse_loops(program: Program) -> None:
    """Raise UnsupportedError for what has no formula."""
    for node in all_nodes(inlined(program.outputs)):
        if node.op.kind is Kind.CONTROL:
            raise UnsupportedError(
                message(
                    f"{program.name} holds a {node.op.name}, which has no formula yet",
                    hint="explain the function of one step, or of one branch",
                )
            )


def leaf_named(program: Program, wrt: str) -> Node:
    """Return the input whose path is `wrt`, or the only one whose path ends with it."""
    wanted = wrt.strip("/").replace(".", "/")
    exact = [n for n, p in zip(program.inputs, program.paths, strict=True) if p == wanted]
    ending = [
        n for n, p in zip(program.inputs, program.paths, strict=True) if p.endswith("/" + wanted)
    ]
    found = exact or ending
    facts = [f"{p}  {n.type}" for n, p in zip(program.inputs, program.paths, strict=True)]
    if len(found) != 1:
        several = f"wrt={wrt!r} is the end of {len(found)} leaves" if found else ""
        raise StructureError(
            message(
                several or f"wrt={wrt!r}: {program.name} has no such argument",
                *facts,
                hint="give the path of one leaf",
            )
        )
    if not found[0].dtype.is_float:
        raise DTypeError(
            message(f"wrt={wrt!r} holds no floats", f"type  {found[0].type}",
                    hint="derivatives are taken of float arguments")
        )  # fmt: skip
    return found[0]


def scalar_result(program: Program) -> Node:
    """Return the number that a program returns, first or alone."""
    output = program.outputs[0] if program.outputs else None
    if output is None or output.type.rank:
        raise ShapeError(
            message(
                f"{program.name} does not return a single number",
                f"result  {output.type if output is not None else 'nothing'}",
                hint="sum or average it first",
            )
        )
    if not output.dtype.is_float:
        raise DTypeError(message(f"{program.name} returns no float", f"result  {output.type}"))
    return output
