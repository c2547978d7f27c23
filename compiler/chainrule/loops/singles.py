"""Ops with loops of their own: contractions, recurrences, scattering, writing into parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chainrule.ir.dims import Extent, Shape, loop_variables, named, size_of, smaller
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import BOOL, DType
from chainrule.loops.ir import Accumulator, Combine, Operand, Tile
from chainrule.loops.linalg import lower_factor
from chainrule.loops.values import Place, Values
from chainrule.ops.update import other_axes
from chainrule.schedule.access import flat_offset, follow, strides_of
from chainrule.schedule.steps import Schedule, Single

__all__ = ["fill", "lower_copy", "lower_single"]

SHORT: Final = 16
"Elements of a part of a concatenation that shares its kernel."
TOGETHER: Final = 16
"Parts that share one: each is an argument."


def fill(place: Place, dtype: DType, size: Extent, number: float | bool) -> Values:
    """Set every element of a piece of memory."""
    values = Values(lambda _node: False)
    values.open("i.0")
    values.store(place, dtype, named("i.0"), values.number(number, dtype))
    values.close("i.0", size, vector=True)
    return values


def lower_copy(schedule: Schedule, level: int, node: Node, place: Place) -> Values:
    """Copy a node, element by element, to an output of the program or other memory."""
    values = Values(lambda n: schedule.in_memory(n, level))
    _copy(values, node, place, tuple(0 for _ in node.shape), node.shape, None)
    return values


def _copy(
    values: Values, x: Node, place: Place, starts: Sequence[Extent], shape: Sequence[Extent],
    steps: Sequence[int] | None, letter: str = "i",
) -> None:  # fmt: skip
    """Write x into part of an array of `shape`: element j goes to start + j*step."""
    variables = loop_variables(letter, x.type.rank)
    index = tuple(named(v) for v in variables)
    for v in variables:
        values.open(v)
    strides = steps or (1,) * x.type.rank
    to = tuple(a + i * s for a, i, s in zip(starts, index, strides, strict=True))
    values.store(place, x.dtype, flat_offset(tuple(shape), to), values.value(x, index))
    for k, v in enumerate(reversed(variables)):
        values.close(v, x.shape[-1 - k], vector=k == 0)


def overwrites(node: Node) -> bool:
    """Tell whether the first of several strips writes a sum, so that nothing need clear it."""
    return node.op.name == "contract" and len(node.attrs[1][0]) == 1


def lower_single(
    schedule: Schedule, step: Single, strip: str | None, *, strict: bool
) -> list[Values]:
    """Return the kernels of one op, to be run in order.

    `strip`: the dim in whose strips the op's result adds up.  `strict`: products add in one order.
    """
    node = step.node
    summed = strip is not None

    def in_memory(n: Node) -> bool:
        return schedule.in_memory(n, step.level)

    match node.op.name:
        case "contract":
            return _contract(step, schedule, strip, strict=strict)
        case "cumsum" | "recurrence":
            return [_recurrence(node, Values(in_memory))]
        case "scatter_add":
            found = [_scatter(node, step.made, Values(in_memory))]
            clear = not summed and step.total is None
            return [fill(node, node.dtype, node.type.size, 0), *found] if clear else found
        case "place":
            starts, shape, steps = node.attrs
            values = Values(in_memory)
            _copy(values, node.args[0], node, starts, shape, steps)
            return [fill(node, node.dtype, node.type.size, 0), values]
        case "update":
            written = _update(node, Values(in_memory))
            return [written] if step.inside else [
                lower_copy(schedule, step.level, node.args[0], node), written
            ]  # fmt: skip
        case "overlay":
            return [_overlay(node, Values(in_memory))]
        case "concatenate":
            return _concatenate(node, schedule, step.level)
        case _ if node.op.kind is Kind.FACTOR:
            return [lower_factor(node, Values(in_memory), strict=strict)]
        case name:
            raise AssertionError(f"{name} has no loops")


def _overlay(node: Node, values: Values) -> Values:
    """Fill with zeros, then write the parts: all in one kernel, as parts may be short.

    Parts of as many elements share a loop, and with it what they are computed from.  It has no
    lanes: a scattered store takes longer than its elements one after the other.
    """
    starts, steps, shape = node.attrs
    values.open("i.0")
    values.store(node, node.dtype, named("i.0"), values.number(0, node.dtype))
    values.close("i.0", node.type.size, vector=True)
    alike: dict[Shape, list[tuple[Node, int, int]]] = {}
    for part in zip(node.args, starts, steps, strict=True):
        alike.setdefault(part[0].shape, []).append(part)
    for number, (extents, parts) in enumerate(alike.items()):
        variables = loop_variables(f"p{number}", len(extents))
        index = tuple(named(v) for v in variables)
        for v in variables:
            values.open(v)
        row = flat_offset(extents[:-1], index[:-1]) * size_of(shape[len(extents) - 1 :])
        for x, start, step in parts:
            at = row + start + index[-1] * step
            values.store(node, node.dtype, at, values.value(x, index))
        for v, extent in zip(reversed(variables), reversed(extents), strict=True):
            values.close(v, extent, vector=False)
    return values


def _concatenate(node: Node, schedule: Schedule, level: int) -> list[Values]:
    """Copy one part after another; short ones, which cost less than a call, several to a kernel."""
    (axis,) = node.attrs
    found: list[Values] = []
    at, together = 0, 0
    for x in node.args:
        size = x.type.size
        short = isinstance(size, int) and size <= SHORT
        if not (short and 0 < together < TOGETHER):
            found.append(Values(lambda n: schedule.in_memory(n, level)))
            together = 0
        starts: list[Extent] = [0] * node.type.rank
        starts[axis] = at
        _copy(found[-1], x, node, starts, node.shape, None, f"p{together}" if together else "i")
        together = together + 1 if short else 0
        at = at + x.shape[axis]
    return found


def _recurrence(node: Node, values: Values) -> Values:
    """Run along the axis innermost; across the last axis, if that is another, in lanes."""
    axis, reverse = node.attrs
    rank = node.type.rank
    others = [i for i in range(rank) if i != axis]
    variables = loop_variables("i", rank)
    index = tuple(named(v) for v in variables)
    for i in others:
        values.open(variables[i])
    name = values.name("a")
    running = node.op.name == "recurrence"
    values.emit(Accumulator(name, node.dtype, "last" if running else "sum"))
    values.declare(name, node.dtype)
    values.open(variables[axis])
    values.vary(name)
    ops = node.graph.ops
    if node.op.name == "cumsum":
        # The accumulator holds the running sum: adding to it is all there is.
        values.update(name, values.value(node.args[0], index))
        total = name
    else:
        a, b = (values.value(x, index) for x in node.args)
        # At the first step the accumulator holds nothing, whatever a is there.
        first = node.shape[axis] - 1 if reverse else 0
        position = values.position(index[axis])
        begins = values.compute(ops["equal"], [position, values.position(first)], BOOL)
        product = values.compute(ops["mul"], [a, name], node.dtype)
        none = values.number(0, node.dtype)
        before = values.compute(ops["select"], [begins, none, product], node.dtype)
        total = values.compute(ops["add"], [before, b], node.dtype)
        values.update(name, total)
    values.store(node, node.dtype, flat_offset(node.shape, index), total)
    values.close(variables[axis], node.shape[axis], vector=False, down=reverse)
    for k, i in enumerate(reversed(others)):
        lanes = k == 0 and axis != rank - 1
        values.close(variables[i], node.shape[i], vector=lanes)
    return values


def _scatter(node: Node, place: Place, values: Values) -> Values:
    """Add element after element; the tail axes, which never collide, in lanes.

    Where the result may have no place at all, a loop of one turn or none is around everything.
    """
    g, places = node.args
    size, batch = node.attrs
    some = smaller(1, size)
    (around,) = loop_variables("s", 1)
    if some != 1:
        values.open(around)
    variables = loop_variables("i", g.type.rank)
    index = tuple(named(v) for v in variables)
    rank = places.type.rank
    for v in variables:
        values.open(v)
    at = values.clamped(values.value(places, index[:rank]), size, node)
    to = (*index[:batch], named(at), *index[rank:])
    values.store(place, node.dtype, flat_offset(node.shape, to), values.value(g, index), "sum")
    for k, v in enumerate(reversed(variables)):
        lanes = k == 0 and g.type.rank > rank
        values.close(v, g.shape[-1 - k], vector=lanes)
    if some != 1:
        values.close(around, some, vector=False)
    return values


def _update(node: Node, values: Values) -> Values:
    """Write or add one part after another; elements along the last other axis in lanes."""
    x, v, *index = node.args
    given = node.attributes
    axes, batch = given["axes"], given["batch"]
    rest = other_axes(x.type.rank, axes, batch)
    lead = v.type.rank - len(rest)
    variables = loop_variables("i", v.type.rank)
    at = tuple(named(n) for n in variables)
    for n in variables:
        values.open(n)
    place: list[Extent] = [*at[:batch], *(0 for _ in range(batch, x.type.rank))]
    for axis, one in zip(axes, index, strict=True):
        place[axis] = named(values.clamped(values.value(one, at[:lead]), x.shape[axis], node))
    for k, axis in enumerate(rest):
        place[axis] = given["starts"][k] + at[lead + k] * given["steps"][k]
    combine: Combine | None = "sum" if given["how"] == "add" else None
    offset = flat_offset(x.shape, tuple(place))
    values.store(node, node.dtype, offset, values.value(v, at), combine)
    for k, n in enumerate(reversed(variables)):
        # Along an index two places may be one: the later one counts.
        values.close(n, v.shape[-1 - k], vector=k == 0 and bool(rest))
    return values


# Contractions


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a contraction: its extent and its strides in the three arrays."""

    extent: Extent
    a: Extent
    b: Extent
    out: Extent


