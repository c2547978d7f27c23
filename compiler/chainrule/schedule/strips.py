"""Batch strips: forward and backward for some rows through the whole network, then the next rows.

Where a dim is only mapped over and finally summed, the steps that mention it can run strip by
strip: activations then take a strip's memory, not the batch's, and stay in cache between forward
and backward.  The sums are added up in memory, strips in ascending order.
"""

from __future__ import annotations

from typing import Final

from chainrule.ir.dims import Dim, names_of, size_of, substitute_extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.schedule.donation import inputs_read
from chainrule.schedule.steps import (
    Checked,
    Control,
    Copy,
    Nest,
    Role,
    Schedule,
    Single,
    Step,
    Strips,
)

__all__ = ["cut_into_strips", "strip_rows"]

CACHE_BYTES: Final = 512 << 10
"Half of a common second-level cache: what a strip's activations should fit."
LEAST_ROWS: Final = 32
MOST_ROWS: Final = 256


def cut_into_strips(schedule: Schedule) -> Schedule:
    """Return the schedule with one dim's steps run in strips, or as it is if that is not legal.

    Legal: the dim is the first axis of everything stored that has it, and no step inside needs a
    sum over the dim to be finished.
    """
    for dim in schedule.program.dims:
        found = _cut(schedule, dim)
        if found is not None:
            return found
    return schedule


def _cut(schedule: Schedule, dim: str) -> Schedule | None:
    # Checks run first, over the whole batch; strips come after them.
    barrier = next((i for i, s in enumerate(schedule.steps) if isinstance(s, Checked)), -1)
    head, tail = schedule.steps[: barrier + 1], schedule.steps[barrier + 1 :]
    inside = [s for s in tail if _mentions(s, dim)]
    if not inside or any(isinstance(s, Copy | Strips | Checked | Control) for s in inside):
        return None
    steps = [s for s in inside if isinstance(s, Nest | Single)]
    summed = _all_sums(schedule, steps, dim)
    if summed is None:
        return None
    made = {n for s in steps for n in s.nodes}
    totals = set(summed)
    mapped = [n for n in made if n in schedule.stored and n not in totals]
    if not (_worth_it(schedule, mapped, dim) and _reads_ok(schedule, steps, dim, totals)):
        return None
    # Steps that need a finished sum go behind the strips; the rest, before.
    behind: list[Step] = []
    before: list[Step] = []
    # What overwrites an input runs after everything that may still read it.
    overwriting = schedule.overwriting
    # What is not stored is recomputed by its readers, so it ties nothing to its step.
    late = {n for n in made if n in schedule.stored}
    for other in tail:
        if other in inside:
            continue
        last = isinstance(other, Copy)
        last = last or any(n in overwriting or n in schedule.homes for n in other.nodes)
        if last or _uses(other, late):
            behind.append(other)
            late |= {n for n in other.nodes if n in schedule.stored}
        else:
            before.append(other)
    if any(_uses(s, late - made) for s in steps):
        return None
    # Of what is mapped, only a strip is left afterwards, unless it is a result.
    gone = {n for n in mapped if n not in schedule.targets}
    if any(_uses(s, gone) for s in behind):
        return None
    targets = dict(schedule.targets)
    for node in [n for n in overwriting if n in made]:
        x = overwriting[node]
        if node in totals:
            # A sum is begun before the last strip has read the input: copied when all is done.
            behind.append(Copy(max(schedule.level.values()) + 1, node, targets.pop(node)))
            overwriting = {n: i for n, i in overwriting.items() if n is not node}
        elif any(x in inputs_read(s, schedule.stored, schedule.level) for s in (*before, *behind)):
            return None
    rows = strip_rows(mapped, summed, dim)
    return Schedule(
        schedule.program, [*head, *before, Strips(dim, rows, steps, summed), *behind],
        schedule.level, schedule.stored, targets, overwriting, schedule.homes,
    )  # fmt: skip


