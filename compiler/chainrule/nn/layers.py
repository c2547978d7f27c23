"""Layers: dataclasses of arrays, made by `init` and called like functions.

A layer is a pytree: its fields are the parameters, so gradients and optimizer states have its
structure, and a formula or an error names a parameter by its path (`layers/0/W`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule import random
from chainrule.errors import ShapeError, StructureError, close, explain, ours, public_names
from chainrule.frontend.pytree import tree_structure
from chainrule.ir.types import dtype_of
from chainrule.nn.functions import relu
from chainrule.nn.initializers import glorot_uniform, he_normal
from chainrule.random.checks import shape_asked
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

        Raises:
            StructureError: `key` is no key, or `weights` no function.
            ShapeError: An extent is no positive integer or 0.
            DTypeError: `dtype` is not of floating point.

        >>> Dense.init(random.key(0), 2, 2, bias=False).b is None
        True
        """
        _require_function(weights, "Dense.init: weights")
        inputs, outputs = shape_asked((inputs, outputs), "Dense.init")
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

    def __post_init__(self) -> None:
        _require_function(self.function, "Activation: function")

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
        given: Any = self.layers
        if not isinstance(given, Iterable) or isinstance(given, str):
            raise StructureError(
                explain("Sequential takes a tuple of layers", f"given  {self.layers!r:.60}")
            )
        made = tuple([Activation(f) if _is_function(f) else f for f in self.layers])
        for i, layer in enumerate(made):
            if not callable(layer):
                raise StructureError(
                    explain(f"Sequential: layers/{i} is no layer", f"given  {layer!r:.60}",
                            hint="a layer is called with an array: a dataclass of arrays with "
                            "__call__, or a function")
                )  # fmt: skip
        object.__setattr__(self, "layers", made)

    def __call__(self, x: Array) -> Array:
        """Apply the first layer to `x`, the second to its result, and so on."""
        for layer in self.layers:
            x = layer(x)
        return x


def _require_function(function: Any, option: str) -> None:
    """Raise unless an option is a function, with the place of the one that is named."""
    if callable(function):
        return
    places = []
    if isinstance(function, str):
        known = [*public_names("chainrule.nn"), *public_names("chainrule.numpy")]
        places = [p for n in close(function, known).split(" or ") if (p := ours(n))]
    raise StructureError(
        explain(f"{option} is a function", f"given  {function!r:.60}",
                hint=f"did you mean {places[0]}? pass the function itself" if places
                else "pass the function itself, as chainrule.nn.relu or chainrule.nn.he_normal")
    )  # fmt: skip


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

    def __post_init__(self) -> None:
        _require_function(self.activation, "MLP: activation")
        if not self.layers:
            raise StructureError(explain("MLP has no layers", hint="draw them with MLP.init"))

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
            ShapeError: Fewer than two sizes, or one that is no extent.
            StructureError: `key` is no key; `activation` or `weights` is no function.
            DTypeError: `dtype` is not of floating point.

        >>> len(MLP.init(random.key(0), (2, 32, 32, 1), activation=np.tanh).layers)
        3
        """
        for option, function in (("activation", activation), ("weights", weights)):
            _require_function(function, f"MLP.init: {option}")
        sizes = shape_asked(sizes, "MLP.init")
        if len(sizes) < 2:
            raise ShapeError(
                explain(f"a network has an input and an output size; got {sizes}",
                        hint="give the extents of all layers: MLP.init(key, (4, 32, 1))")
            )  # fmt: skip
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
