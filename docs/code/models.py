"""Functions that the tutorial reads the derivatives of."""

from typing import Any

import chainrule.numpy as cnp


def logistic(w: Any, x: Any, y: Any) -> Any:
    """Return the negative logarithm of the likelihood of labels y, 0 or 1."""
    z = x @ w
    return cnp.sum(cnp.log(1 + cnp.exp(z)) - y * z)
