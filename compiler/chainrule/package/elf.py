"""Reads what matters of an ELF object file: what it needs from outside, and its sizes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from chainrule.errors import ExportError, explain

__all__ = ["ObjectFile", "read_object"]

_SYMBOLS: Final = 2  # SHT_SYMTAB
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4  # SHF_*
_MANIFEST: Final = ".chainrule"


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An object file in numbers.

    Attributes:
        undefined: Symbols it expects from elsewhere.
        defined: Functions and data that others can see.
        text: Bytes of instructions.
        constants: Bytes of read-only data, without the manifest.
        data: Bytes of writable data.
        manifest: Bytes of the manifest.
    """

    undefined: tuple[str, ...]
    defined: tuple[str, ...]
    text: int
    constants: int
    data: int
    manifest: int


def read_object(code: bytes) -> ObjectFile:
    """Read a 64-bit little-endian ELF object.

    Raises:
        ExportError: It is no such file.
    """
    if code[:6] != b"\x7fELF\x02\x01":
        raise ExportError(
            explain("this system's object files cannot be exported yet",
                    f"expected  64-bit little-endian ELF, as on Linux; got {code[:4].hex()}")
        )  # fmt: skip
    (offset,) = struct.unpack_from("<Q", code, 40)
    _, count, names_at = struct.unpack_from("<3H", code, 58)
    sections = [
        _Section(*struct.unpack_from("<2I4Q2I2Q", code, offset + 64 * i)) for i in range(count)
    ]
    names = sections[names_at]
    text = constants = data = manifest = 0
    for s in sections:
        if not s.flags & _ALLOC:
            continue
        if _string(code, names, s.name) == _MANIFEST:
            manifest += s.size
        elif s.flags & _EXECUTE:
            text += s.size
        elif s.flags & _WRITE:
            data += s.size
        else:
            constants += s.size
    symbols = list(_symbols(code, sections))
    return ObjectFile(
        tuple([name for name, _, section in symbols if name and section == 0]),
        tuple([name for name, bound, section in symbols if bound != 0 and section != 0]),
        text, constants, data, manifest,
    )  # fmt: skip


def _symbols(code: bytes, sections: list[_Section]) -> Iterator[tuple[str, int, int]]:
    """Yield name, binding (0: local) and section (0: undefined) of every symbol."""
    for table in sections:
        if table.type != _SYMBOLS:
            continue
        for at in range(table.offset, table.offset + table.size, table.entry_size):
            name, info, _, section = struct.unpack_from("<I2BH", code, at)
            yield _string(code, sections[table.link], name), info >> 4, section


def _string(code: bytes, table: _Section, at: int) -> str:
    start = table.offset + at
    return code[start : code.index(b"\0", start)].decode()
