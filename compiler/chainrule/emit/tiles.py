"""The contraction leaf: operands to pointers and strides, then one call of a tiled function."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.emit.arithmetic import ltype
from chainrule.emit.builder import VOID, Builder, Value
from chainrule.emit.contraction import Contraction, emit_contraction, workspace_bytes
from chainrule.emit.extents import emit_extent
from chainrule.emit.machine import Machine
from chainrule.ir.dims import Extent
from chainrule.loops.ir import Buffer, Tile

__all__ = ["emit_tile", "tile_spec", "tile_workspace"]


def tile_spec(tile: Tile) -> Contraction:
    """Return the contraction a tile asks for; what named dims decide is left to run time."""
    (am, ak), (bk, bn), (cm, cn) = tile.a.strides, tile.b.strides, tile.out.strides
    half = tile.b.buffer.dtype
    return Contraction(
        ltype(tile.out.buffer.dtype), _known(tile.m), _known(tile.n), _known(tile.k),
        (_known(am), _known(ak)), (_known(bk), _known(bn)), (_known(cm), _known(cn)),
        accumulate=tile.accumulate if isinstance(tile.accumulate, bool) else None,
        strict=tile.strict, b_half=half if half.is_half else None,
    )  # fmt: skip


def _known(extent: Extent) -> int | None:
    return extent if isinstance(extent, int) else None


def tile_workspace(tile: Tile, machine: Machine) -> int:
    """Return the bytes of scratch memory the tile's function needs."""
    return workspace_bytes(machine, tile_spec(tile))


def emit_tile(
    b: Builder, machine: Machine, tile: Tile, buffers: Mapping[Buffer, Value],
    names: Mapping[str, Value], workspace: Value,
) -> None:  # fmt: skip
    """Call the function for one tile, defining it if it is the first of its kind."""
    name = emit_contraction(b.module, machine, tile_spec(tile))
    pointers = [
        b.offset(
            buffers[o.buffer],
            b.mul(emit_extent(b, o.offset, names), o.buffer.dtype.nbytes),
        )
        for o in (tile.a, tile.b, tile.out)
    ]
    sizes = [tile.m, tile.n, tile.k, *tile.a.strides, *tile.b.strides, *tile.out.strides]
    adding = [] if isinstance(tile.accumulate, bool) else [emit_extent(b, tile.accumulate, names)]
    numbers = [emit_extent(b, e, names) for e in sizes]
    b.call(name, VOID, [*pointers, *numbers, workspace, *adding])
