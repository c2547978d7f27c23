"""What is decided about a contraction before any code is written: thresholds, packing, scratch."""

from __future__ import annotations

from typing import Final

from chainrule.emit.contraction.spec import Contraction, Epilogue
from chainrule.emit.contraction.tile import main_tile
from chainrule.emit.machine import Machine

__all__ = [
    "DEPTH", "FAR_APART", "FEW_COLUMNS", "FEW_ROWS", "ROWS_TOGETHER", "ROWS_WORTH_COPYING",
    "WIDE_ROW", "copies_a", "copies_b", "packed_depth", "panel_bytes", "swaps", "workspace_bytes",
]  # fmt: skip

# Terms of a sum between two visits to C, so that a panel of B stays in the first two caches.
DEPTH: Final = 512
# A sum that may not pass through C is not split up to this length, though its panel is packed.
DEPTH_UNSPLIT: Final = 4096
# Bytes between rows of B beyond which a panel's rows lie on pages of their own: the panel is copied
# (with at least so many rows of A to use it), as the tile would wait for address translations.
FAR_APART: Final = 2048
ROWS_WORTH_COPYING: Final = 64
COLUMNS_WORTH_COPYING: Final = 128
FAR_APART_IN_A: Final = 3500  # a tile visits each of A's columns once, and of B's rows as well
# Rows of A packed at a time where its columns are far apart: a multiple of every tile's rows.
ROWS_TOGETHER: Final = 192
# Rows of A up to which dot products beat packing a transposed B.
FEW_ROWS: Final = 3
# Columns from which a single row is multiplied in B's own order.
WIDE_ROW: Final = 128
# Columns up to which dot products beat a masked tile.
FEW_COLUMNS: Final = 3


def workspace_bytes(machine: Machine, spec: Contraction) -> int:
    """Return the bytes of scratch, aligned to 64, that the function needs."""
    unit = spec.with_unit_strides()
    # An epilogue forbids the exchange of rows and columns, so either way round may come.
    forms = {unit, unit.transposed()} if swaps(unit, None) else {unit}
    return max(panel_bytes(machine, f) + tiles_bytes(f) for f in forms)


def panel_bytes(machine: Machine, spec: Contraction) -> int:
    """Return the bytes of one packed panel of B, 0 if none is ever packed."""
    in_place = spec.b[1] == 1 and not copies_b(spec) and spec.b_half is None
    if in_place or spec.c[1] not in (1, None):
        return 0
    columns = main_tile(machine, spec.element_bytes).columns
    return -(-packed_depth(spec) * columns * spec.element_bytes // 64) * 64


def tiles_bytes(spec: Contraction) -> int:
    """Return the bytes of the packed row tiles of A, 0 if none is ever packed."""
    if not copies_a(spec):
        return 0
    return ROWS_TOGETHER * min(DEPTH, packed_depth(spec)) * spec.element_bytes


def copies_a(spec: Contraction) -> bool:
    """Tell whether row tiles of A are copied: its rows are adjacent, its columns far apart."""
    m, n, step = spec.m, spec.n, spec.a[1]
    return (
        spec.c[1] == 1 and spec.a[0] == 1
        and step is not None and abs(step) * spec.element_bytes > FAR_APART_IN_A
        and m is not None and m >= ROWS_WORTH_COPYING
        and n is not None and n >= COLUMNS_WORTH_COPYING
    )  # fmt: skip


def copies_b(spec: Contraction) -> bool:
    """Tell whether panels of a B with adjacent columns may be copied."""
    if spec.m is not None and spec.m < ROWS_WORTH_COPYING:
        return False
    if spec.n is not None and spec.n * spec.element_bytes <= FAR_APART:
        return False
    far = spec.b[0]
    return far is None or abs(far) * spec.element_bytes > FAR_APART


def packed_depth(spec: Contraction) -> int:
    """Return how many rows of B a packed panel may have."""
    if spec.k is None:
        return DEPTH
    return spec.k if spec.k <= DEPTH_UNSPLIT else DEPTH


def swaps(spec: Contraction, epilogue: Epilogue | None) -> bool:
    """Tell whether C^T = B^T A^T is computed, because C has its rows adjacent, not its columns.

    A single column is turned into a row where A has its rows adjacent too.
    """
    if epilogue is not None or spec.c[0] != 1:
        return False
    return spec.c[1] != 1 or (spec.n == 1 and spec.m != 1 and spec.a[0] == 1 and spec.a[1] != 1)
