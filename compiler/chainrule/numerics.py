"""What compiled code may do to numbers: the modes `fast`, `strict`, `reproducible` as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chainrule.errors import UnsupportedError, explain

__all__ = ["FAST", "MODES", "REPRODUCIBLE", "STRICT", "Numerics", "numerics_called"]


@dataclass(frozen=True, slots=True)
class Numerics:
    """One mode.

    Attributes:
        name: What users call it.
        reals: Rewriting keeps real numbers, not bits, and values are computed in stable forms.
        excess_precision: A 16-bit result is used within the program before it is rounded.
        ordered_products: Each element of a matrix product is one chain of additions, and sums over
            the steps of a loop are added up as they are written.
        ordered_sums: The order of a sum is set by its own extents, whatever runs beside it, so that
            `vmap` gives the bits of a loop.
        portable: Every processor gives the same bits.
    """

    name: str
    reals: bool
    excess_precision: bool
    ordered_products: bool
    ordered_sums: bool
    portable: bool


FAST: Final = Numerics(
    "fast", reals=True, excess_precision=True, ordered_products=False, ordered_sums=False,
    portable=False,
)  # fmt: skip
STRICT: Final = Numerics(
    "strict", reals=False, excess_precision=False, ordered_products=True, ordered_sums=True,
    portable=False,
)  # fmt: skip
REPRODUCIBLE: Final = Numerics(
    "reproducible", reals=False, excess_precision=False, ordered_products=True, ordered_sums=False,
    portable=True,
)  # fmt: skip
MODES: Final[Mapping[str, Numerics]] = {m.name: m for m in (FAST, STRICT, REPRODUCIBLE)}


def numerics_called(name: object) -> Numerics:
    """Return the mode of a name.

    Raises:
        UnsupportedError: There is none.
    """
    if not isinstance(name, str) or name not in MODES:
        raise UnsupportedError(
            explain(f"there is no numerics mode {name!r}", f"modes  {', '.join(MODES)}")
        )
    return MODES[name]
