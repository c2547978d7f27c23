"""Derivatives of determinants of singular matrices are cofactors, not 0 times infinity."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy

import chainrule as cr
import chainrule.numpy as cnp


def det(a: Any) -> Any:
    return cnp.linalg.det(a)


def minors(a: Any, order: int) -> Any:
    """Return the derivatives of a determinant of the given order, by Leibniz' formula in integers.

    The derivative by a[i, j], a[k, l], ... is the sum over the permutations that take i to j, k to
    l, and so on, of the products of the other elements.
    """
    n = a.shape[0]
    found = np.zeros((n, n) * order)
    for p in itertools.permutations(range(n)):
        sign = np.linalg.det(np.eye(n)[list(p)])
        for rows in itertools.permutations(range(n), order):
            rest = [a[i, p[i]] for i in range(n) if i not in rows]
            found[tuple(x for i in rows for x in (i, p[i]))] += sign * np.prod(rest)
    return found


def of_rank(n: int, rank: int, seed: int = 0) -> Any:
    random = np.random.default_rng([n, rank, seed])
    left, right = random.integers(-3, 4, (n, rank)), random.integers(-3, 4, (rank, n))
    return (left @ right).astype(float)


MATRICES = [of_rank(n, r) for n in range(1, 6) for r in range(n + 1)]
MATRICES += [np.zeros((0, 0)), np.diag([1.0, 0.0, 2.0]), np.diag([0.0, 0.0, 2.0])]
MATRICES += [np.array([[0.0, 1, 2], [0, 0, 3], [0, 0, 0]]), np.ones((4, 4)), np.eye(3)[[1, 0, 2]]]


@pytest.mark.parametrize("a", MATRICES, ids=lambda a: str(a.tolist()))
def test_gradients_are_cofactors(a: Any) -> None:
    expected = minors(a, 1) if a.size else np.zeros((0, 0))
    size = np.abs(a).max(initial=1.0) ** max(len(a) - 1, 0)
    for find in (cr.grad(det), cr.jacfwd(det), cr.jit(cr.grad(det), numerics="strict")):
        np.testing.assert_allclose(find(a), expected, rtol=1e-11, atol=1e-12 * size)
    if a.size:
        single = cr.grad(det)(a.astype(np.float32))
        np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4 * size)


@pytest.mark.parametrize("a", MATRICES[:14], ids=lambda a: str(a.tolist()))
def test_second_derivatives(a: Any) -> None:
    expected = minors(a, 2)
    for find in (cr.hessian(det), cr.jacrev(cr.grad(det)), cr.jacrev(cr.jacfwd(det))):
        np.testing.assert_allclose(find(a), expected, rtol=1e-9, atol=1e-9)


def test_third_derivatives() -> None:
    a = of_rank(3, 1)
    np.testing.assert_allclose(cr.jacfwd(cr.hessian(det))(a), minors(a, 3), atol=1e-11)


def test_stacks_with_singular_members() -> None:
    stack = np.stack([of_rank(3, r) for r in (0, 1, 2, 3)])
    expected = np.stack([minors(a, 1) for a in stack])
    total = lambda s: cnp.sum(cnp.linalg.det(s))  # noqa: E731
    np.testing.assert_allclose(cr.grad(total)(stack), expected, atol=1e-11)
    np.testing.assert_allclose(cr.vmap(cr.grad(det))(stack), expected, atol=1e-11)
    np.testing.assert_allclose(cr.grad(lambda s: cnp.sum(cr.vmap(det)(s)))(stack), expected,
                               atol=1e-11)  # fmt: skip


def test_named_extents() -> None:
    gradient = cr.jit(cr.grad(det), dims={"a": ("n", "n")})
    for n in (3, 1, 2, 5):
        a = of_rank(n, max(n - 1, 0))
        np.testing.assert_allclose(gradient(a), minors(a, 1), atol=1e-9)


def test_a_characteristic_polynomial_at_its_roots() -> None:
    a = np.array([[2.0, 0, 0], [0, 3.0, 4.0], [0, 4.0, 9.0]])
    slope = cr.grad(lambda t: cnp.linalg.det(a - t * np.eye(3)))
    t = sympy.Symbol("t")
    exact = sympy.lambdify(t, sympy.diff((sympy.Matrix(a) - t * sympy.eye(3)).det(), t))
    for root in (2.0, 1.0, 11.0):
        np.testing.assert_allclose(slope(root), exact(root), rtol=1e-12)


def test_large_matrices() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=(40, 40))
    a[-1] = a[:-1].sum(0)
    u, s, vt = np.linalg.svd(a)
    expected = np.linalg.det(u) * np.linalg.det(vt) * np.prod(s[:-1]) * np.outer(u[:, -1], vt[-1])
    np.testing.assert_allclose(cr.grad(det)(a), expected, rtol=1e-8)
    b = random.normal(size=(12, 12))
    slope = cr.grad(lambda t: cnp.sum(cr.grad(det)(b + t * b.T) * b))(0.0)
    step = 1e-5
    ends = [np.sum(np.linalg.det(m) * np.linalg.inv(m).T * b)
            for m in (b + step * b.T, b - step * b.T)]  # fmt: skip
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


# Kind: second derivatives that are made of an inverse there is not.


def second(a: Any, t: Any) -> Any:
    """Return the derivative of the cofactors of a along t, by singular values and their products.

    At a diagonal matrix only two rows and columns meet: the determinant's second derivatives are 1
    or -1 times the products of all other singular values.
    """
    n = len(a)
    u, s, vt = np.linalg.svd(a)
    inner, sign = u.T @ t @ vt.T, np.linalg.det(u) * np.linalg.det(vt)
    w = np.array([[np.prod(np.delete(s, [i, j])) * (i != j) for j in range(n)] for i in range(n)])
    return sign * u @ (np.diag(w @ np.diag(inner)) - w * inner.T) @ vt


RANKS = [(9, 9), (9, 8), (9, 7), (9, 5), (9, 0), (12, 11), (12, 10), (20, 19), (33, 32), (33, 31)]


@pytest.mark.share(5)
@pytest.mark.parametrize(("n", "rank"), RANKS)
def test_second_derivatives_of_larger_matrices(n: int, rank: int) -> None:
    random = np.random.default_rng([n, rank])
    a, t = random.normal(size=(n, rank)) @ random.normal(size=(rank, n)), np.eye(n)
    expected = second(a, t)

    def rounding(unit: float) -> Any:
        """Return what rounding of the matrix itself does: third derivatives times its size."""
        s = np.linalg.svd(a)[1]
        s = np.maximum(s, unit * s[0])
        return 300 * unit * s[0] * np.prod(s[: n - 3])

    for mode in ("fast", "strict", "reproducible"):
        for gradient in (cr.grad(det), cr.jacfwd(det)):
            along = cr.jit(lambda a, t, g=gradient: cr.jvp(g, (a,), (t,))[1], numerics=mode)
            np.testing.assert_allclose(along(a, t), expected, rtol=1e-10, atol=rounding(1e-16))
    single = along(a.astype(np.float32), t.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=rounding(1e-7))
    pulled = cr.grad(lambda a: cnp.sum(cr.grad(det)(a) * t))(a)
    np.testing.assert_allclose(pulled, expected, rtol=1e-10, atol=rounding(1e-16))


@pytest.mark.share(3)
@pytest.mark.parametrize("n", [3, 8, 9, 10, 17])
def test_slopes_of_slopes_of_characteristic_polynomials(n: int) -> None:
    a = np.diag([1.0] * (n - 1) + [0.0])
    # det(a - t) = -t (1 - t)**(n - 1), up to the sign.
    found = cr.grad(cr.grad(lambda t: cnp.linalg.det(a - t * np.eye(n))))(0.0)
    assert found == pytest.approx(2 * (n - 1), rel=1e-13)


@pytest.mark.broad
def test_hessians_and_stacks_of_larger_matrices() -> None:
    random = np.random.default_rng(2)
    stack = np.stack([random.normal(size=(9, r)) @ random.normal(size=(r, 9)) for r in (7, 8, 9)])
    stack[:, 3] = stack[:, 5]
    units = np.eye(81).reshape(81, 9, 9)
    expected = np.stack([[second(a, t) for t in units] for a in stack]).reshape(3, *(9,) * 4)
    size = np.abs(expected).max((1, 2, 3, 4))
    for k, a in enumerate(stack):
        found = cr.hessian(det)(a)
        np.testing.assert_allclose(found, expected[k], rtol=1e-9, atol=1e-12 * size[k])
    many = cr.vmap(cr.jacrev(cr.grad(det)))(stack)
    np.testing.assert_allclose(many / size[:, None, None, None, None],
                               expected / size[:, None, None, None, None], atol=1e-12)  # fmt: skip
    t = random.normal(size=(9, 9))
    for f in (lambda s: cnp.sum(cnp.linalg.det(s)), lambda s: cnp.sum(cr.vmap(det)(s))):
        moved = cr.hvp(f)(stack, np.stack([t] * 3))
        np.testing.assert_allclose(moved, [second(a, t) for a in stack], rtol=1e-9,
                                   atol=1e-11 * size.max())  # fmt: skip


def test_second_derivatives_of_named_extents() -> None:
    product = cr.jit(cr.hvp(det), dims={"a": ("n", "n"), "v": ("n", "n")})
    for n in (4, 1, 2, 9, 12):
        random = np.random.default_rng(n)
        a, t = of_rank(n, n - 1), random.normal(size=(n, n))
        expected = second(a, t)
        np.testing.assert_allclose(product(a, t), expected, rtol=1e-9,
                                   atol=1e-11 * max(1.0, np.abs(expected).max()))  # fmt: skip


def test_third_derivatives_of_larger_matrices_with_an_inverse() -> None:
    random = np.random.default_rng(5)
    a, t, s = random.normal(size=(3, 9, 9))

    def along(x: Any) -> Any:
        return cr.jvp(cr.grad(det), (x,), (t,))[1]

    found = cr.jvp(along, (a,), (s,))[1]
    step = 1e-5
    expected = (second(a + step * s, t) - second(a - step * s, t)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
    pulled = cr.grad(lambda x: cnp.sum(along(x) * s))(a)
    expected = np.array([
        np.sum((second(a + step * e, t) - second(a - step * e, t)) / (2 * step) * s)
        for e in np.eye(81).reshape(81, 9, 9)
    ]).reshape(9, 9)  # fmt: skip
    np.testing.assert_allclose(pulled, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())


def test_what_is_not_finite_has_no_second_derivatives() -> None:
    for bad in (np.nan, np.inf):
        a = np.eye(10)
        a[2, 3] = bad
        assert np.isnan(cr.hvp(det)(a, np.eye(10))).all()
