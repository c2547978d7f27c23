"""Handwritten digits: a 64-128-10 network, trained by one native function that updates in place."""

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim
from chainrule.datasets import load_digits, split

images, labels = load_digits()
data = split((images / 16).astype(np.float32), labels)


def loss(model: nn.MLP, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy of the labels."""
    return cnp.mean(nn.softmax_cross_entropy(model(x), y))


optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(5e-3))


@cr.jit(donate_argnames=("model", "state"), dims={"x": ("batch", 64), "y": ("batch",)})
def step(model: nn.MLP, state: object, x: np.ndarray, y: np.ndarray) -> tuple:
    """Forward, backward, clipping and Adam, as one function."""
    value, grads = cr.value_and_grad(loss)(model, x, y)
    model, state = optimizer.apply(grads, state, model)
    return model, state, value


model = nn.MLP.init(cr.random.key(0), (64, 128, 10))
state = optimizer.init(model)
rng = np.random.default_rng(0)
for _ in range(30):
    for rows in np.array_split(rng.permutation(len(data.train_labels)), 23):
        x, y = data.train_images[rows], data.train_labels[rows]
        model, state, value = step(model, state, x, y)

predict = cr.jit(lambda model, x: cnp.argmax(model(x), axis=1))
accuracy = np.mean(predict(model, data.test_images) == data.test_labels)
seconds = step.compilations[0].seconds
print(f"{accuracy:.1%} of {len(data.test_labels)} held-out images, {seconds:.2f} s to compile")
assert accuracy > 0.96
assert len(step.compilations) == 1  # for batches of 63 and of 62
