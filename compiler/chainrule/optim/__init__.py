"""Optimizers and schedules, written with the public array functions.

`state = opt.init(params)`, then `params, state = opt.apply(grads, state, params)` at each step,
inside a compiled function or outside.  Parameters are any pytree of arrays; dtypes are kept.
"""

from typing import TYPE_CHECKING, NoReturn

from chainrule.errors import absent, public_names
from chainrule.optim.optimizer import Optimizer, chain
from chainrule.optim.precision import LossScale, Policy, all_finite, loss_scale
from chainrule.optim.rules import (
    adagrad,
    adam,
    adamw,
    lion,
    momentum,
    nesterov,
    rmsprop,
    sgd,
)
from chainrule.optim.schedules import constant, cosine, exponential, piecewise, warmup_cosine
from chainrule.optim.transforms import (
    add_decayed_weights,
    clip,
    clip_by_global_norm,
    global_norm,
)

__all__ = [
    "LossScale",
    "Optimizer",
    "Policy",
    "adagrad",
    "adam",
    "adamw",
    "add_decayed_weights",
    "all_finite",
    "chain",
    "clip",
    "clip_by_global_norm",
    "constant",
    "cosine",
    "exponential",
    "global_norm",
    "lion",
    "loss_scale",
    "momentum",
    "nesterov",
    "piecewise",
    "rmsprop",
    "sgd",
    "warmup_cosine",
]


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
