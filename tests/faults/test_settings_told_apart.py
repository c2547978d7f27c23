"""Kind: settings that are equal in Python and mean something else share code.

As in jax#9273: 1, True and 1.0 are equal, and so are 0.0 and -0.0.  Each function is compared with
what it does when it is not compiled, whatever was called before it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.pytree import tree_structure
from chainrule.frontend.settings import setting_key


class Named(NamedTuple):
    """A setting of two parts."""

    first: Any
    second: Any


@dataclass(frozen=True)
class Options:
    """A setting that is compared by its fields."""

    value: Any
    label: str = "a"
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Own:
    """A setting whose author says what is equal."""

    value: int
    other: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True)
class Params:
    """An array with a setting."""

    x: Any
    k: Any = field(default=1, metadata={"static": True})


class Boxed:
    """An array with a setting, registered as a pytree."""

    def __init__(self, x: Any, k: Any) -> None:
        self.x, self.k = x, k


cr.register_pytree_node(Boxed, lambda b: ((b.x,), b.k), lambda k, xs: Boxed(xs[0], k))

NUMBERS = [1, True, 1.0, np.float32(1), np.int64(1), 1 + 0j]
ZEROS = [0.0, -0.0, 0, False, np.float32(-0.0), np.float64(0.0), np.float64(-0.0)]
WRAPPED: list[Any] = [
    lambda v: v, lambda v: (v,), lambda v: (("a", (v, 2)),), lambda v: Named(v, "b"), Options,
    lambda v: (Options((v,)),), lambda v: frozenset([v]), lambda v: Options(Named("a", v)),
]  # fmt: skip


def meaning(setting: Any) -> str:
    """Return what a setting is, in words that no two of them share."""
    if isinstance(setting, Options):
        return f"Options({meaning(setting.value)})"
    if isinstance(setting, tuple | frozenset):
        return f"{type(setting).__name__}({', '.join(map(meaning, setting))})"
    return f"{type(setting).__name__} {setting!r}"


def number(setting: Any) -> float:
    """Return a number for each meaning."""
    return float(sum(ord(c) * (i + 1) for i, c in enumerate(meaning(setting))))


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("settings", [NUMBERS, ZEROS], ids=["ones", "zeros"])
def test_static_arguments(wrap: Any, settings: list[Any]) -> None:
    compiled = cr.jit(lambda x, k: x + number(k), static_argnames="k")
    for k in [*map(wrap, settings), *map(wrap, settings)]:
        assert compiled(0.0, k) == number(k)
        assert compiled(0.0, k=k) == number(k)


@pytest.mark.parametrize("wrap", WRAPPED)
@pytest.mark.parametrize("holder", [Params, Boxed])
@pytest.mark.parametrize("settings", [NUMBERS, ZEROS], ids=["ones", "zeros"])
def test_settings_in_arguments_and_results(wrap: Any, holder: Any, settings: list[Any]) -> None:
    compiled = cr.jit(lambda p: p.x + number(p.k))
    same = cr.jit(lambda p: p)
    for k in [*map(wrap, settings), *map(wrap, reversed(settings))]:
        assert compiled(holder(0.0, k)) == number(k)
        assert meaning(same(holder(0.0, k)).k) == meaning(k)


def test_settings_of_transformed_functions() -> None:
    slope = cr.grad(lambda p, k: p * number(k))
    for k in [(1, "a"), (True, "a"), (1.0, "a"), (0.0, "a"), (-0.0, "a"), (1, "a")]:
        assert slope(1.0, k) == number(k)


def test_keys_of_dicts() -> None:
    compiled = cr.jit(lambda d: {k: x + number(k) for k, x in d.items()})
    for k in (1, True, 1.0, 1, True):
        ((key, value),) = compiled({k: 0.0}).items()
        assert (meaning(key), value) == (meaning(k), number(k))


@pytest.mark.parametrize("order", list(permutations([0.0, -0.0])))
def test_signs_of_zeros(order: tuple[float, float]) -> None:
    compiled = cr.jit(lambda x, k: abs(x) * cnp.copysign(1.0, k), static_argnames="k")
    for k in order:
        assert compiled(2.0, k) == math.copysign(2.0, k)


def test_branches_with_settings_that_differ_are_refused() -> None:
    def whole(x: Any) -> Params:
        return Params(x, 1)

    def fraction(x: Any) -> Params:
        return Params(x, 1.0)

    with pytest.raises(
        cr.errors.StructureError, match=r"fraction has \{'k': 1\.0\}, whole \{'k': 1\}"
    ):
        cr.jit(lambda x: cr.cond(x > 0, whole, fraction, x))(1.0)


def test_nan_is_itself_and_authors_decide_of_their_classes() -> None:
    compiled = cr.jit(lambda x, k: x + 1.0, static_argnames="k")
    for setting in (float("nan"), (float("nan"),), Options(float("nan")), np.float32("nan")):
        compiled(1.0, setting)
    count = len(compiled.compilations)
    for setting in (float("nan"), (float("nan"),), Options(float("nan")), np.float32("nan")):
        compiled(1.0, setting)
    assert len(compiled.compilations) == count
    assert setting_key(Own(1, 2)) == setting_key(Own(1, 3))
    assert setting_key(Options(1, note="a")) == setting_key(Options(1, note="b"))


@pytest.mark.parametrize("bad", [[1], ([1],), {"a": 1}], ids=repr)
def test_what_has_no_hash_is_no_setting(bad: Hashable) -> None:
    with pytest.raises(cr.errors.StructureError, match="the static argument k is not hashable"):
        cr.jit(lambda x, k: x, static_argnames="k")(1.0, bad)


def test_structures_compare_as_their_settings_do() -> None:
    structures = [tree_structure(Params(0.0, k)) for k in (1, True, 1.0, (1,), (True,), 0.0, -0.0)]
    assert len(set(structures)) == len(structures)
    assert tree_structure(Params(0.0, (1, "a"))) == tree_structure(Params(5.0, (1, "a")))
