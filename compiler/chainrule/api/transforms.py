"""Transformations that compile: inside a trace they are inlined, on arrays they run natively."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from chainrule import transform
from chainrule.api.jit import Jitted, jit

__all__ = ["grad", "value_and_grad", "vjp"]


def grad(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return jit(transform.grad(fn, *args, **kwargs), lenient=True)


def value_and_grad(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return jit(transform.value_and_grad(fn, *args, **kwargs), lenient=True)


def vjp(fn, *primals, has_aux=False):
    return transform.vjp(fn, *primals, has_aux=has_aux)
