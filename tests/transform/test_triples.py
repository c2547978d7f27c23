"""Any three transformations inside one another, on random programs.

Every verb makes of a function of two numbers another one, so every triple is well typed.  It is
compared with the same triple written otherwise: forward mode by two pull-backs, reverse mode by
push-forwards of unit vectors, `vmap` by a Python loop.  So forward over reverse, reverse over
forward and reverse over reverse meet in every order.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from tests.random_programs import random_program
from tests.transform.cases import function_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace

Function = Callable[..., Any]
POINT: Final = np.array([0.4, -0.3])
DIRECTION: Final = np.array([0.7, 1.2])
SCALES: Final = np.array([[1.0], [0.5], [-0.8]])


def weights(y: Any) -> Any:
    """Return numbers of the shape of a result."""
    return np.cos(1.3 * np.arange(1 + int(np.prod(y.shape)))[1:]).reshape(y.shape)


def number(f: Function) -> Function:
    """Make a number of a result, linear in it nowhere."""

    def of(x: Any) -> Any:
        y = f(x)
        return cnp.sum(cnp.sin(y) * weights(y))

    return of


def pushed(f: Function, v: Any) -> Function:
    return lambda x: cr.jvp(f, (x,), (v,))[1]


def pulled(f: Function) -> Function:
    def pull(x: Any) -> Any:
        y, pullback = cr.vjp(f, x)
        return pullback(weights(y))[0]

    return pull


VERBS: Final[dict[str, Callable[[Function], Function]]] = {
    "grad": lambda f: cr.grad(number(f)),
    "jvp": lambda f: pushed(f, DIRECTION),
    "vjp": pulled,
    "linearize": lambda f: lambda x: cr.linearize(f, x)[1](DIRECTION),
    "jacfwd": cr.jacfwd,
    "jacrev": cr.jacrev,
    "hessian": cr.hessian,
    "hvp": lambda f: lambda x: cr.hvp(number(f))(x, DIRECTION),
    "vmap": lambda f: lambda x: cr.vmap(f)(SCALES * x),
    "jit": cr.jit,
}
ORDERS: Final = {"hessian": 2, "hvp": 2, "vmap": 0, "jit": 0}

# The same, in the other mode.


def pushed_by_pulls(f: Function, v: Any) -> Function:
    """Pull back through the pull-back, which is linear in the cotangent."""

    def push(x: Any) -> Any:
        y, pullback = cr.vjp(f, x)
        return cr.vjp(lambda u: pullback(u)[0], cnp.zeros(y.shape))[1](v)[0]

    return push


def units() -> list[Any]:
    return list(np.eye(2))


def columns(push: Callable[[Function, Any], Function], f: Function) -> Function:
    return lambda x: cnp.stack([push(f, e)(x) for e in units()], axis=-1)


def pulled_by_pushes(f: Function) -> Function:
    def pull(x: Any) -> Any:
        y = f(x)
        return cnp.stack([cnp.sum(weights(y) * pushed(f, e)(x)) for e in units()])

    return pull


def product_by_gradients(f: Function) -> Function:
    slope = cr.grad(number(f))
    return cr.grad(lambda x: cnp.sum(slope(x) * DIRECTION))


OTHERWISE: Final[dict[str, Callable[[Function], Function]]] = {
    "grad": lambda f: columns(pushed, number(f)),
    "jvp": lambda f: pushed_by_pulls(f, DIRECTION),
    "vjp": pulled_by_pushes,
    "linearize": lambda f: pushed_by_pulls(f, DIRECTION),
    "jacfwd": lambda f: columns(pushed_by_pulls, f),
    "jacrev": lambda f: columns(pushed, f),
    "hessian": lambda f: columns(pushed_by_pulls, columns(pushed, f)),
    "hvp": product_by_gradients,
    "vmap": lambda f: lambda x: cnp.stack([f(s * x) for s in SCALES]),
    "jit": lambda f: f,
}
TRIPLES: Final = list(itertools.product(VERBS, repeat=3))


def nested(verbs: dict[str, Callable[[Function], Function]], names: Any, f: Function) -> Function:
    return functools.reduce(lambda g, name: verbs[name](g), reversed(names), f)


def small(x: Any) -> Any:
    """What derivatives of high order are taken of."""
    return cnp.stack([cnp.sin(x[0] * x[1]) + x[0] ** 3, cnp.exp(x[0]) * cnp.tanh(x[1])])


def random_function(seed: int) -> Function:
    """Return a function of two numbers through a random program."""
    case = random_program(seed, nodes=8, smooth=True)
    program = function_of(case.program)
    random = np.random.default_rng(seed)
    ways = [(a, *random.normal(size=(2, *a.shape))) for a in case.arrays]

    def f(x: Any) -> Any:
        ys = program(*[a + x[0] * p + x[1] * q for a, p, q in ways])
        return cnp.stack([sum(cnp.sum(cnp.sin(y) * (1 + k)) for y in ys) for k in range(2)])

    return f


def agree(got: Any, expected: Any, what: str) -> None:
    assert got.shape == expected.shape, what
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(got, expected, 1e-10, 1e-10 * scale, err_msg=what)


def check(seed: int, names: tuple[str, str, str], *, compiled: bool) -> None:
    high = sum(ORDERS.get(n, 1) for n in names) > 3
    f = small if high else random_function(seed)
    what = f"{' of '.join(names)} of {'small' if high else f'seed {seed}'}"
    function = nested(VERBS, names, f)
    got = trace(function, POINT).run(POINT)
    expected = trace(nested(OTHERWISE, names, f), POINT).run(POINT)
    agree(got, expected, what)
    if compiled:
        agree(np.asarray(function(POINT)), got, f"compiled {what}")


SHARE: Final = 12
MIXED: Final = [TRIPLES[i] for i in np.random.default_rng(0).permutation(len(TRIPLES))]


@pytest.mark.share(3)
@pytest.mark.parametrize("block", range(SHARE))
def test_a_share_of_the_triples(block: int) -> None:
    check(block, MIXED[block], compiled=True)
    for names in MIXED[SHARE + 2 * block : SHARE + 2 * (block + 1)]:
        check(block + 1, names, compiled=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(100))
def test_every_triple(block: int) -> None:
    for names in MIXED[block::100]:
        check(block, names, compiled=True)
