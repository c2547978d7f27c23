"""A neural ordinary differential equation, and its gradient by four roads that have to meet.

A network learns the motion of a damped pendulum from what is seen of it, through 200 Runge-Kutta
steps.  Then the same gradient is had by stored states, by states computed again, by the adjoint
equation (Chen et al. 2018, "Neural ordinary differential equations"), and by implicit steps that
are differentiated through the implicit function theorem.
"""

import time
from functools import partial

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import optim

STARTS, HIDDEN, STEPS, SPAN, EVERY = 16, 32, 200, 6.0, 10


def field(params: dict, y: np.ndarray) -> np.ndarray:
    """Return the velocity that the network gives to states y[start, 2]."""
    return cnp.tanh(y @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]


def runge_kutta(f: object, y: object, h: float) -> object:
    """Advance y' = f(y) by the classical step of fourth order; y is a pytree."""

    def moved(k: object, by: float) -> object:
        return cr.tree_map(lambda a, b: a + by * b, y, k)

    k1 = f(y)
    k2 = f(moved(k1, h / 2))
    k3 = f(moved(k2, h / 2))
    k4 = f(moved(k3, h))
    return cr.tree_map(lambda y, a, b, c, d: y + h / 6 * (a + 2 * b + 2 * c + d), y, k1, k2, k3, k4)


def path(params: dict, y: np.ndarray, steps: int, checkpoint: str | None) -> np.ndarray:
    """Return the states [step, start, 2] after each of the steps that fill the span."""

    def step(y: np.ndarray, _: None) -> tuple[np.ndarray, np.ndarray]:
        y = runge_kutta(partial(field, params), y, SPAN / steps)
        return y, y

    return cr.scan(step, y, length=steps, checkpoint=checkpoint)[1]


def loss(params: dict, y: np.ndarray, seen: np.ndarray, checkpoint: str | None) -> np.ndarray:
    """Return the mean squared distance from what was seen after every tenth step."""
    return cnp.mean((path(params, y, STEPS, checkpoint)[EVERY - 1 :: EVERY] - seen) ** 2)


def pendulum(y: np.ndarray) -> np.ndarray:
    """Return the velocity in truth."""
    angle, speed = y.T
    return np.stack([speed, -2 * np.sin(angle) - 0.2 * speed], axis=1)


def true_path(y: np.ndarray) -> np.ndarray:
    """Return what is seen of it, [time, start, 2], by steps of a tenth of the size."""
    states = [y]
    for _ in range(10 * STEPS):
        states.append(runge_kutta(pendulum, states[-1], SPAN / STEPS / 10))
    return np.stack(states[10 * EVERY :: 10 * EVERY])


def miss(path: object, params: dict, y: np.ndarray, goal: np.ndarray, steps: int) -> np.ndarray:
    """Return the mean squared distance of the last state from a goal."""
    return cnp.mean((path(params, y, steps)[-1] - goal) ** 2)


def implicit_path(params: dict, y: np.ndarray, steps: int) -> np.ndarray:
    """Return states of the implicit midpoint rule; each step is solved for, and so is its slope.

    The derivative of a step comes from the equation it solves, whatever the solver did.
    """

    def equation(after: np.ndarray, before: np.ndarray, params: dict) -> np.ndarray:
        return after - before - SPAN / steps * field(params, (before + after) / 2)

    def step(y: np.ndarray, _: None) -> tuple[np.ndarray, np.ndarray]:
        y = cr.find_root(equation, y, y, params, tol=1e-13).x
        return y, y

    return cr.scan(step, y, length=steps, checkpoint="sqrt")[1]


def repeated_path(params: dict, y: np.ndarray, steps: int) -> np.ndarray:
    """Return the same states by 60 plain repetitions a step, each of which is differentiated."""

    def step(y: np.ndarray, _: None) -> tuple[np.ndarray, np.ndarray]:
        def again(_: int, after: np.ndarray) -> np.ndarray:
            return y + SPAN / steps * field(params, (y + after) / 2)

        y = cr.fori_loop(0, 60, again, y)
        return y, y

    return cr.scan(step, y, length=steps)[1]


