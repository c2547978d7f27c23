"""Derivatives of factors and systems, against JAX, PyTorch, complex steps and textbooks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from tests.ops.matrices import WAYS, Function, definite, general

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.types import Array

solve_triangular: Final = cnp.linalg.solve_triangular


def cholesky_by_hand(a: Array) -> Array:
    """The factor of a complex symmetric matrix, which NumPy takes for a Hermitian one."""
    factor = np.zeros_like(a)
    for i in range(len(a)):
        for j in range(i + 1):
            rest = a[i, j] - factor[i, :j] @ factor[j, :j]
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return factor


def inverse_part(m: Any, a: Any) -> Any:
    """A function of the inverse that no symmetry helps."""
    return m.sum(m.sin(m.linalg.inv(a)) * m.arange(a.shape[-1]))


STEPPED: Final[dict[str, tuple[Function, Function]]] = {
    "solve": (lambda a: cnp.sum(cnp.linalg.solve(a, a.T[:, :2] ** 2) ** 3),
              lambda a: np.sum(np.linalg.solve(a, a.T[:, :2] ** 2) ** 3)),
    "inv": (lambda a: inverse_part(cnp, a), lambda a: inverse_part(np, a)),
    "det": (lambda a: cnp.linalg.det(a) ** 2, lambda a: np.linalg.det(a) ** 2),
    "slogdet": (lambda a: cnp.linalg.slogdet(a).logabsdet, lambda a: np.log(-np.linalg.det(a))),
    "cholesky": (lambda a: cnp.sum(cnp.sin(cnp.linalg.cholesky(a @ a.T))),
                 lambda a: np.sum(np.sin(cholesky_by_hand(a @ a.T)))),
    "triangular": (lambda a: cnp.sum(solve_triangular(a, a[:, :2], trans=1, lower=True) ** 2),
                   lambda a: np.sum(np.linalg.solve(np.tril(a).T, a[:, :2]) ** 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPPED)
def test_gradients_against_a_complex_step(name: str) -> None:
    ours, theirs = STEPPED[name]
    a = general(np.random.default_rng(2), 4, 4) + 0.5 * np.eye(4)
    a = a if np.linalg.det(a) < 0 else a[[1, 0, 2, 3]]
    expected = np.zeros((4, 4))
    for i in np.ndindex(4, 4):
        moved = a.astype(complex)
        moved[i] += 1e-30j
        expected[i] = np.imag(theirs(moved)) / 1e-30
    compiled = cr.jit(cr.grad(ours))(a)
    np.testing.assert_allclose(compiled, expected, rtol=1e-10, atol=1e-11)
    forward = cr.jacfwd(ours)(a)
    np.testing.assert_allclose(forward, expected, rtol=1e-10, atol=1e-11)


LOSSES: Final[dict[str, Function]] = {
    "solve": lambda m, a: m.sum(m.sin(m.linalg.solve(a, a[:, ::-1] + m.cos(a)))),
    "vector": lambda m, a: m.sum(m.linalg.solve(a, a[0]) ** 3),
    "inv": inverse_part,
    "det": lambda m, a: m.linalg.det(a) * m.linalg.det(a + 2.0 * a.T),
    "logabsdet": lambda m, a: m.linalg.slogdet(a)[1] * m.sum(a**2),
    "cholesky": lambda m, a: m.sum(m.cos(m.linalg.cholesky(a @ a.T + a.T @ a))),
    "of the matrix itself": lambda m, a: m.sum(m.sin(m.linalg.cholesky(a + a.T + 9 * m.eye(4)))),
}


@pytest.mark.parametrize("name", LOSSES)
def test_first_and_second_derivatives_against_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    jnp = pytest.importorskip("jax.numpy")
    a = general(np.random.default_rng(5), 4, 4)

    def ours(a: Any) -> Any:
        return LOSSES[name](cnp, a)

    def theirs(a: Any) -> Any:
        return LOSSES[name](jnp, a)

    with jax.enable_x64(True):
        first, second = jax.grad(theirs)(a), jax.hessian(theirs)(a)
    np.testing.assert_allclose(cr.grad(ours)(a), first, rtol=1e-9, atol=1e-10)
    got = cr.hessian(ours)(a)
    scale = float(np.max(np.abs(second)))
    np.testing.assert_allclose(got, second, rtol=1e-8, atol=1e-10 * scale)
    np.testing.assert_allclose(cr.jacrev(cr.grad(ours))(a), second, rtol=1e-8, atol=1e-10 * scale)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_triangular_systems_against_torch(way: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 4, 4)) + 3 * np.eye(4), random.normal(size=(2, 4, 3))
    ours = cr.jit(cr.grad(lambda a, b: cnp.sum(solve_triangular(a, b, **way) ** 3), (0, 1)))(a, b)
    x, y = (torch.tensor(v, requires_grad=True) for v in (a, b))
    upper = way["lower"] == bool(way["trans"])
    matrix = x.mT if way["trans"] else x
    z = torch.linalg.solve_triangular(matrix, y, upper=upper, unitriangular=way["unit_diagonal"])
    (z**3).sum().backward()
    for got, expected in zip(ours, (x.grad, y.grad), strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-10, atol=1e-11)


def test_the_cotangent_of_a_factored_matrix_is_symmetric() -> None:
    """Both halves of a symmetric matrix share a derivative, as in JAX and PyTorch."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(3)
    a, weights = definite(random, 5, 5), random.normal(size=(5, 5))
    got = cr.grad(lambda a: cnp.sum(cnp.linalg.cholesky(a) * weights))(a)
    np.testing.assert_array_equal(got, got.T)
    x = torch.tensor(a, requires_grad=True)
    (torch.linalg.cholesky(x) * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(got, x.grad.numpy(), rtol=1e-11, atol=1e-13)


def test_derivatives_of_a_logarithmic_determinant() -> None:
    a = general(np.random.default_rng(4), 6, 6)
    inverse = np.linalg.inv(a)
    logabsdet = lambda a: cnp.linalg.slogdet(a).logabsdet  # noqa: E731
    np.testing.assert_allclose(cr.grad(logabsdet)(a), inverse.T, rtol=1e-11, atol=1e-12)
    expected = -np.einsum("jk,li->ijkl", inverse, inverse)
    np.testing.assert_allclose(cr.hessian(logabsdet)(a), expected, rtol=1e-10, atol=1e-11)


# Inside loops


def kalman(m: Any, scan: Function, transition: Any, noise: Any, seen: Array) -> Any:
    """The likelihood of a linear filter: a factor, systems and a determinant at every step."""
    n = transition.shape[0]
    shown = m.eye(n)[:2]

    def step(carry: Any, y: Any) -> Any:
        x, p = carry
        x, p = transition @ x, transition @ p @ transition.T + noise * m.eye(n)
        s, e = shown @ p @ shown.T + 0.5 * m.eye(2), y - shown @ x
        gain = m.linalg.solve(s, shown @ p).T
        x, p = x + gain @ e, p - gain @ shown @ p
        logs = m.sum(m.log(m.diagonal(m.linalg.cholesky(s)))) + 0.5 * m.linalg.slogdet(s)[1]
        return (x, p), -0.5 * m.sum(e * m.linalg.solve(s, e)) - logs

    _, each = scan(step, (m.zeros(n), m.eye(n)), seen)
    return m.sum(each)


def test_a_filter_in_a_scan_against_jax() -> None:
    jax = pytest.importorskip("jax")
    jnp = pytest.importorskip("jax.numpy")
    random = np.random.default_rng(0)
    transition, seen = 0.3 * random.normal(size=(5, 5)), random.normal(size=(20, 2))

    def ours(a: Any, q: Any) -> Any:
        return kalman(cnp, cr.scan, a, q, seen)

    def theirs(a: Any, q: Any) -> Any:
        return kalman(jnp, jax.lax.scan, a, q, seen)

    got = cr.jit(cr.value_and_grad(ours, (0, 1)))(transition, 0.3)
    with jax.enable_x64(True):
        expected = jax.value_and_grad(theirs, (0, 1))(transition, 0.3)
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
    for mine, jaxs in zip(got[1], expected[1], strict=True):
        np.testing.assert_allclose(mine, jaxs, rtol=1e-10, atol=1e-12)
    slope = cr.jit(cr.grad(ours, 1))
    differences = (slope(transition, 0.3 + 1e-5) - slope(transition, 0.3 - 1e-5)) / 2e-5
    second = cr.jit(cr.hessian(ours, 1))(transition, 0.3)
    np.testing.assert_allclose(second, differences, rtol=1e-7)
