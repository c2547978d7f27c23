"""The generator: random words from a key and counters, in a trace or on plain arrays.

On plain arrays it is computed in NumPy until many words have been drawn, and natively from then on:
integers have the same bits in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np

import chainrule.numpy as cnp
from chainrule.frontend.compiled_later import CompiledLater
from chainrule.random.checks import require_key
from chainrule.typing import Array, Key

__all__ = ["below", "by_pieces", "threefry2x32", "words"]

PARITY: Final = 0x1BD11BDA
ROTATIONS: Final = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS: Final = 20
PIECE: Final = 1 << 14
"Elements of plain arrays that are computed at a time: larger temporaries cost more than they do."


def threefry2x32(key: Key, low: Array, high: Array) -> tuple[Array, Array]:
    """Encrypt counters: 20 rounds of Threefry-2x32, about 70 integer operations an element.

    Args:
        key: uint32[2].
        low: The counters' first words, an array of uint32.
        high: Their second words; broadcasts with `low`.

    Returns:
        Two arrays of uint32 of the counters' shape, independent of one another.

    Raises:
        StructureError: `key` is no key.

    >>> zeros = np.zeros(1, np.uint32)
    >>> [hex(word[0]) for word in threefry2x32(np.zeros(2, np.uint32), zeros, zeros)]
    ['0x6b200159', '0x99ba4efe']
    """
    require_key(key, "threefry2x32")
    # Slices, not elements: arithmetic of NumPy's scalars warns where that of arrays wraps around.
    first, second = key[0:1], key[1:2]
    third = cnp.bitwise_xor(cnp.bitwise_xor(first, second), np.uint32(PARITY))
    schedule = (first, second, third)
    x, y = low + first, high + second
    for i in range(ROUNDS):
        turn = ROTATIONS[i % 8]
        x = x + y
        rotated = cnp.bitwise_or(
            cnp.left_shift(y, np.uint32(turn)), cnp.right_shift(y, np.uint32(32 - turn))
        )
        y = cnp.bitwise_xor(x, rotated)
        if i % 4 == 3:
            block = i // 4 + 1
            x = x + schedule[block % 3]
            y = y + (schedule[(block + 1) % 3] + np.uint32(block))
    return x, y


def words(key: Key, count: Any, stream: int, first: Array | None = None) -> tuple[Array, Array]:
    """Return two random words for each of `count` counters, from `first` (uint32[1]) on or 0.

    The second word of the counter, `stream`, keeps uses of one key apart.
    """
    start = np.zeros(1, np.uint32) if first is None else first
    high = np.full(1, stream, np.uint32)
    if isinstance(count, int) and _is_plain(key) and _is_plain(start):
        found: tuple[Array, Array] = _COUNTED(key, start, high, _blank(count), elements=count)
        return found
    counters = cnp.arange(count, dtype=np.uint32)
    return threefry2x32(key, counters if first is None else counters + start, high)


def by_pieces(fn: Callable[..., Array], given: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    """Return `fn(*given)`, elementwise; of plain arrays in pieces that stay in cache."""
    count = given[0].shape[0]
    if type(given[0]) is not np.ndarray or count <= PIECE:
        return fn(*given)
    result = np.empty(count, dtype)
    for i in range(0, count, PIECE):
        result[i : i + PIECE] = fn(*(w[i : i + PIECE] for w in given))
    return result


def _is_plain(x: Any) -> bool:
    """Tell whether a key or counter is what compiled code takes as it is."""
    return type(x) is np.ndarray and x.dtype == np.uint32 and x.shape in ((2,), (1,))


def _blank(count: int) -> Array:
    """Return an array that nobody reads or writes: it tells compiled code how many to draw."""
    return np.empty(count, np.uint8)


def _counted(key: Key, start: Array, high: Array, blank: Array) -> tuple[Array, Array]:
    counters = cnp.arange(blank.shape[0], dtype=np.uint32)
    return threefry2x32(key, counters + start, high)


_COUNTED: Final = CompiledLater(_counted, {"blank": ("count",)})


def below(key: Key, count: Any, span: int) -> Array:
    """Return for each of `count` counters the whole part of `span` times a 64-bit fraction."""
    high, factor = np.zeros(1, np.uint32), np.full(1, span, np.uint32)
    if isinstance(count, int) and _is_plain(key):
        (found,) = _BELOW(key, high, factor, _blank(count), elements=2 * count)
        return cast("Array", found)
    return _scaled(words(key, count, 0), factor)


def _scaled(pair: tuple[Array, Array], factor: Array) -> Array:
    """Return the whole part of a factor times the 64-bit fraction that a pair of words is."""
    # Built from 32-bit products.
    whole, part = _product(pair[0], factor)
    carry, _ = _product(pair[1], factor)
    total = part + carry
    return whole + (total < part).astype(np.uint32)


def _below(key: Key, high: Array, factor: Array, blank: Array) -> tuple[Array]:
    return (_scaled(_counted(key, high, high, blank), factor),)


_BELOW: Final = CompiledLater(_below, {"blank": ("count",)})


def _product(x: Array, factor: Array) -> tuple[Array, Array]:
    """Return the upper and lower words of a product of 32-bit words, by their halves."""
    half, mask = np.uint32(16), np.uint32(0xFFFF)
    upper, lower = cnp.right_shift(x, half), cnp.bitwise_and(x, mask)
    factor_upper, factor_lower = cnp.right_shift(factor, half), cnp.bitwise_and(factor, mask)
    first = lower * factor_lower
    middle = upper * factor_lower + cnp.right_shift(first, half)
    second = lower * factor_upper + cnp.bitwise_and(middle, mask)
    whole = upper * factor_upper + cnp.right_shift(middle, half) + cnp.right_shift(second, half)
    return whole, x * factor
