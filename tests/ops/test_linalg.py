"""Factors, systems and determinants: values, batches, singular matrices, what is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest
from tests.compiled.run import TARGETS, Compiled, targets
from tests.ops.matrices import (
    MATRICES,
    SYSTEMS,
    Function,
    close,
    definite,
    general,
    program_of,
    triangular_or,
)

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError, ShapeError, UnsupportedError
from chainrule.frontend.trace import spec, trace
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import Program
from chainrule.ir.types import Array
from chainrule.ops.cost import flops

SIZES: Final = (0, 1, 2, 3, 8, 17, 32, 33, 64, 97)
solve_triangular: Final = cnp.linalg.solve_triangular


# Values


@pytest.mark.share(16, broad=2)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_of_any_size_by_one_compilation(name: str, dtype: str, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    ours, theirs = SYSTEMS[name]
    a, b = spec(("m", "n", "n"), dtype), spec(("m", "n", "k"), dtype)
    compiled = Compiled(program_of(ours, a, b), target=target)
    for n in SIZES:
        for lead, columns in ((1, 1), (2, 3), (2, 17), (0, 2), (2, 0)):
            random = np.random.default_rng([n, columns])
            x = triangular_or(name, general(random, lead, n, n)).astype(dtype)
            y = random.normal(size=(lead, n, columns)).astype(dtype)
            close(compiled(x, y)[0], theirs(x, y), dtype, f"{n}, {columns} columns")


@pytest.mark.share(8)
@pytest.mark.parametrize("numerics", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_of_known_size(name: str, numerics: str) -> None:
    ours, theirs = SYSTEMS[name]
    for n, columns in [
        (0, 1),
        (1, 1),
        (3, 1),
        (9, 1),
        (65, 1),
        (3, 4),
        (17, 9),
        (32, 5),
        (33, 8),
        (70, 40),
    ]:
        random = np.random.default_rng([n, columns])
        x = triangular_or(name, general(random, 2, n, n))
        y = random.normal(size=(2, n, columns))
        compiled = Compiled(program_of(ours, x, y), numerics=numerics)
        close(compiled(x, y)[0], theirs(x, y), "float64", f"{n}, {columns} columns")


@pytest.mark.share(8, broad=2)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MATRICES)
def test_functions_of_a_matrix_of_any_size(name: str, dtype: str, target: str) -> None:
    if target not in targets():
        pytest.skip(f"this machine does not run {target}")
    ours, theirs = MATRICES[name]
    compiled = Compiled(program_of(ours, spec(("m", "n", "n"), dtype)), target=target)
    for n in SIZES:
        x = general(np.random.default_rng(n), 2, n, n).astype(dtype)
        close(compiled(x)[0], np.asarray(theirs(x)), dtype, f"n = {n}")
        if n in (2, 17, 33):
            static = Compiled(program_of(ours, x[0]), target=target)
            close(static(x[0])[0], np.asarray(theirs(x[0])), dtype, f"n = {n}, static")


@pytest.mark.parametrize("names", [("i", "j", "p"), ("t", "k", "r"), ("r", "c", "t")], ids=str)
def test_extents_may_have_the_names_of_loops(names: tuple[str, str, str]) -> None:
    lead, n, columns = names
    random = np.random.default_rng(0)
    a, b = general(random, 2, 40, 40), random.normal(size=(2, 40, 3))
    ours = lambda a, b: (cnp.linalg.solve(a, b), cnp.linalg.cholesky(a @ a.mT))  # noqa: E731
    compiled = Compiled(program_of(ours, spec((lead, n, n)), spec((lead, n, columns))))
    close(compiled(a, b)[0], np.linalg.solve(a, b), "float64", str(names))
    close(compiled(a, b)[1], np.linalg.cholesky(a @ a.mT), "float64", str(names))


def test_a_factor_may_take_over_the_memory_of_its_matrix() -> None:
    a = definite(np.random.default_rng(0), 40, 40)
    factor = cr.jit(cnp.linalg.cholesky, donate_argnames="a")
    given = a.copy()
    got = factor(given)
    np.testing.assert_allclose(got, np.linalg.cholesky(a), rtol=1e-12)


def test_one_vector_and_broadcasting() -> None:
    random = np.random.default_rng(0)
    shapes = [
        ((4, 4), (4,)), ((4, 4), (3, 4, 2)), ((4, 4), (2, 3, 4, 1)), ((3, 4, 4), (4,)),
        ((3, 4, 4), (4, 2)), ((2, 1, 4, 4), (3, 4, 2)), ((3, 4, 4), (2, 3, 4, 0)),
    ]  # fmt: skip
    for first, second in shapes:
        a, b = general(random, *first), random.normal(size=second)
        expected = np.linalg.solve(a, b)
        for fn in (cnp.linalg.solve, np.linalg.solve):
            close(cr.jit(lambda a, b, fn=fn: fn(a, b))(a, b), expected, "float64", f"{a.shape}")
        upper = np.triu(a + 2 * np.eye(4))
        close(solve_triangular(upper, b), np.linalg.solve(upper, b), "float64", "plain arrays")


def test_integers_are_solved_in_double_precision() -> None:
    a, b = np.array([[0, 2], [4, 1]]), np.array([2, 9], np.int32)
    got = cr.jit(cnp.linalg.solve)(a, b)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, np.linalg.solve(a, b), rtol=1e-15)
    assert cr.jit(cnp.linalg.det)(a.astype(np.float32)).dtype == np.float32


# Pivoting, and what cannot be solved


@pytest.mark.parametrize("n", [2, 5, 17, 64, 100])
def test_rows_are_exchanged(n: int) -> None:
    """Elimination without exchanges would leave nothing right: the error is that of rounding."""
    random = np.random.default_rng(n)
    scales = 10.0 ** random.permutation(np.linspace(-12, 12, n))
    cases = {
        "permutation": np.eye(n)[random.permutation(n)],
        "tiny diagonal": random.normal(size=(n, n)) * (1 - np.eye(n)) + 1e-18 * np.eye(n),
        "rows of many sizes": scales[:, None] * random.normal(size=(n, n)),
        "columns of many sizes": random.normal(size=(n, n)) * scales,
    }
    solve = Compiled(program_of(cnp.linalg.solve, spec(("n", "n")), spec(("n", 2))))
    for name, a in cases.items():
        b = a @ random.normal(size=(n, 2))
        (x,) = solve(a, b)
        residual = np.abs(a @ x - b)
        bound = np.abs(a) @ np.abs(x) + np.abs(b)
        # Of partial pivoting, by row: exchanges compare rows as they are, not scaled.
        worst = np.max(residual / np.max(bound, axis=0))
        assert worst < 4 * n * np.finfo(float).eps, name


def test_singular_matrices_give_no_number_and_no_error() -> None:
    zero, ones = np.zeros((3, 3)), np.ones((3, 3))
    for a in (zero, ones, np.diag([1.0, 0.0, 2.0]), np.full((3, 3), math.nan)):
        x = Compiled(program_of(cnp.linalg.solve, a, np.ones((3, 1))))(a, np.ones((3, 1)))[0]
        assert not np.isfinite(x).all()
    both = Compiled(program_of(cnp.linalg.slogdet, ones))
    assert [float(v) for v in both(ones)] == [0.0, -math.inf]
    assert float(Compiled(program_of(cnp.linalg.det, zero))(zero)[0]) == 0.0


def test_what_is_not_positive_definite_is_nan_and_spares_the_others() -> None:
    random = np.random.default_rng(0)
    a = definite(random, 4, 5, 5)
    a[1, 3, 3] = -1.0
    a[2] = 0.0
    got = Compiled(program_of(cnp.linalg.cholesky, a))(a)[0]
    for i in (0, 3):
        np.testing.assert_allclose(got[i], np.linalg.cholesky(a[i]), rtol=1e-12)
    for i in (1, 2):
        np.testing.assert_array_equal(got[i], np.where(np.tri(5) > 0, math.nan, 0.0))


# Batches


def mapped(fn: Function, axes: tuple[int | None, ...], arrays: Sequence[Array]) -> Array:
    rows = range(next(len(x) for x, i in zip(arrays, axes, strict=True) if i == 0))
    each = [[x if i is None else x[r] for x, i in zip(arrays, axes, strict=True)] for r in rows]
    compiled = Compiled(program_of(fn, *each[0]), numerics="strict")
    return np.stack([compiled(*given)[0] for given in each])


@pytest.mark.share(8)
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("name", SYSTEMS)
def test_mapped_systems_equal_a_loop_bit_for_bit(name: str, axes: tuple[int | None, ...]) -> None:
    random = np.random.default_rng(6)
    ours, _ = SYSTEMS[name]
    for n, columns in ((9, 1), (9, 5), (40, 1), (40, 7)):
        a = triangular_or(name, general(random, *((3, n, n) if axes[0] == 0 else (n, n))))
        b = random.normal(size=(3, n, columns) if axes[1] == 0 else (n, columns))
        program = program_of(cr.vmap(ours, in_axes=axes), a, b)
        got = Compiled(program, numerics="strict")(a, b)[0]
        np.testing.assert_array_equal(got, mapped(ours, axes, (a, b)))
        np.testing.assert_allclose(got, evaluate(program, a, b)[0], rtol=1e-10, atol=1e-11)


@pytest.mark.share(8)
@pytest.mark.parametrize("name", MATRICES)
def test_mapped_factors_equal_a_loop_bit_for_bit(name: str) -> None:
    ours, _ = MATRICES[name]
    for n in (9, 40):
        a = general(np.random.default_rng(n), 3, n, n)
        got = Compiled(program_of(cr.vmap(ours), a), numerics="strict")(a)[0]
        np.testing.assert_array_equal(got, mapped(ours, (0,), (a,)))


def test_gradients_of_mapped_systems_equal_a_loop() -> None:
    random = np.random.default_rng(8)
    a, b = general(random, 3, 5, 5), random.normal(size=(3, 5))
    gradient = cr.grad(lambda a, b: cnp.sum(cnp.linalg.solve(a, b) ** 2), (0, 1))
    got = cr.jit(cr.vmap(gradient))(a, b)
    for i in range(3):
        for mine, expected in zip(got, gradient(a[i], b[i]), strict=True):
            np.testing.assert_allclose(mine[i], expected, rtol=1e-11, atol=1e-12)


# What is computed


def ops_of(program: Program) -> list[str]:
    return [n.op.name for n in Compiled(program).lowered.optimized.nodes]


def test_a_system_its_adjoint_and_the_determinant_share_one_elimination() -> None:
    def loss(a: Any, b: Any) -> Any:
        return cnp.sum(cnp.linalg.solve(a, b) ** 2) + cnp.linalg.slogdet(a).logabsdet

    a, b = general(np.random.default_rng(0), 6, 6), np.ones(6)
    ops = ops_of(program_of(cr.value_and_grad(loss, (0, 1)), a, b))
    assert ops.count("lu") == 1
    ops = ops_of(program_of(cr.hessian(loss), a, b))
    assert ops.count("lu") == 1


def test_vectors_mapped_over_one_matrix_are_its_columns() -> None:
    a, b = general(np.random.default_rng(0), 6, 6), np.ones((50, 6))
    program = program_of(cr.vmap(cnp.linalg.solve, in_axes=(None, 0)), a, b)
    nodes = Compiled(program).lowered.optimized.nodes
    assert [n.shape for n in nodes if n.op.name == "lu"] == [(6, 7)]
    assert {n.shape for n in nodes if n.op.name == "triangular_solve"} == {(6, 50)}


def test_operations_are_counted() -> None:
    n, m = 30, 12
    a, b = np.eye(n), np.ones((n, m))
    cases: list[tuple[Function, tuple[Array, ...], int]] = [
        (solve_triangular, (a, b), n * n * m),
        (cnp.linalg.solve, (a, b), 2 * n**3 // 3 + 2 * n * n * m),
        (cnp.linalg.cholesky, (a,), n**3 // 3 + 2 * n * n),
    ]
    for fn, given, expected in cases:
        counted = flops(Compiled(program_of(fn, *given)).lowered.optimized.nodes, {})
        assert counted == pytest.approx(expected, abs=n)


# Messages

A, V = np.zeros((3, 3)), np.zeros(3)
MESSAGES: list[tuple[Function, tuple[Any, ...], type[ChainruleError], str]] = [
    (cnp.linalg.inv, (V,), ShapeError, """\
