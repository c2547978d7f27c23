"""A physics-informed network trained by Adam and then by L-BFGS: second derivatives in the loss.

A network u(x) learns the temperature of a rod that conducts better where it is hotter,

    -((1 + u) u')' = q(x),  u(0) = u(1) = 0,

from the equation alone.  The source q is the one for which u = sin(pi x) exactly.  Second
derivatives by x come two ways, as a gradient of a gradient and as a push-forward of a push-forward;
the parameters' gradient goes through them.
"""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim

STEPS, POINTS = 1000, 64


def u(model: nn.MLP, x: np.ndarray) -> np.ndarray:
    """Return the temperature at one place; it is 0 at both ends by its form."""
    return x * (1 - x) * model(cnp.stack([2 * x - 1]))[0]


def curved(model: nn.MLP, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return u' and u'' at one place, by reverse over reverse mode."""
    slope = cr.grad(u, argnums=1)
    return slope(model, x), cr.grad(slope, argnums=1)(model, x)


def curved_forward(model: nn.MLP, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same by forward over forward mode."""

    def slope(x: np.ndarray) -> np.ndarray:
        return cr.jvp(lambda x: u(model, x), (x,), (1.0,))[1]

    return cr.jvp(slope, (x,), (1.0,))


def residual(model: nn.MLP, x: np.ndarray, derivatives: object = curved) -> np.ndarray:
    """Return by how much the equation fails at one place."""
    first, second = derivatives(model, x)
    source = np.pi**2 * (cnp.sin(np.pi * x) - cnp.cos(2 * np.pi * x))
    return -(1 + u(model, x)) * second - first**2 - source


def loss(model: nn.MLP, x: np.ndarray, derivatives: object = curved) -> np.ndarray:
    """Return the mean squared failure at the places x."""
    return cnp.mean(cr.vmap(lambda x: residual(model, x, derivatives))(x) ** 2)


def largest_error(model: nn.MLP) -> float:
    """Return how far the temperature is from the exact one, anywhere on a fine grid."""
    grid = np.linspace(0, 1, 1001)
    return np.abs(cr.vmap(u, in_axes=(None, 0))(model, grid) - np.sin(np.pi * grid)).max()


optimizer = optim.adam(optim.cosine(1e-2, STEPS))


@cr.jit(donate_argnames=("model", "state"))
def step(model: nn.MLP, state: object, x: np.ndarray) -> tuple:
    """Third derivatives of the network, and Adam."""
    value, slopes = cr.value_and_grad(loss)(model, x)
    model, state = optimizer.apply(slopes, state, model)
    return model, state, value


model = nn.MLP.init(
    cr.random.key(0), (1, 20, 20, 1), activation=cnp.tanh, weights=nn.glorot_uniform,
    dtype=np.float64,
)  # fmt: skip
rng = np.random.default_rng(0)
x = rng.uniform(size=POINTS)

reverse = cr.jit(cr.value_and_grad(loss))(model, x)
forward = cr.jit(cr.value_and_grad(lambda model, x: loss(model, x, curved_forward)))(model, x)
for a, b in zip(cr.tree_leaves(reverse), cr.tree_leaves(forward), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
print("reverse over reverse and forward over forward mode give the same loss and gradient")

state = optimizer.init(model)
began = time.perf_counter()
for _ in range(STEPS):
    model, state, value = step(model, state, rng.uniform(size=POINTS))
print(f"Adam    {STEPS} steps in {time.perf_counter() - began:.1f} s, loss {value:.1e}, "
      f"largest error {largest_error(model):.1e}")  # fmt: skip
assert largest_error(model) < 0.01

began = time.perf_counter()
x = (np.arange(POINTS) + 0.5) / POINTS
found = cr.minimize(loss, model, x, max_steps=500)
print(f"L-BFGS  {found.nit} steps in {time.perf_counter() - began:.1f} s, loss {found.fun:.1e}, "
      f"largest error {largest_error(found.x):.1e}")  # fmt: skip
assert largest_error(found.x) < 1e-4
