"""Object code on disk, so that a later process need not compile again.

One file an entry:  magic, SHA-256 of the rest | key, SHA-256 of what was compiled | object code.
Entries are written beside their place and renamed into it, so readers never see half of one, and
nothing locks.  What a writer left that was killed is deleted by a later one.  Whatever is wrong
with an entry, it counts as absent.  The directory must belong to the user alone: its contents are
run as code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chainrule.errors import CacheError, explain

__all__ = ["Cache", "default_cache", "key_of"]

MAGIC: Final = b"chainrule object 1\n"
HEADER: Final = len(MAGIC) + 64
MOST_BYTES: Final = 256 << 20
"What the cache may grow to before the entries used longest ago go."
UNFINISHED: Final = "new-"
"How the names of files begin that are being written."
ABANDONED: Final = 3600.0
"Seconds after which nobody is writing a file any more."


def key_of(parts: Sequence[str]) -> bytes:
    """Return the key of everything that decides what the object code is."""
    digest = hashlib.sha256()
    for part in parts:
        text = part.encode()
        digest.update(len(text).to_bytes(8, "little"))
        digest.update(text)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Cache:
    """Object code by key, in one directory."""

    directory: Path

    def get(self, key: bytes) -> bytes | None:
        """Return the object code stored under a key, verified, or None."""
        path = self._path(key)
        try:
            if not self._private():
                return None
            content = _read(path)
        except OSError:
            return None
        checksum, body = content[len(MAGIC) : len(MAGIC) + 32], content[len(MAGIC) + 32 :]
        whole = content.startswith(MAGIC) and len(content) > HEADER
        good = whole and checksum == hashlib.sha256(body).digest() and body.startswith(key)
        if not good:
            warnings.warn(f"a damaged entry of the compile cache is ignored: {path}", stacklevel=2)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content[HEADER:]

    def put(self, key: bytes, code: bytes) -> None:
        """Store object code; a disk that is full or read-only is no error."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._private():
                return
            body = key + code
            handle, name = tempfile.mkstemp(dir=self.directory, prefix=UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(MAGIC + hashlib.sha256(body).digest() + body)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._path(key))
            except OSError:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                return
            self._evict()
        except OSError:
            return

    def clear(self) -> None:
        """Delete every entry, and those being written, which are then not stored.

        Raises:
            CacheError: The directory is not the user's own.
        """
        if self.directory.exists() and not self._private():
            raise CacheError(
                explain("the compile cache is not yours alone", f"directory  {self.directory}",
                        hint="its owner must be you, and nobody else may write to it")
            )  # fmt: skip
        for path in [*self._entries(), *self._unfinished()]:
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, key: bytes) -> Path:
        return self.directory / f"{key.hex()}.o"

    def _private(self) -> bool:
        """Tell whether only the user can have written here."""
        if os.name == "nt":
            return True
        status = os.lstat(self.directory)
        return (
            stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        )  # fmt: skip

    def _entries(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [p for p in self.directory.iterdir() if p.suffix == ".o"]
        return []

    def _unfinished(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [p for p in self.directory.iterdir() if p.name.startswith(UNFINISHED)]
        return []

    def _evict(self) -> None:
        """Delete the entries used longest ago while all together are too large, and leftovers."""
        for path in self._unfinished():
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > ABANDONED:
                    path.unlink()
        found = []
        for path in self._entries():
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= MOST_BYTES:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def _read(path: Path) -> bytes:
    """Read a regular file of the user's own, following no link."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    # Not to hang on a pipe that somebody put in the entry's place.
    flags |= getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or (os.name != "nt" and status.st_uid != os.getuid()):
            raise OSError(f"{path} is no file of the user's own")
        return file.read()


def default_cache() -> Cache | None:
    """Return the user's cache, or None where there is no home to keep it in."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base is None and os.name == "nt":
        base = os.environ.get("LOCALAPPDATA")
    try:
        return Cache(Path(base or Path.home() / ".cache") / "chainrule")
    except RuntimeError:
        return None
