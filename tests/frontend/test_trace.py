from __future__ import annotations

import array
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import DTypeError, ShapeError, StructureError
from chainrule.frontend.array import Array
from chainrule.frontend.trace import spec, trace
from chainrule.ir.program import check
from chainrule.ir.show import show
from chainrule.transform import grad


class State(NamedTuple):
    count: Any
    mean: Any


@dataclass(frozen=True)
class Net:
    W: Any
    b: Any

    def __call__(self, x: Any) -> Any:
        return cnp.tanh(x @ self.W + self.b)


def test_program_names_inputs_and_outputs() -> None:
    params = {"W1": np.ones((8, 3)), "layers": [Net(np.ones((3, 2)), np.zeros(2))]}
    traced = trace(
        lambda params, x: {"y": params["layers"][0](x @ params["W1"])}, params,
        np.ones((5, 8)), dims={"x": ("batch", 8)},
    )  # fmt: skip
    check(traced.program)
    assert traced.program.paths == ("params/W1", "params/layers/0/W", "params/layers/0/b", "x")
    assert traced.program.output_paths == ("y",)
    assert traced.program.dims == ("batch",)
    assert traced.names == ("params", "x")
    assert traced.in_tree.to_runtime()[0] == "tuple"
    assert traced.run(params, np.ones((2, 8)))["y"].shape == (2, 2)


def test_python_numbers_are_weak() -> None:
    x = np.ones(3, np.float32)
    traced = trace(lambda x, rate: x * rate, x, 0.5)
    assert traced.weak_inputs == (False, True)
    assert traced.run(x, 0.5).dtype == np.float32
    strong = trace(lambda x, rate: x * rate, x, np.float64(0.5))
    assert strong.run(x, 0.5).dtype == np.float64
    assert (
        trace(lambda n, x: n * x, 3, np.ones(2, np.uint8)).run(3, np.ones(2, np.uint8)).dtype
        == np.uint8
    )


@pytest.mark.parametrize("make", [
    lambda s: s + 1, lambda s: 2 * s, lambda s: s / 2, lambda s: -s, lambda s: s**2, abs,
])  # fmt: skip
def test_operators_keep_numbers_weak_and_functions_do_not(make: Any) -> None:
    x = np.ones(2, np.float32)
    assert trace(lambda s, x: make(s) * x, 2.0, x).run(2.0, x).dtype == np.float32
    assert trace(lambda s, x: cnp.sqrt(s) * x, 2.0, x).run(2.0, x).dtype == np.float64
    assert (np.sqrt(2.0) * x).dtype == np.float64


DTYPES = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint32, np.bool_]


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", [*DTYPES, 1, 2.5, True])
@pytest.mark.parametrize(
    "op", [np.add, np.multiply, np.divide, np.maximum, np.power, np.less, np.bitwise_and]
)
def test_promotion_is_numpys(a: Any, b: Any, op: np.ufunc) -> None:
    x = np.ones(2, a)
    y = b if isinstance(b, int | float) else np.ones(2, b)
    try:
        wanted = op(x, y).dtype
    except TypeError:
        with pytest.raises(DTypeError):
            trace(lambda x: op(x, y), x)
        return
    if wanted not in [np.dtype(d) for d in DTYPES]:
        with pytest.raises(DTypeError):
            trace(lambda x: op(x, y), x)
        return
    assert trace(lambda x: op(x, y), x).run(x).dtype == wanted
    if isinstance(b, int | float):
        assert trace(lambda x: op(y, x), x).run(x).dtype == wanted
    else:
        assert trace(lambda x, y: op(y, x), x, y).run(x, y).dtype == wanted


def test_comparison_with_a_number_out_of_range() -> None:
    x = np.array([3], np.uint8)
    assert trace(lambda x: (x < 300, x == -1, x >= -5), x).run(x) == ([True], [False], [True])


