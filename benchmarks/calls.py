"""What a call costs from Python: nanoseconds over an empty Python function, routes interleaved.

    python benchmarks/calls.py

The kernels do next to nothing (one addition), so the figures are the cost of the call itself:
every check of every argument, the lease of scratch memory, allocation and nesting of results.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

import chainrule as cr
from chainrule.emit.builder import F32, I64, PTR, Module
from chainrule.emit.entry import emit_entry
from chainrule.frontend.pytree import tree_flatten
from chainrule.frontend.records import records
from chainrule_runtime.abi import Leaf, Signature, Tree
from chainrule_runtime.binding import Record
from chainrule_runtime.native_callable import attach

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.emit.jit import Native, bound

ROUNDS = 15
CALLS = 10_000


def compiled(
    signature: Signature, release_gil: bool = False, given: Sequence[Record] = ()
) -> Callable[..., object]:
    """Return a native callable that adds one element of two inputs."""
    module = Module()
    b, (inputs, outputs, _arena, _dims) = module.function(
        "kernel", I64, [(PTR, "inputs"), (PTR, "outputs"), (PTR, "arena"), (PTR, "dims")]
    )
    first, second = (b.load(F32, b.load(PTR, b.offset(inputs, 8 * i))) for i in range(2))
    b.store(b.fadd(first, second), b.load(PTR, outputs))
    b.ret(b.const(I64, 0))
    b.close()
    emit_entry(module, signature, "kernel", "entry", release_gil)
    binding = bound(signature, module.text(), records=given)
    made: Callable[..., object] = Native()
    assert attach(made, binding.entry, binding)
    return made


class Pair(NamedTuple):
    """Two arrays, as optimizers keep their state."""

    first: object
    second: object


@dataclass(frozen=True)
class Layer:
    """Two arrays and a setting, as layers of a network are."""

    W: object
    b: object
    activation: object = field(default=abs, metadata={"static": True})


def alike(value: object) -> Callable[..., object]:
    """Return a native callable that takes and returns arrays nested like this value's."""
    _, arguments = tree_flatten((value,))
    _, results = tree_flatten(value)
    arrays = leaves("p", results.leaves)
    signature = Signature("f", arrays, arguments.to_runtime(), arrays, results.to_runtime())
    return compiled(signature, given=[*records(arguments), *records(results)])


def flat(inputs: int, outputs: int, arena: int = 0) -> Signature:
    """Return a signature of float32 arrays of shape (4, 3) without nesting."""
    result: Tree = 0 if outputs == 1 else ("tuple", tuple(range(outputs)))
    return Signature(
        "flat", leaves("x", inputs), ("tuple", tuple(range(inputs))), leaves("y", outputs), result,
        arena=arena,
    )  # fmt: skip


def nested(count: int) -> Signature:
    """Return a signature of one dict of dicts in and out, as parameters of a network come."""
    return Signature("nested", leaves("p", count), ("tuple", (layers(count),)),
                     leaves("p", count), layers(count))  # fmt: skip


def leaves(name: str, count: int) -> tuple[Leaf, ...]:
    """Return `count` arrays of shape (4, 3)."""
    return tuple(Leaf(f"{name}{i}", "float32", (4, 3)) for i in range(count))


