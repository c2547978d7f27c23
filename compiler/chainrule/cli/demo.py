"""`chainrule demo`: handwritten digits, from images to a trained network and its derivative.

Everything above `run` is what a user of the library would write; `run` shows it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim, random
from chainrule.datasets import load_digits, split
from chainrule.datasets.digits import Split
from chainrule.typing import Array, PyTree

__all__ = ["Epoch", "Trainer", "loss", "predict", "run"]

SIZES = (64, 128, 64, 10)
BATCH = 64
LEARNING_RATE = 1e-2


def predict(params: PyTree, x: Array) -> Array:
    """Return the logits of images x, float32[batch, 64] from 0 to 1: float32[batch, 10]."""
    h1 = cnp.tanh(x @ params["W1"] + params["b1"])
    h2 = cnp.tanh(h1 @ params["W2"] + params["b2"])
    return h2 @ params["W3"] + params["b3"]


def loss(params: PyTree, x: Array, y: Array) -> Array:
    """Return the mean cross-entropy of the labels y, int64[batch]."""
    return cnp.mean(nn.softmax_cross_entropy(predict(params, x), y))


def first_params(key: Array) -> PyTree:
    """Draw the weights; the biases start at zero."""
    params = {}
    for i, layer_key in enumerate(random.split(key, len(SIZES) - 1)):
        params[f"W{i + 1}"] = nn.glorot_uniform(layer_key, SIZES[i : i + 2])
        params[f"b{i + 1}"] = np.zeros(SIZES[i + 1], np.float32)
    return params


class Epoch(NamedTuple):
    """What one pass over the training images came to."""

    loss: float
    accuracy: float


class Trainer:
    """A training step compiled into one native function, and the loop that calls it.

    Attributes:
        step: Forward, backward and Adam's update; `params` and `state` are updated in place.
        params: The weights.
        state: Adam's.
        seconds: Duration of each call of the step; the first one compiles.
    """

    def __init__(self, data: Split, epochs: int, seed: int = 0) -> None:
        """Draw the weights; nothing is compiled before the first step."""
        steps = epochs * -(-len(data.train_labels) // BATCH)
        optimizer = optim.adam(optim.cosine(LEARNING_RATE, steps))

        @cr.jit(donate_argnames=("params", "state"), dims={"x": ("batch", 64), "y": ("batch",)})
        def step(params: PyTree, state: PyTree, x: Array, y: Array) -> tuple[PyTree, PyTree, Array]:
            value, grads = cr.value_and_grad(loss)(params, x, y)
            params, state = optimizer.apply(grads, state, params)
            return params, state, value

        weights_key, self._shuffle_key = random.split(random.key(seed))
        self._data = data
        self.step = step
        self.predict = cr.jit(predict, dims={"x": ("batch", 64)})
        self.params = first_params(weights_key)
        self.state = optimizer.init(self.params)
        self.seconds: list[float] = []

    def epochs(self, count: int) -> Iterator[Epoch]:
        """Train; after each pass tell the mean loss, and the accuracy on the held-out images."""
        x, y = self._data.train_images, self._data.train_labels
        for epoch in range(count):
            order = random.permutation(random.fold_in(self._shuffle_key, epoch), len(y))
            losses = []
            for start in range(0, len(y), BATCH):
                rows = order[start : start + BATCH]
                batch, labels = x[rows], y[rows]
                began = time.perf_counter()
                self.params, self.state, value = self.step(self.params, self.state, batch, labels)
                self.seconds.append(time.perf_counter() - began)
                losses.append(float(value))
            yield Epoch(float(np.mean(losses)), self.accuracy())

    def accuracy(self) -> float:
        """Return the part of the held-out images that is recognised."""
        logits = self.predict(self.params, self._data.test_images)
        return float(np.mean(np.argmax(logits, axis=1) == self._data.test_labels))


def digits() -> Split:
    """Load the digits, pixels from 0 to 1, a fifth held out."""
    images, labels = load_digits()
    return split((images / 16).astype(np.float32), labels)


def run(console: Console, epochs: int = 30, seed: int = 0) -> float:
    """Train with a progress bar; print the accuracy, the derivative and the counts.

    Returns:
        The accuracy on the held-out fifth.
    """
    data = digits()
    trainer = Trainer(data, epochs, seed)
    network = "-".join(str(size) for size in SIZES)
    console.print(
        f"{len(data.train_labels)} images to learn from, {len(data.test_labels)} held out; "
        f"a {network} network, Adam, batches of {BATCH}"
    )
    accuracy = _train(console, trainer, epochs)
    console.print(f"recognised {accuracy:.2%} of the held-out images\n")

    x, y = data.train_images[:BATCH], data.train_labels[:BATCH]
    console.print("the derivative of the loss by the first weights, as it was compiled:\n")
    images, labels = cr.spec(("n", 64), x.dtype), cr.spec(("n",), y.dtype)
    formula = cr.explain(loss, wrt="params/W1", args=(trainer.params, images, labels))
    console.print(str(formula), markup=False, highlight=False, soft_wrap=True)
    console.print(counts(trainer, x, y))
    console.print(
        "next: chainrule explain FILE.py:FUNCTION --wrt params/W1   your own loss's derivative\n"
        "      chainrule export FILE.py:FUNCTION --out build        the same step without Python\n"
        "      chainrule bench                                      times on this machine",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return accuracy


def _train(console: Console, trainer: Trainer, epochs: int) -> float:
    accuracy = 0.0
    columns = (
        TextColumn("training"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs, loss=float("nan"), accuracy=0.0)
        for epoch in trainer.epochs(epochs):
            accuracy = epoch.accuracy
            progress.update(task, advance=1, loss=epoch.loss, accuracy=accuracy)
    return accuracy


def counts(trainer: Trainer, x: Array, y: Array) -> Table:
    """Tell what the compiled step is made of and what it takes."""
    compiled = trainer.step.lower(trainer.params, trainer.state, x, y).compile()
    compilations = trainer.step.compilations
    table = Table(title="the compiled step", title_justify="left", show_header=False)
    table.add_row("compilations", f"{len(compilations)}, for batches of every size")
    table.add_row("compile time", f"{sum(c.seconds for c in compilations):.2f} s")
    table.add_row("kernels", f"{compiled.cost.kernels}")
    table.add_row("floating-point operations", f"{compiled.cost.flops:,} a step of {len(y)} images")
    table.add_row("arena", f"{compiled.memory.arena:,} bytes")
    table.add_row("time", f"{1e6 * float(np.median(trainer.seconds)):.1f} us a step (median)")
    return table
