"""Three meanings of the verbs of control flow: compiled, plain Python, JAX.

A program under test is written once, as a function of a kit and its arguments.  The plain kit is
the oracle: Python's own loops and branches over NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

__all__ = ["OURS", "PLAIN", "Kit", "jax_kit"]


class Kit(NamedTuple):
    """The verbs a program may use; `put` and `plus` return an array with some entries changed."""

    xp: Any
    scan: Callable[..., Any]
    fori_loop: Callable[..., Any]
    while_loop: Callable[..., Any]
    cond: Callable[..., Any]
    switch: Callable[..., Any]
    checkpoint: Callable[..., Any]
    put: Callable[[Any, Any, Any], Any]
    plus: Callable[[Any, Any, Any], Any]


OURS = Kit(
    cnp, cr.scan, cr.fori_loop, cr.while_loop, cr.cond, cr.switch, cr.checkpoint,
    lambda x, i, v: x.at[i].set(v), lambda x, i, v: x.at[i].add(v),
)  # fmt: skip


def _scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None,
    reverse: bool = False,
) -> Any:  # fmt: skip
    rows = cr.tree_leaves(xs)
    count = len(rows[0]) if length is None else length
    order = list(range(count))[:: -1 if reverse else 1]
    carry, found = cr.tree_map(np.asarray, init), []
    for i in order:
        carry, y = f(carry, cr.tree_map(lambda x, i=i: np.asarray(x)[i], xs))
        found.append(y)
    if not found:
        with np.errstate(all="ignore"):
            _, y = f(carry, cr.tree_map(lambda x: np.zeros(x.shape[1:], x.dtype), xs))
        return carry, cr.tree_map(lambda a: np.zeros((0, *np.shape(a)), np.asarray(a).dtype), y)
    found = found[:: -1 if reverse else 1]
    leaves = [cr.tree_flatten(y)[0] for y in found]
    tree = cr.tree_flatten(found[0])[1]
    stacked = [np.stack([np.asarray(v) for v in values]) for values in zip(*leaves, strict=True)]
    return carry, cr.tree_unflatten(tree, stacked)


def _fori_loop(lower: int, upper: int, body: Callable[..., Any], init: Any) -> Any:
    for i in range(int(lower), int(upper)):
        init = body(i, init)
    return init


def _while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], init: Any, *, max_steps: int | None = None
) -> Any:
    steps = 0
    while cond(init) and (max_steps is None or steps < max_steps):
        init, steps = body(init), steps + 1
    return init


def _cond(pred: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    return (yes if pred else no)(*operands)


def _switch(index: Any, branches: Any, *operands: Any) -> Any:
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def _put(x: Any, i: Any, v: Any) -> Any:
    x = np.array(x)
    x[i] = v
    return x


def _plus(x: Any, i: Any, v: Any) -> Any:
    x = np.array(x)
    np.add.at(x, i, v)
    return x


PLAIN = Kit(
    np, _scan, _fori_loop, _while_loop, _cond, _switch, lambda f: f, _put, _plus,
)  # fmt: skip


def jax_kit() -> Kit:
    """Return JAX's meaning; loops with `max_steps` count their steps."""
    import jax
    from jax import lax

    # Untyped where it is installed, Any where it is not.
    config: Any = jax.config
    config.update("jax_enable_x64", True)

    def while_loop(cond: Any, body: Any, init: Any, *, max_steps: int | None = None) -> Any:
        if max_steps is None:
            return lax.while_loop(cond, body, init)

        def step(state: Any, _: Any) -> Any:
            return lax.cond(cond(state), body, lambda s: s, state), None

        return lax.scan(step, init, None, max_steps)[0]

    return Kit(
        jax.numpy, lax.scan, lax.fori_loop, while_loop, lax.cond, lax.switch, jax.checkpoint,
        lambda x, i, v: x.at[i].set(v), lambda x, i, v: x.at[i].add(v),
    )  # fmt: skip
