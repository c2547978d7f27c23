"""Random functions, four ways: compiled, the evaluator and NumPy; reverse, forward, differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest
from tests.isolated import failures
from tests.random_functions import VERBS, Program, random_function
from tests.rounded import nudged_runs

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace

LENGTHS: Final = ((2, 3), (0, 2), (1, 1), (3, 0), (5, 4))
"What n and m are, one call after the other."
MODES: Final = ("fast", "strict", "reproducible")
LARGE: Final = 1e6
STEPS: Final = (1e-4, 1e-6, 3e-8)
"Where a function is steep, long steps leave out too much; short ones round."
AMPLIFIED: Final = 16
"Where a program is ill-conditioned: times that its results may be off by what rounding does."


def _loss(program: Program, *values: Any) -> Any:
    total: Any = 0.0
    for y in program.results(VERBS["ours"], values):
        total = total + cnp.sum(cnp.sin(y) + 0.25 * y)
    return total


def everything(program: Program) -> Any:
    """Return results, loss, gradient, slope and curvature along a direction, as one function."""
    count = len(program.shapes)

    def run(*given: Any) -> Any:
        xs, ts = given[:count], given[count:]

        def loss(*values: Any) -> Any:
            return _loss(program, *values)

        gradient = cr.grad(loss, tuple(range(count)))
        value, slope = cr.jvp(loss, xs, ts)
        results = program.results(VERBS["ours"], xs)
        if program.seed % 4:
            return results, value, gradient(*xs), slope
        return results, value, gradient(*xs), slope, cr.jvp(gradient, xs, ts)[1]

    return run


def directions(program: Program, n: int, m: int) -> list[Any]:
    random = np.random.default_rng([program.seed, n, m, 1])
    return [random.normal(size=x.shape) for x in program.arguments(n, m)]


def agree(got: Any, expected: Any, what: str, nudged: Sequence[Any] = ()) -> None:
    """Compare leaf by leaf. `nudged` are further results, with roundings moved."""
    for k, (a, b) in enumerate(zip(cr.tree_leaves(got), cr.tree_leaves(expected), strict=True)):
        assert np.shape(a) == np.shape(b), f"{what}: {np.shape(a)} is not {np.shape(b)}"
        scale = float(np.max(np.abs(b), initial=1.0, where=np.isfinite(b)))
        if scale >= LARGE:
            continue
        with np.errstate(invalid="ignore"):
            spread = [np.abs(cr.tree_leaves(other)[k] - np.asarray(b, float)) for other in nudged]
            excused = AMPLIFIED * np.max([*spread, np.zeros(np.shape(b))], axis=0)
            # Element by element: one that is ill-conditioned excuses no other.
            close = np.where(np.abs(np.asarray(a, float) - b) <= excused, b, a)
        np.testing.assert_allclose(close, b, 1e-8, 1e-8 * scale, err_msg=what)


def agree_as_conditioned(got: Any, expected: Any, what: str, run: Any, given: Any) -> None:
    """Compare; results that differ must do so by no more than rounding explains."""
    try:
        agree(got, expected, what)
    except AssertionError:
        agree(got, expected, what, nudged_runs(run, given))


def _difference(run: Any, xs: Sequence[Any], ts: Sequence[Any], step: float) -> float:
    """Return the slope along a direction, to fourth order."""

    def at(k: float) -> float:
        moved = [x + k * step * t for x, t in zip(xs, ts, strict=True)]
        return float(run(*moved, *ts)[1])

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


def compare(seed: int, *, compiled: bool = True, batched: bool = True) -> None:
    """Check one program; the unit that runs in a process of its own."""
    program = random_function(seed)
    run = everything(program)
    names = [*program.names(), *program.names()]
    dims = {f"given/{i}": s for i, s in enumerate(names) if any(isinstance(e, str) for e in s)}
    first = [*program.arguments(*LENGTHS[0]), *directions(program, *LENGTHS[0])]
    traced = trace(run, *first, dims=dims)
    mode = MODES[seed % 3]
    jitted = cr.jit(run, dims=dims, numerics=mode, cache=False) if compiled else None
    for n, m in LENGTHS:
        xs, ts = program.arguments(n, m), directions(program, n, m)
        expected = traced.run(*xs, *ts)
        what = f"{program}\nat n = {n}, m = {m}"
        results, _, gradient, slope = expected[:4]
        if program.plain:
            with np.errstate(all="ignore"):
                agree(results, program.results(VERBS["plain"], xs), f"NumPy: {what}")
        if jitted is not None:
            given = [*xs, *ts]
            agree_as_conditioned(jitted(*given), expected, f"{mode}: {what}", traced.run, given)
        pulled = sum(float(np.sum(g * t)) for g, t in zip(gradient, ts, strict=True))
        size = 1 + sum(float(np.sum(np.abs(g * t))) for g, t in zip(gradient, ts, strict=True))
        assert abs(float(slope) - pulled) <= 1e-8 * size, (
            f"forward is {slope}, not {pulled}: {what}"
        )
        if program.smooth and (n, m) == LENGTHS[0]:
            found: list[float] = []
            for step in STEPS:
                found.append(_difference(traced.run, xs, ts, step))
                if abs(found[-1] - pulled) <= 1e-5 * size:
                    break
            else:
                raise AssertionError(f"differences are {found}, not {pulled}: {what}")
    if batched:
        _compare_batch(program, run, traced.run, compiled=compiled)


def _compare_batch(program: Program, run: Any, one: Any, *, compiled: bool) -> None:
    n, m = LENGTHS[0]
    first = [*program.arguments(n, m), *directions(program, n, m)]
    rows = [first, [0.9 * x for x in first]]
    stacked = [np.stack(pair) for pair in zip(*rows, strict=True)]
    mapped = cr.vmap(run)
    got = (
        cr.jit(mapped, cache=False)(*stacked) if compiled else trace(mapped, *stacked).run(*stacked)
    )
    for k, row in enumerate(rows):
        result = cr.tree_map(lambda y, k=k: y[k], got)
        agree_as_conditioned(result, one(*row), f"row {k} of vmap: {program}", one, row)


def check(name: str) -> None:
    """Check the program that a name stands for: its seed, `+` if compiled, `*` if batched."""
    compare(int(name.rstrip("+*")), compiled="+" in name, batched="*" in name)


def _failing(names: Sequence[str]) -> str:
    return "\n\n".join(f"{k}\n{v}" for k, v in failures(__name__, names).items())


def test_compiled_programs() -> None:
    assert not (found := _failing([f"{s}+" for s in range(6)])), found


def test_batched_programs() -> None:
    assert not (found := _failing([f"{s}*" for s in range(100, 110)])), found


@pytest.mark.broad
def test_evaluated_programs() -> None:
    assert not (found := _failing([f"{s}" for s in range(1000, 1050)])), found


@pytest.mark.broad
@pytest.mark.parametrize("block", range(6))
def test_more_programs(block: int) -> None:
    names = [f"{s}+" for s in range(6 + 2 * block, 8 + 2 * block)]
    names += [f"{s}*" for s in range(110 + 3 * block, 113 + 3 * block)]
    names += [f"{s}" for s in range(1050 + 15 * block, 1065 + 15 * block)]
    assert not (found := _failing(names)), found


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(200))
def test_many_programs(block: int) -> None:
    seeds = range(10_000 + 100 * block, 10_100 + 100 * block)
    assert not (found := _failing([f"{s}+{'*' * (s % 2)}" for s in seeds])), found


@pytest.mark.parametrize("seed", [305_454, 310_252])
def test_extents_that_a_loop_counts_are_read_when_it_has_run(seed: int) -> None:
    # Copies along an axis that a loop stacks, made before the loop by number.
    compare(seed, compiled=False, batched=False)


@pytest.mark.broad
@pytest.mark.parametrize("seed", [305_412, 310_005])
def test_inverses_of_nearly_singular_matrices_and_steep_functions(seed: int) -> None:
    compare(seed, batched=False)


def test_an_ill_conditioned_element_excuses_no_other() -> None:
    want, nudged = [np.array([1.0, 1.0])], [[np.array([1.0, 90.0])]]
    agree([np.array([1.0, 7.0])], want, "rounding explains it", nudged)
    for wrong in ([5.0, 7.0], [1.0, 5000.0], [1.0, np.nan]):
        with pytest.raises(AssertionError):
            agree([np.array(wrong)], want, "rounding does not", nudged)
    with pytest.raises(AssertionError):
        agree([np.array([1.0, 7.0])], want, "nothing was moved")
