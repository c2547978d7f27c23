"""Leaves chosen by their paths, for a transformation to be about."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeAlias

from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import bind_arguments, is_arraylike
from chainrule.frontend.operands import as_operand, kind_of, shape_of
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.ir.dims import show_extent

__all__ = ["ChosenLeaves", "Paths", "only_paths"]

Paths: TypeAlias = str | Sequence[str]
"""A path of a leaf, as `params/layers/0/W`, or several; parts may hold wildcards."""


class ChosenLeaves:
    """The leaves at some paths, taken out of a call; everything else stays as it is.

    Attributes:
        single: One path was given, without wildcards.
        paths: The whole path of each leaf.
        leaves: The leaves.
        value: They, as a tuple.
    """

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], wrt: Paths,
        verb: str,
    ) -> None:  # fmt: skip
        self._bound = bind_arguments(fn, args, kwargs)
        flat = [tree_flatten(v) for v in self._bound.values]
        self._trees: list[TreeDef] = [tree for _, tree in flat]
        self._all = [leaf for leaves, _ in flat for leaf in leaves]
        names = zip(self._bound.names, self._trees, strict=True)
        known = [path for name, tree in names for path in tree.paths(name)]
        self.single, self._at = _found(wrt, known, self._all, verb)
        self.paths = [known[i] for i in self._at]
        self.leaves = [self._all[i] for i in self._at]
        self.value: Any = tuple(self.leaves)

    def call(self, leaves: Sequence[Any]) -> Any:
        """Call the function with other leaves at the chosen paths."""
        full = list(self._all)
        for i, leaf in zip(self._at, leaves, strict=True):
            full[i] = leaf
        rest = iter(full)
        return self._bound.call(
            [tree.unflatten([next(rest) for _ in range(tree.leaves)]) for tree in self._trees]
        )

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Return the leaf at a single path, or the leaves by path."""
        return leaves[0] if self.single else dict(zip(self.paths, leaves, strict=True))

    def taken_apart(self, vector: Any) -> tuple[Any, ...]:
        """Return an array, or arrays by path, in the order of the leaves."""
        if self.single:
            return (vector,)
        if not isinstance(vector, Mapping) or set(vector) != set(self.paths):
            given = (
                ", ".join(map(str, vector))
                if isinstance(vector, Mapping)
                else type(vector).__name__
            )
            raise StructureError(
                explain("the vector is a dict by path, as the gradient is",
                        f"paths   {', '.join(self.paths)}", f"vector  {given}")
            )  # fmt: skip
        return tuple([vector[path] for path in self.paths])


def only_paths(
    wrt: Paths, argnums: int | Sequence[int], argnames: str | Sequence[str] | None, verb: str
) -> None:
    """Raise StructureError where arguments are chosen besides leaves."""
    if argnames is not None or argnums != 0:
        raise StructureError(
            explain(f"{verb}: wrt chooses leaves, argnums and argnames choose arguments",
                    f"wrt  {wrt!r}", hint="give one of them")
        )  # fmt: skip


def _found(
    wrt: Paths, known: Sequence[str], leaves: Sequence[Any], verb: str
) -> tuple[bool, list[int]]:
    """Return whether a single leaf is asked for, and where the leaves are."""
    places: dict[int, None] = {}
    single = isinstance(wrt, str)
    for given in [wrt] if isinstance(wrt, str) else wrt:
        path = given.strip("/")
        if path in known:
            here = [known.index(path)]
        elif _WILD.search(path):
            single = False
            here = [i for i, one in enumerate(known) if _pattern(path).fullmatch(one)]
        else:
            here = [i for i, one in enumerate(known) if one.endswith(f"/{path}")]
            here = here if len(here) == 1 else []
        if not here:
            raise StructureError(_unknown(given, known, leaves, verb))
        places.update(dict.fromkeys(here))
    if not places:
        raise StructureError(explain(f"{verb}: wrt names no leaf", f"wrt  {wrt!r}"))
    return single, list(places)


_WILD = re.compile(r"[*?]")


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    """Return what matches a path: `*` and `?` within a part, `**` any number of parts."""
    signs = {"**/": "(?:.*/)?", "/**": "(?:/.*)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?)", path)
    return re.compile("".join(signs.get(p, re.escape(p)) for p in pieces))


def _unknown(given: str, known: Sequence[str], leaves: Sequence[Any], verb: str) -> str:
    """Say which leaves there are: those below or ending as asked for, else the closest names."""
    path = given.strip("/")
    below = [p for p in known if p.startswith(f"{path}/")]
    ending = [p for p in known if p.endswith(f"/{path}")]
    close = get_close_matches(path, known, n=3, cutoff=0.0)
    what = "is the end of several leaves" if ending else "is no leaf" if below else "is not there"
    facts = [
        f"{p}  {_described(leaves[known.index(p)])}" for p in (below or ending or close)[:8]
    ]  # fmt: skip
    return explain(
        f"{verb}: wrt={given!r} {what}", *facts,
        hint=f"write {path}/** for all leaves below" if below
        else "give the whole path" if ending else "these are the closest paths",
    )  # fmt: skip


def _described(leaf: Any) -> str:
    if not is_arraylike(leaf):
        return type(leaf).__name__
    operand = as_operand(leaf)
    kind = kind_of(operand)
    shape = ", ".join(map(show_extent, shape_of(operand)))
    return f"{getattr(kind, '__name__', kind)}[{shape}]"
