"""Ops that move elements without changing them: index maps, and writing into parts.

`broadcast` is the only place where one element becomes several, so its adjoint, a sum, is the only
place where broadcasting is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from chainrule.errors import ShapeError, explain
from chainrule.ir.dims import Extent, Shape, ceil_div, has_quotient, larger, show_extent, size_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Requirement, Special
from chainrule.ir.types import Array, Type
from chainrule.ops._declare import declare

__all__ = ["broadcast", "concatenate", "place", "reshape", "slice_", "transpose", "within"]


def _linear_push(tangents: tuple[Node, ...], y: Node, *_args: Node, **_attributes: Any) -> Node:
    """Move the tangent as the value is moved."""
    return y.graph.apply(y.op, (tangents[0],), y.attrs)


# broadcast: axis i of x becomes axis axes[i]; the other axes of the result are copies


def _broadcast_type(x: Type, *, shape: Shape, axes: tuple[int, ...]) -> Type:
    rising = list(axes) == sorted(set(axes))
    assert rising and len(axes) == x.rank, f"bad axes {axes} for {x}"  # noqa: PT018
    for own, axis in zip(x.shape, axes, strict=True):
        if own != shape[axis]:
            raise ShapeError(
                explain(
                    f"cannot broadcast: axis {axis} is {show_extent(own)} vs "
                    f"{show_extent(shape[axis])}",
                    f"from  {x}",
                )
            )
    return Type(x.dtype, shape)


def _broadcast_value(x: Array, *, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    lined = np.reshape(x, [x.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))])
    return np.broadcast_to(lined, shape)


def _broadcast_pull(
    g: Node, _y: Node, _x: Node, *, shape: Shape, axes: tuple[int, ...]
) -> tuple[Node]:
    summed = tuple(i for i in range(len(shape)) if i not in axes)
    return (g.graph.call("sum", g, axes=summed) if summed else g,)


def _broadcast_batch(
    args: Sequence[Node], _flags: Sequence[bool], size: Extent, *, shape: Shape,
    axes: tuple[int, ...],
) -> Node:  # fmt: skip
    (x,) = args
    return x.graph.broadcast(x, (size, *shape), (0, *(a + 1 for a in axes)))


broadcast: Final[Op] = declare(
    Op(
        "broadcast", Kind.VIEW, ("shape", "axes"), _broadcast_type, _broadcast_value, Special(),
        pull=_broadcast_pull, push=_linear_push, batch=_broadcast_batch, linear=True, flops=0,
        apart=lambda y, x, *, shape, axes: ({a: i for i, a in enumerate(axes)},),
        notation=Notation("{0}", "{0}"),
    )
)  # fmt: skip

# reshape, transpose


def _reshape_type(x: Type, *, shape: Shape) -> Type:
    if size_of(shape) != x.size and not (has_quotient(x.size) or has_quotient(size_of(shape))):
        raise ShapeError(
            explain(
                "cannot reshape: the number of elements differs",
                f"from  {x}: {show_extent(x.size)} elements",
                f"to    {Type(x.dtype, shape)}: {show_extent(size_of(shape))} elements",
            )
        )
    return Type(x.dtype, shape)


def _kept_axes(y: Node, x: Node, *, shape: Shape) -> tuple[Mapping[int, int]]:
    """Tell which axes a reshape leaves: those with as much before them, and as long."""
    found: dict[int, int] = {}
    before: Extent = 1
    starts: dict[Extent, int] = {}
    for i, n in enumerate(x.shape):
        if n != 1:
            starts[before] = i
        before = before * n
    before = 1
    for j, n in enumerate(shape):
        at = starts.get(before)
        if n != 1 and at is not None and x.shape[at] == n:
            found[j] = at
        before = before * n
    return (found,)


reshape: Final[Op] = declare(
    Op(
        "reshape", Kind.VIEW, ("shape",), _reshape_type,
        lambda x, *, shape: np.reshape(x, shape), Special(),
        pull=lambda g, y, x, *, shape: (g.graph.call("reshape", g, shape=x.shape),),
        push=_linear_push,
        batch=lambda args, flags, size, *, shape: reshape(args[0], shape=(size, *shape)),
        linear=True, flops=0, apart=_kept_axes, notation=Notation("{0}", "{0}"),
    )
)  # fmt: skip


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(axes))


transpose: Final[Op] = declare(
    Op(
        "transpose", Kind.VIEW, ("axes",),
        lambda x, *, axes: Type(x.dtype, tuple(x.shape[a] for a in axes)),
        lambda x, *, axes: np.transpose(x, axes), Special(),
        pull=lambda g, y, x, *, axes: (g.graph.call("transpose", g, axes=_inverse(axes)),),
        push=_linear_push,
        batch=lambda args, flags, size, *, axes: transpose(
            args[0], axes=(0, *(a + 1 for a in axes))
        ),
        linear=True, flops=0, apart=lambda y, x, *, axes: (dict(enumerate(axes)),),
        notation=Notation("{0}ᵀ", r"{{{0}}}^{{\top}}", 4),
    )
)  # fmt: skip

# slice: element j of the result is element start + j*step, on every axis; steps may be negative


def _slice_value(
    x: Array, *, starts: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...]
) -> Array:
    where = np.ix_(*(a + s * np.arange(n) for a, n, s in zip(starts, shape, steps, strict=True)))
    return x[where]


def _whole_axes(
    y: Node, x: Node, *, starts: tuple[Extent, ...], shape: Shape, steps: tuple[int, ...]
) -> tuple[Mapping[int, int]]:
    del shape
    own = zip(starts, steps, x.shape, y.shape, strict=True)
    return ({i: i for i, (a, s, n, m) in enumerate(own) if (a, s) == (0, 1) and n == m},)


def _slice_pull(
    g: Node, _y: Node, x: Node, *, starts: tuple[Extent, ...], shape: Shape, steps: tuple[int, ...]
) -> tuple[Node]:
    return (g.graph.call("place", g, starts=starts, shape=x.shape, steps=steps),)


def _slice_batch(
    args: Sequence[Node], _flags: Sequence[bool], size: Extent, *, starts: tuple[Extent, ...],
    shape: Shape, steps: tuple[int, ...],
) -> Node:  # fmt: skip
    (x,) = args
    given = {"starts": (0, *starts), "shape": (size, *shape), "steps": (1, *steps)}
    return x.graph.call("slice", x, **given)


def within(
    starts: Shape, counts: Shape, steps: tuple[int, ...], shape: Shape
) -> Iterator[Requirement]:
    """Say that elements start, start + step, ... lie on their axis; of none it does not matter."""
    for start, count, step, extent in zip(starts, counts, steps, shape, strict=True):
        if count == 0 or (start, count, step) == (0, extent, 1):
            continue
        if step > 0:
            yield Requirement(start, "a slice begins before its axis")
            room = ceil_div(extent - start, step)
        else:
            yield Requirement(extent - 1 - start, "a slice begins beyond its axis")
            room = (start - step) // -step
        if room != count:
            # Of a start past the end, no element is asked for.
            room = larger(room, 0)
        yield Requirement(room - count, "a slice ends beyond its axis")


slice_: Final[Op] = declare(
    Op(
        "slice", Kind.VIEW, ("starts", "shape", "steps"),
        lambda x, *, starts, shape, steps: Type(x.dtype, shape), _slice_value, Special(),
        pull=_slice_pull, push=_linear_push, batch=_slice_batch, linear=True, flops=0,
        needs=lambda x, *, starts, shape, steps: within(starts, shape, steps, x.shape),
        apart=_whole_axes,
        notation=Notation("{0}[...]", r"{0}_{{[\cdot]}}"),
    )
)  # fmt: skip

# place: zeros with x laid in at start + j*step; the adjoint of slice


def _place_value(
    x: Array, *, starts: tuple[int, ...], shape: tuple[int, ...], steps: tuple[int, ...]
) -> Array:
    y = np.zeros(shape, dtype=x.dtype)
    y[np.ix_(*(a + s * np.arange(n) for a, n, s in zip(starts, x.shape, steps, strict=True)))] = x
    return y


place: Final[Op] = declare(
    Op(
        "place", Kind.WRITE, ("starts", "shape", "steps"),
        lambda x, *, starts, shape, steps: Type(x.dtype, shape), _place_value, Special(),
        pull=lambda g, y, x, *, starts, shape, steps: (
            g.graph.call("slice", g, starts=starts, shape=x.shape, steps=steps),
        ),
        push=_linear_push,
        batch=lambda args, flags, size, *, starts, shape, steps: place(
            args[0], starts=(0, *starts), shape=(size, *shape), steps=(1, *steps)
        ),
        linear=True, flops=0, apart=_whole_axes,
        notation=Notation("place({0})", r"\operatorname{{place}}({0})"),
        needs=lambda x, *, starts, shape, steps: within(starts, x.shape, steps, shape),
    )
)  # fmt: skip

# concatenate


def _concatenate_type(*types: Type, axis: int) -> Type:
    first = types[0]
    total: Extent = 0
    for t in types:
        pairs = enumerate(zip(t.shape, first.shape, strict=False))
        others = [(a, b) for i, (a, b) in pairs if i != axis]
        if t.rank != first.rank or t.dtype is not first.dtype or any(a != b for a, b in others):
            raise ShapeError(
                explain("concatenate: arrays do not agree off the axis", *map(str, types),
                        f"axis  {axis}")
            )  # fmt: skip
        total = total + t.shape[axis]
    return Type(first.dtype, (*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _concatenate_pull(g: Node, _y: Node, *args: Node, axis: int) -> tuple[Node, ...]:
    pulled: list[Node] = []
    at: Extent = 0
    for x in args:
        starts = tuple(at if i == axis else 0 for i in range(x.type.rank))
        pulled.append(
            g.graph.call("slice", g, starts=starts, shape=x.shape, steps=(1,) * x.type.rank)
        )
        at = at + x.shape[axis]
    return tuple(pulled)


def _other_axes(_y: Node, *args: Node, axis: int) -> list[Mapping[int, int]]:
    return [{i: i for i in range(x.type.rank) if i != axis} for x in args]


def _concatenate_push(tangents: tuple[Node | None, ...], y: Node, *args: Node, axis: int) -> Node:
    full = [
        y.graph.full_like(x, 0.0) if t is None else t for t, x in zip(tangents, args, strict=True)
    ]
    return y.graph.call("concatenate", *full, axis=axis)


def _concatenate_batch(
    args: Sequence[Node], flags: Sequence[bool], size: Extent, *, axis: int
) -> Node:
    full = [
        x if f else x.graph.broadcast(x, (size, *x.shape), tuple(range(1, x.type.rank + 1)))
        for x, f in zip(args, flags, strict=True)
    ]
    return full[0].graph.call("concatenate", *full, axis=axis + 1)


concatenate: Final[Op] = declare(
    Op(
        "concatenate", Kind.WRITE, ("axis",), _concatenate_type,
        lambda *args, axis: np.concatenate(args, axis=axis), Special(), pull=_concatenate_pull,
        push=_concatenate_push, batch=_concatenate_batch, linear=True, flops=0,
        apart=_other_axes,
        notation=Notation("concatenate({*})", r"\left[{*}\right]"),
    )
)  # fmt: skip
