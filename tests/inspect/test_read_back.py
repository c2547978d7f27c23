"""Formulas, read back by a reader that shares no code with the printer, give the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from tests.inspect.build import N, Net, check, gradient
from tests.inspect.reader import FUNCTIONS

import chainrule.numpy as cnp
from chainrule.inspect.formulas import formula
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Op
from chainrule.ir.types import F64, I64, Type
from chainrule.ir.walk import topological
from chainrule.ops import OPS
from chainrule.symbols import hessian, jacobian, symbol

ACTIVATIONS = ("tanh", "relu", "sigmoid", "gelu", "silu", "softplus")


def test_linear_regression() -> None:
    net = Net()
    x, w, y = net.input("x", N, 8), net.input("w", 8), net.input("y", N)
    d = net.matmul(x, w) - y
    loss = net.sum(d * d)
    assert check(loss).text() == "sum((x w − y)²)"
    assert check(gradient(loss, w)).text() == "2 xᵀ (x w − y)"
    assert check(gradient(loss, y)).text() == "2 (y − x w)"
    check(gradient(loss, x))
    assert check(gradient(net.mean(d * d), w)).text() == "2 xᵀ (x w − y) / n"


def test_jacobians_and_hessians_show_no_identity() -> None:
    x, w, y = symbol("x", (N, 8)), symbol("w", (8,)), symbol("y", (N,))
    residual = x @ w - y
    assert check(hessian((residual**2).sum(), w).node).text() == "2 xᵀ x"
    assert check(jacobian(residual, w).node).text() == "x"
    assert check(jacobian(w @ x.T, w).node).text() == "x"
    check(hessian(cnp.sum(cnp.tanh(x @ w)), w).node)


def test_logistic_regression() -> None:
    net = Net()
    x, w, y = net.input("x", N, 8), net.input("w", 8), net.input("y", N)
    z = net.matmul(x, w)
    softplus = OPS["softplus"]
    loss = net.mean(y * softplus(-z) + (1 - y) * softplus(z))
    check(loss)
    assert check(gradient(loss, w)).text() == "xᵀ (σ(x w) − y) / n"


def test_softmax_regression() -> None:
    net = Net()
    x, w, b = net.input("x", N, 8), net.input("W", 8, 10), net.input("b", 10)
    y = net.labels("y", N)
    loss = net.mean(net.cross_entropy(net.affine(x, w, b), y))
    assert check(loss).text() == "−mean(log_softmax(x W + b)[i, yᵢ])"
    assert check(gradient(loss, w)).text() == ("xᵀ (p − onehot(y)) / n\nwhere p = softmax(x W + b)")
    assert check(gradient(loss, b)).text() == ("meanᵢ (p − onehot(y))ᵢ\nwhere p = softmax(x W + b)")


@pytest.mark.share(3)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "huber"])
def test_two_layers(activation: str, loss: str) -> None:
    net = Net()
    x, y, labels = net.input("x", N, 8), net.input("y", N, 10), net.labels("y", N)
    w1, b1 = net.input("W1", 8, 6, path="params/W1"), net.input("b1", 6, path="params/b1")
    w2, b2 = net.input("W2", 6, 10, path="params/W2"), net.input("b2", 10, path="params/b2")
    out = net.affine(net.unary(activation, net.affine(x, w1, b1)), w2, b2)
    d = out - y
    value = {"mse": lambda: net.mean(d * d), "huber": lambda: net.mean(net.huber(d)),
             "cross_entropy": lambda: net.mean(net.cross_entropy(out, labels))}[loss]()  # fmt: skip
    check(value)
    for leaf in (w1, b1, w2, b2, x):
        check(gradient(value, leaf))


def test_two_tanh_layers_read_as_in_a_book() -> None:
    net = Net()
    x, y = net.input("x", N, 8), net.input("y", N, 1)
    w1, b1 = net.input("W1", 8, 16, path="params/W1"), net.input("b1", 16, path="params/b1")
    w2, b2 = net.input("W2", 16, 1, path="params/W2"), net.input("b2", 1, path="params/b2")
    d = net.affine(net.unary("tanh", net.affine(x, w1, b1)), w2, b2) - y
    assert check(gradient(net.mean(d * d), w1)).text() == (
        "xᵀ ((δ W₂ᵀ) ⊙ (1 − h²))\nwhere δ = 2 (h W₂ + b₂ − y) / n\n      h = tanh(x W₁ + b₁)"
    )


def test_three_layers() -> None:
    net = Net()
    x, y = net.input("x", N, 8), net.labels("y", N)
    layers = [(net.input(f"W{i}", a, b), net.input(f"b{i}", b))
              for i, (a, b) in enumerate([(8, 7), (7, 6), (6, 10)], start=1)]  # fmt: skip
    h = x
    for i, (w, b) in enumerate(layers):
        h = net.affine(h, w, b)
        h = net.unary("relu", h) if i < 2 else h
    loss = net.mean(net.cross_entropy(h, y))
    for leaf in (x, *(p for layer in layers for p in layer)):
        check(gradient(loss, leaf))


POINTWISE = [op for op in OPS.values() if op.kind is Kind.POINTWISE and op.name != "cast"]


@pytest.mark.share(3)
@pytest.mark.parametrize("op", POINTWISE, ids=lambda op: op.name)
def test_every_pointwise_op_and_its_slopes(op: Op) -> None:
    graph = Graph(OPS)
    floats = op.name not in ("shift_left", "shift_right", "bit_xor", "bit_and", "bit_or", "bit_not")
    types = [Type(F64 if floats else I64, (4,))] * _arity(op)
    args = [graph.input(f"x{i}", t) for i, t in enumerate(types)]
    if op.name == "select":
        args[0] = args[0] > 0.5
    if op.name == "acosh":
        args[0] = args[0] + 1
    if op.domain[1] <= 0:
        args = [-a for a in args]
    node = graph.call(op.name, *args, **dict.fromkeys(op.params, 0))
    # What a function computes is not the printer's matter: new ones are known to the reader.
    for other in (op.name, "cbrt", "ndtr"):
        FUNCTIONS.setdefault(other, OPS[other].value)
    check(node)
    if floats and node.dtype is F64:
        for one in args:
            if one.op.name == "input" and op.slopes is not None:
                check(gradient(OPS["sum"](node, axes=(0,)), one), rtol=1e-7)


def _arity(op: Op) -> int:
    return op.notation.text.count("{") if op.notation else _UNPRINTED[op.name]


_UNPRINTED = {"fmod": 2, "floor_divide": 2, "trunc": 1, "rint": 1, "rsqrt": 1, "bit_xor": 2,
              "shift_left": 2, "shift_right": 2}  # fmt: skip


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "norm", "logsumexp"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 2), (0, 1, 2)])
def test_reductions(name: str, axes: tuple[int, ...]) -> None:
    net = Net()
    x = net.input("x", N, 3, 4)
    reduced = net.graph.call(name, x, axes=axes)
    check(reduced)
    loss = net.sum(reduced * reduced) if reduced.type.rank else reduced * reduced
    if name != "prod":
        check(gradient(loss, x))
    v = net.input("v", 3)
    wide = net.graph.broadcast(v, (N, 3, 4), (1,))
    check(net.graph.call(name, wide, axes=axes))


@pytest.mark.parametrize("axis", [0, 1])
def test_functions_along_an_axis(axis: int) -> None:
    net = Net()
    x, v = net.input("x", N, 4), net.input("v", 4)
    for name in ("softmax", "log_softmax"):
        y = net.graph.call(name, x, axes=(axis,))
        check(y)
        check(gradient(net.sum(y * y), x))
        check(net.graph.call(name, net.rows(v, x), axes=(axis,)))
    for reverse in (False, True):
        check(net.graph.call("cumsum", x * x, axis=axis, reverse=reverse))
        check(net.graph.call("recurrence", x, net.rows(v, x), axis=axis, reverse=reverse))
    check(net.graph.call("argmax", x, axis=axis))
    check(net.graph.call("argmin", x, axis=axis))


def test_moves() -> None:
    net = Net()
    x, v, s = net.input("x", N, 4), net.input("v", 4), net.input("s", N)
    call = net.graph.call
    check(call("transpose", x, axes=(1, 0)))
    check(call("transpose", x * 2, axes=(1, 0)) + call("transpose", net.rows(v, x), axes=(1, 0)))
    check(call("slice", x, starts=(1, 0), shape=(3, 4), steps=(1, 1)))
    check(call("slice", x, starts=(N - 1, 3), shape=(N, 2), steps=(-1, -2)))
    check(call("slice", net.columns(s, x), starts=(1, 1), shape=(2, 2), steps=(2, 1)))
    check(call("place", v * 2, starts=(1,), shape=(7,), steps=(1,)))
    check(call("overlay", v * 2, v, starts=(0, 18), steps=(5, -5), shape=(5, 4)))
    check(call("overlay", x, net.columns(s, x), starts=(0, 1), steps=(2, 2), shape=(N, 2, 4)))
    check(call("concatenate", x, net.rows(v, x), axis=0))
    check(call("concatenate", x, net.columns(s, x), axis=1))
    check(call("reshape", x, shape=(N * 4,)))
    check(call("reshape", v, shape=(2, 2)))
    column = call("reshape", s, shape=(N, 1))
    check(column)
    check(call("reshape", call("slice", x, starts=(0, 2), shape=(N, 1), steps=(1, 1)), shape=(N,)))
    cube = net.input("c", 2, 3, 4)
    check(call("transpose", cube, axes=(2, 0, 1)))
    check(call("transpose", cube, axes=(0, 2, 1)))
    check(gradient(net.sum(call("concatenate", x, x * x, axis=1)), x))


def test_broadcast_by_rows_and_columns() -> None:
    net = Net()
    x, v, s = net.input("x", N, 4), net.input("v", 4), net.input("s", N)
    assert check(x * net.columns(s, x)).text() == "x ⊙ s[:, None]"
    assert check(x + net.rows(v, x)).text() == "x + v"
    both = net.rows(v, x) * net.columns(s, x)
    check(both)
    # What is only broadcast is repeated, which a sum must count.
    assert check(net.sum(net.rows(v, x), 0)).text() == "n v"
    assert check(net.sum(net.columns(s, x), 1)).text() == "4 s"
    assert check(net.sum(net.columns(s, x))).text() == "4 sum(s)"
    gone = (x - x) + net.columns(s, x)
    check(net.sum(gone, 1))
    check(net.matmul(net.columns(s, x), v))
    check(net.matmul(x, net.graph.full((4, 3), 2.0, F64)))


@pytest.mark.parametrize(
    ("shapes", "batch", "summed"),
    [
        (((3,), (3,)), ((), ()), ((0,), (0,))),
        (((3,), (4,)), ((), ()), ((), ())),
        (((3,), (3,)), ((0,), (0,)), ((), ())),
        (((3, 4), (4,)), ((), ()), ((1,), (0,))),
        (((3, 4), (3,)), ((), ()), ((0,), (0,))),
        (((3,), (3, 4)), ((), ()), ((0,), (0,))),
        (((4,), (3, 4)), ((), ()), ((0,), (1,))),
        (((3, 4), (4, 5)), ((), ()), ((1,), (0,))),
        (((4, 3), (4, 5)), ((), ()), ((0,), (0,))),
        (((3, 4), (5, 4)), ((), ()), ((1,), (1,))),
        (((3, 4), (3, 4)), ((), ()), ((0, 1), (0, 1))),
        (((3, 4), (4, 3)), ((), ()), ((0, 1), (1, 0))),
        (((3, 4), (3, 4)), ((0,), (0,)), ((1,), (1,))),
        (((3, 4), (3,)), ((0,), (0,)), ((), ())),
        (((2, 3, 4), (2, 4, 5)), ((0,), (0,)), ((2,), (1,))),
        (((2, 3, 4), (2, 5, 4)), ((0,), (0,)), ((2,), (2,))),
        (((2, 3, 4), (4, 5)), ((), ()), ((2,), (0,))),
        (((2, 3, 4), (4,)), ((), ()), ((2,), (0,))),
        (((2, 3, 4), (2, 3, 5)), ((), ()), ((0, 1), (0, 1))),
        (((2, 3, 4), (3, 2, 5)), ((1,), (0,)), ((), ())),
        (((2, 3), (4, 5)), ((), ()), ((), ())),
        (((6, 2, 3, 4), (6, 2, 4, 5)), ((0, 1), (0, 1)), ((3,), (2,))),
    ],
)
def test_contractions(
    shapes: tuple[tuple[int, ...], ...], batch: tuple[tuple[int, ...], tuple[int, ...]],
    summed: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:  # fmt: skip
    net = Net()
    a, b = (net.input(name, *s) for name, s in zip("ab", shapes, strict=True))
    c = net.graph.call("contract", a, b, batch=batch, summed=summed)
    check(c)
    squares = net.sum(c * c) if c.type.rank else c * c
    check(gradient(squares, a))
    check(gradient(squares, b))


def test_gather_and_scatter() -> None:
    net = Net()
    table, index = net.input("E", 10, 3), net.labels("i", N)
    picked = net.graph.call("gather", table, index, batch=0)
    assert check(picked).text() == "E[i]"
    check(gradient(net.sum(picked * picked), table))


def test_shared_parts_are_right_in_random_programs() -> None:
    for seed in range(60):
        check(random_program(seed), seed=seed, rtol=1e-7)


@pytest.mark.parametrize("seed", range(40))
def test_gradients_of_random_programs(seed: int) -> None:
    program = random_program(seed)
    loss = OPS["sum"](program, axes=tuple(range(program.type.rank))) if program.shape else program
    for leaf in _inputs(program)[:2]:
        check(gradient(loss, leaf), seed=seed, rtol=1e-6)


def random_program(seed: int) -> Node:
    """Compose ops that stay in range over a few arrays of a few shapes."""
    random = np.random.default_rng(seed)
    net = Net()
    shapes = ((N, 4), (4,), (N,), (4, 3), ())
    pool = [net.input(f"a{i}", *s) for i, s in enumerate(shapes)]
    for _ in range(12):
        x = pool[random.integers(len(pool))]
        match random.integers(9):
            case 0 | 1:
                name = random.choice(["tanh", "sigmoid", "sin", "softplus", "relu", "erf", "abs"])
                pool.append(net.graph.call(str(name), x))
            case 2 | 3 | 4:
                same = [p for p in pool if p.shape == x.shape]
                y = same[random.integers(len(same))]
                op = ("add", "sub", "mul", "maximum")[random.integers(4)]
                pool.append(net.graph.call(op, x, y))
            case 5 if x.type.rank == 1:
                like = next(p for p in pool if p.shape == (N, 4))
                axes = (0,) if x.shape == (N,) else (1,)
                if x.shape in ((N,), (4,)):
                    pool.append(like * net.graph.broadcast(x, (N, 4), axes))
            case 6 if x.type.rank:
                axis = int(random.integers(x.type.rank))
                name = ("sum", "max", "logsumexp")[random.integers(3)]
                pool.append(net.graph.call(name, x, axes=(axis,)))
            case 7 if x.type.rank == 2:
                for y in reversed(pool):
                    if y.type.rank and y.shape[0] == x.shape[1]:
                        pool.append(0.3 * net.matmul(x, y))
                        break
            case 8:
                pool.append(x / (1.5 + x * x))
    return pool[-1]


def _inputs(node: Node) -> list[Node]:
    return [n for n in topological([node]) if n.op.name == "input"]


@pytest.mark.broad
def test_a_long_chain_is_cut_into_definitions() -> None:
    graph = Graph(OPS)
    x = y = graph.input("x", Type(F64, (3,)))
    for _ in range(3000):
        y = OPS["sin"](y) + x
    lines = formula(y).text().split("\n")
    assert len(lines) > 50
    assert max(map(len, lines)) < 400
