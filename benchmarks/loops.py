"""Value and gradient of loops, compiled: chainrule's `scan` against that of JAX.

    taskset -c 1 python benchmarks/loops.py

Both sides run the same program in float64; results are compared before anything is timed.  A ratio
above 1 says that JAX takes longer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from interleave import interleaved

import chainrule as cr
import chainrule.numpy as cnp

jax.config.update("jax_enable_x64", True)

H, ROWS, INPUTS = 64, 8, 16


def lorenz(_np: Any, scan: Callable[..., Any], start: Any) -> Any:
    """Follow three equations with 10,000 steps of Runge and Kutta."""

    def slope(u: Any) -> Any:
        x, y, z = u
        return 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8 / 3 * z

    def moved(u: Any, k: Any, h: float) -> Any:
        return tuple(a + h * b for a, b in zip(u, k, strict=True))

    def step(u: Any, _: Any) -> Any:
        k1 = slope(u)
        k2 = slope(moved(u, k1, 5e-4))
        k3 = slope(moved(u, k2, 5e-4))
        k4 = slope(moved(u, k3, 1e-3))
        rows = zip(u, k1, k2, k3, k4, strict=True)
        return tuple(a + 1e-3 / 6 * (b + 2 * c + 2 * d + e) for a, b, c, d, e in rows), None

    return scan(step, (start, start + 1.0, start + 2.0), None, 10_000)[0][0]


def rnn(np_: Any, scan: Callable[..., Any], weights: Any, xs: Any) -> Any:
    """Run a plain recurrent network of 8 units over 1,000 inputs."""

    def step(h: Any, x: Any) -> Any:
        h = np_.tanh(weights @ h + x)
        return h, h

    return np_.sum(scan(step, np_.zeros(8), xs)[1] ** 2)


def lstm(np_: Any, scan: Callable[..., Any], params: Any, xs: Any) -> Any:
    """Run an LSTM of 64 units over 128 batches of 8 inputs."""

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np_.exp(-z))

    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        z = h @ params["W"] + x @ params["U"] + params["b"]
        i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np_.tanh(g)
        h = sigmoid(o) * np_.tanh(c)
        return (h, c), h

    zero = np_.zeros((ROWS, H))
    return np_.mean(scan(step, (zero, zero), xs)[1] ** 2)


def main() -> None:
    random = np.random.default_rng(0)
    params = {
        "W": random.normal(size=(H, 4 * H)) * 0.1,
        "U": random.normal(size=(INPUTS, 4 * H)) * 0.1,
        "b": np.zeros(4 * H),
    }
    cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "Lorenz, 10,000 steps": (lorenz, (1.0,)),
        "RNN of 8, 1,000 steps": (
            rnn, (random.normal(size=(8, 8)) * 0.3, random.normal(size=(1000, 8)))
        ),
        "LSTM of 64, 128 steps": (lstm, (params, random.normal(size=(128, ROWS, INPUTS)))),
    }  # fmt: skip
    for name, (f, args) in cases.items():
        ours = cr.jit(cr.value_and_grad(functools.partial(f, cnp, cr.scan)))
        theirs = jax.jit(jax.value_and_grad(functools.partial(f, jnp, jax.lax.scan)))
        for a, b in zip(cr.tree_leaves(ours(*args)), jax.tree.leaves(theirs(*args)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)

        def ready(theirs: Any = theirs, args: Any = args) -> None:
            jax.block_until_ready(theirs(*args))

        found = interleaved({"chainrule": functools.partial(ours, *args), "JAX": ready}, rounds=11)
        print(f"{name:24} JAX/chainrule {found['JAX']}  {found['chainrule'].microseconds:9.0f} us")


if __name__ == "__main__":
    main()
