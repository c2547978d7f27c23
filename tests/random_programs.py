"""Seeded random programs over all ops, with valid shapes and tame values.

`random_program(seed)` returns a program and arrays to run it on.  Nodes are evaluated while they
are made, so that one whose value is not finite, or large, is not used any further: what the tests
compare are then ordinary numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from chainrule.ir.dims import Extent, evaluate_extent, named
from chainrule.ir.evaluate import _number
from chainrule.ir.graph import Graph, Node
from chainrule.ir.halves import widened
from chainrule.ir.program import Program, guarded
from chainrule.ir.types import F64, I64, Array, DType, Type
from chainrule.ir.walk import reached
from chainrule.ops import OPS
from chainrule.ops.cumulate import recurrence
from chainrule.ops.reduce import cumulative_product

__all__ = ["Case", "random_program"]

LARGE: Final = 30.0
NUMBERS: Final = {"n": 3, "m": 4}
"What the named dims are when the program runs; a static extent may be the same number."

SMOOTH_UNARY: Final = (
    "neg", "exp", "expm1", "sigmoid", "softplus", "sin", "cos", "atan", "sinh", "cosh", "tanh",
    "asinh", "erf", "erfc",
)  # fmt: skip
NARROW_UNARY: Final = ("sqrt", "rsqrt", "log", "log1p", "tan", "asin", "acos", "acosh", "atanh",
                       "log1mexp")  # fmt: skip
KINKED_UNARY: Final = ("relu", "abs", "sign", "floor", "ceil", "trunc", "rint", "stop_gradient")
SMOOTH_BINARY: Final = ("add", "sub", "mul", "logaddexp")
NARROW_BINARY: Final = ("div", "pow", "hypot", "atan2", "xlogy")
KINKED_BINARY: Final = ("maximum", "minimum", "remainder", "fmod", "floor_divide")
COMPARISONS: Final = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


class Case(NamedTuple):
    """A program, and arrays to run it on."""

    program: Program
    arrays: list[Array]


class Maker:
    """Grows a pool of nodes; every `make_*` returns a new node or None if it has no operands."""

    def __init__(self, seed: int, dtype: DType, *, dims: bool, smooth: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph(OPS)
        self.dtype = dtype
        self.smooth = smooth
        self.values: dict[Node, Array] = {}
        self.pool: list[Node] = []
        self.inputs: list[Node] = []
        self.extents: list[Extent] = [1, 2, 3, 4]
        if dims:
            self.extents += [named("n"), named("m"), named("n"), named("m")]

    def pick(self, items: Any) -> Any:
        return items[int(self.random.integers(len(items)))]

    def evaluated(self, node: Node) -> Array:
        """Return the value of a node, and of what it is made of."""
        if node not in self.values:
            stack = [node]
            while stack:
                top = stack[-1]
                missing = [a for a in top.args if a not in self.values]
                if missing:
                    stack.extend(missing)
                    continue
                given = {k: _number(v, NUMBERS) for k, v in top.attributes.items()}
                with np.errstate(all="ignore"):
                    values = widened(top, [self.values[a] for a in top.args])
                    result = top.op.value(*values, **given)
                self.values[top] = np.asarray(result, dtype=top.dtype.numpy)
                stack.pop()
        return self.values[node]

    def number(self, extent: Extent) -> int:
        return evaluate_extent(extent, NUMBERS)

    def new_input(self, shape: tuple[Extent, ...]) -> Node:
        node = self.graph.input(f"x{len(self.inputs)}", Type(self.dtype, shape))
        size = tuple(map(self.number, shape))
        self.values[node] = self.random.uniform(-1.5, 1.5, size).astype(self.dtype.numpy)
        self.inputs.append(node)
        self.pool.append(node)
        return node

    def any(self) -> Node:
        # Later nodes are likelier: programs grow deep rather than wide.
        at = int(len(self.pool) * self.random.uniform() ** 0.5)
        node: Node = self.pool[min(at, len(self.pool) - 1)]
        return node

    def like(self, x: Node) -> Node:
        """Return another node of the same shape: one there is, or one broadcast to it."""
        same = [n for n in self.pool if n.shape == x.shape]
        choice = self.random.uniform()
        if choice < 0.2:
            return self.graph.full_like(x, float(self.pick([0.5, 2.0, -1.0, 1.0, 3.0, 0.0])))
        if choice < 0.5:
            for n in reversed(self.pool):
                axes = self._axes_into(n, x)
                if axes is not None and n.shape != x.shape:
                    return self.graph.broadcast(n, x.shape, axes)
        return self.pick(same)  # type: ignore[no-any-return]

    def _axes_into(self, n: Node, x: Node) -> tuple[int, ...] | None:
        axes, at = [], 0
        for e in n.shape:
            while at < x.type.rank and x.shape[at] != e:
                at += 1
            if at == x.type.rank:
                return None
            axes.append(at)
            at += 1
        return tuple(axes)

    def into(self, x: Node, low: float, high: float) -> Node:
        """Squeeze a node into an interval, smoothly."""
        middle, half = (low + high) / 2, (high - low) / 2
        return self.graph.call("tanh", x) * half + middle

    def make_unary(self) -> Node | None:
        x = self.any()
        names = SMOOTH_UNARY + NARROW_UNARY + (() if self.smooth else KINKED_UNARY)
        name = self.pick(names)
        if name in NARROW_UNARY:
            x = self.into(x, *OPS[name].domain)
        return self.graph.call(name, x)

    def make_sinc(self) -> Node | None:
        return self.graph.call("sinc", self.any(), order=int(self.random.integers(2)))

    def make_binary(self) -> Node | None:
        x = self.any()
        y = self.like(x)
        names = SMOOTH_BINARY * 3 + NARROW_BINARY + (() if self.smooth else KINKED_BINARY)
        name = self.pick(names)
        if name in NARROW_BINARY:
            x, y = (self.into(a, 0.2, 2.0) for a in (x, y))
        return self.graph.call(name, *((x, y) if self.random.uniform() < 0.5 else (y, x)))

    def make_select(self) -> Node | None:
        x = self.any()
        condition = self.graph.call(self.pick(COMPARISONS), self.like(x), self.like(x))
        if self.random.uniform() < 0.3:
            condition = ~condition & condition.graph.call("less", self.like(x), self.like(x))
        return self.graph.select(condition, self.like(x), self.pick([x, 0.0]))

    def make_clip(self) -> Node | None:
        return OPS["clip"](self.any(), -0.5, 0.5) if not self.smooth else None

    def make_mask(self) -> Node | None:
        x = self.any()
        mask = self.graph.call(self.pick(COMPARISONS), self.like(x), self.like(x))
        return self.graph.call("cast", mask, dtype=self.dtype) * x

    def make_reduction(self) -> Node | None:
        x = self.any()
        if not x.type.rank:
            return None
        names = ["sum", "sum", "prod", "logsumexp", "softmax", "log_softmax", "norm"]
        name = self.pick(names + ([] if self.smooth else ["max", "min"]))
        count = int(self.random.integers(1, x.type.rank + 1))
        axes = tuple(sorted(int(a) for a in self.random.permutation(x.type.rank)[:count]))
        return self.graph.call(name, x, axes=axes)

    def make_arg(self) -> Node | None:
        x = self.any()
        if not x.type.rank or self.smooth:
            return None
        where = self.graph.call(self.pick(["argmax", "argmin"]), x, axis=0)
        return self.graph.call("cast", where, dtype=self.dtype)

    def make_cumulation(self) -> Node | None:
        x = self.any()
        if not x.type.rank:
            return None
        axis, reverse = int(self.random.integers(x.type.rank)), bool(self.random.integers(2))
        match self.random.integers(3):
            case 0:
                return self.graph.call("cumsum", x, axis=axis, reverse=reverse)
            case 1:
                return cumulative_product(x, axis=axis, reverse=reverse)
        return recurrence(x, self.like(x), axis=axis, reverse=reverse)

    def make_view(self) -> Node | None:
        x = self.any()
        rank = x.type.rank
        match self.random.integers(4):
            case 0:
                return self.make_turn()
            case 1 if rank >= 2:
                at = int(self.random.integers(rank - 1))
                merged = x.shape[at] * x.shape[at + 1]
                return self.graph.call(
                    "reshape", x, shape=(*x.shape[:at], merged, *x.shape[at + 2 :])
                )
            case 2 if rank < 3:
                at = int(self.random.integers(rank + 1))
                extent = self.pick(self.extents)
                shape = (*x.shape[:at], extent, *x.shape[at:])
                axes = tuple(i + (i >= at) for i in range(rank))
                return self.graph.broadcast(x, shape, axes)
            case 3 if rank < 4:
                at = int(self.random.integers(rank + 1))
                return self.graph.call("reshape", x, shape=(*x.shape[:at], 1, *x.shape[at:]))
        return None

    def make_turn(self) -> Node:
        """Permute the axes."""
        x = self.any()
        axes = tuple(int(a) for a in self.random.permutation(x.type.rank))
        return self.graph.call("transpose", x, axes=axes)

    def _window(self, x: Node) -> tuple[tuple[int, ...], tuple[Extent, ...], tuple[int, ...]]:
        starts, shape, steps = [], [], []
        for e in x.shape:
            if not isinstance(e, int) or self.random.uniform() < 0.3:
                starts.append(0)
                shape.append(e)
                steps.append(1)
                continue
            n = int(self.random.integers(1, e + 1))
            step = int(self.random.integers(1, (e - 1) // max(n - 1, 1) + 1)) if n > 1 else 1
            first = int(self.random.integers(0, e - (n - 1) * step))
            if self.random.uniform() < 0.3 and n > 1:
                first, step = first + (n - 1) * step, -step
            starts.append(first)
            shape.append(n)
            steps.append(step)
        return tuple(starts), tuple(shape), tuple(steps)

    def make_slice(self) -> Node | None:
        x = self.any()
        starts, shape, steps = self._window(x)
        return self.graph.call("slice", x, starts=starts, shape=shape, steps=steps)

    def make_place(self) -> Node | None:
        x = self.any()
        starts, shape, steps = self._window(x)
        inner = self.graph.call("slice", x, starts=(0,) * len(shape), shape=shape,
                                steps=(1,) * len(shape))  # fmt: skip
        return self.graph.call("place", inner, starts=starts, shape=x.shape, steps=steps)

    def make_concatenate(self) -> Node | None:
        x = self.any()
        if not x.type.rank:
            return None
        axis = int(self.random.integers(x.type.rank))

        def off_axis(n: Node) -> tuple[Extent, ...]:
            return (*n.shape[:axis], *n.shape[axis + 1 :])

        others = [
            n for n in self.pool
            if n.type.rank == x.type.rank and off_axis(n) == off_axis(x)
        ]  # fmt: skip
        return self.graph.call("concatenate", x, self.pick(others), axis=axis)

    def make_contract(self) -> Node | None:
        a, b = self.any(), self.any()
        pairs = [
            (i, j) for i in range(a.type.rank) for j in range(b.type.rank)
            if a.shape[i] == b.shape[j]
        ]  # fmt: skip
        self.random.shuffle(pairs)
        chosen: list[tuple[int, int]] = []
        for i, j in pairs:
            if all(i != p and j != q for p, q in chosen) and self.random.uniform() < 0.8:
                chosen.append((i, j))
        split = int(self.random.integers(len(chosen) + 1)) if self.random.uniform() < 0.4 else 0
        batch, summed = chosen[:split], chosen[split:]
        free = a.type.rank + b.type.rank - 2 * len(summed) - len(batch)
        if free > 4 or not summed:
            return None
        return self.graph.call(
            "contract", a, b,
            batch=(tuple(i for i, _ in batch), tuple(j for _, j in batch)),
            summed=(tuple(i for i, _ in summed), tuple(j for _, j in summed)),
        )  # fmt: skip

    def make_gather(self) -> Node | None:
        x = self.any()
        if not x.type.rank or not isinstance(x.shape[0], int):
            return None
        places = self.random.integers(-x.shape[0], x.shape[0], self.pick([(2,), (3,), (2, 2)]))
        index = self.graph.array(places, I64)
        return self.graph.call("gather", x, index, batch=0)

    def make_scatter(self) -> Node | None:
        x = self.any()
        if not x.type.rank or not isinstance(x.shape[0], int):
            return None
        index = self.graph.array(self.random.integers(-3, 3, (x.shape[0],)), I64)
        return self.graph.call("scatter_add", x, index, size=3, batch=0)

    def make_outer(self) -> Node | None:
        """A product that is multiplied out only to be summed."""
        a, b = self.any(), self.any()
        if not 0 < a.type.rank <= 2 or not 0 < b.type.rank <= 2 or a.shape[-1] != b.shape[0]:
            return None
        shape = (*a.shape, *b.shape[1:])
        wide = self.graph.broadcast(a, shape, tuple(range(a.type.rank)))
        tall = self.graph.broadcast(b, shape, tuple(range(a.type.rank - 1, len(shape))))
        return self.graph.call("sum", wide * tall, axes=(a.type.rank - 1,))

    def make_stable(self) -> Node | None:
        """Something the stable forms recognise."""
        x, call = self.any(), self.graph.call
        match self.random.integers(6):
            case 0:
                return call("log", 1.0 + call("exp", x))
            case 1:
                return 1.0 / (1.0 + call("exp", -x))
            case 2 if x.type.rank:
                return call("log", call("sum", call("exp", x), axes=(x.type.rank - 1,)))
            case 3:
                return call("sqrt", x * x + self.like(x) ** 2.0 + 0.5)
            case 4:
                return call("exp", x) - 1.0
            case 5:
                return self.into(x, 0.5, 2.0) ** float(self.pick([2.0, 3.0, -1.0, 0.5, 1.5]))
        return None

    def grow(self, count: int) -> None:
        """Add `count` nodes whose values are finite and not large."""
        kinds: list[Callable[[], Node | None]] = [
            self.make_unary, self.make_unary, self.make_binary, self.make_binary, self.make_binary,
            self.make_reduction, self.make_reduction, self.make_view, self.make_view,
            self.make_slice, self.make_place, self.make_concatenate, self.make_contract,
            self.make_contract, self.make_gather, self.make_scatter, self.make_cumulation,
            self.make_sinc, self.make_stable, self.make_stable, self.make_outer,
        ]  # fmt: skip
        if not self.smooth:
            kinds += [self.make_select, self.make_clip, self.make_mask, self.make_arg]
        while count:
            node = self.pick(kinds)()
            if node is None or node in self.pool or not node.dtype.is_float:
                continue
            value = self.evaluated(node)
            if value.size <= 400 and np.all(np.isfinite(value)) and np.all(abs(value) < LARGE):
                self.pool.append(node)
                count -= 1


def random_program(
    seed: int, *, nodes: int = 12, dtype: DType = F64, dims: bool = False, smooth: bool = False,
) -> Case:  # fmt: skip
    """Return a program of about `nodes` ops and arrays to run it on; its results use all of them.

    With `dims` some extents are the named dims n and m.  With `smooth` every op is differentiable
    where it is used, so that differences are meaningful.
    """
    maker = Maker(seed, dtype, dims=dims, smooth=smooth)
    for _ in range(int(maker.random.integers(2, 4))):
        rank = int(maker.random.integers(0, 4))
        maker.new_input(tuple(maker.pick(maker.extents) for _ in range(rank)))
    if dims:
        maker.new_input((named("n"), named("m")))
    maker.grow(nodes)
    used = {a for n in reached(maker.pool) for a in n.args}
    results = [n for n in maker.pool if n not in used and n not in maker.inputs]
    names = tuple(f"x{i}" for i in range(len(maker.inputs)))
    program = Program(
        f"random_{seed}", tuple(maker.inputs), tuple(results), names,
        tuple(f"y{i}" for i in range(len(results))),
    )  # fmt: skip
    return Case(guarded(program), [maker.values[n] for n in maker.inputs])
