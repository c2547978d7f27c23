"""Recurrent networks that the page on backpropagation through time follows."""

from collections.abc import Callable
from typing import Any

import chainrule as cr
import chainrule.numpy as cnp


def tanh_cell(p: dict[str, Any], h: Any, x: Any) -> Any:
    """Return the next state of a recurrent network."""
    return cnp.tanh(x @ p["W"] + h @ p["U"] + p["b"])


def lstm_cell(p: dict[str, Any], state: tuple[Any, Any], x: Any) -> tuple[Any, Any]:
    """Return the next output and cell of a long short-term memory."""
    h, c = state
    i, f, o, g = cnp.split(x @ p["W"] + h @ p["U"] + p["b"], 4)
    c = cr.nn.sigmoid(f) * c + cr.nn.sigmoid(i) * cnp.tanh(g)
    return cr.nn.sigmoid(o) * cnp.tanh(c), c


def last_state(
    cell: Callable[..., Any], p: dict[str, Any], start: Any, xs: Any, **options: Any
) -> Any:
    """Return the state after all rows of xs."""

    def step(state: Any, x: Any) -> tuple[Any, None]:
        return cell(p, state, x), None

    return cr.scan(step, start, xs, **options)[0]