def adjoint(params: dict, y: np.ndarray, goal: np.ndarray, steps: int) -> dict:
    """Return the gradient of `miss` by the adjoint equation, which stores no state at all.

    State, its adjoint a and the gradient run back in time: y' = f, a' = -a df/dy, g' = -a df/dp.
    """
    y = path(params, y, steps, "sqrt")[-1]
    a = cr.grad(lambda y: cnp.mean((y - goal) ** 2))(y)

    def backward(at: tuple) -> tuple:
        y, a, _ = at
        velocity, pull = cr.vjp(field, params, y)
        for_params, for_state = pull(a)
        return velocity, -for_state, cr.tree_map(lambda g: -g, for_params)

    nothing = cr.tree_map(cnp.zeros_like, params)

    def step(at: tuple, _: None) -> tuple:
        return runge_kutta(backward, at, -SPAN / steps), None

    return cr.scan(step, (y, a, nothing), length=steps)[0][2]


rng = np.random.default_rng(0)
params = {
    "W1": rng.normal(size=(2, HIDDEN)),
    "b1": rng.normal(size=HIDDEN),
    "W2": rng.normal(size=(HIDDEN, 2)) * 0.1,
    "b2": np.zeros(2),
}
start = rng.uniform(-1.5, 1.5, (STARTS, 2))
seen = true_path(start)

kinds = {}
for checkpoint in (None, "sqrt"):
    slope = cr.jit(cr.value_and_grad(loss), static_argnames="checkpoint")
    arena = slope.lower(params, start, seen, checkpoint).compile().memory.arena
    kinds[checkpoint] = arena, *slope(params, start, seen, checkpoint)
    print(f"checkpoint={checkpoint!r:6}  arena {arena:,} bytes")
stored, again = kinds[None], kinds["sqrt"]
for a, b in zip(cr.tree_leaves(stored[1:]), cr.tree_leaves(again[1:]), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)
assert again[0] < stored[0] / 2

TURNS = 500
optimizer = optim.adam(optim.cosine(3e-2, TURNS))


@cr.jit(donate_argnames=("params", "state"))
def train(params: dict, state: object, y: np.ndarray, seen: np.ndarray) -> tuple:
    """Take one step of Adam through all steps of the solver."""
    value, slopes = cr.value_and_grad(loss)(params, y, seen, "sqrt")
    params, state = optimizer.apply(slopes, state, params)
    return params, state, value


state = optimizer.init(params)
began = time.perf_counter()
for i in range(TURNS):
    params, state, value = train(params, state, start, seen)
    if i % 100 == 0:
        print(f"turn {i:3}  loss {value:.2e}")
print(f"{TURNS} turns in {time.perf_counter() - began:.1f} s, loss {value:.2e}")
fresh = rng.uniform(-1.5, 1.5, (STARTS, 2))
error = np.sqrt(loss(params, fresh, true_path(fresh), None))
print(f"root of the mean squared error from starts never seen: {error:.4f}")
assert error < 0.05

# Four gradients of one loss, by 50 steps and by twice as many.
y, goal = fresh[:4], np.ones((4, 2))
compiled = partial(cr.jit, static_argnames="steps")
by_states = compiled(cr.grad(partial(miss, partial(path, checkpoint="sqrt"))))
by_theorem = compiled(cr.grad(partial(miss, implicit_path)))
by_repetition = compiled(cr.grad(partial(miss, repeated_path)))
by_adjoint = compiled(adjoint)


def distance(a: dict, b: dict) -> float:
    """Return the largest difference, relative to the largest element."""
    return max(np.abs(a[k] - b[k]).max() for k in a) / max(np.abs(a[k]).max() for k in a)


apart = []
for steps in (50, 100):
    slope = by_states(params, y, goal, steps)
    implicit = by_theorem(params, y, goal, steps)
    assert distance(implicit, by_repetition(params, y, goal, steps)) < 1e-11
    adjoined = by_adjoint(params, y, goal, steps)
    apart.append([distance(slope, adjoined), distance(slope, implicit)])
    print("{:3} steps, apart: adjoint {:.1e}, implicit {:.1e}".format(steps, *apart[-1]))
orders = np.log2(np.divide(*apart))
print("orders of convergence", orders.round(2))
assert abs(orders[0] - 4) < 0.4  # both roads follow Runge-Kutta, of fourth order
assert abs(orders[1] - 2) < 0.1  # the midpoint rule is of second order
