"""Kinds: SymPy symbols told apart by name; products of matrices taken as other products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, ShapeError, UnsupportedError

sympy = pytest.importorskip("sympy")


def value(expression: Any, symbols: dict[Any, tuple[Any, Any]]) -> Any:
    """Return the number or array that a SymPy expression is, computed by a compiled function."""
    given = {s: handle for s, (handle, _) in symbols.items()}
    made = cr.from_sympy(expression, given)
    handles = list(dict.fromkeys(given.values()))
    values = dict(symbols.values())
    return cr.function(handles, made)(*(values[h] for h in handles))


X, Y = cr.symbol("x"), cr.symbol("y")
TWINS = [
    (sympy.Dummy("t"), sympy.Dummy("t")),
    (sympy.Symbol("t"), sympy.Dummy("t")),
    (sympy.Symbol("t", positive=True), sympy.Symbol("t")),
    (sympy.Symbol("t", real=True), sympy.Symbol("t", integer=True)),
]


@pytest.mark.parametrize(("a", "b"), TWINS)
def test_symbols_of_one_name_are_told_apart(a: Any, b: Any) -> None:
    """As in sympy#14648."""
    assert value(a - 2 * b, {a: (X, 5.0), b: (Y, 3.0)}) == -1.0
    assert value(a - 2 * b, {b: (X, 5.0), a: (Y, 3.0)}) == -7.0
    with pytest.raises(UnsupportedError, match="two symbols are called t"):
        cr.from_sympy(a - 2 * b, {"t": X})
    with pytest.raises(UnsupportedError, match="symbols differ in their assumptions"):
        cr.from_sympy(a + 1, {b: X})
    assert value(a + 1, {"t": (X, 5.0)}) == 6.0


def test_inputs_of_one_name_get_names_of_their_own() -> None:
    one, two = cr.symbol("t"), cr.symbol("t")
    back = (one - 2 * two).to_sympy()
    assert len(back.free_symbols) == 2


RANDOM = np.random.default_rng(3)
A_, B_ = RANDOM.normal(size=(2, 3, 3))
C_ = RANDOM.normal(size=(3, 2))
V_, W_ = RANDOM.normal(size=(2, 3))
M = sympy.MatrixSymbol
A, B, C, V, W = M("A", 3, 3), M("B", 3, 3), M("C", 3, 2), M("v", 3, 1), M("w", 3, 1)
R = M("r", 1, 3)
S = sympy.Symbol("s")
COLUMNS: dict[Any, tuple[Any, Any]] = {
    A: (cr.symbol("A", (3, 3)), A_), B: (cr.symbol("B", (3, 3)), B_),
    C: (cr.symbol("C", (3, 2)), C_), S: (cr.symbol("s"), 0.7),
    V: (cr.symbol("v", (3, 1)), V_[:, None]), W: (cr.symbol("w", (3, 1)), W_[:, None]),
    R: (cr.symbol("r", (1, 3)), V_[None, :]),
}  # fmt: skip
VECTORS = COLUMNS | {V: (cr.symbol("v", (3,)), V_), W: (cr.symbol("w", (3,)), W_),
                     R: (cr.symbol("r", (3,)), V_)}  # fmt: skip
MATRICES = [
    V * W.T, V.T * W, V * V.T * W, W.T * A * V, A * V, V.T * A, V.T, V * R, R * V, R.T * R, A * B,
    A * B * C, (A * B).T, A.T * B, C.T * A * C, A**2, A**3, A**5, A**0, A.I, A**-2, A.I * V,
    2 * A - B.T, S * A * B, A * S * V, -A, A + sympy.Identity(3), sympy.Identity(3) * V,
    A * sympy.OneMatrix(3, 2), sympy.ZeroMatrix(3, 3) + A, A * V + S * W,
    sympy.HadamardProduct(A, B), sympy.HadamardPower(A, 2), A.applyfunc(sympy.sin) * B,
    A * sympy.Matrix([[1, 2], [3, 4], [0, 1]]), V * W.T * sympy.Trace(A),
    sympy.Matrix([[1, 2, 3]]) * V, (V * W.T).T, V - 3 * W,
]  # fmt: skip
NUMBERS = [
    sympy.Trace(A * B), sympy.Trace(V * W.T), sympy.Determinant(A), S * sympy.Determinant(A) ** 2,
    sympy.exp(sympy.Trace(A) * S), A[0, 2] + A[2, 0] * S, (A * B)[1, 2], sympy.DotProduct(V, W),
]  # fmt: skip


def expected(expression: Any) -> Any:
    """Evaluate with SymPy itself: explicit matrices of the same numbers."""
    numbers = {s: sympy.Matrix(v) if s.is_Matrix else v for s, (_, v) in COLUMNS.items()}
    found = expression.subs(numbers).doit()
    if hasattr(found, "as_explicit"):
        found = found.as_explicit()
    return np.array(found.evalf() if hasattr(found, "evalf") else found).astype(float)