def _worth_it(schedule: Schedule, mapped: list[Node], dim: str) -> bool:
    """Tell whether something is kept between steps, and all of it row by row."""
    kept = any(n not in schedule.targets for n in mapped)
    return kept and all(_leads(n, dim) for n in mapped)


def _all_sums(schedule: Schedule, steps: list[Nest | Single], dim: str) -> list[Node] | None:
    """Return what the steps add up over the dim, or None if one of them cannot be cut."""
    summed: list[Node] = []
    for s in steps:
        part = _sums(s, dim, schedule)
        if part is None:
            return None
        summed += part
    return summed


def strip_rows(mapped: list[Node], summed: list[Node], dim: str) -> int:
    """Return the height of a strip: rows whose activations fit the cache, a multiple of 32.

    Each strip reads and writes all sums once more, so where the sums are much larger than a strip's
    activations the strips are taller; the bound keeps memory from growing with the batch.
    """
    row_bytes = sum(_row_bytes(n, dim) for n in mapped)
    sums = sum(s * n.dtype.nbytes for n in summed if isinstance(s := size_of(n.shape), int))
    fit = CACHE_BYTES // max(row_bytes, 1)
    rows = max(LEAST_ROWS, min(MOST_ROWS, fit) // LEAST_ROWS * LEAST_ROWS)
    if sums > 8 * rows * max(row_bytes, 1):
        rows = MOST_ROWS
    return rows


def _row_bytes(node: Node, dim: str) -> int:
    size = substitute_extent(size_of(node.shape), {dim: 1})
    return size * node.dtype.nbytes if isinstance(size, int) else 0


def _mentions(step: Step, dim: str) -> bool:
    """Tell whether a step's work depends on the dim."""
    if isinstance(step, Nest):
        return any(dim in names_of(e) for e in step.space)
    if isinstance(step, Single):
        shapes = [step.node.shape, *(x.shape for x in step.node.args)]
        return any(dim in names_of(e) for shape in shapes for e in shape)
    if isinstance(step, Copy):
        return any(dim in names_of(e) for e in step.node.shape)
    if isinstance(step, Control):
        return _inside_mentions(step, dim)
    return False


def _inside_mentions(step: Control, dim: str) -> bool:
    """Tell whether a loop, switch or call has to do with the dim."""
    nodes = [*step.node.args, *step.nodes]
    if any(dim in names_of(e) for n in nodes for e in n.shape):
        return True
    if step.node.op.name == "loop" and dim in names_of(step.node.attributes["length"]):
        return True
    return any(
        _mentions(s, dim) or any(dim in names_of(e) for n in part.stored for e in n.shape)
        for part in step.parts
        for s in part.steps
    )


def _is(extent: object, dim: str) -> bool:
    return isinstance(extent, Dim) and extent.terms == (((dim,), 1),)


def _leads(node: Node, dim: str) -> bool:
    """Tell whether the dim is the first axis and occurs nowhere else."""
    if not node.shape or not _is(node.shape[0], dim):
        return False
    return not any(dim in names_of(e) for e in node.shape[1:])


def _sums(step: Nest | Single, dim: str, schedule: Schedule) -> list[Node] | None:
    """Return what a step adds up over the dim, or None if it cannot be cut."""
    if isinstance(step, Single):
        return _single_sums(step.node, dim)
    if not step.space or not _is(step.space[0], dim):
        return None
    if any(dim in names_of(e) for e in step.space[1:]):
        return None
    if step.rows is None:
        # Without rows nothing is reduced.
        return []
    found = []
    for n, role in step.members.items():
        over = step.rows if role is Role.COLUMN_REDUCE else step.columns
        match role:
            case Role.ROW_REDUCE:
                if 0 in over:
                    # The dim is reduced as a row of its own: a sum over the batch alone.
                    if n.op.name != "sum" or n not in schedule.stored:
                        return None
                    if _used_inside(n, step):
                        return None
                    found.append(n)
            case Role.COLUMN_REDUCE | Role.TOTAL_REDUCE:
                if role is Role.TOTAL_REDUCE or 0 in over:
                    found.append(n)
            case _:
                pass
    return found


def _used_inside(node: Node, nest: Nest) -> bool:
    return any(node in m.args for m in nest.members)


def _single_sums(node: Node, dim: str) -> list[Node] | None:
    if node.op.kind is not Kind.CONTRACT:
        return None
    batch, summed = node.attrs
    a, b = node.args
    over_a = [i for i, e in enumerate(a.shape) if dim in names_of(e)]
    over_b = [i for i, e in enumerate(b.shape) if dim in names_of(e)]
    if len(over_a) > 1 or len(over_b) > 1:
        return None
    if over_a and over_b:
        if over_a[0] in summed[0] and over_b[0] in summed[1]:
            return [node] if _is(a.shape[over_a[0]], dim) else None
        return [] if over_a[0] in batch[0] and over_b[0] in batch[1] else None
    return []


def _reads_ok(schedule: Schedule, steps: list[Nest | Single], dim: str, totals: set[Node]) -> bool:
    """Tell whether the steps read own rows of inputs and of each other, and no sum."""
    members = {n for s in steps for n in s.nodes}
    seen: set[Node] = set()
    waiting = [x for n in members for x in n.args]
    waiting += [n for n in members if n.op.kind is Kind.VIEW]
    if any(n.op.kind is Kind.GATHER and _picks_rows(n, dim) for n in members):
        return False
    while waiting:
        x = waiting.pop()
        if x in seen:
            continue
        seen.add(x)
        if x in totals:
            return False
        has = any(dim in names_of(e) for e in x.shape)
        if has and x in schedule.stored and x not in members:
            return False
        if x.op.kind is Kind.SOURCE and has and not (x.op.name == "input" and _leads(x, dim)):
            return False
        if x.op.kind is Kind.VIEW:
            had = any(dim in names_of(e) for e in x.args[0].shape)
            if (has or had) and not _view_keeps_rows(x, dim):
                return False
        if x.op.kind is Kind.GATHER and _picks_rows(x, dim):
            return False
        if x not in members:
            waiting.extend(x.args)
    return True


def _picks_rows(gather: Node, dim: str) -> bool:
    """Tell whether a gather reads rows other than its own."""
    (batch,) = gather.attrs
    source = gather.args[0]
    return any(dim in names_of(e) for e in source.shape[batch:])


def _view_keeps_rows(x: Node, dim: str) -> bool:
    """Tell whether row i of a view is made of row i of its argument."""
    source = x.args[0]
    match x.op.name:
        case "broadcast":
            _, axes = x.attrs
            own = [i for i, e in enumerate(x.shape) if dim in names_of(e)]
            from_source = [a for a, e in zip(axes, source.shape, strict=True) if dim in names_of(e)]
            return own == from_source or not from_source
        case "transpose":
            return True
        case "slice":
            starts, _, steps = x.attrs
            return all(
                a == 0 and s == 1 and e == f
                for a, s, e, f in zip(starts, steps, x.shape, source.shape, strict=True)
                if dim in names_of(e) or dim in names_of(f)
            )
        case _:
            return _leads(x, dim) and _leads(source, dim)


def _uses(step: Step, made: set[Node]) -> bool:
    """Tell whether a step depends on one of `made`, through views and what is recomputed."""
    waiting = [x for n in step.nodes for x in n.args]
    if isinstance(step, Copy):
        waiting.append(step.node)
    if isinstance(step, Control):
        waiting = list(step.node.args)
    seen: set[Node] = set()
    own = set(step.nodes)
    while waiting:
        x = waiting.pop()
        if x in seen:
            continue
        seen.add(x)
        if x in made:
            return True
        if x not in own and x.op.kind in (Kind.VIEW, Kind.POINTWISE):
            waiting.extend(x.args)
    return False