NARROW = [np.int32, np.uint8, np.uint32]


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("function", [
    lambda x, k: x + k, lambda x, k: k - x, lambda x, k: x * k, lambda x, k: cnp.maximum(k, x),
    lambda x, k: cnp.where(x > 1, x, k), lambda x, k: cnp.clip(x, 0, k),
    lambda x, k: x.at[0].set(k), lambda x, k: x + cnp.full(2, k, x.dtype),
    lambda x, k: cr.vmap(lambda e: e + k)(x),
])  # fmt: skip
def test_a_python_integer_has_to_fit(function: Any, dtype: Any, over: bool) -> None:
    x = np.array([1, 2], dtype)
    bounds = np.iinfo(dtype)
    edge, outside = (bounds.max, bounds.max + 1) if over else (bounds.min, int(bounds.min) - 1)
    program, compiled = trace(function, x, 1), cr.jit(function)
    expected = trace(function, x, dtype(1)).run(x, dtype(edge))
    message = f"the Python integer k is out of bounds for {np.dtype(dtype)}, {bounds.min} to"
    for run in (program.run, compiled):
        got = run(x, int(edge))
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)
        with pytest.raises(OverflowError, match=message) as caught:
            run(x, outside)
        assert isinstance(caught.value, cr.OutOfRangeError)


def test_numbers_made_of_python_integers_have_to_fit() -> None:
    x = np.ones(2, np.uint8)
    add = cr.jit(lambda x, k: x + (k + 1))
    np.testing.assert_array_equal(add(x, 253), np.array([255, 255], np.uint8))
    with pytest.raises(OverflowError, match="a Python integer is out of bounds for uint8"):
        add(x, 255)
    slope = cr.grad(lambda w, k: cnp.sum(w * (x + k)))
    np.testing.assert_array_equal(slope(np.ones(2), 254), [255, 255])
    with pytest.raises(cr.OutOfRangeError, match="integer k is out of bounds for uint8"):
        slope(np.ones(2), 256)


def test_what_takes_any_integer() -> None:
    f, u = np.ones(2, np.float32), np.array([3, 255], np.uint8)
    np.testing.assert_array_equal(cr.jit(lambda x, k: x * k)(f, 2**40), f * 2**40)
    for compare in (np.less, np.equal, np.not_equal, np.greater_equal):
        compiled = cr.jit(lambda x, k, c=compare: (c(x, k), c(k, x)), static_argnames="c")
        for number in (3, 259, -1, 2**40):
            got = compiled(u, number, compare)
            np.testing.assert_array_equal(got, (compare(u, number), compare(number, u)))


def test_an_extent_has_to_fit() -> None:
    def plus(x: Any) -> Any:
        return x + x.shape[0], x == x.shape[0]

    compiled = cr.jit(plus, dims={"x": ("n",)})
    total, same = compiled(np.full(200, 50, np.uint8))
    assert (total == 250).all()
    assert not same.any()
    with pytest.raises(ShapeError, match="uint8 holds no extent above 255: n"):
        compiled(np.ones(300, np.uint8))


def test_nothing_is_equal_to_none() -> None:
    x = np.arange(3.0)

    def compare(x: Any) -> Any:
        return x == None, x != None, cnp.equal(None, x), x.sum() == None  # noqa: E711

    expected = ([False] * 3, [True] * 3, [False] * 3, False)
    for got in (trace(compare, x).run(x), cr.jit(compare)(x)):
        assert [np.asarray(g).tolist() for g in got] == list(expected)
        assert all(np.asarray(g).dtype == bool for g in got)


def test_arrays_met_on_the_way_are_constants() -> None:
    data = np.arange(6.0).reshape(2, 3)
    traced = trace(lambda x: data @ x + np.float32(1), np.ones(3))
    before = traced.run(np.ones(3))
    data[:] = 0
    np.testing.assert_array_equal(traced.run(np.ones(3)), before)


