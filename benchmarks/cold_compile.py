"""Time to the first value and gradient of 784-512-256-10, in fresh processes, against JAX.

    python benchmarks/cold_compile.py [rounds]

Each round starts one process for each side, in turns.  The clock starts after the imports and one
trivial compilation, and stops at the first result; nothing is taken from a cache on disk.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

SIDES = ("chainrule", "jax")


def measure(side: str) -> float:
    """Return the seconds to the first result (run in a process of its own)."""
    import networks
    import numpy as np

    sizes = (784, 512, 256, 10)
    params, x, y = networks.data(sizes, 32, np.float32, "relu")
    if side == "jax":
        import jax
        import jax.numpy as jnp

        jax.block_until_ready(jax.jit(lambda a: a + 1)(jnp.ones(3)))
        began = time.perf_counter()
        fn = jax.jit(jax.value_and_grad(networks.network(jnp, 3, "relu")))
        jax.block_until_ready(fn(params, x, y))
        return time.perf_counter() - began
    import chainrule as cr
    import chainrule.numpy as cnp

    cr.jit(lambda a: a + 1, cache=False)(np.ones(3))
    dims = {"x": ("batch", 784), "y": ("batch", 10)}
    began = time.perf_counter()
    loss = cr.value_and_grad(networks.network(cnp, 3, "relu"))
    cr.jit(loss, dims=dims, cache=False)(params, x, y)
    return time.perf_counter() - began


def main(rounds: int) -> None:
    """Print the median ratio of the rounds."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side]
            child = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds[side].append(float(child.stdout))
    ratios = [a / b for a, b in zip(*(seconds[s] for s in SIDES), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = ", ".join(f"{s} {statistics.median(seconds[s]):.2f} s" for s in SIDES)
    print(f"chainrule/jax {middle:.2f} ({low:.2f}-{high:.2f}) of {rounds} rounds; {medians}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        print(measure(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 9)
