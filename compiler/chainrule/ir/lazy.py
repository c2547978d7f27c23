"""Properties that are computed when first asked for, and then kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801  (a decorator, as `property` is)
    """A method whose result becomes an attribute of its instance.

    As `functools.cached_property`, which before Python 3.12 holds a lock for all instances: in a
    forked child it would wait for ever for a thread that is not there.  Two threads may compute
    the same; the last one's result is kept.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        """Compute and keep it: an instance's attribute hides this descriptor from then on."""
        if instance is None:
            return self
        found = instance.__dict__[self._name] = self._compute(instance)
        return found
