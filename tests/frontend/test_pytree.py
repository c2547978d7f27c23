from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from chainrule.errors import StructureError
from chainrule.frontend.pytree import (
    broadcast_prefix,
    register_pytree_node,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_paths,
    tree_structure,
    tree_unflatten,
)


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True)
class Layer:
    W: Any
    b: Any
    name: str = field(default="layer", metadata={"static": True})

    def __post_init__(self) -> None:
        assert not isinstance(self.W, str), "building a tree does not run __init__"


class Box:
    def __init__(self, inside: Any) -> None:
        self.inside = inside


register_pytree_node(Box, lambda box: ((box.inside,), "data"), lambda _, children: Box(*children))

TREES = [
    1, None, (), [], {}, (1,), [1, [2, (3,)]], {"b": 1, "a": {"c": None, "d": 2}}, Point(1, (2, 3)),
    Layer(1, None), OrderedDict([("z", 1), ("a", 2)]), {1: 2, 0: [Layer(3, 4, "x")]},
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_flatten_and_unflatten_are_inverse(tree: Any) -> None:
    leaves, structure = tree_flatten(tree)
    again = tree_unflatten(structure, leaves)
    assert again == tree
    assert type(again) is type(tree)
    assert tree_structure(again) == structure
    assert hash(tree_structure(again)) == hash(structure)
    assert len(tree_paths(tree)) == len(leaves)


def test_leaves_may_be_anything_while_a_tree_is_built() -> None:
    structure = tree_structure(Layer(1, 2))
    assert tree_unflatten(structure, ["text", object]).W == "text"


def test_dict_keys_are_sorted_and_ordered_dicts_keep_their_order() -> None:
    assert tree_leaves({"b": 1, "a": 2}) == [2, 1]
    assert tree_leaves(OrderedDict([("b", 1), ("a", 2)])) == [1, 2]


def test_structures_differ() -> None:
    structures = [
        tree_structure(t) for t in (*TREES, Layer(1, None, "other"), Layer(1, 2), Point(1, 2))
    ]
    assert len(set(structures)) == len(structures)


def test_paths() -> None:
    tree = {"layers": [Layer(1, 2), Layer(3, None)], "at": Point(4, Box(5))}
    assert tree_paths(tree, "params") == [
        "params/at/x", "params/at/y/0", "params/layers/0/W", "params/layers/0/b",
        "params/layers/1/W",
    ]  # fmt: skip
    assert tree_paths(1, "x") == ["x"]


def test_registered_classes() -> None:
    assert tree_map(lambda a: a + 1, Box([1, 2])).inside == [2, 3]
    with pytest.raises(StructureError, match="Box is registered already"):
        register_pytree_node(Box, lambda box: ((), None), lambda _, children: None)


def test_runtime_form() -> None:
    tree = ({"a": 1, "b": [2, None]}, Point(3, 4), 5)
    kind, (mapping, record, last) = tree_structure(tree).to_runtime()
    assert (kind, last) == ("tuple", 4)
    assert mapping == ("dict", ("a", "b"), (0, ("list", (1, ("none",)))))
    assert record == ("namedtuple", "Point", (2, 3))
    assert tree_structure({1: 2}).to_runtime()[0] == "custom"


def test_is_leaf() -> None:
    assert tree_leaves([(1, 2), 3], is_leaf=lambda t: isinstance(t, tuple)) == [(1, 2), 3]


def test_errors() -> None:
    with pytest.raises(StructureError, match="trees differ in structure"):
        tree_map(lambda a, b: a, [1, 2], [1])
    with pytest.raises(StructureError, match="2 leaves for a tree of 1"):
        tree_unflatten(tree_structure(0), [1, 2])
    with pytest.raises(StructureError, match="the keys of a dict cannot be sorted"):
        tree_flatten({1: 0, "a": 0})
    with pytest.raises(StructureError, match="static field name of Layer is not hashable"):
        tree_flatten(Layer(1, 2, [3]))  # type: ignore[arg-type]


def test_prefixes() -> None:
    assert broadcast_prefix(0, (1, [2, 3]), "in_axes") == [0, 0, 0]
    assert broadcast_prefix((None, [1, 2]), (1, [2, 3]), "in_axes") == [None, 1, 2]
    with pytest.raises(StructureError, match="in_axes does not match"):
        broadcast_prefix((0,), (1, 2), "in_axes")
