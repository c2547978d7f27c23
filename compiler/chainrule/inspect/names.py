"""Names of inputs and of parts: from leaf paths, from the user's variables, else letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from chainrule.ir.dims import names_of
from chainrule.ir.graph import Node

__all__ = ["input_names", "part_names"]


def input_names(nodes: Sequence[Node], given: Mapping[Node, str]) -> dict[Node, str]:
    """Return a short unique name for every input.

    The last word of its path, with the numbers of the path as subscripts: `params/W1` is W1 and
    `layers/0/W` is W0.  Where two coincide, the words before are added.
    """
    inputs = [n for n in nodes if n.op.name in ("input", "data")]
    paths = {n: given.get(n) or _path(n) for n in inputs}
    taken = {d for n in nodes for e in n.shape for d in names_of(e)}
    short = {n: _short(p, 1) for n, p in paths.items()}
    names: dict[Node, str] = {}
    for node, name in short.items():
        words = 1
        while (_count(short.values(), name) > 1 or name in taken) and words < 8:
            words += 1
            name = _short(paths[node], words)  # noqa: PLW2901
        base, k = name, 1
        while name in names.values() or name in taken:
            k += 1
            name = f"{base}_{k}"  # noqa: PLW2901
        names[node] = name
    return names


def _count(names: Iterable[str], name: str) -> int:
    return sum(one == name for one in names)


def _path(node: Node) -> str:
    if node.op.name == "data":
        return "c"
    origins = node.graph.origins.get(node, {})
    path = next((o.path for o in origins if o.path), "")
    return path or str(node.attributes["name"])


def _short(path: str, words: int) -> str:
    parts = [re.sub(r"\W", "_", p) for p in re.split(r"[/.\[\]]+", path) if p]
    numbers = [p for p in parts if p.isdigit()]
    texts = [p for p in parts if not p.isdigit()] or ["x"]
    subscript = "_".join(numbers)
    glue = "_" if subscript and texts[-1][-1].isdigit() else ""
    return "_".join(texts[-words:]) + glue + subscript


_LETTERS: Final = ("u", "v", "q", "r", "s", "t", "a", "b", "c", "e", "f", "g")
_ACTIVATIONS: Final = frozenset({"tanh", "relu", "sigmoid", "softplus", "maximum", "select", "mul"})


def part_names(
    parts: Sequence[Node], cotangents: set[Node], user: Mapping[Node, str], taken: Iterable[str]
) -> dict[Node, str]:
    """Return a unique name for every defined part, numbered in the order of the computation.

    Cotangents are δ; softmax is p; layers are h and z; the rest takes letters.  A variable of the
    user's comes before all of that.
    """
    used = set(taken)
    groups: dict[str, list[Node]] = {}
    letters = [c for c in _LETTERS if c not in used]
    for node in sorted(parts, key=lambda n: n.id):
        base = user.get(node) or _letter(node, "δ" if node in cotangents else "")
        if not base:
            base = letters.pop(0) if letters else "u"
        groups.setdefault(base, []).append(node)
    names: dict[Node, str] = {}
    for base, group in groups.items():
        # Cotangents are made last layer first.
        ordered = group[::-1] if base == "δ" else group
        single = len(group) == 1 and base not in used
        for k, node in enumerate(ordered, start=1):
            name = base if single else f"{base}{'_' if base[-1].isdigit() else ''}{k}"
            while name in used:
                name += "_"
            used.add(name)
            names[node] = name
    return names


def _letter(node: Node, otherwise: str) -> str:
    if node.op.name == "softmax":
        return "p"
    if otherwise:
        return otherwise
    if node.op.name in _ACTIVATIONS and node.type.rank:
        return "h"
    layer = node.op.name == "add" and any(_is_product(a) for a in node.args)
    return "z" if (layer or node.op.name == "contract") and node.type.rank else ""


def _is_product(node: Node) -> bool:
    while node.op.name in ("broadcast", "reshape", "cast"):
        node = node.args[0]
    return node.op.name == "contract"
