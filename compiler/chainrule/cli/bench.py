"""`chainrule bench`: how long value and gradient take here, compiling and calling."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, random
from chainrule.frontend.pytree import tree_map
from chainrule.typing import Array, PyTree
from chainrule_runtime.bfloat16 import is_float

__all__ = ["Case", "Timing", "measure", "networks", "of_user", "run"]

ROUNDS: Final = 30


class Case(NamedTuple):
    """A scalar function, differentiated by its first argument, and arguments to call it with."""

    name: str
    function: Callable[..., Array]
    arguments: tuple[Any, ...]


class Timing(NamedTuple):
    """What was measured: seconds of the first call and of a later one, operations, bytes."""

    first: float
    median: float
    flops: int
    arena: int


def _network(sizes: tuple[int, ...], batch: int, dtype: type[np.generic] = np.float32) -> Case:
    """A network with tanh and the mean squared error, on random data."""
    model_key, x_key, y_key = random.split(random.key(0), 3)
    model = nn.MLP.init(
        model_key, sizes, activation=cnp.tanh, weights=nn.glorot_uniform, dtype=dtype
    )
    x = random.normal(x_key, (batch, sizes[0]), dtype)
    y = random.normal(y_key, (batch, sizes[-1]), dtype)
    name = f"{'-'.join(map(str, sizes))} x {batch} {'f32' if dtype is np.float32 else 'f64'}"
    return Case(name, _squared, (model, x, y))


def _squared(model: PyTree, x: Array, y: Array) -> Array:
    return nn.mean_squared_error(model(x), y)


def networks() -> list[Case]:
    """Return the networks timed where no function is named, from tiny to ordinary."""
    return [
        _network((2, 32, 32, 1), 1),
        _network((2, 32, 32, 1), 8),
        _network((2, 32, 32, 1), 8, np.float64),
        _network((64, 128, 64, 10), 64),
        _network((784, 512, 256, 10), 128),
    ]


def of_user(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Case:
    """Make a case of a user's function; random arrays take the place of specs.

    A named dim becomes 32: write a number into the spec for another extent.
    """
    draw = np.random.default_rng(0)

    def filled(leaf: Any) -> Any:
        if isinstance(leaf, (np.ndarray, np.generic, int, float)):
            return leaf
        shape = tuple(extent if isinstance(extent, int) else 32 for extent in leaf.shape)
        values = draw.normal(size=shape) if is_float(leaf.dtype) else np.zeros(shape)
        return values.astype(leaf.dtype)

    return Case(name.rpartition(":")[2], function, tree_map(filled, arguments))


def measure(case: Case, seconds: float) -> Timing:
    """Compile value and gradient, then call in rounds for about `seconds`; times are a call's."""
    function = cr.jit(cr.value_and_grad(case.function))
    began = time.perf_counter()
    function(*case.arguments)
    first = time.perf_counter() - began

    began = time.perf_counter()
    function(*case.arguments)
    once = max(time.perf_counter() - began, 1e-9)
    calls = max(1, round(seconds / ROUNDS / once))
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            function(*case.arguments)
        times.append((time.perf_counter() - began) / calls)
    compiled = function.lower(*case.arguments).compile()
    return Timing(first, float(np.median(times)), compiled.cost.flops, compiled.memory.arena)


def run(console: Console, cases: Sequence[Case], seconds: float) -> None:
    """Measure each case and print a table; the first call compiles."""
    table = Table(title="value and gradient in one native function", title_justify="left")
    table.add_column("function", no_wrap=True)
    for title in ("first ms", "call us", "flops", "GFLOP/s", "arena B"):
        table.add_column(title, justify="right")
    for case in cases:
        timing = measure(case, seconds)
        table.add_row(
            case.name,
            f"{1e3 * timing.first:.1f}",
            f"{1e6 * timing.median:.2f}",
            f"{timing.flops:,}",
            f"{timing.flops / timing.median / 1e9:.2f}",
            f"{timing.arena:,}",
        )
    console.print(table)
