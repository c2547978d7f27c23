"""CPU seconds to compile programs of many kinds, each in a process of its own, with an empty cache.

    python benchmarks/compile_programs.py [--rounds N] [NAME ...]

Counted are the seconds of the process between the imports with one trivial compilation and the
first result; for what is called again and again, those of one more call.  The least of the rounds
is printed: other processes only add to it.  Peers run the same program where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np

Case = Callable[["Library"], Any]
"""Run a program for the first time; may return a function that is timed in its place."""


class Library:
    """A library's names, as the cases use them: `cr`, or JAX behind the same ones."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name == "jax":
            import jax
            import jax.numpy as jnp

            jax.config.update("jax_enable_x64", True)
            self.np, self.grad, self.value_and_grad = jnp, jax.grad, jax.value_and_grad
            self.scan = jax.lax.scan
            self._jit = lambda f, **_: lambda *xs: jax.block_until_ready(jax.jit(f)(*xs))
        else:
            import chainrule as cr
            import chainrule.numpy as cnp

            self.np, self.grad, self.value_and_grad = cnp, cr.grad, cr.value_and_grad
            self.scan = cr.scan
            self._jit = lambda f, **options: cr.jit(f, **{"cache": False, **options})

    def jit(self, f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Compile for one thread of one processor; `options` are chainrule's."""
        return self._jit(f, **options)


def sines(count: int) -> Case:
    """A chain of sines with its gradient."""

    def case(library: Library) -> None:
        def chain(x: Any) -> Any:
            for _ in range(count):
                x = library.np.sin(x) * 1.5
            return library.np.sum(x)

        library.jit(library.value_and_grad(chain))(np.ones(4))

    return case


def tanh_network(depth: int) -> Case:
    """A network of equal layers, 64 wide, value and gradient."""

    def case(library: Library) -> None:
        def loss(params: Any, x: Any) -> Any:
            for w, b in params:
                x = library.np.tanh(x @ w + b)
            return library.np.sum(x * x)

        random = np.random.default_rng(0)
        params = [
            (random.normal(size=(a, b)).astype("float32") / 8, np.zeros(b, "float32"))
            for a, b in pairwise([64] * (depth + 1))
        ]
        x = random.normal(size=(32, 64)).astype("float32")
        library.jit(library.value_and_grad(loss), dims={"x": ("batch", 64)})(params, x)

    return case


def leaves(library: Library) -> None:
    """The gradient of a scan whose carry has 60 scalar leaves."""

    def run(start: Any, rates: Any) -> Any:
        def step(carry: Any, rate: Any) -> Any:
            following = {
                k: v + 0.01 * rate * library.np.sin(carry[f"{(int(k) + 1) % 60}"])
                for k, v in carry.items()
            }
            return following, None

        end, _ = library.scan(step, start, rates)
        return sum(end.values())

    start = {f"{k}": np.float64(0.1 * k) for k in range(60)}
    library.jit(library.grad(run))(start, np.linspace(0, 1, 614))


def thousand_terms(library: Library) -> None:
    """A sum of 1,000 terms, each written out, with its gradient."""

    def total(a: Any, x: Any) -> Any:
        result = 0.0
        for k in range(1000):
            result = result + library.np.sin(a * (k + 1)) * x[k]
        return result

    library.jit(library.value_and_grad(total, (0, 1)))(0.3, np.ones(1000))


def updates(count: int) -> Case:
    """A Python loop of updates, with its gradient."""

    def case(library: Library) -> None:
        def run(x: Any) -> Any:
            y = library.np.zeros(count)
            for i in range(count):
                y = y.at[i].set(library.np.sin(x[i]))
            return library.np.sum(y * y)

        library.jit(library.grad(run))(np.ones(count))

    return case


def nested_sympy(library: Library) -> None:
    """An expression that doubles 20 times, from SymPy."""
    import sympy

    import chainrule as cr

    del library
    x = e = sympy.Symbol("x")
    for _ in range(20):
        e = sympy.sin(e, evaluate=False) * sympy.cos(e, evaluate=False) + e
    cr.from_sympy(e, {x: cr.symbol("x")})


def captured(count: int) -> Case:
    """A function that captures numbers."""

    def case(library: Library) -> None:
        numbers = np.random.default_rng(0).normal(size=count)
        library.jit(lambda x: library.np.sum(library.np.sin(x * numbers)))(2.0)

    return case


def fresh_gradient(library: Library) -> Callable[[], Any]:
    """A gradient made anew at each call: one more call."""

    def call() -> Any:
        return library.grad(lambda x: library.np.sum(library.np.sin(x) * x))(np.ones(5))

    for _ in range(5):
        call()
    return call


def warm(library: Library) -> Callable[[], Any]:
    """A network of depth 8 from the cache on disk: what a later process waits for."""
    case = tanh_network(8)

    class Cached(Library):
        def jit(self, f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
            return super().jit(f, **{**options, "cache": True})

    cached = Cached(library.name)
    case(cached)
    return lambda: case(cached)


ONE_THREAD: Final = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
OURS: Final = {"from sympy", "warm network of depth 8"}
"What no peer does."
CASES: Final[dict[str, Case]] = {
    "10,000 sines": sines(10_000),
    "network of depth 8": tanh_network(8),
    "network of depth 64": tanh_network(64),
    "network of depth 512": tanh_network(512),
    "warm network of depth 8": warm,
    "scan of 60 leaves": leaves,
    "1,000 terms": thousand_terms,
    "160 updates": updates(160),
    "from sympy": nested_sympy,
    "10,000,000 numbers": captured(10_000_000),
    "fresh gradient": fresh_gradient,
}


def measure(name: str, library: Library) -> float:
    """Return the CPU seconds of one case (run in a process of its own)."""
    library.jit(lambda a: a + 1)(np.ones(3))
    began = time.process_time()
    again = CASES[name](library)
    if again is None:
        return time.process_time() - began
    began = time.process_time()
    again()
    return time.process_time() - began


def _seconds(command: list[str]) -> float:
    """Run a case in a process of its own, on one thread, with an empty cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_CACHE_HOME": folder, "XLA_FLAGS": ONE_THREAD}
        child = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(child.stdout)


def main(names: list[str], rounds: int) -> None:
    """Print a line a case."""
    peers = [p for p in ("jax",) if importlib.util.find_spec(p)]
    for name in names:
        shown = []
        for library in ("chainrule", *([] if name in OURS else peers)):
            command = [sys.executable, __file__, "--in", library, name]
            found = [_seconds(command) for _ in range(rounds)]
            shown.append(f"{library} {min(found):8.4f} s")
        print(f"{name:26}", "   ".join(shown), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--in", dest="library", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.library:
        print(measure(given.names[0], Library(given.library)))
    else:
        main(given.names or list(CASES), given.rounds)
