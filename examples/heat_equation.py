"""A physics-informed network: second derivatives by the inputs inside the loss.

A small network u(t, x) learns the heat equation u_t = 0.1 u_xx with u(0, x) = sin(pi x) and u = 0
at both ends.  The solution is known: exp(-0.1 pi^2 t) sin(pi x).
"""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim

DIFFUSIVITY = 0.1


def u(model: nn.MLP, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the temperature at one time and place."""
    return model(cnp.stack([t, x]))[0] * x * (1 - x)  # 0 at both ends by its form


def residual(model: nn.MLP, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return by how much the heat equation fails at one point."""
    u_t = cr.grad(u, argnums=1)(model, t, x)
    u_xx = cr.grad(cr.grad(u, argnums=2), argnums=2)(model, t, x)
    return u_t - DIFFUSIVITY * u_xx


def loss(model: nn.MLP, t: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the mean squared failure inside and at the start."""
    inside = cr.vmap(residual, in_axes=(None, 0, 0))(model, t, x)
    start = cr.vmap(u, in_axes=(None, 0, 0))(model, 0 * x, x) - cnp.sin(np.pi * x)
    return cnp.mean(inside**2) + 10 * cnp.mean(start**2)


STEPS = 3000
optimizer = optim.adam(optim.cosine(1e-2, STEPS))


@cr.jit(donate_argnames=("model", "state"))
def step(model: nn.MLP, state: object, t: np.ndarray, x: np.ndarray) -> tuple:
    """Third derivatives of the network, and Adam."""
    value, grads = cr.value_and_grad(loss)(model, t, x)
    model, state = optimizer.apply(grads, state, model)
    return model, state, value


key = cr.random.key(0)
model = nn.MLP.init(
    key, (2, 24, 24, 1), activation=cnp.tanh, weights=nn.glorot_uniform, dtype=np.float64
)
state = optimizer.init(model)
rng = np.random.default_rng(0)
began = time.perf_counter()
for _ in range(STEPS):
    t, x = rng.uniform(size=(2, 64))
    model, state, value = step(model, state, t, x)
print(f"{STEPS} steps in {time.perf_counter() - began:.1f} s, loss {value:.1e}")

grid = np.linspace(0, 1, 21)
t, x = (a.ravel() for a in np.meshgrid(grid, grid))
learnt = cr.vmap(u, in_axes=(None, 0, 0))(model, t, x)
error = np.abs(learnt - np.exp(-DIFFUSIVITY * np.pi**2 * t) * np.sin(np.pi * x)).max()
print(f"largest error of the temperature {error:.4f}")
assert error < 0.02
