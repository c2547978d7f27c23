"""Second derivatives: Newton's method on Rosenbrock's function, in 2 and in 500 dimensions."""

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp


def rosenbrock(x: np.ndarray) -> np.ndarray:
    """Return the sum of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2."""
    return cnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


slope, hessian, product = cr.grad(rosenbrock), cr.hessian(rosenbrock), cr.hvp(rosenbrock)

x = np.array([-1.2, 1.0])
by_hand = [[1200 * x[0] ** 2 - 400 * x[1] + 2, -400 * x[0]], [-400 * x[0], 200.0]]
np.testing.assert_allclose(hessian(x), by_hand, rtol=1e-13)
for step in range(7):
    print(f"step {step}  x {x.round(6)}  f {rosenbrock(x):.2e}")
    x = x - np.linalg.solve(hessian(x), slope(x))
np.testing.assert_allclose(x, 1, rtol=1e-9)


def newton_direction(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Solve H d = -g by conjugate gradients, H known by its products alone."""
    d, r = np.zeros_like(g), -g
    s, rr = r.copy(), r @ r
    for _ in range(200):
        hs = product(x, s)
        if s @ hs <= 0:
            return d if d.any() else -g
        step = rr / (s @ hs)
        d, r = d + step * s, r - step * hs
        if (new := r @ r) < 1e-4 * (g @ g):
            return d
        s, rr = r + new / rr * s, new
    return d


x = np.full(500, 0.9)
v = np.random.default_rng(0).normal(size=500)
np.testing.assert_allclose(product(x, v), hessian(x) @ v, rtol=1e-10, atol=1e-9)
steps = 0
while np.linalg.norm(g := slope(x)) > 1e-9:
    steps += 1
    d, size = newton_direction(x, g), 1.0
    while rosenbrock(x + size * d) > rosenbrock(x) + 1e-4 * size * (g @ d):
        size /= 2
    x = x + size * d
print(f"500 dimensions: {steps} steps, |x - 1| {np.abs(x - 1).max():.1e}")
np.testing.assert_allclose(x, 1, rtol=1e-7)