def _contract(step: Single, schedule: Schedule, strip: str | None, *, strict: bool) -> list[Values]:
    node = step.node
    values = Values(lambda n: schedule.in_memory(n, step.level))
    a, b = node.args
    batch, sums = node.attrs
    a_base, a_strides, a_start = _addressed(values, a)
    b_base, b_strides, b_start = _addressed(values, b)
    out_strides = _row_major(node)
    free_a = [i for i in range(a.type.rank) if i not in batch[0] + sums[0]]
    free_b = [i for i in range(b.type.rank) if i not in batch[1] + sums[1]]
    out = iter(out_strides)
    lead = [
        _Axis(a.shape[i], a_strides[i], b_strides[j], next(out))
        for i, j in zip(*batch, strict=True)
    ]
    m = _merged([_Axis(a.shape[i], a_strides[i], 0, next(out)) for i in free_a])
    n = _merged([_Axis(b.shape[i], 0, b_strides[i], next(out)) for i in free_b])
    k = _merged([
        _Axis(a.shape[i], a_strides[i], b_strides[j], 0) for i, j in zip(*sums, strict=True)
    ])  # fmt: skip
    # One axis of each kind goes into the tile, the largest; loops run over the rest.
    tile = [_largest(axes) for axes in (m, n, k)]
    rest = [[x for x in axes if x is not t] for axes, t in zip((m, n, k), tile, strict=True)]
    loops = [*_merged(lead), *rest[0], *rest[1], *rest[2]]
    offsets: list[Extent] = [a_start, b_start, 0]
    variables = loop_variables("i", len(loops))
    for v, x in zip(variables, loops, strict=True):
        position = named(v)
        values.open(v)
        offsets = [o + position * s for o, s in zip(offsets, (x.a, x.b, x.out), strict=True)]
    tm, tn, tk = tile
    adds: bool | Extent = strip is not None or bool(rest[2]) or step.total is not None
    if strip is not None and overwrites(node) and step.total is None:
        # The number of the strip's first row: 0 at the first strip alone.
        adds = named(f"{strip}.first")
    values.emit(
        Tile(
            Operand(values.buffer(a_base, a_base.dtype), offsets[0], (tm.a, tk.a)),
            Operand(values.buffer(b_base, b_base.dtype), offsets[1], (tk.b, tn.b)),
            Operand(values.buffer(step.made, node.dtype), offsets[2], (tm.out, tn.out)),
            tm.extent, tn.extent, tk.extent, adds, strict=strict,
        )
    )  # fmt: skip
    for v, x in reversed(list(zip(variables, loops, strict=True))):
        values.close(v, x.extent, vector=False)
    if rest[2] and strip is None and step.total is None:
        return [fill(node, node.dtype, node.type.size, 0), values]
    return [values]


