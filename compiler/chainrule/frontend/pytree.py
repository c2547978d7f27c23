"""Pytrees: arrays nested in dicts, lists, tuples, named tuples, dataclasses and registered classes.

`None` holds nothing; everything that is not a container is a leaf.  Dict keys are visited in sorted
order.  A dataclass field with metadata `{"static": True}` belongs to the structure, not to the
leaves.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from chainrule.errors import StructureError, explain
from chainrule.frontend.settings import is_told, setting_key
from chainrule.typing import PyTree

__all__ = [
    "TreeDef", "broadcast_prefix", "difference", "register_pytree_node", "tree_flatten",
    "tree_leaves", "tree_map", "tree_paths", "tree_structure", "tree_unflatten",
]  # fmt: skip

Leaves: TypeAlias = list[Any]
Flatten: TypeAlias = Callable[[Any], tuple[Iterable[Any], Hashable]]
Unflatten: TypeAlias = Callable[[Any, tuple[Any, ...]], Any]


class _Kind(NamedTuple):
    """How one class of containers is taken apart and put together."""

    flatten: Callable[[Any], tuple[tuple[Any, ...], tuple[str, ...], Hashable]]
    "children, their names, whatever else is needed to build the container again"
    unflatten: Callable[[Any, tuple[Any, ...]], Any]


class TreeDef:
    """The structure of a pytree without its leaves; hashable, equal where the structures are.

    Keys, static fields and other data are compared as settings are: 1, True and 1.0 differ.

    >>> tree_structure({"b": 1, "a": (2, None)})
    {'a': (*, None), 'b': *}
    """

    __slots__ = ("_hash", "_key", "children", "cls", "data", "leaves", "names")

    def __init__(
        self, cls: type | None, data: Hashable, names: tuple[str, ...],
        children: tuple[TreeDef, ...],
    ) -> None:  # fmt: skip
        self.cls: Final = cls
        "the container's class; None for a leaf"
        self.data: Final = data
        self.names: Final = names
        self.children: Final = children
        self.leaves: Final[int] = sum(c.leaves for c in children) if cls is not None else 1
        self._key: Final = data if data is None else setting_key(data)
        self._hash: Final = hash((cls, self._key, children))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, TreeDef)
            and self._hash == other._hash
            and self.cls is other.cls
            and self._key == other._key
            and self.children == other.children
        )

    def __repr__(self) -> str:
        inner = [repr(c) for c in self.children]
        if self.cls is None:
            return "*"
        if self.cls is _NONE:
            return "None"
        if self.cls is tuple:
            return "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"
        if self.cls is list:
            return "[" + ", ".join(inner) + "]"
        if self.cls is dict:
            keys = self.data if isinstance(self.data, tuple) else ()
            return "{" + ", ".join(f"{k!r}: {c}" for k, c in zip(keys, inner, strict=True)) + "}"
        fields = ", ".join(f"{n}={c}" for n, c in zip(self.names, inner, strict=True))
        return f"{self.cls.__name__}({fields})"

    def unflatten(self, leaves: Iterable[Any]) -> PyTree:
        """Build the tree that has these leaves."""
        given = list(leaves)
        if len(given) != self.leaves:
            raise StructureError(
                explain(f"{len(given)} leaves for a tree of {self.leaves}", f"tree  {self}")
            )
        return self._build(iter(given).__next__)

    def _build(self, take: Callable[[], Any]) -> Any:
        if self.cls is None:
            return take()
        children = tuple([c._build(take) for c in self.children])  # noqa: SLF001
        return _kind_of(self.cls).unflatten((self.cls, self.data), children)

    def paths(self, prefix: str = "") -> list[str]:
        """Return the names of the leaves, such as `layers/0/W`."""
        if self.cls is None:
            return [prefix]
        lead = f"{prefix}/" if prefix else ""
        return [
            path
            for name, child in zip(self.names, self.children, strict=True)
            for path in child.paths(lead + name)
        ]

    def to_runtime(self) -> Any:
        """Return the form that `chainrule_runtime.abi.Tree` describes.

        What native code cannot take apart is `("custom", class name, children)`.  The classes
        behind the names of named tuples and dataclasses are told by `frontend.records`.

        >>> tree_structure({"a": 1, "b": [2, None]}).to_runtime()
        ('dict', ('a', 'b'), (0, ('list', (1, ('none',)))))
        """
        return self._runtime(iter(range(self.leaves)).__next__)

    def _runtime(self, take: Callable[[], int]) -> Any:
        if self.cls is None:
            return take()
        if self.cls is _NONE:
            return ("none",)
        children = tuple([c._runtime(take) for c in self.children])  # noqa: SLF001
        if self.cls in (tuple, list):
            return (self.cls.__name__, children)
        keys = self.data
        if self.cls is dict and isinstance(keys, tuple) and all(type(k) is str for k in keys):
            return ("dict", keys, children)
        label, kind = self.cls.__qualname__, self.record
        if kind == "namedtuple":
            return ("namedtuple", label, children)
        if kind == "dataclass":
            return ("dataclass", label, self.names, tuple([n for n, _ in self.static]), children)
        return ("custom", label, children)

    @property
    def record(self) -> Literal["namedtuple", "dataclass"] | None:
        """What the node is if native code can take it apart given its class."""
        kind = _kind_of(self.cls) if self.cls is not None else None
        if kind is _DATACLASS:
            static: Any = self.data
            return "dataclass" if all(map(is_told, static)) else None
        # A class that iterates otherwise has other children than the tuple's own.
        if kind is _NAMED_TUPLE and getattr(self.cls, "__iter__", None) is tuple.__iter__:
            return "namedtuple"
        return None

    @property
    def static(self) -> tuple[tuple[str, Any], ...]:
        """Names and values of a dataclass's static fields."""
        if self.cls is None or _kind_of(self.cls) is not _DATACLASS:
            return ()
        values: Any = self.data
        return tuple(zip(_fields_of(self.cls)[1], values, strict=True))


