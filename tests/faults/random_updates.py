"""Seeded random programs that change arrays: loops, branches, reads before and after.

A program is a list of statements over four arrays.  A kit runs it: ours traces it, the plain one
changes copies of NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

__all__ = ["OURS", "PLAIN", "Kit", "arguments", "random_updates"]

WIDTH: Final = 4
Env: TypeAlias = list[Any]
Statement: TypeAlias = "Callable[[type[Kit], Any, Env], Env]"


class Kit:
    """How our side runs a program."""

    sin: Any = staticmethod(cnp.sin)

    @staticmethod
    def at(x: Any, key: Any, how: str, value: Any) -> Any:
        return getattr(x.at[key], how)(value)

    @staticmethod
    def loop(count: int, body: Callable[[Any, Env], Env], env: Env) -> Env:
        return list(cr.fori_loop(0, count, lambda i, e: tuple(body(i, list(e))), tuple(env)))

    @staticmethod
    def branch(condition: Any, yes: Env, no: Env) -> Env:
        return list(
            cr.cond(condition, lambda a, _: tuple(a), lambda _, b: tuple(b), tuple(yes), tuple(no))
        )


class Plain(Kit):
    """How NumPy runs it."""

    sin: Any = staticmethod(np.sin)

    @staticmethod
    def at(x: Any, key: Any, how: str, value: Any) -> Any:
        y = np.array(x)
        match how:
            case "set":
                y[key] = value
            case "add":
                np.add.at(y, key, value)
            case "multiply":
                y[key] = y[key] * value
            case _:
                y[key] = np.maximum(y[key], value)
        return y

    @staticmethod
    def loop(count: int, body: Callable[[Any, Env], Env], env: Env) -> Env:
        for i in range(count):
            env = body(i, env)
        return env

    @staticmethod
    def branch(condition: Any, yes: Env, no: Env) -> Env:
        return yes if condition else no


OURS: Final = Kit
PLAIN: Final = Plain


def arguments(seed: int) -> list[Any]:
    """Return two vectors and two matrices."""
    random = np.random.default_rng(seed)
    shapes = [(WIDTH,), (WIDTH,), (WIDTH, WIDTH), (WIDTH, WIDTH)]
    return [random.uniform(-1, 1, s) for s in shapes]


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def below(self, n: int) -> int:
        return int(self.random.integers(n))

    def key(self, *, two: bool) -> Callable[[Any], Any]:
        """Return an index as a function of the step: known, at run time, slices, several."""
        a, b = self.below(WIDTH), self.below(WIDTH)
        several = self.random.integers(0, WIDTH, 3)
        one: list[Callable[[Any], Any]] = [
            lambda _: a, lambda i: (i + a) % WIDTH, lambda _: slice(a, a + 2), lambda _: -1 - a,
            lambda _: several,
        ]  # fmt: skip
        pairs: list[Callable[[Any], Any]] = [
            lambda i: (a, (i + b) % WIDTH), lambda i: ((i + a) % WIDTH,),
            lambda i: (slice(None), (i + b) % WIDTH), lambda i: ((i + a) % WIDTH, slice(b, b + 2)),
            lambda _: (a, b),
        ]  # fmt: skip
        return pairs[self.below(5)] if two else one[self.below(5)]

    def change(self, _depth: int) -> Statement:
        """Change a part of an array by an element of another one, or of its own."""
        target, source, row, kind = (self.below(k) for k in (4, 2, WIDTH, 3))
        key = self.key(two=target >= 2)
        several = isinstance(key(0), np.ndarray)
        how = ("set", "add", "multiply", "max")[self.below(2 if several else 4)]

        def run(k: type[Kit], i: Any, env: Env) -> Env:
            value = env[source][(i + row) % WIDTH] * 0.5 + 0.1 * kind if kind else env[source][row]
            new = k.at(env[target], key(i), how, k.sin(value))
            return [*env[:target], new, *env[target + 1 :]]

        return run

    def read(self, _depth: int) -> Statement:
        """Write what a whole row and the old array say."""
        target, at, row, table = self.below(2), self.below(WIDTH), self.below(WIDTH), self.below(2)

        def run(k: type[Kit], i: Any, env: Env) -> Env:
            value = env[2 + table][row].sum() * 0.1 + env[target][(i + row) % WIDTH]
            new = k.at(env[target], at, "set", value)
            return [*env[:target], new, *env[target + 1 :]]

        return run

    def mix(self, _depth: int) -> Statement:
        """Change a whole array."""
        target, other = self.below(4), self.below(2)

        def run(_k: type[Kit], _i: Any, env: Env) -> Env:
            new = env[target] * 0.5 + env[target // 2 * 2 + other] * 0.25
            return [*env[:target], new, *env[target + 1 :]]

        return run

    def swap(self, _depth: int) -> Statement:
        """Let two arrays change places."""
        first = 2 * self.below(2)

        def run(_k: type[Kit], _i: Any, env: Env) -> Env:
            return [*env[:first], env[first + 1], env[first], *env[first + 2 :]]

        return run

    def loop(self, depth: int) -> Statement:
        count, body = 1 + self.below(3), self.block(depth - 1, 1 + self.below(3))
        return lambda k, _i, env: k.loop(count, lambda j, e: body(k, j, e), env)

    def branch(self, _depth: int) -> Statement:
        body, bound = self.block(0, 2), float(self.random.uniform(-1, 1))
        return lambda k, i, env: k.branch(env[0][1] > bound, body(k, i, env), env)

    def block(self, depth: int, size: int) -> Statement:
        """Return several statements."""
        simple = [self.change, self.change, self.change, self.read, self.mix, self.swap]
        kinds: Sequence[Any] = [*simple, self.loop, self.branch] if depth else simple
        parts = [kinds[self.below(len(kinds))](depth) for _ in range(size)]

        def run(k: type[Kit], i: Any, env: Env) -> Env:
            for part in parts:
                env = part(k, i, env)
            return env

        return run


def random_updates(seed: int) -> Callable[..., tuple[Any, ...]]:
    """Return a program `fn(kit, a, b, t, u)` of two vectors and two matrices."""
    maker = _Maker(seed)
    block, tail = maker.block(2, 2 + maker.below(5)), maker.below(3)

    def fn(k: type[Kit], *args: Any) -> tuple[Any, ...]:
        found = block(k, 1, list(args))
        more = ([], [args[0] + 1.0], [k.at(found[0], 2, "add", 1.0), found[0]])[tail]
        return (*found, *more)

    return fn
