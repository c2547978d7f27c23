"""Layers: dataclasses of arrays, made by `init` and called like functions.

A layer is a pytree: its fields are the parameters, so gradients and optimizer states have its
structure, and a formula or an error names a parameter by its path (`layers/0/W`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule import random
from chainrule.frontend.pytree import tree_structure
from chainrule.ir.types import dtype_of
from chainrule.nn.functions import relu
from chainrule.nn.initializers import glorot_uniform, he_normal
from chainrule.typing import Array, DType, Key

__all__ = ["MLP", "Activation", "Dense", "Sequential"]

Initializer = Callable[[Key, tuple[int, ...], DType], Array]


@dataclass(frozen=True)
class Dense:
    """A linear map with a bias: x ↦ x @ W + b.

    Attributes:
        W: Weights of shape (inputs, outputs).
        b: Bias of shape (outputs,), or None.

    >>> layer = Dense.init(random.key(0), 8, 3)
    >>> layer(np.ones((5, 8), np.float32)).shape
    (5, 3)
    """

    W: Array
    b: Array | None

    @classmethod
    def init(
        cls,
        key: Key,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        weights: Initializer = glorot_uniform,
        dtype: DType = np.float32,
    ) -> Dense:
        """Draw the weights; the bias starts at zero.

        Args:
            key: A key of `chainrule.random`.
            inputs: Extent of the last axis of what the layer is called with.
            outputs: Extent of the last axis of its result.
            bias: Whether there is one.
            weights: An initialiser.
            dtype: Of the parameters.

        Returns:
            The layer: inputs * outputs + outputs numbers.

        >>> Dense.init(random.key(0), 2, 2, bias=False).b is None
        True
        """
        return cls(
            weights(key, (inputs, outputs), dtype),
            np.zeros(outputs, dtype_of(dtype).numpy) if bias else None,
        )

    def __call__(self, x: Array) -> Array:
        """Map an array of shape (*S, inputs) to one of shape (*S, outputs)."""
        product = x @ self.W
        return product if self.b is None else product + self.b


@dataclass(frozen=True)
class Activation:
    """A function as a layer without parameters: `function` is part of the structure.

    >>> Activation(np.tanh)(np.zeros(2)).tolist()
    [0.0, 0.0]
    """

    function: Callable[[Array], Array] = field(metadata={"static": True})

    def __call__(self, x: Array) -> Array:
        """Apply the function."""
        return self.function(x)


@dataclass(frozen=True)
class Sequential:
    """Layers applied one after another.

    Attributes:
        layers: Callables that are pytrees, a class of your own among them; a plain function
            becomes an `Activation`.

    >>> keys = random.split(random.key(0))
    >>> model = Sequential((Dense.init(keys[0], 8, 4), relu, Dense.init(keys[1], 4, 1)))
    >>> model(np.ones((5, 8), np.float32)).shape
    (5, 1)
    """

    layers: tuple[Any, ...]

    def __post_init__(self) -> None:
        # A function is no array: it belongs to the structure, not to the parameters.
        made = tuple([Activation(f) if _is_function(f) else f for f in self.layers])
        object.__setattr__(self, "layers", made)

    def __call__(self, x: Array) -> Array:
        """Apply the first layer to `x`, the second to its result, and so on."""
        for layer in self.layers:
            x = layer(x)
        return x


def _is_function(layer: Any) -> bool:
    return callable(layer) and tree_structure(layer).cls is None


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: dense layers with a nonlinearity between them.

    Attributes:
        layers: The dense layers.
        activation: Applied after every layer but the last.  A part of the structure, not of the
            parameters: another function means another compilation.

    >>> model = MLP.init(random.key(0), (64, 32, 10))
    >>> model(np.ones((5, 64), np.float32)).shape
    (5, 10)
    """

    layers: tuple[Dense, ...]
    activation: Callable[[Array], Array] = field(default=relu, metadata={"static": True})

    @classmethod
    def init(
        cls,
        key: Key,
        sizes: Sequence[int],
        *,
        activation: Callable[[Array], Array] = relu,
        weights: Initializer = he_normal,
        dtype: DType = np.float32,
    ) -> MLP:
        """Draw the weights of `len(sizes) - 1` dense layers.

        Args:
            key: A key of `chainrule.random`.
            sizes: Extents from the input's last axis to the output's; at least two.
            activation: The nonlinearity.
            weights: An initialiser; the default suits relu.
            dtype: Of the parameters.

        Returns:
            The model.

        Raises:
            ValueError: Fewer than two sizes.

        >>> len(MLP.init(random.key(0), (2, 32, 32, 1), activation=np.tanh).layers)
        3
        """
        if len(sizes) < 2:
            raise ValueError(f"a network has an input and an output size; got {tuple(sizes)}")
        keys = random.split(key, len(sizes) - 1)
        return cls(
            tuple(
                Dense.init(keys[i], inputs, outputs, weights=weights, dtype=dtype)
                for i, (inputs, outputs) in enumerate(pairwise(sizes))
            ),
            activation,
        )

    def __call__(self, x: Array) -> Array:
        """Map an array of shape (*S, sizes[0]) to one of shape (*S, sizes[-1])."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)
