"""Random numbers from keys: the same key gives the same numbers, anywhere and in any order.

The generator is Threefry-2x32 with 20 rounds: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC'11, https://doi.org/10.1145/2063384.2063405.
It is a function of a key and a counter, so there is no hidden state: a key is used once, and
`split` makes more of them.

Each element of a result depends on the key and its own index alone.  A longer draw therefore
begins with the shorter one, and inside a compiled function a draw is an elementwise computation
that fuses with what uses it.  Everything here works on plain arrays and inside a trace; integers
have the same bits in both, floats may differ in the last place of a logarithm or a cosine.

>>> first, second = split(key(0))
>>> uniform(first, (2,)).dtype
dtype('float32')
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import absent, public_names
from chainrule.ir.dims import Dim
from chainrule.ir.types import F64, dtype_of
from chainrule.transform.loops import fori_loop
from chainrule.transform.transformed import has_traced
from chainrule.typing import Array, DType, Key, Shape

__all__ = [
    "bernoulli",
    "bits",
    "fold_in",
    "key",
    "normal",
    "permutation",
    "randint",
    "split",
    "threefry2x32",
    "uniform",
]

PARITY: Final = 0x1BD11BDA
ROTATIONS: Final = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS: Final = 20

# The second word of the counter keeps uses of one key apart; draws count up from 0.
SPLIT_STREAM: Final = 0xFFFFFFFF
FOLD_STREAM: Final = 0xFFFFFFFE


def threefry2x32(key: Key, low: Array, high: Array) -> tuple[Array, Array]:
    """Encrypt counters: 20 rounds of Threefry-2x32, about 70 integer operations an element.

    Args:
        key: uint32[2].
        low: The counters' first words, an array of uint32.
        high: Their second words; broadcasts with `low`.

    Returns:
        Two arrays of uint32 of the counters' shape, independent of one another.

    >>> zeros = np.zeros(1, np.uint32)
    >>> [hex(word[0]) for word in threefry2x32(np.zeros(2, np.uint32), zeros, zeros)]
    ['0x6b200159', '0x99ba4efe']
    """
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


def key(seed: int) -> Key:
    """Make a key from a number.

    Args:
        seed: An integer; its lowest 64 bits count.

    Returns:
        uint32[2].

    >>> key(7).tolist()
    [0, 7]
    """
    return np.array([(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)


def split(key: Key, n: int = 2) -> Array:
    """Make `n` independent keys from one, which is not to be used again.

    Returns:
        uint32[n, 2]: one key a row.

    >>> keys = split(key(0), 3)
    >>> keys.shape, keys.dtype
    ((3, 2), dtype('uint32'))
    """
    return cnp.stack(_words(key, n, SPLIT_STREAM), axis=1)


def fold_in(key: Key, number: Array | int) -> Key:
    """Make the key that belongs to `number`: a step, a layer, an example.

    Unlike `split` it takes numbers known only when a compiled function runs, as a step count.

    Args:
        key: uint32[2].
        number: An integer, or a 0-d array of an integer type; its lowest 32 bits count.

    Returns:
        uint32[2].

    >>> bool((fold_in(key(0), 1) != fold_in(key(0), 2)).any())
    True
    """
    if isinstance(number, int):
        number = np.array(number & 0xFFFFFFFF, np.uint32)
    counter = cnp.reshape(number, (1,)).astype(np.uint32)
    return cnp.concatenate(threefry2x32(key, counter, np.full(1, FOLD_STREAM, np.uint32)))


def bits(key: Key, shape: Shape = ()) -> Array:
    """Draw uniform 32-bit words: uint32 of `shape`.

    >>> bits(key(0), (2,)).dtype
    dtype('uint32')
    """
    return cnp.reshape(_words(key, _count(shape), 0)[0], tuple(shape))


def uniform(
    key: Key,
    shape: Shape = (),
    dtype: DType = np.float32,
    minval: Array | float = 0.0,
    maxval: Array | float = 1.0,
) -> Array:
    """Draw from the uniform distribution over [minval, maxval).

    Multiples of 2**-24 (float32), 2**-53 (float64), 2**-11 (float16) or 2**-8 (bfloat16) before
    scaling; scaling may round the largest to `maxval`.

    Args:
        key: uint32[2].
        shape: The result's shape.
        dtype: A dtype of floats; 16 bits are computed in float32.
        minval: Number, or array that broadcasts to `shape`.
        maxval: The same.

    Returns:
        An array of `shape` and `dtype`.

    >>> sample = uniform(key(0), (1000,), minval=-1, maxval=1)
    >>> bool((sample >= -1).all() and (sample < 1).all()), bool(abs(sample.mean()) < 0.1)
    (True, True)
    """
    kind, wide = _float(dtype)
    unit = cnp.reshape(_fraction(_words(key, _count(shape), 0), kind), tuple(shape))
    # Numbers are weak, so that float32 stays float32; the usual unit interval costs nothing.
    if type(minval) in (int, float) and type(maxval) in (int, float):
        if (minval, maxval) == (0, 1):
            return unit.astype(kind, copy=False)
        return (unit * (maxval - minval) + minval).astype(kind, copy=False)
    low, high = (cnp.asarray(bound).astype(wide) for bound in (minval, maxval))
    return (unit * (high - low) + low).astype(kind, copy=False)


def normal(key: Key, shape: Shape = (), dtype: DType = np.float32) -> Array:
    """Draw from the normal distribution of mean 0 and variance 1.

    By the transformation of G. E. P. Box and M. E. Muller, "A note on the generation of random
    normal deviates", Ann. Math. Statist. 29 (1958).  Magnitudes reach 6.7 (float32) and 8.6
    (float64); one logarithm, one cosine and one square root an element.

    Args:
        key: uint32[2].
        shape: The result's shape.
        dtype: A dtype of floats; 16 bits are computed in float32.

    Returns:
        An array of `shape` and `dtype`.

    >>> sample = normal(key(0), (10_000,))
    >>> sample.dtype, bool(abs(sample.mean()) < 0.05), bool(abs(sample.std() - 1) < 0.05)
    (dtype('float32'), True, True)
    """
    (kind, wide), count = _float(dtype), _count(shape)
    first, second = _words(key, count, 0)
    if wide == np.float32:
        # All 32 bits: the smallest fraction decides how far the tail reaches.
        radial = first.astype(wide) * 2.0**-32 + 2.0**-33
        angular = second.astype(wide) * 2.0**-32
    else:
        radial = _fraction((first, second), wide) + 2.0**-54
        angular = _fraction(_words(key, count, 1), wide)
    value = cnp.sqrt(-2.0 * cnp.log(radial)) * cnp.cos((2 * math.pi) * angular)
    return cnp.reshape(value, tuple(shape)).astype(kind, copy=False)


def bernoulli(key: Key, p: Array | float = 0.5, shape: Shape | None = None) -> Array:
    """Draw True with probability `p`.

    Args:
        key: uint32[2].
        p: Probability: a number, or an array that broadcasts to `shape`.
        shape: The result's shape; that of `p` unless given.

    Returns:
        bool of `shape`.  Probabilities are met to 2**-24.

    >>> sample = bernoulli(key(0), 0.25, (10_000,))
    >>> sample.dtype, bool(abs(sample.mean() - 0.25) < 0.02)
    (dtype('bool'), True)
    """
    return uniform(key, getattr(p, "shape", ()) if shape is None else shape) < p


def randint(key: Key, shape: Shape, minval: int, maxval: int, dtype: DType = np.int32) -> Array:
    """Draw integers from [minval, maxval).

    Each of 64 random bits counts, so no value is likelier than another by more than 2**-32 of
    its probability.

    Args:
        key: uint32[2].
        shape: The result's shape.
        minval: The least value.
        maxval: One more than the greatest; at most `minval` + 2**32 - 1.
        dtype: An integer dtype.

    Returns:
        An array of `shape` and `dtype`.

    Raises:
        ValueError: The range is empty or too long.

    >>> sorted(set(randint(key(0), (100,), 3, 6).tolist()))
    [3, 4, 5]
    """
    span = int(maxval) - int(minval)
    if not 0 < span < 2**32:
        raise ValueError(f"[{minval}, {maxval}) holds {span} integers, not 1 to 2**32 - 1")
    first, second = _words(key, _count(shape), 0)
    # The 64-bit fraction (first, second) times span: its whole part, built from 32-bit products.
    whole, part = _product(first, np.uint32(span))
    carry, _ = _product(second, np.uint32(span))
    total = part + carry
    offset = whole + (total < part).astype(np.uint32)
    return cnp.reshape(offset.astype(dtype) + int(minval), tuple(shape))


def permutation(key: Key, x: Array | int) -> Array:
    """Shuffle the numbers 0 to x - 1, or the rows of an array.

    Sorts by random words; two equal words of 32 bits (probability below n**2 / 2**33 in all)
    leave their two elements in order.  Inside a trace the words are sorted bit by bit, in 32 steps
    of time proportional to n each: the same permutation.

    Args:
        key: uint32[2].
        x: A number of elements, which may be an extent, or an array to shuffle along its first
            axis.

    Returns:
        int64[x], or an array like `x`.

    >>> sorted(permutation(key(0), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    counted = isinstance(x, int | Dim)
    words = bits(key, (x if counted else x.shape[0],))
    order = _order(words) if has_traced(words) else cnp.argsort(words, stable=True)
    return order if counted else cnp.take(x, order, axis=0)


def _order(words: Array) -> Array:
    """Return the stable order of 32-bit words: by each bit in turn, the lowest first.

    The sort of H. H. Goldstine's and J. von Neumann's punched cards: those with a 0 keep their
    order before those with a 1.
    """
    count = words.shape[0]

    def step(bit: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        words, order = state
        one = cnp.bitwise_and(cnp.right_shift(words, bit.astype(np.uint32)), np.uint32(1)) == 1
        ones = one.astype(np.int64)
        before = cnp.cumsum(ones) - ones
        zeros = count - cnp.sum(ones)
        to = cnp.where(one, zeros + before, cnp.arange(count) - before)
        # Each place is met once: added, which is cheaper than to look for the last one set.
        return cnp.zeros_like(words).at[to].add(words), cnp.zeros_like(order).at[to].add(order)

    order: Array = fori_loop(0, 32, step, (words, cnp.arange(count) + cnp.zeros_like(words)))[1]
    return order


def _words(key: Key, count: Any, stream: int) -> tuple[Array, Array]:
    """Return two random words for each of `count` counters."""
    return threefry2x32(key, cnp.arange(count, dtype=np.uint32), np.full(1, stream, np.uint32))


def _count(shape: Shape) -> Any:
    """Return the number of elements, which may be a product of named dims."""
    return math.prod(shape)


def _float(dtype: DType) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return a dtype of floats, and that in which its numbers are computed."""
    kind = dtype_of(dtype)
    if not kind.is_float:
        raise TypeError(f"random numbers of this kind are floats, not {kind.numpy}")
    return kind.numpy, np.dtype(np.float64 if kind is F64 else np.float32)


_DIGITS: Final = {"bfloat16": 8, "float16": 11, "float32": 24}
"Bits of the significand."


def _fraction(words: tuple[Array, Array], dtype: np.dtype[Any]) -> Array:
    """Return multiples of the dtype's half epsilon in [0, 1), those of 16 bits in float32."""
    first, second = words
    digits = _DIGITS.get(dtype.name)
    if digits is not None:
        return cnp.right_shift(first, np.uint32(32 - digits)).astype(np.float32) * 2.0**-digits
    upper = cnp.right_shift(first, np.uint32(5)).astype(dtype)
    lower = cnp.right_shift(second, np.uint32(6)).astype(dtype)
    return (upper * 2.0**26 + lower) * 2.0**-53


def _product(x: Array, factor: np.uint32) -> tuple[Array, Array]:
    """Return the upper and lower words of a product of 32-bit words, by their halves."""
    half, mask = np.uint32(16), np.uint32(0xFFFF)
    upper, lower = cnp.right_shift(x, half), cnp.bitwise_and(x, mask)
    factor_upper, factor_lower = factor >> half, factor & mask
    first = lower * factor_lower
    middle = upper * factor_lower + cnp.right_shift(first, half)
    second = lower * factor_upper + cnp.bitwise_and(middle, mask)
    whole = upper * factor_upper + cnp.right_shift(middle, half) + cnp.right_shift(second, half)
    return whole, x * factor


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
