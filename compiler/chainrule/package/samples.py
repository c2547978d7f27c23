"""Sample calls of an exported function and their results, for its self-test."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chainrule.errors import ChainruleError, ExportError, explain
from chainrule_runtime.abi import Leaf, Signature, evaluate
from chainrule_runtime.arguments import conform_all
from chainrule_runtime.bfloat16 import is_float, numpy_dtype
from chainrule_runtime.call import call_kernel

__all__ = ["known_extents", "write_samples"]

_LARGEST: Final = 64
"Extents are tried up to here where the code does not work with any."

Array = npt.NDArray[Any]


def known_extents(signature: Signature, arguments: Sequence[Any]) -> dict[int, int]:
    """Return the named dims' values in the arguments it was exported with, by number."""
    known: dict[int, int] = {}
    for leaf, value in zip(signature.inputs, arguments, strict=True):
        for extent, number in zip(leaf.shape, getattr(value, "shape", ()), strict=True):
            if not isinstance(extent, int) and extent[0] == "dim" and isinstance(number, int):
                known.setdefault(extent[1], number)
    shapes = [getattr(value, "shape", ()) for value in arguments]
    for solved in signature.solved:
        if all(isinstance(shapes[leaf][axis], int) for leaf, axis, _ in solved.weights):
            known[solved.dim] = solved.value(shapes, known)
    return known


def write_samples(
    signature: Signature, kernel: int, count: int, arguments: Sequence[Any],
    messages: Sequence[str],
) -> bytes:  # fmt: skip
    """Return `count` sample inputs and what the code makes of them, as a NumPy archive.

    The first sample has the arguments of the export where they are arrays.  What is made up lies
    between 0 and 1 (floats), is 0 or 1 (integers), or either truth value.

    Raises:
        ExportError: The code accepts no such values.
    """
    generator = np.random.default_rng(0)
    known = known_extents(signature, arguments)
    data: dict[str, Any] = {"count": np.array(count)}
    for sample in range(count):
        dims = _extents(signature, known, sample)
        inputs = [
            _value(leaf, a, dims, sample, generator)
            for leaf, a in zip(signature.inputs, arguments, strict=True)
        ]
        try:
            results = call_kernel(
                kernel, signature, conform_all([x.copy() for x in inputs], signature),
                messages=messages,
            )  # fmt: skip
        except ChainruleError as error:
            raise ExportError(
                explain(f"{signature.name} refuses sample {sample} of its self-test", str(error),
                        hint="give arrays it accepts as args, and selftest=1")
            ) from None  # fmt: skip
        data |= {f"{sample}.in.{i}": x for i, x in enumerate(inputs)}
        data |= {f"{sample}.out.{i}": x for i, x in enumerate(results)}
    file = io.BytesIO()
    np.savez(file, **data)
    return file.getvalue()


def _extents(signature: Signature, known: dict[int, int], sample: int) -> list[int]:
    """Return values of the named dims that the code works with, others for every sample."""
    for attempt in _attempts(len(signature.dims), known, sample):
        if all(g.holds(attempt) for g in signature.guards) and all(
            evaluate(e, attempt) >= 0
            for leaf in (*signature.inputs, *signature.outputs) for e in leaf.shape
        ):  # fmt: skip
            return attempt
    raise ExportError(
        explain(f"no extents found for the self-test of {signature.name}",
                *(f"needed  {g.requirement(signature.dims)}" for g in signature.guards),
                hint="give arrays as args")
    )  # fmt: skip


def _attempts(count: int, known: dict[int, int], sample: int) -> Iterator[list[int]]:
    typical = [known.get(i, 4 + i) for i in range(count)]
    if sample:
        yield [1 + (7 * sample + 3 * i) % 37 for i in range(count)]
    yield typical
    for n in range(1, _LARGEST):
        yield [n] * count
        yield [n + i for i in range(count)]


def _value(
    leaf: Leaf, argument: Any, dims: Sequence[int], sample: int, generator: np.random.Generator
) -> Array:
    shape, dtype = tuple(evaluate(e, dims) for e in leaf.shape), numpy_dtype(leaf.dtype)
    if sample == 0 and (isinstance(argument, np.ndarray | np.generic | bool | int | float)):
        return np.array(argument, dtype)
    if is_float(dtype):
        return np.asarray(generator.random(shape), dtype)
    return np.asarray(generator.integers(0, 2, shape), dtype)
