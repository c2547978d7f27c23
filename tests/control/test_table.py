"""Every program of the table, at every stage, against plain Python; derivatives against peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.control.cases import CASES, Case
from tests.control.kits import PLAIN, jax_kit
from tests.control.programs import agree, floats, function, labels, leaves, loss, plain_loss

import chainrule as cr
from chainrule.frontend.trace import Traced, trace
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import check
from chainrule.optimize import expand, optimize

SMOOTH = [c for c in CASES if c.smooth]
every = pytest.mark.parametrize("case", CASES, ids=labels())
smooth = pytest.mark.parametrize("case", SMOOTH, ids=[labels()[CASES.index(c)] for c in SMOOTH])


def check_stages(traced: Traced, case: Case, want: Any, tolerance: float = 1e-12) -> None:
    """Compare the evaluator on the program as traced, optimized and expanded."""
    check(traced.program)
    agree(traced.run(*case.args), want, tolerance, "traced")
    arrays = leaves(case.args)
    program = traced.program
    for verb in (optimize, expand):
        program = verb(program)
        check(program)
        agree(list(evaluate(program, *arrays)), want, tolerance, verb.__name__)


def gradient(case: Case) -> Any:
    return cr.grad(loss(case), argnums=floats(case))


def value_and_gradient(case: Case) -> Any:
    f, g = function(case), gradient(case)

    def both(*args: Any) -> Any:
        return f(*args), g(*args)

    both.__signature__ = f.__signature__  # type: ignore[attr-defined]
    return both


def direction(case: Case) -> list[Any]:
    random = np.random.default_rng(7)

    def move(x: Any) -> Any:
        return random.normal(size=np.shape(x))

    return [cr.tree_map(move, x) if i in floats(case) else None for i, x in enumerate(case.args)]


def moved(case: Case, along: list[Any], step: float) -> list[Any]:
    return [
        x if d is None else cr.tree_map(lambda a, b: a + step * b, x, d)
        for x, d in zip(case.args, along, strict=True)
    ]


@every
def test_values(case: Case) -> None:
    want = function(case, PLAIN)(*case.args)
    check_stages(trace(function(case), *case.args, dims=case.dims), case, want)


@pytest.mark.share(6)
@smooth
def test_compiled_values_and_gradients(case: Case) -> None:
    want = function(case, PLAIN)(*case.args)
    traced = trace(gradient(case), *case.args, dims=case.dims)
    slopes = traced.run(*case.args)
    check_stages(traced, case, slopes, 1e-9)
    numerics = ("fast", "strict")[CASES.index(case) % 2]
    got = cr.jit(value_and_gradient(case), dims=case.dims, numerics=numerics)(*case.args)
    agree(got[0], want, 1e-12, numerics)
    agree(got[1], slopes, 1e-9, numerics)
    along, f = direction(case), plain_loss(case)
    slope = (f(*moved(case, along, 1e-5)) - f(*moved(case, along, -1e-5))) / 2e-5
    steps = leaves([d for d in along if d is not None])
    pulled = sum(np.sum(g * d) for g, d in zip(leaves(slopes), steps, strict=True))
    assert pulled == pytest.approx(slope, rel=1e-6, abs=1e-6)
    chosen = floats(case)

    def of_chosen(*some: Any) -> Any:
        given = dict(zip(chosen, some, strict=True))
        return loss(case)(*(given.get(i, x) for i, x in enumerate(case.args)))

    primals = tuple(case.args[i] for i in chosen)
    pushed = trace(
        lambda p, t: cr.jvp(of_chosen, p, t)[1], primals, tuple(along[i] for i in chosen)
    ).run(primals, tuple(along[i] for i in chosen))
    assert float(pushed) == pytest.approx(float(pulled), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if not c.smooth], ids=lambda c: c.name)
@pytest.mark.parametrize("numerics", ["fast", "strict"])
def test_compiled_values_of_other_dtypes(case: Case, numerics: str) -> None:
    want = function(case, PLAIN)(*case.args)
    agree(cr.jit(function(case), dims=case.dims, numerics=numerics)(*case.args), want)


@pytest.mark.exhaustive
@smooth
@pytest.mark.parametrize("numerics", ["fast", "strict"])
def test_both_numerics(case: Case, numerics: str) -> None:
    want = function(case, PLAIN)(*case.args)
    slopes = trace(gradient(case), *case.args, dims=case.dims).run(*case.args)
    got = cr.jit(value_and_gradient(case), dims=case.dims, numerics=numerics)(*case.args)
    agree(got[0], want, 1e-12)
    agree(got[1], slopes, 1e-9)


def by_jax(case: Case) -> bool:
    """JAX has no reverse mode of loops whose number of steps it does not know."""
    unbounded = ("traced_bound", "doubling", "no_steps", "newton", "hundred_steps", "while_in",
                 "scan_in_while", "cond_in_while", "everything")  # fmt: skip
    return case.jax and case.dims is None and not case.name.startswith(unbounded)


JAX = [c for c in SMOOTH if by_jax(c)]
# Most of JAX's time goes into compiling: a few here, all of them among the exhaustive tests.
FEW = {"pytree_carries", "lstm", "nested_scan", "cond_in_scan", "counter_sets", "bounded_while"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c.name in FEW else pytest.mark.exhaustive) for c in JAX],
    ids=[labels()[CASES.index(c)] for c in JAX],
)
def test_gradients_as_jax_finds_them(case: Case) -> None:
    jax = pytest.importorskip("jax")
    want = jax.grad(loss(case, jax_kit()), argnums=floats(case))(*case.args)
    agree(trace(gradient(case), *case.args).run(*case.args), jax.tree.leaves(want), 1e-9)
