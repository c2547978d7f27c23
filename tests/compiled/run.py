"""Compiles programs and runs them on guarded memory, for comparison with the evaluator."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from chainrule.emit.machine import AVX2, BASELINE
from chainrule.ir.dims import evaluate_extent
from chainrule.ir.evaluate import bind_dims
from chainrule.ir.graph import Node
from chainrule.ir.program import Program, check, guarded
from chainrule.ir.types import Array, DType
from chainrule.link.target import Target, host
from chainrule.loops.bounds import check_bounds
from chainrule.loops.ir import check as check_kernel
from chainrule.loops.lower import Launch, StripLoop
from chainrule.numerics import numerics_called
from chainrule.options import Options
from chainrule.pipeline import Lowered, lower_program

__all__ = ["TARGETS", "Compiled", "assert_close", "assert_ulps", "launches", "program_of",
           "targets"]  # fmt: skip

MARGIN: Final = 256
"Bytes before and after every array that a kernel must leave alone."
FILL: Final = 0xA5
P: Final = ctypes.c_void_p
FUNCTION: Final = ctypes.CFUNCTYPE(ctypes.c_int64, P, P, P, P)


@cache
def targets() -> dict[str, Target]:
    """Return the processors this machine can run code for."""
    own = host()
    found = {"host": own}
    if own.triple.startswith("x86_64"):
        found["baseline"] = Target("baseline", own.triple, "x86-64", "", BASELINE)
        if own.machine not in (AVX2, BASELINE):
            found["avx2"] = Target("avx2", own.triple, "haswell", "", AVX2)
    return found


TARGETS: Final = ("host", "avx2", "baseline")


def program_of(inputs: Sequence[Node], outputs: Sequence[Node], **more: Any) -> Program:
    """Return a legal program with numbered names."""
    program = Program(
        "f", tuple(inputs), tuple(outputs), tuple(f"x{i}" for i in range(len(inputs))),
        tuple(f"y{i}" for i in range(len(outputs))), **more,
    )  # fmt: skip
    program = guarded(program)
    check(program)
    return program


def launches(lowered: Lowered) -> list[Launch]:
    """Return every kernel call, those inside strips included."""
    found: list[Launch] = []
    for run in lowered.runs:
        if isinstance(run, Launch):
            found.append(run)
        elif isinstance(run, StripLoop):
            found.extend(run.body)
    return found


class _Guarded:
    """An array between margins; `intact` tells whether they are as they were."""

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[Any], content: Array | None = None
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.block = np.full(size + 2 * MARGIN + 64, FILL, np.uint8)
        start = -self.block.ctypes.data % 64 + MARGIN
        self.before, self.after = self.block[:start], self.block[start + size :]
        self.array = self.block[start : start + size].view(dtype).reshape(shape)
        if content is not None:
            self.array[...] = content
        self.address = self.block.ctypes.data + start

    def intact(self) -> bool:
        return bool(np.all(self.before == FILL) and np.all(self.after == FILL))


class Compiled:
    """A program as native code; every stage's result is checked on the way."""

    def __init__(
        self, program: Program, *, target: str = "host", strips: bool = True,
        numerics: str = "fast", checked: bool = False,
    ) -> None:  # fmt: skip
        check(program)
        self.program = program

        def observe(_stage: str, result: object) -> None:
            if isinstance(result, Program):
                check(result)

        options = Options(
            numerics_called(numerics), target=targets()[target], strips=strips, checked=checked
        )
        self.lowered = lower_program(program, options, observe)
        for launch in launches(self.lowered):
            check_kernel(launch.kernel)
        self.loaded = self.lowered.load()
        self.code = 0

    def check_bounds(self, dims: dict[str, int]) -> None:
        """Assert that all kernels outside of bodies stay inside of their buffers."""
        for run in self.lowered.runs:
            if isinstance(run, Launch):
                self._check_launch(run, dims, {})
            elif isinstance(run, StripLoop):
                total = dims[run.dim]
                for first in range(0, max(total, 1), max(run.rows, 1)):
                    rows = min(total - first, run.rows)
                    strip = {run.dim: rows, f"{run.dim}.whole": total, f"{run.dim}.first": first}
                    for launch in run.body:
                        self._check_launch(launch, {**dims, **strip}, {run.dim: first})

    def _check_launch(self, launch: Launch, dims: dict[str, int], skipped: dict[str, int]) -> None:
        rooms = {}
        for buffer, place in zip(launch.kernel.buffers, launch.places, strict=True):
            if isinstance(place, int):
                size = self.lowered.optimized.outputs[place].type.size
            else:
                size = place.type.size if isinstance(place, Node) else place.size
            room = evaluate_extent(size, dims)
            whole = isinstance(place, Node) and (
                place.op.name == "input" or place in self.lowered.schedule.targets
            )
            for dim, first in skipped.items() if whole else ():
                # All rows are there, and the kernel is given the address of the strip's first.
                total = dims[f"{dim}.whole"]
                row = evaluate_extent(size, {**dims, dim: 1}) - evaluate_extent(
                    size, {**dims, dim: 0}
                )
                room = evaluate_extent(size, {**dims, dim: total}) - first * row
            rooms[buffer] = room
        check_bounds(launch.kernel, rooms, dims)

    def __call__(self, *arrays: Array) -> list[Array]:
        """Run on these arrays; donated ones are copied first and come back as results."""
        program = self.program
        dims = bind_dims(program, arrays)
        self.check_bounds(dims)
        given = [
            _Guarded(np.shape(a), n.dtype.numpy, a)
            for a, n in zip(arrays, program.inputs, strict=True)
        ]  # fmt: skip
        donors = {result: source for source, result in program.donated}
        results = [
            given[donors[i]] if i in donors
            else _Guarded([evaluate_extent(e, dims) for e in n.shape], n.dtype.numpy)
            for i, n in enumerate(program.outputs)
        ]  # fmt: skip
        arena = _Guarded([evaluate_extent(self.lowered.arena, dims)], np.dtype(np.uint8))
        arena.array[...] = FILL
        before = [g.array.copy() for g in given]
        function = FUNCTION(self.loaded.addresses[self.lowered.entry])
        self.code = function(
            (P * (len(given) + 1))(*[g.address for g in given]),
            (P * (len(results) + 1))(*[g.address for g in results]),
            arena.address,
            (ctypes.c_int64 * (len(dims) + 1))(*[dims[d] for d in program.dims]),
        )  # fmt: skip
        assert all(g.intact() for g in [*given, *results, arena]), "written outside of its arrays"
        for i, (now, then) in enumerate(zip(given, before, strict=True)):
            if i not in donors.values() or self.code:
                assert now.array.tobytes() == then.tobytes(), f"input {i} was changed"
        return [g.array.copy() for g in results]


