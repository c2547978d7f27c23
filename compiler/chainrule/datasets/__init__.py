"""Data small enough to ship: real examples that need no network."""

from typing import TYPE_CHECKING, NoReturn

from chainrule.datasets.digits import load_digits, split
from chainrule.errors import absent, public_names

__all__ = ["load_digits", "split"]


if not TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> NoReturn:
        raise absent(__name__, name)

    def __dir__() -> list[str]:
        return public_names(__name__)
