"""The reference interpreter: every node by its NumPy meaning, the oracle of compiled code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.errors import OutOfRangeError
from chainrule.ir.binding import bind
from chainrule.ir.body import Body
from chainrule.ir.dims import Dim, evaluate_extent, names_of
from chainrule.ir.graph import Node
from chainrule.ir.halves import widened
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import Array
from chainrule.ir.walk import topological, users

__all__ = ["bind_dims", "evaluate"]


def bind_dims(program: Program, arrays: Sequence[Array]) -> dict[str, int]:
    """Return the number of every named dim, read off the inputs' shapes."""
    return bind([node.shape for node in program.inputs], [array.shape for array in arrays])


def evaluate(program: Program, *arrays: Array) -> list[Array]:
    """Run a program in NumPy and return its outputs.

    Values are dropped after their last use.  Floating-point warnings are silenced: NaN and
    infinity are results here.

    Raises:
        OutOfRangeError: One of the program's checks failed.
    """
    frame = _Frame(bind_dims(program, arrays))
    failed = {c.failed: c.message for c in reversed(program.checks)}
    with np.errstate(all="ignore"):
        # What the checks need comes first: they speak before an operation meets a bad index.
        return frame.compute(program.inputs, arrays, program.outputs, failed)


class _Frame:
    """One run of a program: the numbers of its dims."""

    def __init__(self, dims: dict[str, int]) -> None:
        self.dims = dims
        self._orders: dict[Body, list[Node]] = {}

    def run(self, body: Body, args: Sequence[Array]) -> list[Array]:
        """Return the outputs of a body."""
        return self.compute(body.inputs, args, body.outputs, {})

    def compute(
        self, inputs: Sequence[Node], arrays: Sequence[Array], outputs: Sequence[Node],
        failed: Mapping[Node, str],
    ) -> list[Array]:  # fmt: skip
        """Return the values of the outputs, those of the conditions in `failed` first."""
        key = Body((), (*failed, *outputs))
        nodes = self._orders.get(key)
        if nodes is None:
            early = topological(failed)
            known = set(early)
            nodes = [*early, *(n for n in topological([*failed, *outputs]) if n not in known)]
            self._orders[key] = nodes
        left = {node: len(found) for node, found in users(nodes).items()}
        for node in (*failed, *outputs):
            left[node] = left.get(node, 0) + 1
        values: dict[Node, Any] = {}
        for node, array in zip(inputs, arrays, strict=True):
            values[node] = np.asarray(array, dtype=node.dtype.numpy)
        for node in self._in_turn(nodes):
            if node.op.name == "input":
                continue
            values[node] = self._value(node, [values[a] for a in node.args])
            if node in failed and bool(values[node]):
                raise OutOfRangeError(failed[node])
            for argument in dict.fromkeys(node.args):
                left[argument] -= 1
                if not left[argument]:
                    del values[argument]
        return [values[node] for node in outputs]

    def _in_turn(self, nodes: Sequence[Node]) -> Iterator[Node]:
        """Yield nodes, those of an extent that a loop counts once the loop has run.

        They need not depend on it otherwise: copies along an axis that it stacks, say.
        """
        waiting: list[Node] = []
        late: set[Node] = set()
        for node in nodes:
            if not late.isdisjoint(node.args) or not self._are_known(node):
                late.add(node)
                waiting.append(node)
                continue
            yield node
            if node.op.kind is Kind.CONTROL and waiting:
                again, waiting, late = waiting, [], set()
                for one in again:
                    if not late.isdisjoint(one.args) or not self._are_known(one):
                        late.add(one)
                        waiting.append(one)
                    else:
                        yield one
        yield from waiting

    def _are_known(self, node: Node) -> bool:
        if node.op.kind is Kind.CONTROL:
            return True
        extents = [e for v in node.attrs for e in (v if isinstance(v, tuple) else (v,))]
        return all(names_of(e) <= self.dims.keys() for e in extents if isinstance(e, Dim))

    def _value(self, node: Node, args: Sequence[Any]) -> Any:
        if node.op.kind is Kind.CONTROL:
            return node.op.value(*args, frame=self, **node.attributes)
        given = {k: _number(v, self.dims) for k, v in node.attributes.items() if k != "type"}
        if node.op.kind is Kind.ITEM:
            given["type"] = node.type
        if node.op.kind is Kind.POINTWISE:
            # NumPy's functions round otherwise where an array is not in one piece: `power`, say.
            args = [np.array(a, order="C", copy=None) for a in args]
        result = np.asarray(node.op.value(*widened(node, args), **given))
        return result.astype(node.dtype.numpy, copy=False)


def _number(value: Any, dims: Mapping[str, int]) -> Any:
    """Replace extents inside an attribute by numbers."""
    if isinstance(value, Dim):
        return evaluate_extent(value, dims)
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_number(v, dims) for v in value)
    return value
