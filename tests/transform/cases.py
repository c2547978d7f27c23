"""Every op of the table as a function of its floating-point arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tests.ops.samples import ALL, Sample, array_for, samples

from chainrule.frontend.array import Array
from chainrule.frontend.operands import node_of
from chainrule.ir.dims import Dim, evaluate_extent, named
from chainrule.ir.op import Kind, Op
from chainrule.ir.program import Program
from chainrule.ir.types import DType, Type
from chainrule.ir.walk import substitute

__all__ = ["BLOCKS", "OF_USUAL_FORM", "Case", "Plain", "cases", "differentiated", "function_of",
           "sized"]  # fmt: skip

Plain = np.ndarray[Any, Any]
SHAPES: Final = [(5,), (2, 3)]
"What pointwise ops are called with."
# Ops of control flow hold programs, and have tests of their own.
OF_USUAL_FORM: Final = [op for op in ALL if op.kind.name != "CONTROL"]


def differentiated(op: Op) -> bool:
    """Tell whether an op has a derivative, be it 0: not what derivatives alone are made of."""
    return op.kind is Kind.POINTWISE or op.pull is not None or op.slopes is not None


COUNT: Final = 8
BLOCKS: Final = [OF_USUAL_FORM[i::COUNT] for i in range(COUNT)]
"What is compiled as one program: each block has ops of many kinds."


@dataclass(frozen=True)
class Case:
    """One call of an op.

    Attributes:
        sample: Types of the arguments, where extents may be named.
        arrays: Arguments to call it with.
    """

    op: Op
    sample: Sample
    arrays: list[Plain]

    def __str__(self) -> str:
        return f"{self.op.name}: {self.sample}"

    @property
    def floats(self) -> list[int]:
        """Positions of the arguments that have derivatives."""
        return [i for i, t in enumerate(self.sample.types) if t.dtype.is_float]

    @property
    def attributes(self) -> dict[str, Any]:
        """The static attributes, extents being those of `arrays`."""
        return {k: _numbers(v, self.dims) for k, v in self.sample.attributes.items()}

    @property
    def dims(self) -> dict[str, int]:
        """What the named extents are in `arrays`."""
        return {
            str(extent): number
            for type_, array in zip(self.sample.types, self.arrays, strict=True)
            for extent, number in zip(type_.shape, array.shape, strict=True)
            if isinstance(extent, Dim)
        }

    def names(self) -> list[tuple[str | int, ...]]:
        """Return what `dims=` says of each argument."""
        return [tuple([e if isinstance(e, int) else str(e) for e in t.shape])
                for t in self.sample.types]  # fmt: skip

    def __call__(self, *args: Any) -> Any:
        """Apply the op to traced values."""
        graph = args[0].node.graph
        nodes = [x.node for x in args]
        return Array(graph.call(self.op.name, *nodes, **self.sample.attributes))

    def of_floats(self, args: Sequence[Any]) -> Callable[..., Any]:
        """Return the function of the floating-point arguments alone."""

        def function(*floats: Any) -> Any:
            full = list(args)
            for at, x in zip(self.floats, floats, strict=True):
                full[at] = x
            return self(*full)

        return function

    def value(self, *floats: Plain) -> Plain:
        """Compute with NumPy."""
        full = list(self.arrays)
        for at, x in zip(self.floats, floats, strict=True):
            full[at] = x
        with np.errstate(all="ignore"):
            return np.asarray(self.op.value(*full, **self.attributes))


def _numbers(value: Any, dims: dict[str, int]) -> Any:
    if isinstance(value, Dim):
        return evaluate_extent(value, dims)
    return tuple([_numbers(v, dims) for v in value]) if isinstance(value, tuple) else value


def cases(op: Op, dtype: DType, *, name: bool = False, derivable: bool = True) -> Iterator[Case]:
    """Yield calls of an op in `dtype`, with `name` one extent of each known only at the call.

    With `derivable`, those that have a floating-point argument and result, and a derivative.
    """
    for number, sample in enumerate(samples(op, dtype, SHAPES)):
        floats = [t for t in sample.types if t.dtype.is_float]
        result = op.infer(*sample.types, **sample.attributes)
        if derivable and not (differentiated(op) and floats and result.dtype is dtype):
            continue
        random = np.random.default_rng([number, len(op.name), 1])
        arrays = [array_for(op, i, t, random) for i, t in enumerate(sample.types)]
        if not name:
            yield Case(op, sample, arrays)
        elif (case := _named(Case(op, sample, arrays))) is not None:
            yield case


def _named(case: Case) -> Case | None:
    """Return the call with the largest extent named that may grow."""
    types = case.sample.types
    extents = {e for t in types for e in t.shape if isinstance(e, int)} - {0, 1}
    for extent in sorted(extents, reverse=True):
        sample = _with_named_axis(case.op, case.sample, extent)
        if sample is not None:
            return Case(case.op, sample, case.arrays)
    return None


def _with_named_axis(op: Op, sample: Sample, extent: int) -> Sample | None:
    """Return the sample with every occurrence of one extent named, where that is legal."""
    n = named(f"n{extent}")

    def renamed(shape: Any) -> Any:
        if isinstance(shape, tuple):
            return tuple([n if e == extent else e for e in shape])
        return n if shape == extent else shape

    types = tuple([Type(t.dtype, renamed(t.shape)) for t in sample.types])
    attributes = {
        k: renamed(v) if k in ("shape", "size") else v for k, v in sample.attributes.items()
    }
    (x, *_), shape = types, sample.attributes.get("shape", ())
    if op.name == "reshape":
        # As many elements: one extent that is a multiple of it follows.
        at = next((i for i, e in enumerate(shape) if e % extent == 0), None)
        if at is None or x.shape.count(n) != 1:
            return None
        attributes["shape"] = (*shape[:at], n * (shape[at] // extent), *shape[at + 1 :])
    if op.name == "overlay" and any(t.shape[-1] == extent for t in sample.types):
        # Parts have places for so many elements and no more.
        return None
    if op.name == "place":
        steps = sample.attributes["steps"]
        if any(e is n and step != 1 for e, step in zip(x.shape, steps, strict=True)):
            return None
        attributes["shape"] = tuple(
            [n + (s - extent) if e is n else s for e, s in zip(x.shape, shape, strict=True)]
        )
    return Sample(types, attributes) if any(n in t.shape for t in types) else None


def sized(case: Case, more: int) -> Case:
    """Return the call with named extents larger by `more`."""
    numbers = {n: k + more for n, k in case.dims.items()}
    random = np.random.default_rng(more)
    types = [Type(t.dtype, _numbers(t.shape, numbers)) for t in case.sample.types]
    arrays = [array_for(case.op, i, t, random) for i, t in enumerate(types)]
    return Case(case.op, case.sample, arrays)


def function_of(program: Program) -> Callable[..., Any]:
    """Return a program as a function of traced values."""

    def function(*xs: Any) -> list[Any]:
        graph = xs[0].node.graph
        given = {i: node_of(x, graph) for i, x in zip(program.inputs, xs, strict=True)}
        return [Array(n) for n in substitute(program.outputs, graph, given)]

    return function
