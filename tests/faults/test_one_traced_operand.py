"""Kind of fault: a function of several arrays that takes the first for the traced one.

Each is called with exactly one traced operand, at every position; the others are plain arrays.
"""

# ruff: noqa: PLW0108  (a lambda is the line of the user)

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, special
from chainrule.transform.transformed import evaluated

RNG = np.random.default_rng(4)
linalg = cnp.linalg


def v_(*shape: int) -> Any:
    return RNG.uniform(0.2, 0.9, shape)


X, Y, Z = v_(3, 4), v_(3, 4), v_(3, 4)
A, B, ROW, SQUARE = v_(3, 4), v_(4, 2), v_(4), v_(3, 3) + 2 * np.eye(3)
LOWER = np.tril(SQUARE)
MASK = X > 0.5

ROUNDED: Final = {"floor_divide", "heaviside", "nextafter", "ldexp"}
"Functions of two numbers without a slope."


def _takes_two_numbers(ufunc: np.ufunc) -> bool:
    return (ufunc.nin, ufunc.nout, ufunc.signature) == (2, 1, None)


def elementwise() -> list[str]:
    """Return the functions of two numbers among the public names."""
    found = []
    for name in dir(cnp):
        of_numpy = getattr(np, name, None)
        if isinstance(of_numpy, np.ufunc) and _takes_two_numbers(of_numpy):
            found += [name] if "dd->d" in of_numpy.types and name not in ROUNDED else []
    return found


CALLS: Final[dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    **{n: (getattr(cnp, n), (X + 1, Y)) for n in elementwise()},
    "clip": (lambda x, a, b: cnp.clip(x, a, b), (X, Y - 0.2, Y + 0.2)),
    "where": (lambda a, b: cnp.where(MASK, a, b), (X, Y)),
    "dot": (cnp.dot, (A, B)), "matmul": (cnp.matmul, (A, B)), "vdot": (cnp.vdot, (X, Y)),
    "inner": (cnp.inner, (X, Y)), "outer": (cnp.outer, (X[0], Y[1])),
    "tensordot": (lambda a, b: cnp.tensordot(a, b, 1), (A, B)),
    "kron": (lambda a, b: cnp.kron(a, b), (X[:2, :2], Y[:2, :2])),
    "cross": (lambda a, b: cnp.cross(a, b), (X[:, :3], Y[:, :3])),
    "einsum": (lambda a, b, c: cnp.einsum("ij,jk,j->ik", a, b, c), (A, B, ROW)),
    "concatenate": (lambda a, b: cnp.concatenate([a, b], 1), (X, SQUARE)),
    "stack": (lambda a, b, c: cnp.stack([a, b, c]), (X, Y, Z)),
    "hstack": (lambda a, b: cnp.hstack([a, b]), (X, Y)),
    "vstack": (lambda a, b: cnp.vstack([a, b]), (X, Y)),
    "dstack": (lambda a, b: cnp.dstack([a, b]), (X, Y)),
    "column_stack": (lambda a, b: cnp.column_stack([a, b]), (X, Y)),
    "average": (lambda a, w: cnp.average(a, axis=1, weights=w), (X, Y)),
    "trapezoid": (lambda y, x: cnp.trapezoid(y, x), (X[0], np.cumsum(Y[0]))),
    "linspace": (lambda a, b: cnp.linspace(a, b, 5), (X, Y)),
    "full": (lambda a, b: cnp.full((3, 4), a[0, 0]) + b, (X, Y)),
    "at.set": (lambda a, b: cnp.asarray(a).at[1].set(b) if hasattr(a, "at")
               else cnp.where(np.arange(3)[:, None] == 1, b, a), (X, ROW)),
    "solve": (linalg.solve, (SQUARE, X)),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, lower=True), (LOWER, X)),
    "xlogy": (special.xlogy, (X, Y)), "xlog1py": (special.xlog1py, (X, Y)),
    "rel_entr": (special.rel_entr, (X, Y)),
    "logsumexp": (lambda a, b: special.logsumexp(a, b=b), (X, Y)),
    "logsumexp over an axis": (lambda a, b: special.logsumexp(a, 1, b, keepdims=True), (X, Y)),
    "logsumexp, one row of weights": (lambda a, b: special.logsumexp(a, 0, b=b), (X, ROW)),
    "logsumexp, one row of terms": (lambda a, b: special.logsumexp(a, 0, b=b), (ROW, X)),
    "mean_squared_error": (nn.mean_squared_error, (X, Y)),
    "softmax_cross_entropy": (nn.softmax_cross_entropy, (X, Y / Y.sum(1, keepdims=True))),
    "sigmoid_binary_cross_entropy": (nn.sigmoid_binary_cross_entropy, (X, Y)),
}  # fmt: skip


def both(loss: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    """Return value and slopes by the reference evaluator: nothing is compiled."""
    everything = tuple(range(len(operands)))
    return evaluated(lambda *args: cr.value_and_grad(loss, argnums=everything)(*args), operands)


@pytest.mark.parametrize("name", CALLS)
def test_one_traced_operand(name: str) -> None:
    f, operands = CALLS[name]
    weights = np.cos(np.arange(np.size(f(*operands)))).reshape(np.shape(f(*operands)))

    def loss(*args: Any) -> Any:
        return cnp.sum(f(*args) * weights)

    everything = tuple(range(len(operands)))
    value, slopes = both(loss, operands)
    for i in everything:

        def of_one(x: Any, i: int = i) -> Any:
            return loss(*operands[:i], x, *operands[i + 1 :])

        found, (slope,) = both(of_one, operands[i : i + 1])
        np.testing.assert_allclose(found, value, rtol=1e-13, err_msg=f"operand {i}")
        np.testing.assert_allclose(slope, slopes[i], rtol=1e-12, atol=1e-14,
                                   err_msg=f"operand {i}")  # fmt: skip
        step = np.full(np.shape(operands[i]), 1e-6)
        ends = [float(evaluated(of_one, [operands[i] + d])) for d in (step, -step)]
        assert np.sum(slope) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-7)


def test_no_function_of_two_arrays_is_left_out() -> None:
    """Functions of `special` with a second array, by their signatures, are in the table."""
    settings = {"approximate", "axis", "keepdims", "return_sign"}
    for name in special.__all__:
        function = getattr(special, name)
        arrays = [p for p in inspect.signature(function).parameters if p not in settings]
        assert len(arrays) == 1 or name in CALLS, name
