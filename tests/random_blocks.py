"""Random programs as values: steps over a list of arrays, and the verbs that run them.

Extents are for dims that may be any number when the program runs: an extent is an `int`, and a
large one stands for a dim.  Sums and products of large ones are told apart by being other numbers.
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

__all__ = ["CALM", "SEVERAL", "VERBS", "Block", "M", "N", "Program", "Shape", "Step", "Values",
           "Verbs"]  # fmt: skip

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
