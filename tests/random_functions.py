"""Seeded random functions of arrays, written once and run by chainrule and by plain NumPy.

A program is a list of steps over a growing list of values.  It is made for named extents, which
may be any number when it runs, 0 and 1 included: an extent is an `int`, and a large one stands for
a dim.  Sums and products of large ones are told apart by being other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import scipy.special
from tests.control.kits import OURS, PLAIN, Kit

import chainrule as cr

__all__ = ["VERBS", "M", "N", "Program", "random_function"]

N: Final = 1_000_003
M: Final = 7_000_033
"What stands for the dims n and m; a static extent is below 1,000."
CALM: Final = 20.0
"A bound on values: beyond it they are squeezed."
SEVERAL: Final = 8
"What a named extent is taken for in bounds."
Shape: TypeAlias = tuple[int, ...]
Values: TypeAlias = list[Any]


class Verbs(NamedTuple):
    """What a program may use: arrays, loops and branches, transformations, rules of the user's."""

    kit: Kit
    special: Any
    vmap: Callable[..., Any]
    grad: Callable[..., Any]
    rules: Sequence[Callable[..., Any]]


Step: TypeAlias = Callable[[Verbs, Values], Any]


def _wave(x: Any) -> Any:
    return np.sin(x) * x


def _ruled() -> list[Callable[..., Any]]:
    by_jvp: Any = cr.custom_jvp(lambda x: cr.numpy.sin(x) * x)
    by_jvp.defjvp(lambda p, t: (by_jvp(*p), t[0] * _slope(p[0])))
    by_vjp: Any = cr.custom_vjp(lambda x: cr.numpy.sin(x) * x)
    by_vjp.defvjp(lambda x: (by_vjp(x), x), lambda x, g: (g * _slope(x),))
    return [by_jvp, by_vjp]


def _slope(x: Any) -> Any:
    return cr.numpy.cos(x) * x + cr.numpy.sin(x)


def _looped(f: Callable[..., Any], axis: int) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        rows = np.moveaxis(x, axis, 0)
        if not len(rows):
            return np.zeros((0, *np.shape(f(np.zeros(rows.shape[1:])))))
        return np.stack([f(r) for r in rows])

    return run


def _of_some(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function that needs the largest element take none."""
    return lambda x, axis: f(x, axis=axis) if x.shape[axis] else np.zeros(x.shape)


def _logsumexp(x: Any, **facts: Any) -> Any:
    # Of values that are not large; SciPy's own takes no empty arrays along several axes.
    return np.log(np.sum(np.exp(x), **facts))


PLAIN_SPECIAL: Final = SimpleNamespace(
    logsumexp=_logsumexp, softmax=_of_some(scipy.special.softmax),
    log_softmax=_of_some(scipy.special.log_softmax),
)  # fmt: skip
VERBS: Final = {
    "ours": Verbs(OURS, cr.special, lambda f, axis: cr.vmap(f, (axis,)), cr.grad, _ruled()),
    "plain": Verbs(PLAIN, PLAIN_SPECIAL, _looped, NotImplemented, [_wave, _wave]),
}


@dataclass
class Block:
    """Steps over a list of values that starts with the arguments."""

    shapes: list[Shape]
    bounds: list[float]
    arguments: int = 0
    steps: list[Step] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arguments = len(self.shapes)

    def run(self, verbs: Verbs, arguments: Sequence[Any]) -> Values:
        values = list(arguments)
        for step in self.steps:
            values.append(step(verbs, values))
        return values

    def last(self, verbs: Verbs, arguments: Sequence[Any]) -> Any:
        return self.run(verbs, arguments)[-1]


@dataclass(frozen=True)
class Program:
    """A function of arrays.

    Attributes:
        plain: NumPy alone can compute it too.
        smooth: It has derivatives wherever it is likely to be called.
    """

    seed: int
    block: Block
    plain: bool
    smooth: bool

    @property
    def shapes(self) -> list[Shape]:
        return self.block.shapes[: self.block.arguments]

    def arguments(self, n: int, m: int) -> list[Any]:
        random = np.random.default_rng([self.seed, n, m])
        sizes = {N: n, M: m}
        return [random.uniform(-1.5, 1.5, [sizes.get(e, e) for e in s]) for s in self.shapes]

    def names(self) -> list[tuple[str | int, ...]]:
        named: dict[int, str | int] = {N: "n", M: "m"}
        return [tuple([named.get(e, e) for e in s]) for s in self.shapes]

    def results(self, verbs: Verbs, arguments: Sequence[Any]) -> Values:
        """Return the values of the last steps, which are made of the others'."""
        values = self.block.run(verbs, arguments)
        return values[max(self.block.arguments, len(values) - 3) :]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}", *(f"v{i}: {s}" for i, s in enumerate(self.names()))]
        start = self.block.arguments
        return "\n".join([*lines, *(f"v{start + i} = {t}" for i, t in enumerate(self.block.texts))])


