"""Printing programs: stable, one line a node, in the users' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.ir.dims import Dim, show_extent
from chainrule.ir.graph import Node, Origin, constant_value
from chainrule.ir.program import Program
from chainrule.ir.types import DType, Type

__all__ = ["show"]


def show(program: Program, *, origins: bool = False) -> str:
    """Return the text of a program: inputs, one line for each node, results.

    Nodes are numbered in order of appearance, so equal programs print equally.  Constants are
    written where they are used.  With `origins`, each line ends with where its node comes from.
    """
    lines = [f"program {program.name}"]
    names: dict[Node, str] = {}
    for node, path in zip(program.inputs, program.paths, strict=True):
        names[node] = f"%{len(names)}"
        lines.append(f"  {names[node]} = input {node.type}  ; {path}")
    # Renumber by a walk from the results, so that what was built first does not show.
    count = len(program.inputs)
    numbered = []
    for node in program.nodes:
        if node in names:
            continue
        number = constant_value(node) if node.op.name in ("constant", "broadcast") else None
        if number is not None:
            names[node] = str(number)
            continue
        names[node] = f"%{count}"
        count += 1
        numbered.append(node)
    known = {node.id: name for node, name in names.items()} if origins else {}
    for node in numbered:
        shown = ", ".join([names[a] for a in node.args])
        attributes = "".join(
            f" {k}={_show(v)}" for k, v in node.attributes.items() if k not in ("serial", "bits")
        )
        found = program.graph.origins.get(node, ()) if origins else ()
        where = "  ; " + "; ".join(_origin(o, known) for o in found) if found else ""
        lines.append(f"  {names[node]} = {node.op.name}({shown}){attributes}  : {node.type}{where}")
    lines += [f"  check not {names[one.failed]}: {one.message}" for one in program.checks]
    lines += [
        f"  return {path or 'result'} = {names[node]}"
        for node, path in zip(program.outputs, program.output_paths, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _origin(origin: Origin, names: Mapping[int, str]) -> str:
    """Return an origin's text, its forward node under the name it has here, if it is here."""
    if not origin.rule or origin.path:
        return str(origin)
    name = None if origin.forward is None else names.get(origin.forward)
    of = "" if name is None else f" of {name}"
    return f"{origin.rule}{of}" + (f", {origin.line}" if origin.line else "")


def _show(value: Any) -> str:
    match value:
        case tuple():
            return "(" + ", ".join(map(_show, value)) + ("," if len(value) == 1 else "") + ")"
        case int() | Dim():
            return show_extent(value) if not isinstance(value, bool) else str(value)
        case DType() | Type():
            return str(value)
        case _:
            return repr(value)
