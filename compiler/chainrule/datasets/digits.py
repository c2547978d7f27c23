"""The handwritten digits, as shipped in digits.npz (source and licence: digits.txt)."""

from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Split", "load_digits", "split"]


class Split(NamedTuple):
    """Examples to learn from and examples held out."""

    train_images: NDArray[Any]
    train_labels: NDArray[Any]
    test_images: NDArray[Any]
    test_labels: NDArray[Any]


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load 1,797 handwritten digits of 8x8 pixels.

    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak,
    UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0.
    No network is used: the file of 45 kB is a part of the package.

    Returns:
        `images`, uint8[1797, 64], rows of pixels from 0 (paper) to 16 (ink), line by line; and
        `labels`, int64[1797], from 0 to 9.  New arrays at every call, 129 kB.

    >>> images, labels = load_digits()
    >>> images.shape, int(images.max()), labels[:5].tolist()
    ((1797, 64), 16, [0, 1, 2, 3, 4])
    """
    path = resources.files("chainrule.datasets") / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return data["images"], data["labels"].astype(np.int64)


def split(
    images: NDArray[Any], labels: NDArray[Any], *, held_out: float = 0.2, seed: int = 0
) -> Split:
    """Hold out a part of the examples, the same part at every call.

    The examples are shuffled by `seed` first: neighbours in a file are often by one hand.

    Args:
        images: An array of n examples along its first axis.
        labels: An array of n labels.
        held_out: The part held out, between 0 and 1; rounded to a whole number of examples.
        seed: Another seed holds out other examples.

    Returns:
        Copies: `(train_images, train_labels, test_images, test_labels)`.

    Raises:
        ValueError: The arrays differ in their number of examples, or `held_out` is not between
            0 and 1.

    >>> parts = split(*load_digits())
    >>> len(parts.train_labels), len(parts.test_labels)
    (1438, 359)
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images, but {len(labels)} labels")
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out is a part between 0 and 1, not {held_out}")
    order = np.random.Generator(np.random.Philox(seed)).random(len(labels)).argsort(kind="stable")
    test = round(held_out * len(labels))
    train_rows, test_rows = order[test:], order[:test]
    return Split(images[train_rows], labels[train_rows], images[test_rows], labels[test_rows])
