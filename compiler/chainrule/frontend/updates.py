"""`x.at[index]`: updates that return a new array."""

from __future__ import annotations

from typing import Any, Final

from chainrule.frontend.dispatch import IMPLEMENTATIONS
from chainrule.frontend.locate import locate
from chainrule.frontend.value import Value

__all__ = ["Place", "Updates"]


class Place:
    """Part of an array, to be updated out of place."""

    __slots__ = ("_key", "_x")

    def __init__(self, x: Value, key: Any) -> None:
        self._x: Final = x
        self._key: Final = key

    def _update(self, how: str, value: Any) -> Any:
        locate(self._x.graph)
        return IMPLEMENTATIONS["at"](self._x, self._key, how, value)

    def set(self, value: Any) -> Any:
        """Return the array with `value` there; of equal indices, the last one counts."""
        return self._update("set", value)

    def add(self, value: Any) -> Any:
        """Return the array with `value` added there; equal indices add up."""
        return self._update("add", value)

    def subtract(self, value: Any) -> Any:
        """Return the array with `value` subtracted there; equal indices add up."""
        return self._update("add", -value)

    def multiply(self, value: Any) -> Any:
        """Return the array with that part multiplied by `value`."""
        return self._update("multiply", value)

    mul = multiply

    def divide(self, value: Any) -> Any:
        """Return the array with that part divided by `value`."""
        return self._update("divide", value)

    def power(self, value: Any) -> Any:
        """Return the array with that part raised to the power `value`."""
        return self._update("power", value)

    def max(self, value: Any) -> Any:
        """Return the array with the larger of that part and `value` there."""
        return self._update("max", value)

    def min(self, value: Any) -> Any:
        """Return the array with the smaller of that part and `value` there."""
        return self._update("min", value)

    def get(self) -> Any:
        """Return that part."""
        return self._x[self._key]  # type: ignore[index]


class Updates:
    """What `x.at` is: index it to name a part."""

    __slots__ = ("_x",)

    def __init__(self, x: Value) -> None:
        self._x: Final = x

    def __getitem__(self, key: Any) -> Place:
        return Place(self._x, key)
