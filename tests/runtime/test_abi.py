"""Descriptions of compiled functions."""

from __future__ import annotations

import itertools
import json

import pytest

from chainrule_runtime.abi import (
    Extent,
    Guard,
    Leaf,
    Signature,
    evaluate,
    has_custom,
    show_extent,
    show_shape,
    subtrees,
)  # fmt: skip
from chainrule_runtime.errors import explain

N: Extent = ("dim", 0)
M: Extent = ("dim", 1)
SIGNATURE = Signature(
    "f", (Leaf("x", "float32", (N, 3)), Leaf("y", "int64", ())),
    ("tuple", (0, ("dict", ("a", 2), (1, ("none",))))),
    (Leaf("z", "bool", (("add", N, ("mul", 2, M)),)),), ("list", (0,)), ("n", "m"),
    (Guard("divides", 2, N, "n is even"),), ((0, 0),), ("mul", 8, N),
)  # fmt: skip


def test_json_and_back() -> None:
    again = Signature.from_json(json.loads(json.dumps(SIGNATURE.to_json())))
    assert again == SIGNATURE
    assert hash(again) == hash(SIGNATURE)


@pytest.mark.parametrize(
    ("operator", "meaning"),
    [
        ("add", lambda a, b: a + b), ("sub", lambda a, b: a - b), ("mul", lambda a, b: a * b),
        ("floordiv", lambda a, b: a // b), ("mod", lambda a, b: a % b), ("min", min), ("max", max),
    ],
)  # fmt: skip
def test_extents_mean_python_arithmetic(operator: str, meaning: object) -> None:
    assert callable(meaning)
    for a, b in itertools.product((-7, -1, 0, 3, 8, 2**70), (-3, 1, 2, 5)):
        assert evaluate((operator, N, ("const", b)), (a,)) == meaning(a, b)
        assert evaluate((operator, N, M), {0: a, 1: b}) == meaning(a, b)
    assert evaluate(4, ()) == 4


def test_guards() -> None:
    assert Guard("eq", N, 3, "").holds((3,))
    assert not Guard("eq", N, 3, "").holds((4,))
    assert Guard("ge", N, 3, "").holds((3,))
    assert not Guard("ge", N, 3, "").holds((2,))
    assert Guard("divides", 4, N, "").holds((8,))
    assert not Guard("divides", 4, N, "").holds((6,))
    assert not Guard("divides", N, 4, "").holds((0,))


def test_shapes_are_shown_in_the_users_names() -> None:
    assert show_shape((N, 3), ("batch",)) == "(batch, 3)"
    assert show_shape((4,)) == "(4,)"
    assert show_shape(()) == "()"
    assert show_extent(("add", ("mul", 2, N), M), ("n", "m")) == "(2 * n) + m"
    assert show_extent(("max", N, ("const", 1)), ()) == "max(dim0, 1)"


def test_guards_are_shown_as_requirements() -> None:
    shorter: Extent = ("add", N, ("const", -2))
    assert Guard("ge", shorter, 0, "").requirement(("n",)) == "n - 2 >= 0"
    assert Guard("eq", N, M, "").requirement(("n", "m")) == "n == m"
    assert Guard("divides", 3, N, "").requirement(("n",)) == "n is a multiple of 3"


def test_trees() -> None:
    assert list(subtrees(SIGNATURE.input_tree))[1] == 0
    assert not has_custom(SIGNATURE.input_tree)
    assert has_custom(("tuple", (0, ("list", (("custom", "T", (1,)),)))))
    flat = SIGNATURE.flat()
    assert (flat.input_tree, flat.output_tree) == (("tuple", (0, 1)), ("tuple", (0,)))
    assert flat.donated == SIGNATURE.donated


def test_messages_are_laid_out() -> None:
    assert explain("what", "fact", "other", hint="try") == "what\n  fact\n  other\nhint: try"
    assert explain("what") == "what"
