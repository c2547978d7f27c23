"""Every op of the table at every empty and unit extent: static, and named dims of many lengths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from tests.ops.samples import Sample, array_for, samples
from tests.transform.cases import Case

from chainrule.errors import ChainruleError
from chainrule.ir.dims import evaluate_extent, named
from chainrule.ir.graph import Graph
from chainrule.ir.op import Kind, Op
from chainrule.ir.types import DType, Type
from chainrule.ops import OPS

__all__ = ["LENGTHS", "at_lengths", "named_cases", "static_cases"]

SHAPES: Final = [(0,), (1,), (0, 3), (3, 0), (1, 3), (3, 1), (1, 1), (0, 0), (0, 1), (2, 0, 3)]
LENGTHS: Final = (2, 0, 1, 3)
"What a named dim is, one call after the other."
EXTENTS: Final = (0, 1)


def _windows(op: Op) -> Iterator[tuple[tuple[tuple[int, ...], ...], dict[str, Any]]]:
    """Yield shapes and attributes of slices and placements that stay within their arrays."""
    for whole in (0, 1, 3):
        for part in range(min(whole, 2) + 1):
            for step in (1, 2, -1):
                reach = max(part - 1, 0) * abs(step)
                if reach >= max(whole, 1):
                    continue
                start = reach if step < 0 else whole - reach - (part > 0)
                for other in EXTENTS:
                    small, large = (part, other), (whole, other)
                    given, made = (large, small) if op.name == "slice" else (small, large)
                    attributes = {"starts": (start, 0), "shape": made, "steps": (step, 1)}
                    yield (given,), attributes


RESHAPES: Final = [
    ((0,), (0, 3)), ((0,), (3, 0)), ((0, 3), (0,)), ((3, 0), (0, 2)), ((0, 5), (7, 0, 2)),
    ((1,), ()), ((), (1, 1)), ((1, 3), (3, 1)), ((1, 1), (1,)), ((2, 0, 3), (0,)), ((0,), (0, 0)),
]  # fmt: skip
OVERLAYS: Final = [
    (((0,), (1,)), {"starts": (0, 0), "steps": (1, 1), "shape": (1,)}),
    (((0,), (0,)), {"starts": (0, 0), "steps": (1, 1), "shape": (0,)}),
    (((0, 1), (0, 1)), {"starts": (0, 1), "steps": (2, 2), "shape": (0, 2)}),
    (((1, 1), (1, 1)), {"starts": (1, 0), "steps": (2, 2), "shape": (1, 2)}),
    (((2, 0),), {"starts": (0,), "steps": (1,), "shape": (2, 3)}),
]  # fmt: skip


def _resized(sample: Sample, numbers: dict[int, Any]) -> Sample:
    """Replace extents wherever they occur, in types and attributes."""

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple([numbers.get(e, e) for e in value])
        return numbers.get(value, value)

    types = tuple([Type(t.dtype, renamed(t.shape)) for t in sample.types])
    attributes = {
        k: renamed(v) if k in ("shape", "size") else v for k, v in sample.attributes.items()
    }
    return Sample(types, attributes)


def _extents(sample: Sample) -> list[int]:
    return sorted({e for t in sample.types for e in t.shape if isinstance(e, int)} - {0, 1})


def _told(op: Op, dtype: DType) -> Iterator[Sample]:
    """Yield the calls of an op whose extents are not free."""
    forms: Any = []
    if op.name in ("slice", "place"):
        forms = _windows(op)
    elif op.name == "reshape":
        forms = [((old,), {"shape": new}) for old, new in RESHAPES]
    elif op.name == "overlay":
        forms = OVERLAYS
    for shapes, attributes in forms:
        yield Sample(tuple([Type(dtype, s) for s in shapes]), attributes)


FIXED: Final = frozenset({"slice", "place", "reshape", "overlay"})
"Ops whose attributes tie their extents together."


def _static(op: Op, dtype: DType) -> Iterator[Sample]:
    if op.kind is Kind.POINTWISE:
        yield from samples(op, dtype, SHAPES)
        return
    if op.name in FIXED:
        yield from _told(op, dtype)
        return
    for sample in samples(op, dtype):
        extents = _extents(sample)
        for numbers in itertools.product((None, *EXTENTS), repeat=len(extents)):
            chosen = {e: n for e, n in zip(extents, numbers, strict=True) if n is not None}
            if chosen:
                yield _resized(sample, chosen)


def _key(sample: Sample) -> str:
    return f"{[str(t) for t in sample.types]} {sorted(sample.attributes.items(), key=str)}"


def _means(op: Op, sample: Sample) -> bool:
    """Tell whether a call means anything: what NumPy and the graph refuse is nobody's fault."""
    try:
        Graph(OPS).call(op.name, *_inputs(sample), **sample.attributes)
        with np.errstate(all="ignore"):
            op.value(*arrays_of(op, sample), **sample.attributes)
    except (ChainruleError, ValueError, IndexError):
        return False
    return True


def arrays_of(op: Op, sample: Sample) -> list[Any]:
    random = np.random.default_rng([len(op.name), 5])
    with np.errstate(all="ignore"):
        return [array_for(op, i, t, random) for i, t in enumerate(sample.types)]


def static_cases(op: Op, dtype: DType) -> list[Case]:
    """Return calls of `op` with extents of 0 and 1, each once."""
    found = {_key(s): s for s in _static(op, dtype)}
    with np.errstate(all="ignore"):
        return [Case(op, s, arrays_of(op, s)) for s in found.values() if _means(op, s)]


def named_cases(op: Op, dtype: DType) -> list[Case]:
    """Return calls of `op` with every extent that is free a dim of its own."""
    if op.name in FIXED:
        return []
    found: dict[str, Sample] = {}
    for sample in samples(op, dtype, [(2,), (2, 3)]):
        numbers = {e: named(f"n{e}") for e in _extents(sample)}
        one = _resized(sample, numbers)
        try:
            Graph(OPS).call(op.name, *_inputs(one), **one.attributes)
        except ChainruleError:
            continue
        found[_key(one)] = one
    return [Case(op, s, []) for s in found.values()]


def _inputs(sample: Sample) -> list[Any]:
    graph = Graph(OPS)
    return [graph.input(f"x{i}", t) for i, t in enumerate(sample.types)]


def names_in(sample: Sample) -> list[str]:
    found = {str(e) for t in sample.types for e in t.shape if not isinstance(e, int)}
    return sorted(found)


def at_lengths(case: Case, lengths: dict[str, int]) -> Case | None:
    """Return the call with arrays in which the dims are these numbers, if it means anything.

    Nothing means the extreme of nothing, say.
    """
    types = tuple([
        Type(t.dtype, tuple([evaluate_extent(e, lengths) for e in t.shape]))
        for t in case.sample.types
    ])  # fmt: skip
    plain = Sample(types, case.sample.attributes)
    full = Case(case.op, case.sample, arrays_of(case.op, plain))
    x = types[0]
    if case.op.kind is Kind.GATHER and x.shape[full.attributes["batch"]] == 0:
        # Of nothing nothing is picked; the front end's check says so before anything runs.
        return None
    return full if _means(case.op, Sample(types, full.attributes)) else None
