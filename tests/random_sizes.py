"""Random programs of sizes: slices, shifts, paddings and lengths that dims decide.

Every program is affine in its argument, so NumPy alone gives its derivative exactly: from what it
makes of zeros and of each unit vector.  The same code runs on NumPy's arrays and on traced ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

__all__ = ["LENGTHS", "Case", "outcome", "random_case"]

LENGTHS: Final = tuple(range(21))
CONSTANTS: Final = (0, 1, 2, 3, 5, 8, 12)

Step = Callable[[Any, Any], Any]
"Of the array functions and an array of one axis: another array of one axis."


@dataclass(frozen=True)
class Case:
    """A program, and how to write it down."""

    text: str
    steps: tuple[Step, ...]

    def __call__(self, x: Any, xp: Any = cnp) -> Any:
        for step in self.steps:
            x = step(xp, x)
        return x

    def weighed(self, x: Any, xp: Any = cnp) -> Any:
        """One number in which every element of the result counts otherwise."""
        y = self(x, xp)
        return (y * (xp.arange(y.shape[0]) * 0.25 + 1.0)).sum()

    def slope(self, x: Any) -> Any:
        """The derivative of the weighed result, by NumPy alone."""
        base = self.weighed(np.zeros_like(x), np)
        return np.array([self.weighed(e, np) - base for e in np.eye(len(x))])


def outcome(run: Callable[[Any], Any], x: Any) -> Any:
    """Return what a program gives, or None where it refuses its argument."""
    try:
        return run(x)
    except (ValueError, IndexError, MemoryError):
        return None


def random_case(seed: int) -> Case:
    """Return a program of one to four steps."""
    rng = random.Random(seed)
    made = [rng.choice(KINDS)(rng) for _ in range(rng.randint(1, 4))]
    return Case(f"seed {seed}: " + "; ".join(t for t, _ in made), tuple(s for _, s in made))


# Numbers that may hang on the length


def number(rng: random.Random) -> tuple[str, Callable[[Any], Any]]:
    k = rng.choice(CONSTANTS) * rng.choice((1, -1))
    match rng.randrange(12):
        case 0 | 1 | 2:
            return f"{k}", lambda _n: k
        case 3:
            return f"n - {k}", lambda n: n - k
        case 4:
            return f"{k} - n", lambda n: k - n
        case 5:
            return f"n//2 - {k}", lambda n: n // 2 - k
        case 6:
            return f"-(-n//2) - {k}", lambda n: -(-n // 2) - k
        case 7:
            return f"n % 3 - {k}", lambda n: n % 3 - k
        case 8:
            return f"max(n - {k}, 0)", lambda n: max(n - k, 0)
        case 9:
            return f"min(n, {k})", lambda n: min(n, k)
        case 10:
            return f"abs(n - {k})", lambda n: abs(n - k)
        case _:
            return f"2*n - {k}", lambda n: 2 * n - k


def a_slice(rng: random.Random) -> tuple[str, Callable[[Any], slice]]:
    ends = [number(rng) if rng.random() < 0.75 else ("", lambda _n: None) for _ in range(2)]
    step = rng.choice((None, 1, 2, 3, -1, -1, -2, -3))
    (a, low), (b, high) = ends
    return f"{a}:{b}:{step or ''}", lambda n: slice(low(n), high(n), step)


# Steps


def sliced(rng: random.Random) -> tuple[str, Step]:
    text, key = a_slice(rng)
    return f"x[{text}]", lambda _xp, x: x[key(x.shape[0])]


def indexed(rng: random.Random) -> tuple[str, Step]:
    text, place = number(rng)

    def step(xp: Any, x: Any) -> Any:
        return xp.concatenate([x, xp.reshape(x[place(x.shape[0])], (1,))])

    return f"[x, x[{text}]]", step


def updated(rng: random.Random) -> tuple[str, Step]:
    text, key = a_slice(rng) if rng.random() < 0.7 else number(rng)
    how = rng.choice(("set", "add", "multiply"))

    def step(xp: Any, x: Any) -> Any:
        at = key(x.shape[0])
        if xp is not np:
            return getattr(x.at[at], how)(3.0)
        y = x.copy()
        y[at] = {"set": 3.0, "add": y[at] + 3.0, "multiply": y[at] * 3.0}[how]
        return y

    return f"x.at[{text}].{how}(3)", step


def rolled(rng: random.Random) -> tuple[str, Step]:
    text, by = number(rng)
    return f"roll(x, {text})", lambda xp, x: xp.roll(x, by(x.shape[0]))


def padded(rng: random.Random) -> tuple[str, Step]:
    (a, before), (b, after) = number(rng), number(rng)
    return f"pad(x, ({a}, {b}))", lambda xp, x: xp.pad(
        x, (before(x.shape[0]), after(x.shape[0])), constant_values=rng.choice((0, 0.5)) * 0
    )


def extended(rng: random.Random) -> tuple[str, Step]:
    text, length = number(rng)

    def step(xp: Any, x: Any) -> Any:
        more = xp.zeros(length(x.shape[0])) + 2.0
        return xp.concatenate([x, more] if rng_side else [more, x, more])

    rng_side = rng.random() < 0.5
    return f"concatenate(x, zeros({text}))", step


def counted(rng: random.Random) -> tuple[str, Step]:
    (a, low), (b, high) = number(rng), number(rng)
    by = rng.choice((1, 1, 2, 3, -1, -2))

    def step(xp: Any, x: Any) -> Any:
        n = x.shape[0]
        return xp.concatenate([x, xp.arange(low(n), high(n), by) * 1.0])

    return f"[x, arange({a}, {b}, {by})]", step


def repeated(rng: random.Random) -> tuple[str, Step]:
    k = rng.randrange(-1, 4)
    text, times = number(rng) if rng.random() < 0.3 else (f"{k}", lambda _n: k)
    name = rng.choice(("repeat", "tile"))

    def step(xp: Any, x: Any) -> Any:
        count = times(x.shape[0])
        if xp is np and count < 0:  # NumPy repeats nothing a negative number of times
            refuse()
        return getattr(xp, name)(x[:6], count)[:40]

    return f"{name}(x[:6], {text})[:40]", step


OF_ALL: Final = ("n - 0", "max(n - 0, 0)", "abs(n - 0)")
"Numbers by which -1 is n/n: 1 where the extents have names, and what NumPy refuses at 0."


def reshaped(rng: random.Random) -> tuple[str, Step]:
    (a, rows), k = number(rng), rng.choice((1, 2, 3))
    kind = rng.randrange(3)
    while a in OF_ALL or a.startswith("min("):
        a, rows = number(rng)

    def step(xp: Any, x: Any) -> Any:
        n = x.shape[0]
        shape: Any = ((-1, k), (k, -1), (rows(n), -1))[kind]
        return xp.reshape(xp.reshape(x, shape).T, (n,))

    return f"reshape(x, {('(-1, k)', '(k, -1)', f'({a}, -1)')[kind]}, k={k})", step


def spread(rng: random.Random) -> tuple[str, Step]:
    text, count = number(rng)

    def step(xp: Any, x: Any) -> Any:
        rows = xp.broadcast_to(x, (count(x.shape[0]), x.shape[0]))
        return rows.sum(axis=0)

    return f"broadcast_to(x, ({text}, n)).sum(0)", step


def scanned(rng: random.Random) -> tuple[str, Step]:
    text, length = number(rng)

    def step(xp: Any, x: Any) -> Any:
        n = x.shape[0]
        if xp is np:
            rows = np.arange(float(count)) if (count := length(n)) >= 0 else refuse()
            return np.concatenate([x, rows])
        rows = cr.scan(lambda c, _: (c + 1.0, c), 0.0, length=length(n))[1]
        return xp.concatenate([x, rows])

    return f"[x, scan(length={text})]", step


def refuse() -> Any:
    raise ValueError("a negative length")


def split(rng: random.Random) -> tuple[str, Step]:
    (a, first), (b, second) = number(rng), number(rng)

    def step(xp: Any, x: Any) -> Any:
        n = x.shape[0]
        return xp.concatenate(xp.split(x, [first(n), second(n)])[::-1])

    return f"split(x, [{a}, {b}])[::-1]", step


def differenced(rng: random.Random) -> tuple[str, Step]:
    times = rng.choice((1, 1, 2, 3))
    return f"diff(x, {times})", lambda xp, x: xp.diff(x, times)


def stencil(rng: random.Random) -> tuple[str, Step]:
    """Slices of one array that fit one another at every length."""
    k = rng.randint(1, 4)
    kind = rng.randrange(3)

    def step(_xp: Any, x: Any) -> Any:
        if kind == 0:
            return x[k:] - 2.0 * x[:-k]
        return x[2 * k :] + x[k:-k] * 3.0 - x[: -2 * k] if kind == 1 else x[k:][::-1] + x[:-k]

    return f"stencil {kind} of {k}", step


def divided(rng: random.Random) -> tuple[str, Step]:
    parts = rng.randint(1, 4)
    return f"array_split(x, {parts})[::-1]", lambda xp, x: xp.concatenate(
        xp.array_split(x, parts)[::-1]
    )


def banded(rng: random.Random) -> tuple[str, Step]:
    (text, shift), kind = number(rng), rng.randrange(5)

    def step(xp: Any, x: Any) -> Any:
        n = x.shape[0]
        k = shift(n)
        match kind:
            case 0:
                return xp.diag(x, k).sum(axis=0)[:40]
            case 1:
                return xp.tri(n, k=k) @ x
            case 2:
                return xp.eye(n, n + 1, k=k).sum(axis=0)[1:] * x
            case 3:
                return xp.tri(k, n).sum(axis=0) * x
        return xp.concatenate([x, xp.diagonal(x[:, None] * xp.ones((1, 7)), k)])

    return f"{('diag', 'tri', 'eye', 'rows of tri', 'diagonal')[kind]} of {text}", step


def asked(rng: random.Random) -> tuple[str, Step]:
    """One of two programs, by a comparison of sizes."""
    (a, left), (b, right) = number(rng), number(rng)
    sign, compare = rng.choice((
        ("<", lambda p, q: p < q), ("<=", lambda p, q: p <= q), ("==", lambda p, q: p == q),
        ("!=", lambda p, q: p != q), ("in", lambda p, q: p in (q, 4)),
    ))  # fmt: skip

    def step(_xp: Any, x: Any) -> Any:
        n = x.shape[0]
        return x[::-1] * 2.0 if compare(left(n), right(n)) else x[1:]

    return f"{a} {sign} {b}", step


KINDS: Final[Sequence[Callable[[random.Random], tuple[str, Step]]]] = (
    sliced, sliced, sliced, indexed, updated, updated, rolled, padded, extended, counted, repeated,
    reshaped, spread, scanned, split, differenced, stencil, divided, banded, asked, asked,
)  # fmt: skip