def test_a_uniform_constant_takes_no_memory() -> None:
    traced = trace(lambda x: x + np.full((50, 50), 2.5), np.ones((50, 50)))
    assert not any(n.op.name == "data" for n in traced.program.nodes)
    signed = trace(lambda x: x * np.array([0.0, -0.0]), np.ones(2))
    assert np.signbit(signed.run(np.ones(2))).tolist() == [False, True]


def test_arguments_of_other_kinds() -> None:
    given = (
        array.array("d", [1.0, 2.0]),
        memoryview(array.array("d", [0.0, 1.0])),
        np.float32(3),
        4,
        True,
    )
    traced = trace(lambda a, b, c, d, e: (a + b, c * d, e), *given)
    total, product, flag = traced.run(*given)
    assert total.tolist() == [1.0, 3.0]
    assert (product.dtype, product, flag) == (np.float32, 12.0, True)


def test_byte_order_of_arguments_does_not_matter() -> None:
    x = np.arange(3.0).astype(">f8")
    assert trace(lambda x: x * 2 + x, x).run(x).tolist() == [0.0, 3.0, 6.0]
    assert trace(lambda y: y + x, np.ones(3)).run(np.ones(3)).tolist() == [1.0, 2.0, 3.0]


def test_results_of_other_kinds() -> None:
    traced = trace(
        lambda x: [x, 1.5, np.arange(3), None, x.shape[0]], np.ones(2), dims={"x": ("n",)}
    )
    result = traced.run(np.ones(5))
    assert (result[1], result[3], result[4]) == (1.5, None, 5)
    assert result[2].tolist() == [0, 1, 2]


def test_static_arguments_stay_python_values() -> None:
    def fn(x: Any, n: int, *, mode: str = "a") -> Any:
        return cnp.tile(x, n) if mode == "a" else x

    traced = trace(fn, np.ones(2), 3, static_argnames=("n", "mode"), kwargs={"mode": "a"})
    assert traced.names == ("x",)
    assert traced.static == (("n", 3), ("mode", "a"))
    assert traced.run(np.ones(2)).shape == (6,)


def test_keyword_arguments_become_positions() -> None:
    traced = trace(lambda a, b: a - b, kwargs={"b": 1.0, "a": 3.0})
    assert traced.names == ("a", "b")
    assert traced.run(3.0, 1.0) == 2.0


def test_starred_parameters() -> None:
    traced = trace(lambda first, *rest: first + sum(rest), 1.0, 2.0, 3.0)
    assert traced.program.paths == ("first", "rest/0", "rest/1")


def test_names_of_functions() -> None:
    def loss(x: Any, k: Any) -> Any:
        return x * k

    assert trace(loss, 1.0, 1.0).program.name == "loss"
    assert trace(functools.partial(loss, k=2.0), 1.0).program.name == "loss"
    assert trace(Net(np.ones((2, 2)), 0.0), np.ones(2)).program.name == "Net"


def test_specs_name_extents() -> None:
    traced = trace(lambda x: x.mean(axis=0), spec(("batch", 3), np.float32))
    assert traced.program.dims == ("batch",)
    np.testing.assert_array_equal(traced.run(np.ones((4, 3), np.float32)), np.ones(3, np.float32))


def test_dims_of_leaves() -> None:
    params = {"W": np.ones((3, 2)), "b": np.ones(2)}
    traced = trace(lambda params: params["W"] + params["b"], params, dims={"params/W": ("n", None)})
    assert traced.program.dims == ("n",)
    assert traced.run({"W": np.ones((7, 2)), "b": np.ones(2)}).shape == (7, 2)


