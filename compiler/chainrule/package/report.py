"""What an export wrote and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chainrule.ir.dims import Extent, evaluate_extent, show_extent

__all__ = ["ExportReport"]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote; `print` shows it as a table.

    Attributes:
        name: The exported function's.
        path: The directory written to.
        target: The machine the code is for.
        needs: Features its processor must have.
        files: Bytes of every file, by its path below `path`.
        arena: Bytes of scratch memory of a call, in the named dims.
        dims: The named dims.
        text: Bytes of instructions.
        constants: Bytes of read-only data.
        data: Bytes of writable data.
        kernels: Number of different kernels.
        notes: What could not be done, and why.
    """

    name: str
    path: Path
    target: str
    needs: tuple[str, ...]
    files: Mapping[str, int]
    arena: Extent
    dims: tuple[str, ...]
    text: int
    constants: int
    data: int
    kernels: int
    notes: tuple[str, ...]

    def arena_bytes(self, **dims: int) -> int:
        """Return the bytes of scratch memory of a call at these extents."""
        return evaluate_extent(self.arena, dims)

    def __str__(self) -> str:
        facts = [
            ("code", f"{self.text:,} bytes of instructions, {self.kernels} kernels"),
            ("constants", f"{self.constants:,} bytes"),
            ("writable data", f"{self.data:,} bytes"),
            ("arena", f"{self._arena()} bytes"),
            ("processor", ", ".join(self.needs) or "any"),
        ]
        width = max(map(len, [*self.files, *(label for label, _ in facts)])) + 2
        lines = [f"{self.name} for {self.target}, in {self.path}", ""]
        lines += [f"  {name:<{width}}{size:>12,} bytes" for name, size in self.files.items()]
        lines += ["", *(f"  {label:<{width}}{text}" for label, text in facts)]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _arena(self) -> str:
        if isinstance(self.arena, int):
            return f"{self.arena:,}"
        at = dict.fromkeys(self.dims, 64)
        where = ", ".join(f"{d} = 64" for d in self.dims)
        return f"{show_extent(self.arena)} (at {where}: {self.arena_bytes(**at):,})"
