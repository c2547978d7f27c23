"""Layers, losses and initialisers, written with the public array functions.

Nothing here is known to the compiler: a layer is a dataclass of arrays, a loss is a function of
arrays, and a user's own are made the same way.
"""

from typing import TYPE_CHECKING, NoReturn

from chainrule.errors import absent, public_names
from chainrule.nn.functions import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    one_hot,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)
from chainrule.nn.initializers import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    zeros,
)
from chainrule.nn.layers import MLP, Activation, Dense, Sequential
from chainrule.nn.losses import (
    absolute_error,
    huber,
    mean_squared_error,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)

__all__ = [
    "MLP",
    "Activation",
    "Dense",
    "Sequential",
    "absolute_error",
    "elu",
    "gelu",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "huber",
    "leaky_relu",
    "lecun_normal",
    "log_softmax",
    "logsumexp",
    "mean_squared_error",
    "one_hot",
    "relu",
    "sigmoid",
    "sigmoid_binary_cross_entropy",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "squared_error",
    "zeros",
]


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
