"""An LSTM written by hand on `scan`, trained on endless sequences by truncated backpropagation.

The task has memory: three channels carry rare pulses of +1 or -1, and the network has to tell the
last pulse of each channel (Sussillo and Barak 2013, "Opening the black box").  A chunk of 20 steps
is differentiated at a time.  Its last state goes on as an argument to the next chunk, so gradients
end at the border and the memory does not.
"""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import optim

CHANNELS, HIDDEN, BATCH, CHUNK, STEPS = 3, 32, 32, 20, 1000


def cell(params: dict, state: tuple, x: np.ndarray) -> tuple[tuple, np.ndarray]:
    """Advance the state by one step (Hochreiter and Schmidhuber 1997; Gers et al. 2000)."""
    h, c = state
    gates = x @ params["from input"] + h @ params["from state"] + params["bias"]
    enter, forget, leave, content = cnp.split(gates, 4, axis=-1)
    c = cr.special.expit(forget) * c + cr.special.expit(enter) * cnp.tanh(content)
    h = cr.special.expit(leave) * cnp.tanh(c)
    return (h, c), h @ params["readout"]


def loss(params: dict, state: tuple, pulses: np.ndarray, wanted: np.ndarray) -> tuple:
    """Return the mean squared error of a chunk [time, batch, channels], and its last state."""
    state, told = cr.scan(lambda s, x: cell(params, s, x), state, pulses)
    return cnp.mean((told - wanted) ** 2), state


def loss_of_python_loop(
    params: dict, state: tuple, pulses: np.ndarray, wanted: np.ndarray
) -> tuple:
    """Return the same from a loop that is unrolled as it is traced."""
    errors = []
    for x, y in zip(pulses, wanted, strict=True):
        state, told = cell(params, state, x)
        errors.append(cnp.mean((told - y) ** 2))
    return sum(errors) / len(errors), state


optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(optim.cosine(1e-2, STEPS)))


@cr.jit(donate_argnames=("params", "moments", "state"))
def step(
    params: dict, moments: object, state: tuple, pulses: np.ndarray, wanted: np.ndarray
) -> tuple:
    """Run a chunk forward and backward, then Adam, as one function."""
    (value, state), slopes = cr.value_and_grad(loss, has_aux=True)(params, state, pulses, wanted)
    params, moments = optimizer.apply(slopes, moments, params)
    return params, moments, state, value


def pulses_and_memory(rng: np.random.Generator, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pulses for a chunk, one in 20 steps and channel, and the last pulse at every step."""
    shape = (CHUNK, BATCH, CHANNELS)
    pulses = (rng.random(shape) < 1 / 20) * rng.choice([-1.0, 1.0], shape)
    wanted = np.empty(shape)
    for t, x in enumerate(pulses):
        last = wanted[t] = np.where(x == 0, last, x)
    return pulses, wanted


def rest() -> tuple[np.ndarray, np.ndarray]:
    """Return the state before the first pulse."""
    return np.zeros((BATCH, HIDDEN)), np.zeros((BATCH, HIDDEN))


rng = np.random.default_rng(0)
params = {
    "from input": rng.normal(size=(CHANNELS, 4 * HIDDEN)) / np.sqrt(CHANNELS),
    "from state": rng.normal(size=(HIDDEN, 4 * HIDDEN)) / np.sqrt(HIDDEN),
    "bias": np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN),  # gates that forget begin open
    "readout": rng.normal(size=(HIDDEN, CHANNELS)) / np.sqrt(HIDDEN),
}

# One chunk: the loop of the program and the unrolled one have the same gradient.
state = (rng.normal(size=(BATCH, HIDDEN)), rng.normal(size=(BATCH, HIDDEN)))
first = pulses_and_memory(rng, np.zeros((BATCH, CHANNELS)))
looped = cr.grad(loss, argnums=(0, 1), has_aux=True)(params, state, *first)
unrolled = cr.grad(loss_of_python_loop, argnums=(0, 1), has_aux=True)(params, state, *first)
for a, b in zip(cr.tree_leaves(looped), cr.tree_leaves(unrolled), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)
print("the gradient through scan equals that of the unrolled loop")


# Two chunks: stopping the gradient at the border is the same as handing the state over.
def two_chunks(params: dict, state: tuple, first: tuple, second: tuple) -> np.ndarray:
    """Return the sum of both chunks' losses, cut between them."""
    early, state = loss(params, state, *first)
    late, _ = loss(params, cr.tree_map(cr.stop_gradient, state), *second)
    return early + late


second = pulses_and_memory(rng, first[1][-1])
cut = cr.grad(two_chunks)(params, state, first, second)
slope = cr.grad(loss, has_aux=True)
early, border = slope(params, state, *first)
late, _ = slope(params, border, *second)
for name, value in cut.items():
    np.testing.assert_allclose(value, early[name] + late[name], rtol=1e-9, atol=1e-13)
print("a gradient stopped at the border equals the sum of the chunks' gradients")

moments, state, last = optimizer.init(params), rest(), np.zeros((BATCH, CHANNELS))
began = time.perf_counter()
for i in range(STEPS):
    pulses, wanted = pulses_and_memory(rng, last)
    last = wanted[-1]
    params, moments, state, value = step(params, moments, state, pulses, wanted)
    if i % 250 == 0:
        print(f"chunk {i:4}  mean squared error {value:.4f}")
print(f"{STEPS} chunks of {BATCH} x {CHUNK} steps in {time.perf_counter() - began:.1f} s")

evaluate = cr.jit(loss)
# Fresh chunks, with the state carried over and without: what was seen earlier is needed.
remembering, forgetting = [], []
for _ in range(50):
    pulses, wanted = pulses_and_memory(rng, last)
    last = wanted[-1]
    error, state = evaluate(params, state, pulses, wanted)
    remembering.append(error)
    forgetting.append(evaluate(params, rest(), pulses, wanted)[0])
print(f"fresh chunks      mean squared error {np.mean(remembering):.4f}")
print(f"without the state mean squared error {np.mean(forgetting):.4f}")
assert np.mean(remembering) < 0.02
assert np.mean(forgetting) > 10 * np.mean(remembering)
