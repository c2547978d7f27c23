"""A training step as files: object, C header, shared library, module that needs NumPy only."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

optimizer = cr.optim.momentum(0.05)


def loss(params: dict, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean squared error of a small network."""
    return cnp.mean((cnp.tanh(x @ params["W"] + params["b"]) @ params["v"] - y) ** 2)


@cr.jit(donate_argnames=("params", "state"), dims={"x": ("batch", 3), "y": ("batch",)})
def step(params: dict, state: object, x: np.ndarray, y: np.ndarray) -> tuple:
    """Forward, backward and update."""
    value, grads = cr.value_and_grad(loss)(params, x, y)
    params, state = optimizer.apply(grads, state, params)
    return params, state, value


def start() -> tuple:
    """Return parameters and the optimizer's state, the same at each call."""
    key = cr.random.key(0)
    params = {"W": cr.nn.glorot_uniform(key, (3, 8)), "b": np.zeros(8, np.float32),
              "v": np.full(8, 0.1, np.float32)}  # fmt: skip
    return params, optimizer.init(params)


x = cr.random.normal(cr.random.key(1), (40, 3))
y = x[:, 0] * x[:, 1]
params, state = start()
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    print(cr.export(step, args=(params, state, x, y), path=folder, name="train", selftest=4))
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True)

    sys.path.insert(0, str(folder))
    import train  # the module just written

    theirs, their_state = start()
    for rows in (40, 7, 33):
        params, state, value = step(params, state, x[:rows], y[:rows])
        theirs, their_state, exported = train.train(theirs, their_state, x[:rows], y[:rows])
        assert value == exported
    assert all(np.array_equal(params[k], theirs[k]) for k in params)
    print("three steps with batches of 40, 7 and 33: the same bits as the function itself")
