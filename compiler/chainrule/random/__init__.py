"""Random numbers from keys: the same key gives the same numbers, anywhere and in any order.

The generator is Threefry-2x32 with 20 rounds: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC'11, https://doi.org/10.1145/2063384.2063405.
It is a function of a key and a counter, so there is no hidden state: a key is used once, and
`split` makes more of them.

Each element of a result depends on the key and its own index alone.  A longer draw therefore
begins with the shorter one, and inside a compiled function a draw is an elementwise computation
that fuses with what uses it.  Everything here works on plain arrays and inside a trace; integers
have the same bits in both, floats may differ in the last place of a logarithm or a cosine.  Plain
draws are computed in NumPy until many numbers have been drawn; from then on the generator itself
runs compiled, with the same bits.

>>> first, second = split(key(0))
>>> uniform(first, (2,)).dtype
dtype('float32')
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import OutOfRangeError, absent, explain, public_names
from chainrule.ir.dims import Dim
from chainrule.ir.types import F64, dtype_of
from chainrule.random.generator import below, by_pieces, threefry2x32, words
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

# Uses of one key that are kept apart from draws, whose stream is 0 (and 1).
SPLIT_STREAM: Final = 0xFFFFFFFF
FOLD_STREAM: Final = 0xFFFFFFFE


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
    return cnp.stack(words(key, n, SPLIT_STREAM), axis=1)


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
    return cnp.concatenate(words(key, 1, FOLD_STREAM, counter))


def bits(key: Key, shape: Shape = ()) -> Array:
    """Draw uniform 32-bit words: uint32 of `shape`.

    >>> bits(key(0), (2,)).dtype
    dtype('uint32')
    """
    return cnp.reshape(words(key, _count(shape), 0)[0], tuple(shape))


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
    drawn = words(key, _count(shape), 0)
    unit = by_pieces(lambda *pair: _fraction(pair, kind), drawn, wide)
    unit = cnp.reshape(unit, tuple(shape))
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
    drawn = words(key, count, 0)
    if wide == np.float32:
        value = by_pieces(_deviates32, drawn, wide)
    else:
        value = by_pieces(_deviates64, (*drawn, *words(key, count, 1)), wide)
    return cnp.reshape(value, tuple(shape)).astype(kind, copy=False)


def _deviates32(first: Array, second: Array) -> Array:
    # All 32 bits: the smallest fraction decides how far the tail reaches.
    radial = first.astype(np.float32) * 2.0**-32 + 2.0**-33
    return _box_muller(radial, second.astype(np.float32) * 2.0**-32)


def _deviates64(first: Array, second: Array, third: Array, fourth: Array) -> Array:
    kind = np.dtype(np.float64)
    radial = _fraction((first, second), kind) + 2.0**-54
    return _box_muller(radial, _fraction((third, fourth), kind))


def _box_muller(radial: Array, angular: Array) -> Array:
    return cnp.sqrt(-2.0 * cnp.log(radial)) * cnp.cos((2 * math.pi) * angular)


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
        OutOfRangeError: The dtype does not hold all of it; a ValueError, too.

    >>> sorted(set(randint(key(0), (100,), 3, 6).tolist()))
    [3, 4, 5]
    """
    span = int(maxval) - int(minval)
    if not 0 < span < 2**32:
        raise ValueError(f"[{minval}, {maxval}) holds {span} integers, not 1 to 2**32 - 1")
    bounds = np.iinfo(np.dtype(dtype))
    if minval < bounds.min or maxval - 1 > bounds.max:
        raise OutOfRangeError(
            explain(f"randint: {bounds.dtype} does not hold all of [{minval}, {maxval})",
                    f"bounds  {bounds.min} to {bounds.max}", hint="ask for a wider dtype=")
        )  # fmt: skip
    offset = below(key, _count(shape), span)
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
    rows: Any = None if isinstance(x, int | Dim) else x
    drawn = bits(key, (x if rows is None else rows.shape[0],))
    order = _order(drawn) if has_traced(drawn) else cnp.argsort(drawn, stable=True)
    return order if rows is None else cnp.take(rows, order, axis=0)


def _order(drawn: Array) -> Array:
    """Return the stable order of 32-bit words: by each bit in turn, the lowest first.

    The sort of H. H. Goldstine's and J. von Neumann's punched cards: those with a 0 keep their
    order before those with a 1.
    """
    count = drawn.shape[0]

    def step(bit: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, order = state
        one = cnp.bitwise_and(cnp.right_shift(left, bit.astype(np.uint32)), np.uint32(1)) == 1
        ones = one.astype(np.int64)
        before = cnp.cumsum(ones) - ones
        zeros = count - cnp.sum(ones)
        to = cnp.where(one, zeros + before, cnp.arange(count) - before)
        # Each place is met once: added, which is cheaper than to look for the last one set.
        return cnp.zeros_like(left).at[to].add(left), cnp.zeros_like(order).at[to].add(order)

    order: Array = fori_loop(0, 32, step, (drawn, cnp.arange(count) + cnp.zeros_like(drawn)))[1]
    return order


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


def _fraction(pair: tuple[Array, Array], dtype: np.dtype[Any]) -> Array:
    """Return multiples of the dtype's half epsilon in [0, 1), those of 16 bits in float32."""
    first, second = pair
    digits = _DIGITS.get(dtype.name)
    if digits is not None:
        return cnp.right_shift(first, np.uint32(32 - digits)).astype(np.float32) * 2.0**-digits
    upper = cnp.right_shift(first, np.uint32(5)).astype(dtype)
    lower = cnp.right_shift(second, np.uint32(6)).astype(dtype)
    return (upper * 2.0**26 + lower) * 2.0**-53


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
