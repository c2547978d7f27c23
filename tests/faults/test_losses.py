"""Kind: losses whose shapes silently broadcast to every prediction beside every target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn
from chainrule.errors import ShapeError

LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "squared_error": nn.squared_error,
    "mean_squared_error": nn.mean_squared_error,
    "absolute_error": nn.absolute_error,
    "huber": nn.huber,
    "sigmoid_binary_cross_entropy": nn.sigmoid_binary_cross_entropy,
}
CROSSED = [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (1, 4)), ((4, 1), (3,)), ((2, 4, 1), (2, 4)),
           ((1, 5), (4, 1)), ((0, 1), (0,))]  # fmt: skip
FITTING = [((4,), (4,)), ((4, 1), (4, 1)), ((4, 3), (3,)), ((4, 3), ()), ((), (4,)), ((1, 1), (1,)),
           ((4, 3), (1, 3)), ((1, 1), (3,)), ((0,), (0,)), ((2, 3, 4), (3, 4))]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), CROSSED, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_make_all_pairs_are_refused(
    name: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    loss = LOSSES[name]
    x, y = np.zeros(first), np.zeros(second)
    for call in (loss, cr.jit(loss), cr.grad(lambda x, y: cnp.sum(loss(x, y)))):
        with pytest.raises(ShapeError, match="would broadcast to"):
            call(x, y)


@pytest.mark.parametrize(("first", "second"), FITTING, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_fit_are_taken(
    name: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    loss, draw = LOSSES[name], np.random.default_rng(0)
    x, y = draw.normal(size=first), draw.uniform(size=second)
    wide = np.broadcast_arrays(x, y)
    np.testing.assert_allclose(cr.jit(loss)(x, y), loss(*wide), rtol=1e-12, atol=1e-12)


def test_named_dims_are_told_apart_from_1() -> None:
    dims: Any = {"x": ("n", 1), "y": ("n",)}
    f = cr.jit(nn.mean_squared_error, dims={"predictions": dims["x"], "targets": dims["y"]})
    with pytest.raises(ShapeError, match=r"would broadcast to \[n, n\]"):
        f(np.zeros((4, 1)), np.zeros(4))


def test_examples_are_compared_one_by_one_under_vmap() -> None:
    x, y = np.arange(4.0)[:, None], np.zeros(4)
    np.testing.assert_allclose(cr.vmap(nn.mean_squared_error)(x, y), np.arange(4.0) ** 2)


def test_the_message_names_both_and_the_line() -> None:
    with pytest.raises(ShapeError) as caught:
        nn.mean_squared_error(np.zeros((4, 1)), np.zeros(4))
    lines = str(caught.value).splitlines()
    assert lines[0] == ("mean_squared_error: predictions and targets would broadcast to [4, 4]")
    assert lines[1:3] == ["  predictions  [4, 1]", "  targets  [4]"]
    assert "test_losses.py" in lines[3]
    assert lines[4].startswith("hint: give both the same shape")


LOGITS = np.random.default_rng(1).normal(size=(4, 3))
LABELS = np.array([0, 2, 1, 0])


@pytest.mark.parametrize(
    "labels",
    [LABELS[:, None], LABELS[None, :], LABELS[:3], LABELS.reshape(2, 2), np.full((1, 3), 1 / 3),
     np.full((4, 1), 1.0), np.full((4, 3, 1), 1 / 3), np.full((4, 4), 0.25)],
    ids=lambda a: str(a.shape),
)  # fmt: skip
def test_labels_have_a_place_for_every_example(labels: Any) -> None:
    for call in (nn.softmax_cross_entropy, cr.jit(nn.softmax_cross_entropy)):
        with pytest.raises(ShapeError, match="labels do not fit the logits"):
            call(LOGITS, labels)


def test_labels_that_fit() -> None:
    expected = np.log(np.exp(LOGITS).sum(-1)) - LOGITS[np.arange(4), LABELS]
    for labels in (
        LABELS,
        LABELS.astype(np.uint8),
        np.eye(3)[LABELS],
        np.eye(3, dtype=int)[LABELS],
    ):
        np.testing.assert_allclose(nn.softmax_cross_entropy(LOGITS, labels), expected, rtol=1e-12)
    named = cr.jit(nn.softmax_cross_entropy, dims={"logits": ("n", None), "labels": ("n",)})
    for n in (4, 1, 0, 2):
        np.testing.assert_allclose(named(LOGITS[:n], LABELS[:n]), expected[:n], rtol=1e-12)
