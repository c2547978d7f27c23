"""What the user called things: assigned variables, read from the source lines of nodes."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from chainrule.ir.graph import Node

__all__ = ["Files", "assigned_names", "forward_line", "source_text"]

_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.MatMult: "contract",
    ast.Pow: "pow", ast.Mod: "remainder",
}  # fmt: skip


class Statement(NamedTuple):
    """An assignment to one name: which, by what outermost op (if known), in which lines."""

    name: str
    op: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Files:
    """Where a file of a given base name may be: origins hold `model.py:41`."""

    paths: dict[str, str]

    @classmethod
    def of(cls, preferred: str | None = None) -> Files:
        """Collect the files of loaded modules; of two with one name, the preferred one or none."""
        found: dict[str, set[str]] = {}
        names = [getattr(m, "__file__", None) for m in list(sys.modules.values())]
        for name in (*names, *linecache.cache):
            if isinstance(name, str):
                found.setdefault(Path(name).name, set()).add(name)
        paths = {base: next(iter(full)) for base, full in found.items() if len(full) == 1}
        if preferred is not None:
            paths[Path(preferred).name] = preferred
        return cls(paths)

    def split(self, line: str) -> tuple[str, int] | None:
        """Return the path and the number that `model.py:41` stands for, if the file is known."""
        base, _, number = line.partition("  ")[0].rpartition(":")
        path = self.paths.get(base)
        return (path, int(number)) if path is not None and number.isdigit() else None


def source_text(line: str, files: Files) -> str:
    """Return the source of a line, or nothing where its file is not known."""
    known = files.split(line)
    return linecache.getline(*known).strip() if known else ""


def forward_line(node: Node) -> str:
    """Return the line of the user's that made a node, "" for what the chain rule made."""
    origins = node.graph.origins.get(node, {})
    return next((o.line for o in origins if o.line and not o.rule), "")


def assigned_names(nodes: Iterable[Node], files: Files) -> dict[Node, str]:
    """Return the variable that each node was assigned to, where its source line says so."""
    groups: dict[tuple[str, Statement], list[Node]] = {}
    for node in nodes:
        line = forward_line(node)
        known = files.split(line) if line else None
        statement = _statement_at(*known) if known else None
        if known and statement:
            groups.setdefault((known[0], statement), []).append(node)
    names: dict[Node, str] = {}
    for (_, statement), group in groups.items():
        for node in _results(statement, sorted(group, key=lambda n: n.id)):
            names.setdefault(node, statement.name)
    return names


def _results(statement: Statement, group: Sequence[Node]) -> list[Node]:
    """Return what the statement computed, once for each time that it ran."""
    found = [n for n in group if n.op.name == statement.op]
    if not found:
        return [] if statement.op in _OPERATORS.values() else [group[-1]]
    inner = {a for n in found for a in _seen_through(n)}
    return [n for n in found if n not in inner or statement.op not in _OPERATORS.values()]


def _seen_through(node: Node) -> Iterable[Node]:
    for argument in node.args:
        while argument.op.name in ("broadcast", "reshape", "cast"):
            argument = argument.args[0]  # noqa: PLW2901
        yield argument


def _statement_at(path: str, line: int) -> Statement | None:
    for statement in _statements(path):
        if statement.first <= line <= statement.last:
            return statement
    return None


@lru_cache(maxsize=256)
def _statements(path: str) -> tuple[Statement, ...]:
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                last = node.end_lineno or node.lineno
                found.append(Statement(target.id, _outermost(node.value), node.lineno, last))
    return tuple(found)


def _outermost(value: ast.expr) -> str:
    """Name the op that an expression ends with."""
    if isinstance(value, ast.BinOp):
        return _OPERATORS.get(type(value.op), "")
    if isinstance(value, ast.Call):
        called = value.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return {"matmul": "contract", "dot": "contract", "expit": "sigmoid"}.get(name, name)
    return ""
