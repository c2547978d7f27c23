"""Arrays that `chainrule.numpy` makes of plain data while a function is traced."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import UnsupportedError
from chainrule.frontend.array import Array
from chainrule.frontend.known import KnownArray

Function = Callable[..., Any]


def inside(make: Callable[[], Any]) -> Any:
    """Return what a function makes while another one is traced."""
    kept: list[Any] = []

    def traced(x: Any) -> Any:
        kept.append(make())
        return x

    cr.trace(traced, 1.0)
    return kept[0]


MAKERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "zeros": (lambda: cnp.zeros(4), np.zeros(4)),
    "ones": (lambda: cnp.ones(4), np.ones(4)),
    "full": (lambda: cnp.full(4, 2.5), np.full(4, 2.5)),
    "empty_like": (lambda: cnp.zeros_like(np.ones(4)), np.zeros(4)),
    "arange": (lambda: cnp.arange(4), np.arange(4)),
    "array": (lambda: cnp.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0])),
    "asarray": (lambda: cnp.asarray(np.arange(4.0)), np.arange(4.0)),
    "linspace": (lambda: cnp.linspace(0, 1, 4), np.linspace(0, 1, 4)),
    "eye": (lambda: cnp.eye(4), np.eye(4)),
    "tril": (lambda: cnp.tril(np.ones((4, 4))), np.tril(np.ones((4, 4)))),
    "concatenate": (lambda: cnp.concatenate([np.ones(2), np.zeros(2)]), np.array([1.0, 1, 0, 0])),
    "sum of two": (lambda: cnp.ones(4) + cnp.arange(4), 1.0 + np.arange(4)),
    "part": (lambda: cnp.arange(9)[1:5], np.arange(1, 5)),
    "transpose": (lambda: cnp.arange(8).reshape(2, 4).T, np.arange(8).reshape(2, 4).T),
    "special": (lambda: cr.special.erf(np.zeros(4)), np.zeros(4)),
    "split": (lambda: cnp.split(np.arange(8), 2)[1], np.arange(4, 8)),
}


@pytest.mark.parametrize(("make", "plain"), MAKERS.values(), ids=MAKERS)
def test_traced_indices_and_updates(make: Function, plain: Any) -> None:
    def fn(i: Any, v: Any) -> Any:
        return make()[i], make().at[i].set(v), make().at[i].add(v), make()[..., i]

    for i in (0, 2, -1):
        updated, added = plain.copy(), plain.copy()
        v = 7 if plain.dtype.kind == "i" else 7.5
        updated[i] = v
        added[i] += v
        if plain.shape == (4, 2) and i == 2:
            continue
        got = cr.jit(fn, cache=False)(i, v)
        wanted = (plain[i], updated, added)
        for a, b in zip(got, wanted, strict=False):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(got[3], plain[..., i])


USES: dict[str, Function] = {
    "int": lambda x: int(x[2]), "float": lambda x: float(x[1]), "list": lambda x: x.tolist(),
    "loop": lambda x: [v + 1 for v in x], "len": len, "bool": lambda x: bool(x[0] == 0),
    "shape": lambda x: np.ones([int(n) for n in x]), "sum": lambda x: x.sum(),
    "mean": lambda x: x.mean(), "max": lambda x: x.max(), "argmax": lambda x: x.argmax(),
    "np.sum": np.sum, "np.dot": lambda x: np.dot(x, x), "matmul": lambda x: x @ x,
    "np.sort": np.sort, "np.unique": np.unique, "np.where": lambda x: np.where(x > 1, x, 0),
    "fft": lambda x: np.fft.rfft(x).real, "solve": lambda x: np.linalg.solve(np.eye(4), x),
    "mask": lambda x: x[x > 1], "fancy": lambda x: x[[0, 2]], "slice": lambda x: x[::-1],
    "astype": lambda x: x.astype(np.float32), "cumsum": lambda x: x.cumsum(),
    "range": lambda x: list(range(x[3])), "key": lambda x: {x[1]: 1, x.sum(): 2},
    "string": lambda x: f"{x}", "repr": repr,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),  # noqa: S301  (just written)
    "copy": copy.deepcopy, "contains": lambda x: 2 in x, "item": lambda x: x[:1].item(),
    "stack": lambda x: np.stack([x, x]), "einsum": lambda x: np.einsum("i,i->", x, x),
    "reduce": np.add.reduce, "outer": lambda x: np.multiply.outer(x, x),
}  # fmt: skip


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_other_uses_are_those_of_numpy(use: Function) -> None:
    def comparable(x: Any) -> Any:
        return np.asarray(x) if isinstance(x, KnownArray) else x

    got, wanted = inside(lambda: use(cnp.arange(4))), use(np.arange(4))
    assert type(comparable(got)) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert comparable(got).dtype == wanted.dtype
    np.testing.assert_equal(comparable(got), wanted)


def test_changes_in_place_work_with_numbers() -> None:
    def fn(x: Any) -> Any:
        weights = cnp.zeros(3)
        weights[1] = 2.0
        weights += 1
        return x * weights

    np.testing.assert_array_equal(cr.jit(fn)(np.ones(3)), [1, 3, 1])


def test_a_traced_value_is_not_written_in_place() -> None:
    def fn(x: Any) -> Any:
        weights = cnp.zeros(3)
        weights[1] = x
        return weights

    with pytest.raises(UnsupportedError, match=r"x = x\.at\[index\]\.set\(value\)"):
        cr.jit(fn)(1.0)


def test_arithmetic_with_traced_values() -> None:
    def fn(x: Any) -> Any:
        n = cnp.arange(3)
        results = [n * x, x - n, cnp.eye(3) @ x, x @ cnp.eye(3), n < x, cnp.stack([x, n])]
        assert all(isinstance(r, Array) for r in results)
        return results

    x = np.array([0.5, 1.5, 2.5])
    n = np.arange(3)
    wanted = [n * x, x - n, x, x, n < x, np.stack([x, n])]
    for a, b in zip(cr.jit(fn)(x), wanted, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_slices_to_a_named_extent() -> None:
    fn = cr.jit(lambda x: cnp.arange(9.0)[: x.shape[0]] * x, dims={"x": ("n",)})
    for n in (2, 9):
        np.testing.assert_array_equal(fn(np.full(n, 2.0)), 2.0 * np.arange(n))


def test_shapes_of_named_extents() -> None:
    fn = cr.jit(lambda x: cnp.broadcast_to(np.arange(3.0), (x.shape[0], 3)) * cnp.reshape(
        cnp.zeros(0), (0, x.shape[0])).sum(), dims={"x": ("n",)})  # fmt: skip
    assert fn(np.ones(4)).shape == (4, 3)


def test_derivatives_pass_through_updates() -> None:
    def fn(x: Any, i: Any) -> Any:
        return cnp.sum(cnp.zeros(4).at[i].add(x) ** 2) * cnp.sum(cnp.arange(4.0)[i])

    slope = cr.grad(fn)(3.0, np.array([1, 1, 2]))
    # (2x)**2 + x**2, times 1 + 1 + 2
    assert float(slope) == pytest.approx(2 * 5 * 3.0 * 4)
    rows = cr.vmap(lambda i: cnp.zeros(3).at[i].set(1.0))(np.array([2, 0]))
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])


def test_functions_inside_of_a_trace_are_given_what_they_take_outside() -> None:
    def picked(table: Any, i: Any) -> Any:
        return table["t"][i] * 2.0 + table["t"].at[i].set(0.0).sum()

    def fn(i: Any) -> Any:
        table = {"t": np.arange(4.0)}
        slope = cr.grad(lambda x, table: x * table["t"].at[i].add(x)[i])(3.0, table)
        rows = cr.vmap(lambda k, table: table["t"][k], in_axes=(0, None))(np.arange(3), table)
        again = picked({"t": cnp.asarray(table["t"])}, i)
        return cr.jit(picked)(table, i), again, slope, rows

    first, second, slope, rows = cr.jit(fn)(2)
    assert float(first) == float(second) == 4.0 + 4.0
    assert float(slope) == 2.0 + 2 * 3.0
    np.testing.assert_array_equal(rows, [0, 1, 2])


def test_out_of_range_is_told() -> None:
    with pytest.raises(IndexError, match="out of range"):
        cr.jit(lambda i: cnp.arange(5)[i])(7)


def test_outside_of_a_trace_results_are_plain() -> None:
    assert type(cnp.zeros(3)) is np.ndarray
    assert type(cnp.split(np.arange(4), 2)[0]) is np.ndarray
    assert type(cr.jit(lambda x: (x, cnp.zeros(3)))(1.0)[1]) is np.ndarray


def test_equal_tables_are_one_constant() -> None:
    program = cr.trace(lambda i: [cnp.array([3, 1, 2])[i + k] for k in range(50)], 1).program
    assert sum(n.op.name == "data" for n in program.nodes) == 1


def test_one_kept_beyond_its_trace() -> None:
    table = inside(lambda: cnp.arange(3))
    np.testing.assert_array_equal(table * 2, [0, 2, 4])
    assert cr.jit(lambda x: x.sum())(table) == 3
    with pytest.raises(UnsupportedError, match="no trace under way"):
        table.at[0].set(1)
