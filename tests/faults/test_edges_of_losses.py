"""Kinds: labels that count from the end; 0 times an infinite logarithm; draws beyond their dtype.

As in tensorflow#4443 and optax#1185; in pytorch#49844, pytorch#102894 and optax#431; and in
jax#5785, jax#6389 and jax#2006.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, random
from chainrule.errors import OutOfRangeError

Z = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -3.0]])
WAYS: list[Callable[..., Any]] = [
    nn.softmax_cross_entropy,
    cr.jit(nn.softmax_cross_entropy),
    cr.jit(nn.softmax_cross_entropy, dims={"logits": ("n", "k"), "labels": ("n",)}),
    cr.grad(lambda z, y: cnp.sum(nn.softmax_cross_entropy(z, y))),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("label", [-1, -3, -4, -100, 3, 100])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_labels_that_are_no_class_are_refused(way: Any, label: int, dtype: str) -> None:
    with pytest.raises(IndexError):
        way(Z, np.array([0, label], dtype))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "uint32"])
def test_labels_of_every_type_are_taken(dtype: str) -> None:
    y = np.array([2, 0], dtype)
    exact = [
        float(mpmath.log(sum(mpmath.exp(v) for v in row)) - row[k])
        for row, k in zip(Z.tolist(), y.tolist(), strict=True)
    ]
    for way in WAYS[:3]:
        np.testing.assert_allclose(way(Z, y), exact, 1e-14)


def test_labels_known_while_tracing_are_refused_too() -> None:
    with pytest.raises(IndexError):
        cr.jit(lambda z: nn.softmax_cross_entropy(z, np.array([0, -1])))(Z)


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (2**31 - 3, 2**31 + 3, "int32"), (0, 300, "uint8"), (-5, -2, "uint8"), (0, 257, "uint8"),
        (2**63 - 1, 2**63 + 1, "int64"), (-(2**31) - 1, 0, "int32"),
    ],
)  # fmt: skip
def test_draws_beyond_their_type_are_refused(low: int, high: int, dtype: str) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        np.random.default_rng(0).integers(low, high, 6, dtype=dtype)
    for draw in (random.randint, cr.jit(random.randint, static_argnames=WORDS)):
        with pytest.raises(OutOfRangeError, match=f"reaches beyond {dtype}") as raised:
            draw(random.key(0), (6,), low, high, dtype)
        assert isinstance(raised.value, ValueError)


WORDS = ("shape", "minval", "maxval", "dtype")


@pytest.mark.parametrize(("low", "high", "dtype"), [(0, 256, "uint8"), (2**31 - 3, 2**31, "int32")])
def test_draws_fill_their_type(low: int, high: int, dtype: str) -> None:
    found = random.randint(random.key(0), (4000,), low, high, dtype)
    assert (found.min(), found.max(), found.dtype) == (low, high - 1, dtype)
