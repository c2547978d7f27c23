from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from chainrule import random
from chainrule.typing import Array

# Known answers of the generator's authors (Random123, kat_vectors, threefry2x32 with 20 rounds):
# counter, key, result.
KNOWN = [
    ("00000000 00000000", "00000000 00000000", "6b200159 99ba4efe"),
    ("ffffffff ffffffff", "ffffffff ffffffff", "1cb996fc bb002be7"),
    ("243f6a88 85a308d3", "13198a2e 03707344", "c4923a9c 483df7a0"),
]
N = 200_000


def words(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter: str, key: str, result: str) -> None:
    low, high = words(counter).reshape(2, 1)

    assert np.concatenate(random.threefry2x32(words(key), low, high)).tolist() == (
        words(result).tolist()
    )


def reference(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32-20 in Python's integers, from the article's text."""
    full = 2**32 - 1
    extended = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + key[0]) & full, (counter[1] + key[1]) & full
    for block in range(5):
        for turn in (13, 15, 26, 6) if block % 2 == 0 else (17, 29, 16, 24):
            x = (x + y) & full
            y = ((y << turn | y >> (32 - turn)) & full) ^ x
        x = (x + extended[(block + 1) % 3]) & full
        y = (y + extended[(block + 2) % 3] + block + 1) & full
    return x, y


def test_bits_are_the_generator_at_each_index() -> None:
    key = random.key(0x0123456789ABCDEF)
    expected = [reference((0x01234567, 0x89ABCDEF), (i, 0))[0] for i in range(6)]

    assert random.bits(key, (2, 3)).ravel().tolist() == expected


def test_key_keeps_64_bits_of_its_seed() -> None:
    assert random.key(2**64 - 1).tolist() == [2**32 - 1, 2**32 - 1]
    assert random.key(-1).tolist() == [2**32 - 1, 2**32 - 1]
    assert random.key(5).dtype == np.uint32


@pytest.mark.parametrize("draw", [random.bits, random.uniform, random.normal])
def test_a_longer_draw_begins_with_the_shorter(draw: Any) -> None:
    assert np.array_equal(draw(random.key(3), (7,)), draw(random.key(3), (100,))[:7])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_shapes_and_dtypes(draw: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    sample = draw(random.key(0), shape, dtype)

    assert sample.shape == shape
    assert sample.dtype == dtype


def test_split_and_fold_in_make_streams_apart() -> None:
    key = random.key(1)
    keys = [key, *random.split(key, 20), *(random.fold_in(key, i) for i in range(20))]
    draws = np.stack([random.bits(k, (50,)) for k in keys])

    assert random.split(key, 20).shape == (20, 2)
    # 2050 words of 32 bits: a repeated one is expected once in two thousand such tests.
    assert len(np.unique(draws)) == draws.size


def test_fold_in_takes_numbers_and_arrays_alike() -> None:
    key = random.key(1)

    assert np.array_equal(random.fold_in(key, 7), random.fold_in(key, np.int32(7)))
    assert np.array_equal(random.fold_in(key, 7), random.fold_in(key, np.array(7, np.int64)))
    assert random.fold_in(key, 7).dtype == np.uint32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_is_uniform(dtype: Any) -> None:
    sample = random.uniform(random.key(11), (N,), dtype)

    assert sample.min() >= 0
    assert sample.max() < 1
    assert stats.kstest(sample, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / math.sqrt(N)


def test_uniform_between_bounds() -> None:
    sample = random.uniform(random.key(2), (N,), np.float64, -3, 5)
    bounds = np.array([0.0, 10.0], np.float32)
    pair = random.uniform(random.key(2), (1000, 2), np.float32, bounds, bounds + 1)

    assert stats.kstest(sample, stats.uniform(-3, 8).cdf).pvalue > 1e-3
    assert pair.dtype == np.float32
    assert ((pair >= bounds) & (pair <= bounds + 1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_is_normal(dtype: Any) -> None:
    sample = random.normal(random.key(12), (N,), dtype).astype(np.float64)

    assert np.isfinite(sample).all()
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    # Standard errors of the first four moments of N(0, 1): 1, sqrt 2, sqrt 15, sqrt 96.
    moments = [(sample**k).mean() for k in (1, 2, 3, 4)]
    for moment, exact, spread in zip(moments, [0, 1, 0, 3], [1, 2, 15, 96], strict=True):
        assert moment == pytest.approx(exact, abs=4 * math.sqrt(spread / N))


def test_normal_at_the_ends_of_its_fractions(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = np.array([0, 2**32 - 1], np.uint32)
    cases: list[tuple[Any, float]] = [(np.float32, 6.76), (np.float64, 8.65)]
    for dtype, reach in cases:
        monkeypatch.setattr(random, "words", lambda *_: (ends, np.zeros(2, np.uint32)))
        farthest, nearest = random.normal(random.key(0), (2,), dtype)
        assert farthest == pytest.approx(reach, abs=0.01)
        assert nearest == pytest.approx(0, abs=1e-3)


def test_bernoulli_meets_its_probability() -> None:
    key = random.key(4)
    probabilities = np.array([0.0, 0.3, 1.0])
    sample = random.bernoulli(key, probabilities, (N, 3))

    assert sample.dtype == np.bool_
    assert sample.mean(axis=0) == pytest.approx(probabilities, abs=4 * math.sqrt(0.21 / N))
    assert random.bernoulli(key, probabilities).shape == (3,)
    assert random.bernoulli(key).shape == ()


@pytest.mark.parametrize(("low", "high"), [(-5, 5), (0, 2), (0, 7), (-(2**31), 2**31 - 1)])
def test_randint_is_uniform_over_its_range(low: int, high: int) -> None:
    sample = random.randint(random.key(6), (N,), low, high).astype(np.int64)

    assert sample.min() >= low
    assert sample.max() < high
    bins = min(high - low, 16)
    counts = np.bincount((sample - low) * bins // (high - low), minlength=bins)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("span", [1, 3, 2**16 + 1, 2**31 - 1, 2**32 - 1])
def test_randint_is_the_exact_product(span: int) -> None:
    key = random.key(8)
    low, high = random.threefry2x32(key, np.arange(50, dtype=np.uint32), np.zeros(1, np.uint32))
    expected = [(int(a) << 32 | int(b)) * span >> 64 for a, b in zip(low, high, strict=True)]

    assert random.randint(key, (50,), 0, span, np.int64).tolist() == expected


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (0, 2**32)])
def test_randint_refuses_an_impossible_range(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=r"holds .* integers"):
        random.randint(random.key(0), (1,), low, high)


def test_floats_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="are floats, not int32"):
        random.uniform(random.key(0), (1,), np.int32)


def test_permutation_of_numbers_and_of_rows() -> None:
    key = random.key(9)
    rows = np.arange(20).reshape(10, 2)
    shuffled: Array = random.permutation(key, rows)

    assert sorted(random.permutation(key, 1000).tolist()) == list(range(1000))
    assert np.array_equal(shuffled, rows[random.permutation(key, 10)])


def test_permutations_are_equally_likely() -> None:
    keys = random.split(random.key(10), 6000)
    seen = [tuple(random.permutation(key, 3).tolist()) for key in keys]
    _, counts = np.unique(seen, axis=0, return_counts=True)

    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
