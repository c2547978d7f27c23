from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import optim


def clipped(grads: Any, limit: float) -> Any:
    opt = optim.clip_by_global_norm(limit)
    return opt.update(grads, opt.init(grads), grads)[0]


def test_global_norm_is_that_of_all_leaves_together() -> None:
    draw = np.random.default_rng(0)
    tree: Any = {
        "a": draw.normal(size=(3, 4)),
        "b": [draw.normal(size=5), np.array(2.0)],
        "c": None,
    }
    flat = np.concatenate([tree["a"].ravel(), tree["b"][0], [2.0]])

    assert optim.global_norm(tree) == pytest.approx(np.linalg.norm(flat), rel=1e-15)


@pytest.mark.parametrize(
    ("dtype", "huge", "tiny"), [(np.float32, 1e38, 1e-44), (np.float64, 1e308, 1e-320)]
)
def test_global_norm_neither_overflows_nor_vanishes(dtype: Any, huge: float, tiny: float) -> None:
    for scale, tolerance in [(huge, 1e-6), (tiny, 0.2)]:
        norm = optim.global_norm([np.full(1, scale, dtype), np.full(1, scale, dtype)])
        assert norm == pytest.approx(scale * 2**0.5, rel=tolerance)
        assert norm.dtype == dtype


@pytest.mark.parametrize("tree", [{}, None, [np.zeros(0)], [np.zeros((3, 0)), None]])
def test_a_tree_without_elements_has_length_0_and_is_kept(tree: Any) -> None:
    assert optim.global_norm(tree) == 0
    assert type(clipped(tree, 1.0)) is type(tree)


def test_short_gradients_are_kept_to_the_bit() -> None:
    for scale in (1e-30, 1.0, 0.5773502):
        grads = {"w": np.full(3, scale, np.float32)}
        assert np.array_equal(clipped(grads, 1.0001 * 3**0.5)["w"], grads["w"])


@pytest.mark.parametrize("scale", [2.0, 1e10, 1e38])
def test_long_gradients_keep_their_direction(scale: float) -> None:
    grads = [np.array([3.0, 0.0], np.float32) * np.float32(scale), np.full(1, 4 * scale / 2)]
    grads[1] *= 2
    short = clipped(grads, 0.5)

    assert [leaf.dtype for leaf in short] == [np.float32, np.float64]
    assert short[0] == pytest.approx([0.3, 0.0], rel=1e-6)
    assert short[1] == pytest.approx([0.4], rel=1e-6)


def test_length_beyond_the_largest_float_is_still_clipped() -> None:
    grads = np.full(4, np.finfo(np.float32).max)

    assert clipped(grads, 1.0) == pytest.approx(np.full(4, 0.5), rel=1e-5)


def test_zero_gradients_stay_zero() -> None:
    assert clipped({"w": np.zeros(3)}, 1e-300)["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_not_hidden(bad: float) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(clipped({"a": np.array([bad]), "b": np.ones(2)}, 1.0)["b"]).all()


def test_limits_are_positive() -> None:
    for limit in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="is positive, not"):
            optim.clip_by_global_norm(limit)


def test_clip_bounds_elements() -> None:
    opt = optim.clip(0.5)
    grads = {"w": np.array([-2, 0.25, 7], np.float32)}
    after, state = opt.update(grads, opt.init(grads), grads)

    assert after["w"].tolist() == [-0.5, 0.25, 0.5]
    assert after["w"].dtype == np.float32
    assert state == ()