inv: a matrix has two axes, this array has 1
  a  f64[3]  a
hint: the axes before the last two count matrices"""),
    (cnp.linalg.cholesky, (A[:2],), ShapeError, """\
cholesky: the matrix is not square: 2 rows, 3 columns
  a  f64[2, 3]  a
hint: a system with more equations than unknowns is a least-squares problem; name both extents \
alike where they are known at the call alone"""),
    (cnp.linalg.solve, (A, np.zeros((4, 3))), ShapeError, """\
solve: the right-hand side has 4 rows, the matrix 3
  a  f64[3, 3]  a
  b  f64[4, 3]  b
hint: b is one vector (n,), or matrices (..., n, k); give stacked vectors an axis with \
b[..., None]"""),
    (lambda a, b: solve_triangular(a, b, trans=3), (A, V), UnsupportedError, """\
solve_triangular: trans=3 is unknown
hint: trans is 0, 1 or 2"""),
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(MESSAGES)))
def test_messages(index: int) -> None:
    fn, given, kind, expected = MESSAGES[index]

    def one(a: Any) -> Any:
        return fn(a)

    def two(a: Any, b: Any) -> Any:
        return fn(a, b)

    with pytest.raises(kind) as caught:
        trace(one if len(given) == 1 else two, *given)
    lines = str(caught.value).splitlines()
    where = [line for line in lines if line.startswith("  at  ")]
    assert where
    assert all("test_linalg.py:" in line for line in where), "the user's line, not ours"
    assert "\n".join(line for line in lines if line not in where) == expected


# Formulas


def test_formulas_show_the_transposed_matrix() -> None:
    a, b = cr.symbol("A", ("n", "n")), cr.symbol("b", ("n",))
    energy = b @ cnp.linalg.solve(a, b)
    assert str(energy) == "bᵀ solve(A, b)"
    assert str(cr.gradient(energy, b)) == "solve(A, b) + solve(Aᵀ, b)"
    assert str(cr.gradient(energy, a)) == "−(solve(Aᵀ, b) ⊗ solve(A, b))"
    half = solve_triangular(a, b, lower=True)
    assert str(cr.gradient(cnp.sum(half**2), b)) == (
        "solve_triangular(Aᵀ, 2 solve_triangular(A, b, lower=True))"
    )
    assert str(cnp.linalg.det(a).to_sympy()) == "Determinant(A)"
