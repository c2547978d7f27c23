"""Logistic regression by Newton's method, with the exact Hessian, against NumPy by hand."""

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp


def loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the penalised negative log-likelihood of labels y, 0 or 1.

    log(1 + exp(z)) as written overflows from z = 710 on; it is compiled as softplus.
    """
    z = x @ w
    return cnp.sum(cnp.log(1 + cnp.exp(z)) - y * z) + 0.5 * w @ w


rng = np.random.default_rng(1)
x = np.column_stack([np.ones(400), rng.normal(size=(400, 3))])
y = (rng.uniform(size=400) < 1 / (1 + np.exp(-x @ [0.5, 2.0, -1.0, 0.0]))).astype(float)

print(cr.explain(loss, wrt="w", args=(np.zeros(4), cr.spec(("n", 4)), cr.spec("n"))))
print()

value_and_slope = cr.value_and_grad(loss)
curvature = cr.hessian(loss)
w = np.zeros(4)
for step in range(8):
    value, slope = value_and_slope(w, x, y)
    print(f"step {step}  loss {value:.10f}  |gradient| {np.linalg.norm(slope):.1e}")
    w = w - np.linalg.solve(curvature(w, x, y), slope)

by_hand = np.zeros(4)
for _ in range(8):
    p = 1 / (1 + np.exp(-x @ by_hand))
    hessian = x.T @ (x * (p * (1 - p))[:, None]) + np.eye(4)
    by_hand -= np.linalg.solve(hessian, x.T @ (p - y) + by_hand)

np.testing.assert_allclose(w, by_hand, rtol=1e-12)
np.testing.assert_allclose(curvature(w, x, y), hessian, rtol=1e-12)
print("weights", w.round(4), "equal those of NumPy by hand to 12 digits")

far, _ = value_and_slope(np.full(4, 1e4), x, y)
assert np.isfinite(far)
