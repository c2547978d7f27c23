"""Expression nodes and the graph that owns them.

Nodes are interned: asking twice for the same op, arguments and attributes returns one node, so
common subexpressions are eliminated by construction.  A node is immutable and compares by
identity; what users hold is a handle (`frontend.Array`).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from chainrule.ir.dims import Extent
from chainrule.ir.op import Op, OpTable
from chainrule.ir.sizes import Guard, require_numbers
from chainrule.ir.types import BOOL, F64, Array, DType, Type

__all__ = ["Check", "Graph", "Guard", "Node", "Number", "Origin", "constant_value"]

Number: TypeAlias = int | float | bool

# Inputs are told apart across graphs too: a node may be imported into another one.
_SERIALS: Final = count()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: a line of the user's, a leaf, or a rule applied to another node."""

    line: str = ""
    path: str = ""
    rule: str = ""
    forward: int | None = None

    def __str__(self) -> str:
        if self.path:
            return self.path
        if self.rule:
            return f"{self.rule} of %{self.forward}" + (f", {self.line}" if self.line else "")
        return self.line


class Node:
    """One value: an op applied to argument nodes, with static attributes.

    The operators build further nodes; numbers become constants of the other operand's type.
    """

    __slots__ = ("args", "attrs", "graph", "id", "op", "type")

    def __init__(
        self, graph: Graph, op: Op, args: tuple[Node, ...], attrs: tuple[Any, ...], type_: Type
    ) -> None:
        self.graph: Final = graph
        self.op: Final = op
        self.args: Final = args
        self.attrs: Final = attrs
        self.type: Final = type_
        self.id: Final = graph.next_id()

    @property
    def shape(self) -> tuple[Extent, ...]:
        """Extents of the value."""
        return self.type.shape

    @property
    def dtype(self) -> DType:
        """Element type of the value."""
        return self.type.dtype

    @property
    def attributes(self) -> dict[str, Any]:
        """The static attributes by name, but for those that are as the op's defaults."""
        if self.op.defaults:
            return self.op.shown(self.attrs)
        return dict(zip(self.op.params, self.attrs, strict=True))

    def __repr__(self) -> str:
        return f"%{self.id} {self.op.name} {self.type}"

    def _call(self, name: str, *args: Node | Number) -> Node:
        graph = self.graph
        return graph.call(
            name, *(a if isinstance(a, Node) else graph.full_like(self, a) for a in args)
        )

    def __add__(self, other: Node | Number) -> Node:
        return self._call("add", self, other)  # noqa: E704

    def __radd__(self, other: Number) -> Node:
        return self._call("add", other, self)  # noqa: E704

    def __sub__(self, other: Node | Number) -> Node:
        return self._call("sub", self, other)  # noqa: E704

    def __rsub__(self, other: Number) -> Node:
        return self._call("sub", other, self)  # noqa: E704

    def __mul__(self, other: Node | Number) -> Node:
        return self._call("mul", self, other)  # noqa: E704

    def __rmul__(self, other: Number) -> Node:
        return self._call("mul", other, self)  # noqa: E704

    def __truediv__(self, other: Node | Number) -> Node:
        return self._call("div", self, other)  # noqa: E704

    def __rtruediv__(self, other: Number) -> Node:
        return self._call("div", other, self)  # noqa: E704

    def __pow__(self, other: Node | Number) -> Node:
        return self._call("pow", self, other)  # noqa: E704

    def __neg__(self) -> Node:
        return self._call("neg", self)  # noqa: E704

    def __lt__(self, other: Node | Number) -> Node:
        return self._call("less", self, other)  # noqa: E704

    def __le__(self, other: Node | Number) -> Node:
        return self._call("less_equal", self, other)  # noqa: E704

    def __gt__(self, other: Node | Number) -> Node:
        return self._call("greater", self, other)  # noqa: E704

    def __ge__(self, other: Node | Number) -> Node:
        return self._call("greater_equal", self, other)  # noqa: E704

    def __and__(self, other: Node | Number) -> Node:
        return self._call("bit_and", self, other)  # noqa: E704

    def __or__(self, other: Node | Number) -> Node:
        return self._call("bit_or", self, other)  # noqa: E704

    def __invert__(self) -> Node:
        return self._call("bit_not", self)  # noqa: E704

    def equals(self, other: Node | Number) -> Node:
        """Compare elementwise (`==` on nodes is identity)."""
        return self._call("equal", self, other)


class Check(NamedTuple):
    """A condition that must not hold when the program runs, and what to say if it does."""

    failed: Node
    message: str


