"""Counts what a compiled program does: turns of all loops, run by run, for given extents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import chainrule as cr
from chainrule.ir.dims import Extent, evaluate_extent, names_of
from chainrule.loops.ir import For, Statement, Tile
from chainrule.loops.lower import Choose, Launch, Repeat, Run, StripLoop
from chainrule.pipeline import Lowered

__all__ = ["lowered_of", "turns", "turns_of"]


def lowered_of(fn: Callable[..., Any], *args: Any, **options: Any) -> Lowered:
    """Return what a function compiles to for these arguments."""
    found: Lowered = cr.jit(fn, cache=False, **options).lower(*args).lowered
    return found


def turns_of(fn: Callable[..., Any], *args: Any, **options: Any) -> int:
    """Return the turns of all loops of a call; extents are those of the arguments."""
    return turns(lowered_of(fn, *args, **options).runs, {})


def turns(runs: Iterable[Run], dims: Mapping[str, int]) -> int:
    """Return the turns of all loops that `runs` make; of a loop with a test, 100 steps."""
    total = 0
    for run in runs:
        match run:
            case Launch():
                total += _of_body(run.kernel.body, dims)
            case StripLoop():
                total += turns(run.body, dims)
            case Repeat():
                steps = _number(run.loop.length, dims) if run.test is None else 100
                inside = turns(run.body.runs, dims) + turns(run.test.runs if run.test else (), dims)
                total += turns(run.before, dims) + steps * inside
            case Choose():
                total += turns(run.index, dims)
                total += max(turns(b.runs, dims) for b in run.branches)
            case _:
                total += 1
    return total


def _of_body(body: Iterable[Statement], dims: Mapping[str, int]) -> int:
    total = 0
    for s in body:
        if isinstance(s, For):
            total += _number(s.extent, dims) * max(_of_body(s.body, dims), 1)
        elif isinstance(s, Tile):
            total += _number(s.m, dims) * _number(s.n, dims) * _number(s.k, dims)
    return max(total, 1)


def _number(extent: Extent, dims: Mapping[str, int]) -> int:
    loose = dict.fromkeys(names_of(extent), 1)
    return evaluate_extent(extent, {**loose, **dims})
