"""Kind: numbers of a SymPy expression forced into the dtype of the arrays they meet.

As in sympy#9871 and numpy#6985.  Values are compared with what `sympy.lambdify` computes with NumPy
and, where results are not whole, with mpmath.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DTypeError, UnsupportedError

sympy = pytest.importorskip("sympy")

u, v = sympy.symbols("u v")
HALF = sympy.Rational(1, 2)
EXPRESSIONS = [
    u / 2, u / 3, u + HALF, sympy.pi * u, 0.5 * u, u + 0.7, u**-2, 1 / u, u ** (3 * HALF), u**3,
    sympy.sqrt(u), 1 / sympy.sqrt(u), sympy.sin(u), sympy.floor(u / 2), sympy.Max(u, 5 * HALF),
    sympy.Min(u, 2), sympy.Piecewise((HALF, u > 1), (u, True)), sympy.Piecewise((2, u > 2.5)),
    sympy.sec(u), sympy.Heaviside(u), sympy.sinc(u), sympy.frac(u / 4), u % 3, sympy.Abs(u), 3 - u,
    u - 3, -u, 2**u, sympy.exp(-u) + u, sympy.Integer(3) + 0 * u, HALF + 0 * u,
]  # fmt: skip
SAME_TYPE = [e for e in EXPRESSIONS if not e.has(sympy.Piecewise, sympy.Heaviside)]
"NumPy's select and heaviside make float64 of everything."


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64", "float32"])
@pytest.mark.parametrize("e", EXPRESSIONS, ids=str)
@pytest.mark.filterwarnings("ignore:.*(divide|invalid|overflow).*:RuntimeWarning")
def test_types_are_numpys(e: Any, dtype: str) -> None:
    given = np.array([1, 2, 4], dtype)
    found = cr.jit(lambda a: cr.from_sympy(e, {u: a}))(given)
    right = np.asarray(sympy.lambdify(u, e, modules="numpy")(given))
    if e in SAME_TYPE and e.has(u):
        assert found.dtype == right.dtype
    tolerance = max(np.finfo(np.result_type(found, "f2")).eps, 1e-15) * 8
    np.testing.assert_allclose(found, np.broadcast_to(right, 3), tolerance)


@pytest.mark.parametrize("e", [e for e in EXPRESSIONS if not e.has(sympy.Piecewise)], ids=str)
def test_integers_lose_nothing(e: Any) -> None:
    found = cr.from_sympy(e, {u: np.array([1, 2, 5])})
    right = [float(e.subs(u, k).evalf(30)) for k in (1, 2, 5)]
    np.testing.assert_allclose(found, right, 1e-14)
    one = cr.jit(lambda k: cr.from_sympy(e, {u: k}))
    np.testing.assert_allclose(one(5), right[2], 1e-14)


def test_functions_without_a_ufunc_take_integers() -> None:
    found = cr.from_sympy(sympy.erf(u / 3), {u: np.arange(4)})
    np.testing.assert_allclose(found, [float(mpmath.erf(mpmath.mpf(k) / 3)) for k in range(4)])


@pytest.mark.parametrize(
    ("e", "dtype"), [(300 * u, "uint8"), (10**12 * u, "int32"), (-3 * u, "uint8")]
)
def test_what_numpy_refuses_is_refused(e: Any, dtype: str) -> None:
    given = np.array([1, 2, 4], dtype)
    with pytest.raises(OverflowError):
        sympy.lambdify(u, e, modules="numpy")(given)
    with pytest.raises(DTypeError, match=f"out of bounds for {dtype}"):
        cr.jit(lambda a: cr.from_sympy(e, {u: a}))(given)


def test_symbols_of_different_types_and_shapes_meet_as_in_numpy() -> None:
    a, b = np.arange(3), np.array([[0.5], [1.5]], np.float32)
    found = cr.jit(lambda a, b: cr.from_sympy(u * v + u / 2, {u: a, v: b}))(a, b)
    np.testing.assert_array_equal(found, a * b + a / 2)
    flags = np.array([True, False, True])
    found = cr.jit(lambda a, b: cr.from_sympy(u * v + 1, {u: a, v: b}))(a, flags)
    np.testing.assert_array_equal(found, a * flags + 1)
    assert found.dtype == np.int64
    # Python numbers do not widen arrays.
    narrow = cr.jit(lambda k, b: cr.from_sympy(u / 2 * v, {u: k, v: b}))(3, b)
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow, 1.5 * b)


def test_a_symbol_of_integers_keeps_its_fractions() -> None:
    k = cr.symbol("k", (), np.int64)
    half = cr.from_sympy(u / 2, {u: k})
    assert cr.function([k], half)(3) == 1.5


def test_plain_values_are_computed_with() -> None:
    np.testing.assert_array_equal(cr.from_sympy(u / 2, {u: np.ones(2)}), [0.5, 0.5])
    assert cr.from_sympy(u / 2, {"u": 3}) == 1.5
    assert cr.from_sympy(sympy.pi, {}) == np.pi
    with pytest.raises(UnsupportedError, match="the symbol v is not given"):
        cr.from_sympy(u + v, {u: 1})
    with pytest.raises(UnsupportedError, match="the symbol u is not given"):
        cr.from_sympy(u, {})


A, B = sympy.MatrixSymbol("A", 2, 2), sympy.MatrixSymbol("B", 2, 2)
MATRICES = [
    A / 2, A * A, A**-1, A**-2, A - A.T, -A, A + sympy.Identity(2), A * B, A + B, A.T * B / 3,
    sympy.Determinant(A), sympy.Trace(A), A * sympy.Matrix([[HALF, 2], [3, 4]]),
    sympy.HadamardPower(A, -1), sympy.HadamardProduct(A, B), A[0, 1] / 2,
]  # fmt: skip


@pytest.mark.parametrize("e", MATRICES, ids=str)
@pytest.mark.parametrize("dtype", ["int64", "int32", "float64"])
def test_matrices_of_integers(e: Any, dtype: str) -> None:
    """Compared with SymPy's own arithmetic of explicit matrices."""
    a, b = np.array([[1, 2], [3, 5]], dtype), np.array([[0.25, 1.0], [2.0, -3.5]])
    found = cr.from_sympy(e, {A: a, B: b})
    exact = e.subs({A: sympy.Matrix(a.astype(int).tolist()), B: sympy.Matrix(b.tolist())}).doit()
    exact = exact.as_explicit() if hasattr(exact, "as_explicit") else exact
    right = exact.tolist() if hasattr(exact, "tolist") else exact
    np.testing.assert_allclose(found, np.array(right, float), 1e-13)
