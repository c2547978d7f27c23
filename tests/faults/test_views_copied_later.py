"""Views that a product reads in place and that something after it needs as arrays of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp

MODES: Final = ("fast", "strict", "reproducible")
# Views of what is cheap enough to be computed wherever it is read.
VIEWS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "broadcast": lambda xp, x: xp.broadcast_to(x[0, 0] * xp.sin(x[0, 0]), x.shape),
    "rows": lambda xp, x: xp.broadcast_to(x[0] * x[1], x.shape),
    "slice": lambda xp, x: (x * xp.abs(x))[:, ::-1],
    "transpose": lambda xp, x: (x * x[0]).T,
    "reshape": lambda xp, x: xp.reshape(x * 3.0, (x.shape[1], x.shape[0])),
}


def _users(v: Any, chosen: Any) -> dict[str, Callable[[], Any]]:
    return {
        "cond": lambda: cr.cond(chosen, lambda v: v * 2, lambda v: v + 1, v),
        "while_loop": lambda: cr.while_loop(lambda s: s[0, 0] < 9, lambda s: s + 1.5, v),
        "scan": lambda: cr.scan(lambda c, _: (c * 0.5 + 1, None), v, None, length=3)[0],
        "callback": lambda: cr.callback(lambda v: v * 2, v, v),
        "result": lambda: v,
    }


def _grown(v: Any) -> Any:
    while v[0, 0] < 9:
        v = v + 1.5
    return v


EXPECTED: Final[dict[str, Callable[[Any], Any]]] = {
    "cond": lambda v: v * 2,
    "while_loop": _grown,
    "scan": lambda v: v * 0.125 + 1.75,
    "callback": lambda v: v * 2,
    "result": lambda v: v,
}


@pytest.mark.share(2)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user", _users(None, None))
@pytest.mark.parametrize("view", VIEWS)
def test_products_of_views(view: str, user: str, mode: str) -> None:
    def run(x: Any) -> tuple[Any, Any, Any]:
        v = VIEWS[view](cnp, x)
        return v @ v, _users(v, cnp.sum(x) > 0)[user](), x @ v

    # Named in one mode; elsewhere a compilation for each size.
    fn = cr.jit(run, dims={"x": ("n", "n")} if mode == "strict" else None, numerics=mode)
    for n in (3, 2, 7):
        x = np.random.default_rng(n).uniform(0.5, 1.5, (n, n))
        first, used, last = fn(x)
        v = VIEWS[view](np, x)
        np.testing.assert_allclose(first, v @ v, rtol=1e-13)
        np.testing.assert_allclose(used, EXPECTED[user](v), rtol=1e-13)
        np.testing.assert_allclose(last, x @ v, rtol=1e-13)