class Graph:
    """Owns nodes, their origins, and the checks and guards made on the way."""

    def __init__(self, ops: OpTable, handle: type | None = None) -> None:
        self.ops: Final = ops
        self.handle: Final = handle
        "the class users hold this graph's nodes in, where it is not the usual one"
        self.origins: Final[dict[Node, dict[Origin, None]]] = {}
        self.checks: Final[dict[Check, None]] = {}
        self.guards: Final[dict[Guard, dict[Origin | None, None]]] = {}
        "what is relied on of named dims, and for the expressions of which lines"
        self.numbers: Final[dict[str, int]] = {}
        "what named dims are in the call that is traced for, where there is one"
        self.imported: Final[dict[Node, Node]] = {}
        "nodes of other graphs, and what they became here"
        self.needed: Final[dict[tuple[Node, int], Sequence[int]]] = {}
        "which arguments of a loop or branch one of its items depends on, once it has been asked"
        self.data: Final[dict[tuple[Any, ...], Array]] = {}
        self.bodies: Final[list[tuple[int, int]]] = []
        "ranges of numbers of the nodes made while bodies were traced; none within another"
        self._pool: Final[dict[tuple[Any, ...], Node]] = {}
        self._origin: Origin | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def rely(self, guard: Guard) -> None:
        """Rely on a guard, for the expression that is being made."""
        self.guards.setdefault(guard, {})[self._origin] = None

    def next_id(self) -> int:
        """Return a fresh number; numbers grow from arguments to results."""
        self._count += 1
        return self._count - 1

    def call(self, name: str, /, *args: Node, **attributes: Any) -> Node:
        """Apply the op `name`; its attributes are given by name."""
        op = self.ops[name]
        if op.defaults:
            attributes = {**op.defaults, **attributes}
        return self.apply(op, args, tuple(attributes[p] for p in op.params))

    def apply(self, op: Op, args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Node:
        """Return the node for `op` on these arguments and attributes, new or known."""
        if op.commutative and args[0].id > args[1].id:
            args = (args[1], args[0])
        key = (op, args, attrs)
        node = self._pool.get(key)
        if node is None:
            given = dict(zip(op.params, attrs, strict=True)) if attrs else {}
            type_ = op.infer(*[a.type for a in args], **given)
            if type_.shape or op.needs is not None:
                needed = () if op.needs is None else op.needs(*[a.type for a in args], **given)
                require_numbers(type_, needed, "" if self._origin is None else self._origin.line)
            node = Node(self, op, args, attrs, type_)
            self._pool[key] = node
        if self._origin is not None:
            self.origins.setdefault(node, {})[self._origin] = None
        return node

    @contextmanager
    def origin(self, origin: Origin) -> Iterator[None]:
        """Attribute the nodes made inside to `origin`."""
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            self._origin = before

    def set_origin(self, origin: Origin | None) -> None:
        """Attribute the nodes made from here on to `origin` (the fast form for tracing)."""
        self._origin = origin

    def input(self, name: str, type_: Type, path: str = "") -> Node:
        """Return a new input; two inputs never are the same node, whatever their names."""
        node = self.call("input", name=name, type=type_, serial=next(_SERIALS))
        self.origins.setdefault(node, {})[Origin(path=path or name)] = None
        return node

    def constant(self, number: Number, dtype: DType = F64) -> Node:
        """Return a rank-0 constant, keyed by dtype and bits: 0.0 and -0.0 differ."""
        if dtype.is_float:
            rounded = dtype.rounded(number)
            return self.call("constant", dtype=dtype, bits=struct.pack("<d", rounded))
        return self.call(
            "constant", dtype=dtype, bits=int(number).to_bytes(9, "little", signed=True)
        )

    def full(self, shape: tuple[Extent, ...], number: Number, dtype: DType) -> Node:
        """Return a constant in every element of `shape`."""
        return self.broadcast(self.constant(number, dtype), shape, ())

    def full_like(self, node: Node, number: Number) -> Node:
        """Return a constant of the type of `node`."""
        return self.full(node.shape, number, node.dtype)

    def array(self, array: Array, dtype: DType) -> Node:
        """Return a constant array, captured by value."""
        # Not np.ascontiguousarray: that makes a vector of a rank-0 array.
        copy = np.array(array, dtype=dtype.numpy, order="C")
        if copy.ndim == 0:
            return self.constant(copy.item(), dtype)
        key = (dtype.name, copy.shape, copy.tobytes())
        self.data.setdefault(key, copy)
        return self.call("data", dtype=dtype, shape=copy.shape, bits=key[2])

    def broadcast(self, x: Node, shape: tuple[Extent, ...], axes: tuple[int, ...]) -> Node:
        """Copy `x` along new axes; axis i of `x` becomes axis `axes[i]` of the result."""
        if x.shape == shape:
            return x
        return self.call("broadcast", x, shape=shape, axes=axes)

    def select(self, condition: Node, a: Node | Number, b: Node | Number) -> Node:
        """Return `a` where the condition holds and `b` elsewhere."""
        like = a if isinstance(a, Node) else b
        assert isinstance(like, Node), "one side of a selection is a node"
        a = a if isinstance(a, Node) else self.full_like(like, a)
        b = b if isinstance(b, Node) else self.full_like(like, b)
        return self.call("select", condition, a, b)

    def made_inside(self, node: Node) -> bool:
        """Tell whether a node was made for a body that has been traced since."""
        at = bisect_right(self.bodies, (node.id, self._count)) - 1
        return at >= 0 and node.id < self.bodies[at][1]

    def enclose(self, first: int) -> None:
        """Note that all nodes from number `first` on were made for a body."""
        while self.bodies and self.bodies[-1][0] >= first:
            self.bodies.pop()
        self.bodies.append((first, self._count))

    def check(self, failed: Node, message: str) -> None:
        """Have the compiled function raise OutOfRangeError, before it writes, if `failed`."""
        assert failed.type == Type(BOOL, ()), "a check is one truth value"
        self.checks[Check(failed, message)] = None


def constant_value(node: Node) -> Number | None:
    """Return the number a constant (broadcast or not) holds, else None."""
    while node.op.name == "broadcast":
        node = node.args[0]
    if node.op.name != "constant":
        return None
    dtype, bits = node.attrs
    if dtype.is_float:
        return float(struct.unpack("<d", bits)[0])
    number = int.from_bytes(bits, "little", signed=True)
    return bool(number) if dtype is BOOL else number
