"""Steps to kernels: which kernels run, in which order, on which memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from chainrule.ir.dims import Extent, names_of
from chainrule.ir.graph import Node
from chainrule.ir.types import DType
from chainrule.loops.collapse import collapse
from chainrule.loops.ir import Accumulator, Assign, For, Kernel, Position, Store, Tile, statements
from chainrule.loops.nests import lower_nest
from chainrule.loops.singles import fill, lower_copy, lower_single, overwrites
from chainrule.loops.values import Place, Values
from chainrule.schedule.steps import Checked, Copy, Nest, Role, Schedule, Single, Strips

__all__ = ["Launch", "Returns", "Run", "StripLoop", "lower", "neutral"]


@dataclass(frozen=True, slots=True)
class Launch:
    """One call of a kernel: what its buffers stand for. Its extents go by name."""

    kernel: Kernel
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Returns:
    """Return an error if a stored truth value is set: check number `code`."""

    place: Node
    code: int


@dataclass(frozen=True, slots=True)
class StripLoop:
    """Launches repeated for each strip of `dim`; inside, `dim` is the number of rows of the strip.

    Where the whole batch's extent is meant (the divisor of a mean), it is called `dim.whole`.
    """

    dim: str
    rows: int
    body: tuple[Launch, ...]


Run: TypeAlias = "Launch | Returns | StripLoop"


def lower(schedule: Schedule, *, strict: bool = False) -> list[Run]:
    """Return everything that runs, in order; `strict` fixes the order of additions in products."""
    runs: list[Run] = []
    for step in schedule.steps:
        match step:
            case Checked():
                codes = {c.failed: i + 1 for i, c in enumerate(schedule.program.checks)}
                runs += [Returns(n, codes[n]) for n in dict.fromkeys(step.nodes)]
            case Strips():
                runs += [
                    _launch(fill(n, n.dtype, n.type.size, neutral(_combine(n), n.dtype)))
                    for n in step.summed if not overwrites(n)
                ]  # fmt: skip
                summed = set(step.summed)
                body = [
                    x for s in step.steps for x in _lower(schedule, s, summed, step.dim, strict)
                ]
                runs.append(StripLoop(step.dim, step.rows, tuple(body)))
            case _:
                runs += _lower(schedule, step, set(), None, strict)
    return runs


def _lower(
    schedule: Schedule, step: Nest | Single | Copy, summed: set[Node], strip: str | None,
    strict: bool,
) -> Iterator[Launch]:  # fmt: skip
    match step:
        case Nest():
            values = lower_nest(schedule, step, summed, strip)
            if values is None:
                return
            for n, role in step.members.items():
                if role in (Role.COLUMN_REDUCE, Role.TOTAL_REDUCE) and n not in summed:
                    yield _launch(fill(n, n.dtype, n.type.size, neutral(_combine(n), n.dtype)))
            yield _launch(values)
        case Single(_, node):
            dim = strip if node in summed else None
            for found in lower_single(schedule, step, dim, strict=strict):
                yield _launch(found)
        case Copy():
            yield _launch(lower_copy(schedule, step))


def _combine(node: Node) -> str:
    return node.op.name if node.op.name in ("prod", "max", "min") else "sum"


def neutral(combine: str, dtype: DType) -> float | int | bool:
    """Return the number that combining with does not change."""
    match combine:
        case "prod":
            return 1
        case "max" | "min":
            low = combine == "max"
            if dtype.is_float:
                return -math.inf if low else math.inf
            if dtype.kind == "bool":
                return not low
            bits = dtype.nbytes * 8
            if dtype.kind == "uint":
                return 0 if low else (1 << bits) - 1
            return -(1 << (bits - 1)) if low else (1 << (bits - 1)) - 1
        case _:
            return 0


def _launch(values: Values) -> Launch:
    body = tuple(values.scopes[0].statements)
    used: set[str] = set()
    bound: set[str] = set()
    for s in statements(body):
        used |= _mentioned(s)
        if isinstance(s, For):
            bound.add(s.variable)
        elif isinstance(s, Assign | Accumulator):
            bound.add(s.name)
    extents = tuple(sorted(used - bound))
    kernel = Kernel(tuple(values.buffers.values()), extents, body)
    return Launch(collapse(kernel), tuple(values.buffers))


def _mentioned(s: object) -> set[str]:
    """Return the names in the extents of one statement."""
    found: list[Extent] = []
    match s:
        case Assign(_, _, value):
            if isinstance(value, Position):
                found.append(value.extent)
            elif hasattr(value, "offset"):
                found.append(value.offset)
        case Store(_, offset):
            found.append(offset)
        case For(_, extent):
            found.append(extent)
        case Tile():
            found += [s.m, s.n, s.k]
            for o in (s.a, s.b, s.out):
                found += [o.offset, *o.strides]
            found.append(s.accumulate)
    return set().union(*(names_of(e) for e in found)) if found else set()
