"""Higher derivatives and batches of loops and branches, and derivatives that users give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.control.cases import CASES, Case
from tests.control.kits import OURS
from tests.control.programs import agree, floats, function, labels, leaves, loss, same_bits

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace

SMOOTH = [c for c in CASES if c.smooth]
SMALL = [c for c in SMOOTH if sum(np.size(x) for x in leaves(c.args)) <= 40]
HEAVY = {"everything", "lstm", "bubble_passes", "cholesky_by_hand"}


def names(cases: list[Case]) -> list[str]:
    return [labels()[CASES.index(c)] for c in cases]


def few(cases: list[Case], every: int, start: int = 0) -> list[Any]:
    """Mark all but every so manieth case as exhaustive."""
    return [
        pytest.param(c, marks=() if i % every == start and c.name not in HEAVY
                     else pytest.mark.exhaustive)
        for i, c in enumerate(cases)
    ]  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize("case", few(SMALL, 2), ids=names(SMALL))
def test_orders_of_modes_agree(case: Case) -> None:
    wrt = floats(case)
    gradient = cr.grad(loss(case), argnums=wrt)
    found = [
        trace(verb, *case.args).run(*case.args)
        for verb in (
            cr.jacfwd(gradient, argnums=wrt), cr.jacrev(gradient, argnums=wrt),
            cr.jacrev(cr.jacfwd(loss(case), argnums=wrt), argnums=wrt),
        )
    ]  # fmt: skip
    agree(found[1], found[0], 1e-10, "reverse over reverse")
    agree(found[2], found[0], 1e-10, "reverse over forward")


@pytest.mark.parametrize("case", few(SMALL, 7, 3), ids=names(SMALL))
def test_compiled_hessians(case: Case) -> None:
    wrt = floats(case)
    hessian = cr.hessian(loss(case), argnums=wrt)
    want = trace(hessian, *case.args).run(*case.args)
    agree(cr.jit(hessian)(*case.args), want, 1e-9)


def batch(case: Case) -> tuple[list[Any], list[list[Any]]]:
    """Return three of each argument, stacked, and the three lists of arguments."""

    def three(x: Any) -> Any:
        x = np.asarray(x)
        scale = (1.0, 1.01, 0.9) if x.dtype.kind == "f" else (1, 1, 1)
        return np.stack([x * x.dtype.type(s) for s in scale])

    many = [cr.tree_map(three, x) for x in case.args]
    return many, [[cr.tree_map(lambda x, r=r: x[r], a) for a in many] for r in range(3)]


def stacked(rows: list[Any]) -> list[Any]:
    return [np.stack(z) for z in zip(*map(leaves, rows), strict=True)]


@pytest.mark.parametrize("case", few(SMOOTH, 2, 1), ids=names(SMOOTH))
def test_batches_of_values_and_gradients(case: Case) -> None:
    many, rows = batch(case)
    fn, gradient = function(case), cr.grad(loss(case), argnums=floats(case))
    single = trace(fn, *rows[0]), trace(gradient, *rows[0])
    for verb, one in zip((fn, gradient), single, strict=True):
        want = stacked([one.run(*r) for r in rows])
        agree(trace(cr.vmap(verb), *many).run(*many), want, 1e-10)
    total = cr.grad(lambda *args: cnp.sum(cr.vmap(loss(case))(*args)), argnums=floats(case))
    want = stacked([single[1].run(*r) for r in rows])
    agree(trace(total, *many).run(*many), want, 1e-10)


# A sum over a whole vector and one over rows add in different orders.
ADDS = {"pytree_carries", "closes_over", "softmax_steps", "counter_adds", "nested_scan",
        "cholesky_by_hand", "scan_in_while", "zero_width", "everything"}  # fmt: skip
EXACT = [c for c in SMOOTH if c.name not in ADDS]


@pytest.mark.parametrize("case", few(EXACT, 6, 2), ids=names(EXACT))
def test_batches_equal_the_python_loop_bit_for_bit(case: Case) -> None:
    many, rows = batch(case)
    fn = function(case)
    single = cr.jit(fn, numerics="strict")
    got = leaves(cr.jit(cr.vmap(fn), numerics="strict")(*many))
    same_bits(got, stacked([single(*r) for r in rows]))


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (0, 2), (None, -1)], ids=str)
def test_mapped_along_other_axes(axes: tuple[int | None, int | None]) -> None:
    random = np.random.default_rng(1)
    w, x = random.normal(size=(2, 3)), random.normal(size=(2, 5, 3))

    def fn(w: Any, x: Any) -> Any:
        return cr.scan(lambda c, v: (cnp.tanh(c * w + v), c), w, x)

    def both(w: Any, x: Any) -> Any:
        return fn(w, x), cr.grad(lambda w: fn(w, x)[1].sum())(w)

    of_w, of_x = (1 if a is not None else 0 for a in axes)
    one = trace(both, w[0], x[0])
    want = stacked([one.run(w[r * of_w], x[r * of_x]) for r in range(2)])
    given = (
        w if axes[0] == 0 else w[0],
        x[0] if axes[1] is None else np.moveaxis(x, 0, axes[1]),
    )
    agree(cr.jit(cr.vmap(both, in_axes=axes))(*given), want, 1e-12)


def until(x: Any) -> Any:
    """Another number of steps for each x."""
    return cr.while_loop(
        lambda c: c[0].sum() < 20.0, lambda c: (c[0] * 1.3 + 0.5 * c[1], cnp.sin(c[1])), (x, x)
    )[0]


def bounded(x: Any) -> Any:
    return cr.while_loop(
        lambda c: c[0].sum() < 20.0, lambda c: (c[0] * 1.3 + 0.5 * c[1], cnp.sin(c[1])), (x, x),
        max_steps=60,
    )[0]  # fmt: skip


def total(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: cnp.sum(cnp.sin(fn(x)))


RAGGED = {
    "values": lambda f: f,
    "gradients": lambda f: cr.grad(total(f)),
    "hessians": lambda f: cr.hessian(total(f)),
    "reverse over reverse": lambda f: cr.jacrev(cr.grad(total(f))),
    "reverse over forward": lambda f: cr.jacrev(cr.jacfwd(total(f))),
}


@pytest.mark.parametrize("loop", [until, bounded], ids=["unbounded", "bounded"])
@pytest.mark.parametrize("verb", RAGGED.values(), ids=RAGGED)
def test_examples_that_stop_at_different_steps(verb: Any, loop: Any) -> None:
    x = np.array([[0.1, 0.2, 0.3], [3.0, 9.0, 2.0], [1.0, 1.0, 2.0], [50.0, 0.0, 0.0]])
    fn = verb(loop)
    one = trace(fn, x[0])
    want = stacked([one.run(row) for row in x])
    agree(cr.jit(cr.vmap(fn))(x), want, 1e-10)
    pairs = cr.vmap(cr.vmap(fn))
    agree(
        trace(pairs, x.reshape(2, 2, 3)).run(x.reshape(2, 2, 3)),
        [w.reshape(2, 2, *w.shape[1:]) for w in want], 1e-10,
    )  # fmt: skip
    if verb is not RAGGED["values"]:
        agree(trace(verb(until), x[0]).run(x[0]), trace(verb(bounded), x[0]).run(x[0]), 1e-12)


def third(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return cr.grad(lambda x: cr.grad(lambda y: cr.grad(fn)(y).sum())(x).sum())


def along(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: cr.jvp(fn, (x,), (cnp.ones_like(x),))[1]


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: cr.scan(
        lambda c, v: (cnp.tanh(c * x + v), cnp.sin(c)), x, np.ones((3, 2))
    )[1].sum(),
    "while": total(until),
    "cond": lambda x: cr.fori_loop(
        0, 3, lambda i, c: cr.cond(i == 1, lambda: cnp.exp(0.1 * c) * x, lambda: c * c * x), x
    ).sum(),
    "checkpoint": lambda x: cr.scan(
        cr.checkpoint(lambda c, _: (cnp.sin(c) * x, None)), x, None, 3
    )[0].sum(),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_third_derivatives(name: str) -> None:
    fn, x = PROGRAMS[name], np.array([0.4, 0.9])
    forward = along(along(along(fn)))
    want = float(trace(forward, x).run(x))
    got = third(fn)
    assert float(np.sum(trace(got, x).run(x))) == pytest.approx(want, rel=1e-9)
    assert float(np.sum(cr.jit(got)(x))) == pytest.approx(want, rel=1e-9)


# Derivatives that users give


@cr.custom_vjp
def tripled(c: Any, v: Any) -> Any:
    return cnp.sin(c) * v


tripled.defvjp(
    lambda c, v: (tripled(c, v), (c, v)),
    lambda kept, g: (3.0 * g * cnp.cos(kept[0]) * kept[1], g * cnp.sin(kept[0])),
)


@cr.custom_jvp
def quintupled(c: Any, v: Any) -> Any:
    return cnp.sin(c) * v


quintupled.defjvp(
    lambda p, t: (quintupled(*p), 5.0 * t[0] * cnp.cos(p[0]) * p[1] + t[1] * cnp.sin(p[0]))
)


@pytest.mark.parametrize(("rule", "factor"), [(tripled, 3.0), (quintupled, 5.0)])
def test_given_derivatives_in_loops(rule: Any, factor: float) -> None:
    """Against the recurrence of the derivative, written out."""
    w, x = 0.7, np.array([0.3, 0.9, 1.2])

    def fn(w: Any) -> Any:
        return cr.scan(lambda c, v: (rule(c, v) * w, None), w, x)[0]

    c, slope = w, 1.0
    for v in x:
        c, slope = np.sin(c) * v * w, np.sin(c) * v + w * factor * np.cos(c) * v * slope
    for run in (cr.jit(cr.grad(fn)), cr.grad(cr.checkpoint(fn))):
        assert float(run(w)) == pytest.approx(slope, rel=1e-12)
    many = cr.vmap(cr.grad(fn))(np.array([w, 2 * w]))
    assert many[0] == pytest.approx(slope, rel=1e-12)


def test_a_given_push_forward_has_the_same_second_derivative_in_all_modes() -> None:
    x = np.array([0.3, 0.9, 1.2])

    def fn(w: Any) -> Any:
        return cr.scan(lambda c, v: (quintupled(c, v) * w, None), w, x)[0]

    verbs = (cr.grad, cr.jacfwd)
    found = [float(a(b(fn))(0.7)) for a in verbs for b in verbs]
    np.testing.assert_allclose(found, found[0], 1e-12)


def test_loops_in_given_derivatives() -> None:
    @cr.custom_vjp
    def power(w: Any, n: Any) -> Any:
        return cr.fori_loop(0, n, lambda _i, v: v * w, 1.0 + 0.0 * w)

    power.defvjp(
        lambda w, n: (power(w, n), (w, n)),
        lambda kept, g: (
            cr.fori_loop(1, kept[1], lambda _i, v: v * kept[0], g) * kept[1].astype(float), None
        ),
    )  # fmt: skip
    slope = cr.grad(lambda w, n: power(w, n).sum())
    w = np.array([1.1, 0.9])
    for n in (1, 2, 7):
        np.testing.assert_allclose(cr.jit(slope)(w, np.int64(n)), n * w ** (n - 1), 1e-12)
    mapped = cr.vmap(slope, in_axes=(0, None))(np.stack([w, 2 * w]), np.int64(3))
    np.testing.assert_allclose(mapped, 3 * np.stack([w, 2 * w]) ** 2, 1e-12)


def test_the_verbs_are_the_same_for_plain_values() -> None:
    for case in CASES[:3]:
        agree(case.fn(OURS, *case.args), trace(function(case), *case.args).run(*case.args))