@pytest.mark.parametrize("expression", MATRICES, ids=str)
def test_matrices_are_sympys(expression: Any) -> None:
    """As in sympy#5858: a column times a row is a matrix."""
    wanted = expected(expression)
    found = value(expression, COLUMNS)
    assert found.shape == tuple(map(int, expression.shape))
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    flat = value(expression, VECTORS)
    given_flat = any(s in expression.free_symbols for s in (V, W, R))
    assert flat.shape == (tuple(e for e in wanted.shape if e != 1) if given_flat else wanted.shape)
    np.testing.assert_allclose(flat, wanted.reshape(flat.shape), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("expression", NUMBERS, ids=str)
def test_numbers_made_of_matrices_are_sympys(expression: Any) -> None:
    for symbols in (COLUMNS, VECTORS):
        found = value(expression, symbols)
        assert found.shape == ()
        np.testing.assert_allclose(found, expected(expression), rtol=1e-10)


def test_extents_that_sympy_knows_by_a_symbol() -> None:
    n, m = sympy.symbols("n m")
    x, v = M("X", n, 3), M("v", 3, 1)
    rows = cr.symbol("X", ("n", 3))
    made = cr.from_sympy(x * v, {x: rows, v: cr.symbol("v", (3,))})
    assert made.shape == (rows.shape[0],)
    square = M("Q", n, n)
    shifted = cr.from_sympy(square + sympy.Identity(n), {square: cr.symbol("Q", (3, 3))})
    assert shifted.shape == (3, 3)
    with pytest.raises(ShapeError):
        cr.from_sympy(square, {square: cr.symbol("Q", (3, 4))})
    both = {x: rows, M("Y", n, 3): cr.symbol("Y", ("m", 3))}
    with pytest.raises(ShapeError):
        cr.from_sympy(x + M("Y", n, 3), both)
    with pytest.raises(UnsupportedError, match="the extent m"):
        cr.from_sympy(v.T * sympy.Identity(3) * v * sympy.OneMatrix(1, m), {v: cr.symbol("v", 3)})


WRONG = [
    (A * B, {A: cr.symbol("A", (3, 4)), B: cr.symbol("B", (3, 3))}, ShapeError),
    (A * V, {A: cr.symbol("A", (3, 3)), V: cr.symbol("v", (4,))}, ShapeError),
    (A + B, {A: cr.symbol("A", (3,)), B: cr.symbol("B", (3, 3))}, ShapeError),
    (A, {A: cr.symbol("A")}, ShapeError),
    (A, {A: cr.symbol("A", (2, 3, 3))}, ShapeError),
    (S * A, {S: cr.symbol("s", (3,)), A: cr.symbol("A", (3, 3))}, ShapeError),
    (A**S, {S: cr.symbol("s"), A: cr.symbol("A", (3, 3))}, UnsupportedError),
    (sympy.exp(A), {A: cr.symbol("A", (3, 3))}, UnsupportedError),
    (sympy.Symbol("P", commutative=False) * 2, {"P": cr.symbol("P", (3, 3))}, UnsupportedError),
    (sympy.Tuple(S, 1), {S: cr.symbol("s")}, UnsupportedError),
    (sympy.I * S, {S: cr.symbol("s")}, UnsupportedError),
    ([S], {S: cr.symbol("s")}, ChainruleError),
    ("s + 1", {S: cr.symbol("s")}, UnsupportedError),
    (sympy.Derivative(S**2, S), {S: cr.symbol("s")}, UnsupportedError),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "symbols", "error"), WRONG, ids=lambda x: str(x)[:40])
def test_what_does_not_fit_is_refused(expression: Any, symbols: Any, error: Any) -> None:
    with pytest.raises(error):
        cr.from_sympy(expression, symbols)


@pytest.mark.parametrize("kind", [sympy.Matrix, sympy.ImmutableMatrix, sympy.SparseMatrix])
def test_matrices_of_expressions_become_arrays(kind: Any) -> None:
    t = sympy.Symbol("t")
    found = value(kind([[t, 2], [sympy.sin(t), t**2]]), {t: (X, 0.5)})
    np.testing.assert_allclose(found, [[0.5, 2.0], [np.sin(0.5), 0.25]])
    row = value(sympy.Array([t, 1, t + 1]), {t: (cr.symbol("x", (2,)), np.array([1.0, 2.0]))})
    np.testing.assert_allclose(row, [[1, 2], [1, 1], [2, 3]])
    assert value(sympy.Matrix([[1, 2]]), {t: (X, 0.5)}).tolist() == [[1.0, 2.0]]


def test_derivatives_of_matrix_expressions() -> None:
    v, a = VECTORS[V][0], VECTORS[A][0]
    form = cr.from_sympy(V.T * A * V, {V: v, A: a})
    slope = cr.function([v, a], cr.gradient(form, v))(V_, A_)
    np.testing.assert_allclose(slope, (A_ + A_.T) @ V_, rtol=1e-12)


def test_shared_parts_are_built_once() -> None:
    """A tree of 2**60 leaves is a few objects."""
    t = sympy.Symbol("t")
    shared, refused = t, sympy.besselj(0, t)
    for _ in range(30):
        shared = sympy.Add(sympy.sin(shared), sympy.cos(shared), evaluate=False)
        refused = sympy.Add(sympy.sin(refused), sympy.cos(refused), evaluate=False)
    made = cr.from_sympy(shared, {t: X})
    with pytest.raises(UnsupportedError, match="besselj"):
        cr.from_sympy(refused, {t: X})
    exact = 0.3
    for _ in range(30):
        exact = np.sin(exact) + np.cos(exact)
    assert float(cr.function([X], made)(0.3)) == pytest.approx(exact, rel=1e-9)