_NONE: Final = type(None)
_LEAF: Final = TreeDef(None, None, (), ())
DEEP: Final = 100
"Levels of containers that are too many, where Python's stack ends."


def _sorted_keys(tree: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(tree))
    except TypeError as error:
        raise StructureError(
            explain(
                "the keys of a dict cannot be sorted",
                f"keys  {list(tree)}",
                hint="use keys of one type, such as str",
            )
        ) from error


def _flatten_dict(tree: dict[Any, Any]) -> tuple[tuple[Any, ...], tuple[str, ...], Hashable]:
    keys = _sorted_keys(tree)
    return tuple([tree[k] for k in keys]), tuple(map(str, keys)), keys


def _flatten_defaultdict(
    tree: defaultdict[Any, Any],
) -> tuple[tuple[Any, ...], tuple[str, ...], Hashable]:
    children, names, keys = _flatten_dict(tree)
    return children, names, (tree.default_factory, keys)


def _unflatten_defaultdict(made: tuple[type, Any], children: tuple[Any, ...]) -> Any:
    factory, keys = made[1]
    return defaultdict(factory, zip(keys, children, strict=True))


def _flatten_sequence(tree: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[str, ...], Hashable]:
    return tuple(tree), _numbers(len(tree)), None


@lru_cache(maxsize=256)
def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _flatten_dataclass(tree: Any) -> tuple[tuple[Any, ...], tuple[str, ...], Hashable]:
    cls: Any = type(tree)
    names, fixed = _fields_of(cls)
    static = []
    for name in fixed:
        value = getattr(tree, name)
        try:
            hash(value)
        except TypeError:
            raise StructureError(
                explain(
                    f"the static field {name} of {type(tree).__name__} is not hashable",
                    f"value  {value!r}",
                    hint="static fields belong to the structure; make it a tuple or a function",
                )
            ) from None
        static.append(value)
    return tuple([getattr(tree, n) for n in names]), names, tuple(static)


