"""Changes to the gradient that come before a rule, in a chain."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import OutOfRangeError
from chainrule.frontend.pytree import tree_leaves
from chainrule.optim.optimizer import Optimizer, each, like
from chainrule.typing import Array, PyTree

__all__ = ["add_decayed_weights", "clip", "clip_by_global_norm", "global_norm"]


def clip(limit: float) -> Optimizer:
    """Bound every element of the gradient to [-limit, limit].

    >>> opt = clip(1.0)
    >>> opt.update(np.array([-3.0, 0.5]), opt.init(None), None)[0].tolist()
    [-1.0, 0.5]
    """
    return _stateless(lambda grads, _params: each(lambda g: cnp.clip(g, -limit, limit), grads))


def clip_by_global_norm(limit: float) -> Optimizer:
    """Shorten the gradient, over all its leaves, to length `limit` where it is longer.

    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013.  No square overflows: any finite gradient is shortened in its own direction.
    One that holds NaN or infinity makes every element NaN, for all to see, rather than a step of
    length 0.

    Args:
        limit: The greatest length; positive.

    Returns:
        A transformation without state.

    Raises:
        OutOfRangeError: `limit` is not positive.

    >>> opt = clip_by_global_norm(1.0)
    >>> opt.update({"w": np.array([3e200, 4e200])}, opt.init(None), None)[0]["w"].round(6).tolist()
    [0.6, 0.8]
    """
    if not limit > 0:
        raise OutOfRangeError(f"the greatest length of a gradient is positive, not {limit}")

    def shorten(grads: PyTree, _params: PyTree) -> PyTree:
        leaves = _filled_leaves(grads)
        if not leaves:
            return grads
        # Lengths in units of `unit`, which is at least `limit`: nothing overflows, the divisor is
        # never 0, and the factor is exactly 1 up to `limit`.
        unit = cnp.maximum(_largest(leaves), limit)
        bound = limit / unit
        factor = bound / cnp.maximum(_length(leaves, unit), bound)
        return each(lambda g: g * like(factor, g), grads)

    return _stateless(shorten)


def add_decayed_weights(weight_decay: float) -> Optimizer:
    """Add `weight_decay` times the parameters: the gradient of weight_decay / 2 times their square.

    Before `sgd` this is the classic L2 penalty; for decay apart from the gradient see `adamw`.

    >>> opt = add_decayed_weights(0.1)
    >>> opt.update(np.array([1.0]), opt.init(None), np.array([2.0]))[0].tolist()
    [1.2]
    """
    return _stateless(lambda grads, params: each(lambda g, p: g + weight_decay * p, grads, params))


def global_norm(tree: PyTree) -> Array:
    """Return the square root of the sum of all squared elements of all leaves.

    Scaled by the largest magnitude, so that it overflows only where the result itself does, and
    keeps its digits for tiny elements.

    Args:
        tree: A pytree of floating-point arrays.

    Returns:
        A 0-d array of the widest dtype among them; 0 for a tree without elements.

    >>> f"{global_norm({'a': np.array([3e200]), 'b': np.array([4e200])}):.6g}"
    '5e+200'
    """
    leaves = _filled_leaves(tree)
    if not leaves:
        return np.zeros(())
    largest = _largest(leaves)
    unit = cnp.where(largest > 0, largest, 1.0)
    return largest * _length(leaves, unit)


def _stateless(transform: Callable[[PyTree, PyTree], PyTree]) -> Optimizer:
    def update(grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        return transform(grads, params), state

    return Optimizer(lambda _params: (), update, tuple)


def _filled_leaves(tree: PyTree) -> list[Array]:
    """Return the leaves that have elements: the largest of none is not defined."""
    return [leaf for leaf in tree_leaves(tree) if 0 not in tuple(leaf.shape)]


def _largest(leaves: list[Array]) -> Array:
    return functools.reduce(cnp.maximum, [cnp.max(cnp.abs(leaf)) for leaf in leaves])


def _length(leaves: list[Array], unit: Array) -> Array:
    """Return the norm of all leaves in units of `unit`."""
    scaled = [leaf / unit for leaf in leaves]
    return cnp.sqrt(functools.reduce(cnp.add, [cnp.sum(x * x) for x in scaled]))
