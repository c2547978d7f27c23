"""What a transformation is about: chosen arguments, or leaves chosen by their paths."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from chainrule.errors import StructureError, explain
from chainrule.frontend.arguments import bind_arguments, is_arraylike, name_of, require_function
from chainrule.frontend.operands import as_operand, kind_of, shape_of
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.ir.dims import show_extent
from chainrule.transform.inline import require_float
from chainrule_runtime.bfloat16 import is_float

__all__ = ["Chosen", "Paths", "Wanted", "argument_numbers", "choose", "choose_all", "wanted"]

Paths: TypeAlias = str | Sequence[str]
"""A path of a leaf, as `params/layers/0/W`, or several; parts may hold wildcards."""


class Wanted(NamedTuple):
    """What a transformation was asked to be about.

    Attributes:
        verb: The transformation, as its user calls it.
        keys: Numbers or names of arguments.
        single: Whether one is asked for by itself, not in a sequence.
        wrt: Paths of leaves, in place of arguments.
        once: Whether an argument may not be asked for twice.
    """

    verb: str
    keys: tuple[int | str, ...]
    single: bool
    wrt: Paths | None = None
    once: bool = False


def wanted(
    fn: Callable[..., Any], verb: str, argnums: int | Sequence[int] | None,
    argnames: str | Sequence[str] | None = None, wrt: Paths | None = None, *, once: bool = False,
) -> Wanted:  # fmt: skip
    """Read what a transformation is given, before there are arguments.

    Raises:
        StructureError: It is not given a function, or numbers, names or paths that are none, or
            more than one kind of them.
    """
    require_function(fn, verb)
    options = {"argnums": argnums, "argnames": argnames, "wrt": wrt}
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        raise StructureError(
            explain(
                f"{verb}: wrt chooses leaves, argnums and argnames choose arguments"
                if wrt is not None
                else f"{verb}: argnums and argnames both choose arguments",
                *[f"{name}  {value!r}" for name, value in given.items()],
                hint="give one of them",
            )
        )
    if wrt is not None:
        _strings(wrt, "wrt", verb, "paths of leaves")
        return Wanted(verb, (), isinstance(wrt, str), wrt)
    if argnames is not None:
        names = _strings(argnames, "argnames", verb, "names of arguments")
        return Wanted(verb, names, isinstance(argnames, str), once=once)
    numbers = argument_numbers(0 if argnums is None else argnums, "argnums", verb)
    return Wanted(verb, numbers, argnums is None or _is_number(argnums), once=once)


def argument_numbers(given: Any, option: str, verb: str) -> tuple[int, ...]:
    """Return the numbers of arguments that an option holds: one, or several.

    Raises:
        StructureError: It holds something else.
    """
    entries = [given] if _is_number(given) else given
    if isinstance(entries, Sequence | range | set | frozenset) and all(map(_is_number, entries)):
        return tuple(map(operator.index, entries))
    raise StructureError(
        explain(
            f"{verb}: {option} holds numbers of positional arguments",
            f"{option}  {given!r:.60}",
            hint="arguments count from 0: argnums=1, or argnums=(0, 2); name them with argnames"
            if option == "argnums"
            else f"arguments count from 0: {option}=(0, 2)",
        )
    )


def _is_number(x: Any) -> bool:
    return hasattr(x, "__index__") and not isinstance(x, bool) and not getattr(x, "shape", ())


def _strings(given: Any, option: str, verb: str, what: str) -> tuple[str, ...]:
    entries = (given,) if isinstance(given, str) else given
    listed = isinstance(entries, Sequence | Mapping | set | frozenset)
    if listed and all(isinstance(e, str) for e in entries):
        return tuple(entries)
    raise StructureError(explain(f"{verb}: {option} holds {what}", f"{option}  {given!r:.60}"))


class Chosen:
    """The arguments that a transformation is about, taken out of a call.

    Attributes:
        value: They, as a tuple; each once, though it be asked for twice.
        tree: How they nest.
        leaves: The leaves that move: all of them, unless `hold` has set integers apart.
        paths: What those are called.
    """

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], want: Wanted
    ) -> None:
        self.fn, self.args, self.kwargs = fn, args, kwargs
        labels = _labels(fn, args, kwargs)
        self.single = want.single
        asked = [
            _key_of(k, labels, kwargs, fn) if isinstance(k, str) else _number(k, len(args), fn)
            for k in want.keys
        ]
        keys = list(dict.fromkeys(asked))
        if want.once and len(keys) < len(asked):
            twice = next(k for k in keys if asked.count(k) > 1)
            raise StructureError(_asked_twice(want, twice, labels))
        self.keys: list[int | str] = keys
        self._order = [keys.index(k) for k in asked]
        self.value: Any = tuple([args[k] if isinstance(k, int) else kwargs[k] for k in keys])
        self.leaves, self.tree = tree_flatten(self.value)
        names = [labels[k] if isinstance(k, int) and k < len(labels) else str(k) for k in keys]
        self.paths = [p for n, c in zip(names, self.tree.children, strict=True) for p in c.paths(n)]
        self.all_paths, self.at = self.paths, list(range(len(self.leaves)))
        self._all = self.leaves

    def hold(self) -> None:
        """Set leaves apart that are not of floating point: they do not move."""
        self.at = [i for i, x in enumerate(self._all) if _holds_floats(x)]
        self.leaves = [self._all[i] for i in self.at]
        self.paths = [self.all_paths[i] for i in self.at]

    def call(self, leaves: Sequence[Any]) -> Any:
        """Call the function with other leaves in the chosen arguments."""
        args, kwargs = list(self.args), dict(self.kwargs)
        full = list(self._all)
        for i, leaf in zip(self.at, leaves, strict=True):
            full[i] = leaf
        for key, value in zip(self.keys, self.tree.unflatten(full), strict=True):
            if isinstance(key, int):
                args[key] = value
            else:
                kwargs[key] = value
        return self.fn(*args, **kwargs)

    def nested(self, leaves: Sequence[Any]) -> Any:
        """Nest leaves as the chosen arguments, None where one is held; a single one as itself."""
        full: list[Any] = [None] * len(self._all)
        for i, leaf in zip(self.at, leaves, strict=True):
            full[i] = leaf
        tree = self.tree.unflatten(full)
        return tree[0] if self.single else tuple([tree[i] for i in self._order])

    def taken_apart(self, vector: Any) -> tuple[Any, ...]:
        """Return what nests as the chosen arguments as a tuple, one for each."""
        return (vector,) if self.single else tuple(vector)


def _holds_floats(leaf: Any) -> bool:
    dtype = getattr(as_operand(leaf), "dtype", None)
    return isinstance(leaf, float) if dtype is None else is_float(dtype)


class ChosenLeaves(Chosen):
    """The leaves at some paths, taken out of a call; everything else stays as it is."""

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], wrt: Paths,
        verb: str,
    ) -> None:  # fmt: skip
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self._bound = bind_arguments(fn, args, kwargs)
        flat = [tree_flatten(v) for v in self._bound.values]
        self._trees: list[TreeDef] = [tree for _, tree in flat]
        self._all = [leaf for leaves, _ in flat for leaf in leaves]
        names = zip(self._bound.names, self._trees, strict=True)
        known = [path for name, tree in names for path in tree.paths(name)]
        self.single, self._at = _found(wrt, known, self._all, verb)
        self.paths = [known[i] for i in self._at]
        self.leaves = [self._all[i] for i in self._at]
        self.value, self.keys = tuple(self.leaves), []

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


def _asked_twice(want: Wanted, key: int | str, labels: Sequence[str]) -> str:
    name = labels[key] if isinstance(key, int) and key < len(labels) else key
    option = "argnames" if isinstance(want.keys[0], str) else "argnums"
    return explain(
        f"{want.verb}: {option} names the argument {name} twice", f"{option}  {want.keys}"
    )


def _labels(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    try:
        return list(bind_arguments(fn, args, kwargs).names)
    except StructureError:
        return [f"arg{i}" for i in range(len(args))]


def _key_of(name: str, labels: list[str], kwargs: dict[str, Any], fn: Any) -> int | str:
    if name in kwargs:
        return name
    if name in labels:
        return labels.index(name)
    raise StructureError(
        explain(
            f"argnames: {name_of(fn)} is not given an argument {name}",
            f"given  {', '.join(labels)}",
        )
    )


def _number(number: int, count: int, fn: Any) -> int:
    if not -count <= number < count:
        raise StructureError(
            explain(
                f"argnums: {name_of(fn)} is given {count} positional arguments",
                f"argnums  {number}",
                hint="arguments count from 0; name keyword arguments with argnames",
            )
        )
    return number % count


def choose(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], want: Wanted,
    verb: str,
) -> Chosen:  # fmt: skip
    """Take the chosen arguments, or leaves, out of a call; they must be of floating point."""
    chosen = (
        Chosen(fn, args, kwargs, want)
        if want.wrt is None
        else ChosenLeaves(fn, args, kwargs, want.wrt, verb)
    )
    require_float(chosen.leaves, chosen.paths, verb)
    return chosen


def choose_all(fn: Callable[..., Any], args: tuple[Any, ...], verb: str) -> Chosen:
    """Take all arguments out of a call; integers among them stay as they are.

    Raises:
        DTypeError: None of them is of floating point.
        StructureError: `fn` is no function.
    """
    want = wanted(fn, verb, range(len(args)))
    chosen = Chosen(fn, args, {}, want)
    if all(map(is_arraylike, chosen.leaves)):
        chosen.hold()
    if not chosen.leaves:
        chosen = Chosen(fn, args, {}, want)
    require_float(chosen.leaves, chosen.paths, verb)
    return chosen
