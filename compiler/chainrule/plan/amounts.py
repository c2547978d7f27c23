"""Numbers of bytes as people write them."""

from __future__ import annotations

import operator
import re
from typing import Final

from chainrule.errors import StructureError, explain

__all__ = ["Budget", "as_bytes"]

Budget = int | str
"A number of bytes, or a text such as `512 MB` or `1.5 GiB`."

_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}  # fmt: skip
_AMOUNT: Final = re.compile(r"\s*(\d+(?:_\d+)*(?:\.\d*)?(?:[eE]\+?\d+)?)\s*([A-Za-z]*)\s*")


def as_bytes(budget: object, name: str = "memory_budget") -> int:
    """Return a budget in bytes.

    Args:
        budget: A whole number of bytes (an integer, or a float such as 1e9), or a text: a number
            and one of B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024).
        name: The option's name, for messages.

    Raises:
        StructureError: It is none of these, or negative.

    >>> as_bytes("1 GB"), as_bytes("1.5KiB"), as_bytes(2e6)
    (1000000000, 1536, 2000000)
    """
    found = _number(budget)
    if found is None or found < 0:
        raise StructureError(
            explain(f"{name} is no number of bytes", f"given  {budget!r:.60}",
                    hint='a whole number such as 1_000_000, or a text such as "512 MB" or '
                    '"1.5 GiB"')
        )  # fmt: skip
    return found


def _number(budget: object) -> int | None:
    if isinstance(budget, bool):
        return None
    if isinstance(budget, str):
        matched = _AMOUNT.fullmatch(budget)
        unit = _UNITS.get(matched[2].lower()) if matched else None
        if matched is None or unit is None:
            return None
        digits = matched[1].replace("_", "")
        if digits.isdigit():
            return int(digits) * unit
        amount = float(digits) * unit
        return int(amount) if amount < 2**62 else None
    if isinstance(budget, float):
        return int(budget) if budget.is_integer() else None
    try:
        return operator.index(budget)  # type: ignore[arg-type]
    except TypeError:
        return None