# Names, functions of one argument, and bounds of their values
UNARY: Final[dict[str, tuple[Callable[[Any, Any], Any], Callable[[float], float]]]] = {
    "sin": (lambda m, x: m.sin(x), lambda b: 1),
    "cos": (lambda m, x: m.cos(x), lambda b: 1),
    "tanh": (lambda m, x: m.tanh(x), lambda b: 1),
    "arctan": (lambda m, x: m.arctan(x), lambda b: 2),
    "arcsinh": (lambda m, x: m.arcsinh(x), lambda b: b),
    "square": (lambda m, x: m.square(x), lambda b: b * b),
    "cube": (lambda m, x: x**3, lambda b: b**3),
    "exp(tanh)": (lambda m, x: m.exp(m.tanh(x)), lambda b: 3),
    "expm1(sin)": (lambda m, x: m.expm1(m.sin(x)), lambda b: 2),
    "log(1.5 + tanh)": (lambda m, x: m.log(1.5 + m.tanh(x)), lambda b: 1),
    "log1p(x*x)": (lambda m, x: m.log1p(x * x), lambda b: 6),
    "sqrt(1 + x*x)": (lambda m, x: m.sqrt(1 + x * x), lambda b: b + 1),
    "1/(1 + x*x)": (lambda m, x: 1 / (1 + x * x), lambda b: 1),
    "negative": (lambda m, x: -x, lambda b: b),
    "half": (lambda m, x: 0.5 * x, lambda b: b / 2),
    "sinh(tanh)": (lambda m, x: m.sinh(m.tanh(x)), lambda b: 2),
    "sinc": (lambda m, x: m.sinc(x), lambda b: 1),
}
KINKED: Final[dict[str, tuple[Callable[[Any, Any], Any], Callable[[float], float]]]] = {
    "abs": (lambda m, x: m.abs(x), lambda b: b),
    "clip": (lambda m, x: m.clip(x, -0.7, 0.6), lambda b: 1),
    "relu": (lambda m, x: m.maximum(x, 0.0), lambda b: b),
    "floor": (lambda m, x: m.floor(x), lambda b: b + 1),
    "sign": (lambda m, x: m.sign(x) * x, lambda b: b),
}
BINARY: Final[dict[str, tuple[Callable[[Any, Any, Any], Any], Callable[[float, float], float]]]] = {
    "add": (lambda m, x, y: x + y, lambda a, b: a + b),
    "sub": (lambda m, x, y: x - y, lambda a, b: a + b),
    "mul": (lambda m, x, y: x * y, lambda a, b: a * b),
    "div": (lambda m, x, y: x / (1 + y * y), lambda a, b: a),
    "hypot": (lambda m, x, y: m.hypot(x, y + 30.0), lambda a, b: a + b + 30),
    "arctan2": (lambda m, x, y: m.arctan2(x, 2 + m.tanh(y)), lambda a, b: 2),
    "logaddexp": (lambda m, x, y: m.logaddexp(x, y), lambda a, b: max(a, b) + 1),
    "power": (lambda m, x, y: m.power(1.5 + m.tanh(x), m.tanh(y)), lambda a, b: 3),
}
BINARY_KINKED: Final[dict[str, Any]] = {
    "maximum": (lambda m, x, y: m.maximum(x, y), max),
    "minimum": (lambda m, x, y: m.minimum(x, y), max),
    "where": (lambda m, x, y: m.where(x < y, x * y, y), lambda a, b: a * b + b),
    "remainder": (lambda m, x, y: m.remainder(x, 1.5 + m.tanh(y)), lambda a, b: 3),
}


