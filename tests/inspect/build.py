"""Programs written with graph calls, and the check that a formula says what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.inspect.reader import read

from chainrule.differentiate.reverse import pull_back
from chainrule.inspect.formulas import Formula, formula
from chainrule.ir.dims import Extent, evaluate_extent, named
from chainrule.ir.evaluate import bind_dims, evaluate
from chainrule.ir.graph import Graph, Node
from chainrule.ir.program import Program
from chainrule.ir.types import F64, I64, DType, Type
from chainrule.ops import OPS

N = named("n")
DIMS = {"n": 5, "m": 3}


class Net:
    """A graph with a few array functions over its calls."""

    def __init__(self) -> None:
        self.graph = Graph(OPS)

    def input(self, name: str, *shape: Extent, dtype: DType = F64, path: str = "") -> Node:
        return self.graph.input(name, Type(dtype, shape), path)

    def labels(self, name: str, *shape: Extent) -> Node:
        return self.input(name, *shape, dtype=I64)

    def matmul(self, a: Node, b: Node) -> Node:
        summed = (a.type.rank - 1,), (max(b.type.rank - 2, 0),)
        return self.graph.call("contract", a, b, batch=((), ()), summed=summed)

    def affine(self, x: Node, w: Node, b: Node) -> Node:
        product = self.matmul(x, w)
        return product + self.rows(b, product)

    def rows(self, v: Node, like: Node) -> Node:
        return self.graph.broadcast(v, like.shape, (like.type.rank - 1,))

    def columns(self, v: Node, like: Node) -> Node:
        return self.graph.broadcast(v, like.shape, (0,))

    def unary(self, name: str, x: Node) -> Node:
        match name:
            case "gelu":
                half = self.graph.call("erf", x * 2**-0.5) + 1
                return 0.5 * x * half
            case "silu":
                return x * self.graph.call("sigmoid", x)
        return self.graph.call(name, x)

    def sum(self, x: Node, *axes: int) -> Node:
        return self.graph.call("sum", x, axes=axes or tuple(range(x.type.rank)))

    def mean(self, x: Node) -> Node:
        count = self.graph.call("extent", extent=x.type.size)
        return self.sum(x) / self.graph.call("cast", count, dtype=x.dtype)

    def cross_entropy(self, logits: Node, labels: Node) -> Node:
        """As the nn losses build it: log_softmax, gather along the classes, squeeze."""
        column = self.graph.call("reshape", labels, shape=(labels.shape[0], 1))
        log_p = self.graph.call("log_softmax", logits, axes=(1,))
        picked = self.graph.call("gather", log_p, column, batch=1)
        return -self.graph.call("reshape", picked, shape=labels.shape)

    def huber(self, d: Node, delta: float = 1.0) -> Node:
        low, high = self.graph.full_like(d, -delta), self.graph.full_like(d, delta)
        clipped = self.graph.call("clip", d, low, high)
        return clipped * (d - 0.5 * clipped)


def gradient(loss: Node, wrt: Node) -> Node:
    (found,) = pull_back([loss], [loss.graph.constant(1.0, loss.dtype)], [wrt])
    assert found is not None
    return found


def arrays_for(inputs: Sequence[Node], *, classes: int = 10, seed: int = 0) -> list[Any]:
    random = np.random.default_rng(seed)
    found: list[Any] = []
    for node in inputs:
        shape = tuple(evaluate_extent(e, DIMS) for e in node.shape)
        if node.dtype is I64:
            found.append(random.integers(0, classes, shape))
        else:
            found.append(random.uniform(0.2, 0.9, shape))
    return found


def inputs_of(node: Node) -> list[Node]:
    """Return every input of the graph: a dim may be bound by one that the node does not use."""
    return [n for n in node.graph.origins if n.op.name == "input"]


def check(node: Node, *, classes: int = 10, seed: int = 0, rtol: float = 1e-9) -> Formula:
    """Assert that the formula of a node, read back, gives what the node evaluates to."""
    found = formula(node)
    inputs = inputs_of(node)
    arrays = arrays_for(inputs, classes=classes, seed=seed)
    program = Program(
        "f", tuple(inputs), (node,), tuple(str(n.attributes["name"]) for n in inputs), ("",)
    )
    (expected,) = evaluate(program, *arrays)
    env: dict[str, Any] = {found.inputs[n]: a for n, a in zip(inputs, arrays, strict=True)
                           if n in found.inputs}  # fmt: skip
    env |= {k: float(v) for k, v in DIMS.items()} | bind_dims(program, arrays)
    env |= dict(found.constants)
    text = found.text()
    got = read(text, env, classes=classes)
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    shown = np.broadcast_to(got, expected.shape)
    np.testing.assert_allclose(shown, expected, rtol=rtol, atol=1e-10, err_msg=text)
    return found
