"""Kinds of steps of random programs: each finds operands whose shapes fit, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from tests.random_blocks import CALM, SEVERAL, Block, N, Shape, Step, Values, Verbs

__all__ = ["Steps"]

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


class Steps:
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
        fits = [j for j, s in enumerate(b.shapes) if common(b.shapes[i], s) is not None]
        j = self.pick(fits)
        if self.chance(0.5):
            i, j = j, i
        table = BINARY if self.smooth or self.chance(0.6) else BINARY_KINKED
        name = self.pick(list(table))
        f, bound = table[name]
        shape = common(b.shapes[i], b.shapes[j])
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
            and common(s[:-2], t[:-2]) is not None
        ]  # fmt: skip
        if not pairs:
            return False
        i, j = self.pick(pairs)
        s, t = b.shapes[i], b.shapes[j]
        lead = common(s[:-2], t[:-2])
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
                ("turn", shape, lambda m, x: m.flip(x)),
                ("repeat", grown, lambda m, x: m.repeat(x, 2, axis)),
                ("concatenate", grown, lambda m, x: m.concatenate([x, 1 - x], axis)),
                ("pad", padded, lambda m, x: m.pad(x, axes, constant_values=0.5)),
                ("cumsum", shape, lambda m, x: m.cumsum(x, axis)),
                ("cumprod", shape, lambda m, x: m.cumprod(m.cos(x), axis)),
                ("squeeze", tuple([e for e in shape if e != 1]), lambda m, x: m.squeeze(
                    x, tuple([k for k, e in enumerate(shape) if e == 1]))),
            ]  # fmt: skip
            if 0 < shape[axis] < N:
                forms.append(("roll", shape, lambda m, x: m.roll(x, 1, axis)))
                less = (*shape[:axis], shape[axis] - 1, *shape[axis + 1 :])
                forms.append(("diff", less, lambda m, x: m.diff(x, axis=axis)))
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
        fits = [j for j, s in enumerate(b.shapes) if common(shape[1:], s) == shape[1:]]
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


def common(a: Shape, b: Shape) -> Shape | None:
    """Broadcast two shapes if they do."""
    found: list[int] = []
    for k in range(1, max(len(a), len(b)) + 1):
        x, y = (s[-k] if k <= len(s) else 1 for s in (a, b))
        if x != y and 1 not in (x, y):
            return None
        found.insert(0, y if x == 1 else x)
    return tuple(found)
