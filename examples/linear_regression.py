"""Linear regression: the gradient as a formula, descent against the normal equations."""

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp


def loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean squared error of weights w[features]."""
    return cnp.mean((x @ w - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(500, 4))
y = x @ np.array([1.0, -2.0, 0.5, 3.0]) + 0.1 * rng.normal(size=500)
w = np.zeros(4)

print(cr.explain(loss, wrt="w", args=(w, cr.spec(("n", 4)), cr.spec("n"))))

slope = cr.grad(loss)
for _ in range(200):
    w = w - 0.2 * slope(w, x, y)

exact = np.linalg.solve(x.T @ x, x.T @ y)
print("\ngradient descent ", w)
print("normal equations ", exact)
np.testing.assert_allclose(slope(w, x, y), 2 / 500 * x.T @ (x @ w - y), rtol=1e-9, atol=1e-14)
np.testing.assert_allclose(w, exact, rtol=1e-12)
print("equal to 12 digits")
