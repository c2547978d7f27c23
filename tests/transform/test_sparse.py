"""Sparse Jacobians and Hessians against dense ones, and what they cost."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.random_programs import random_program

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.array import Array as Handle
from chainrule.frontend.context import current_graph
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import Program
from chainrule.ir.walk import substitute
from chainrule.ops.cost import flops
from chainrule.pipeline import lower_program
from chainrule.transform import compressed, sparse
from chainrule.transform.sparse import Prepared

Function = Callable[..., Any]
random = np.random.default_rng(7)

# Functions whose Jacobians and Hessians are sparse, with arguments to run them on


def chain(x: Any) -> Any:
    return x[1:] * cnp.sin(x[:-1])


def stencil(x: Any) -> Any:
    """The heat equation on a square, with a boundary of zeros."""
    wide = cnp.pad(x, ((1, 1), (1, 1)))
    around = wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2]
    return around - 4 * x + x**3


def boundary(x: Any) -> Any:
    wide = cnp.concatenate([cnp.zeros(1), x, cnp.ones(1)])
    return (wide[2:] - 2 * wide[1:-1] + wide[:-2]) * cnp.exp(x)


def assembled(x: Any, elements: Any) -> Any:
    """Finite elements: what each does to its nodes, added up."""
    a, b = x[elements[:, 0]], x[elements[:, 1]]
    force = cnp.stack([cnp.tanh(a - b), cnp.tanh(b - a) * a], axis=1)
    return cnp.zeros_like(x).at[elements].add(force)


def bundle(params: Any, camera: Any, point: Any, seen: Any) -> Any:
    """Reprojection errors: a small camera for each picture, a point in space for each track."""
    cameras, points = params
    c, p = cameras[camera], points[point]
    turned = p + cnp.cross(c[:, :3], p) + c[:, 3:6]
    flat = -turned[:, :2] / turned[:, 2:3]
    r = cnp.sum(flat**2, axis=1)
    focus = c[:, 6] * (1 + c[:, 7] * r + c[:, 8] * r**2)
    return focus[:, None] * flat - seen


def bundle_of_one(camera: Any, point: Any, seen: Any) -> Any:
    turned = point + cnp.cross(camera[:3], point) + camera[3:6]
    flat = -turned[:2] / turned[2]
    r = flat @ flat
    return camera[6] * (1 + camera[7] * r + camera[8] * r**2) * flat - seen


def mapped_bundle(params: Any, camera: Any, point: Any, seen: Any) -> Any:
    cameras, points = params
    return cr.vmap(bundle_of_one)(cameras[camera], points[point], seen)


def observations(cameras: int, points: int, count: int) -> tuple[Any, ...]:
    ahead = np.array([0.0, 0.0, 6.0])
    params = (random.normal(size=(cameras, 9)), random.normal(size=(points, 3)) + ahead)
    return (
        params, random.integers(0, cameras, count), random.integers(0, points, count),
        random.normal(size=(count, 2)),
    )  # fmt: skip


DIFFERENCES = np.eye(6) - np.eye(6, k=1)
ELEMENTS = np.stack([np.arange(7), np.arange(1, 8)], axis=1)
x8, x6, square = random.normal(size=8), random.normal(size=6), random.normal(size=(4, 5))

JACOBIANS: list[tuple[Function, tuple[Any, ...], int]] = [
    (chain, (x8,), 1),
    (stencil, (square,), 1),
    (boundary, (x8,), 1),
    (assembled, (x8, ELEMENTS), 2),
    (bundle, observations(3, 5, 11), 2),
    (mapped_bundle, observations(3, 5, 11), 2),
    (lambda x: x**2, (square,), 1),
    (lambda x: DIFFERENCES @ x**3, (x6,), 2),
    (lambda x: cnp.concatenate([cnp.sum(x**2)[None], x[0] * x[1:]]), (x6,), 1),
    (lambda x: cnp.sin(x).reshape(2, 4).sum(axis=0), (x8,), 1),
    (lambda x: cnp.outer(x, x), (x6,), 1),
    (lambda x: cnp.cumsum(x**2), (x6,), 6),
    (lambda x: cr.nn.softmax(x, axis=1), (square,), 5),
    (lambda x: x[::-1], (x6,), 1),
    (lambda x: cnp.zeros(3) + 2.0, (x6,), 0),
    (lambda x: cnp.sum(x * x), (square,), 1),
    (lambda x: x * 3.0, (2.0,), 1),
    (lambda x: {"a": x["a"] * x["b"], "b": [x["b"][:2]]}, ({"a": x6, "b": x6 + 1.0},), 1),
    (lambda x: cnp.where(cnp.arange(6) < 3, x**2, cnp.sin(x)[::-1]), (x6,), 1),
    (lambda x: x.at[np.array([0, 2])].add(x[3] ** 2), (x6,), 1),
    (lambda x, k: cnp.stack([x[k] ** 2, x[k + 1]]), (x6, np.array(3)), 1),
    (lambda x: x.astype(np.float32)[1:] ** 2, (x6,), 1),
    (lambda x: x[cnp.argmax(x)] * x, (x6,), 6),
]  # fmt: skip


def drifted(x: Any) -> Any:
    """Explicit steps of a chain of masses: what depends on what spreads by one a step."""

    def step(u: Any, _: Any) -> Any:
        wide = cnp.pad(u, (1, 1))
        return u + 0.1 * cnp.sin(wide[2:] - 2 * u + wide[:-2]), None

    return cr.scan(step, x, None, length=2)[0]


def chosen(x: Any, which: Any) -> Any:
    return cr.switch(which, [lambda x: x**2, lambda x: x[::-1] * x[0]], x)


def summed(x: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        return carry + row[0] * row[1], carry * row[1]

    return cr.scan(step, 0.0, x)


def numbered(x: Any) -> Any:
    """The position picks, so steps are told apart."""
    return cr.fori_loop(0, 3, lambda i, y: y.at[i].set(x[i] * x[i + 1]), cnp.zeros(3))


def halved(x: Any) -> Any:
    """How often depends on the data, and so may everything."""
    return cr.while_loop(
        lambda y: cnp.sum(y) > 1.0, lambda y: cnp.concatenate([y[1:], y[:1]]) / 2, x**2
    )


@cr.custom_jvp
def straight(x: Any) -> Any:
    return cnp.round(x)


straight.defjvp(lambda primals, tangents: (straight(*primals), tangents[0]))


@cr.custom_vjp
def clipped(x: Any) -> Any:
    return x * 1.0


clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (cnp.clip(g, -0.5, 0.5),))


@cr.custom_jvp
def called_back(x: Any) -> Any:
    return cr.callback(np.cumsum, x, x)


called_back.defjvp(
    lambda primals, tangents: (called_back(*primals), cr.callback(np.cumsum, *tangents, *tangents))
)


CONTROL: list[tuple[Function, tuple[Any, ...], int]] = [
    (drifted, (x8,), 5),
    (chosen, (x6, np.array(0)), 1),
    (chosen, (x6, np.array(1)), 2),
    (summed, (random.normal(size=(4, 2)),), 8),
    (numbered, (x6,), 3),
    (halved, (x6,), 6),
    (lambda x: straight(x) ** 2, (x6,), 1),
    (lambda x: clipped(x[1:] * x[:-1]), (x6,), 1),
    (lambda x: straight(x[1:]) * clipped(x[:-1]), (x6,), 1),
    (cr.checkpoint(chain), (x8,), 2),
    (
        lambda x: cnp.linalg.solve(x[:, :, :2], x[:, :, 2:])[..., 0],
        (random.normal(size=(3, 2, 3)),),
        2,
    ),
]


@pytest.mark.parametrize(("fn", "args", "most"), CONTROL)
def test_loops_branches_and_custom_derivatives(
    fn: Function, args: tuple[Any, ...], most: int
) -> None:
    test_jacobians(fn, args, most)


def test_the_pattern_of_a_loop_is_that_of_its_steps() -> None:
    pattern = cr.sparse_jacobian(drifted).pattern(x8).todense()
    i = np.arange(8)
    np.testing.assert_array_equal(pattern, abs(i[:, None] - i) <= 2)
    np.testing.assert_array_equal(
        cr.sparse_jacobian(numbered).pattern(x6).todense(), np.eye(3, 6) + np.eye(3, 6, k=1) > 0
    )


def test_what_is_called_back_may_depend_on_everything() -> None:
    jacobian = cr.sparse_jacobian(called_back)
    assert jacobian.pattern(x6).nnz == 36
    assert jacobian.colors(x6).mode == "columns"  # it has no transpose
    np.testing.assert_allclose(jacobian(x6).todense(), np.tril(np.ones((6, 6))))


def flat(tree: Any, rows: int) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(a).reshape(rows, -1) for a in cr.tree_leaves(tree)], axis=1)


def dense_jacobian(fn: Function, args: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    """Return the Jacobian of all results by all leaves of the first argument."""
    result, jacobian = cr.jit(fn)(*args), cr.jacrev(fn)(*args)
    outputs = cr.tree_leaves(result)
    count = len(cr.tree_leaves(args[0]))
    leaves = cr.tree_leaves(jacobian)
    parts = [leaves[i : i + count] for i in range(0, len(leaves), count)]
    return np.concatenate(
        [flat(p, np.asarray(o).size) for p, o in zip(parts, outputs, strict=True)]
    )  # fmt: skip


@pytest.mark.parametrize(("fn", "args", "most"), JACOBIANS)
def test_jacobians(fn: Function, args: tuple[Any, ...], most: int) -> None:
    jacobian = cr.sparse_jacobian(fn)
    expected = dense_jacobian(fn, args)
    found = jacobian(*args)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.todense(), expected, rtol=1e-6, atol=1e-12)
    assert jacobian.colors(*args) <= most
    pattern = jacobian.pattern(*args)
    assert not np.any((expected != 0) & ~pattern.todense())
    np.testing.assert_array_equal(found.indices, pattern.indices)


def rosenbrock(x: Any) -> Any:
    return cnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def wood(x: Any) -> Any:
    a, b, c, d = x[:-3:2], x[1:-2:2], x[2:-1:2], x[3::2]
    return cnp.sum(
        100 * (a**2 - b) ** 2 + (a - 1) ** 2 + 90 * (c**2 - d) ** 2 + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2
    )  # fmt: skip


def bundle_loss(*args: Any) -> Any:
    return cnp.sum(bundle(*args) ** 2) / 2


HESSIANS: list[tuple[Function, tuple[Any, ...], int]] = [
    (rosenbrock, (x8,), 2),
    (wood, (x8,), 3),
    (bundle_loss, observations(3, 5, 11), 12),
    (lambda x: cnp.sum(cnp.exp(x[0] * x[1:])) + cnp.sum(x**4), (x8,), 3),
    (lambda x: cnp.sum(x) ** 2, (x6,), 6),
    (lambda x: cnp.sum(3 * x), (x6,), 0),
    (lambda x: cnp.sum(x**2), (x6,), 1),
    (lambda x: cnp.sum(stencil(x) ** 2), (square,), 13),
    (cnp.prod, (x6,), 6),
    (cr.nn.logsumexp, (x6,), 6),
    (lambda x: cnp.sum(x["a"] * x["b"] ** 2), ({"a": x6, "b": x6 + 1.0},), 2),
    (lambda x: x**3, (2.0,), 1),
]


def dense_hessian(fn: Function, args: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    leaves, tree = cr.tree_flatten(args[0])
    sizes = [np.asarray(x).size for x in leaves]
    joined = np.concatenate([np.ravel(x) for x in leaves])

    def of_vector(v: Any) -> Any:
        ends = np.cumsum(sizes)
        parts = [
            v[e - s : e].reshape(np.shape(x)) for e, s, x in zip(ends, sizes, leaves, strict=True)
        ]  # fmt: skip
        return fn(tree.unflatten(parts), *args[1:])

    return np.asarray(cr.hessian(of_vector)(joined))


@pytest.mark.parametrize(("fn", "args", "most"), HESSIANS)
def test_hessians(fn: Function, args: tuple[Any, ...], most: int) -> None:
    hessian = cr.sparse_hessian(fn)
    expected = dense_hessian(fn, args)
    found = hessian(*args)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.todense(), expected, rtol=1e-9, atol=1e-10)
    assert hessian.colors(*args) <= most
    assert not np.any((expected != 0) & ~hessian.pattern(*args).todense())


@pytest.mark.share(4)
@pytest.mark.parametrize("sweeps", [0, 1_000])
@pytest.mark.parametrize("seed", range(15))
def test_random_programs(seed: int, sweeps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether sweeps are batched or written out, all of them.
    monkeypatch.setattr(compressed, "SWEEPS", sweeps)
    case = random_program(seed, smooth=True)
    program = case.program

    def fn(given: Any) -> Any:
        graph = current_graph()
        assert graph is not None
        known = dict(zip(program.inputs, [g.node for g in given], strict=True))
        return [Handle(n) for n in substitute(list(program.outputs), graph, known)]

    prepared = sparse.sparse_jacobian(fn).prepare((list(case.arrays),), {})
    found = by_reference(prepared, case.arrays)
    rows = []
    for k in range(len(program.outputs)):
        one = cr.jacrev(lambda given, k=k: fn(given)[k])
        rows.append(
            flat(one(list(case.arrays)), np.asarray(evaluate(program, *case.arrays)[k]).size)
        )
    expected = np.concatenate(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        cr.sparse_jacobian(fn)(list(case.arrays)).todense(), expected, rtol=1e-6, atol=1e-7
    )


def by_reference(prepared: Prepared, arrays: Any) -> np.ndarray[Any, Any]:
    """Run a sparse derivative in the reference interpreter."""
    names = tuple(str(i) for i in range(len(prepared.inputs)))
    program = Program("sparse", prepared.inputs, (prepared.derivative.data,), names, ("",))
    (data,) = evaluate(program, *arrays, *prepared.stored)
    pattern = prepared.derivative.pattern
    full = np.zeros(prepared.shape)
    full[pattern.row_of, pattern.indices] = data
    return full


# Cost


def work(prepared: Prepared) -> int:
    names = tuple(str(i) for i in range(len(prepared.inputs)))
    program = Program("sparse", prepared.inputs, (prepared.derivative.data,), names, ("",))
    return flops(lower_program(program).optimized.nodes, {})


@pytest.mark.parametrize("fn", [bundle, mapped_bundle])
def test_a_bundle_costs_few_residuals(fn: Function) -> None:
    args = observations(6, 40, 200)
    prepared = sparse.sparse_jacobian(fn).prepare(args, {})
    residual = flops(cr.jit(fn).lower(*args).lowered.optimized.nodes, {})
    assert prepared.derivative.colors == 2
    assert prepared.derivative.colors.mode == "rows"
    assert work(prepared) <= 8 * residual


@pytest.mark.parametrize("fn", [rosenbrock, wood])
def test_the_cost_of_a_chained_hessian_is_linear(fn: Function) -> None:
    costs = []
    for count in (100, 200, 400):
        prepared = sparse.sparse_hessian(fn).prepare((np.linspace(0.1, 1.0, count),), {})
        costs.append(work(prepared) / prepared.derivative.pattern.nnz)
        assert prepared.derivative.colors <= 3
    assert max(costs) < 1.05 * min(costs)


def test_rows_of_one_camera_are_swept_together() -> None:
    args = observations(1, 50, 50)
    assert cr.sparse_jacobian(bundle).colors(*args) == 2


# Patterns that depend on integers


def test_another_index_has_another_pattern_and_the_same_code() -> None:
    def fn(x: Any, index: Any) -> Any:
        return x[index] ** 2 * x[index + 1]

    jacobian = cr.sparse_jacobian(fn)
    for index in (np.array([0, 4, 2]), np.array([1, 0, 4]), np.array([0, 4, 2])):
        found = jacobian(x6, index)
        np.testing.assert_allclose(found.todense(), dense_jacobian(fn, (x6, index)))
    assert len(jacobian.compilations) == 1


def test_an_index_changed_in_place_is_noticed() -> None:
    jacobian = cr.sparse_jacobian(lambda x, index: x[index] ** 2)
    index = np.array([0, 1, 2])
    before = jacobian(x6, index).indices
    index[0] = 5
    assert jacobian(x6, index).indices.tolist() == [5, 1, 2]
    assert before.tolist() == [0, 1, 2]


def test_an_index_out_of_range() -> None:
    with pytest.raises(cr.OutOfRangeError, match="out of range for axis 0 of extent 6"):
        cr.sparse_jacobian(lambda x, i: x[i] ** 2)(x6, np.array([1, 9]))


# Inside of other functions


def test_inside_of_a_compiled_function() -> None:
    index = np.array([0, 3, 3])

    @cr.jit
    def step(x: Any) -> Any:
        jacobian = cr.sparse_jacobian(lambda x: x[index] ** 3)(x)
        return jacobian, cnp.sum(jacobian.data)

    found, total = step(x6)
    expected = dense_jacobian(lambda x: x[index] ** 3, (x6,))
    np.testing.assert_allclose(found.todense(), expected)
    np.testing.assert_allclose(total, expected.sum())


def test_the_values_can_be_differentiated() -> None:
    slope = cr.grad(lambda x: cnp.sum(cr.sparse_jacobian(chain)(x).data ** 2))
    dense = cr.grad(lambda x: cnp.sum(cr.jacobian(chain)(x) ** 2))
    np.testing.assert_allclose(slope(x8), dense(x8))


def test_a_traced_index_is_refused() -> None:
    def whole(x: Any, index: Any) -> Any:
        return cr.sparse_jacobian(lambda x: x[index] ** 3)(x).data

    with pytest.raises(cr.UnsupportedError, match="which elements are picked") as caught:
        cr.jit(whole)(x6, np.array([0, 1]))
    assert "index" in str(caught.value)
    assert "hint" in str(caught.value)


# Arguments and results


def test_argnums_and_keywords() -> None:
    def fn(a: Any, b: Any, *, scale: Any) -> Any:
        return a * b**2 * scale

    one = cr.sparse_jacobian(fn, argnums=1)(x6, x6, scale=2.0)
    np.testing.assert_allclose(one.todense(), np.diag(4 * x6 * x6))
    both = cr.sparse_jacobian(fn, argnums=(0, 1))(x6, x6, scale=2.0)
    np.testing.assert_allclose(
        both.todense(), np.concatenate([np.diag(2 * x6**2), np.diag(4 * x6 * x6)], axis=1)
    )


def test_settings_that_are_no_arrays() -> None:
    def fn(x: Any, kind: str) -> Any:
        return x**2 if kind == "square" else x**3

    jacobian = cr.sparse_jacobian(fn)
    np.testing.assert_allclose(jacobian(x6, "square").data, 2 * x6)
    np.testing.assert_allclose(jacobian(x6, "cube").data, 3 * x6**2)


def test_single_precision_stays() -> None:
    found = cr.sparse_jacobian(chain)(x8.astype(np.float32))
    assert found.data.dtype == np.float32


def test_many_colors_are_one_batched_sweep() -> None:
    x = random.normal(size=400)
    jacobian = cr.sparse_jacobian(cnp.cumsum)
    np.testing.assert_allclose(jacobian(x).todense(), np.tril(np.ones((400, 400))))
    mixed = cr.sparse_jacobian(lambda x: cnp.tanh(DENSE @ x))
    y = random.normal(size=50)
    expected = cr.jacobian(lambda x: cnp.tanh(DENSE @ x))(y)
    np.testing.assert_allclose(mixed(y).todense(), expected, rtol=1e-10)


DENSE = random.normal(size=(60, 50))


def test_scipy_takes_it() -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    found = cr.sparse_jacobian(chain)(x8)
    matrix = found.tocsr()
    assert isinstance(matrix, scipy_sparse.csr_matrix)
    assert matrix.has_sorted_indices
    assert np.shares_memory(matrix.data, found.data)
    np.testing.assert_allclose(matrix @ np.ones(8), found.todense().sum(axis=1))


def test_it_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(cr.sparse_jacobian(chain)))  # noqa: S301
    np.testing.assert_allclose(again(x8).data, cr.sparse_jacobian(chain)(x8).data)
    assert pickle.loads(pickle.dumps(again.colors(x8))) == 1  # noqa: S301


def test_an_infinite_slope_stays_in_its_row() -> None:
    x = np.array([0.0, 4.0, 9.0])
    found = cr.sparse_jacobian(lambda x: cnp.sqrt(x)[:, None] * cnp.stack([x, x**2], 1))(x)
    assert np.all(np.isfinite(found.todense()[2:]))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: cr.sparse_hessian(chain)(x8), "must return one number"),
        (lambda: cr.sparse_jacobian(lambda x: cr.callback(np.sort, x, x))(x8), "no derivative"),
        (lambda: cr.sparse_jacobian(lambda x: x > 0)(x8), "not of floating point"),
        (lambda: cr.sparse_jacobian(chain)(np.arange(4)), "not floating point"),
        (
            lambda: cr.jit(lambda x: cr.sparse_jacobian(chain)(x).data, dims={"x": ("n",)})(x8),
            "extent without a number",
        ),
    ],
)
def test_messages(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(cr.ChainruleError, match=match):
        make()
