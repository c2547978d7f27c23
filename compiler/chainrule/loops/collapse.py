"""Collapsing: a nest over contiguous arrays becomes one loop, so that short axes fill the lanes."""

from __future__ import annotations

from chainrule.ir.dims import Extent, named, names_of, size_of
from chainrule.loops.ir import Assign, For, Kernel, Load, Position, Statement, Store, Update
from chainrule.schedule.access import flat_offset

__all__ = ["collapse"]


def collapse(kernel: Kernel) -> Kernel:
    """Merge each outermost perfect nest into one vector loop, where accesses allow it.

    They do if each is row-major over the nest or does not move at all.
    """
    body = tuple(_merged(s) if isinstance(s, For) else s for s in kernel.body)
    return Kernel(kernel.buffers, kernel.extents, body)


def _merged(outermost: For) -> For:
    loops = [outermost]
    while len(loops[-1].body) == 1 and isinstance(loops[-1].body[0], For):
        loops.append(loops[-1].body[0])
    if len(loops) < 2 or loops[-1].kind != "vector" or any(f.down for f in loops):
        return outermost
    variables = [f.variable for f in loops]
    if any(not names_of(f.extent).isdisjoint(variables) for f in loops):
        return outermost
    shape = tuple(f.extent for f in loops)
    flat = flat_offset(shape, tuple(named(v) for v in variables))
    body: list[Statement] = []
    for s in loops[-1].body:
        moved = _moved(s, variables, flat)
        if moved is None:
            return outermost
        body.append(moved)
    return For(variables[0], size_of(shape), "vector", tuple(body))


def _moved(s: Statement, variables: list[str], flat: Extent) -> Statement | None:
    """Rewrite one statement's offset over the merged variable; None if it cannot be."""
    match s:
        case Assign(name, dtype, Load(buffer, offset)):
            at = _over(offset, variables, flat)
            return None if at is None else Assign(name, dtype, Load(buffer, at))
        case Assign(_, _, Position(extent)):
            return s if names_of(extent).isdisjoint(variables) else None
        case Update(_, _, ordered):
            return None if ordered else s
        case Assign():
            return s
        case Store(buffer, offset, value, combine):
            at = _over(offset, variables, flat)
            # Adding to one place from every turn is not what a lane can do.
            if at is None or (combine and names_of(at).isdisjoint(variables)):
                return None
            return Store(buffer, at, value, combine)
        case _:
            return None


def _over(offset: Extent, variables: list[str], flat: Extent) -> Extent | None:
    if names_of(offset).isdisjoint(variables):
        return offset
    rest = offset - flat
    return rest + named(variables[0]) if names_of(rest).isdisjoint(variables) else None
