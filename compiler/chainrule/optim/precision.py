"""Mixed precision: which dtype what has, and losses scaled so that 16 bits hold their gradients."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import OutOfRangeError
from chainrule.frontend.pytree import tree_leaves, tree_map
from chainrule.ir.types import dtype_of
from chainrule.optim.optimizer import Optimizer, each
from chainrule.typing import Array, DType, PyTree

__all__ = ["LossScale", "Policy", "all_finite", "loss_scale"]

_STATIC = {"static": True}


@dataclass(frozen=True)
class Policy:
    """Dtypes of parameters, of what is computed with them, and of results.

    P. Micikevicius et al., "Mixed precision training", ICLR 2018: parameters and the optimizer's
    state stay in float32, and each step works with a copy of 16 bits.  The derivative of the
    conversion brings gradients back to the parameters' own dtype.

    Attributes:
        param_dtype: Of the parameters between steps.
        compute_dtype: Of parameters and data inside the model.
        output_dtype: Of what the model returns.

    >>> policy = Policy(compute_dtype="float16")
    >>> policy.cast_to_compute({"W": np.ones(2, np.float32), "labels": np.arange(2)})
    {'W': array([1., 1.], dtype=float16), 'labels': array([0, 1])}
    """

    param_dtype: DType = field(default="float32", metadata=_STATIC)
    compute_dtype: DType = field(default="bfloat16", metadata=_STATIC)
    output_dtype: DType = field(default="float32", metadata=_STATIC)

    def cast_to_param(self, tree: PyTree) -> PyTree:
        """Convert the floating-point arrays of a pytree to `param_dtype`; leave the others."""
        return _cast(tree, self.param_dtype)

    def cast_to_compute(self, tree: PyTree) -> PyTree:
        """Convert the floating-point arrays of a pytree to `compute_dtype`; leave the others."""
        return _cast(tree, self.compute_dtype)

    def cast_to_output(self, tree: PyTree) -> PyTree:
        """Convert the floating-point arrays of a pytree to `output_dtype`; leave the others."""
        return _cast(tree, self.output_dtype)


@dataclass(frozen=True)
class LossScale:
    """A factor on the loss that follows what the gradients can bear; made by `loss_scale`.

    A pytree of two arrays, to be an argument and a result of the compiled step.

    Attributes:
        scale: The factor, float32[].
        good_steps: Steps in a row whose gradients were finite at this factor, int32[].
        period: After so many of them the factor grows.
        factor: What it is multiplied with then, and divided by after an overflow.
        minimum: Its lower bound.
        maximum: Its upper bound.
    """

    scale: Array
    good_steps: Array
    period: int = field(default=2000, metadata=_STATIC)
    factor: float = field(default=2.0, metadata=_STATIC)
    minimum: float = field(default=1.0, metadata=_STATIC)
    maximum: float = field(default=2.0**24, metadata=_STATIC)

    def scaled(self, loss: Array) -> Array:
        """Return the loss times the factor, in float32 at least, for differentiation.

        >>> float(loss_scale(1024).scaled(np.float16(100)))
        102400.0
        """
        return _at_least_single(loss) * self.scale

    def unscaled(self, grads: PyTree) -> PyTree:
        """Return gradients of the scaled loss without the factor, in float32 at least.

        >>> loss_scale(1024).unscaled({"w": np.array([1.0], np.float16)})
        {'w': array([0.00097656], dtype=float32)}
        """
        return each(lambda g: _like_scale(g, 1 / self.scale), grads)

    def adjusted(self, finite: Array) -> LossScale:
        """Return the scale for the next step, told whether this one's gradients were finite.

        It is divided by `factor` after an overflow and multiplied with it after `period` finite
        steps in a row, within its bounds.

        >>> after = loss_scale(1024).adjusted(np.array(False))
        >>> float(after.scale), int(after.good_steps)
        (512.0, 0)
        """
        good = cnp.where(finite, self.good_steps + 1, 0)
        grows = good >= self.period
        larger = cnp.minimum(self.scale * self.factor, self.maximum)
        smaller = cnp.maximum(self.scale / self.factor, self.minimum)
        scale = cnp.where(finite, cnp.where(grows, larger, self.scale), smaller)
        return replace(
            self,
            scale=cnp.asarray(scale).astype(np.float32),
            good_steps=cnp.asarray(cnp.where(grows, 0, good)).astype(np.int32),
        )

    def step(
        self, optimizer: Optimizer, grads: PyTree, state: PyTree, params: PyTree
    ) -> tuple[PyTree, PyTree, LossScale]:
        """Take a step of an optimizer, unless the gradients overflowed.

        Args:
            optimizer: Sees the gradients without the factor.
            grads: Gradients of the scaled loss, of the structure of `params`.
            state: The optimizer's state.
            params: A pytree of floating-point arrays.

        Returns:
            `(params, state, loss_scale)` after the step, dtypes kept.  Where an element of `grads`
            is not finite, the first two are what they were and the scale is smaller.

        >>> from chainrule.optim import sgd
        >>> opt, params = sgd(0.5), {"w": np.array([1.0, 2.0], np.float32)}
        >>> scale, grads = loss_scale(8.0), {"w": np.array([8.0, np.inf], np.float16)}
        >>> params, _, scale = scale.step(opt, grads, opt.init(params), params)
        >>> params["w"].tolist(), float(scale.scale)
        ([1.0, 2.0], 4.0)
        """
        finite = all_finite(grads)
        stepped = optimizer.apply(self.unscaled(grads), state, params)

        def kept(new: Array, old: Array) -> Array:
            return cnp.where(finite, cnp.asarray(new).astype(old.dtype), old)

        params, state = each(kept, stepped, (params, state))
        return params, state, self.adjusted(finite)


def loss_scale(
    initial: float = 2.0**15, period: int = 2000, factor: float = 2.0, *,
    minimum: float = 1.0, maximum: float = 2.0**24,
) -> LossScale:  # fmt: skip
    """Return a dynamic loss scale at its start.

    Gradients below 6e-8 are 0 in float16.  Those of a loss times 2**15 are not; the factor is
    taken out of them again in float32.  Where they overflow instead, the step is left out and the
    factor halved; it doubles after 2000 steps without overflow.  Powers of two change no digit.
    With bfloat16, whose range is that of float32, none is needed.

    Args:
        initial: The first factor, between the bounds.
        period: Finite steps in a row before it grows; 1 or more.
        factor: By what it grows and shrinks; above 1.
        minimum: Its lower bound; positive.
        maximum: Its upper bound.

    Returns:
        The scale; two numbers.

    Raises:
        OutOfRangeError: The arguments are not ordered so.

    >>> import chainrule as cr
    >>> def loss(w, x):
    ...     return cnp.mean((x @ w) ** 2)
    >>> opt, policy = cr.optim.sgd(0.1), cr.optim.Policy(compute_dtype="float16")
    >>> @cr.jit
    ... def step(w, state, scale, x):
    ...     grads = cr.grad(lambda w: scale.scaled(loss(*policy.cast_to_compute((w, x)))))(w)
    ...     return scale.step(opt, grads, state, w)
    >>> w, x = np.ones(2, np.float32), np.eye(2, dtype=np.float32)
    >>> w, state, scale = step(w, opt.init(w), loss_scale(period=1), x)
    >>> w, float(scale.scale)
    (array([0.9, 0.9], dtype=float32), 65536.0)
    """
    if not 0 < minimum <= initial <= maximum:
        raise OutOfRangeError(
            f"not 0 < minimum {minimum} <= initial {initial} <= maximum {maximum}"
        )
    if period < 1 or not factor > 1:
        raise OutOfRangeError(f"period {period} is at least 1, and factor {factor} above 1")
    start = np.array(initial, np.float32)
    return LossScale(start, np.zeros((), np.int32), period, factor, minimum, maximum)


def all_finite(tree: PyTree) -> Array:
    """Tell whether no element of any array is NaN or infinite, a truth value of shape ().

    >>> bool(all_finite({"a": np.ones(3), "b": np.array([0.0, np.nan])}))
    False
    """
    finite = [cnp.all(cnp.isfinite(leaf)) for leaf in tree_leaves(tree)]
    return functools.reduce(cnp.logical_and, finite, np.array(True))


def _cast(tree: PyTree, dtype: DType) -> PyTree:
    wanted = dtype_of(dtype).numpy

    def converted(leaf: Array) -> Array:
        array = cnp.asarray(leaf)
        return array.astype(wanted) if dtype_of(array.dtype).is_float else leaf

    return tree_map(converted, tree)


def _at_least_single(x: Array) -> Array:
    array = cnp.asarray(x)
    return array.astype(np.float32) if dtype_of(array.dtype).is_half else array


def _like_scale(g: Array, factor: Array) -> Array:
    """Multiply in the gradient's dtype, float32 at least: a float64 gradient stays one."""
    wide = _at_least_single(g)
    return wide * cnp.asarray(factor).astype(wide.dtype)