def test_arithmetic_with_extents() -> None:
    def fn(x: Any) -> Any:
        n = x.shape[0]
        return {
            "mean": x.sum() / n, "inverse": 1.0 / n, "root": np.sqrt(n), "double": x * n,
            "half": n / 2, "power": 0.5**n, "size": x.size + 1,
            "left": n * x, "mixed": np.float32(2) * n,
            "array": np.ones(2) * n, "difference": n - 0.5, "negative": 1 - n,
        }  # fmt: skip

    x = np.arange(4.0, dtype=np.float32)
    got = trace(fn, x, dims={"x": ("n",)}).run(x)
    for name, value in fn(x).items():
        np.testing.assert_allclose(got[name], value, err_msg=name)
    assert got["mean"].dtype == got["double"].dtype == got["left"].dtype == np.float32


def test_run_checks_its_arguments() -> None:
    traced = trace(lambda x, y: x + y, np.ones(3), np.ones(3), dims={"x": ("n",), "y": ("n",)})
    with pytest.raises(ShapeError, match="y has another shape"):
        traced.run(np.ones(3), np.ones(4))
    with pytest.raises(ShapeError, match="x has another shape"):
        traced.run(np.ones((3, 1)), np.ones(3))
    with pytest.raises(StructureError, match="nest otherwise"):
        traced.run(np.ones(3), [np.ones(3)])


def test_reshape_of_named_extents_is_guarded() -> None:
    traced = trace(lambda x: x.reshape(-1, 4), np.ones((6, 2)), dims={"x": ("n", 2)})
    assert traced.run(np.ones((6, 2))).shape == (3, 4)
    with pytest.raises(ShapeError, match="cannot reshape"):
        traced.run(np.ones((5, 2)))


def test_equal_functions_print_equal_programs() -> None:
    def fn(x: Any) -> Any:
        return grad(lambda x: cnp.sum(cnp.tanh(x) ** 2))(x)

    assert show(trace(fn, np.ones(3)).program) == show(trace(fn, np.ones(3)).program)


def test_origins_name_the_users_line() -> None:
    traced = trace(lambda x: cnp.mean(x) * 2, np.ones(3))
    lines = {str(o) for n in traced.program.nodes for o in traced.program.graph.origins.get(n, ())}
    assert any(line.startswith("test_trace.py:") for line in lines)
    assert not any("reductions" in line or "fromnumeric" in line for line in lines)


def test_handles() -> None:
    seen: list[Array] = []

    def fn(x: Any) -> Any:
        seen.append(x)
        assert (x.ndim, x.size, x.nbytes, x.itemsize, x.dtype) == (2, 12, 96, 8, np.float64)
        assert x.shape == (3, 4)
        assert len(x) == 3
        assert [r.shape for r in x] == [(4,)] * 3
        assert np.shape(x) == (3, 4)
        assert x.copy() is x
        assert repr(x) == "Array(f64[3, 4])"
        with pytest.raises(TypeError, match="cannot be a key"):
            hash(x)
        return x

    trace(fn, np.ones((3, 4)))
    assert isinstance(seen[0], Array)


def test_arrays_on_the_left() -> None:
    left = np.arange(4.0)

    def fn(x: Any) -> Any:
        return (
            left + x, left - x, left * x, left / x, left @ x, left**x, left < x, np.float64(2) * x,
            np.int32(2) - x, left.reshape(2, 2) @ x.reshape(2, 2), left // x, left % x,
        )  # fmt: skip

    x = np.array([1.0, 2.0, 3.0, 4.0])
    for a, b in zip(trace(fn, x).run(x), fn(x), strict=True):
        np.testing.assert_allclose(a, b)


@pytest.mark.broad
def test_a_long_chain_is_traced() -> None:
    def fn(x: Any) -> Any:
        for _ in range(20_000):
            x = x * 1.0001 + 0.1
        return x

    traced = trace(grad(fn), 1.0)
    assert float(traced.run(1.0)) == pytest.approx(1.0001**20_000)


@pytest.mark.parametrize("shape", [(-1,), (2.5,), (None, 3), ("a b",), (True,)])
def test_a_spec_takes_numbers_and_names(shape: tuple[Any, ...]) -> None:
    with pytest.raises(ShapeError, match="is no extent"):
        spec(shape)
