"""The rules that turn a gradient into a step, each with its formula and its source.

In every formula g is the gradient, t the number of the step from 1, η the learning rate (a number,
or a schedule of the number of steps taken before).  Memory: the state holds one array like the
parameters for each letter with a recurrence.  Where g has always been 0, nothing moves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.optim.optimizer import (
    Optimizer,
    Rate,
    count_from_zero,
    each,
    like,
    zeros_like,
)
from chainrule.typing import Array, PyTree

__all__ = [
    "AdamState",
    "Counted",
    "MomentState",
    "adagrad",
    "adam",
    "adamw",
    "lion",
    "momentum",
    "nesterov",
    "rmsprop",
    "sgd",
]


class Counted(NamedTuple):
    """State of a rule without memory: how many steps were taken (int32, 0-d)."""

    count: Array


class MomentState(NamedTuple):
    """State of a rule that keeps one average: the count, and the average."""

    count: Array
    moment: PyTree


class AdamState(NamedTuple):
    """State of adam and adamw: the count, the mean of g and the mean of g²."""

    count: Array
    mean: PyTree
    square: PyTree


def sgd(learning_rate: Rate) -> Optimizer:
    """Gradient descent: w ← w - η g.

    H. Robbins, S. Monro, "A stochastic approximation method", Ann. Math. Statist. 22 (1951).

    >>> opt = sgd(0.1)
    >>> w, state = opt.apply(np.array([1.0]), opt.init(np.array([0.0])), np.array([0.0]))
    >>> w.tolist(), int(state.count)
    ([-0.1], 1)
    """

    def update(grads: PyTree, state: Counted, _params: PyTree) -> tuple[PyTree, Counted]:
        rate = _rate(learning_rate, state.count)
        return each(lambda g: -like(rate, g) * g, grads), Counted(_next(state.count))

    return Optimizer(lambda _params: Counted(count_from_zero()), update, Counted)


def momentum(learning_rate: Rate, decay: float = 0.9) -> Optimizer:
    """Heavy ball: m ← β m + g, w ← w - η m, with β = `decay`.

    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Comput. Math. Math. Phys. 4 (1964).

    >>> opt = momentum(0.1)
    >>> opt.apply(np.ones(1), opt.init(np.zeros(1)), np.zeros(1))[0].tolist()
    [-0.1]
    """

    def update(grads: PyTree, state: MomentState, _params: PyTree) -> tuple[PyTree, MomentState]:
        rate = _rate(learning_rate, state.count)
        moment = each(lambda m, g: decay * m + g, state.moment, grads)
        return each(lambda m: -like(rate, m) * m, moment), MomentState(_next(state.count), moment)

    return Optimizer(_one_moment, update, MomentState)


def nesterov(learning_rate: Rate, decay: float = 0.9) -> Optimizer:
    """Momentum with a look ahead: m ← β m + g, w ← w - η (g + β m), with β = `decay`.

    Yu. E. Nesterov, Soviet Math. Dokl. 27 (1983), in the form of I. Sutskever, J. Martens,
    G. Dahl, G. Hinton, "On the importance of initialization and momentum", ICML 2013.

    >>> opt = nesterov(0.1)
    >>> opt.apply(np.ones(1), opt.init(np.zeros(1)), np.zeros(1))[0].round(3).tolist()
    [-0.19]
    """

    def update(grads: PyTree, state: MomentState, _params: PyTree) -> tuple[PyTree, MomentState]:
        rate = _rate(learning_rate, state.count)
        moment = each(lambda m, g: decay * m + g, state.moment, grads)
        updates = each(lambda m, g: -like(rate, g) * (g + decay * m), moment, grads)
        return updates, MomentState(_next(state.count), moment)

    return Optimizer(_one_moment, update, MomentState)


def rmsprop(learning_rate: Rate, decay: float = 0.9, eps: float = 1e-8) -> Optimizer:
    """Scale by a running magnitude: v ← β v + (1 - β) g², w ← w - η g / (√v + ε).

    T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Neural networks for machine learning, 2012.

    >>> opt = rmsprop(0.1)
    >>> opt.apply(np.ones(1), opt.init(np.zeros(1)), np.zeros(1))[0].round(3).tolist()
    [-0.316]
    """

    def update(grads: PyTree, state: MomentState, _params: PyTree) -> tuple[PyTree, MomentState]:
        rate = _rate(learning_rate, state.count)
        square = each(lambda v, g: decay * v + (1 - decay) * (g * g), state.moment, grads)
        updates = each(lambda v, g: -like(rate, g) * (g / (cnp.sqrt(v) + eps)), square, grads)
        return updates, MomentState(_next(state.count), square)

    return Optimizer(_one_moment, update, MomentState)


def adagrad(learning_rate: Rate, eps: float = 1e-10) -> Optimizer:
    """Scale by all past magnitudes: v ← v + g², w ← w - η g / (√v + ε).

    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011).

    >>> opt = adagrad(0.1)
    >>> opt.apply(np.ones(1), opt.init(np.zeros(1)), np.zeros(1))[0].round(3).tolist()
    [-0.1]
    """

    def update(grads: PyTree, state: MomentState, _params: PyTree) -> tuple[PyTree, MomentState]:
        rate = _rate(learning_rate, state.count)
        square = each(lambda v, g: v + g * g, state.moment, grads)
        updates = each(lambda v, g: -like(rate, g) * (g / (cnp.sqrt(v) + eps)), square, grads)
        return updates, MomentState(_next(state.count), square)

    return Optimizer(_one_moment, update, MomentState)


def adam(learning_rate: Rate, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Optimizer:
    """Scale the mean gradient by its magnitude, both freed of their start at 0.

    m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²,
    w ← w - η m̂ / (√v̂ + ε) with m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ).

    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Args:
        learning_rate: η; the first steps move every parameter by about η, whatever its gradient.
        b1: β₁.
        b2: β₂.
        eps: ε.

    Returns:
        An optimizer whose state is two arrays for each parameter and a count.

    >>> opt = adam(0.1)
    >>> opt.apply(np.array([7.0]), opt.init(np.zeros(1)), np.zeros(1))[0].round(6).tolist()
    [-0.1]
    """
    return adamw(learning_rate, b1, b2, eps, weight_decay=0.0)


def adamw(
    learning_rate: Rate,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
) -> Optimizer:
    """Adam with weight decay apart from the gradient: w ← w - η (m̂ / (√v̂ + ε) + λ w).

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Args:
        learning_rate: η.
        b1: β₁.
        b2: β₂.
        eps: ε.
        weight_decay: λ; every parameter decays, biases too.

    Returns:
        An optimizer whose state is two arrays for each parameter and a count.

    >>> opt = adamw(0.1, weight_decay=0.5)
    >>> opt.apply(np.zeros(1), opt.init(np.ones(1)), np.ones(1))[0].tolist()
    [0.95]
    """

    def init(params: PyTree) -> AdamState:
        return AdamState(count_from_zero(), zeros_like(params), zeros_like(params))

    def update(grads: PyTree, state: AdamState, params: PyTree) -> tuple[PyTree, AdamState]:
        rate, count = _rate(learning_rate, state.count), _next(state.count)
        mean = each(lambda m, g: b1 * m + (1 - b1) * g, state.mean, grads)
        square = each(lambda v, g: b2 * v + (1 - b2) * (g * g), state.square, grads)

        def step(m: Array, v: Array, p: Array) -> Array:
            m, v = m / _filled(b1, count, m), v / _filled(b2, count, v)
            direction = m / (cnp.sqrt(v) + eps)
            if weight_decay:
                direction = direction + weight_decay * p
            return -like(rate, p) * direction

        return each(step, mean, square, params), AdamState(count, mean, square)

    return Optimizer(init, update, AdamState)


def lion(
    learning_rate: Rate, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 1e-3
) -> Optimizer:
    """Step by signs: w ← w - η (sign(β₁ m + (1 - β₁) g) + λ w), then m ← β₂ m + (1 - β₂) g.

    X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    Args:
        learning_rate: η: how far each parameter moves; about a tenth of adam's.
        b1: β₁.
        b2: β₂.
        weight_decay: λ.

    Returns:
        An optimizer whose state is one array for each parameter and a count.

    >>> opt = lion(0.1)
    >>> opt.apply(np.array([7.0, 0.0]), opt.init(np.zeros(2)), np.zeros(2))[0].tolist()
    [-0.1, 0.0]
    """

    def update(grads: PyTree, state: MomentState, params: PyTree) -> tuple[PyTree, MomentState]:
        rate = _rate(learning_rate, state.count)

        def step(m: Array, g: Array, p: Array) -> Array:
            direction = cnp.sign(b1 * m + (1 - b1) * g)
            if weight_decay:
                direction = direction + weight_decay * p
            return -like(rate, p) * direction

        updates = each(step, state.moment, grads, params)
        moment = each(lambda m, g: b2 * m + (1 - b2) * g, state.moment, grads)
        return updates, MomentState(_next(state.count), moment)

    return Optimizer(_one_moment, update, MomentState)


def _one_moment(params: PyTree) -> MomentState:
    return MomentState(count_from_zero(), zeros_like(params))


def _rate(rate: Rate, count: Array) -> Array | float:
    return rate(count) if callable(rate) else rate


def _next(count: Array) -> Array:
    return cnp.asarray(count + np.int32(1))


def _filled(decay: float, count: Array, leaf: Array) -> Array:
    """Return 1 - decay**count in the leaf's dtype: the part of an average that steps have filled.

    By `expm1`, because in float32 the difference 1 - 0.999 alone is off by 1e-5 of itself.
    """
    rate = math.log(decay) if decay > 0 else -math.inf
    return -cnp.expm1(count.astype(leaf.dtype) * rate)
