"""Random numbers outside of `jit`: compiled behind the scenes once that pays, the same bits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, random
from chainrule.errors import UnsupportedError
from chainrule.frontend import compiled_later
from chainrule.frontend.compiled_later import CALL, PAYS, CompiledLater
from chainrule.random import generator

KEY = random.key(5)
M = 0xFFFFFFFF
DRAWS: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "normal": lambda s: random.normal(KEY, s),
    "normal float64": lambda s: random.normal(KEY, s, np.float64),
    "normal float16": lambda s: random.normal(KEY, s, np.float16),
    "uniform": lambda s: random.uniform(KEY, s, minval=-3, maxval=2.5),
    "uniform float64": lambda s: random.uniform(KEY, s, np.float64),
    "uniform between arrays": lambda s: random.uniform(KEY, s, minval=np.zeros(s, np.float32)),
    "randint": lambda s: random.randint(KEY, s, -7, 1000),
    "randint of nearly all": lambda s: random.randint(KEY, s, 0, 2**32 - 1, np.int64),
    "bernoulli": lambda s: random.bernoulli(KEY, 0.3, s),
    "bits": lambda s: random.bits(KEY, s),
    "split": lambda s: random.split(KEY, int(np.prod(s))),
    "fold_in": lambda s: random.fold_in(KEY, 77 * len(s)),
    "permutation": lambda s: random.permutation(KEY, s[0]),
    "shuffled rows": lambda s: random.permutation(KEY, np.arange(2.0 * s[0]).reshape(-1, 2)),
    "glorot": lambda s: nn.initializers.glorot_uniform(KEY, (*s, 3)),
    "he": lambda s: nn.initializers.he_normal(KEY, (*s, 3), np.float64),
}
SHAPES = [(0,), (1,), (2,), (3,), (17,), (1000,), (5, 7), (4, 0), (3, 2, 2)]


def rotated(word: int, turn: int) -> int:
    return (word << turn | word >> (32 - turn)) & M


def threefry(key: tuple[int, int], low: int, high: int) -> tuple[int, int]:
    """Threefry-2x32-20 in Python's integers, from the paper."""
    turns = (13, 15, 26, 6, 17, 29, 16, 24)
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (low + keys[0]) & M, (high + keys[1]) & M
    for i in range(20):
        x = (x + y) & M
        y = rotated(y, turns[i % 8]) ^ x
        if i % 4 == 3:
            block = i // 4 + 1
            x = (x + keys[block % 3]) & M
            y = (y + keys[(block + 1) % 3] + block) & M
    return x, y


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> list[CompiledLater]:
    """Nothing is compiled yet."""
    made = [
        CompiledLater(generator._counted, {"blank": ("count",)}),
        CompiledLater(generator._below, {"blank": ("count",)}),
    ]
    monkeypatch.setattr(generator, "_COUNTED", made[0])
    monkeypatch.setattr(generator, "_BELOW", made[1])
    return made


@pytest.mark.parametrize("name", DRAWS)
def test_compiled_draws_have_the_same_bits(name: str, fresh: list[CompiledLater]) -> None:
    draw = DRAWS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_later, "PAYS", 10**18)
        plain = [draw(s) for s in SHAPES]
        assert all(f._run is None for f in fresh)
        patch.setattr(compiled_later, "PAYS", -1)
        compiled = [draw(s) for s in SHAPES]
        assert any(f._run is not None for f in fresh)
    for a, b in zip(plain, compiled, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def test_compiled_words_are_those_of_the_paper(
    fresh: list[CompiledLater], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_later, "PAYS", -1)
    key = random.key(0x0123456789ABCDEF)
    words = random.bits(key, (40,))
    assert fresh[0]._run is not None
    assert words.tolist() == [threefry((0x01234567, 0x89ABCDEF), i, 0)[0] for i in range(40)]
    folded = random.fold_in(key, 2**32 - 1)
    assert folded.tolist() == list(threefry((0x01234567, 0x89ABCDEF), M, 0xFFFFFFFE))


def test_one_compilation_serves_all_lengths(
    fresh: list[CompiledLater], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_later, "PAYS", -1)
    compilations: list[Any] = []
    native = compiled_later._native

    def counted(*args: Any) -> Any:
        compilations.append(args)
        return native(*args)

    monkeypatch.setattr(compiled_later, "_native", counted)
    for n in (5, 0, 1, 1000, 3, 70_000):
        random.normal(KEY, (n,))
        random.randint(KEY, (n, 2), 0, 10)
        random.split(KEY, n)
        random.fold_in(KEY, n)
    assert len(compilations) == len(fresh)


def test_a_few_small_draws_compile_nothing(fresh: list[CompiledLater]) -> None:
    for n in range(min(100, PAYS // CALL // 2)):
        random.normal(KEY, (n,))
    assert fresh[0]._run is None
    # One large draw is worth it at once.
    random.normal(KEY, (1000, 1000))
    assert fresh[0]._run is not None


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    for draw in (random.normal, random.uniform, random.bits):
        long = draw(KEY, (generator.PIECE * 3 + 5,))
        for n in (1, 15, generator.PIECE - 1, generator.PIECE, generator.PIECE + 1):
            assert draw(KEY, (n,)).tobytes() == long[:n].tobytes()


def test_in_a_trace_a_plain_key_may_draw_as_many_as_a_named_dim_says() -> None:
    def noisy(x: Any) -> Any:
        return x + random.uniform(KEY, (x.shape[0],), np.float64)

    compiled = cr.jit(noisy, dims={"x": ("n",)})
    for n in (4, 0, 1, 9):
        found = compiled(np.zeros(n))
        assert found.tobytes() == random.uniform(KEY, (n,), np.float64).tobytes()


def test_a_large_draw_within_a_trace(
    fresh: list[CompiledLater], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_later, "PAYS", -1)
    noise = random.uniform(KEY, (6,), np.float64)
    made = [CompiledLater(f._fn, f._dims) for f in fresh]
    monkeypatch.setattr(generator, "_COUNTED", made[0])
    found = cr.jit(lambda x: x + random.uniform(KEY, (6,), np.float64))(np.zeros(6))
    assert made[0]._run is not None, "the key is plain, so it is drawn while tracing"
    assert found.tobytes() == noise.tobytes()


def test_keys_of_other_kinds_are_taken_as_before() -> None:
    expected = random.bits(KEY, (6,)).tolist()
    strided = np.zeros(4, np.uint32)[::2]
    strided[:] = KEY
    read_only = KEY.copy()
    read_only.flags.writeable = False
    for key in (strided, read_only, KEY.astype(">u4")):
        for _ in range(2):
            assert random.bits(key, (6,)).tolist() == expected


def test_what_cannot_be_compiled_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise UnsupportedError("no")

    monkeypatch.setattr(compiled_later, "PAYS", -1)
    monkeypatch.setattr(compiled_later, "_native", refuse)
    later = CompiledLater(lambda x: (x + 1.0,), {})
    for _ in range(3):
        assert later(np.ones(2), elements=2)[0].tolist() == [2.0, 2.0]


def test_threads_draw_at_once(fresh: list[CompiledLater], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = random.bits(KEY, (5000,)).tobytes()
    monkeypatch.setattr(compiled_later, "PAYS", 20_000)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(1 for _ in range(30) if random.bits(KEY, (5000,)).tobytes() != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert fresh[0]._run is not None