@lru_cache(maxsize=4096)
def _fields_of(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a dataclass's fields: those of children, those of the structure."""
    fields: Any = dataclasses.fields(cls)
    return (
        tuple([f.name for f in fields if not f.metadata.get("static")]),
        tuple([f.name for f in fields if f.metadata.get("static")]),
    )


def _unflatten_dataclass(made: tuple[type, Any], children: tuple[Any, ...]) -> Any:
    # Not by __init__: it may convert or check arrays, and the leaves may be anything here.
    cls, static = made
    tree: Any = object.__new__(cls)
    names, fixed = _fields_of(cls)
    for name, value in zip((*names, *fixed), (*children, *static), strict=True):
        object.__setattr__(tree, name, value)
    return tree


_BUILTIN: Final[dict[type, _Kind]] = {
    tuple: _Kind(_flatten_sequence, lambda made, children: children),
    list: _Kind(_flatten_sequence, lambda made, children: list(children)),
    dict: _Kind(_flatten_dict, lambda made, children: dict(zip(made[1], children, strict=True))),
    defaultdict: _Kind(_flatten_defaultdict, _unflatten_defaultdict),
    _NONE: _Kind(lambda tree: ((), (), None), lambda made, children: None),
}
_NAMED_TUPLE: Final = _Kind(
    lambda tree: (tuple(tree), tree._fields, None), lambda made, children: made[0](*children)
)
_DATACLASS: Final = _Kind(_flatten_dataclass, _unflatten_dataclass)


def _find_kind(cls: type) -> _Kind | None:
    """Return how `cls` is taken apart, or None for a leaf."""
    kind = _BUILTIN.get(cls)
    if kind is not None:
        return kind
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _NAMED_TUPLE
    return _DATACLASS if dataclasses.is_dataclass(cls) else None


_kinds: Final = lru_cache(maxsize=4096)(_find_kind)
_kind_of: Final[Callable[[type], Any]] = _kinds


def register_pytree_node(cls: type, flatten: Flatten, unflatten: Unflatten) -> None:
    """Make instances of `cls` containers.

    Args:
        cls: A class; subclasses are not included.
        flatten: From an instance to `(children, data)`; `data` is hashable and part of the
            structure.
        unflatten: From `(data, children)` to an instance; the children may be any objects.

    Raises:
        StructureError: The class is known already.

    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, parts: Pair(*parts))
    >>> tree_leaves(Pair(1, {"x": 2}))
    [1, 2]
    """
    if cls in _BUILTIN:
        raise StructureError(explain(f"{cls.__name__} is registered already"))

    def taken(tree: Any) -> tuple[tuple[Any, ...], tuple[str, ...], Hashable]:
        children, data = flatten(tree)
        found = tuple(children)
        return found, _numbers(len(found)), data

    _BUILTIN[cls] = _Kind(taken, lambda made, children: unflatten(made[1], children))
    _kinds.cache_clear()


register_pytree_node(
    OrderedDict,
    lambda tree: (tuple(tree.values()), tuple(tree)),
    lambda keys, children: OrderedDict(zip(keys, children, strict=True)),
)


def tree_flatten(
    tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[Leaves, TreeDef]:
    """Take a tree apart into its leaves, in order, and its structure.

    Args:
        tree: Any pytree.
        is_leaf: Tells of a container that it is to be kept whole.

    Returns:
        `(leaves, structure)`, which `tree_unflatten` puts together again.

    Raises:
        StructureError: A container holds itself, or containers are nested hundreds deep.

    >>> tree_flatten({"b": 1, "a": [2, None]})
    ([2, 1], {'a': [*, None], 'b': *})
    """
    leaves: Leaves = []
    try:
        return leaves, _flatten_into(leaves, tree, is_leaf)
    except RecursionError:
        if not _is_deep(tree):
            raise  # the functions around this one left no room
        raise StructureError(
            explain(f"a {type(tree).__name__} is nested too deeply, or holds itself")
        ) from None


def _is_deep(tree: PyTree) -> bool:
    """Tell whether containers are nested more than `DEEP` deep, as those that hold themselves."""
    waiting, reached = [(tree, 0)], dict[int, int]()
    while waiting:
        x, depth = waiting.pop()
        if depth > DEEP:
            return True
        kind = _kind_of(type(x))
        if kind is not None and reached.get(id(x), -1) < depth:
            reached[id(x)] = depth
            waiting.extend((child, depth + 1) for child in kind.flatten(x)[0])
    return False


def _flatten_into(leaves: Leaves, tree: PyTree, is_leaf: Callable[[Any], bool] | None) -> TreeDef:
    cls = type(tree)
    kind = _kind_of(cls)
    if kind is None or (is_leaf is not None and is_leaf(tree)):
        leaves.append(tree)
        return _LEAF
    children, names, data = kind.flatten(tree)
    return TreeDef(cls, data, names, tuple([_flatten_into(leaves, c, is_leaf) for c in children]))


def tree_unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> PyTree:
    """Put a tree together.

    Raises:
        StructureError: The number of leaves is another than the structure's.

    >>> tree_unflatten(tree_structure((0, [0])), "ab")
    ('a', ['b'])
    """
    return treedef.unflatten(leaves)


def tree_leaves(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> Leaves:
    """Return the leaves in order.

    >>> tree_leaves({"b": 1, "a": 2})
    [2, 1]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree) -> TreeDef:
    """Return the structure without the leaves.

    >>> tree_structure([1, (2,)])
    [*, (*,)]
    """
    return tree_flatten(tree)[1]


def tree_paths(tree: PyTree, prefix: str = "") -> list[str]:
    """Return the leaves' names in order.

    >>> tree_paths({"layers": [{"W": 1, "b": 2}]}, "params")
    ['params/layers/0/W', 'params/layers/0/b']
    """
    return tree_structure(tree).paths(prefix)


def tree_map(
    function: Callable[..., Any], tree: PyTree, *rest: PyTree,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:  # fmt: skip
    """Apply a function to the leaves of trees of one structure.

    Raises:
        StructureError: The structures differ.

    >>> tree_map(lambda a, b: a + b, {"x": 1, "y": (2,)}, {"x": 10, "y": (20,)})
    {'x': 11, 'y': (22,)}
    """
    leaves, structure = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for other in rest:
        others, theirs = tree_flatten(other, is_leaf)
        if theirs != structure:
            number = len(columns) + 1
            raise StructureError(
                explain(
                    "trees differ in structure",
                    f"tree 1  {structure}",
                    f"tree {number}  {theirs}",
                    difference(structure, theirs, "tree 1", f"tree {number}"),
                )
            )
        columns.append(others)
    return structure.unflatten([function(*row) for row in zip(*columns, strict=True)])


def difference(a: TreeDef, b: TreeDef, first: str, second: str, path: str = "") -> str:
    """Return where two structures differ first, for a message.

    >>> a, b = tree_structure({"W": 1, "b": (2, 3)}), tree_structure({"W": 1, "b": (2, [3])})
    >>> difference(a, b, "params", "grads")
    'at b/1  params has an array, grads a list of 1'
    """
    place = f"at {path}" if path else "at the top"
    if a.cls is not b.cls or (a.cls is not dict and len(a.children) != len(b.children)):
        return f"{place}  {first} has {_called(a)}, {second} {_called(b)}"
    ours = dict(zip(a.names, a.children, strict=True))
    theirs = dict(zip(b.names, b.children, strict=True))
    lead = f"{path}/" if path else ""
    for name in [*ours, *theirs]:
        if name not in theirs or name not in ours:
            has, lacks = (first, second) if name in ours else (second, first)
            return f"at {lead}{name}  {has} has {_called((ours | theirs)[name])}, {lacks} nothing"
        if ours[name] != theirs[name]:
            return difference(ours[name], theirs[name], first, second, lead + name)
    one, other = (dict(t.static) or t.data for t in (a, b))
    return f"{place}  static parts differ: {first} has {one!r:.60}, {second} {other!r:.60}"


def _called(tree: TreeDef) -> str:
    if tree.cls is None:
        return "an array"
    if tree.cls is _NONE:
        return "None"
    named = tree.cls.__name__
    count = f" of {len(tree.children)}" if tree.cls in (tuple, list) else ""
    return f"{'an' if named[0] in 'aeiouAEIOU' else 'a'} {named}{count}"


def broadcast_prefix(prefix: PyTree, tree: PyTree, what: str) -> Leaves:
    """Return, for each leaf of `tree`, the leaf of `prefix` it lies under; None is a leaf here.

    Raises:
        StructureError: `prefix` has a container where `tree` has another.
    """
    kind = _kind_of(type(prefix))
    if prefix is None or kind is None:
        return [prefix] * tree_structure(tree).leaves
    mine, _, data = kind.flatten(prefix)
    theirs = _kind_of(type(tree))
    children, _, other = theirs.flatten(tree) if theirs is not None else ((), (), None)
    # A list of axes may stand for a tuple of arguments.
    alike = type(prefix) is type(tree) or {type(prefix), type(tree)} <= {list, tuple}
    if not alike or setting_key(data) != setting_key(other) or len(mine) != len(children):
        raise StructureError(
            explain(
                f"{what} does not match the structure it is for",
                f"{what}  {prefix!r}",
                f"structure  {tree_structure(tree)}",
            )
        )
    return [
        leaf for a, b in zip(mine, children, strict=True) for leaf in broadcast_prefix(a, b, what)
    ]
