"""Bayesian logistic regression: a million gradients inside one compiled sampler.

Hamiltonian Monte Carlo (Neal 2011, "MCMC using Hamiltonian dynamics") follows the slope of the
log-posterior by leap-frog steps.  Chains, their proposals and every leap-frog step are loops of one
native function; the gradient is derived from the log-likelihood as written.
"""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

ROWS, WEIGHTS = 100, 3
DRAWS, WARM_UP, LEAPS, STEP = 250_000, 1_000, 4, 0.15

rng = np.random.default_rng(3)
x = np.column_stack([np.ones(ROWS), rng.normal(size=(ROWS, WEIGHTS - 1))])
y = (rng.random(ROWS) < 1 / (1 + np.exp(-x @ [-0.5, 1.0, 2.0]))).astype(float)


def energy(w: np.ndarray) -> np.ndarray:
    """Return minus the log-posterior of the weights, whose prior is a normal of deviation 2."""
    z = x @ w
    return cnp.sum(cnp.log(1 + cnp.exp(z)) - y * z) + w @ w / 8


slope = cr.grad(energy)


def leap_frog(w: np.ndarray, p: np.ndarray, g: np.ndarray, size: float, leaps: int) -> tuple:
    """Return place, momentum, slope and number of gradients after some steps.

    The slope at the end of a step is that at the start of the next: one gradient a step.
    """

    def leap(_: int, at: tuple) -> tuple:
        w, p, g, count = at
        p = p - 0.5 * size * g
        w = w + size * p
        g = slope(w)
        return w, p - 0.5 * size * g, g, count + 1

    return cr.fori_loop(0, leaps, leap, (w, p, g, np.int64(0)))


@cr.jit
def sample(key: np.ndarray, w: np.ndarray) -> tuple:
    """Return the draws [draw, weight], the acceptance rate and the number of gradients."""

    def propose(at: tuple, i: np.ndarray) -> tuple:
        w, u, g, gradients, accepted = at
        for_momentum, for_chance = cr.random.split(cr.random.fold_in(key, i))
        p = cr.random.normal(for_momentum, (WEIGHTS,), np.float64)
        new_w, new_p, new_g, count = leap_frog(w, p, g, STEP, LEAPS)
        new_u = energy(new_w)
        excess = new_u + 0.5 * new_p @ new_p - u - 0.5 * p @ p
        chance = cr.random.uniform(for_chance, (), np.float64)
        yes = cnp.log(chance) < -excess
        at = tuple(cnp.where(yes, a, b) for a, b in [(new_w, w), (new_u, u), (new_g, g)])
        return (*at, gradients + count, accepted + yes), at[0]

    start = (w, energy(w), slope(w), np.int64(1), np.int64(0))
    last, draws = cr.scan(propose, start, np.arange(DRAWS))
    return draws, last[4] / DRAWS, last[3]


key = cr.random.key(0)
sample(key, np.zeros(WEIGHTS))  # compiles
began = time.perf_counter()
draws, rate, gradients = sample(key, np.zeros(WEIGHTS))
seconds = time.perf_counter() - began
print(f"{gradients:,} gradients in {seconds:.2f} s, {1e9 * seconds / gradients:.0f} ns each")
print(f"{rate:.1%} of {DRAWS:,} proposals accepted")
assert gradients == 1 + DRAWS * LEAPS
assert 0.8 < rate < 0.99

# How far the energy is off after the same time, by steps of half the size each.
follow = cr.jit(leap_frog, static_argnames="leaps")
w, p = np.array([0.2, -0.4, 0.9]), np.array([1.0, -0.5, 0.3])
off = []
for halvings in range(5):
    leaps = LEAPS << halvings
    end, momentum, g, _ = follow(w, p, slope(w), STEP * LEAPS / leaps, leaps=leaps)
    off.append(abs(energy(end) + 0.5 * momentum @ momentum - energy(w) - 0.5 * p @ p))
orders = np.log2(np.divide(off[:-1], off[1:]))
print("energy off by", *(f"{e:.1e}" for e in off), "| orders", *orders.round(2))
assert abs(orders[-1] - 2) < 0.05
back, against, _, _ = follow(end, -momentum, g, STEP * LEAPS / leaps, leaps=leaps)
np.testing.assert_allclose(back, w, atol=1e-12)  # the motion can be reversed
np.testing.assert_allclose(-against, p, atol=1e-12)

# The moments without any sampling: Newton's method to the mode, then Gauss-Hermite cubature about
# it, 40 points along each principal axis of the normal that touches the posterior there.
mode = np.zeros(WEIGHTS)
for _ in range(10):
    chance = 1 / (1 + np.exp(-x @ mode))
    hessian = x.T @ (x * (chance * (1 - chance))[:, None]) + np.eye(WEIGHTS) / 4
    mode = mode - np.linalg.solve(hessian, x.T @ (chance - y) + mode / 4)
nodes, weights = np.polynomial.hermite_e.hermegauss(40)
spread = np.linalg.cholesky(np.linalg.inv(hessian))
steps = np.stack(np.meshgrid(*[nodes] * WEIGHTS, indexing="ij"), -1).reshape(-1, WEIGHTS)
density = np.prod(np.stack(np.meshgrid(*[weights] * WEIGHTS, indexing="ij"), -1), axis=-1).ravel()
points = mode + steps @ spread.T
z = points @ x.T
log_posterior = (y * z - np.logaddexp(0, z)).sum(axis=1) - (points**2).sum(axis=1) / 8
log_posterior += (steps**2).sum(axis=1) / 2  # the nodes' own weight
density *= np.exp(log_posterior - log_posterior.max())
density /= density.sum()
mean = density @ points
deviation = np.sqrt(density @ (points - mean) ** 2)

kept = draws[WARM_UP:]
blocks = kept[: len(kept) // 100 * 100].reshape(100, -1, WEIGHTS)
doubt = blocks.mean(axis=1).std(axis=0) / 10  # of the mean of 100 blocks
doubt_of_deviation = blocks.std(axis=1).std(axis=0) / 10
print("mean      sampled", kept.mean(axis=0).round(4), "exact", mean.round(4),
      "mode", mode.round(4))  # fmt: skip
print("deviation sampled", kept.std(axis=0).round(4), "exact", deviation.round(4),
      "at the mode", np.sqrt(np.diag(np.linalg.inv(hessian))).round(4))  # fmt: skip
assert np.all(np.abs(kept.mean(axis=0) - mean) < 4.5 * doubt)
assert np.all(np.abs(kept.std(axis=0) - deviation) < 4.5 * doubt_of_deviation)
assert np.all(doubt < 0.005 * deviation)