def _same_special(got: Array, expected: Array, what: str) -> Array:
    """Assert that NaN and infinities are in the same places; return where values are finite."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), f"{what}: NaN")
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(got[infinite], expected[infinite], f"{what}: infinities")
    return ~infinite & ~np.isnan(expected)


def assert_ulps(
    got: Array, expected: Array, ulps: float, what: str = "", arguments: str = ""
) -> None:
    """Assert equality up to so many units in the last place of `got`'s type (0: same float).

    `expected` may be of a wider type.
    """
    assert got.shape == expected.shape, f"{what}: {got.shape} is not {expected.shape}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, what)
        return
    with np.errstate(over="ignore"):
        rounded = expected.astype(got.dtype)
    # Within the budget of the largest float, overflow may go either way.
    edge = ulps > 0 and np.isinf(got) != np.isinf(rounded)
    largest = np.finfo(got.dtype).max
    below = largest * (1 - 8 * np.finfo(got.dtype).eps)
    near = np.abs(np.where(np.isinf(got), rounded, got)) >= below
    clipped = np.where(edge & near, rounded, got)
    finite = _same_special(clipped, rounded, what)
    wide = expected.astype(np.float64)[finite]
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
        unit = np.where(np.isfinite(unit), unit, np.spacing(largest))
        off = np.abs(clipped[finite].astype(np.float64) - wide) / unit
    worst = float(np.max(off, initial=0.0))
    assert worst <= (ulps + 0.5 if expected.dtype != got.dtype else ulps), (
        f"{what}: {worst} units off, {ulps} allowed\n{arguments}"
    )


def assert_close(
    got: Sequence[Array], expected: Sequence[Array], dtype: DType, what: str = ""
) -> None:
    """Assert equality up to what summing in another order may change."""
    loose = 1e-10 if dtype.nbytes == 8 else 3e-4
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert a.shape == b.shape, f"{what}: result {i} is {a.shape}, not {b.shape}"
        if a.dtype.kind == "f":
            scale = float(np.max(np.abs(b), initial=0, where=np.isfinite(b)))
            np.testing.assert_allclose(a, b, loose, loose * max(scale, 1), err_msg=f"{what}: {i}")
        else:
            np.testing.assert_array_equal(a, b, f"{what}: result {i}")