def _addressed(values: Values, x: Node) -> tuple[Node, list[Extent], Extent]:
    """Return in which array the elements of `x` lie, at what strides, from where on."""
    variables = loop_variables("x", x.type.rank)
    base, offset = follow(x, tuple(named(v) for v in variables), values.in_memory)
    if isinstance(offset, tuple) and base.op.name == "cast":
        # Elements of 16 bits, which the product itself converts.
        base, offset = follow(base.args[0], offset, values.in_memory)
    assert not isinstance(offset, tuple), f"{x} is an operand in memory"
    found = strides_of(offset, variables)
    assert found is not None, f"{x} has constant strides"
    return base, found[0], found[1]


def _row_major(node: Node) -> list[Extent]:
    strides: list[Extent] = []
    step: Extent = 1
    for extent in reversed(node.shape):
        strides.insert(0, step)
        step = step * extent
    return strides


def _merged(axes: list[_Axis]) -> list[_Axis]:
    """Drop axes of extent 1 and join neighbours that step as one."""
    found: list[_Axis] = []
    for x in axes:
        if x.extent == 1:
            continue
        if found:
            p = found[-1]
            if p.a == x.a * x.extent and p.b == x.b * x.extent and p.out == x.out * x.extent:
                found[-1] = _Axis(p.extent * x.extent, x.a, x.b, x.out)
                continue
        found.append(x)
    return found


def _largest(axes: list[_Axis]) -> _Axis:
    if not axes:
        return _Axis(1, 0, 0, 0)
    # A run-time extent counts as large; the later axis has the smaller strides.
    return max(
        enumerate(axes),
        key=lambda t: (t[1].extent if isinstance(t[1].extent, int) else 1 << 40, t[0]),
    )[1]
