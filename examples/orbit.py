"""A gradient called a million times: leap-frog integration of an orbit."""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

STEPS, DT = 1_000_000, 1e-3


def potential(q: np.ndarray) -> np.ndarray:
    """Return the potential at position q[2] of a unit mass at the origin."""
    return -1 / cnp.sqrt(q @ q)


@cr.jit(donate_argnames=("q", "p"))
def leap(q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Advance position and momentum by one step: half a kick, a drift, half a kick."""
    p = p - 0.5 * DT * cr.grad(potential)(q)
    q = q + DT * p
    p = p - 0.5 * DT * cr.grad(potential)(q)
    return q, p


def energy(q: np.ndarray, p: np.ndarray) -> float:
    """Return what the motion keeps."""
    return float(0.5 * p @ p - 1 / np.sqrt(q @ q))


q, p = np.array([1.0, 0.0]), np.array([0.0, 1.2])
before = energy(q, p)
leap(q, p)  # compiles, and takes the first step in place
began = time.perf_counter()
for _ in range(STEPS - 1):
    leap(q, p)
seconds = time.perf_counter() - began
print(f"{1e9 * seconds / STEPS:.0f} ns a step of two gradients, {STEPS:,} steps in {seconds:.2f} s")
print(f"energy {energy(q, p):.12f}, at the start {before:.12f}")
assert abs(energy(q, p) - before) < 1e-6

slope, result = cr.grad(potential), np.empty(2)
slope(q, out=result)
began = time.perf_counter()
for _ in range(STEPS):
    slope(q, out=result)
seconds = time.perf_counter() - began
print(f"{1e9 * seconds / STEPS:.0f} ns a gradient alone, into out=")
np.testing.assert_allclose(result, q / np.sqrt(q @ q) ** 3, rtol=1e-14)
