"""Internal errors: elements of computed arrays picked at their own extremes (`v[argmax(v)]`).

Such an element is a value of a whole row of the array that is made in the same loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

Make = Callable[[Any, Any, Any], Any]

# Functions of a module (ours or NumPy), a vector and a matrix.
MADE: Final[Mapping[str, Make]] = {
    "a product": lambda m, v, a: m.sin(a @ v + v),
    "rows": lambda m, v, a: m.tanh(a * v),
    "a softmax": lambda m, v, _: m.exp(v) / m.sum(m.exp(v)),
    "less its largest": lambda m, v, a: a * v - m.max(v),
    "a running sum": lambda m, v, _: m.cumsum(v),
}
PICKED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "by index": lambda m, w: w[m.argmax(w[..., 0]) if w.ndim == 2 else m.argmax(w)],
    "along an axis": lambda m, w: m.take_along_axis(
        w, m.expand_dims(m.argmin(w, axis=-1), -1), w.ndim - 1
    ),
}


def _function(m: Any, make: str, pick: str) -> Callable[[Any, Any], Any]:
    def fn(v: Any, a: Any) -> Any:
        w = MADE[make](m, v, a)
        return w * m.sum(PICKED[pick](m, w)) + m.sum(w)

    return fn


@pytest.mark.parametrize("pick", PICKED)
@pytest.mark.parametrize("make", MADE)
def test_b8_an_element_picked_at_an_extreme(make: str, pick: str) -> None:
    v, a = np.array([0.3, 0.9, 0.2]), np.sin(np.arange(9.0)).reshape(3, 3)
    ours, plain = (_function(m, make, pick) for m in (cnp, np))

    def looped(v: Any, a: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            s = cnp.sum(ours(c, a))
            return cnp.sin(a @ c) + 0.1 * s, s

        return cnp.sum(cr.scan(step, v, None, length=2)[1])

    def looped_plain(v: Any, a: Any) -> Any:
        total = 0.0
        for _ in range(2):
            s = np.sum(plain(v, a))
            v, total = np.sin(a @ v) + 0.1 * s, total + s
        return total

    np.testing.assert_allclose(cr.jit(ours)(v, a), plain(v, a), rtol=1e-12)
    np.testing.assert_allclose(
        cr.jit(cr.vmap(ours))(np.stack([v, -v]), np.stack([a, a])),
        np.stack([plain(v, a), plain(-v, a)]), rtol=1e-12,
    )  # fmt: skip
    value, tangent = cr.jit(lambda v, a: cr.jvp(looped, (v, a), (v, a)))(v, a)
    by_v, by_a = cr.jit(cr.grad(looped, argnums=(0, 1)))(v, a)
    assert value == pytest.approx(looped_plain(v, a), rel=1e-12)
    step = 1e-6
    up, down = (looped_plain((1 + s) * v, (1 + s) * a) for s in (step, -step))
    assert tangent == pytest.approx((up - down) / (2 * step), rel=1e-7, abs=1e-8)
    assert np.sum(by_v * v) + np.sum(by_a * a) == pytest.approx(float(tangent), rel=1e-11)
