"""Sizes that dims decide, against NumPy at every length from 0 to 20.

A traced program is for the lengths that its guards admit; what a call would compile anew is traced
anew here.  The evaluator runs it at every length, its gradient and `vmap` at some; so does code
whose every access is checked, on guarded memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.compiled.run import Compiled
from tests.random_sizes import LENGTHS, Case, outcome, random_case

import chainrule as cr
from chainrule.frontend.trace import Traced, trace

PROGRAMS = 1_000
CHUNK = 50


class Variants:
    """A function and what it was traced to, for the lengths each program admits."""

    def __init__(self, fn: Callable[[Any], Any], axis: int) -> None:
        self.fn, self.axis = fn, axis
        self.traced: list[Traced] = []

    def of(self, x: Any) -> Traced:
        for one in self.traced:
            if all(g.holds({"n": x.shape[self.axis]}) for g in one.program.guards):
                return one
        names = tuple("n" if i == self.axis else None for i in range(x.ndim))
        self.traced.append(trace(self.fn, x, dims={"x": names}))
        return self.traced[-1]

    def run(self, x: Any) -> Any:
        return self.of(x).run(x)


def modes(case: Case) -> Iterator[tuple[str, Variants, Callable[[Any], Any], int]]:
    """Yield a way to run a program, and what NumPy makes of the same argument."""
    rows = lambda x: np.stack([case(r, np) for r in x])  # noqa: E731
    yield "forward", Variants(case, 0), lambda x: case(x, np), 1
    yield "gradient", Variants(cr.grad(case.weighed), 0), case.slope, 1
    yield "vmap", Variants(cr.vmap(case), 1), rows, 2


def argument(length: int, rank: int, rng: np.random.Generator) -> Any:
    return rng.standard_normal((2, length) if rank == 2 else (length,))


def compare(seed: int) -> None:
    case, rng = random_case(seed), np.random.default_rng(seed)
    chosen = random.Random(seed)
    for name, variants, expected, rank in modes(case):
        for length in chosen.sample(LENGTHS, len(LENGTHS) if name == "forward" else 8):
            x = argument(length, rank, rng)
            want = outcome(expected, x)
            got = outcome(variants.run, x)
            same(case, f"{name} at {length}", got, want)
        run_checked(case, name, variants, chosen, rank, rng)


def run_checked(
    case: Case, name: str, variants: Variants, chosen: random.Random, rank: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Run code of one of the programs, with every access checked, at the lengths it admits."""
    if not variants.traced or (name != "forward" and chosen.random() < 0.7):
        return
    traced = chosen.choice(variants.traced)
    guards = traced.program.guards
    compiled = Compiled(traced.program, checked=True)
    fitting = [n for n in LENGTHS if all(g.holds({"n": n}) for g in guards)]
    for length in chosen.sample(fitting, min(5, len(fitting))):
        x = argument(length, rank, rng)
        (got,) = compiled(x)
        assert compiled.code == 0, f"{case.text}: {name} at {length}: code {compiled.code}"
        same(case, f"{name} at {length}, checked", got, traced.run(x))


def same(case: Case, what: str, got: Any, want: Any) -> None:
    assert (got is None) == (want is None), f"{case.text}: {what}: {got} is not {want}"
    if want is not None:
        np.testing.assert_allclose(
            got, want, 1e-9, 1e-9, err_msg=f"{case.text}: {what}", strict=True
        )


@pytest.mark.share(20, broad=20)
@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
def test_sizes_are_those_of_numpy_at_every_length(first: int) -> None:
    for seed in range(first, first + CHUNK):
        compare(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(PROGRAMS, 100_000, 1_000))
def test_sizes_of_a_hundred_thousand_programs(first: int) -> None:
    for seed in range(first, first + 1_000):
        compare(seed)


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", range(30))
def test_calls_choose_or_compile_the_program_that_a_length_needs(seed: int) -> None:
    case = random_case(seed)
    fn = cr.jit(case, dims={"x": ("n",)})
    rng = np.random.default_rng(seed)
    for length in (12, 9, 7, 0, 1, 20, 12, 3):
        x = rng.standard_normal(length)
        same(case, f"call at {length}", outcome(fn, x), outcome(lambda x: case(x, np), x))
