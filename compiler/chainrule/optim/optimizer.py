"""What an optimizer is, and how two become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import StructureError, explain
from chainrule.frontend.pytree import difference, tree_map, tree_structure
from chainrule.typing import Array, PyTree

__all__ = ["Optimizer", "Rate", "chain", "count_from_zero", "each", "like", "zeros_like"]

Rate = float | Callable[[Array], Any]
"""A learning rate, or a schedule: a function of the number of steps already taken."""


@dataclass(frozen=True)
class Optimizer:
    """Two functions; write your own by giving them.

    Attributes:
        init: `init(params)` returns the first state, a pytree of arrays.
        update: `update(grads, state, params)` returns what to add to the parameters, and the next
            state.  In a chain, what it returns is the gradient that the next one sees.

    >>> from chainrule.optim import sgd
    >>> opt = sgd(0.5)
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> params, state = opt.apply({"w": np.array([2.0, 2.0])}, opt.init(params), params)
    >>> params["w"].tolist()
    [0.0, 1.0]
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]

    def __post_init__(self) -> None:
        if not isinstance(self.update, _Told):
            object.__setattr__(self, "update", _Told(self.update))

    def apply(self, grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        """Take one step.

        Args:
            grads: The gradient of what is to be minimised, of the structure of `params`.
            state: What `init` or the last `apply` returned.
            params: A pytree of floating-point arrays.

        Returns:
            `(params, state)` after the step: new arrays of the same shapes and dtypes, or, inside
            a compiled function that donates them, the same memory.
        """
        updates, state = self.update(grads, state, params)
        return each(lambda p, u: p + u, params, updates), state


@dataclass(frozen=True)
class _Told:
    """An update whose complaints about structure say which argument differs, and where."""

    update: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]

    def __call__(self, grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        try:
            return self.update(grads, state, params)
        except StructureError as error:
            wanted, given = tree_structure(params), tree_structure(grads)
            if params is None:
                raise
            if wanted == given:
                raise StructureError(
                    explain(
                        "the optimizer's state does not have the structure of grads and params",
                        *str(error).split("\n  ")[1:],
                        hint="make a state for these parameters: opt.init(params)",
                    )
                ) from error
            raise StructureError(
                explain(
                    "grads do not have the structure of params",
                    f"params  {wanted}",
                    f"grads   {given}",
                    difference(wanted, given, "params", "grads"),
                )
            ) from error


def chain(*optimizers: Optimizer) -> Optimizer:
    """Apply one after another: each sees what the one before returned as its gradient.

    Args:
        optimizers: Transformations of the gradient, and at the end what makes a step of it.

    Returns:
        An optimizer whose state is the tuple of their states.

    >>> from chainrule.optim import adamw, clip_by_global_norm
    >>> opt = chain(clip_by_global_norm(1.0), adamw(1e-3))
    >>> len(opt.init({"w": np.zeros(3)}))
    2
    """

    def init(params: PyTree) -> PyTree:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        states = []
        for optimizer, before in zip(optimizers, state, strict=True):
            grads, after = optimizer.update(grads, before, params)
            states.append(after)
        return grads, tuple(states)

    return Optimizer(init, update)


def each(function: Callable[..., Array], tree: PyTree, *rest: PyTree) -> PyTree:
    """Map over leaves; the results are arrays, where NumPy makes scalars of 0-d arithmetic."""
    return tree_map(lambda *leaves: cnp.asarray(function(*leaves)), tree, *rest)


def zeros_like(params: PyTree) -> PyTree:
    """Return zeros of the parameters' structure, shapes and dtypes."""
    return each(cnp.zeros_like, params)


def count_from_zero() -> Array:
    """Return the number of steps taken before the first, an array so that it can be donated."""
    return np.zeros((), np.int32)


def like(value: Any, leaf: Array) -> Any:
    """Make a factor of the leaf's dtype, so that float32 parameters stay float32.

    Python numbers are weak already, NumPy's are not (though its float64 is an instance of float);
    a schedule computes in float64 when its count is an integer.
    """
    return value if type(value) in (int, float) else cnp.asarray(value).astype(leaf.dtype)