def layers(count: int) -> Tree:
    """Return {"layer0": {"W": .., "b": ..}, ...} with `count` leaves."""
    inner = tuple(("dict", ("W", "b"), (i, i + 1)) for i in range(0, count, 2))
    return ("dict", tuple(f"layer{i}" for i in range(count // 2)), inner)


def routes() -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    a, b, c, d, e, out = (np.ones((4, 3), np.float32) for _ in range(6))
    five, gil, arena = compiled(flat(5, 1)), compiled(flat(5, 1), True), compiled(flat(5, 1, 4096))
    both = compiled(flat(5, 1, 4096), True)
    sixteen = [np.ones((4, 3), np.float32) for _ in range(16)]
    one_out = compiled(flat(16, 1))
    first = sixteen[0]
    flat16 = compiled(flat(16, 16))
    tree16 = compiled(nested(16))
    name = [sys.intern(f"layer{i}") for i in range(8)]  # as keys written in a program are
    params = {name[i]: {"W": sixteen[2 * i], "b": sixteen[2 * i + 1]} for i in range(8)}
    wide16 = compiled(Signature(
        "wide", leaves("p", 16), ("tuple", (wide(),)), leaves("p", 16), wide()
    ))  # fmt: skip
    wide_params = {sys.intern(f"p{i}"): sixteen[i] for i in range(16)}
    fresh = {name[i]: {"W": np.ones((4, 3), "f"), "b": np.ones((4, 3), "f")} for i in range(8)}
    pairs = tuple(Pair(*sixteen[i : i + 2]) for i in range(0, 16, 2))
    layered = tuple(Layer(*sixteen[i : i + 2]) for i in range(0, 16, 2))
    of_pairs, of_layers = alike(pairs), alike(layered)
    pairs_out, layers_out = (
        tuple(cls(np.ones((4, 3), "f"), np.ones((4, 3), "f")) for _ in range(8))
        for cls in (Pair, Layer)
    )
    added = cr.jit(lambda x, y, scale: x + y * scale)
    moded = cr.jit(lambda x, mode: x + 1 if mode else x, static_argnames="mode")
    for _ in range(2):
        added(a, b, 2.0), added(a, b, c), added(a, y=b, scale=c), moded(a, True)
    return {
        "empty Python function": lambda: None,
        "len(array)": lambda: len(a),
        "numpy.add(a, b, out)": lambda: np.add(a, b, out),
        "numpy.empty((4, 3), float32)": lambda: np.empty((4, 3), np.float32),
        "five in, out=": lambda: five(a, b, c, d, e, out=out),
        "five in, out=, GIL released": lambda: gil(a, b, c, d, e, out=out),
        "five in, out=, arena": lambda: arena(a, b, c, d, e, out=out),
        "five in, out=, both": lambda: both(a, b, c, d, e, out=out),
        "five in, one result": lambda: five(a, b, c, d, e),
        "sixteen in, one result": lambda: one_out(*sixteen),
        "sixteen in, out=": lambda: one_out(*sixteen, out=out) if first is not out else None,
        "sixteen in, sixteen results": lambda: flat16(*sixteen),
        "dict of 16 in, dict of 16 out": lambda: wide16(wide_params),
        "8 dicts of 2 in, 8 dicts of 2 out": lambda: tree16(params),
        "8 dicts of 2 in, out= the same": lambda: tree16(params, out=fresh),
        "8 named tuples of 2 in and out": lambda: of_pairs(pairs),
        "8 named tuples of 2 in, out=": lambda: of_pairs(pairs, out=pairs_out),
        "8 dataclasses of 2 in and out": lambda: of_layers(layered),
        "8 dataclasses of 2 in, out=": lambda: of_layers(layered, out=layers_out),
        "jit, two arrays and a number": lambda: added(a, b, 2.0),
        "jit, three arrays": lambda: added(a, b, c),
        "jit, two of three as keywords": lambda: added(a, y=b, scale=c),
        "jit, a static argument": lambda: moded(a, True),
    }


def wide() -> Tree:
    """Return {"p0": .., ..., "p15": ..}."""
    return ("dict", tuple(f"p{i}" for i in range(16)), tuple(range(16)))


def measure(functions: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median nanoseconds of a call of each."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            for _ in range(CALLS):
                function()
            record.append((time.perf_counter() - start) / CALLS * 1e9)
    return [statistics.median(record) for record in times]


def main() -> None:
    """Print the table."""
    named = routes()
    times = measure(list(named.values()))
    for name, nanoseconds in zip(named, times, strict=True):
        over = nanoseconds - times[0]
        print(f"{name:36s} {nanoseconds:8.0f} ns   over empty {over:7.0f} ns   "
              f"x{nanoseconds / times[0]:6.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
