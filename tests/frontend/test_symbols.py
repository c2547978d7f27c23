from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ShapeError, StructureError, UnsupportedError
from chainrule.frontend.trace import trace
from chainrule.ir.dims import named
from chainrule.symbols import (
    Expression,
    as_function,
    from_sympy,
    gradient,
    hessian,
    is_expression,
    jacobian,
    simplify,
    substitute,
    symbol,
)


def test_linear_regression_prints_as_people_write_it() -> None:
    x, w, y = symbol("x", ("n", 8)), symbol("w", (8,)), symbol("y", ("n",))
    loss = cnp.sum((x @ w - y) ** 2)
    assert str(gradient(loss, w)) == "2 xᵀ (x w − y)"
    assert str(loss) == "sum((x w − y)²)"
    assert isinstance(loss, Expression)


def test_lists_in_lists_out() -> None:
    a, b = symbol("a"), symbol("b")
    assert [str(g) for g in gradient(a * b, [a, b])] == ["b", "a"]
    assert isinstance(gradient(a * b, (a, b)), tuple)


def test_function_of_symbols() -> None:
    x, w = symbol("x", ("n", 3)), symbol("w", (3,))
    value = cnp.tanh(x @ w).sum()
    fn, dims = as_function([x, w], {"value": value, "dw": gradient(value, w)})
    assert dims == {"x": (named("n"), 3), "w": (3,)}
    X, W = np.random.default_rng(0).normal(size=(5, 3)), np.ones(3)
    got = trace(fn, X, W, dims=dims).run(X, W)
    np.testing.assert_allclose(got["value"], np.tanh(X @ W).sum())
    np.testing.assert_allclose(got["dw"], X.T @ (1 - np.tanh(X @ W) ** 2))
    with pytest.raises(StructureError, match="symbols that are no inputs"):
        as_function([x], value)


def test_symbols_of_one_name_are_two() -> None:
    a, b = symbol("x"), symbol("x")
    assert [str(g) for g in gradient(a - 2 * b, [a, b])] == ["1", "−2"]
    with pytest.raises(StructureError, match="names of inputs must differ"):
        as_function([a, b], a - b)


def test_large_expressions_meet() -> None:
    a, b = symbol("a"), symbol("b")
    left, right = a, b
    for _ in range(5):
        left, right = left * a, right + b
    both = left * right + right * left
    fn, _ = as_function([a, b], [both, gradient(both, a)])
    value, slope = trace(fn, 2.0, 3.0).run(2.0, 3.0)
    assert (value, slope) == (2 * 2.0**6 * 18.0, 2 * 6 * 2.0**5 * 18.0)


def test_substitute() -> None:
    x, y = symbol("x", (3,)), symbol("y", (3,))
    doubled = substitute(x * y, {y: 2.0})
    fn, _ = as_function([x], doubled)
    assert trace(fn, np.ones(3)).run(np.ones(3)).tolist() == [2.0, 2.0, 2.0]
    assert str(substitute(x + y, {"x": y})) == "2 y"
    with pytest.raises(StructureError, match="there is no symbol z"):
        substitute(x, {"z": 1.0})
    with pytest.raises(ShapeError, match="does not broadcast"):
        substitute(x, {x: np.ones(2)})


def test_dense_derivatives() -> None:
    x = symbol("x", (3,))
    fn, _ = as_function([x], [jacobian(x**2, x), hessian((x**3).sum(), x)])
    value = np.array([1.0, 2.0, 3.0])
    first, second = trace(fn, value).run(value)
    np.testing.assert_allclose(first, np.diag(2 * value))
    np.testing.assert_allclose(second, np.diag(6 * value))


def test_sympy_both_ways() -> None:
    sympy = pytest.importorskip("sympy")
    x = symbol("x")
    expression = from_sympy(sympy.sin(sympy.Symbol("x")) ** 2, {"x": x})
    slope = gradient(expression, x).to_sympy()
    assert float(slope.subs(dict.fromkeys(slope.free_symbols, 1))) == pytest.approx(np.sin(2.0))
    assert str(simplify(x * 1 + 0)) == "x"


def test_what_is_no_symbol() -> None:
    x = symbol("x")
    assert is_expression({"a": x})
    with pytest.raises(StructureError, match="with respect to symbols"):
        gradient(x * x, x * x)
    with pytest.raises(ShapeError, match="must return one number"):
        gradient(symbol("v", (3,)), x)


def test_what_other_expressions_rely_on_is_not_asked_of_a_function() -> None:
    x = cr.symbol("x", ("n",))
    long = x[5:] * 2
    assert cr.function([x], {"y": x * 2})(np.ones(2))["y"].tolist() == [2.0, 2.0]
    fn = cr.function([x], {"y": long})
    assert fn(np.ones(7))["y"].tolist() == [2.0, 2.0]
    with pytest.raises(ShapeError, match="a slice bound of 5 is beyond an axis of n"):
        fn(np.ones(2))


def test_what_an_expression_relies_on_that_is_its_own_argument_is_asked() -> None:
    x = cr.symbol("x", ("n",))
    last = x[-3_000_000:]
    assert last.node is x.node, "it is all of what symbols are taken to be"
    fn = cr.function([x], {"y": last})
    with pytest.raises(ShapeError, match="a slice bound of -3000000"):
        fn(np.ones(3_000_001))


def test_sizes_of_symbols_are_not_compared() -> None:
    x = cr.symbol("x", ("n",))
    assert x.shape[0] >= 0
    assert x.shape[0] != x.shape[0] + 1
    for compare in (lambda n: n > 3, lambda n: n == 3, bool):
        with pytest.raises(UnsupportedError, match="known only when the compiled function is"):
            compare(x.shape[0])
