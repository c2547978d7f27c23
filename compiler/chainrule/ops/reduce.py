"""Reductions: axes combined away, in one declaration each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from chainrule.errors import ShapeError, explain
from chainrule.ir.bounds import never_negative
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Node
from chainrule.ir.op import Arithmetic, Kind, Notation, Op, Special
from chainrule.ir.types import I64, Array, Type
from chainrule.ops import _oracle as oracle
from chainrule.ops._declare import declare, same_type
from chainrule.ops.cumulate import recurrence, shifted
from chainrule.ops.pointwise import abs_, exp, log, pow_, select, sign

__all__ = ["argmax", "argmin", "log_softmax", "logsumexp", "max_", "min_", "norm", "p_norm",
           "prod", "softmax", "spread", "sum_"]  # fmt: skip

Axes = tuple[int, ...]


def spread(x: Node, like: Node, axes: Axes) -> Node:
    """Copy a reduced value back along the axes it was reduced over."""
    kept = tuple(i for i in range(like.type.rank) if i not in axes)
    return x.graph.broadcast(x, like.shape, kept)


def _reduced(name: str, takes: Any) -> Callable[..., Type]:
    known = same_type(name, takes)

    def infer(x: Type, *, axes: Axes) -> Type:
        known(x)
        return Type(x.dtype, tuple(n for i, n in enumerate(x.shape) if i not in axes))

    return infer


def _shifted(name: str) -> Callable[..., Node]:
    def batch(args: Sequence[Node], _flags: Sequence[bool], _size: Extent, *, axes: Axes) -> Node:
        return args[0].graph.call(name, args[0], axes=tuple(a + 1 for a in axes))

    return batch


def _left(y: Node, x: Node, *, axes: Axes) -> tuple[Mapping[int, int]]:
    kept = [i for i in range(x.type.rank) if i not in axes]
    return (dict(zip(kept if y.shape == x.shape else range(len(kept)), kept, strict=True)),)


def _reduction(
    name: str, value: Callable[..., Any], pull: Callable[..., Any], push: Callable[..., Any], *,
    kind: Kind = Kind.REDUCE, takes: Any = "number", keeps_shape: bool = False, **facts: Any,
) -> Op:  # fmt: skip
    known = same_type(name, takes)
    infer = known if keeps_shape else _reduced(name, takes)
    return declare(
        Op(name, kind, ("axes",), infer, value, Special(), pull=pull, push=push,
           batch=_shifted(name), apart=_left, **facts)
    )  # fmt: skip


def _same_dtype(function: Callable[..., Any]) -> Callable[..., Array]:
    """NumPy widens small integers when it sums them; these ops keep their dtype."""

    def value(x: Array, *, axes: Axes) -> Array:
        return np.asarray(function(x, axis=axes, dtype=x.dtype))

    return value


sum_: Final[Op] = _reduction(
    "sum", _same_dtype(np.sum),
    lambda g, y, x, *, axes: (spread(g, x, axes),),
    lambda tangents, y, x, *, axes: sum_(tangents[0], axes=axes),
    linear=True, notation=Notation("sum({0})", r"\sum {0}", 2),
)  # fmt: skip

# Products: the adjoint of one factor is the product of the others, right also where factors are 0


def _others(x: Node, axes: Axes) -> Node:
    """Return, for every element, the product of the others along `axes`."""
    graph = x.graph
    kept = tuple(i for i in range(x.type.rank) if i not in axes)
    order = (*kept, *axes)
    lined = graph.call("transpose", x, axes=order) if order != tuple(range(x.type.rank)) else x
    length: Extent = 1
    for a in axes:
        length = length * x.shape[a]
    flat = graph.call("reshape", lined, shape=(*(x.shape[k] for k in kept), length))
    before = exclusive_product(flat, reverse=False)
    after = exclusive_product(flat, reverse=True)
    back = graph.call("reshape", before * after, shape=lined.shape)
    inverse = tuple(int(i) for i in np.argsort(order))
    return graph.call("transpose", back, axes=inverse) if lined is not x else back


def exclusive_product(x: Node, *, reverse: bool) -> Node:
    """Return the product of the elements before (after) each one along the last axis."""
    # r_0 = 1, r_j = x_{j-1} r_{j-1}: shift by one, and let the recurrence start from 1.
    last = x.type.rank - 1
    begin = x.graph.select(_at_start(x, last, reverse=reverse), x.graph.full_like(x, 1), 0)
    factors = shifted(x, last, forward=not reverse)
    return recurrence(factors, begin, axis=last, reverse=reverse)


def _at_start(x: Node, axis: int, *, reverse: bool) -> Node:
    """Tell where a running combination along `axis` starts: at its first element or its last."""
    graph, n = x.graph, x.shape[axis]
    places = graph.call("iota", length=n, dtype=I64)
    start: Node = graph.full((n,), 0, I64)
    if reverse:
        start = graph.broadcast(graph.call("extent", extent=n - 1), (n,), ())
    return graph.broadcast(places.equals(start), x.shape, (axis,))


def cumulative_product(x: Node, *, axis: int, reverse: bool) -> Node:
    """Return the running product, as the recurrence r_j = x_j r_{j-1} that starts at x_0."""
    begin = x.graph.select(_at_start(x, axis, reverse=reverse), x, 0)
    return recurrence(x, begin, axis=axis, reverse=reverse)


def _prod_pull(g: Node, _y: Node, x: Node, *, axes: Axes) -> tuple[Node]:
    return (spread(g, x, axes) * _others(x, axes),)


prod: Final[Op] = _reduction(
    "prod", _same_dtype(np.prod), _prod_pull,
    lambda tangents, y, x, *, axes: sum_(tangents[0] * _others(x, axes), axes=axes),
    notation=Notation("prod({0})", r"\prod {0}", 2),
)  # fmt: skip

# Extremes: ties share the cotangent evenly


def _winners(y: Node, x: Node, axes: Axes) -> tuple[Node, Node]:
    """Return which elements equal the extreme, and how many do: each has an equal share."""
    wins = x.equals(spread(y, x, axes))
    return wins, sum_(x.graph.call("cast", wins, dtype=x.dtype), axes=axes)


def _pull_extreme(g: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node]:
    wins, count = _winners(y, x, axes)
    return (x.graph.select(wins, spread(g / count, x, axes), 0.0),)


def _push_extreme(tangents: Sequence[Node], y: Node, x: Node, *, axes: Axes) -> Node:
    wins, count = _winners(y, x, axes)
    return sum_(x.graph.select(wins, tangents[0], 0.0), axes=axes) / count


def _extreme(name: str, value: Callable[..., Any], latex: str) -> Op:
    return _reduction(
        name, lambda x, *, axes: np.asarray(value(x, axis=axes)),
        _pull_extreme, _push_extreme, takes="any",
        notation=Notation(f"{name}({{0}})", rf"{latex} {{0}}"),
    )  # fmt: skip


max_: Final[Op] = _extreme("max", np.max, r"\max")
min_: Final[Op] = _extreme("min", np.min, r"\min")


def _first(x: Node, extreme: Op, axis: int) -> Node:
    """Return the first place of the extreme, or of a NaN."""
    graph = x.graph
    hit = x.equals(spread(extreme(x, axes=(axis,)), x, (axis,)))
    if x.dtype.is_float:
        hit = hit | graph.call("not_equal", x, x)
    counter = graph.call("iota", length=x.shape[axis], dtype=I64)
    places = graph.broadcast(counter, x.shape, (axis,))
    return min_(graph.select(hit, places, FAR), axes=(axis,))


FAR: Final = 1 << 62
"A place beyond every array."


def _arg(name: str, value: Callable[..., Any], extreme: Op) -> Op:
    def infer(x: Type, *, axis: int) -> Type:
        if x.shape[axis] == 0:
            raise ShapeError(explain(f"{name} of an empty axis", f"operand  {x}", f"axis  {axis}"))
        return Type(I64, (*x.shape[:axis], *x.shape[axis + 1 :]))

    return declare(
        Op(
            name, Kind.REDUCE, ("axis",), infer,
            lambda x, *, axis: np.asarray(value(x, axis=axis)), Arithmetic("expand"),
            expand=lambda x, *, axis: _first(x, extreme, axis),
            batch=lambda args, flags, size, *, axis: args[0].graph.call(
                name, args[0], axis=axis + 1
            ),
            notation=Notation(f"{name}({{0}})", rf"\operatorname{{{{{name}}}}} {{0}}"),
        )
    )  # fmt: skip


argmax: Final[Op] = _arg("argmax", np.argmax, max_)
argmin: Final[Op] = _arg("argmin", np.argmin, min_)

# Composites: one node for the chain rule, expanded into the ops above before scheduling


def _exponentials(x: Node, axes: Axes) -> tuple[Node, Node, Node, Node]:
    """Return x - top, its exponential, their sum, and the top (0 where it is infinite).

    The three composites below are made of these same nodes, hence share them.
    """
    top = max_(x, axes=axes)
    top = select(abs_(top) < math.inf, top, top.graph.full_like(top, 0.0))
    shifted = x - spread(top, x, axes)
    e = exp(shifted)
    return shifted, e, sum_(e, axes=axes), top


def _expand_logsumexp(x: Node, *, axes: Axes) -> Node:
    _, _, total, top = _exponentials(x, axes)
    return log(total) + top


def _share(y: Node, x: Node, axes: Axes) -> Node:
    """Return the derivative of logsumexp: softmax, and 0 where everything is -inf.

    Not exp(x - y): near 1e4 the difference has lost half of the digits of single precision.
    """
    empty = spread(y.equals(-math.inf), x, axes)
    return x.graph.select(empty, 0.0, softmax(x, axes=axes))


logsumexp: Final[Op] = _reduction(
    "logsumexp", oracle.logsumexp,
    lambda g, y, x, *, axes: (spread(g, x, axes) * _share(y, x, axes),),
    lambda tangents, y, x, *, axes: sum_(tangents[0] * _share(y, x, axes), axes=axes),
    kind=Kind.COMPOSITE, takes="float", expand=_expand_logsumexp, flops=20,
    notation=Notation("logsumexp({0})", r"\operatorname{{logsumexp}}({0})"),
)  # fmt: skip


def _total_of_some(total: Node, x: Node, axes: Axes) -> Node:
    """Return 1 for the total of nothing: the quotient may be taken out of a sum, which is 0."""
    graph, lengths = x.graph, [x.shape[a] for a in axes]
    if 0 in lengths:
        return graph.full_like(total, 1)
    one = graph.full_like(total, 1)
    for length in lengths:
        if not never_negative(length - 1):
            empty = graph.call("extent", extent=length).equals(0)
            total = select(graph.broadcast(empty, total.shape, ()), one, total)
    return total


def _expand_softmax(x: Node, *, axes: Axes) -> Node:
    _, e, total, _ = _exponentials(x, axes)
    total = _total_of_some(total, x, axes)
    # An infinite entry leaves no defined weight anywhere.
    share = select(total < math.inf, 1 / total, total.graph.full_like(total, math.nan))
    return e * spread(share, x, axes)


def _dead(y: Node, product: Node) -> Node:
    # A weight that is exactly 0 belongs to a masked entry: infinite cotangents stop there.
    return y.graph.select(y.equals(0), 0.0, product)


def _softmax_pull(g: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node]:
    along = _dead(y, g * y)
    return (_dead(y, y * (g - spread(sum_(along, axes=axes), x, axes))),)


softmax: Final[Op] = _reduction(
    "softmax", oracle.softmax, _softmax_pull,
    lambda tangents, y, x, *, axes: _softmax_pull(tangents[0], y, x, axes=axes)[0],
    kind=Kind.COMPOSITE, takes="float", keeps_shape=True, expand=_expand_softmax, flops=20,
    notation=Notation("softmax({0})", r"\operatorname{{softmax}}({0})"),
)  # fmt: skip


def _expand_log_softmax(x: Node, *, axes: Axes) -> Node:
    shifted, _, total, _ = _exponentials(x, axes)
    return shifted - spread(log(total), x, axes)


def _log_softmax_push(tangents: tuple[Node], y: Node, x: Node, *, axes: Axes) -> Node:
    t, share = tangents[0], softmax(x, axes=axes)
    return t - spread(sum_(_dead(share, t * share), axes=axes), x, axes)


log_softmax: Final[Op] = _reduction(
    "log_softmax", oracle.log_softmax,
    lambda g, y, x, *, axes: (g - softmax(x, axes=axes) * spread(sum_(g, axes=axes), x, axes),),
    _log_softmax_push, kind=Kind.COMPOSITE, takes="float", keeps_shape=True,
    expand=_expand_log_softmax, flops=20,
    notation=Notation("log_softmax({0})", r"\operatorname{{log\,softmax}}({0})"),
)  # fmt: skip


def _norm_scale(x: Node, top: Node) -> Node:
    """Return what to scale by: 0, NaN, and the extreme of nothing are no scale."""
    return x.graph.select((top > 0) & (top < math.inf), top, 1.0)


def _expand_norm(x: Node, *, axes: Axes) -> Node:
    # Scaling by the largest element keeps the squares in range.
    graph = x.graph
    scale = _norm_scale(x, max_(abs_(x), axes=axes))
    ratio = x / spread(scale, x, axes)
    return graph.call("sqrt", sum_(ratio * ratio, axes=axes)) * scale


def _direction(y: Node, x: Node, axes: Axes) -> Node:
    wide = spread(y, x, axes)
    return x.graph.select(wide.equals(0), 0.0, x / wide)


norm: Final[Op] = _reduction(
    "norm", oracle.norm,
    lambda g, y, x, *, axes: (spread(g, x, axes) * _direction(y, x, axes),),
    lambda tangents, y, x, *, axes: sum_(tangents[0] * _direction(y, x, axes), axes=axes),
    kind=Kind.COMPOSITE, takes="float", expand=_expand_norm, flops=6,
    notation=Notation("norm({0})", r"\left\lVert {0} \right\rVert"),
)  # fmt: skip


# Norms of any other order that is finite and not 0


def _expand_p_norm(x: Node, *, axes: Axes, order: float) -> Node:
    # Scaling by the element that counts most keeps the powers in range.
    size = abs_(x)
    scale = _norm_scale(x, (max_ if order > 0 else min_)(size, axes=axes))
    total = sum_(pow_(size / spread(scale, x, axes), order), axes=axes)
    return pow_(total, 1 / order) * scale


def _p_norm_slope(y: Node, x: Node, axes: Axes, order: float) -> Node:
    # Where an element is 0 there is a kink, or a slope of 0; the subgradient of least norm is 0.
    size = pow_(abs_(x) / spread(y, x, axes), order - 1)
    return x.graph.select(x.equals(0), 0.0, sign(x) * size)


p_norm: Final[Op] = declare(
    Op(
        "p_norm", Kind.COMPOSITE, ("axes", "order"),
        lambda x, *, axes, order: _reduced("p_norm", "float")(x, axes=axes), oracle.p_norm,
        Special(), expand=_expand_p_norm, flops=60,
        pull=lambda g, y, x, *, axes, order: (
            spread(g, x, axes) * _p_norm_slope(y, x, axes, order),
        ),
        push=lambda tangents, y, x, *, axes, order: sum_(
            tangents[0] * _p_norm_slope(y, x, axes, order), axes=axes
        ),
        batch=lambda args, flags, size, *, axes, order: p_norm(
            args[0], axes=tuple(a + 1 for a in axes), order=order
        ),
        apart=lambda y, x, *, axes, order: _left(y, x, axes=axes),
        notation=Notation("norm({0})", r"\left\lVert {0} \right\rVert"),
    )
)  # fmt: skip
