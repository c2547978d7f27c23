"""Updates in place are right whatever else reads the arrays: random programs against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.faults.random_updates import OURS, PLAIN, arguments, random_updates

import chainrule as cr
import chainrule.numpy as cnp

NAMES = ("a", "b", "t", "u")


def _compare(seed: int, numerics: str) -> None:
    program, args = random_updates(seed), arguments(seed)
    expected = program(PLAIN, *args)

    def fn(a: Any, b: Any, t: Any, u: Any) -> Any:
        return program(OURS, a, b, t, u)

    def total(a: Any, b: Any, t: Any, u: Any) -> Any:
        return sum((cnp.sum(cnp.sin(x)) for x in fn(a, b, t, u)), 0.0 * a[0])

    def close(found: Any, wanted: Any) -> None:
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)

    close(cr.jit(fn, numerics=numerics)(*args), expected)
    given = [x.copy() for x in args]
    close(cr.jit(fn, numerics=numerics, donate_argnames=NAMES)(*given), expected)
    batch = [np.stack([x, -0.5 * x]) for x in args]
    found = cr.jit(cr.vmap(fn), numerics=numerics)(*batch)
    close([x[1] for x in found], program(PLAIN, *(x[1] for x in batch)))
    ways = [np.cos(np.arange(x.size)).reshape(x.shape) for x in args]
    slopes = cr.jit(cr.grad(total, argnums=(0, 1, 2, 3)), numerics=numerics)(*args)
    _, forward = cr.jit(lambda x, d: cr.jvp(total, x, d), numerics=numerics)(
        tuple(args), tuple(ways)
    )
    reverse = sum(float(np.sum(g * d)) for g, d in zip(slopes, ways, strict=True))
    assert reverse == pytest.approx(float(forward), rel=1e-9, abs=1e-11)


@pytest.mark.share(4)
@pytest.mark.parametrize("seed", range(4))
def test_random_updates(seed: int) -> None:
    _compare(seed, "strict" if seed % 2 else "fast")


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(4, 400))
def test_more_random_updates(seed: int) -> None:
    _compare(seed, ("fast", "strict", "reproducible")[seed % 3])
