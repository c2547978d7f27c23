"""Value and gradient of dense networks against `jax.jit(value_and_grad)`, one thread.

    python benchmarks/networks.py [tiny | wide]

Prints, for each network and batch: how many times longer JAX takes (median of rounds), the calls'
microseconds, both compile times, and how many compilations chainrule made for all batches of one
network.  Results agree to 2e-3 before anything is timed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import jax
import jax.numpy as jnp
import numpy as np
from interleave import interleaved

import chainrule as cr
import chainrule.numpy as cnp

jax.config.update("jax_enable_x64", True)

Arrays = dict[str, np.ndarray]


def network(xp: Any, layers: int, activation: str) -> Callable[..., Any]:
    """Return the loss: squared error behind tanh layers, cross-entropy behind relu layers."""

    def loss(params: Arrays, x: Any, y: Any) -> Any:
        h = x
        for i in range(layers):
            h = h @ params[f"W{i}"] + params[f"b{i}"]
            if i < layers - 1:
                h = xp.tanh(h) if activation == "tanh" else xp.maximum(h, 0)
        if activation == "tanh":
            return xp.mean((h - y) ** 2)
        shifted = h - xp.max(h, axis=1, keepdims=True)
        logs = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        return -xp.mean(xp.sum(logs * y, axis=1))

    return loss


def data(sizes: Sequence[int], batch: int, dtype: Any, activation: str) -> tuple[Arrays, Any, Any]:
    """Draw parameters, inputs and targets."""
    rng = np.random.default_rng(0)
    params = {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        params[f"W{i}"] = (rng.normal(size=(a, b)) / np.sqrt(a)).astype(dtype)
        params[f"b{i}"] = np.zeros(b, dtype)
    x = rng.normal(size=(batch, sizes[0])).astype(dtype)
    if activation == "tanh":
        return params, x, rng.normal(size=(batch, sizes[-1])).astype(dtype)
    return params, x, np.eye(sizes[-1], dtype=dtype)[rng.integers(0, sizes[-1], batch)]


def run(sizes: Sequence[int], batches: Sequence[int], dtype: Any, activation: str) -> None:
    """Compare on one network."""
    layers = len(sizes) - 1
    dims = {"x": ("batch", sizes[0]), "y": ("batch", sizes[-1])}
    ours = cr.jit(cr.value_and_grad(network(cnp, layers, activation)), dims=dims, cache=False)
    for batch in batches:
        params, x, y = data(sizes, batch, dtype, activation)
        value, grads = ours(params, x, y)
        theirs = jax.jit(jax.value_and_grad(network(jnp, layers, activation)))
        on_device = jax.tree.map(jnp.asarray, (params, x, y))
        began = time.perf_counter()
        expected, expected_grads = jax.block_until_ready(theirs(*on_device))
        compiled = time.perf_counter() - began
        np.testing.assert_allclose(value, expected, rtol=2e-3)
        for key, g in grads.items():
            np.testing.assert_allclose(g, expected_grads[key], rtol=2e-3, atol=1e-5)
        found = interleaved({
            "chainrule": lambda p=params, x=x, y=y: ours(p, x, y),
            "jax": lambda f=theirs, a=on_device: jax.block_until_ready(f(*a)),
        })  # fmt: skip
        first = ours.compilations[0].seconds
        print(
            f"{'-'.join(map(str, sizes)):>16} {np.dtype(dtype).name} batch {batch:4d}: "
            f"jax/ours {found['jax']}  ours {found['chainrule'].microseconds:8.2f} us  "
            f"compile {first:.2f} s, jax {compiled:.2f} s, compilations {len(ours.compilations)}"
        )


def main(which: Sequence[str]) -> None:
    """Run the networks asked for."""
    if not which or "tiny" in which:
        for dtype in (np.float32, np.float64):
            run((2, 32, 32, 1), (1, 8), dtype, "tanh")
    if not which or "wide" in which:
        run((784, 512, 256, 10), (32, 128, 512), np.float32, "relu")


if __name__ == "__main__":
    main(sys.argv[1:])
