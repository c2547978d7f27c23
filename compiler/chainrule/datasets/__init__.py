"""Data small enough to ship: real examples that need no network."""

from chainrule.datasets.digits import load_digits, split

__all__ = ["load_digits", "split"]
