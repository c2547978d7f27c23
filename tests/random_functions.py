"""Seeded random functions of arrays, written once and run by chainrule and by plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.random_blocks import CALM, VERBS, Block, M, N, Program, Shape, Values, Verbs
from tests.random_steps import Steps

__all__ = ["VERBS", "Program", "random_function"]


class Maker(Steps):
    """Grows blocks with bodies: loops, branches, maps and derivatives of other blocks."""

    def inner(self, shapes: Sequence[Shape], bounds: Sequence[float], depth: int) -> Block:
        block = Block(list(shapes), list(bounds))
        self.grow(block, 1 + self.below(3), depth)
        return block

    def scan(self, b: Block, depth: int) -> bool:
        i, c, outer = self.some(b), self.some(b), self.some(b)
        if not b.shapes[i]:
            return False
        rows, turned = b.shapes[i][0], self.chance(0.3)
        body = self.inner([b.shapes[c], b.shapes[i][1:], b.shapes[outer]],
                          [CALM, b.bounds[i], b.bounds[outer]], depth)  # fmt: skip
        carried = self.chance(0.5)

        def step(v: Verbs, e: Values) -> Any:
            m = v.kit.xp

            def turn(carry: Any, x: Any) -> Any:
                y = body.last(v, [carry, x, e[outer]])
                return 0.5 * carry + m.tanh(0.3 * m.sum(y)), y

            last, ys = v.kit.scan(turn, e[c], e[i], reverse=turned)
            return last if carried else ys

        made = b.shapes[c] if carried else (rows, *body.shapes[-1])
        if len(made) > 4:
            return False
        bound = b.bounds[c] + 2 if carried else body.bounds[-1]
        self.add(b, made, bound, step,
                 f"scan(v{i}, carry v{c}, outer v{outer}, {carried=}: {body.texts})")  # fmt: skip
        return True

    def same(self, b: Block, i: int, depth: int) -> Callable[[Verbs, Any], Any]:
        """Return a random function from one value to another of its shape."""
        body = self.inner([b.shapes[i]], [b.bounds[i] + 4], depth)
        self.note = str(body.texts)

        def apply(v: Verbs, x: Any) -> Any:
            m = v.kit.xp
            return 0.8 * m.tanh(x) + 0.3 * m.sin(m.sum(body.last(v, [x])))

        return apply

    def branch(self, b: Block, depth: int) -> bool:
        i, p = self.some(b), self.some(b)
        yes, note = self.same(b, i, depth), self.note
        no = self.same(b, i, depth)

        def step(v: Verbs, e: Values) -> Any:
            chosen = v.kit.xp.sum(e[p]) > 0.1
            return v.kit.cond(chosen, lambda x: yes(v, x), lambda x: no(v, x), e[i])

        self.add(b, b.shapes[i], 2, step, f"cond(v{p}, v{i}: {note} else {self.note})")
        return True

    def loop(self, b: Block, depth: int) -> bool:
        i = self.some(b)
        turn = self.same(b, i, depth)
        name = self.pick(["fori", "while", "checkpoint"])

        def step(v: Verbs, e: Values) -> Any:
            m = v.kit.xp
            if name == "fori":
                return v.kit.fori_loop(0, 3, lambda _, x: turn(v, x), e[i])
            if name == "checkpoint":
                return v.kit.checkpoint(lambda x: turn(v, x))(e[i])
            return v.kit.while_loop(
                lambda s: (s[0] < 3) & (m.sum(s[1]) < 1.7), lambda s: (s[0] + 1, turn(v, s[1])),
                (0, e[i]), max_steps=4,
            )[1]  # fmt: skip

        self.add(b, b.shapes[i], max(2, b.bounds[i]), step, f"{name}(v{i}: {self.note})")
        return True

    def mapped(self, b: Block, depth: int) -> bool:
        i, outer = self.some(b), self.some(b)
        shape = b.shapes[i]
        if not shape:
            return False
        axis = self.below(len(shape))
        row = (*shape[:axis], *shape[axis + 1 :])
        body = self.inner([row, b.shapes[outer]], [b.bounds[i], b.bounds[outer]], depth)
        made = (shape[axis], *body.shapes[-1])
        if len(made) > 4:
            return False
        self.add(
            b, made, body.bounds[-1],
            lambda v, e: v.vmap(lambda x: body.last(v, [x, e[outer]]), axis)(e[i]),
            f"vmap(v{i}, {axis}, outer v{outer}: {body.texts})",
        )  # fmt: skip
        return True

    def ruled(self, b: Block) -> bool:
        i, which = self.some(b), self.below(2)
        self.add(b, b.shapes[i], b.bounds[i], lambda v, e: v.rules[which](e[i]), f"rule(v{i})")
        return True

    def derived(self, b: Block, depth: int) -> bool:
        i = self.some(b)
        body = self.inner([b.shapes[i]], [b.bounds[i]], depth)

        def step(v: Verbs, e: Values) -> Any:
            m = v.kit.xp
            return m.tanh(v.grad(lambda x: m.sum(m.sin(body.last(v, [x]))))(e[i]))

        self.plain = False
        self.add(b, b.shapes[i], 1, step, f"grad(v{i}: {body.texts})")
        return True

    def grow(self, block: Block, count: int, depth: int) -> None:
        flat: list[Callable[[Block], bool]] = [
            self.unary, self.unary, self.binary, self.binary, self.binary, self.reduction,
            self.reduction, self.share, self.einsum, self.matmul, self.part, self.shaping,
            self.shaping, self.joined, self.changed, self.matrix, self.ruled,
        ]  # fmt: skip
        deep = [self.scan, self.branch, self.loop, self.mapped, self.derived]
        end = len(block.steps) + count
        while len(block.steps) < end:
            if depth and self.chance(0.22):
                self.pick(deep)(block, depth - 1)
            else:
                self.pick(flat)(block)


def random_function(seed: int, *, steps: int = 7, depth: int = 2) -> Program:
    """Return a program of so many steps, with bodies nested so deep."""
    maker = Maker(seed, smooth=bool(seed % 2))
    extents = [1, 2, 3, N, M, N]
    shapes: list[Shape] = [(N,), (M, maker.pick([1, 2, 3]))]
    shapes += [
        tuple([maker.pick(extents) for _ in range(maker.below(4))])
        for _ in range(1 + maker.below(2))
    ]
    block = Block(shapes, [1.5] * len(shapes))
    maker.grow(block, steps, depth)
    return Program(seed, block, maker.plain, maker.smooth)
