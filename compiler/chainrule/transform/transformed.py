"""What a transformation returns: a function of traced values that also runs on plain ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, Final, TypeAlias

import numpy as np

from chainrule.frontend.arguments import bind_arguments, is_arraylike, name_of
from chainrule.frontend.context import is_tracing
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.known import known_leaves
from chainrule.frontend.pytree import tree_flatten, tree_map
from chainrule.frontend.trace import trace

__all__ = ["Run", "Transformed", "evaluated", "evaluating", "has_traced", "held"]

Run: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes of a function of traced values one of plain values."""


def has_traced(tree: Any) -> bool:
    """Tell whether a traced value is among the leaves, or a trace is under way."""
    return is_tracing() or any(isinstance(x, InGraph) for x in tree_flatten(tree)[0])


def evaluated(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> Any:
    """Trace a function and evaluate it in NumPy; leaves that are no arrays stay as they are."""
    leaves, tree = tree_flatten((tuple(args), dict(kwargs or {})))
    if all(map(is_arraylike, leaves)):
        bound = bind_arguments(function, args, kwargs)
        return trace(function, *args, kwargs=kwargs).run(*bound.values)
    arrays = [x for x in leaves if is_arraylike(x)]

    def of_arrays(*given: Any) -> Any:
        values = iter(given)
        full = [next(values) if is_arraylike(x) else x for x in leaves]
        positions, keywords = tree.unflatten(full)
        return function(*positions, **keywords)

    return trace(of_arrays, *arrays).run(*arrays)


def evaluating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of traced values one of plain values, which NumPy evaluates."""

    def of_plain(*args: Any) -> Any:
        return evaluated(function, args)

    return of_plain


def held(tree: Any) -> Any:
    """Return arguments as they are now, whatever is written into their arrays later."""
    return tree_map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, tree)


def _has_signature(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True


class Transformed:
    """A transformed function.

    Inside a trace, or given traced values, it is inlined.  Given plain values it is traced and
    evaluated by the reference interpreter; `chainrule.api` compiles it instead.

    Attributes:
        traced: The function of traced values.
        __wrapped__: The function it was made from.
    """

    def __init__(
        self, traced: Callable[..., Any], fn: Callable[..., Any], verb: str,
        signature: inspect.Signature | None = None,
    ) -> None:  # fmt: skip
        update_wrapper(self, fn, updated=())
        self.traced: Final = traced
        self.__name__ = f"{verb}({name_of(fn)})"
        self.__wrapped__ = fn
        self._recipe: tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]] | None = None
        if signature is not None:
            self.__signature__ = signature
        # Messages name the function and its arguments as the user does.
        traced.__name__ = self.__name__
        traced.__signature__ = inspect.signature(self) if _has_signature(self) else None  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Inline or evaluate."""
        if has_traced((args, kwargs)):
            args, kwargs = known_leaves((args, kwargs))
            return self.traced(*args, **kwargs)
        return evaluated(self.traced, args, kwargs)

    def __repr__(self) -> str:
        return self.__name__

    def made_by(self, transformation: Callable[..., Any], *args: Any, **kwargs: Any) -> Transformed:
        """Remember how to make this again, which is what pickling stores; return it."""
        self._recipe = transformation, args, kwargs
        return self

    def __reduce__(self) -> Any:
        if self._recipe is None:
            raise TypeError(f"{self.__name__} does not know how it was made and cannot be pickled")
        return _again, self._recipe


def _again(
    transformation: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Transformed:
    made = transformation(*args, **kwargs)
    assert isinstance(made, Transformed), "transformations make transformed functions"
    return made.made_by(transformation, *args, **kwargs)