class Maker:
    """Grows a block step by step."""

    def __init__(self, seed: int, *, smooth: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.smooth = smooth
        self.plain = True
        self.fresh = 1 << 40
        self.known: dict[Any, int] = {}

    def below(self, n: int) -> int:
        return int(self.random.integers(n))

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.below(len(items))]

    def chance(self, p: float) -> bool:
        return bool(self.random.uniform() < p)

    def extent_of(self, key: Any) -> int:
        """Return what stands for an extent that is no sum or product, the same for the same."""
        return self.known.setdefault(key, self.fresh + 17 * len(self.known))

    def some(self, block: Block) -> int:
        """Return a value's number; later ones are likelier."""
        count = len(block.shapes)
        return min(int(count * self.random.uniform() ** 0.6), count - 1)

    def add(self, block: Block, shape: Shape, bound: float, step: Step, text: str) -> None:
        if bound > CALM:
            inner = step
            step = lambda v, e: 4 * v.kit.xp.tanh(inner(v, e) / 4)  # noqa: E731
            bound, text = 4, f"4 tanh(({text})/4)"
        block.shapes.append(shape)
        block.bounds.append(bound)
        block.steps.append(step)
        block.texts.append(text)

    # Kinds of steps: each returns whether it found operands

    def unary(self, b: Block) -> bool:
        i = self.some(b)
        table = UNARY if self.smooth or self.chance(0.7) else KINKED
        name = self.pick(list(table))
        f, bound = table[name]
        self.add(b, b.shapes[i], bound(b.bounds[i]), lambda v, e: f(v.kit.xp, e[i]),
                 f"{name}(v{i})")  # fmt: skip
        return True

    def binary(self, b: Block) -> bool:
        i = self.some(b)
        fits = [j for j, s in enumerate(b.shapes) if _common(b.shapes[i], s) is not None]
        j = self.pick(fits)
        if self.chance(0.5):
            i, j = j, i
        table = BINARY if self.smooth or self.chance(0.6) else BINARY_KINKED
        name = self.pick(list(table))
        f, bound = table[name]
        shape = _common(b.shapes[i], b.shapes[j])
        assert shape is not None, "operands broadcast"
        self.add(b, shape, bound(b.bounds[i], b.bounds[j]),
                 lambda v, e: f(v.kit.xp, e[i], e[j]), f"{name}(v{i}, v{j})")  # fmt: skip
        return True

    def reduction(self, b: Block) -> bool:
        i = self.some(b)
        shape, rank = b.shapes[i], len(b.shapes[i])
        if not rank:
            return False
        axes = tuple(sorted(self.random.permutation(rank)[: 1 + self.below(rank)].tolist()))
        keep = self.chance(0.4)
        count = float(np.prod([min(shape[a], SEVERAL) for a in axes]))
        always = all(0 < shape[a] < N for a in axes)
        names = ["sum", "sum", "prod", "mean1", "lse"]
        names += ["mean", "var", "norm"] if always else []
        names += ["max", "min"] if always and not self.smooth else []
        name = self.pick(names)
        top = b.bounds[i]
        bounds = {"sum": top * count, "mean1": top, "lse": top + 4, "mean": top, "var": top * top,
                  "norm": top * count + 1, "max": top, "min": top, "prod": 1}  # fmt: skip
        made = tuple([
            1 if k in axes else e for k, e in enumerate(shape) if keep or k not in axes
        ])  # fmt: skip
        facts: Any = {"axis": axes if len(axes) > 1 or self.chance(0.5) else axes[0],
                      "keepdims": keep}  # fmt: skip

        def step(v: Verbs, e: Values) -> Any:
            x, m = e[i], v.kit.xp
            match name:
                case "prod":
                    return m.prod(m.tanh(x) + 0.1, **facts)
                case "mean1":
                    return m.sum(x, **facts) / (1 + m.sum(m.ones_like(x), **facts))
                case "lse":
                    return m.logaddexp(v.special.logsumexp(x, **facts), 0.5)
                case "norm":
                    return m.sqrt(m.sum(x * x, **facts) + 0.1)
            return getattr(m, name)(x, **facts)

        self.add(b, made, bounds[name], step, f"{name}(v{i}, {axes}, keepdims={keep})")
        return True

    def share(self, b: Block) -> bool:
        i = self.some(b)
        if not b.shapes[i]:
            return False
        axis = self.below(len(b.shapes[i]))
        name = self.pick(["softmax", "log_softmax"])
        bound = 1 if name == "softmax" else 2 * b.bounds[i] + 4
        self.add(b, b.shapes[i], bound, lambda v, e: getattr(v.special, name)(e[i], axis=axis),
                 f"{name}(v{i}, {axis})")  # fmt: skip
        return True

    def einsum(self, b: Block) -> bool:
        chosen = [self.some(b) for _ in range(1 + self.below(3))]
        letters: list[tuple[str, int]] = []
        words = []
        for i in chosen:
            word = ""
            for e in b.shapes[i]:
                same = [c for c, n in letters if n == e]
                if same and self.chance(0.75):
                    word += self.pick(same)
                else:
                    letters.append((chr(97 + len(letters)), e))
                    word += letters[-1][0]
            words.append(word)
        order = [letters[k] for k in self.random.permutation(len(letters))]
        out = [x for x in order if self.chance(0.4)][:3]
        text = f"{','.join(words)}->{''.join(c for c, _ in out)}"
        count = float(np.prod([min(n, SEVERAL) for c, n in letters if (c, n) not in out]))
        bound = count * float(np.prod([b.bounds[i] for i in chosen]))
        # All at once NumPy loops over every letter: as many as fit a moment.
        if len(letters) > 7:
            return False
        self.add(b, tuple([n for _, n in out]), bound,
                 lambda v, e: v.kit.xp.einsum(text, *[e[i] for i in chosen]),
                 f"einsum({text!r}, {chosen})")  # fmt: skip
        return True

    def matmul(self, b: Block) -> bool:
        pairs = [
            (i, j) for i, s in enumerate(b.shapes) for j, t in enumerate(b.shapes)
            if s and t and s[-1] == t[-2 if len(t) > 1 else 0]
            and _common(s[:-2], t[:-2]) is not None
        ]  # fmt: skip
        if not pairs:
            return False
        i, j = self.pick(pairs)
        s, t = b.shapes[i], b.shapes[j]
        lead = _common(s[:-2], t[:-2])
        assert lead is not None, "stacks of matrices broadcast"
        shape = (*lead, *s[-2:-1], *(t[-1:] if len(t) > 1 else ()))
        if len(shape) > 4:
            return False
        bound = b.bounds[i] * b.bounds[j] * min(s[-1], SEVERAL)
        self.add(b, shape, bound, lambda v, e: e[i] @ e[j], f"v{i} @ v{j}")
        return True

    def part(self, b: Block) -> bool:
        i = self.some(b)
        key: list[Any] = []
        shape: list[int] = []
        for axis, e in enumerate(b.shapes[i]):
            if e >= N:
                start, step = self.pick([(None, None), (None, None), (None, -1), (None, 2)])
                key.append(slice(start, None, step))
                plain = (start, step) in [(None, None), (None, -1)]
                shape.append(e if plain else self.extent_of((e, start, step)))
            elif e and self.chance(0.25):
                key.append(self.below(e) - (e if self.chance(0.3) else 0))
            elif (
                e
                and self.chance(0.3)
                and not any(isinstance(k, list) for k in key)
                and all(isinstance(k, slice) for k in key)
            ):
                key.append(self.random.integers(-e, e, 1 + self.below(3)).tolist())
                shape.append(len(key[-1]))
                key += [slice(None)] * (len(b.shapes[i]) - axis - 1)
                shape += b.shapes[i][axis + 1 :]
                break
            else:
                low = self.below(e + 1)
                piece = slice(low, low + self.below(e - low + 1), 1 + self.below(2))
                if self.chance(0.3):
                    piece = slice(None, None, -1)
                key.append(piece)
                shape.append(len(range(e)[piece]))
        at = tuple(key)
        self.add(b, tuple(shape), b.bounds[i], lambda v, e: e[i][at], f"v{i}[{at}]")
        return bool(at)

    def shaping(self, b: Block) -> bool:
        i = self.some(b)
        shape, rank = b.shapes[i], len(b.shapes[i])
        axis = self.below(rank) if rank else 0
        order = tuple(self.random.permutation(rank).tolist())
        places = tuple(sorted({0, self.below(rank + 1)}))
        size = 1
        for e in shape:
            size *= e
        axes = [(1, 0)] + [(0, 0)] * (rank - 1)
        forms: list[tuple[str, Shape, Callable[[Any, Any], Any]]] = [
            ("transpose", tuple([shape[k] for k in order]), lambda m, x: m.transpose(x, order)),
            ("ravel", (size,), lambda m, x: m.ravel(x)),
            ("broadcast", (2, *shape), lambda m, x: m.broadcast_to(x, (2, *x.shape))),
            ("expand", (1, *shape), lambda m, x: m.expand_dims(x, 0)),
            ("stack", (*shape, 2), lambda m, x: m.stack([x, m.cos(x)], axis=-1)),
        ]
        if rank:
            grown = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
            padded = (shape[0] + 1, *shape[1:])
            forms += [
                ("flip", shape, lambda m, x: m.flip(x, axis)),
                ("roll", shape, lambda m, x: m.roll(x, 1)) if not any(e >= N for e in shape)
                else ("flip", shape, lambda m, x: m.flip(x)),
                ("repeat", grown, lambda m, x: m.repeat(x, 2, axis)),
                ("concatenate", grown, lambda m, x: m.concatenate([x, 1 - x], axis)),
                ("pad", padded, lambda m, x: m.pad(x, axes, constant_values=0.5)),
                ("cumsum", shape, lambda m, x: m.cumsum(x, axis)),
                ("cumprod", shape, lambda m, x: m.cumprod(m.cos(x), axis)),
                ("squeeze", tuple([e for e in shape if e != 1]), lambda m, x: m.squeeze(
                    x, tuple([k for k, e in enumerate(shape) if e == 1]))),
            ]  # fmt: skip
            if 0 < shape[axis] < N:
                less = (*shape[:axis], shape[axis] - 1, *shape[axis + 1 :])
                forms.append(("diff", less, lambda m, x: m.diff(x, axis=axis)))
        assert places, "somewhere"
        name, made, f = self.pick(forms)
        many = {"cumsum": min(shape[axis], SEVERAL) if rank else 1, "diff": 2, "concatenate": 1}
        bound = b.bounds[i] * many.get(name, 1) + (name in ("concatenate", "pad", "stack"))
        if len(made) > 4:
            return False
        self.add(b, made, bound, lambda v, e: f(v.kit.xp, e[i]), f"{name}(v{i}, {axis})")
        return True

    def joined(self, b: Block) -> bool:
        i = self.some(b)
        if not b.shapes[i]:
            return False
        axis = self.below(len(b.shapes[i]))

        def off(s: Shape) -> Shape:
            return (*s[:axis], *s[axis + 1 :])

        j = self.pick([
            k for k, s in enumerate(b.shapes)
            if len(s) == len(b.shapes[i]) and off(s) == off(b.shapes[i])
        ])  # fmt: skip
        both = b.shapes[i][axis] + b.shapes[j][axis]
        shape = (*b.shapes[i][:axis], both, *b.shapes[i][axis + 1 :])
        self.add(b, shape, max(b.bounds[i], b.bounds[j]),
                 lambda v, e: v.kit.xp.concatenate([e[i], e[j]], axis),
                 f"concatenate(v{i}, v{j}, {axis})")  # fmt: skip
        return True

    def changed(self, b: Block) -> bool:
        i = self.some(b)
        shape = b.shapes[i]
        if not shape or not 1 < shape[0] < N:
            return False
        fits = [j for j, s in enumerate(b.shapes) if _common(shape[1:], s) == shape[1:]]
        if not fits:
            return False
        j, at = self.pick(fits), self.below(shape[0])
        name = self.pick(["put", "plus"])
        self.add(b, shape, b.bounds[i] + b.bounds[j],
                 lambda v, e: getattr(v.kit, name)(e[i], at, e[j]),
                 f"{name}(v{i}, {at}, v{j})")  # fmt: skip
        return True

    def matrix(self, b: Block) -> bool:
        fits = [i for i, s in enumerate(b.shapes) if s and 0 < s[-1] < 5 and len(s) < 4]
        if not fits:
            return False
        i = self.pick(fits)
        shape, n = b.shapes[i], b.shapes[i][-1]
        name = self.pick(["inv", "solve", "det", "slogdet", "cholesky"])

        def step(v: Verbs, e: Values) -> Any:
            m = v.kit.xp
            x = m.tanh(e[i])
            a = 2.5 * m.eye(n) + 0.5 * x[..., :, None] * m.cos(x)[..., None, :]
            match name:
                case "solve":
                    return m.linalg.solve(a, m.sin(x)[..., :, None])[..., 0]
                case "slogdet":
                    return m.linalg.slogdet(a)[1]
                case "cholesky":
                    return m.linalg.cholesky(a @ m.swapaxes(a, -1, -2) + m.eye(n))
            return getattr(m.linalg, name)(a)

        made = {"inv": (*shape, n), "cholesky": (*shape, n), "solve": shape}
        self.add(b, made.get(name, shape[:-1]), {"det": CALM * 5}.get(name, 4), step,
                 f"{name}(v{i})")  # fmt: skip
        return True

    # Bodies

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


def _common(a: Shape, b: Shape) -> Shape | None:
    """Broadcast two shapes if they do."""
    found: list[int] = []
    for k in range(1, max(len(a), len(b)) + 1):
        x, y = (s[-k] if k <= len(s) else 1 for s in (a, b))
        if x != y and 1 not in (x, y):
            return None
        found.insert(0, y if x == 1 else x)
    return tuple(found)


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
