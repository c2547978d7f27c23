"""The function that the documentation follows through the compiler."""

from typing import Any

import chainrule.numpy as cnp


def loss(params: dict[str, Any], x: Any, y: Any) -> Any:
    """Return the mean squared error of a regression with one hidden layer."""
    h = cnp.tanh(x @ params["W"] + params["b"])
    return cnp.mean((h @ params["v"] - y) ** 2)
