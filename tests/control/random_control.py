"""Seeded random programs of nested loops and branches.

A program is a tree of statements over a list of vectors.  A kit (see `kits`) runs it: ours traces
it, the plain one computes it.  Values stay tame, so that what is compared are ordinary numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tests.control.kits import Kit

__all__ = ["WIDTH", "RandomCase", "random_case"]

WIDTH = 4
"Extent of every vector."
Values: TypeAlias = list[Any]
Statement: TypeAlias = Callable[[Kit, Values], Values]


class RandomCase(NamedTuple):
    """A program `fn(kit, *vectors, rows, count)` and arguments for it."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def below(self, n: int) -> int:
        return int(self.random.integers(n))

    def several(self, n: int) -> list[int]:
        """Return some of n places, at least one, in any order."""
        order: list[int] = self.random.permutation(n).tolist()
        return order[: 1 + self.below(n)]

    def block(self, width: int, depth: int, size: int) -> Statement:
        """Return several statements that keep the number of vectors."""
        parts = [self.statement(width, depth) for _ in range(size)]

        def run(k: Kit, env: Values) -> Values:
            for part in parts:
                env = part(k, env)
            return env

        return run

    def statement(self, width: int, depth: int) -> Statement:
        simple = [self.pointwise, self.pointwise, self.update, self.move, self.swap]
        nested = [self.scan, self.fori, self.bounded, self.while_, self.branch, self.choice,
                  self.checkpoint]  # fmt: skip
        kinds: Sequence[Any] = nested if depth and self.random.uniform() < 0.6 else simple
        made: Statement = kinds[self.below(len(kinds))](width, depth)
        return made

    # What has no body

    def pointwise(self, width: int, _depth: int) -> Statement:
        a, b, to = (self.below(width) for _ in range(3))
        which, c = self.below(5), float(self.random.uniform(-1, 1))

        def run(k: Kit, env: Values) -> Values:
            x, y = env[a], env[b]
            value = [
                lambda: k.xp.sin(x + c * y), lambda: k.xp.tanh(x * y + c),
                lambda: 0.5 * x - c * y, lambda: x * k.xp.cos(y) + 0.1,
                lambda: 0.3 * k.xp.sum(x) + k.xp.where(y > c, y, 0.5 * x),
            ][which]()  # fmt: skip
            return [*env[:to], value, *env[to + 1 :]]

        return run

    def update(self, width: int, _depth: int) -> Statement:
        a, to, i = self.below(width), self.below(width), self.below(2 * WIDTH) - WIDTH
        verb = self.below(2)

        def run(k: Kit, env: Values) -> Values:
            value = 0.5 * env[a][0] - 0.25 * env[to][-1]
            return [*env[:to], (k.put, k.plus)[verb](env[to], i, value), *env[to + 1 :]]

        return run

    def move(self, width: int, _depth: int) -> Statement:
        a, to, shift = self.below(width), self.below(width), 1 + self.below(WIDTH - 1)
        verb = self.below(2)

        def run(k: Kit, env: Values) -> Values:
            value = k.xp.roll(env[a], shift) if verb else env[a][::-1]
            return [*env[:to], value, *env[to + 1 :]]

        return run

    def swap(self, width: int, _depth: int) -> Statement:
        order: list[int] = self.random.permutation(width).tolist()
        return lambda _k, env: [env[i] for i in order]

    # What has one

    def carried(self, width: int, depth: int) -> tuple[list[int], Statement, list[int]]:
        """Return which vectors are carried, a body of all, and which of its are stacked."""
        body = self.block(width, depth - 1, 1 + self.below(3))
        return self.several(width), body, self.several(width)

    def scan(self, width: int, depth: int) -> Statement:
        at, body, kept = self.carried(width, depth)
        length, reverse, to = self.below(4), bool(self.below(2)), self.below(width)
        rows = self.below(2)

        def run(k: Kit, env: Values) -> Values:
            def step(carry: Any, x: Any) -> Any:
                inner = list(env)
                for i, c in zip(at, carry, strict=True):
                    inner[i] = c
                if x is not None:
                    inner[to] = inner[to] * 0.5 + x
                inner = body(k, inner)
                return [inner[i] for i in at], [inner[i] for i in kept]

            xs = k.xp.stack(env[:2]) if rows else None
            n = None if rows else length
            last, ys = k.scan(step, [env[i] for i in at], xs, n, reverse)
            found = list(env)
            for i, c in zip(at, last, strict=True):
                found[i] = c
            found[to] = found[to] * 0.5 + k.xp.tanh(k.xp.sum(ys[0], axis=0))
            return found

        return run

    def _inner(self, k: Kit, body: Statement, at: list[int], env: Values, carry: Any) -> Any:
        inner = list(env)
        for i, c in zip(at, carry, strict=True):
            inner[i] = c
        inner = body(k, inner)
        return [inner[i] for i in at]

    def _placed(self, env: Values, at: list[int], last: Any) -> Values:
        found = list(env)
        for i, c in zip(at, last, strict=True):
            found[i] = c
        return found

    def fori(self, width: int, depth: int) -> Statement:
        at, body, _ = self.carried(width, depth)
        end, a = self.below(WIDTH + 1), self.below(width)

        def run(k: Kit, env: Values) -> Values:
            def turn(i: Any, carry: Any) -> Any:
                carry = self._inner(k, body, at, env, carry)
                return [k.put(carry[0], i, 0.5 * env[a][i] - 0.1 * i), *carry[1:]]

            last = k.fori_loop(0, end, turn, [env[i] for i in at])
            return self._placed(env, at, last)

        return run

    def _while(self, width: int, depth: int, bound: int | None) -> Statement:
        at, body, _ = self.carried(width, depth)
        a, extra = self.below(width), self.below(3)

        def run(k: Kit, env: Values) -> Values:
            def more(c: Any) -> Any:
                return c[0] + 1.5 * (env[a][0] > 0) < 2.0 + extra

            def turn(c: Any) -> Any:
                return c[0] + 1.0, self._inner(k, body, at, env, c[1])

            _, last = k.while_loop(more, turn, (0.0, [env[i] for i in at]), max_steps=bound)
            return self._placed(env, at, last)

        return run

    def bounded(self, width: int, depth: int) -> Statement:
        return self._while(width, depth, 1 + self.below(6))

    def while_(self, width: int, depth: int) -> Statement:
        return self._while(width, depth, None)

    def branch(self, width: int, depth: int) -> Statement:
        yes = self.block(width, depth - 1, self.below(3))
        no = self.block(width, depth - 1, self.below(3))
        a, b, c = self.below(width), self.below(WIDTH), float(self.random.uniform(-0.5, 0.5))
        closing = self.below(2)

        def run(k: Kit, env: Values) -> Values:
            pred = env[a][b] > c
            if closing:
                found: Values = k.cond(pred, lambda: yes(k, env), lambda: no(k, env))
                return found
            return list(k.cond(pred, lambda e: yes(k, e), lambda e: no(k, e), env))

        return run

    def choice(self, width: int, depth: int) -> Statement:
        bodies = [self.block(width, depth - 1, self.below(2)) for _ in range(3)]
        a = self.below(width)

        def run(k: Kit, env: Values) -> Values:
            index = k.xp.floor(4.0 * env[a][0]).astype(int)
            branches = [lambda e, b=b: b(k, e) for b in bodies]
            return list(k.switch(index, branches, env))

        return run

    def checkpoint(self, width: int, depth: int) -> Statement:
        body = self.block(width, depth - 1, 1 + self.below(3))
        return lambda k, env: list(k.checkpoint(lambda e: body(k, e))(env))


def random_case(seed: int, *, depth: int = 2, size: int = 3, width: int = 3) -> RandomCase:
    """Return a program of nested control flow and vectors to run it on."""
    maker = _Maker(seed)
    body = maker.block(width, depth, size)
    vectors = tuple(maker.random.normal(size=WIDTH) for _ in range(width))
    return RandomCase(lambda k, *vectors: tuple(body(k, list(vectors))), vectors)
